"""Tensors whose values are computed from other tensors when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.core.tensor import Storage, TensorRef, contiguous_strides
from workbench.errors import TensorError, WorkbenchError, printable

__all__ = ["computed"]

Compute = Callable[[], npt.NDArray[Any]]


class _Computed:
    """A `ByteSource` whose bytes, little endian, exist only while they are read."""

    def __init__(self, parts: tuple[TensorRef, ...], size: int, words: str, compute: Compute) -> None:
        first = parts[0].storage.source
        self.name = words
        self.path: str | None = None if first is None else first.path
        self.size = size
        self._parts = parts
        self._compute = compute
        self._kept: memoryview | None = None

    def read_exact(self, begin: int, n: int) -> bytes:
        """Bytes `begin` to `begin + n`."""
        return bytes(self._values(begin, n)[begin : begin + n])

    def read_into(self, begin: int, out: memoryview) -> None:
        """Fill `out` with the bytes from `begin` on."""
        out[:] = self._values(begin, len(out))[begin : begin + len(out)]

    def check_unchanged(self) -> None:
        """OpenError when a file that one of the parts lies in has changed."""
        for part in self._parts:
            part.storage.check_unchanged()

    def _values(self, begin: int, n: int) -> memoryview:
        """All the bytes: computed once for a reader that goes from front to end, and dropped behind the last one."""
        kept = self._kept
        if kept is None:
            kept = self._computed()
        self._kept = None if begin + n >= self.size else kept
        return kept

    def _computed(self) -> memoryview:
        try:
            values = np.ascontiguousarray(self._compute()).reshape(-1)
        except WorkbenchError:
            raise
        except (MemoryError, ValueError, OverflowError) as error:
            raise TensorError(
                f"{printable(self.name, 200)} cannot be computed: {str(error)[:200] or type(error).__name__}.",
                path=self.path,
                code="not-computed",
            ) from None
        if sys.byteorder == "big":  # pragma: no cover
            values = values.byteswap()
        data = values.view(np.uint8).data
        if len(data) != self.size:
            raise TensorError(
                f"{printable(self.name, 200)} came out as {len(data):,} bytes, {self.size:,} were expected.",
                path=self.path,
                code="not-computed",
            )
        return data


def computed(like: TensorRef, parts: tuple[TensorRef, ...], words: str, compute: Compute) -> TensorRef:
    """A tensor in the place of `like`, with its key, dtype and shape, and the values that `compute` gives.

    `parts` are the tensors it is computed from, `words` says how, for messages ("folded from …"). Nothing is read or
    computed before its values are asked for; they are kept until the last byte is read, and no longer.
    """
    source = _Computed(parts, like.nbytes, words, compute)
    return replace(
        like,
        strides=contiguous_strides(like.shape),
        offset=0,
        storage=Storage(words, like.nbytes, source),
        byteswap=False,
        conj=False,
        neg=False,
    )
