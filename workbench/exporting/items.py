"""Item: one tensor as an export writes it, and its bytes in pieces."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from workbench.core import sharing
from workbench.core.tensor import CHUNK, DType, TensorRef, dtype_named
from workbench.errors import ExportError, printable

__all__ = ["Item", "carries", "check_each", "copy", "firsts", "pieces"]

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Item:
    """One tensor as it is to be written: its name, whether it is turned over, and the dtype it gets ("": its own)."""

    name: str
    tensor: TensorRef
    transposed: bool = False
    cast: str = ""

    @property
    def dtype(self) -> DType:
        """The dtype in the file written."""
        return dtype_named(self.cast) if self.cast else self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file written."""
        return self.tensor.shape[::-1] if self.transposed else self.tensor.shape

    @property
    def nbytes(self) -> int:
        """Bytes in the file written."""
        return self.dtype.itemsize * math.prod(self.shape) if self.cast else self.tensor.nbytes


def check_each(items: Sequence[Item], refusal: Callable[[Item], str], where: str) -> None:
    """Raise `ExportError`, naming tensors, where `refusal` has a reason (a clause) why `where` cannot hold one."""
    refused = [(item, reason) for item in items if (reason := refusal(item))]
    if not refused:
        return
    shown = "; ".join(f"'{printable(item.name, 200)}' ({item.dtype.name}): {why}" for item, why in refused[:_SHOWN])
    more = f"; and {len(refused) - _SHOWN:,} more" if len(refused) > _SHOWN else ""
    one = len(refused) == 1
    raise ExportError(
        f"{'One tensor' if one else f'{len(refused):,} tensors'} cannot be held by {where}.",
        cause=f"{shown}{more}. Nothing was changed.",
        next_step=(
            f"Leave {'it' if one else 'them'} out, give {'it' if one else 'them'} another dtype or name, "
            "choose another format, or read the values with wb.open(…)[key]."
        ),
        code="format-cannot-hold",
    )


def firsts(items: Sequence[Item]) -> list[int]:
    """For each item the position of the first one that is the same values of the same storage: its own, if none is."""
    group_of = {
        id(tensor): n for n, group in enumerate(sharing.ties(item.tensor for item in items)) for tensor in group
    }
    seen: dict[tuple[int, bool, str], int] = {}
    found = []
    for n, item in enumerate(items):
        group = group_of.get(id(item.tensor))
        found.append(n if group is None else seen.setdefault((group, item.transposed, item.cast), n))
    return found


def copy(item: Item, file: IO[bytes]) -> int:
    """Write the bytes of `item`; their CRC-32."""
    crc = 0
    for piece in pieces(item):
        file.write(piece)
        crc = zlib.crc32(piece, crc)
    return crc


def pieces(item: Item) -> Iterator[memoryview]:
    """The bytes to write, C order, little endian. A piece is good until the next one is asked for.

    What lies in the source as it is to be written is read piece by piece; anything else takes the whole tensor's
    memory. Raises `ExportError` where a cast has no place for a value.
    """
    tensor = item.tensor
    if item.cast or item.transposed or not _lies_plainly(tensor):
        yield _flat_bytes(item)
        return
    tensor.storage.check_unchanged()
    begin, size = tensor.offset * tensor.dtype.itemsize, tensor.nbytes
    buffer = memoryview(bytearray(min(CHUNK, size)))
    for at in range(0, size, CHUNK):
        piece = buffer[: min(CHUNK, size - at)]
        tensor.storage.read_into(begin + at, piece)
        yield piece


def _lies_plainly(tensor: TensorRef) -> bool:
    changed = tensor.byteswap or tensor.conj or tensor.neg or bool(tensor.unreadable)
    return not changed and tensor.is_contiguous and tensor.storage.packed < 0 and tensor.dtype.bits % 8 == 0


def _flat_bytes(item: Item) -> memoryview:
    tensor = item.tensor
    array: npt.NDArray[Any] = _read(tensor)
    if array.nbytes != tensor.nbytes:
        raise ExportError(
            f"'{printable(tensor.key, 200)}' gave {array.nbytes:,} bytes, {tensor.nbytes:,} were expected.",
            cause="Nothing was changed.",
            next_step="Open the checkpoint again.",
            code="size-differs",
        )
    if item.transposed:
        array = array.T
    if item.cast:
        array = _cast(item, array)
    flat = np.ascontiguousarray(array).reshape(-1)
    if not np.little_endian:  # pragma: no cover
        flat = flat.byteswap()
    return flat.view(np.uint8).data


def carries(tensor: TensorRef) -> bool:
    """Whether the bytes of a tensor can be written: also those of a dtype that torch has and numpy has not."""
    return not tensor.unreadable or tensor is not _as_integers(tensor)


def _read(tensor: TensorRef) -> npt.NDArray[Any]:
    return _as_integers(tensor).read()


def _as_integers(tensor: TensorRef) -> TensorRef:
    """A tensor that only lacks a numpy dtype, as unsigned integers of its width; any other one as it is."""
    integers = f"uint{tensor.dtype.bits}"
    is_changed = tensor.byteswap or tensor.conj or tensor.neg or tensor.dtype.name.startswith("q")
    lacks_numpy = tensor.dtype.numpy is None and tensor.unreadable in ("", f"numpy has no {tensor.dtype.name}")
    if not lacks_numpy or is_changed or integers not in ("uint8", "uint16", "uint32"):
        return tensor
    return replace(tensor, dtype=dtype_named(integers), unreadable="")


def _cast(item: Item, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`array` with the dtype of `item`. Raises `ExportError` where a value has no place in it."""
    dtype = item.dtype.numpy
    assert dtype is not None
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        if dtype.kind in "iub":
            fits = bool((cast.astype(array.dtype) == array).all())
        else:
            fits = bool((np.isfinite(cast) | ~np.isfinite(array)).all())
    if not fits:
        raise ExportError(
            f"'{printable(item.name, 200)}' has values that {item.dtype.name} cannot hold.",
            cause=f"It is {item.tensor.dtype.name}. Nothing was changed.",
            next_step="Leave it out of the cast, or choose a wider dtype.",
            code="cast-does-not-fit",
        )
    return cast
