"""TensorRef: where a tensor lies, and how its bytes become a numpy array. Nothing is read before it is asked for."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

import ml_dtypes
import numpy as np
import numpy.typing as npt

from workbench.core.source import ByteSource, FileSource, inflate, inflate_into
from workbench.core.text import bytes_text, shape_text
from workbench.errors import TensorError, printable

__all__ = [
    "CHUNK",
    "DTYPES",
    "MAX_AMPLIFIED",
    "MAX_RANK",
    "UNKNOWN",
    "DType",
    "Layout",
    "Places",
    "Spans",
    "Storage",
    "TensorRef",
    "contiguous_strides",
    "dtype_named",
    "give_keys",
    "new_storage",
    "new_tensors",
]

CHUNK: Final = 16 << 20
"""Bytes of a storage held at a time while reading."""

MAX_RANK: Final = 64
"""Dimensions numpy can hold."""

MAX_AMPLIFIED: Final = 2 << 30
"""A tensor larger than this is refused when it is also larger than its storage (strides of 0)."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class DType:
    """An element type by its torch name; ``numpy`` is None where numpy and ml_dtypes have none."""

    name: str
    bits: int
    numpy: np.dtype[Any] | None = field(compare=False)

    @property
    def itemsize(self) -> int:
        """Bytes of one element as it lies in a file (of one packed pair for ``float4_e2m1fn_x2``)."""
        return (self.bits + 7) // 8

    @property
    def lacks_numpy(self) -> str:
        """Why no array can have it, "" where one can."""
        return f"numpy has no {self.name}" if self.numpy is None else ""

    def __repr__(self) -> str:
        return f"DType({self.name})"


def _dtypes() -> dict[str, DType]:
    plain = [
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ]
    extra = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
    absent = {
        "complex32": 32,
        "float4_e2m1fn_x2": 8,
        "float6_e2m3fn": 6,
        "float6_e3m2fn": 6,
        "qint8": 8,
        "quint8": 8,
        "qint32": 32,
        "quint4x2": 8,
        "quint2x4": 8,
        "bits8": 8,
        "bits16": 16,
        "bits1x8": 8,
        "bits2x4": 8,
        "bits4x2": 8,
    }
    found = [DType(name, np.dtype(name).itemsize * 8, np.dtype(name)) for name in plain]
    for name in extra:
        dtype = np.dtype(getattr(ml_dtypes, name))
        found.append(DType(name, dtype.itemsize * 8, dtype))
    found += [DType(name, bits, None) for name, bits in absent.items()]
    return {dtype.name: dtype for dtype in found}


DTYPES: Final = _dtypes()
"""Every dtype a checkpoint may hold, by name."""


UNKNOWN: Final = DType("unknown", 0, None)
"""Stands for a dtype that the file does not say, or says in a way nobody knows; such a tensor is never read."""


def dtype_named(name: str) -> DType:
    """The dtype of that name (``"float32"``, ``"bfloat16"``); KeyError where there is none."""
    return DTYPES[name]


@dataclass(frozen=True, slots=True)
class Storage:
    """A flat run of bytes inside a file, plain or deflated; several tensors may lie in one."""

    id: str
    nbytes: int
    source: ByteSource | None = field(repr=False, compare=False)
    begin: int = 0
    packed: int = -1
    """Bytes it takes when deflated, -1 when it lies there plainly."""

    def read(self, begin: int, n: int) -> bytes:
        """Bytes ``begin`` to ``begin + n`` of the storage (not of the file)."""
        source = self._source_of(begin, n)
        if self.packed >= 0:
            return inflate(source, self.begin, self.packed, begin, n, self.id)
        return source.read_exact(self.begin + begin, n)

    def _source_of(self, begin: int, n: int) -> ByteSource:
        """The file, when the bytes asked for lie inside the storage."""
        if begin < 0 or n < 0 or begin + n > self.nbytes or self.source is None:
            raise TensorError(
                f"Bytes {begin:,} to {begin + n:,} of storage {printable(self.id, 80)} were asked for, "
                f"but it holds {self.nbytes:,}.",
                code="out-of-bounds",
            )
        return self.source

    def read_into(self, begin: int, out: memoryview) -> None:
        """Fill ``out``, of bytes, with those of the storage from ``begin`` on."""
        source = self._source_of(begin, len(out))
        if self.packed >= 0:
            inflate_into(source, self.begin, self.packed, begin, out, self.id)
        else:
            source.read_into(self.begin + begin, out)

    def place(self, begin: int, n: int) -> tuple[FileSource, int] | None:
        """The file in which those bytes lie as they are, and where; None where they do not lie so in one."""
        source = self._source_of(begin, n)
        return (source, self.begin + begin) if self.packed < 0 and isinstance(source, FileSource) else None

    def check_unchanged(self) -> None:
        """OpenError when the file is not the one that was opened any more."""
        if self.source is not None:
            self.source.check_unchanged()


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major tensor; dimensions of 0 count as 1, as in torch."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


