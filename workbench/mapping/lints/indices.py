"""Lints on list indices: renumbering that nobody asked for, indices that are no clean list, what Burn makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.mapping.lints.look import N_SAMPLES, Look, counted, quoted
from workbench.mapping.regex import escaped
from workbench.mapping.reindex import as_index, nested_indices

_N_PARENTS = 20_000
_N_ROWS = 2_000
_N_READ = 8
_MAX_DEPTH = 64
_NUMBER = re.compile("[0-9]+")


def renumbered(look: Look) -> Iterator[Finding]:
    """Containers whose indices are closed up, and those of which only a later part is here."""
    if look.plan.remapped is look.plan.after_rules:
        return
    ours = look.mapping.reindex is True or not look.reader.version or look.mapping.route == "exported"
    who = "Reindexing" if ours else f"{look.reader.name} by itself"
    for shape, moved in _moved(look).items():
        tables = {prefix: _numbers(look, prefix) for prefix in list(moved)[:_N_READ]}
        old = next((table for table in tables.values() if table and table[0] != 0), next(iter(tables.values())))
        starts_late = bool(old) and old[0] != 0
        name = shape.removesuffix(".") or "the root"
        where = repr(name) if len(moved) == 1 else f"{len(moved):,} containers {name!r}"
        text = f"{who} renumbers {where}: {_listed(old)} become {_listed(list(range(len(old))))}."
        if starts_late:
            text += " The first ones are not here, so a part of a list is taken for the whole."
        ways = _kept(look, shape)
        yield Finding(
            "renumbered-from-middle" if starts_late else "renumbered",
            Severity.WARNING if starts_late else Severity.NOTE,
            name,
            text,
            "Keep these indices if the model has the same gaps."
            if ways
            else f"{look.reader.name} cannot keep them. Make them names by a rule, or export the file.",
            keys=look.originals(list(moved.values())[:N_SAMPLES]),
            repair=look.offer(ways, _at_rest(set(moved))),
        )


def odd_indices(look: Look) -> Iterator[Finding]:
    """Indices with leading zeros or a plus that meet others."""
    if not look.plan.reindexes:
        return
    mask = regex.hits(look.last, r"(?:^|\.)(?:\+[0-9]+|0[0-9]+)(?:\.|$)")
    if not mask.any():
        return
    wanted: dict[tuple[str, int], dict[str, int]] = {}
    for row in look.rows(mask, _N_ROWS):
        prefix = ""
        for segment in look.plan.after_rules[row].split("."):
            number = as_index(segment)
            if number is not None and segment != str(number):
                wanted.setdefault((prefix, number), {}).setdefault(segment, row)
            prefix += segment + "."
    told = {key for collision in look.plan.collisions for key in collision.originals}
    merged = [
        (key, names)
        for key, names in wanted.items()
        if (len(names) > 1 or _has_plain(look, key)) and not told.issuperset(look.originals(names.values()))
    ]
    if merged:
        (prefix, number), names = merged[0]
        rows = list(names.values())
        place = prefix.removesuffix(".") or "the root"
        does = (
            "a random choice of one list or two names"
            if look.reader.indices == "nested"
            else "one name, and a tensor lost"
        )
        yield Finding(
            "index-written-twice",
            Severity.ERROR,
            place,
            f"{quoted([*names, str(number)] if len(names) == 1 else names)} below {place!r} are the same number, so "
            f"reindexing makes them {does}.",
            "Rename one of them, or keep the indices.",
            keys=look.originals(rows[:4]),
            repair=look.offer(
                [Repair.make("Keep all indices", "set", field="reindex", value=False)]
                if look.reader.can_switch_indices
                else [],
                lambda trial: trial.plan.n_out > look.plan.n_out,
            ),
        )


def root_indices(look: Look) -> Iterator[Finding]:
    """Keys that begin with a number: no field of a Rust struct can have that name."""
    if not look.reader.version:
        return
    mask = look.where(r"^\+?[0-9]+(?:\.|$)")
    if mask.any():
        rows = look.rows(mask)
        yield Finding(
            "index-at-root",
            Severity.WARNING,
            look.plan.after_rules[rows[0]],
            f"{counted(int(mask.sum()), 'key')} {'begins' if mask.sum() == 1 else 'begin'} with a number, as those of "
            "a bare nn.Sequential do. No field of a Burn module can be named so.",
            "Put the name of the field before it.",
            keys=look.originals(rows),
            repair=look.offer(
                [
                    Repair.make(
                        "Put layers. before the numbers",
                        "add-rule",
                        at=len(look.mapping.rules),
                        pattern=r"^(\+?[0-9]+(?:\.|$))",
                        replacement="layers.$1",
                    )
                ],
                lambda trial: not trial.where(r"^\+?[0-9]+(?:\.|$)").any(),
            ),
        )
    dotted = look.where(r"^\.\+?[0-9]+(?:\.|$)")
    if dotted.any() and mask.any() and look.plan.reindexes and look.reader.dot_is_root:
        rows = [*look.rows(dotted, 2), *look.rows(mask, 2)]
        yield Finding(
            "leading-dot-index",
            Severity.WARNING,
            look.plan.after_rules[rows[0]],
            f"{look.reader.name} counts the number after a leading dot together with the numbers that keys begin with: "
            f"{look.plan.after_rules[rows[0]]!r} and {look.plan.after_rules[rows[-1]]!r} are numbered as one list.",
            "Give these keys a name without the leading dot.",
            keys=look.originals(rows),
        )


def nested_lists(look: Look) -> Iterator[Finding]:
    """What burn-import's tree of lists and maps cannot hold: a list of lists, and numbers beside names."""
    if look.reader.indices != "nested" or look.mapping.route != "original":
        return
    below = look.where(r"[^.]\.[0-9]+\.[0-9]+\.")
    if below.any():
        rows = look.rows(below)
        yield Finding(
            "index-below-index",
            Severity.WARNING,
            look.plan.after_rules[rows[0]],
            f"{look.reader.name} makes no list of an index directly below an index "
            f'({look.plan.after_rules[rows[0]]!r}): a Vec of Vecs fails with "Expected Vec but got".',
            "Put a name between the two numbers and a struct between the two Vecs.",
            keys=look.originals(rows),
        )
    told: dict[str, list[Finding]] = {}
    if look.where(r"(?:^|\.)\+?[0-9]{7,}(?:\.|$)").any() or _may_be_mixed(look.last_seen):
        result = nested_indices(regex.at(look.last, range(len(look.last))))
        for finding in (*result.random, *result.panics):
            told.setdefault(finding.code, []).append(finding)
    for first, *others in told.values():
        more = f" So it is in {counted(len(others), 'other container')}." if others else ""
        yield replace(first, text=f"{first.text}{more}")


