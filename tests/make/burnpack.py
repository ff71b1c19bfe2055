"""burnpack files whose metadata may say anything."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import cbor2

Part = tuple[str, Any, Sequence[int], bytes]
"""Name, dtype as Burn spells it, shape, bytes."""


def with_metadata(raw: bytes | Any, data: bytes = b"", *, version: int = 1, packed: bool = False) -> bytes:
    """A file with that metadata, padded to 256 bytes unless `packed`."""
    raw = raw if isinstance(raw, bytes) else cbor2.dumps(raw)
    head = b"NRUB" + struct.pack("<HL", version, len(raw)) + raw
    return head + (b"" if packed else bytes(-len(head) % 256)) + data


def described(parts: Sequence[Part], *, packed: bool = False) -> tuple[dict[str, Any], bytes]:
    """The map `tensors`, and the data."""
    tensors: dict[str, Any] = {}
    data = b""
    for name, dtype, shape, raw in parts:
        data += b"" if packed else bytes(-len(data) % 256)
        tensors[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return tensors, data


def burnpack_file(parts: Sequence[Part], *, packed: bool = False, **more: Any) -> bytes:
    """A healthy file, as Burn 0.19 lays it out if `packed`, else as all later ones do."""
    tensors, data = described(parts, packed=packed)
    return with_metadata({"tensors": tensors, **more}, data, packed=packed)
