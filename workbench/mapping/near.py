"""Did you mean: for a parameter that is missing, the tensor of the file that is most likely meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["HintIndex", "Near", "NearIndex", "jaro"]

_THRESHOLD: Final = 0.7
_MAX_COMPARED: Final = 4_000
"""Names that are compared letter by letter for one question; the most promising ones first."""
_MAX_LENGTH: Final = 512
_N_LETTERS: Final = 128
_MAX_CANDIDATES: Final = 600
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_ALIASES: Final = {"gamma": "weight", "beta": "bias", "alpha": "weight", "kernel": "weight", "scale": "weight"}

Fit = Literal["same shape", "fits after transpose", "shape unknown", "other shape"]
_FITS: Final[tuple[Fit, ...]] = ("same shape", "fits after transpose", "shape unknown", "other shape")


@dataclass(frozen=True, slots=True)
class Near:
    """A tensor that may be meant: its row in the plan and its name there; `n_alike` others are as likely."""

    row: int
    name: str
    fit: Fit
    score: float
    n_alike: int = 0


def jaro(one: str, other: str) -> float:
    """The Jaro similarity of two texts, from 0 to 1.

    >>> round(jaro("fc_1.weight", "fc1.weight"), 4), jaro("", "")
    (0.9697, 1.0)
    """
    if not one or not other:
        return float(one == other)
    reach = max(max(len(one), len(other)) // 2 - 1, 0)
    taken = bytearray(len(other))
    matched = []
    for i, letter in enumerate(one):
        low = max(i - reach, 0)
        high = min(i + reach + 1, len(other))
        j = other.find(letter, low, high)
        while j >= 0 and taken[j]:
            j = other.find(letter, j + 1, high)
        if j >= 0:
            taken[j] = 1
            matched.append(letter)
    m = len(matched)
    if not m:
        return 0.0
    others = [letter for letter, is_taken in zip(other, taken, strict=True) if is_taken]
    swaps = sum(a != b for a, b in zip(matched, others, strict=True)) / 2
    return (m / len(one) + m / len(other) + (m - swaps) / m) / 3


class HintIndex:
    """Burn's own "Did you mean" (0.20 on): one of the sorted names that nobody asked for, or None."""

    def __init__(self, unused: Sequence[str]) -> None:
        self._unused = unused
        self._known = frozenset(unused)

    def of(self, path: str) -> str | None:
        """The path without its first CamelCase segment (an enum variant), if that is there; else the name with the
        highest Jaro similarity, if that is 0.7 or more."""
        segments = path.split(".")
        for n, segment in enumerate(segments[1:-1], start=1):
            if len(segment) > 1 and segment[0].isupper() and any(letter.islower() for letter in segment):
                shorter = ".".join(segments[:n] + segments[n + 1 :])
                if shorter in self._known:
                    return shorter
                break
        if not 0 < len(path) <= _MAX_LENGTH or not self._unused:
            return None
        best, found = _THRESHOLD, -1
        bounds = self._bounds(path)
        for n in np.argsort(-bounds, kind="stable")[:_MAX_COMPARED].tolist():
            if bounds[n] < best - 1e-9:
                break
            score = jaro(path, self._unused[n][:_MAX_LENGTH])
            if score > best or (score == best and (found < 0 or n < found)):
                best, found = score, n
        return self._unused[found] if found >= 0 else None

    def _bounds(self, path: str) -> npt.NDArray[np.float64]:
        """What the similarity of each name is at most: the letters that it has in common with the path."""
        counts, lengths = self._letters
        ours = np.bincount(_letters_of(path), minlength=_N_LETTERS).astype(np.uint16)
        used = np.flatnonzero(ours)
        common = np.minimum(counts[:, used], ours[used]).sum(axis=1, dtype=np.float64)
        return np.where(common > 0, (common / len(path) + common / np.maximum(lengths, 1) + 1) / 3, 0.0)

    @cached_property
    def _letters(self) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64]]:
        """How often each name has each letter, and the lengths."""
        names = [name[:_MAX_LENGTH] for name in self._unused]
        lengths = np.array([len(name) for name in names], np.int64)
        row = np.repeat(np.arange(len(names)), lengths)
        flat = np.bincount(row * _N_LETTERS + _letters_of("".join(names)), minlength=len(names) * _N_LETTERS)
        return flat.reshape(len(names), _N_LETTERS).astype(np.uint16), lengths.astype(np.float64)