def _moved(look: Look) -> dict[str, dict[str, int]]:
    """Prefixes below which an index moves, with a row of each, those together that differ in indices only."""
    old_keys, new_keys = look.plan.after_rules, look.plan.remapped
    rows: dict[str, int] = {}
    done: set[str] = set()
    for row, (old_key, new_key) in enumerate(zip(old_keys, new_keys, strict=True)):
        if old_key == new_key:
            continue
        parent = old_key[: old_key.rfind(".")]
        if parent in done and not old_key[-1:].isdigit():
            continue
        if len(done) >= _N_PARENTS:
            break
        done.add(parent)
        prefix = ""
        for old, new in zip(old_key.split("."), new_key.split("."), strict=True):
            if old != new:
                rows.setdefault(prefix, row)
            prefix += old + "."
    shapes: dict[str, dict[str, int]] = {}
    for prefix, row in rows.items():
        shape = _NUMBER.sub("*", prefix)
        shapes.setdefault(shape, {})[prefix] = row
    return shapes


def _numbers(look: Look, prefix: str) -> list[int]:
    """The indices below `prefix`, in order."""
    mask = regex.hits(look.last, "^" + escaped(prefix) + r"\+?[0-9]+(?:\.|$)")
    found = {look.plan.after_rules[row][len(prefix) :].partition(".")[0] for row in np.flatnonzero(mask)}
    return sorted({number for text in found if (number := as_index(text)) is not None})


def _kept(look: Look, shape: str) -> list[Repair]:
    """Ways to keep the indices below the prefixes of one shape."""
    name = shape.removesuffix(".")
    repairs = []
    if look.reader.keep_lists or not look.reader.version:
        kept = [*look.mapping.keep_indices, "^" + r"[0-9]+".join(escaped(part) for part in name.split("*")) + "$"]
        repairs.append(
            Repair.make(f"Keep the indices of {name or 'the root'}", "set", field="keep_indices", value=kept)
        )
    if look.reader.can_switch_indices:
        repairs.append(Repair.make("Keep all indices", "set", field="reindex", value=False))
    return repairs


def _at_rest(prefixes: set[str]) -> Callable[[Look], bool]:
    """That no index below `prefixes` moves."""

    def works(trial: Look) -> bool:
        return trial.plan.remapped is trial.plan.after_rules or all(
            prefixes.isdisjoint(moved) for moved in _moved(trial).values()
        )

    return works


def _may_be_mixed(paths: regex.Keys) -> bool:
    """Whether numbers and names stand below one prefix, in keys of which those alike in other digits are one."""
    numbers: set[str] = set()
    names: set[str] = set()
    for _ in range(_MAX_DEPTH):
        for path in regex.at(paths, range(len(paths))):
            prefix, dot, segment = path.rpartition(".")
            if dot:
                (names if as_index(segment) is None else numbers).add(_NUMBER.sub("0", prefix))
        paths = regex.parents(paths)
        if not len(paths):
            break
    return not numbers.isdisjoint(names)


def _has_plain(look: Look, key: tuple[str, int]) -> bool:
    prefix, number = key
    return bool(regex.hits(look.last, "^" + escaped(f"{prefix}{number}") + r"(?:\.|$)").any())


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:6]))
    return "{" + shown + (", …}" if len(numbers) > 6 else "}")
