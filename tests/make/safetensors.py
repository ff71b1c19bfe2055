"""safetensors files whose header may say anything."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

Part = tuple[str, str, Sequence[int], bytes]
"""Name, dtype as the format spells it, shape, bytes."""


def header_of(parts: Sequence[Part], metadata: dict[str, str] | None = None) -> tuple[dict[str, Any], bytes]:
    """The header as a dict, and the data behind it."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, dtype, shape, raw in parts:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return header, data


def with_header(header: str | bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """A file with that header, however wrong it is."""
    raw = json.dumps(header).encode() if isinstance(header, dict) else header
    raw = raw.encode() if isinstance(raw, str) else raw
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def safetensors_file(parts: Sequence[Part], metadata: dict[str, str] | None = None) -> bytes:
    """A healthy file."""
    return with_header(*header_of(parts, metadata))
