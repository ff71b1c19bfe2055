import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests import oracles
from tests.make.named import checkpoint_named
from tests.writing.made import checkpoint_of
from workbench.mapping.renaming import renamed


def test_a_trace_tells_what_each_rule_made_of_the_key(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["m.enc.2.w", "m.enc.0.w", "b"])
    rules = [wb.Rule(r"^m\.", ""), wb.Rule("x", "y"), wb.Rule("off", "", enabled=False), wb.Rule("enc", "e")]
    trace = wb.Mapping(rules, reindex=True).plan(ckpt).trace("m.enc.2.w")
    assert [(step.rule, step.what, step.before, step.after) for step in trace.steps] == [
        (0, "rule", "m.enc.2.w", "enc.2.w"),
        (3, "rule", "enc.2.w", "e.2.w"),
        (None, "reindexing", "e.2.w", "e.1.w"),
    ]
    assert (trace.original, trace.final) == ("m.enc.2.w", "e.1.w")
    assert str(trace).splitlines() == [
        "m.enc.2.w",
        "  rule 1: m.enc.2.w → enc.2.w",
        "  rule 4: enc.2.w → e.2.w",
        "  reindexing: e.2.w → e.1.w",
    ]


def test_a_trace_goes_on_to_layout_cast_and_why_it_is_left_out(tmp_path):
    ckpt = checkpoint_of(tmp_path / "n.safetensors", {"fc.weight": np.zeros((2, 3), np.float32)})
    mapping = wb.Mapping(
        layout=wb.Layout(True, (("fc", "Linear"),)),
        casts=[wb.Cast("float16")],
        selection=wb.Selection(exclude=(wb.Pick("key", "fc.weight"),)),
    )
    plan = mapping.plan(ckpt)
    steps = [(step.what, step.before, step.after) for step in plan.trace(plan.rows[0]).steps]
    assert steps == [
        ("layout", "[2, 3]", "[3, 2]"),
        ("cast", "float32", "float16"),
        ("skipped", "fc.weight", "fc.weight"),
    ]
    assert plan.trace(0).steps[-1].note == "left out by exclude fc.weight"


def test_a_trace_begins_with_the_key_in_the_whole_file(tmp_path):
    torch = oracles.torch()
    torch.save({"training": {"model": {"fc.w": torch.zeros(1)}, "step": torch.zeros(1)}}, tmp_path / "t.pt")
    plan = wb.Mapping(top_level_key="training.model").plan(wb.open(tmp_path / "t.pt"))
    assert plan.originals == ("fc.w",)
    assert [tensor.key for tensor in plan.outside] == ["training.step"]
    for key in ("fc.w", "training.model.fc.w"):
        trace = plan.trace(key)
        assert (trace.original, trace.steps[0].what) == ("training.model.fc.w", "top-level key")


def test_an_exact_top_level_key_outranks_a_path(tmp_path):
    torch = oracles.torch()
    torch.save({"a.b": {"x": torch.zeros(1)}, "a": {"b": {"y": torch.zeros(1)}}}, tmp_path / "t.pt")
    assert wb.Mapping(top_level_key="a.b").plan(wb.open(tmp_path / "t.pt")).originals == ("x",)
    with pytest.raises(wb.WorkbenchError, match=r"no top-level key 'a\.c'"):
        wb.Mapping(top_level_key="a.c").plan(wb.open(tmp_path / "t.pt"))


def test_an_unknown_key_has_no_trace(tmp_path):
    with pytest.raises(wb.UnknownKeyError, match=r"named\.safetensors"):
        wb.Mapping().plan(checkpoint_named(tmp_path, ["a"])).trace("b")


rules = st.lists(
    st.builds(wb.Rule, st.sampled_from(["a", r"\.", "^b", "[ab]$"]), st.sampled_from(["", "b", "$0.0"]), st.booleans()),
    max_size=4,
)


@settings(max_examples=40)
@given(rules, st.integers(0, 4), st.integers(0, 4))
def test_stopping_after_some_rules_composes_and_is_the_plan_of_these_rules(tmp_path_factory, chosen, m, k):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("plan"), ["a.0.w", "a.2.w", "b.b", "b", "x"])
    plan = wb.Mapping(chosen, reindex=True).plan(ckpt)
    k, m = sorted((min(m, len(chosen)), min(k, len(chosen))))
    assert list(plan.upto(m).upto(k).rows) == list(plan.upto(k).rows)
    alone = wb.Mapping(chosen[:k], reindex=k == len(chosen)).plan(ckpt)
    assert list(plan.upto(k).rows) == list(alone.rows)
    rows = range(len(ckpt))
    assert plan.rows_after(plan.mapping, rows) == plan.after_rules
    for row in rows:
        path = plan.trace(row)
        assert path.final == plan.remapped[row]
        assert all(one.after == other.before for one, other in zip(path.steps, path.steps[1:], strict=False))


def test_there_is_no_stop_beyond_the_last_rule(tmp_path):
    plan = wb.Mapping([wb.Rule("a", "b")]).plan(checkpoint_named(tmp_path, ["a"]))
    assert plan.upto(1) is plan
    with pytest.raises(IndexError):
        plan.upto(2)


def test_a_key_gets_a_name_of_its_own_by_an_exact_rule(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a.w", "a.wx", "b+c"])
    plan = wb.Mapping([wb.Rule("^a", "z")]).plan(ckpt)
    mapping = renamed(plan, "a.w", "c$1\\d")
    assert [row.remapped for row in plan.update(mapping).rows] == ["c$1\\d", "z.wx", "b+c"]
    again = renamed(plan.update(mapping), "a.w", "other")
    assert len(again.rules) == 2
    assert [row.remapped for row in plan.update(again).rows] == ["other", "z.wx", "b+c"]
    assert renamed(plan.update(again), "a.w", "z.w") == plan.mapping


def test_of_two_tensors_with_one_name_one_gets_another_before_they_meet(tmp_path):
    plan = wb.Mapping([wb.Rule("^[ab]", "x")]).plan(checkpoint_named(tmp_path, ["a.w", "b.w"]))
    mapping = renamed(plan, "b.w", "y.w")
    assert [row.remapped for row in plan.update(mapping).rows] == ["x.w", "y.w"]
    with pytest.raises(wb.MappingError, match="No rule gives"):
        renamed(plan, "b.w", "a.q")  # the rule that follows would take it too
