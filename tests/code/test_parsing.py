import pytest

import workbench as wb
from tests.code.texts import nasty_texts
from tests.make.named import checkpoint_named
from workbench.code import rules_from_code, rust_code
from workbench.mapping import Mapping, Rule

FILE = r"""
use burn_import::pytorch::{LoadArgs, PyTorchFileRecorder};

const PREFIX: &str = r"^module\.";

fn load() {
    let args = LoadArgs::new("net.pt".into())
        .with_key_remap(PREFIX, "") // the wrapper
        .with_key_remap("conv\\.(.*)", "$1")
        /* .with_key_remap("no", "no") */
        .with_key_remap(r#"say "(.)""#, &"q$1".to_string())
        .with_top_level_key("state_dict")
        .with_debug_print();
    let other = "with_key_remap(\"a\", \"b\")";
}
"""


def test_a_whole_file_gives_its_rules_in_order():
    found = rules_from_code(FILE)
    assert found.rules == (Rule(r"^module\.", ""), Rule(r"conv\.(.*)", "$1"), Rule('say "(.)"', "q$1"))
    assert (found.api, found.top_level_key, found.debug) == ("burn-import", "state_dict", True)
    assert found.not_understood == ()


def test_calls_without_what_they_hang_on_are_enough():
    found = rules_from_code('// from our loader\n  .with_key_remap("a", "b")\n  .with_key_remapping("c", "d")')
    assert found.rules == (Rule("a", "b"), Rule("c", "d"))


def test_the_options_of_a_store_are_read():
    found = rules_from_code(
        """let mut store = PytorchStore::from_file(path).with_key_remapping("a", "b").with_regex(r"^fc\\.")
        .with_full_paths(["x.y", "z"]).map_indices_contiguous(false).map_indices_contiguous_except("^flows$")
        .skip_enum_variants(true).allow_partial(true);"""
    )
    assert found.api == "burn-store"
    assert (found.include, found.paths) == ((r"^fc\.",), ("x.y", "z"))
    assert (found.reindex, found.keep_indices) == (False, ("^flows$",))
    assert (found.skip_enum_variants, found.allow_partial, found.adapt) == (True, True, None)


def test_a_remapper_made_of_a_list_gives_its_pairs():
    text = 'store.remap(KeyRemapper::from_patterns(vec![("a", "b"), (r"c\\d", "e"),])?).add_pattern("f", "g")'
    assert rules_from_code(text).rules == (Rule("a", "b"), Rule(r"c\d", "e"), Rule("f", "g"))


def test_adapters_are_read():
    assert rules_from_code("s.with_from_adapter(PyTorchToBurnAdapter)").adapt is True
    assert rules_from_code("s.with_adapter_type(AdapterType::NoAdapter)").adapt is False


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ('.with_key_remap(&format!("{x}"), "b")', "string literals"),
        (".with_key_remap(pattern, replacement)", "string literals"),
        ('.with_key_remap("a")', "string literals"),
        ('.with_key_remap("a(", "b")', "no regex: unclosed group"),
        ('.with_key_remap(r"(?=a)", "b")', "no regex: look-around"),
        (".map_indices_contiguous(wanted)", "neither true nor false"),
        ('.with_regexes(names.iter().map(|n| "x"))', "not a list"),
        (".with_from_adapter(HalfPrecisionAdapter::new())", "does not know"),
        (".with_predicate(|path, _| true)", "not made of texts"),
    ],
)
def test_what_cannot_be_told_is_reported_with_its_line_and_taken_by_no_rule(call, why):
    found = rules_from_code(f'x\n.with_key_remap("k", "l")\n{call}')
    assert found.rules == (Rule("k", "l"),)
    (missed,) = found.not_understood
    assert missed.line == 3
    assert why in missed.why


@pytest.mark.parametrize(
    "text",
    [
        'fn a() { let p = "x"; } fn b(p: &str) { s.with_key_remap(p, ""); }',
        'let mut p = "x"; p = y(); s.with_key_remap(p, "");',
        "for (p, r) in RULES { s = s.with_key_remap(p, r); }",
        'let p = "x"; let p = "y"; s.with_key_remap(p, "");',
        'let f = |p| s.with_key_remap(p, ""); const p: &str = "x";',
    ],
)
def test_a_name_that_may_be_something_else_is_no_literal(text):
    found = rules_from_code(text)
    assert found.rules == ()
    assert len(found.not_understood) == 1


def test_a_second_load_in_the_text_is_said():
    one = 'LoadArgs::new(a).with_key_remap("a", "b");'
    found = rules_from_code(one + "\n" + one)
    assert len(found.rules) == 2
    assert "another load" in found.not_understood[0].why


def test_a_text_without_such_calls_is_refused():
    for text in (
        "",
        "fn main() {}",
        "conv1.weight\nconv1.bias",
        "\0\0",
        "((((",
        '"',
        "with_key_remap",
        "// .with_regex(",
    ):
        with pytest.raises(wb.MappingError) as caught:
            rules_from_code(text)
        assert caught.value.code == "no-rules-in-code"


def test_long_and_deep_texts_are_read():
    n = 2_000
    found = rules_from_code("\n".join(f'.with_key_remap("a{i}", "b")' for i in range(n)))
    assert [rule.pattern for rule in found.rules] == [f"a{i}" for i in range(n)]
    deep = "(" * 5_000 + "x" + ")" * 5_000
    assert rules_from_code(f's.with_regex({deep}).with_key_remap("a", "b")').rules == (Rule("a", "b"),)


@pytest.mark.parametrize(("burn", "api"), [("0.18", None), ("0.20", None), ("0.20", "burn-store"), ("0.22", None)])
def test_generated_code_gives_its_rules_back(tmp_path, burn, api):
    texts = nasty_texts()
    rules = [Rule("".join(f"\\x{{{ord(char):x}}}" for char in text), text) for text in texts if text]
    rules += [Rule(r"^(\w+)\.", "${1}x"), *(Rule(f"[{char}]", "") for char in ("\u202e", "\r", "é"))]
    mapping = Mapping(rules, burn=burn, api=api, reindex=None)
    plan = mapping.plan(checkpoint_named(tmp_path, ["a.b"]))
    for program in (False, True):
        found = rules_from_code(rust_code(plan, program=program))
        assert found.rules == tuple(rules)
        assert found.not_understood == ()