class Places(Protocol):
    """Where the tensors of a file lie, by number: checked by the reader, so that there is nothing left to go wrong."""

    def storage(self, number: int) -> Storage:
        """The storage of that number."""
        ...


@runtime_checkable
class Spans(Places, Protocol):
    """Places that are told of many tensors at once, without a storage being made for each."""

    source: ByteSource
    """The bytes in which all of them lie."""

    def spans(self, numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First byte in the source, and size in bytes, of the storages of these numbers."""
        ...


class _Placed:
    """The place of a tensor whose storage is not made yet."""

    __slots__ = ("_number", "_places")

    _number: int
    _places: Places


@dataclass(frozen=True, slots=True)
class TensorRef(_Placed):
    """A tensor, unread: key, dtype, shape, and the place of its elements. Strides and offset are in elements."""

    key: str
    path: tuple[str | int, ...]
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage
    byteswap: bool = False
    conj: bool = False
    neg: bool = False
    unreadable: str = ""

    @property
    def n_elements(self) -> int:
        """The product of the shape; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values, not of the storage they lie in."""
        return (math.prod(self.shape) * self.dtype.bits + 7) // 8

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps; dimensions of size 1 may have any stride."""
        if self.strides == contiguous_strides(self.shape) or 0 in self.shape:
            return True
        step = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return True

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Storage:
            """The storage of a tensor that `new_tensors` made, upon the first question; one for all who ask."""
            if name != "storage":
                raise AttributeError(f"'TensorRef' object has no attribute {name!r}")
            with _MAKING:
                try:
                    return _STORAGE.__get__(self)
                except AttributeError:
                    made = self._places.storage(self._number)
                    _STORAGE.__set__(self, made)
            return made

    def __repr__(self) -> str:
        key = printable(self.key, 200)
        note = ", unreadable" if self.unreadable else ""
        return f"TensorRef({key!r}, {self.dtype.name}, {shape_text(self.shape)}{note})"

    def read(self) -> Array:
        """The values as a fresh, writeable, C-contiguous array of native byte order.

        Reads only the bytes the tensor spans. TensorError when it is listed as unreadable or does not fit in memory.
        """
        dtype = self.dtype.numpy
        if self.unreadable or dtype is None:
            raise self._error(self.unreadable or self.dtype.lacks_numpy, "unreadable")
        if self.nbytes > MAX_AMPLIFIED and self.nbytes > self.storage.nbytes:
            raise self._error(
                f"its values take {bytes_text(self.nbytes)}, repeated from a storage of "
                f"{bytes_text(self.storage.nbytes)}; the limit for that is {bytes_text(MAX_AMPLIFIED)}",
                "too-big",
            )
        self.storage.check_unchanged()
        try:
            flat = np.empty(self.n_elements, dtype=np.dtype((np.void, dtype.itemsize)))
            values = flat.view(dtype).reshape(self.shape)
        except (MemoryError, ValueError, OverflowError) as error:
            raise self._error(f"it does not fit in memory ({bytes_text(self.nbytes)}): {error}", "too-big") from None
        if values.size:
            if self.is_contiguous:
                self._fill_flat(flat)
            else:
                self._fill(flat.reshape(self.shape), self.offset, self.shape, self.strides)
        if self.byteswap != (sys.byteorder == "big"):
            part = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
            if part > 1:
                flat.view(f"u{part}").byteswap(inplace=True)
        if self.conj:
            np.conjugate(values, out=values)
        if self.neg:
            np.negative(values, out=values)
        return values

    def _fill_flat(self, flat: Array) -> None:
        size = self.dtype.itemsize
        out = memoryview(flat.view(np.uint8))  # type: ignore[arg-type]
        begin = self.offset * size
        # What is deflated can only be had from its beginning on: in one go, not once for each chunk.
        step = CHUNK if self.storage.packed < 0 else len(out)
        for at in range(0, len(out), step):
            self.storage.read_into(begin + at, out[at : at + step])

    def _fill(self, out: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        """Copy into ``out`` by pieces of the storage of at most CHUNK bytes, cutting along the longest stride."""
        size = self.dtype.itemsize
        span = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if span * size <= CHUNK:
            piece = np.frombuffer(self.storage.read(offset * size, span * size), dtype=out.dtype)
            # The stride of a dimension of 1 may be any number, also one that numpy cannot hold.
            byte_strides = tuple(stride * size if n > 1 else 0 for n, stride in zip(shape, strides, strict=True))
            out[...] = np.lib.stride_tricks.as_strided(piece, shape, byte_strides, writeable=False)
            return
        axis = max(range(len(shape)), key=lambda i: (shape[i] > 1) * strides[i])
        stride = strides[axis]
        inner = span - (shape[axis] - 1) * stride
        step = max(1, 1 + (CHUNK // size - inner) // stride)
        for at in range(0, shape[axis], step):
            n = min(step, shape[axis] - at)
            index = (slice(None),) * axis + (slice(at, at + n),)
            self._fill(out[index], offset + at * stride, (*shape[:axis], n, *shape[axis + 1 :]), strides)

    def _error(self, reason: str, code: str) -> TensorError:
        source = self.storage.source
        path = None if source is None else source.path or source.name
        return TensorError(f"{printable(self.key, 200)!r} cannot be read: {reason}.", path=path, code=code)


# A frozen dataclass sets each of its fields by a call, which is most of the time of opening 100,000 tensors. These have
# the same slots, so that they can be filled as ordinary objects and then become the frozen ones.


class _OpenStorage:
    __slots__ = Storage.__slots__

    def __init__(self, id: str, nbytes: int, source: ByteSource, begin: int) -> None:
        self.id = id
        self.nbytes = nbytes
        self.source = source
        self.begin = begin
        self.packed = -1
        self.__class__ = Storage  # type: ignore[assignment]


class _OpenTensor(_Placed):
    __slots__ = TensorRef.__slots__


_STORAGE: Final = TensorRef.__dict__["storage"]
_MAKING: Final = Lock()

new_storage: Final = cast(type[Storage], _OpenStorage)
"""``Storage(id, nbytes, source, begin)``, for readers that make very many."""

Layout = tuple[DType, tuple[int, ...], tuple[int, ...], int, str]
"""Dtype, shape, strides, offset, and why it is unreadable."""


def new_tensors(
    keys: Iterable[str],
    paths: Iterable[tuple[str | int, ...]],
    layouts: Iterable[Layout],
    places: Places,
    numbers: Iterable[int],
) -> list[TensorRef]:
    """As many tensors as there are keys, for readers that make very many; each storage is made when asked for."""
    made: list[Any] = []
    add, new, kind = made.append, object.__new__, _OpenTensor
    for key, path, (dtype, shape, strides, offset, unreadable), number in zip(
        keys, paths, layouts, numbers, strict=False
    ):
        ref: Any = new(kind)
        ref._number = number
        ref._places = places
        ref.key = key
        ref.path = path
        ref.dtype = dtype
        ref.shape = shape
        ref.strides = strides
        ref.offset = offset
        ref.byteswap = ref.conj = ref.neg = False
        ref.unreadable = unreadable
        ref.__class__ = TensorRef
        add(ref)
    return made


def give_keys(tensors: Sequence[TensorRef], keys: Sequence[str], paths: Iterable[tuple[str | int, ...]]) -> None:
    """Name tensors that have no names yet: for the reader that just made them, and for nobody else."""
    for name, column in (("key", keys), ("path", paths)):
        deque(map(TensorRef.__dict__[name].__set__, tensors, column), maxlen=0)
