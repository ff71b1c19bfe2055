"""Item: one tensor as an export writes it, and its bytes in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from workbench.core import sharing
from workbench.core.source import FileSource
from workbench.core.tensor import DType, TensorRef, dtype_named
from workbench.errors import ExportError, printable
from workbench.writing.checksums import crc32
from workbench.writing.output import Output

__all__ = ["Item", "carries", "check_each", "check_sources", "copy", "firsts", "pieces"]

_SHOWN: Final = 5
_STEP: Final = 1 << 20
"""Bytes handled at a time: few enough to stay in the processor's cache."""


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


def check_sources(items: Iterable[Item]) -> None:
    """Raise `OpenError` where a file that the tensors lie in is not the one that was opened any more."""
    for source in {id(item.tensor.storage.source): item.tensor.storage.source for item in items}.values():
        if source is not None:
            source.check_unchanged()


def copy(item: Item, file: IO[bytes]) -> int:
    """Write the bytes of `item`; their CRC-32. Raises what `pieces` does."""
    if isinstance(file, Output) and item.nbytes >= _STEP and (place := _place(item)) is not None:
        item.tensor.storage.check_unchanged()
        return file.copy_from(*place, item.nbytes)
    crc = 0
    for piece in pieces(item):
        file.write(piece)
        crc = crc32(piece, crc)
    return crc


def pieces(item: Item) -> Iterator[memoryview]:
    """The bytes to write, C order, little endian, a few MB at a time. A piece is good until the next one is asked for.

    What is not contiguous, or deflated, takes the memory of the whole tensor; nothing takes more. Raises `ExportError`
    where a cast has no place for a value, `OpenError` where the source is cut off, or changed before a long read.
    Whoever takes pieces asks `check_sources` at the end: for small tensors that is not asked each time.
    """
    tensor = _to_write(item)
    if not tensor.n_elements:
        return
    if tensor.nbytes >= _STEP:
        tensor.storage.check_unchanged()
    if _is_stored(item, tensor) and tensor.storage.packed < 0:
        yield from _stored(tensor)
        return
    for block in _blocks(tensor):
        flat = _cast(item, block) if item.cast else block
        if not np.little_endian:  # pragma: no cover
            flat = flat.byteswap()
        yield flat.view(np.uint8).data


def _to_write(item: Item) -> TensorRef:
    return _as_integers(_turned(item.tensor) if item.transposed else item.tensor)


def _is_stored(item: Item, tensor: TensorRef) -> bool:
    """Whether the bytes of `tensor`, that of `item` to write, are in its storage what they are to be in the file."""
    is_plain = not (tensor.byteswap or tensor.conj or tensor.neg or tensor.unreadable)
    return is_plain and not item.cast and tensor.is_contiguous


def _place(item: Item) -> tuple[FileSource, int] | None:
    """The file that has the bytes of `item` as they are to be written, and where; None where none has."""
    tensor = _to_write(item)
    if not _is_stored(item, tensor):
        return None
    return tensor.storage.place(tensor.offset * tensor.dtype.itemsize, tensor.nbytes)


def _turned(tensor: TensorRef) -> TensorRef:
    return replace(tensor, shape=tensor.shape[::-1], strides=tensor.strides[::-1])


def _stored(tensor: TensorRef) -> Iterator[memoryview]:
    """What lies in the source as it is to be written."""
    begin, size = tensor.offset * tensor.dtype.itemsize, tensor.nbytes
    buffer = memoryview(bytearray(min(_STEP, size)))
    for at in range(0, size, _STEP):
        piece = buffer[: min(_STEP, size - at)]
        tensor.storage.read_into(begin + at, piece)
        yield piece


def _blocks(tensor: TensorRef) -> Iterator[npt.NDArray[Any]]:
    """The values, flat, a block at a time: read so where they lie one after the other, else of the array read."""
    n, step = tensor.n_elements, _STEP // tensor.dtype.itemsize
    if tensor.is_contiguous and tensor.storage.packed < 0:
        for at in range(0, n, step):
            size = min(step, n - at)
            yield replace(tensor, shape=(size,), strides=(1,), offset=tensor.offset + at).read()
        return
    flat = tensor.read().reshape(-1)
    for at in range(0, n, step):
        yield flat[at : at + step]


def carries(tensor: TensorRef) -> bool:
    """Whether the bytes of a tensor can be written: also those of a dtype that torch has and numpy has not."""
    return not tensor.unreadable or tensor is not _as_integers(tensor)


def _as_integers(tensor: TensorRef) -> TensorRef:
    """A tensor that only lacks a numpy dtype, as unsigned integers of its width; any other one as it is."""
    integers = f"uint{tensor.dtype.bits}"
    is_changed = tensor.byteswap or tensor.conj or tensor.neg or tensor.dtype.name.startswith("q")
    is_lacking = tensor.dtype.numpy is None and tensor.unreadable in ("", tensor.dtype.lacks_numpy)
    if not is_lacking or is_changed or integers not in ("uint8", "uint16", "uint32"):
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
            # Some narrow floats have no infinity, and would turn one into NaN.
            lost = (np.isnan(cast) & ~np.isnan(array)) | (np.isinf(cast) & np.isfinite(array))
            fits = not bool(lost.any())
    if not fits:
        raise ExportError(
            f"'{printable(item.name, 200)}' has values that {item.dtype.name} cannot hold.",
            cause=f"It is {item.tensor.dtype.name}. Nothing was changed.",
            next_step="Leave it out of the cast, or choose a wider dtype.",
            code="cast-does-not-fit",
        )
    return cast
