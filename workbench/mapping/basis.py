"""Basis: what a plan starts from, before any decision but the top-level key."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Final

from workbench.core.tensors import Tensors
from workbench.errors import printable
from workbench.mapping import folding, regex

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.core.tensor import TensorRef

__all__ = ["Basis"]

_NOT_FOLDED: Final[Mapping[int, tuple[str, ...]]] = {}
_NOWHERE: Final[Mapping[int, tuple[int, str]]] = {}


class Basis:
    """The tensors below a top-level key, in file order, with their keys there; `outside` are all others.

    `column` holds the keys for rules; those that are not valid text are empty in it, `not_text` are their rows.
    `unfit` says of rows why no export can hold them. WorkbenchError ``top-level-key`` where there is no such key.

    With `fold`, parameters stored in parts are computed from them: each takes the row of one of its parts in `tensors`
    and in `start`, which holds the keys that rules are applied to; `folded` are these rows, with the keys of the parts.
    `gone` are the rows of the other parts, each with row and key of the parameter.
    """

    def __init__(self, checkpoint: Checkpoint, top_level_key: str | None, *, fold: bool = False) -> None:
        self.top_level_key = top_level_key
        self.keys: tuple[str, ...]
        self.tensors: Tensors
        self.outside: tuple[TensorRef, ...] = ()
        if top_level_key is None:
            self.tensors = checkpoint.tensors
            self.keys = self.tensors.keys
        else:
            chosen = _under(checkpoint, top_level_key)
            self.keys = tuple(key for key, _ in chosen)
            self.tensors = Tensors(tensor for _, tensor in chosen)
            inside = {id(tensor) for tensor in self.tensors}
            self.outside = tuple(tensor for tensor in checkpoint.tensors if id(tensor) not in inside)
        self.not_text = [] if all(map(str.isascii, self.keys)) else _not_text(self.keys)
        names = list(self.keys)
        for row in self.not_text:
            names[row] = ""
        self.column = regex.column(names)
        self.unfit = self.tensors.unreadable
        for row in self.not_text:
            self.unfit.setdefault(row, "its name is not valid Unicode text, so no rule and no export can hold it")
        self.start, self.folded, self.gone = self.column, _NOT_FOLDED, _NOWHERE
        self._plain: Basis | None = None
        if fold:
            self._fold(checkpoint)

    def refolded(self, checkpoint: Checkpoint, fold: bool) -> Basis:
        """The same keys, folded or not."""
        plain = self._plain or self
        if not fold:
            return plain
        found = copy(plain)
        found._fold(checkpoint)
        return found

    def _fold(self, checkpoint: Checkpoint) -> None:
        found = folding.fold(self.column.to_list(), self.tensors, checkpoint.modules)
        if not found.parts:
            return
        self._plain = copy(self)
        self.tensors, self.folded, self.start = Tensors(found.tensors), found.parts, regex.column(list(found.keys))
        self.gone = {part: (row, found.keys[row]) for part, row in found.gone.items()}

    def reasons(self, left_out: Mapping[int, str]) -> dict[int, str]:
        """Why rows are not exported: those `left_out`, with the reason for each, those unfit, and folded parts."""
        known = {**left_out, **self.unfit}
        gone = {}
        for part, (row, key) in self.gone.items():
            name = printable(key, 200)
            if row in known:
                gone[part] = f"a part of {name}, which is {known[row]}"
            elif part in left_out:
                gone[part] = f"folded into {name}, which needs it, though {left_out[part]}"
            else:
                gone[part] = f"folded into {name}"
        return {**left_out, **gone, **self.unfit}

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes of each tensor."""
        return self.tensors.sizes

    @cached_property
    def dtypes(self) -> tuple[tuple[str, int, int], ...]:
        """Name, number of tensors and bytes of each dtype, most bytes first."""
        totals: dict[str, list[int]] = {}
        for dtype, size in zip(self.tensors.dtypes, self.sizes, strict=True):
            total = totals.setdefault(dtype.name, [0, 0])
            total[0] += 1
            total[1] += size
        return tuple((name, n, size) for name, (n, size) in sorted(totals.items(), key=lambda item: -item[1][1]))


def _under(checkpoint: Checkpoint, top_level_key: str) -> tuple[tuple[str, TensorRef], ...]:
    """Key and tensor of all below a key, which may be a path; an entry of the root with exactly that name wins."""
    if "." not in top_level_key or any(found.key == top_level_key for found in checkpoint.top_level_keys):
        return checkpoint.under(top_level_key)
    depths = range(2, top_level_key.count(".") + 2)
    found = []
    for tensor in checkpoint.tensors:
        for depth in depths:
            if len(tensor.path) > depth and ".".join(map(str, tensor.path[:depth])) == top_level_key:
                found.append((".".join(map(str, tensor.path[depth:])), tensor))
                break
    return tuple(found) if found else checkpoint.under(top_level_key)


def _not_text(keys: tuple[str, ...]) -> list[int]:
    rows = []
    for row, key in enumerate(keys):
        try:
            key.encode()
        except UnicodeEncodeError:
            rows.append(row)
    return rows
