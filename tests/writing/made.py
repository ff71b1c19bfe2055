"""Tensors and checkpoints of chosen values, names and faults."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

import workbench as wb
from workbench.core.source import MemorySource
from workbench.core.tensor import Storage, TensorRef, contiguous_strides, dtype_named

PLAIN = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64 complex64"
EXTRA = "bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
ALL_DTYPES = (PLAIN + " " + EXTRA).split()

HOSTILE_NAMES = [
    "../../etc/passwd",
    "/absolute",
    "C:\\drive",
    "..\\up",
    "file",
    "self",
    "args",
    "a.npy",
    "",
    "with space",
    "line\nbreak",
    "\x1b[31mred",
    'quote"and\\slash',
    "<script>alert(1)</script>",
    "[/red]",
    ":smile:",
    "weiß.日本.🦀",
    "right\u202eleft",
    "x" * 3000,
    "__proto__",
    "%s%n{0}",
]


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    """Any bits that `dtype` can hold."""
    kind = dtype_named(dtype)
    n = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    bits = np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8)
    if dtype == "bool":
        bits %= 2
    return bits.view(kind.numpy).reshape(shape)


def tensor_of(name: str, array: np.ndarray[Any, Any]) -> TensorRef:
    """A tensor reference to a copy of `array` in memory."""
    data = array.tobytes()
    storage = Storage("0", len(data), MemorySource(data, "memory"))
    dtype = dtype_named(array.dtype.name)
    return TensorRef(name, (name,), dtype, array.shape, contiguous_strides(array.shape), 0, storage)


def safetensors_bytes(arrays: Mapping[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None = None) -> bytes:
    """What the safetensors package writes."""
    kept = {name: np.frombuffer(array.tobytes(), np.uint8) for name, array in arrays.items()}
    table = {
        name: safetensors.TensorSpec(
            dtype=array.dtype.name, shape=list(array.shape), data_ptr=kept[name].ctypes.data, data_len=array.nbytes
        )
        for name, array in arrays.items()
    }
    return safetensors.serialize(table, metadata=metadata)


def checkpoint_of(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> wb.Checkpoint:
    """A safetensors checkpoint, written by the safetensors package."""
    path.write_bytes(safetensors_bytes(arrays))
    return wb.open(path)


def torch_zip(path: Path, tensors: Mapping[str, tuple[str, int, bytes]]) -> Path:
    """A PyTorch file: name to (storage class, number of elements, bytes of the storage). The bytes may be too few."""
    pickled = b"\x80\x02}("
    for n, (name, (storage, size, _)) in enumerate(tensors.items()):
        pickled += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        pickled += _text("storage") + f"ctorch\n{storage}\n".encode() + _text(str(n)) + _text("cpu")
        pickled += _int(size) + b"tQ" + _int(0) + _int(size) + b"\x85" + _int(1) + b"\x85\x89"
        pickled += b"ccollections\nOrderedDict\n)RtR"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled + b"u.")
        archive.writestr("archive/byteorder", "little")
        for n, (_, _, data) in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{n}", data)
        archive.writestr("archive/version", "3\n")
    return path


def bits(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    """All that must be equal for two arrays to be the same, NaN included."""
    return array.dtype.name, array.shape, array.tobytes()


def flat(nested: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """A nested export as dotted names again."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in nested.items():
        below = {f".{key}": array for key, array in flat(value).items()} if isinstance(value, dict) else {"": value}
        found |= {name + rest: array for rest, array in below.items()}
    return found


def tree_of(folder: Path) -> dict[str, bytes | None]:
    """Every path below `folder` with its bytes, None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)
