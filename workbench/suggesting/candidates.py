"""Rules that could make an edit: from the most general one to the one that names its whole surroundings."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import reduce

from workbench.mapping.regex import escaped, literal
from workbench.suggesting.edits import Edit, Segment, Site, reach

__all__ = ["Draft", "drafts", "generalised", "numbered"]

Draft = tuple[str, str]
"""A pattern and its replacement."""

_MAX_ALTERNATIVES = 6
_MAX_COMPARED = 100
_DOT = r"\."
_VARIABLES = "".join(map(chr, range(0xF0000, 0xF0020)))


class _Writer:
    """Pattern and replacement, piece by piece; groups are numbered as they come."""

    def __init__(self) -> None:
        self.pattern = ""
        self.replacement = ""
        self.n_groups = 0
        self._open = False

    def text(self, pattern: str, replacement: str) -> None:
        self.pattern += pattern
        self.put(replacement)

    def put(self, replacement: str) -> None:
        if replacement and self._open and re.match(r"\w", replacement):
            cut = self.replacement.rindex("$")
            self.replacement = f"{self.replacement[:cut]}${{{self.replacement[cut + 1 :]}}}"
        self._open = self._open and not replacement
        self.replacement += replacement

    def kept(self, pattern: str) -> None:
        """A piece that stays: as text where it has one reading, as a group where not."""
        plain = re.sub(r"\\([^\w])", r"\1", pattern)
        if escaped(plain) == pattern:
            self.text(pattern, literal(plain))
        else:
            self.pattern += f"({pattern})"
            self.n_groups += 1
            self.group(self.n_groups)

    def group(self, number: int) -> None:
        self.put(f"${number}")
        self._open = True


def drafts(edit: Edit, sites: Sequence[Site], *, limit: int = 60) -> Iterator[Draft]:
    """Candidates for one edit at these sites, general ones first."""
    seen: set[Draft] = set()
    for draft in _drafts(edit, sites):
        if draft not in seen:
            seen.add(draft)
            yield draft
        if len(seen) >= limit:
            return


def _drafts(edit: Edit, sites: Sequence[Site]) -> Iterator[Draft]:
    at_root = {not site.before for site in sites}
    at_end = {not site.after for site in sites}
    left = r"\b" if len(at_root) == 2 else "^" if True in at_root else r"\."
    right = r"\b" if len(at_end) == 2 else "$" if True in at_end else r"\."
    if edit.old:
        yield _written(edit, left, "", "", right)
    elif edit.new and at_root == {True}:
        yield "^", ".".join(literal("".join(map(str, segment))) for segment in edit.new) + "."
    yield from _by_words(edit, sites, right)
    for depths in ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (1, 2)):
        yield from _beside(edit, sites, *depths)
    for root in sorted({_pattern(site.before[:1], {}) for site in sites if len(site.before) > 1}):
        if edit.old:
            yield _written(edit, "^", rf"{root}\..+", "", right)
            yield _written(edit, "^", rf"{root}\b.*", "", right)
    for site in sites:
        for fixed in ({}, dict(site.fixed)):
            for n_after in {0, min(1, len(site.after)), len(site.after)}:
                for n_before in {min(2, len(site.before)), len(site.before)}:
                    yield _at(edit, site, n_before, n_after, fixed)


def _beside(edit: Edit, sites: Sequence[Site], n_before: int, n_after: int) -> Iterator[Draft]:
    """With so many neighbouring segments: all that occur as alternatives, then each by itself."""
    near = [site for site in sites if len(site.before) >= n_before and len(site.after) >= n_after]
    if not near or (not edit.old and not n_before and not n_after):
        return
    found: dict[tuple[str, str, str, str], None] = {}
    for site in near:
        before = _pattern(site.before[len(site.before) - n_before :], {})
        left = r"\." if len(site.before) > n_before else "^"
        right = r"\." if len(site.after) > n_after else "$"
        found.setdefault((left, before, _pattern(site.after[:n_after], {}), right))
    if 1 < len(found) <= _MAX_ALTERNATIVES:
        lefts, befores, afters, rights = (sorted(set(column)) for column in zip(*found, strict=True))
        if len(befores) == 1 or len(afters) == 1:
            yield _written(
                edit,
                lefts[0] if len(lefts) == 1 else r"\b",
                "|".join(befores),
                "|".join(afters),
                rights[0] if len(rights) == 1 else r"\b",
            )
    for left, before, after, right in found:
        yield _written(edit, left, before, after, right)
    for site in near:
        fixed = dict(site.fixed)
        if any(part in fixed for segment in (*site.before[-n_before:], *site.after[:n_after]) for part in segment):
            yield _at(edit, site, n_before, n_after, fixed)


def _by_words(edit: Edit, sites: Sequence[Site], right: str) -> Iterator[Draft]:
    """With what the segments before it end in: `norm` of `norm1`, `final_norm`, `input_layernorm`."""
    if not edit.old or not all(site.before and site.before[-1] for site in sites):
        return
    ends = []
    for site in sites:
        segment = site.before[-1]
        number = isinstance(segment[-1], int)
        word = segment[-2] if number and len(segment) > 1 else segment[-1]
        if isinstance(word, str):
            ends.append((word.rsplit("_", 1)[-1] if not word.endswith("_") else word, number))
    if len(ends) == len(sites):
        common = reduce(_head, [word[::-1] for word, _ in ends])[::-1]
        if len(common) > 1:
            yield _written(edit, "", escaped(common) + _digits(n for _, n in ends), "", right)
    for word in sorted({word for word, _ in ends}):
        if len(word) > 1:
            yield _written(edit, "", escaped(word) + _digits(n for other, n in ends if other == word), "", right)


def _digits(present: Iterator[bool]) -> str:
    kinds = set(present)
    return r"\d*" if len(kinds) == 2 else r"\d+" if True in kinds else ""


def _at(edit: Edit, site: Site, n_before: int, n_after: int, fixed: dict[int, str]) -> Draft:
    before = site.before[len(site.before) - n_before :]
    left = r"\." if len(site.before) > n_before else "^"
    right = r"\." if len(site.after) > n_after else "$"
    if not edit.old and not before and not site.after[:n_after]:
        n_after = 1
        right = r"\." if len(site.after) > n_after else "$"
    return _written(edit, left, _pattern(before, fixed), _pattern(site.after[:n_after], fixed), right)


def _pattern(segments: Sequence[Segment], fixed: dict[int, str]) -> str:
    return r"\.".join(
        "".join(escaped(part) if isinstance(part, str) else fixed.get(part, r"\d+") for part in segment)
        for segment in segments
    )


def _written(edit: Edit, left: str, before: str, after: str, right: str) -> Draft:
    """The rule with the boundary `left`, `before` kept, the edit, `after` kept, and the boundary `right`."""
    out = _Writer()
    empty = not (before or edit.new or after)
    dot_left, dot_right = left == _DOT, right == _DOT
    out.text(left, "." if dot_left and (not empty or dot_right) else "")
    first_old = first_new = True
    if before:
        out.kept(before)
        first_old = first_new = False
    for segment in edit.old:
        out.pattern += "" if first_old else _DOT
        first_old = False
        for part in segment:
            out.pattern += escaped(part) if isinstance(part, str) else r"(\d+)"
    shift = out.n_groups
    out.n_groups += len({part for segment in edit.old for part in segment if isinstance(part, int)})
    for segment in edit.new:
        out.put("" if first_new else ".")
        first_new = False
        for part in segment:
            if isinstance(part, str):
                out.put(literal(part))
            else:
                out.group(shift + part + 1)
    if after:
        out.text("" if first_old else _DOT, "" if first_new else ".")
        out.kept(after)
    out.text(right, "." if dot_right and not empty else "")
    return out.pattern, out.replacement


def numbered(edit: Edit, site: Site, values: dict[int, str]) -> Iterator[Draft]:
    """Candidates whose surroundings name the numbers themselves; `values` has a pattern for each."""
    for n_before in range(len(site.before) + 1):
        for n_after in range(len(site.after) + 1):
            yield _at(edit, site, n_before, n_after, {})
            yield _at(edit, site, n_before, n_after, values)


def generalised(found: Sequence[tuple[Edit, Sequence[Site]]]) -> Iterator[tuple[Draft, int]]:
    """Rules for several edits at once that copy a word: ``q_proj`` to ``wq`` and ``k_proj`` to ``wk``."""
    plain = [(_text(edit.old), _text(edit.new), sites) for edit, sites in found]
    plain = [(old, new, sites) for old, new, sites in plain if old and new]
    families: dict[tuple[str, str, str, str], dict[str, Sequence[Site]]] = defaultdict(dict)
    for place, (old, new, sites) in enumerate(plain):
        for other_old, other_new, other_sites in plain[place + 1 : place + 1 + _MAX_COMPARED]:
            if old[0] != other_old[0] and old[-1] != other_old[-1]:
                continue
            one, other = _middle(old, other_old), _middle(new, other_new)
            if one and other and one[1:3] == other[1:3] and all(one[1:3]) and _whole_words(one):
                family = families[one[0], one[3], other[0], other[3]]
                family[one[1]], family[one[2]] = sites, other_sites
    for (head, tail, new_head, new_tail), words in families.items():
        sites = [site for mine in words.values() for site in mine]
        texts = sorted(words)
        if len(texts) > _MAX_ALTERNATIVES or any(char in _VARIABLES for text in texts for char in text):
            continue
        single = all(len(text) == 1 and text.isalnum() for text in texts)
        inner = f"([{''.join(texts)}])" if single else f"({'|'.join(map(escaped, texts))})"
        for left, right in _boundaries(sites):
            out = _Writer()
            out.text(left, "." if left == _DOT else "")
            out.pattern += _numbers(head) + inner + _numbers(tail) + right
            word = 1 + sum(char in _VARIABLES for char in head)
            for char in f"{new_head}\0{new_tail}":
                if char == "\0":
                    out.group(word)
                elif char in _VARIABLES:
                    number = _VARIABLES.index(char) + 1
                    out.group(number + (number >= word))
                else:
                    out.put(literal(char))
            out.put("." if right == _DOT else "")
            yield (out.pattern, out.replacement), min(reach(edit) for edit, mine in found if mine in words.values())


def _boundaries(sites: Sequence[Site]) -> Iterator[tuple[str, str]]:
    at_root = {not site.before for site in sites}
    at_end = {not site.after for site in sites}
    yield (
        r"\b" if len(at_root) == 2 else "^" if True in at_root else r"\.",
        r"\b" if len(at_end) == 2 else "$" if True in at_end else r"\.",
    )


def _text(segments: Sequence[Segment]) -> str:
    return ".".join("".join(p if isinstance(p, str) else _VARIABLES[p] for p in segment) for segment in segments)


def _numbers(text: str) -> str:
    return "".join(r"(\d+)" if char in _VARIABLES else escaped(char) for char in text)


def _middle(one: str, other: str) -> tuple[str, str, str, str] | None:
    """Common head, the two middles, common tail."""
    head = _head(one, other)
    rest, other_rest = one[len(head) :], other[len(head) :]
    tail = _head(rest[::-1], other_rest[::-1])[::-1]
    end = len(tail)
    return head, rest[: len(rest) - end], other_rest[: len(other_rest) - end], tail


def _head(one: str, other: str) -> str:
    """What both begin with."""
    n = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:n]


def _whole_words(cut: tuple[str, str, str, str]) -> bool:
    head, one, other, tail = cut
    before = head[-1:].isalpha() and (one[0].isalpha() or other[0].isalpha())
    after = tail[:1].isalpha() and (one[-1].isalpha() or other[-1].isalpha())
    return not before and not after
