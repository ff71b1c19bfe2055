"""Carrying out the repairs that change a mapping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from workbench.errors import MappingError, printable
from workbench.finding import Repair
from workbench.mapping.mapping import Mapping
from workbench.mapping.rules import Rule
from workbench.mapping.selection import Pick

__all__ = ["repaired"]

_T = TypeVar("_T")
_FIXED = ("schema", "version", "rules")


def repaired(mapping: Mapping, repair: Repair) -> Mapping:
    """`mapping` with `repair` carried out.

    Raises MappingError where the repair is not one of a mapping or its arguments do not fit this mapping, RuleError
    where a pattern is not a regex.

    >>> repaired(Mapping([Rule("a", "b")]), Repair.make("Remove", "remove-rule", rule=0))
    Mapping()
    """
    do = _DO.get(repair.do)
    if do is None:
        raise _refused(repair, f"It is {printable(repair.do, 40)!r}, which does not change a mapping.")
    return do(mapping, repair)


def _edit_rule(mapping: Mapping, repair: Repair) -> Mapping:
    n = _index(mapping, repair, "rule")
    pattern, replacement = _argument(repair, "pattern", str), _argument(repair, "replacement", str)
    rules = list(mapping.rules)
    rules[n] = replace(rules[n], pattern=pattern, replacement=replacement)
    return mapping.with_rules(rules)


def _add_rule(mapping: Mapping, repair: Repair) -> Mapping:
    at = _index(mapping, repair, "at", extra=1)
    rule = Rule(_argument(repair, "pattern", str), _argument(repair, "replacement", str))
    return mapping.with_rules((*mapping.rules[:at], rule, *mapping.rules[at:]))


def _add_rules(mapping: Mapping, repair: Repair) -> Mapping:
    at = _index(mapping, repair, "at", extra=1)
    pairs = _argument(repair, "rules", (list, tuple))
    if not all(isinstance(pair, (list, tuple)) and list(map(type, pair)) == [str, str] for pair in pairs):
        raise _refused(repair, "Its rules must be pairs of texts, pattern and replacement.")
    new = tuple(Rule(pattern, replacement) for pattern, replacement in pairs)
    return mapping.with_rules((*mapping.rules[:at], *new, *mapping.rules[at:]))


def _move_rule(mapping: Mapping, repair: Repair) -> Mapping:
    n, to = _index(mapping, repair, "rule"), _index(mapping, repair, "to")
    rules = list(mapping.rules)
    rules.insert(to, rules.pop(n))
    return mapping.with_rules(rules)


def _remove_rule(mapping: Mapping, repair: Repair) -> Mapping:
    n = _index(mapping, repair, "rule")
    return mapping.with_rules(mapping.rules[:n] + mapping.rules[n + 1 :])


def _set(mapping: Mapping, repair: Repair) -> Mapping:
    field = _argument(repair, "field", str)
    data = mapping.to_json()
    if field not in data or field in _FIXED:
        raise _refused(repair, f"A mapping has no field {printable(field, 40)!r} that can be set.")
    return Mapping.from_json(data | {field: _argument(repair, "value", object)})


def _skip(mapping: Mapping, repair: Repair) -> Mapping:
    keys = _argument(repair, "keys", (list, tuple))
    if not all(isinstance(key, str) for key in keys):
        raise _refused(repair, "Its keys must be texts.")
    selection = mapping.selection
    known = {pick.text for pick in selection.exclude if pick.kind == "key"}
    picks = tuple(Pick("key", key) for key in dict.fromkeys(keys) if key not in known)
    return replace(mapping, selection=replace(selection, exclude=selection.exclude + picks))


def _fold(mapping: Mapping, repair: Repair) -> Mapping:
    return mapping.with_fold(True)


_DO: dict[str, Callable[[Mapping, Repair], Mapping]] = {
    "edit-rule": _edit_rule,
    "add-rule": _add_rule,
    "add-rules": _add_rules,
    "move-rule": _move_rule,
    "remove-rule": _remove_rule,
    "set": _set,
    "skip": _skip,
    "fold": _fold,
}


def _argument(repair: Repair, name: str, kind: type[_T] | tuple[type[_T], ...]) -> _T:
    arguments = dict(repair.arguments)
    if name not in arguments:
        raise _refused(repair, f"It lacks {name!r}.")
    value = arguments[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _refused(repair, f"Its {name!r} is {printable(repr(value), 60)}.")
    return value


def _index(mapping: Mapping, repair: Repair, name: str, extra: int = 0) -> int:
    n = _argument(repair, name, int)
    if not 0 <= n < len(mapping.rules) + extra:
        raise _refused(repair, f"Its {name!r} is {n}, and the mapping has {len(mapping.rules)} rules, counted from 0.")
    return n


def _refused(repair: Repair, cause: str) -> MappingError:
    return MappingError(
        f"The repair {printable(repair.label, 80)!r} does not fit this mapping.",
        cause=cause,
        next_step="Look at the findings of the present mapping.",
        code="repair-refused",
    )
