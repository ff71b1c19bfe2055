"""numpy arrays whose header may say anything."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def header_text(descr: str = "'<f4'", fortran: str = "False", shape: str = "(2,)") -> str:
    """The dict of the header as numpy prints it; each value is source text."""
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def with_npy_header(text: str | bytes, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """An array with that header, padded to 64 bytes as numpy does."""
    raw = text.encode("utf-8" if version == 3 else "latin-1") if isinstance(text, str) else text
    fixed = 10 if version == 1 else 12
    raw += b" " * (-(fixed + len(raw) + 1) % 64) + b"\n"
    n = struct.pack("<H" if version == 1 else "<L", len(raw) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + n + raw + data


def npy(descr: str, shape: Sequence[int], data: bytes, version: int = 1) -> bytes:
    """A healthy array."""
    return with_npy_header(header_text(repr(descr), shape=repr(tuple(shape))), data, version)
