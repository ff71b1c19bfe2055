import pytest

import workbench as wb
from tests.make.named import checkpoint_named
from workbench.finding import Repair
from workbench.target import Target


def session(tmp_path, *keys):
    return wb.Session(checkpoint_named(tmp_path, keys or ["conv.a", "conv.b"]))


def remapped(session):
    return [row.remapped for row in session.plan.rows]


def test_each_change_gives_a_new_revision_and_plan(tmp_path):
    s = session(tmp_path)
    seen = []
    s.observe(lambda change: seen.append(change["new"]), names="revision")
    s.add_rule(wb.Rule(r"^conv\.", ""))
    assert remapped(s) == ["a", "b"]
    assert seen == [s.revision]


def test_undo_and_redo_walk_through_the_steps(tmp_path):
    s = session(tmp_path)
    s.add_rule(wb.Rule("a", "x"))
    s.add_rule(wb.Rule("b", "y"))
    s.move_rule(1, 0)
    s.toggle_rule(0, False)
    states = [s.mapping]
    while s.undo_label:
        s.undo()
        states.append(s.mapping)
    assert s.mapping == wb.Mapping()
    for state in reversed(states[:-1]):
        s.redo()
        assert s.mapping == state
    assert s.redo() is None


def test_typing_in_one_field_is_one_step(tmp_path):
    s = session(tmp_path)
    for pattern in ["c", "co", "con"]:
        rule = wb.Rule(pattern, "x")
        s.edit_rule(0, rule, typing="t1") if s.mapping.rules else s.add_rule(rule, typing="t1")
    s.edit_rule(0, wb.Rule("conv", "x"), typing="t2")
    s.undo()
    assert s.mapping.rules == (wb.Rule("con", "x"),)
    s.undo()
    assert s.mapping.rules == ()
    assert s.undo() is None


def test_a_new_step_forgets_what_was_undone(tmp_path):
    s = session(tmp_path)
    s.add_rule(wb.Rule("a", "x"))
    s.undo()
    s.add_rule(wb.Rule("b", "y"))
    assert s.redo_label is None
    assert s.mapping.rules == (wb.Rule("b", "y"),)


def test_rules_move_to_the_place_asked_for(tmp_path):
    s = session(tmp_path)
    rules = [wb.Rule(pattern, "") for pattern in "abc"]
    s.mapping = wb.Mapping(rules)
    s.move_rule(0, 2)
    assert [rule.pattern for rule in s.mapping.rules] == ["b", "c", "a"]
    s.delete_rule(1)
    assert [rule.pattern for rule in s.mapping.rules] == ["b", "a"]


@pytest.mark.parametrize("index", [-1, 1])
def test_a_rule_that_is_not_there_cannot_be_changed(tmp_path, index):
    s = session(tmp_path)
    s.add_rule(wb.Rule("a", "x"))
    before = s.mapping
    with pytest.raises(IndexError):
        s.delete_rule(index)
    assert s.mapping == before


def test_a_bad_file_leaves_the_error_and_raises_nothing(tmp_path):
    path = tmp_path / "bad.pt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    s = wb.Session(path)
    assert s.plan is None
    assert s.error is not None
    assert "bad.pt" in str(s.error)


def test_an_unknown_top_level_key_changes_nothing(tmp_path):
    s = session(tmp_path)
    before = s.revision, s.mapping, s.plan
    with pytest.raises(wb.WorkbenchError):
        s.choose_top_level_key("nope")
    assert (s.revision, s.mapping, s.plan) == before


def test_another_file_starts_with_a_fresh_mapping_and_no_undo(tmp_path):
    s = session(tmp_path)
    s.add_rule(wb.Rule("a", "x"))
    other = checkpoint_named(tmp_path, ["z"], "other.safetensors")
    s.open(other.path)
    assert s.mapping == wb.Mapping()
    assert s.undo_label is None
    assert remapped(s) == ["z"]


