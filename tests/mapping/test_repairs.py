"""Repairs that change a mapping, carried out and refused."""

from __future__ import annotations

import pytest

import workbench as wb
from workbench.finding import Repair
from workbench.mapping.repairs import repaired

MAPPING = wb.Mapping([wb.Rule("a", "b"), wb.Rule("c", "d", enabled=False), wb.Rule("e", "f")])


def texts(mapping: wb.Mapping) -> list[str]:
    return [rule.pattern for rule in mapping.rules]


def test_an_edited_rule_keeps_its_place_and_whether_it_is_on():
    mended = repaired(MAPPING, Repair.make("Edit", "edit-rule", rule=1, pattern="x", replacement="$0"))
    assert mended.rules[1] == wb.Rule("x", "$0", enabled=False)
    assert texts(mended) == ["a", "x", "e"]


def test_a_rule_is_added_before_the_one_it_names_or_at_the_end():
    for at, expected in ((0, ["x", "a", "c", "e"]), (3, ["a", "c", "e", "x"])):
        assert texts(repaired(MAPPING, Repair.make("Add", "add-rule", at=at, pattern="x", replacement=""))) == expected


def test_a_moved_rule_stands_where_it_is_to_stand():
    assert texts(repaired(MAPPING, Repair.make("Move", "move-rule", rule=2, to=0))) == ["e", "a", "c"]
    assert texts(repaired(MAPPING, Repair.make("Move", "move-rule", rule=0, to=2))) == ["c", "e", "a"]


def test_a_removed_rule_is_gone():
    assert texts(repaired(MAPPING, Repair.make("Remove", "remove-rule", rule=1))) == ["a", "e"]


def test_a_field_is_set_as_mapping_json_names_it():
    assert repaired(MAPPING, Repair.make("Set", "set", field="reindex", value=False)).reindex is False
    kept = repaired(MAPPING, Repair.make("Set", "set", field="keep_indices", value=["^a$"]))
    assert kept.keep_indices == ("^a$",)
    assert kept.rules == MAPPING.rules


def test_skipped_keys_are_taken_out_of_the_selection_once():
    once = repaired(MAPPING, Repair.make("Skip", "skip", keys=["a.w", "b.w"]))
    again = repaired(once, Repair.make("Skip", "skip", keys=["b.w"]))
    assert [(pick.kind, pick.text) for pick in again.selection.exclude] == [("key", "a.w"), ("key", "b.w")]


@pytest.mark.parametrize(
    ("do", "arguments", "says"),
    [
        ("export", {"format": "safetensors"}, "does not change a mapping"),
        ("edit-rule", {"rule": 3, "pattern": "a", "replacement": ""}, "'rule' is 3"),
        ("edit-rule", {"rule": -1, "pattern": "a", "replacement": ""}, "'rule' is -1"),
        ("edit-rule", {"rule": True, "pattern": "a", "replacement": ""}, "'rule' is True"),
        ("edit-rule", {"rule": 0, "pattern": "a"}, "lacks 'replacement'"),
        ("add-rule", {"at": 4, "pattern": "a", "replacement": ""}, "'at' is 4"),
        ("move-rule", {"rule": 0, "to": 3}, "'to' is 3"),
        ("remove-rule", {}, "lacks 'rule'"),
        ("set", {"field": "rules", "value": []}, "no field 'rules'"),
        ("set", {"field": "colour", "value": 1}, "no field 'colour'"),
        ("set", {"field": "reindex", "value": "yes"}, "reindex"),
        ("skip", {"keys": "a.w"}, "'keys'"),
        ("skip", {"keys": [1]}, "must be texts"),
    ],
)
def test_a_repair_that_does_not_fit_is_refused_with_the_reason(do, arguments, says):
    with pytest.raises(wb.MappingError, match=says):
        repaired(MAPPING, Repair.make("Mend", do, **arguments))


def test_a_pattern_that_is_no_regex_is_refused_as_a_rule_is():
    with pytest.raises(wb.RuleError):
        repaired(MAPPING, Repair.make("Edit", "edit-rule", rule=0, pattern="(", replacement=""))
