"""Lints on the keys that come out: collisions, empty names, names that differ too little."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.mapping.lints.look import Look, Mask, counted, is_text, quoted
from workbench.mapping.lints.replacements import meant_replacement
from workbench.mapping.lints.syntax import Token, references

if TYPE_CHECKING:
    from workbench.mapping.collisions import Collision

_N_TRACED = 200
_N_SOURCES = 6
_N_ROWS = 2000

Maker = int | None
"""The rule that makes names meet; None for the file itself, -1 for reindexing."""


def collisions(look: Look) -> Iterator[Finding]:
    """Keys that several tensors get, and keys that other keys lie below, by the rule that makes them meet."""
    groups: dict[tuple[str, Maker], list[Collision]] = {}
    traced = look.plan.collisions[:_N_TRACED]
    rows_of = _rows(look, traced)
    for collision, maker in zip(traced, _makers(look, traced, rows_of), strict=True):
        groups.setdefault((collision.kind, maker), []).append(collision)
    rows = dict(zip(map(id, traced), rows_of, strict=True))
    for (kind, maker), found in groups.items():
        first = found[0]
        more = len(look.plan.collisions) > _N_TRACED
        n = f"{len(found):,}{' or more' if more else ''}"
        because = "in the file" if maker is None else "by reindexing" if maker == -1 else f"by rule {maker + 1}"
        if kind == "same":
            code, what = "collision", f"{n} {'name is' if n == '1' else 'names are'} given to several tensors {because}"
            said = f"{first.remapped!r} to {_sources(look, first, rows[id(first)])}"
            lost = _what_is_lost(look)
            next_step = "Make the names differ, or skip all tensors but one of each name."
        else:
            code = "key-is-prefix"
            what = f"{n} {'key is' if n == '1' else 'keys are'} also the beginning of other keys, made so {because}"
            said = f"{first.remapped!r} of {first.originals[0]!r}, above {_sources(look, first, rows[id(first)], 1)}"
            lost = "A module tree holds a tensor or a module under one name, not both."
            next_step = "Rename the tensor or the module."
        keys = tuple(key for each in found for key in each.originals)[: _N_SOURCES * 2]
        rule = maker if maker is not None and maker >= 0 else None
        repair = None
        if rule is not None:
            repair = look.offer(
                _apart(look, rule),
                _resolved(look, first),
                rows=rows[id(first)],
                good=_all_different if first.kind == "same" else None,
            )
        elif maker == -1:
            repair = look.offer(
                [Repair.make("Keep the indices", "set", field="reindex", value=False)], _resolved(look, first)
            )
        place = f"rule {rule + 1}" if rule is not None else first.remapped
        text = f"{what}: {said}. {lost}"
        yield Finding(code, Severity.ERROR, place, text, next_step, rule=rule, keys=keys, repair=repair)


def empty_names(look: Look) -> Iterator[Finding]:
    """Keys that become empty, or get an empty segment."""
    for code, pattern, what in (
        ("empty-key", "^$", "an empty name"),
        ("empty-segment", r"^\.|\.\.|\.$", "an empty segment (a dot at its beginning or end, or two in a row)"),
    ):
        bad = _text_rows(look, look.where(pattern))
        if not bad.any():
            continue
        rest = bad
        for n in reversed(look.rules):
            made = rest & look.mask(n) & ~look.where(pattern, n)
            if not made.any():
                continue
            rest = rest & ~made
            examples = [look.plan.after_rules[row] for row in look.rows(made, 2)]
            yield look.on_rule(
                n,
                code,
                Severity.WARNING,
                f"{counted(int(made.sum()), 'key')} {'gets' if made.sum() == 1 else 'get'} {what}: {quoted(examples)}. "
                "No field of a model has such a name.",
                "Match the dot together with the name that goes.",
                rows=look.rows(made),
                repair=look.offer(
                    _with_dot(look, n),
                    _clean(n, pattern, made),
                    rows=look.rows(made),
                    good=_free_of(pattern),
                ),
            )
        if rest.any():
            rows = look.rows(rest)
            text = f"{counted(int(rest.sum()), 'key')} of the file {'has' if rest.sum() == 1 else 'have'} {what}."
            keys = look.originals(rows)
            yield Finding(code, Severity.NOTE, keys[0], text, "Add a rule that names them.", keys=keys)


def differ_in_case(look: Look) -> Iterator[Finding]:
    """Two names that a file system, or a reader's eye, takes for one."""
    last = look.last
    n = regex.n_distinct(last)
    if regex.n_distinct(last, lowercase=True) == n:
        return
    groups = _groups(look, str.lower)
    if groups:
        names, rows = next(iter(groups.values()))
        yield Finding(
            "differs-in-case",
            Severity.NOTE,
            names[0],
            f"{counted(len(groups), 'time')} keys differ in capitals only: {quoted(names)}.",
            "See whether both are meant; formats with a file a tensor may take them for one.",
            keys=look.originals(rows),
        )