def _letters_of(text: str) -> npt.NDArray[np.int64]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return (codes % _N_LETTERS).astype(np.int64)


class NearIndex:
    """Tensors that no parameter takes, arranged so that the ones like a given parameter are found without a search."""

    def __init__(self, rows: Sequence[int], names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> None:
        self._rows = rows
        self._names = names
        self._shapes = shapes

    @cached_property
    def _by_shape(self) -> dict[tuple[tuple[int, ...], str], list[int]]:
        """Positions by shape and last segment."""
        found: dict[tuple[tuple[int, ...], str], list[int]] = {}
        for n, (name, shape) in enumerate(zip(self._names, self._shapes, strict=True)):
            leaf = _leaf(name)
            found.setdefault((shape, leaf), []).append(n)
            found.setdefault((shape, ""), []).append(n)
        return found

    @cached_property
    def _by_words(self) -> dict[str, list[int]]:
        """Positions by each segment, without separators and case."""
        found: dict[str, list[int]] = {}
        for n, name in enumerate(self._names):
            for segment in set(name.split(".")):
                found.setdefault(_plain(segment), []).append(n)
        return found

    def of(self, path: str, shape: tuple[int, ...] | None) -> Near | None:
        """The one that is most like a parameter of that path and shape; None where nothing is."""
        candidates = self._candidates(path, shape)
        if not candidates:
            return None
        scored = [(self._score(path, shape, n), -n) for n in candidates]
        scored.sort(key=lambda item: (item[0][0], item[1]), reverse=True)
        (score, fit), position = scored[0]
        if score < 0.35:
            return None
        n_alike = sum(1 for (other, _), _ in scored[1:] if score - other < 1e-9)
        return Near(self._rows[-position], self._names[-position], fit, round(score, 4), n_alike)

    def _candidates(self, path: str, shape: tuple[int, ...] | None) -> list[int]:
        segments = [_plain(segment) for segment in path.split(".")]
        if shape is not None:
            for key in ((shape, _leaf(path)), (shape[::-1], _leaf(path)), (shape, ""), (shape[::-1], "")):
                found = self._by_shape.get(key, [])
                if found:
                    return self._narrowed(found, segments)
        pools = [self._by_words[word] for word in segments[:-1] if word in self._by_words]
        pools = pools or [self._by_words[word] for word in segments[-1:] if word in self._by_words]
        return self._narrowed(min(pools, key=len), segments) if pools else []

    def _narrowed(self, found: list[int], segments: list[str]) -> list[int]:
        """At most so many as may be compared: those that share the rarest segments with the path."""
        if len(found) <= _MAX_CANDIDATES:
            return found
        wanted = set(found)
        for word in sorted(set(segments), key=lambda word: len(self._by_words.get(word, ()))):
            both = [n for n in self._by_words.get(word, ()) if n in wanted]
            if both:
                if len(both) <= _MAX_CANDIDATES:
                    return both
                wanted = set(both)
        return sorted(wanted)[:_MAX_CANDIDATES]

    def _score(self, path: str, shape: tuple[int, ...] | None, n: int) -> tuple[float, Fit]:
        other = self._shapes[n]
        if shape is None:
            fit = _FITS[2]
        elif shape == other:
            fit = _FITS[0]
        elif len(shape) > 1 and shape == other[::-1]:
            fit = _FITS[1]
        else:
            fit = _FITS[3]
        likeness = _likeness(path, self._names[n])
        return likeness * (1.0, 0.95, 0.9, 0.6)[_FITS.index(fit)], fit


def _likeness(one: str, other: str) -> float:
    """How alike two names are: their words in order, the numbers among them, and the last segment."""
    ours, theirs = _words(one), _words(other)
    ratio = SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    numbers = [word for word in ours if word.isdecimal()] == [word for word in theirs if word.isdecimal()]
    return 0.6 * ratio + 0.2 * numbers + 0.2 * (_leaf(one) == _leaf(other))


def _words(name: str) -> list[str]:
    segments = name.split(".")
    return [word.lower() for segment in segments[:-1] for word in _WORD.findall(segment)] + [_leaf(name)]


def _leaf(name: str) -> str:
    leaf = name.rpartition(".")[2]
    return _ALIASES.get(leaf, leaf)


def _plain(segment: str) -> str:
    return segment.replace("_", "").replace("-", "").lower()
