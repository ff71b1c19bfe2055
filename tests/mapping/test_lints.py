"""Lints: for each one mapping that has it and a near miss that has not, and its repair carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.make import pickles as p
from tests.make.safetensors import safetensors_file
from tests.make.zips import torch_zip
from workbench.checkpoint import Checkpoint, checkpoint_of
from workbench.core.source import MemorySource
from workbench.errors import RuleError
from workbench.finding import Finding, Severity
from workbench.mapping.lints import lints
from workbench.mapping.lints.look import Look
from workbench.mapping.plan import Plan
from workbench.mapping.repairs import repaired
from workbench.mapping.selection import Pick, Selection

Rules = Sequence[tuple[str, str]]
_VALUE = np.zeros(1, "<f4").tobytes()
_TENSOR = p.tensor("0", 1, (1,), (1,))


def safetensors(*keys: str) -> Checkpoint:
    data = safetensors_file([(key, "F32", (1,), _VALUE) for key in keys])
    return checkpoint_of(MemorySource(data, "net.safetensors"))


def pytorch(*keys: str, below: str | None = None) -> Checkpoint:
    root = p.ordered_dict(*((p.text(key), _TENSOR) for key in keys))
    if below is not None:
        root = p.dict_of((p.text(below), root), (p.text("epoch"), p.number(3)))
    return checkpoint_of(MemorySource(torch_zip(p.pickle(root), {"0": _VALUE}), "net.pt"))


def planned(ckpt: Checkpoint, rules: Rules, **options: Any) -> Plan:
    return wb.Mapping([wb.Rule(*rule) for rule in rules], **options).plan(ckpt)


def found(plan: Plan, code: str) -> list[Finding]:
    return [finding for finding in lints(plan) if finding.code == code]


class Case(NamedTuple):
    code: str
    keys: str
    rules: Rules
    near: tuple[str, Rules]
    """The same without the lint: other keys, other rules."""
    mended: tuple[str, ...] | None = None
    """The new names after the repair; None where there is no repair."""
    options: Mapping[str, Any] = MappingProxyType({})
    pt: bool = False

    def checkpoint(self, keys: str) -> Checkpoint:
        return (pytorch if self.pt else safetensors)(*keys.split())


CASES = [
    Case(
        "no-hit-shadowed",
        "conv1.w conv2.w",
        [("^conv", "c"), ("^conv1", "first")],
        ("conv1.w conv2.w", [("^conv1", "first"), ("^conv", "c")]),
        ("first.w", "c2.w"),
    ),
    Case(
        "no-hit-case",
        "Conv1.w",
        [("^conv1", "c")],
        ("conv1.w", [("^conv1", "c")]),
        ("c.w",),
    ),
    Case(
        "no-hit-prefix",
        "module.fc.w module.b",
        [("^fc", "linear")],
        ("module.fc.w module.b", [("fc", "linear")]),
        ("module.linear.w", "module.b"),
    ),
    Case("no-hit-suffix", "fc.w x.b", [("fc$", "linear")], ("a.fc x.b", [("fc$", "linear")]), ("linear.w", "x.b")),
    Case("no-hit-typo", "encoder.w", [("^encodr", "e")], ("decoder.w", [("^xyzzy", "e")]), ("e.w",)),
    Case("no-hit", "a.w", [("^xyzzy", "e")], ("xyzzy.w", [("^xyzzy", "e")]), ("a.w",)),
    Case(
        "several-hits",
        "module.net.module.w",
        [(r"module\.", "")],
        ("module.net.w net.module.w", [(r"module\.", "")]),
        ("net.module.w",),
    ),
    Case(
        "matches-inside-names",
        "layers.1.w layers.10.w",
        [(r"layers\.1", "first")],
        ("layers.1.w layers.2.w", [(r"layers\.1", "first")]),
        ("first.w", "layers.10.w"),
    ),
    Case(
        "dot-matches-any",
        "a.conv.bn.w b.conv1bn.w",
        [("conv.bn", "cb")],
        ("a.conv.bn.w b.conv1bn.w", [(r"conv\.bn", "cb")]),
        ("a.cb.w", "b.conv1bn.w"),
    ),
    Case("matches-empty-text", "axb", [("x*", "-")], ("axb", [("x+", "-")]), ("a-b",)),
    Case("no-effect", "a.w b.w", [("^a", "a")], ("a.w b.w", [("^a", "c")]), ("a.w", "b.w")),
    Case(
        "duplicate-rule",
        "m.a",
        [(r"^m\.", ""), (r"^m\.", "")],
        ("m.m.a", [(r"^m\.", ""), (r"^m\.", "")]),
        ("a",),
    ),
    Case("not-idempotent", "a.w", [("^", "net.")], ("net.a.w", [(r"^net\.", "")])),
    Case(
        "undoes-earlier-rule",
        "a.w c.w",
        [("^a", "b"), ("^b", "a")],
        ("a.w b.w", [("^a", "b"), ("^b", "c")]),
        ("b.w", "c.w"),
    ),
    Case("not-reversible", "enc.w dec.v", [(r"^(enc|dec)\.", "")], ("enc.w dec.v", [(r"^(enc|dec)\.", "${1}_")])),
    Case("empty-key", "module x", [("^module$", "")], ("module x", [("^module$", "m")])),
    Case("empty-segment", "module.a b", [("^module", "")], ("module.a b", [(r"^module\.", "")]), ("a", "b")),
    Case(
        "collision",
        "layer1.w layer2.w",
        [(r"layer(\d)", "layer")],
        ("layer1.w layer2.w", [(r"layer(\d)", "layer$1")]),
        ("layer1.w", "layer2.w"),
    ),
    Case("key-is-prefix", "a b.c", [("^b", "a")], ("a.d b.c", [("^b", "a")])),
    Case("group-name-runs-on", "conv1.w", [(r"conv(\d)", "c$1a")], ("conv1.w", [(r"conv(\d)", "c${1}a")]), ("c1a.w",)),
    Case("unknown-group", "conv1.w", [(r"conv(\d)", "c$2")], ("conv1.w", [(r"conv(\d)", "c$1")]), ("c1.w",)),
    Case("python-group", "conv1.w", [(r"conv(\d)", r"c\1x")], ("conv1.w", [(r"conv(\d)", "c$1.x")]), ("c1x.w",)),
    Case(
        "backslash-in-replacement",
        "conv1.w",
        [(r"conv(\d)\.", r"c.$1\.")],
        ("conv1.w", [(r"conv(\d)\.", r"c.$1.")]),
        ("c.1.w",),
    ),
    Case("differs-in-case", "A.w a.w", [], ("A.w b.w", [])),
    Case("differs-in-normalisation", "\u00e9.w e\u0301.w", [], ("\u00e9.w e.w", [])),
    Case("renumbered", "a.0.w a.2.w", [], ("a.0.w a.1.w", []), ("a.0.w", "a.2.w"), {"reindex": True}),
    Case("renumbered-from-middle", "a.5.w a.6.w", [], ("a.0.w a.6.w", []), ("a.5.w", "a.6.w"), {"reindex": True}),
    Case("index-at-root", "0.w 1.w", [], ("a.0.w a.1.w", []), ("layers.0.w", "layers.1.w")),
    Case("leading-dot-index", ".3.w 0.w", [], (".a.w 0.w", []), None, {"reindex": True}),
    Case("huge-index", "a.12345678.w", [], ("a.h12345678.w", []), None, {"burn": "0.20"}, True),
    Case("index-below-index", "v.0.2.w", [], ("v.0.a.2.w", []), None, {"burn": "0.20"}, True),
    Case("mixed-list", "a.0.w a.x.w", [], ("a.0.w a.1.w 0.w", []), None, {"burn": "0.20"}, True),
    Case(
        "norm-renamed-by-rule",
        "norm.weight norm.bias",
        [(r"norm\.weight", "norm.gamma")],
        ("norm.weight norm.bias", [("^norm", "ln")]),
        ("norm.weight", "norm.bias"),
        {"burn": "0.20"},
        True,
    ),
    Case("rules-in-export-only", "a.w", [("^a", "b")], ("a.w", []), ("b.w",), {"route": "exported"}),
    Case(
        "filter-cannot-exclude",
        "a.w b.w",
        [],
        ("a.w b.w", []),
        None,
        {"selection": Selection(exclude=(Pick("regex", "^b"),))},
    ),
    Case(
        "filter-tests-other-names",
        "a.w b.w",
        [("^a", "c")],
        ("a.w b.w", [("^b", "c")]),
        None,
        {"selection": Selection(include=(Pick("regex", "^a"),))},
    ),
    Case(
        "filtered-counts-missing",
        "a.w b.w",
        [],
        ("a.w b.w", []),
        None,
        {"selection": Selection(include=(Pick("regex", "^a"),))},
    ),
    Case(
        "no-filter",
        "a.w b.w",
        [],
        ("a.w b.w", []),
        None,
        {"selection": Selection(include=(Pick("regex", "^a"),)), "burn": "0.20"},
        True,
    ),
    Case(
        "keep-list-unsupported",
        "a.0.w a.1.w",
        [],
        ("a.0.w a.1.w", []),
        ("a.0.w", "a.1.w"),
        {"keep_indices": ("^a$",), "burn": "0.21"},
        True,
    ),
    Case(
        "reindex-unsupported",
        "a.0.w a.1.w",
        [],
        ("a.0.w a.1.w", []),
        ("a.0.w", "a.1.w"),
        {"reindex": False, "burn": "0.20"},
        True,
    ),
    Case(
        "enum-variants-unsupported",
        "a.w",
        [],
        ("a.w", []),
        ("a.w",),
        {"skip_enum_variants": True, "burn": "0.20"},
        True,
    ),
]
_BY_OPTION = {
    "filter-cannot-exclude": {},
    "filtered-counts-missing": {"burn": "0.23"},
    "no-filter": {"burn": "0.21"},
    "keep-list-unsupported": {"burn": "0.22"},
    "reindex-unsupported": {"burn": "0.21"},
    "enum-variants-unsupported": {"burn": "0.21"},
}
"""Near misses by other options: a version or a selection that the lint is not about."""

named = pytest.mark.parametrize("case", CASES, ids=[case.code for case in CASES])


@named
def test_a_mapping_that_has_the_fault_is_told_so_in_words(case):
    (finding, *_) = found(planned(case.checkpoint(case.keys), case.rules, **case.options), case.code)
    assert finding.text
    assert finding.next_step
    assert finding.place
    assert finding.rule is None or 0 <= finding.rule < len(case.rules)
    assert set(finding.keys) <= set(case.keys.split())


@named
def test_a_mapping_that_nearly_has_it_is_not(case):
    keys, rules = case.near
    options = case.options
    if case.code in _BY_OPTION:
        kept = {name: value for name, value in options.items() if _BY_OPTION[case.code]}
        options = {**kept, **_BY_OPTION[case.code]}
    assert not found(planned(case.checkpoint(keys), rules, **options), case.code)


@named
def test_the_repair_mends_it_and_loses_no_tensor(case):
    plan = planned(case.checkpoint(case.keys), case.rules, **case.options)
    repair = found(plan, case.code)[0].repair
    if case.mended is None:
        assert repair is None
        return
    assert repair is not None
    assert repair.label
    mended = repaired(plan.mapping, repair).plan(plan.checkpoint)
    assert not found(mended, case.code)
    assert sorted(row.remapped for row in mended.rows) == sorted(case.mended)
    assert mended.n_out >= plan.n_out


def test_a_clean_mapping_has_no_lints():
    keys = [
        f"module.layers.{n}.{name}.{part}" for n in range(12) for name in ("fc1", "fc2") for part in ("weight", "bias")
    ]
    rules = [(r"^module\.", ""), (r"^layers\.(\d+)\.", "blocks.$1."), (r"\.fc(\d)\.", ".linear$1.")]
    assert lints(planned(safetensors(*keys), rules)) == ()


def test_a_disabled_rule_is_not_looked_at():
    mapping = wb.Mapping([wb.Rule("^xyzzy", "$1a", enabled=False)])
    assert lints(mapping.plan(safetensors("a.w"))) == ()


def test_an_empty_file_has_no_lints():
    assert lints(planned(safetensors(), [("^a", "b")])) == ()


def test_errors_come_first_and_findings_stand_in_the_order_of_the_rules():
    plan = planned(safetensors("layer1.w", "layer2.w"), [("^xyzzy", ""), (r"layer\d", "layer")])
    severities = [finding.severity for finding in lints(plan)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert lints(plan)[0].code == "collision"


def test_a_collision_names_the_rule_that_made_it_and_all_sources_with_shapes():
    plan = planned(safetensors("a.w", "b.w", "c.w"), [("^c", "d"), ("^[ab]", "x")])
    (finding,) = found(plan, "collision")
    assert finding.rule == 1
    assert finding.keys == ("a.w", "b.w")
    assert "'x.w' to 'a.w' [1], 'b.w' [1]" in finding.text
    assert "arbitrary" in finding.text


def test_collisions_by_one_rule_are_one_finding():
    keys = [f"{letter}.{n}.w" for n in range(50) for letter in "ab"]
    (finding,) = found(planned(safetensors(*keys), [("^[ab]", "x")]), "collision")
    assert finding.text.startswith("50 names are")


def test_leading_zeros_that_collide_are_told_once_and_mended_by_keeping_the_indices():
    plan = planned(safetensors("p.01", "p.1"), [], reindex=True)
    (finding,) = found(plan, "collision")
    assert finding.rule is None
    assert finding.repair is not None
    assert repaired(plan.mapping, finding.repair).plan(plan.checkpoint).n_out == 2
    assert not found(plan, "index-written-twice")


def test_containers_that_differ_in_indices_only_are_one_finding():
    keys = [f"blocks.{n}.conv.{m}.w" for n in range(9) for m in (0, 3)]
    (finding,) = found(planned(safetensors(*keys), [], reindex=True), "renumbered")
    assert "9 containers 'blocks.*.conv'" in finding.text
    assert "{0, 3} become {0, 1}" in finding.text


def test_numbers_in_names_do_not_make_more_findings_of_one():
    keys = [f"layer{n}.{m}.down.{k}.w" for n in range(1, 5) for m in (0, 1) for k in (0, 2)]
    (finding,) = found(planned(safetensors(*keys), [], reindex=True), "renumbered")
    assert finding.place == "layer*.*.down"


def test_a_collision_by_a_wrong_reference_is_mended_by_the_right_one():
    plan = planned(safetensors("h.0.w", "h.1.w"), [(r"h\.(\d)", "layers.$1_x")])
    (finding,) = found(plan, "collision")
    assert finding.repair is not None
    assert finding.repair["replacement"] == "layers.${1}_x"


def test_one_container_is_kept_where_the_reader_can_keep_one():
    plan = planned(pytorch("a.0.w", "a.2.w", "b.1.w"), [], burn="0.22")
    finding = found(plan, "renumbered")[0]
    assert finding.repair is not None
    mended = repaired(plan.mapping, finding.repair).plan(plan.checkpoint)
    assert [row.remapped for row in mended.rows] == ["a.0.w", "a.2.w", "b.0.w"]


def test_a_reader_that_renumbers_without_a_switch_is_said_to():
    (finding,) = found(planned(pytorch("a.0.w", "a.2.w"), [], burn="0.20"), "renumbered")
    assert finding.repair is None
    assert "cannot keep" in finding.next_step
    assert "by itself" in finding.text


def test_a_pattern_that_names_the_top_level_key_is_mended_without_it():
    plan = planned(pytorch("fc.w", below="state"), [(r"^state\.fc", "linear")], top_level_key="state")
    (finding,) = found(plan, "no-hit-top-level-key")
    assert finding.repair is not None
    mended = repaired(plan.mapping, finding.repair).plan(plan.checkpoint)
    assert [row.remapped for row in mended.rows] == ["linear.w"]


def test_a_top_level_key_that_all_keys_have_is_offered():
    plan = planned(pytorch("fc.w", below="state"), [])
    (finding,) = found(plan, "top-level-key-missing")
    assert finding.repair is not None
    assert [row.remapped for row in repaired(plan.mapping, finding.repair).plan(plan.checkpoint).rows] == ["fc.w"]
    assert not found(planned(pytorch("fc.w", below="state"), [(r"^state\.", "")]), "top-level-key-missing")
    assert not found(planned(pytorch("fc.w"), []), "top-level-key-missing")


def test_names_that_a_pattern_only_ever_matches_in_part_are_meant():
    assert not found(planned(safetensors("fc1.w", "fc2.w"), [("fc", "linear")]), "matches-inside-names")


def test_a_rule_that_is_needed_for_other_norms_keeps_its_repair_to_itself():
    plan = planned(pytorch("in.weight", "fc.x"), [(r"in\.weight", "in.gamma")], burn="0.22")
    (finding,) = found(plan, "norm-renamed-by-rule")
    assert finding.severity is Severity.NOTE
    assert finding.repair is None


names = st.lists(
    st.lists(st.sampled_from(["a", "A", "ab", "1", "01", "12", "x", "", "é"]), min_size=1, max_size=4).map(".".join),
    min_size=1,
    max_size=8,
    unique=True,
)
PATTERNS = [
    "a",
    "^a",
    "b$",
    r"a\.",
    "a.",
    "x*",
    r"(\d+)",
    "(a)(b)?",
    "1",
    "^",
    r"\.",
    "[ab]",
    "(?i)A",
    "^ab|1",
    "(?x)a",
    "(?P<n>.)",
    r"\d",
    "[0-1]",
    "(?-u)a",
]
REPLACEMENTS = ["", "b", "$1", "$1a", "$2", r"\1", r"\.", "a.", ".a", "$0.0", "${n}", "$$"]
patterns = st.one_of(st.sampled_from(PATTERNS), st.text(r"ab1.^$*(|)\d[]?+", max_size=6))
replacements = st.one_of(st.sampled_from(REPLACEMENTS), st.text(r"a1.$\{}", max_size=5))


def valid(rules: Rules) -> list[wb.Rule]:
    made = []
    for rule in rules:
        try:
            made.append(wb.Rule(*rule))
        except RuleError:
            continue
    return made


mappings = st.builds(
    lambda rules, **options: wb.Mapping(valid(rules), **options),
    st.lists(st.tuples(patterns, replacements), max_size=4),
    reindex=st.sampled_from([None, True, False]),
    burn=st.sampled_from(["0.20", "0.21", "0.22", None]),
)
slowly = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@slowly
@given(names, mappings)
def test_no_offered_repair_raises_or_loses_a_tensor(keys, mapping):
    plan = mapping.plan(safetensors(*keys))
    for finding in lints(plan):
        assert set(finding.keys) <= set(keys)
        if finding.repair is not None:
            mended = repaired(mapping, finding.repair).plan(plan.checkpoint)
            assert mended.n_out >= plan.n_out


@slowly
@given(names, mappings)
def test_lints_of_keys_taken_in_groups_are_those_of_every_key(keys, mapping):
    plan = mapping.plan(safetensors(*keys))
    in_groups = lints(plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Look, "_view", property(lambda look: (np.arange(len(look.plan)),) * 2))
        assert [finding.code for finding in lints(plan)] == [finding.code for finding in in_groups]
        assert [finding.keys for finding in lints(plan)] == [finding.keys for finding in in_groups]


def test_a_top_level_key_deeper_than_burn_takes_is_said():
    net = p.dict_of((p.text("net"), p.ordered_dict((p.text("fc.w"), _TENSOR))))
    root = p.dict_of((p.text("model"), net))
    ckpt = checkpoint_of(MemorySource(torch_zip(p.pickle(root), {"0": _VALUE}), "net.pt"))
    (finding,) = found(planned(ckpt, [], top_level_key="model.net"), "top-level-key-nested")
    assert "'model'" in finding.next_step
    assert not found(planned(ckpt, [], top_level_key="model"), "top-level-key-nested")
    assert not found(planned(ckpt, [], top_level_key="model.net", route="exported"), "top-level-key-nested")


def test_an_index_written_in_two_ways_where_chance_decides_is_an_error():
    plan = planned(pytorch("a.x.w", "a.01.w", "a.1.w"), [], burn="0.20")
    (finding,) = found(plan, "index-written-twice")
    assert finding.severity is Severity.ERROR
    assert not found(planned(pytorch("a.x.w", "a.01.w", "a.2.w"), [], burn="0.20"), "index-written-twice")
