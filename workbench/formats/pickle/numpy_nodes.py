"""numpy's arrays, dtypes and scalars as a pickle writes them (numpy/_core/src/multiarray/methods.c, descriptor.c)."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from workbench.core.source import ByteSource, MemorySource
from workbench.core.tensor import DTYPES, MAX_RANK, DType, Storage, TensorRef, contiguous_strides
from workbench.core.tree import Opaque, brief
from workbench.formats.pickle.feed import ByteRange

__all__ = ["empty_array", "fill_array", "held_storage", "numpy_array", "numpy_scalar", "spoil_array"]

_MAX_SIZE: Final = 2**63 - 1
_CODES: Final = {
    "b1": "bool",
    **{f"{kind}{n}": f"{word}{8 * n}" for kind, word in (("i", "int"), ("u", "uint")) for n in (1, 2, 4, 8)},
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
}
_OTHERS: Final = {
    "O": ("object", "it holds Python objects, not numbers"),
    "U": ("text", "it holds text, not numbers"),
    "S": ("byte strings", "it holds byte strings, not numbers"),
    "a": ("byte strings", "it holds byte strings, not numbers"),
    "M": ("datetime64", "it holds dates, not numbers"),
    "m": ("timedelta64", "it holds durations, not numbers"),
    "V": ("record", "it holds records of several fields, not numbers"),
    "f": ("longdouble", "its numbers have a size that differs between machines"),
    "c": ("clongdouble", "its numbers have a size that differs between machines"),
}


def _element(node: object) -> tuple[DType, bool, str] | None:
    """Element type, whether it lies big-endian, and why it cannot be read; None where the node is no dtype."""
    if type(node) is not Opaque or node.class_path != "numpy.dtype" or type(node.args) is not tuple or not node.args:
        return None
    code, state = node.args[0], node.state
    order, size = "=", 0
    if type(state) is tuple and len(state) >= 8:
        order = state[1] if type(state[1]) is str else "="
        size = state[5] if type(state[5]) is int else 0
    if isinstance(code, Opaque) and code.args is None and code.class_path.startswith("ml_dtypes."):
        dtype = DTYPES.get(code.class_path.removeprefix("ml_dtypes."))
        return None if dtype is None or dtype.numpy is None else (dtype, order == ">", "")
    if type(code) is not str or not 1 <= len(code) <= 20:
        return None
    known = _CODES.get(code)
    if known is not None:
        return DTYPES[known], order == ">", ""
    word, reason = _OTHERS.get(code[0], ("", ""))
    if not word or not (code[1:].isdigit() and code.isascii()):
        return None
    nbytes = size if 0 < size < 1 << 31 else int(code[1:])
    return DType(word, 8 * nbytes, None), False, reason


def held_storage(home: ByteSource | None, raw: bytes | ByteRange, storage_id: str) -> Storage:
    """The bytes as a storage: where they lie in the file, or held in memory when the pickle had them encoded."""
    if isinstance(raw, ByteRange):
        return Storage(storage_id, raw.n, raw.source, raw.begin)
    held = MemorySource(raw, home.name if home else "memory")
    held.path = home.path if home else None
    return Storage(storage_id, len(raw), held)


def numpy_array(
    home: ByteSource | None, dtype: object, shape: object, fortran: object, raw: object, storage_id: str
) -> TensorRef | None:
    """The array, unread; None where the arguments are none that numpy takes."""
    element = _element(dtype)
    if element is None or type(shape) is not tuple:
        return None
    if not all(type(size) is int and 0 <= size <= _MAX_SIZE for size in shape):
        return None
    of, big_endian, unreadable = element
    n = math.prod(shape)
    if n * max(of.itemsize, 1) > _MAX_SIZE:
        return None
    strides = contiguous_strides(shape)
    if fortran is True:
        strides = tuple(reversed(contiguous_strides(shape[::-1])))
    storage = Storage(storage_id, 0, None)
    if isinstance(raw, str):
        raw = _python2_bytes(raw, n * of.itemsize)
    if isinstance(raw, (bytes, ByteRange)):
        storage = held_storage(home, raw, storage_id)
        if not unreadable and storage.nbytes != n * of.itemsize:
            unreadable = f"its {n:,} values of {of.name} take {n * of.itemsize:,} bytes, but it has {storage.nbytes:,}"
    elif not unreadable:
        unreadable = f"its values should be bytes, but are a {brief(raw, 40)}"
    if len(shape) > MAX_RANK:
        unreadable = unreadable or f"it has {len(shape):,} dimensions, numpy takes {MAX_RANK}"
    return TensorRef("", (), of, shape, strides, 0, storage, big_endian, unreadable=unreadable)


def _python2_bytes(text: str, n: int) -> bytes:
    """The bytes behind text the machine read as UTF-8 or latin-1: non-ASCII text is longer in UTF-8, so ``n`` tells."""
    for encoding in ("utf-8", "latin-1"):
        try:
            raw = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if len(raw) == n:
            return raw
    return text.encode("utf-8", "surrogatepass")


def empty_array() -> TensorRef:
    """What ``_reconstruct`` makes: an array of no bytes, until its state is set."""
    return TensorRef("", (), DTYPES["int8"], (0,), (1,), 0, Storage("none", 0, None))


def fill_array(array: TensorRef, home: ByteSource | None, state: object, storage_id: str) -> bool:
    """Give an array its state, as ``ndarray.__setstate__`` would; False, and nothing done, where it takes none such.

    Everything that refers to the array holds this very object, so it is changed in place this once, while it is built.
    """
    if type(state) is not tuple or len(state) not in (4, 5):
        return False
    shape, dtype, fortran, raw = state[-4:]
    made = numpy_array(home, dtype, shape, fortran, raw, storage_id)
    if made is None:
        return False
    for name in TensorRef.__slots__:
        object.__setattr__(array, name, getattr(made, name))
    return True


def spoil_array(array: TensorRef) -> None:
    """Make an array that was given a wrong state unreadable: what it held before is not what it should hold."""
    if not array.unreadable:
        object.__setattr__(array, "unreadable", "the file gives it a state that numpy does not take")


def numpy_scalar(dtype: object, raw: object) -> object:
    """The number as Python's own, None when it is none."""
    element = _element(dtype)
    if element is None:
        return None
    of, big_endian, _ = element
    kind: np.dtype[Any] | None = of.numpy
    if kind is None:
        return None
    if isinstance(raw, str):
        raw = _python2_bytes(raw, of.itemsize)
    if type(raw) is not bytes or len(raw) != of.itemsize:
        return None
    value = np.frombuffer(raw, kind.newbyteorder(">" if big_endian else "<") if kind.kind in "iufcb" else kind)[0]
    return complex(value) if kind.kind == "c" else value.item() if kind.kind in "iufb" else float(value)
