"""Tensors: all tensors of a file. Each becomes a TensorRef when somebody looks at it; columns tell of all at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count
from operator import attrgetter, itemgetter
from threading import Lock
from typing import Any, Final, overload

from workbench.core import collector
from workbench.core.tensor import DType, Layout, Places, TensorRef, new_tensors

__all__ = ["Tensors"]

_FIELDS: Final = ("dtype", "shape", "strides", "offset", "unreadable")
"""Those of a `Layout`."""


class Tensors(Sequence[TensorRef]):
    """The tensors of a file, in file order; who asks twice for one gets the same object.

    The columns (`keys`, `dtypes`, `shapes`, `offsets`, `sizes`) have one item a tensor. They say what the tensors say.
    """

    def __init__(self, tensors: Iterable[TensorRef]) -> None:
        self._every: tuple[TensorRef, ...] | None = tuple(tensors)
        self._n = len(self._every)
        self.are_apart = False
        """Whether it is known that each has a storage of its own, in the root of the file."""

    @classmethod
    def apart(cls, keys: Sequence[str], layouts: Sequence[Layout], places: Places) -> Tensors:
        """Tensors that lie in the root of their file, each with a storage of its own, none of them made yet.

        Tensor ``i`` lies at place ``i``.
        """
        found = cls.__new__(cls)
        found._every = None
        found._n = len(keys)
        found.are_apart = True
        found.keys = tuple(keys)
        found._layouts = layouts
        found._places = places
        found._some = {}
        found._making = Lock()
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_making"}
        return state | ({"_some": dict(self._some)} if "_some" in state else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._making = Lock()

    _layouts: Sequence[Layout]
    _places: Places
    _some: dict[int, TensorRef]
    """Those made one by one, by row."""
    _making: Lock

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of each; several may have the same."""
        return tuple(map(attrgetter("key"), self._all()))

    @property
    def dtypes(self) -> list[DType]:
        """The dtype of each."""
        return self._column("dtype")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each."""
        return self._column("shape")

    @property
    def offsets(self) -> list[int]:
        """The first element of each in its storage."""
        return self._column("offset")

    @property
    def sizes(self) -> list[int]:
        """The bytes of the values of each."""
        known: dict[tuple[int, tuple[int, ...]], int] = {}
        found = []
        for dtype, shape in zip(self.dtypes, self.shapes, strict=True):
            size = known.get((dtype.bits, shape))
            if size is None:
                size = known[dtype.bits, shape] = (math.prod(shape) * dtype.bits + 7) // 8
            found.append(size)
        return found

    @property
    def unreadable(self) -> dict[int, str]:
        """Why those tensors cannot be read that cannot, by their number."""
        reasons: list[str] = self._column("unreadable")
        return {row: reason for row, reason in enumerate(reasons) if reason}

    def _column(self, field: str) -> list[Any]:
        if self._every is not None:
            return list(map(attrgetter(field), self._every))
        return list(map(itemgetter(_FIELDS.index(field)), self._layouts))

    @cached_property
    def rows(self) -> dict[str, int]:
        """The number of the last tensor of each key."""
        return dict(zip(self.keys, count(), strict=False))

    @property
    def are_nested(self) -> bool:
        """Whether one of them lies in a container below the root."""
        return not self.are_apart and any(len(tensor.path) > 1 for tensor in self._all())

    def _all(self) -> tuple[TensorRef, ...]:
        if self._every is None:
            with self._making, collector.paused():
                if self._every is None:
                    keys = self.keys
                    every = new_tensors(keys, zip(keys, strict=True), self._layouts, self._places, range(self._n))
                    for row, tensor in self._some.items():
                        every[row] = tensor
                    self._every = tuple(every)
        return self._every

    def _one(self, row: int) -> TensorRef:
        with self._making:
            if self._every is not None:
                return self._every[row]
            if row not in self._some:
                key = self.keys[row]
                (self._some[row],) = new_tensors((key,), ((key,),), (self._layouts[row],), self._places, (row,))
            return self._some[row]

    @overload
    def __getitem__(self, row: int) -> TensorRef: ...

    @overload
    def __getitem__(self, row: slice) -> tuple[TensorRef, ...]: ...

    def __getitem__(self, row: int | slice) -> TensorRef | tuple[TensorRef, ...]:
        if self._every is not None:
            return self._every[row]
        numbers = range(self._n)[row]
        return self._one(numbers) if isinstance(numbers, int) else tuple(map(self._one, numbers))

    def __iter__(self) -> Iterator[TensorRef]:
        return iter(self._all())

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"<{self._n:,} tensors>"