@pytest.mark.parametrize(
    ("decide", "field", "value"),
    [
        (lambda s: s.choose_burn("0.20", "burn-store"), "api", "burn-store"),
        (lambda s: s.choose_burn(None), "burn", None),
        (lambda s: s.choose_route("exported"), "route", "exported"),
        (lambda s: s.set_reindex(True), "reindex", True),
        (lambda s: s.set_keep_indices(["^a$"]), "keep_indices", ("^a$",)),
        (lambda s: s.set_skip_enum_variants(False), "skip_enum_variants", False),
        (lambda s: s.set_adapt(True), "layout", wb.Layout(True)),
        (lambda s: s.mark_module("conv", "Linear"), "layout", wb.Layout(None, (("conv", "Linear"),))),
        (lambda s: s.set_cast("float16"), "casts", (wb.Cast("float16"),)),
        (lambda s: s.skip_keys(["conv.a"]), "selection", wb.Selection(exclude=(wb.Pick("key", "conv.a"),))),
        (
            lambda s: s.set_selection(wb.Selection((wb.Pick("regex", "a"),))),
            "selection",
            wb.Selection((wb.Pick("regex", "a"),)),
        ),
        (
            lambda s: s.repair(Repair.make("Drop", "add-rule", at=0, pattern="^conv", replacement="c")),
            "rules",
            (wb.Rule("^conv", "c"),),
        ),
    ],
)
def test_each_decision_is_one_step_that_can_be_undone(tmp_path, decide, field, value):
    s = session(tmp_path)
    before = s.mapping
    decide(s)
    assert getattr(s.mapping, field) == value
    assert s.plan.mapping == s.mapping
    assert s.undo_label
    s.undo()
    assert s.mapping == before
    assert s.undo() is None


def test_skipped_keys_are_rows_with_a_reason_and_can_be_taken_again(tmp_path):
    s = session(tmp_path)
    s.skip_keys(["conv.a", "conv.a"])
    s.skip_keys(["conv.a"])
    assert [(str(row.status), row.reason) for row in s.plan.rows] == [
        ("skipped", "left out by exclude conv.a"),
        ("unchanged", ""),
    ]
    s.unskip_keys(["conv.a"])
    assert s.plan.n_out == 2


def test_a_key_is_renamed_by_a_rule_for_it_alone(tmp_path):
    s = session(tmp_path)
    s.rename_key("conv.a", "first")
    assert remapped(s) == ["first", "conv.b"]
    s.rename_key("conv.a", "second")
    assert remapped(s) == ["second", "conv.b"]
    assert len(s.mapping.rules) == 1


def test_a_cast_takes_the_place_of_the_last_one_for_the_same_tensors(tmp_path):
    s = session(tmp_path)
    s.set_cast("float16")
    s.set_cast("bfloat16", wb.Pick("key", "conv.a"))
    s.set_cast("float64")
    assert [row.cast for row in s.plan.rows] == ["float64", "float64"]
    s.set_cast(None)
    assert [row.cast for row in s.plan.rows] == ["bfloat16", ""]


def test_another_file_keeps_what_the_names_are_for(tmp_path):
    s = session(tmp_path)
    s.choose_burn("0.20", "burn-store")
    s.choose_route("exported")
    s.skip_keys(["conv.a"])
    s.open(checkpoint_named(tmp_path, ["z"], "other.safetensors").path)
    assert s.mapping == wb.Mapping(burn="0.20", api="burn-store", route="exported")


def test_choosing_a_top_level_key_keeps_all_other_decisions(tmp_path):
    s = session(tmp_path)
    s.set_cast("float16")
    s.toggle_rule(s.add_rule(wb.Rule("a", "b", note="why")), False)
    s.choose_top_level_key(None)
    assert s.mapping.casts == (wb.Cast("float16"),)
    assert s.mapping.rules == (wb.Rule("a", "b", False, "why"),)


def test_a_target_is_followed_and_is_no_step_for_undo(tmp_path):
    s = session(tmp_path)
    s.choose_target(Target.from_keys(["conv.a", "conv.c"]))
    assert s.plan.coverage().missing == ("conv.c",)
    s.add_rule(wb.Rule("b$", "c"))
    assert s.plan.coverage().complete
    s.undo()
    assert s.undo() is None
    assert s.plan.target is s.target
