"""Selection: which tensors are taken, decided on the keys that they have in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from workbench.errors import MappingError, RuleError, printable
from workbench.mapping import regex

__all__ = ["Pick", "Selection"]

PickKind = Literal["regex", "key", "node"]
_KINDS: Final = get_args(PickKind)
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Pick:
    """Some keys: those in which a regex matches somewhere, exactly one key, or a node with all that lies below it.

    Keys are meant as they stand in the file below the top-level key. Raises `MappingError` for another kind or a
    pattern that is not a regex.

    >>> Pick("node", "encoder").words
    'encoder and below'
    """

    kind: PickKind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise MappingError(
                f"A pick is by {', '.join(_KINDS)}, not {printable(repr(self.kind), 40)}.",
                next_step="Choose one of them.",
                code="pick-kind",
            )
        if not isinstance(self.text, str):
            raise TypeError(f"Pick: text must be str, not {self.text!r} ({type(self.text).__name__})")
        if self.kind == "regex":
            try:
                regex.check_pattern(self.text)
            except RuleError as error:
                raise MappingError(
                    f"/{printable(self.text, _SHOWN)}/ is not a regex: {error.reason}.",
                    next_step="Correct the pattern.",
                    code="pick-pattern",
                ) from error

    @property
    def words(self) -> str:
        """How it is told to people: /…/ for a regex."""
        shown = printable(self.text, _SHOWN)
        return {"regex": f"/{shown}/", "key": shown, "node": f"{shown} and below"}[self.kind]

    def finds(self, column: regex.Keys, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of `keys` it means; `column` holds them too, empty where one is not valid text."""
        if self.kind == "regex":
            return regex.hits(column, self.text)
        if self.kind == "key":
            return np.fromiter((key == self.text for key in keys), np.bool_, len(keys))
        below = f"{self.text}."
        return np.fromiter((key == self.text or key.startswith(below) for key in keys), np.bool_, len(keys))


@dataclass(frozen=True, slots=True)
class Selection:
    """Taken is what one of `include` means (everything, where there is none) and none of `exclude` does."""

    include: tuple[Pick, ...] = ()
    exclude: tuple[Pick, ...] = ()

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            picks = tuple(getattr(self, name))
            if not all(isinstance(pick, Pick) for pick in picks):
                raise TypeError(f"Selection: {name} must hold Picks, not {picks!r}")
            object.__setattr__(self, name, picks)

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def left_out(self, column: regex.Keys, keys: Sequence[str]) -> dict[int, str]:
        """The rows that are not taken, each with the pick that decided."""
        reasons: dict[int, str] = {}
        for words, rows in _rows(self.exclude, column, keys):
            reason = f"left out by exclude {words}"
            for row in rows:
                reasons.setdefault(row, reason)
        if self.include:
            wanted = np.zeros(len(keys), np.bool_)
            for _, rows in _rows(self.include, column, keys):
                wanted[rows] = True
            picks = ", ".join(pick.words for pick in self.include[:3]) + (", …" if len(self.include) > 3 else "")
            reason = f"left out: not in include {picks}"
            for row in np.flatnonzero(~wanted).tolist():
                reasons.setdefault(row, reason)
        return reasons


def _rows(picks: tuple[Pick, ...], column: regex.Keys, keys: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Each pick in words with the rows that it means; those of single keys are looked up together."""
    exact: dict[str, list[int]] = {pick.text: [] for pick in picks if pick.kind == "key"}
    if exact:
        for row, key in enumerate(keys):
            if key in exact:
                exact[key].append(row)
    for pick in picks:
        rows = exact[pick.text] if pick.kind == "key" else np.flatnonzero(pick.finds(column, keys)).tolist()
        yield pick.words, rows
