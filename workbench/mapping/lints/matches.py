"""Lints on where in a key a rule matches: several times, inside names, at nothing, with a dot that is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.mapping.lints.look import Look, Mask, counted, each_rule, quoted
from workbench.mapping.lints.misses import END, MARK
from workbench.mapping.lints.syntax import Syntax

_PROBE = "\ufdd2\ufdd2"


@each_rule
def hits_several_times(look: Look, n: int) -> Iterator[Finding]:
    """All matches in a key are replaced, not the first alone."""
    if not look.n_hits(n) or matches_nothing(look, n):
        return
    several = _several(look, n)
    if not several.any():
        return
    rows, count = look.hit_rows(n, several), look.count(n, several)
    found = look.syntax(n)
    example = regex.at(look.before(n), np.flatnonzero(several)[:1])[0]
    is_name = any(token.kind in ("class", "open") or token.value.isalnum() for token in found.tokens)
    candidates = [look.edit(n, f"Write {text}", text) for text in (found.between("^", ""), found.between("", "$"))]
    mask = look.mask(n)
    yield look.on_rule(
        n,
        "several-hits",
        Severity.WARNING if is_name else Severity.NOTE,
        f"{counted(count, 'key')} {'has' if count == 1 else 'have'} more than one match, and "
        f"every match is replaced: {example!r}.",
        "Anchor the pattern (^ beginning, $ end of the key) if one of them is meant.",
        rows=rows,
        repair=look.offer(
            candidates,
            lambda trial: bool((trial.mask(n) == mask).all()) and not _several(trial, n).any(),
        ),
    )


@each_rule
def matches_inside_names(look: Look, n: int) -> Iterator[Finding]:
    """A pattern that matches whole names in some keys, and a part of a longer name in others."""
    if not look.n_hits(n) or matches_nothing(look, n):
        return
    starts, ends = _inside(look, n)
    if starts is None and ends is None:
        return
    found = look.syntax(n)
    inside = look.none(n)
    for mask in (starts, ends):
        if mask is not None:
            inside |= mask
    before = r"\b" if starts is not None else ""
    after = r"\b" if ends is not None else ""
    texts = [found.between(before, after)]
    if before:
        texts.insert(0, found.between("^", after))
    part = _first_match(look, n, inside)
    meant = _mask_of_whole(look, n, starts is not None, ends is not None)
    yield look.on_rule(
        n,
        "matches-inside-names",
        Severity.WARNING,
        f"Nothing holds the pattern to whole names: in {counted(look.count(n, inside), 'key')} it matches {part[0]!r} "
        f"inside {part[1]!r}, in others a whole name.",
        r"Add ^, \b or \. where the name should begin or end.",
        rows=look.hit_rows(n, inside),
        repair=look.offer(
            [look.edit(n, f"Write {text}", text) for text in texts],
            lambda trial: bool((trial.mask(n) == meant).all()) and all(mask is None for mask in _inside(trial, n)),
        ),
    )


@each_rule
def dot_matches_any(look: Look, n: int) -> Iterator[Finding]:
    """A dot without a backslash that also matches other characters in this file."""
    if not look.n_hits(n) or not _has_stray_dot(look, n):
        return
    found = look.syntax(n)
    mixed, others = [], look.none(n)
    for dot in found.lone_dots:
        other = regex.hits(look.before(n), found.replaced({dot.start: r"[^.]"}))
        if other.any() and regex.hits(look.before(n), found.replaced({dot.start: r"\."})).any():
            mixed.append(dot)
            others |= other
    if not mixed:
        return
    text = found.replaced({dot.start: r"\." for dot in mixed})
    keys = regex.at(look.before(n), np.flatnonzero(others)[:3])
    yield look.on_rule(
        n,
        "dot-matches-any",
        Severity.WARNING,
        f"A dot in a pattern stands for any character. In {counted(look.count(n, others), 'key')} it matches "
        f"another one than a dot: {quoted(keys)}.",
        r"Write \. for a dot.",
        rows=look.hit_rows(n, others),
        repair=look.offer(
            [look.edit(n, f"Write {text}", text)],
            lambda trial: trial.n_hits(n) > 0,
        ),
    )


@each_rule
def matches_empty_text(look: Look, n: int) -> Iterator[Finding]:
    """``x*`` matches the nothing between any two letters, and that is replaced too."""
    if not look.n_hits(n) or not matches_nothing(look, n):
        return
    rule, found = look.rule(n), look.syntax(n)
    changed = regex.differ(look.before(n), look.after(n))
    example = regex.at(look.after(n), np.flatnonzero(changed)[:1]) if changed.any() else []
    yield look.on_rule(
        n,
        "matches-empty-text",
        Severity.WARNING,
        f"{rule.pattern} also matches nothing at all, so the replacement comes between all letters"
        + (f": {example[0][:80]!r}." if example else "."),
        "Write + for * (at least one), or anchor the pattern.",
        rows=look.hit_rows(n, changed),
        repair=look.offer(
            _at_least_one(look, n, found),
            lambda trial: not matches_nothing(trial, n),
        ),
    )


def _several(look: Look, n: int) -> Mask:
    """Which of the hit keys have more than one match."""
    found = look.syntax(n)
    if found.starts_at_beginning or found.ends_at_end:
        return look.none(n)
    return regex.count_each(look.before(n), look.rule(n).pattern) > 1


def _marked(look: Look, n: int) -> regex.Keys:
    return regex.replace_all(look.before(n), look.rule(n).pattern, f"{MARK}${{0}}{END}")


_MID_START, _MID_END = rf"\w{MARK}\w", rf"\w{END}\w"
_AT_START, _AT_END = rf"(?:^|[^\w]){MARK}\w", rf"\w{END}(?:[^\w]|$)"


def _inside(look: Look, n: int) -> tuple[Mask | None, Mask | None]:
    """Hit keys in which a match begins, and ends, inside a name; None where all hits are alike in that."""
    found = look.syntax(n)
    if not found.is_plain:
        return None, None
    starts = not found.starts_at_beginning and _may(look, n, found.between(r"\B", ""))
    ends = not found.ends_at_end and _may(look, n, found.between("", r"\B"))
    if not starts and not ends:
        return None, None
    marked = _marked(look, n)
    return (
        _mixed(marked, _MID_START, _AT_START) if starts else None,
        _mixed(marked, _MID_END, _AT_END) if ends else None,
    )


def _may(look: Look, n: int, pattern: str) -> bool:
    return regex.accepts(pattern) and bool(regex.hits(look.before(n), pattern).any())


def _mixed(marked: regex.Keys, inside: str, whole: str) -> Mask | None:
    mask = regex.hits(marked, inside)
    return mask if mask.any() and regex.hits(marked, whole).any() else None


def _mask_of_whole(look: Look, n: int, starts: bool, ends: bool) -> Mask:
    """Which rows have a match that is whole at the sides asked about."""
    body = rf"(?:[^{MARK}{END}]*)"
    pattern = (rf"(?:^|[^\w]){MARK}" if starts else MARK) + body + (rf"{END}(?:[^\w]|$)" if ends else END)
    return look.spread(n, regex.hits(_marked(look, n), pattern))


def _first_match(look: Look, n: int, inside: Mask) -> tuple[str, str]:
    """The text of a match inside a name, and that name."""
    key = regex.at(look.before(n), np.flatnonzero(inside)[:1])
    marked = regex.at(regex.replace_all(regex.column(key), look.rule(n).pattern, f"{MARK}${{0}}{END}"), [0])[0]
    for piece in marked.split(MARK)[1:]:
        text = piece.partition(END)[0]
        start = marked.index(MARK + piece)
        end = start + len(MARK + text + END)
        left = marked[start - 1] if start else ""
        right = marked[end : end + 1]
        if (left.isalnum() or left == "_") or (right.isalnum() or right == "_"):
            clean = marked.replace(MARK, "").replace(END, "")
            place = len(marked[:start].replace(MARK, "").replace(END, ""))
            first = clean.rfind(".", 0, place) + 1
            last = clean.find(".", place + len(text))
            return text, clean[first : last if last >= 0 else len(clean)]
    return key[0], key[0]


def _has_stray_dot(look: Look, n: int) -> bool:
    """Whether some dot of the pattern matches another character than a dot in a hit key."""
    found = look.syntax(n)
    return found.is_plain and any(
        regex.hits(look.before(n), found.replaced({dot.start: r"[^.]"})).any() for dot in found.lone_dots
    )


def matches_nothing(look: Look, n: int) -> bool:
    """Whether the pattern matches nothing, anywhere in a text that it knows nothing of."""
    return bool(regex.count_each(regex.column([_PROBE]), look.rule(n).pattern)[0] > len(_PROBE))


def _at_least_one(look: Look, n: int, found: Syntax) -> list[Repair]:
    """The pattern with its only ``*`` as ``+``."""
    stars = [token for token in found.tokens if token.kind == "repeat" and token.text.startswith("*")]
    if len(stars) != 1:
        return []
    text = found.replaced({stars[0].start: "+" + stars[0].text[1:]})
    return [look.edit(n, f"Write {text}", text)]
