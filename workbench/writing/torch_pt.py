"""Tensors as a .pt that torch.load(weights_only=True) and Burn's readers take: a zip, as torch.save writes it.

The pickle is one flat dict of protocol 2, written without a memo: Burn 0.22 gives up on files of some 30,000 tensors
whose pickles use one. The folder inside is always `archive`, as torch names it when it saves to a buffer: a name taken
from the file's can give the one length that Burn's zip reader stumbles over.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import IO, Final

from workbench.core.tensor import contiguous_strides
from workbench.errors import printable
from workbench.writing.items import Item, check_each, copy, firsts
from workbench.writing.zip_writer import ZipWriter

__all__ = ["check_pt", "write_pt"]

_TYPED: Final = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex128": "ComplexDoubleStorage",
    "complex64": "ComplexFloatStorage",
}
"""The dtypes that torch writes by a storage class of their own (_rebuild_tensor_v2)."""

_UNTYPED: Final = frozenset(
    (
        "uint16",
        "uint32",
        "uint64",
        "complex32",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "float4_e2m1fn_x2",
        "bits8",
        "bits16",
        "bits1x8",
        "bits2x4",
        "bits4x2",
    )
)
"""Those that it writes as bytes with the dtype beside them (_rebuild_tensor_v3)."""

_ROOT: Final = "archive"
_ALIGNMENT: Final = 64
_BATCH: Final = 1000
_MAX_SIZE: Final = 2**63
_V2: Final = b"ctorch._utils\n_rebuild_tensor_v2\n"
_V3: Final = b"ctorch._utils\n_rebuild_tensor_v3\n"
_NO_HOOKS: Final = b"ccollections\nOrderedDict\n)R"


def check_pt(items: Sequence[Item]) -> None:
    """Raise `ExportError` where a dtype or name has no place in a .pt."""
    check_each(items, _refusal, "a PyTorch file")


def write_pt(items: Sequence[Item], file: IO[bytes]) -> dict[str, int]:
    """The file, in the order of `items`, each contiguous; items that are one storage in the source stay one.

    The CRC-32 of each tensor's bytes by name. The same items give the same bytes.
    """
    places = firsts(items)
    keys = {place: str(n) for n, place in enumerate(dict.fromkeys(places))}
    pickled = b"".join(_pickle(items, [keys[place] for place in places]))
    crcs: dict[int, int] = {}
    with ZipWriter(file, alignment=_ALIGNMENT) as archive:
        archive.add(f"{_ROOT}/data.pkl", pickled)
        archive.add(f"{_ROOT}/.format_version", b"1")
        archive.add(f"{_ROOT}/.storage_alignment", str(_ALIGNMENT).encode())
        archive.add(f"{_ROOT}/byteorder", b"little")
        for place, key in keys.items():
            item = items[place]
            crcs[place] = archive.stream(f"{_ROOT}/data/{key}", item.nbytes, partial(copy, item))
        archive.add(f"{_ROOT}/version", b"3\n")
        archive.add(f"{_ROOT}/.data/serialization_id", _id(pickled, crcs.values()))
    return {item.name: crcs[place] for item, place in zip(items, places, strict=True)}


def _id(pickled: bytes, crcs: Iterable[int]) -> bytes:
    """Forty digits that tell two files apart, as torch makes them of names and checksums."""
    digest = hashlib.sha256(pickled)
    for crc in crcs:
        digest.update(struct.pack("<I", crc))
    return b"%040d" % (int.from_bytes(digest.digest()) % 10**40)


def _pickle(items: Sequence[Item], keys: Sequence[str]) -> Iterator[bytes]:
    yield b"\x80\x02}"
    for begin in range(0, len(items), _BATCH):
        yield b"("
        for item, key in zip(items[begin : begin + _BATCH], keys[begin : begin + _BATCH], strict=True):
            yield _text(item.name) + _tensor(item, key)
        yield b"u"
    yield b"."


def _tensor(item: Item, key: str) -> bytes:
    dtype, shape = item.dtype.name, item.shape
    typed = _TYPED.get(dtype)
    kind = f"ctorch\n{typed}\n" if typed else "ctorch.storage\nUntypedStorage\n"
    numel = math.prod(shape) if typed else item.nbytes
    storage = b"(" + _text("storage") + kind.encode() + _text(key) + _text("cpu") + _integer(numel) + b"tQ"
    view = _integer(0) + _tuple(shape) + _tuple(contiguous_strides(shape)) + b"\x89" + _NO_HOOKS
    if typed:
        return _V2 + b"(" + storage + view + b"tR"
    return _V3 + b"(" + storage + view + f"ctorch\n{dtype}\n".encode() + b"tR"


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    if number < 1 << 8:
        return b"K" + bytes((number,))
    if number < 1 << 16:
        return b"M" + struct.pack("<H", number)
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    n = number.bit_length() // 8 + 1
    return b"\x8a" + bytes((n,)) + number.to_bytes(n, "little")


def _tuple(numbers: Sequence[int]) -> bytes:
    inner = b"".join(map(_integer, numbers))
    if len(numbers) <= 3:
        return inner + (b")", b"\x85", b"\x86", b"\x87")[len(numbers)]
    return b"(" + inner + b"t"


def _refusal(item: Item) -> str:
    if item.dtype.name not in _TYPED and item.dtype.name not in _UNTYPED:
        return "a plain tensor of torch has no such dtype"
    if any(size >= _MAX_SIZE for size in contiguous_strides(item.shape)):
        return "its strides overflow"
    try:
        item.name.encode()
    except UnicodeEncodeError:
        return f"its name {printable(item.name, 40)} is not valid Unicode text"
    return ""
