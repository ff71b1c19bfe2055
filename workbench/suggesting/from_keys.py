"""Make a rule from these keys: the shortest one that gives each its name and touches nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import printable
from workbench.mapping import regex
from workbench.mapping.renaming import exact_rule
from workbench.mapping.rules import Rule
from workbench.suggesting.candidates import Draft, drafts, generalised, numbered
from workbench.suggesting.edits import NUMBER, Edit, Site, edits, groups

__all__ = ["NoRule", "rule_from"]

_MAX_VALUES = 12


@dataclass(frozen=True, slots=True)
class NoRule:
    """Why no single rule does it, in words; `touched` are keys that the nearest one would change too."""

    reason: str
    touched: tuple[str, ...] = ()


def rule_from(keys: Sequence[str], names: Sequence[str], others: Collection[str]) -> Rule | NoRule:
    """The shortest rule that makes each of `keys` its name and changes none of `others`, or why there is none.

    `others` are the keys that must stay as they are; those also in `keys` are left out of it. Numbers are captured.
    """
    wanted = dict(zip(keys, names, strict=True))
    rest = [key for key in dict.fromkeys(others) if key not in wanted]
    refusal = _refusal(keys, names, wanted, rest)
    if refusal is not None:
        return refusal
    changed = [(key, name) for key, name in wanted.items() if key != name]
    drafted = dict.fromkeys(_drafts(changed))
    column, apart = regex.column(list(wanted)), regex.column(rest)
    best: Draft | None = None
    nearest: tuple[Draft, tuple[str, ...]] | None = None
    for draft in sorted(drafted, key=lambda draft: len(draft[0]) + len(draft[1])):
        if regex.replace_all(column, *draft).to_list() != list(wanted.values()):
            continue
        after = regex.replace_all(apart, *draft).to_list()
        touched = tuple(old for old, new in zip(rest, after, strict=True) if old != new)
        if not touched:
            best = draft
            break
        if nearest is None or len(touched) < len(nearest[1]):
            nearest = draft, touched
    if best is not None:
        return Rule(*best)
    if len(changed) == 1:
        return exact_rule(*changed[0])
    if nearest is not None:
        (pattern, _), touched = nearest
        shown = ", ".join(printable(key, 60) for key in touched[:3])
        more = f" and {len(touched) - 3:,} more" if len(touched) > 3 else ""
        return NoRule(f"The rule that fits best, {pattern}, would also change {shown}{more}.", touched)
    first, second = changed[0], changed[-1]
    return NoRule(
        f"No single replacement does both: {printable(first[0], 80)} to {printable(first[1], 80)}, "
        f"and {printable(second[0], 80)} to {printable(second[1], 80)}. Make a rule from fewer keys."
    )


def _refusal(keys: Sequence[str], names: Sequence[str], wanted: Mapping[str, str], rest: list[str]) -> NoRule | None:
    if not keys:
        return NoRule("No key is selected.")
    if any(wanted[key] != name for key, name in zip(keys, names, strict=True)):
        return NoRule("A key is selected twice with different names.")
    if any(not _is_text(text) for text in (*wanted, *wanted.values(), *rest)):
        return NoRule("A key or name is not valid Unicode text, so no rule can hold it.")
    if "" in wanted.values():
        return NoRule("A name is empty.")
    if len(set(wanted.values())) < len(wanted):
        twice = next(name for name in wanted.values() if list(wanted.values()).count(name) > 1)
        return NoRule(f"Two of the keys would get the name {printable(twice, 80)}.")
    met = set(wanted.values()) & set(rest)
    if met:
        return NoRule(f"Another key has the name {printable(min(met), 80)} already.")
    if all(key == name for key, name in wanted.items()):
        return NoRule("The keys have these names already.")
    return None


def _drafts(pairs: Sequence[tuple[str, str]]) -> Iterator[Draft]:
    """Candidates; numbers that are the same everywhere come as text too, few values as alternatives."""
    found = groups(pairs)
    table: dict[Edit, dict[Site, None]] = {}
    counts: dict[Edit, int] = {}
    for group in found:
        mine = set()
        values = _values(group.members, pairs)
        for edit, site, _ in edits(group):
            table.setdefault(edit, {})[site] = None
            mine.add(edit)
            yield from numbered(edit, site, values)
        for edit in mine:
            counts[edit] = counts.get(edit, 0) + 1
    for edit, sites in table.items():
        if counts[edit] == len(found):
            yield from drafts(edit, list(sites), limit=200)
    for draft, _ in generalised([(edit, list(sites)) for edit, sites in table.items()]):
        yield draft


def _values(members: Sequence[int], pairs: Sequence[tuple[str, str]]) -> dict[int, str]:
    """For each number of the keys a pattern of exactly the values that it has; all or nothing for long ones."""
    columns: dict[int, dict[str, None]] = {}
    for member in members:
        for place, number in enumerate(NUMBER.findall(pairs[member][0])):
            columns.setdefault(place, {})[number] = None
    found = {}
    for place, values in columns.items():
        texts = sorted(values, key=lambda text: (len(text), text))
        if len(texts) > _MAX_VALUES:
            continue
        digits = all(len(text) == 1 for text in texts)
        if len(texts) == 1:
            found[place] = texts[0]
        elif digits and int(texts[-1]) - int(texts[0]) == len(texts) - 1:
            found[place] = f"[{texts[0]}-{texts[-1]}]"
        elif digits:
            found[place] = f"[{''.join(texts)}]"
        else:
            found[place] = f"(?:{'|'.join(texts)})"
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