def differ_in_normalisation(look: Look) -> Iterator[Finding]:
    """Two names that look the same and are written with other code points."""
    if not look.where(r"[^\x00-\x7f]").any():
        return
    groups = _groups(look, lambda key: unicodedata.normalize("NFKC", key))
    if groups:
        names, rows = next(iter(groups.values()))
        yield Finding(
            "differs-in-normalisation",
            Severity.WARNING,
            names[0],
            f"{counted(len(groups), 'time')} keys look alike and are written with other Unicode characters: "
            f"{', '.join(ascii(name) for name in names[:4])}.",
            "Rename one of them.",
            keys=look.originals(rows),
        )


def _groups(look: Look, fold: Callable[[str], str]) -> dict[str, tuple[list[str], list[int]]]:
    """Different names with the same fold: names and rows."""
    seen: dict[str, dict[str, int]] = {}
    for row, key in enumerate(look.plan.remapped):
        seen.setdefault(fold(key), {}).setdefault(key, row)
    return {key: (list(names), list(names.values())) for key, names in seen.items() if len(names) > 1}


def _text_rows(look: Look, mask: Mask) -> Mask:
    """`mask` without the rows whose key the crate cannot hold."""
    mask = mask.copy()
    for row in look.rows(mask, _N_ROWS):
        if not is_text(look.plan.originals[row]):
            mask[row] = False
    return mask


def _makers(look: Look, collisions: Sequence[Collision], rows: Sequence[list[int]]) -> list[Maker]:
    """For each collision the last rule before which the names did not meet."""
    every = [row for each in rows for row in each]
    makers: list[Maker] = [None] * len(collisions)
    open_ones = set(range(len(collisions)))
    for n, keys in [(-1, look.last), *((n, look.plan.keys_before(n)) for n in reversed(look.rules))]:
        if not open_ones:
            break
        names, end = regex.at(keys, every), 0
        for place, each in enumerate(rows):
            begin, end = end, end + len(each)
            if place in open_ones and not _meet(collisions[place].kind, names[begin:end]):
                makers[place] = n
                open_ones.remove(place)
    return makers


def _meet(kind: str, names: list[str]) -> bool:
    if kind == "same":
        return len(set(names)) == 1
    return all(name.startswith(names[0] + ".") for name in names[1:])


def _rows(look: Look, collisions: Sequence[Collision]) -> list[list[int]]:
    """The rows of the first sources of each collision; of equal keys each stands for its own row."""
    wanted = {key for each in collisions for key in each.originals[:_N_SOURCES]}
    rows_of: dict[str, list[int]] = {}
    for row, key in enumerate(look.plan.originals if wanted else ()):
        if key in wanted:
            rows_of.setdefault(key, []).append(row)
    found = []
    for collision in collisions:
        rows: list[int] = []
        taken: dict[str, int] = {}
        for key in collision.originals[:_N_SOURCES]:
            place = taken.get(key, 0)
            taken[key] = place + 1
            rows.append(rows_of[key][min(place, len(rows_of[key]) - 1)])
        found.append(rows)
    return found


