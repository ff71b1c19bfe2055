"""MessagePack and Burn's records, packed by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Part = tuple[str, Any, Sequence[int], bytes]
"""Dotted name, dtype as Burn spells it, shape, bytes."""


@dataclass
class Raw:
    """Bytes to be put in as they are."""

    data: bytes


def pack(value: object) -> bytes:
    """A value in the shortest form; bytes become bin."""
    if isinstance(value, Raw):
        return value.data
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        if -32 <= value < 128:
            return struct.pack("b", value)
        return b"\xd3" + struct.pack(">q", value) if value < 1 << 63 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        if len(raw) < 32:
            return bytes([0xA0 | len(raw)]) + raw
        return _sized(len(raw), 0xD9, 0xDA, 0xDB) + raw
    if isinstance(value, bytes):
        return _sized(len(value), 0xC4, 0xC5, 0xC6) + value
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else _sized(len(value), None, 0xDE, 0xDF)
        return head + b"".join(pack(key) + pack(inner) for key, inner in value.items())
    assert isinstance(value, (list, tuple))
    head = bytes([0x90 | len(value)]) if len(value) < 16 else _sized(len(value), None, 0xDC, 0xDD)
    return head + b"".join(map(pack, value))


def _sized(n: int, one: int | None, two: int, four: int) -> bytes:
    if one is not None and n < 1 << 8:
        return struct.pack(">BB", one, n)
    return struct.pack(">BH", two, n) if n < 1 << 16 else struct.pack(">BL", four, n)


METADATA = {
    "float": "f32",
    "int": "i32",
    "format": "NamedMpk",
    "version": "0.20.1",
    "settings": "FullPrecisionSettings",
}


def parameter(dtype: Any, shape: Any, raw: Any) -> dict[str, Any]:
    """A parameter of a record."""
    return {"id": "83h0200000000", "param": {"bytes": raw, "shape": shape, "dtype": dtype}}


def record(item: object, **other: Any) -> bytes:
    """A file with that record in it."""
    return pack({"metadata": METADATA, "item": item, "_b": [], **other})
