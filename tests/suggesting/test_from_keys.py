import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.mapping.renaming import exact_rule
from workbench.suggesting import NoRule, rule_from

KEYS = [
    f"encoder.layer.{n}.{part}.{leaf}"
    for n in range(12)
    for part in ("attn.q", "attn.k", "mlp.fc")
    for leaf in ("weight", "bias")
] + ["encoder.norm.weight", "attn.q.weight"]


def made(selected, rename, keys=KEYS):
    """The rule for the selected keys, after checking that it does what was asked and nothing else."""
    names = [rename(key) for key in selected]
    rule = rule_from(selected, names, keys)
    assert isinstance(rule, wb.Rule), rule
    after = dict(zip(keys, wb.Mapping([rule]).remap_keys(keys), strict=True))
    assert after == {key: key for key in keys} | dict(zip(selected, names, strict=True))
    return rule.pattern, rule.replacement


def test_a_renamed_module_in_every_layer_is_one_short_rule():
    selected = [key for key in KEYS if ".attn." in key]
    assert made(selected, lambda key: key.replace(".attn.", ".mha.")) == (r"\.attn\.", ".mha.")


def test_numbers_are_captured_where_they_stay():
    selected = [key for key in KEYS if ".attn.q." in key]
    pattern, replacement = made(selected, lambda key: key.replace("encoder.layer.", "layers."))
    assert r"\d+" in pattern
    assert "$1" in replacement


def test_some_layers_only_are_named_by_their_numbers():
    selected = [key for key in KEYS if key.split(".")[2] in ("2", "5", "11") and ".mlp." in key]
    pattern, _ = made(selected, lambda key: key.replace("mlp", "ffn"))
    assert "2|5|11" in pattern
    selected = [key for key in KEYS if key.split(".")[2] in "345" and ".mlp." in key]
    pattern, _ = made(selected, lambda key: key.replace("mlp", "ffn"))
    assert "[3-5]" in pattern


def test_one_key_alone_gets_a_rule_of_its_own():
    made(["encoder.norm.weight"], lambda _: "final.gamma")
    made(["attn.q.weight"], lambda key: f"x.{key}")
    made(["encoder.layer.3.attn.q.bias"], lambda _: "$1")


def test_what_no_single_replacement_can_do_is_refused_with_an_example():
    refusal = rule_from(["a.x", "b.x"], ["c.x", "d.x"], [])
    assert isinstance(refusal, NoRule)
    assert "a.x to c.x" in refusal.reason
    assert "b.x to d.x" in refusal.reason


@pytest.mark.parametrize(
    ("keys", "names", "others", "reason"),
    [
        ([], [], ["a"], "No key is selected"),
        (["a"], ["a"], [], "these names already"),
        (["a", "b"], ["c", "c"], [], "Two of the keys would get the name c"),
        (["a"], ["b"], ["b"], "Another key has the name b already"),
        (["a"], [""], [], "A name is empty"),
        (["a", "a"], ["b", "c"], [], "selected twice"),
        (["\ud800"], ["b"], [], "not valid Unicode"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(keys, names, others, reason):
    refusal = rule_from(keys, names, others)
    assert isinstance(refusal, NoRule)
    assert reason in refusal.reason


texts = st.text(st.sampled_from(list("ab.$(|)[]{}^*+?\\01 é")), min_size=1, max_size=8)


@given(texts, texts, st.lists(texts))
def test_an_exact_rule_renames_its_key_and_no_other(key, name, others):
    keys = [key, *(other for other in others if other != key)]
    assert wb.Mapping([exact_rule(key, name)]).remap_keys(keys) == [name, *keys[1:]]


@given(st.dictionaries(texts, texts, min_size=1, max_size=5), st.lists(texts, max_size=6))
def test_a_rule_from_keys_does_what_was_asked_or_there_is_none(wanted, others):
    rule = rule_from(list(wanted), list(wanted.values()), others)
    if isinstance(rule, NoRule):
        assert rule.reason
        return
    rest = [key for key in others if key not in wanted]
    after = wb.Mapping([rule]).remap_keys([*wanted, *rest])
    assert after == [*wanted.values(), *rest]