def _sources(look: Look, collision: Collision, rows: list[int], skip: int = 0) -> str:
    rows = rows[skip:]
    said = [f"{look.plan.originals[row]!r} {_shape(look.plan.tensors[row].shape)}" for row in rows]
    n_more = len(collision.originals) - skip - len(rows)
    return ", ".join(said) + (f" and {n_more:,} more" if n_more else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _what_is_lost(look: Look) -> str:
    reader = look.reader
    if not reader.version or look.mapping.route == "exported":
        return "One name can hold one tensor."
    if reader.survivor == "arbitrary":
        return f"{reader.name} keeps an arbitrary one of them and says nothing."
    if reader.survivor == "none":
        return "One name can hold one tensor."
    return f"{reader.name} keeps the one with the {reader.survivor} and says nothing."


def _resolved(look: Look, first: Collision) -> Callable[[Look], bool]:
    sources = set(first.originals)

    def works(trial: Look) -> bool:
        return trial.plan.n_out > look.plan.n_out and not any(
            len(sources & set(each.originals)) > 1 for each in trial.plan.collisions
        )

    return works


def _all_different(names: list[str]) -> bool:
    return len(set(names)) == len(names)


def _free_of(pattern: str) -> Callable[[list[str]], bool]:
    odd = re.compile(pattern)
    return lambda names: not any(map(odd.search, names))


def _apart(look: Look, n: int) -> list[Repair]:
    """Rule texts that keep what tells the sources apart."""
    rule, syntax = look.rule(n), look.syntax(n)
    asked = {each.name for each in references(rule.replacement)}
    candidates: list[tuple[str, str]] = []
    meant = meant_replacement(look, n)
    if meant != rule.replacement:
        candidates.append((rule.pattern, meant))
    if syntax.lone_dots:
        candidates.append((syntax.replaced({dot.start: r"\." for dot in syntax.lone_dots}), rule.replacement))

    def keep(pattern: str, reference: str, replacement: str) -> None:
        stem = replacement.rstrip(".")
        dots = replacement[len(stem) :]
        candidates.append((pattern, stem + reference + dots))
        if stem:
            candidates.append((pattern, f"{stem}.{reference}{dots}"))
        else:
            candidates.append((pattern, reference + "."))

    for number, name in enumerate(syntax.names, start=1):
        if not {str(number), name} & asked and "0" not in asked:
            keep(rule.pattern, f"${{{number}}}", rule.replacement)
    for part in _loose_parts(syntax.tokens):
        start, end = part
        pattern = f"{rule.pattern[:start]}({rule.pattern[start:end]}){rule.pattern[end:]}"
        number = 1 + sum(
            token.kind == "open" and not token.text.endswith(":") for token in syntax.tokens if token.start < start
        )
        keep(pattern, f"${{{number}}}", _shifted(rule.replacement, number))
    candidates += [(syntax.between("^", ""), rule.replacement), (syntax.between(r"\b", r"\b"), rule.replacement)]
    return [
        look.edit(n, f"Write {pattern} → {replacement}", pattern, replacement) for pattern, replacement in candidates
    ]


def _loose_parts(tokens: tuple[Token, ...]) -> Iterator[tuple[int, int]]:
    """The classes and dots outside of groups, each with its repetition: start and end in the pattern."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0 and token.kind in ("class", "dot"):
            after = tokens[place + 1] if place + 1 < len(tokens) else None
            yield token.start, after.end if after is not None and after.kind == "repeat" else token.end


def _shifted(replacement: str, number: int) -> str:
    """`replacement` for a pattern that has one more group, `number`, than before."""
    parts, place = [], 0
    for each in references(replacement):
        parts.append(replacement[place : each.start])
        moved = each.name.isdigit() and int(each.name) >= number
        parts.append(f"${{{int(each.name) + 1}}}" if moved else replacement[each.start : each.end])
        place = each.end
    return "".join(parts) + replacement[place:]


def _with_dot(look: Look, n: int) -> list[Repair]:
    """Rule texts that take the dot away together with the name, or leave none of their own."""
    rule, syntax = look.rule(n), look.syntax(n)
    texts = [(rule.pattern, meant_replacement(look, n))]
    if not syntax.ends_at_end:
        texts.append((syntax.between("", r"\."), rule.replacement))
    if not syntax.starts_at_beginning:
        texts.append((syntax.between(r"\.", ""), rule.replacement))
    texts += [(rule.pattern, rule.replacement.rstrip(".")), (rule.pattern, rule.replacement.lstrip("."))]
    return [
        look.edit(n, f"Write {pattern} → {replacement or 'nothing'}", pattern, replacement)
        for pattern, replacement in texts
        if (pattern, replacement) != (rule.pattern, rule.replacement)
    ]


def _clean(n: int, pattern: str, made: Mask) -> Callable[[Look], bool]:
    """Every key that had got an empty name is hit still, and has none now."""

    def works(trial: Look) -> bool:
        return bool((trial.mask(n) | ~made).all()) and not (trial.where(pattern) & made).any()

    return works
