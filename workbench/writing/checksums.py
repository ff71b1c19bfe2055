"""The checksums of an export: BLAKE3 of each file, for mapping.json, and CRC-32 of each tensor, to compare what is
read back. Both keep up with a disk; SHA-256 would take most of the time of an export.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from blake3 import blake3
from zlib_ng.zlib_ng import crc32, crc32_combine

__all__ = ["FIELD", "Digest", "crc32", "crc32_combine", "digest_of", "is_digest", "new_digest", "take"]

FIELD: Final = "blake3"
"""The field of a JSON file that has a digest: 64 hex digits, as `b3sum` prints them."""

Digest = blake3

_CHUNK: Final = 256 << 10
"""Bytes hashed at a time: few enough to stay in the processor's cache."""

_HEX: Final = frozenset("0123456789abcdef")


def new_digest() -> Digest:
    """A digest of nothing yet."""
    return blake3()


def digest_of(path: Path) -> str:
    """The digest of a file's bytes, in hex."""
    digest = new_digest()
    with path.open("rb", buffering=0) as file:
        take(digest, file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return digest.hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is one in hex."""
    return len(text) == 2 * blake3.digest_size and _HEX.issuperset(text)


def take(digest: Digest, descriptor: int, begin: int, end: int) -> None:
    """Update `digest` with those bytes of a file. OSError where there are fewer."""
    buffer = memoryview(bytearray(min(_CHUNK, max(end - begin, 1))))
    while begin < end:
        n = os.preadv(descriptor, [buffer[: end - begin]], begin)
        if not n:
            raise OSError("the file is shorter than what was written")
        digest.update(buffer[:n])
        begin += n
