"""What a selection of keys may mean as a pattern: up to three readings, the most general one first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.mapping import regex

_MOST = 3
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """A pattern that matches all chosen keys, how many keys it matches in all, and what it says in words."""

    pattern: str
    n_keys: int
    words: str


def readings(keys: Sequence[str], all_keys: Sequence[str]) -> tuple[Reading, ...]:
    r"""Patterns for what `keys` have in common, each with the number of `all_keys` that it matches.

    >>> [each.pattern for each in readings(["h.0.attn.w", "h.1.attn.w"], ["h.0.attn.w", "h.1.attn.w", "h.0.mlp.w"])]
    ['^h\\.', '^h\\.[0-9]+\\.attn\\.w$']
    """
    if not keys:
        return ()
    column = regex.column(all_keys)
    found: list[Reading] = []
    for pattern, words in _drafts(list(dict.fromkeys(keys))):
        n = int(regex.hits(column, pattern).sum())
        if all(n != other.n_keys for other in found):
            found.append(Reading(pattern, n, words))
    found.sort(key=lambda reading: -reading.n_keys)
    return tuple(found[-_MOST:])


def _drafts(keys: list[str]) -> list[tuple[str, str]]:
    split = [key.split(".") for key in keys]
    head = _common(split)
    drafts = []
    if 0 < head < min(map(len, split)):
        drafts.append((f"^{_escaped(split[0][:head])}\\.", "all that begin so"))
    numbered = {_numbered(key) for key in keys}
    if len(numbered) == 1:
        drafts.append((f"^{numbered.pop()}$", "with any number" if len(keys) > 1 else "this key with any number"))
    if len(keys) == 1:
        drafts.append((f"^{regex.escaped(keys[0])}$", "this key alone"))
    tail = min(_common([parts[::-1] for parts in split]), min(map(len, split)) - 1)
    if tail > 0:
        drafts.append((f"\\.{_escaped(split[0][-tail:])}$", "all that end so"))
    return drafts


def _escaped(segments: list[str]) -> str:
    return regex.escaped(".".join(segments))


def _numbered(key: str) -> str:
    """The key as a pattern in which every number may be another."""
    pieces = [regex.escaped(piece) for piece in _DIGITS.split(key)]
    return "[0-9]+".join(pieces)


def _common(lists: list[list[str]]) -> int:
    """How many first items all lists share."""
    n = 0
    for items in zip(*lists, strict=False):
        if any(item != items[0] for item in items):
            break
        n += 1
    return n
