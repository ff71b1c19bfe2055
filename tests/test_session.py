import pytest

import workbench as wb
from tests.make.named import checkpoint_named


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
