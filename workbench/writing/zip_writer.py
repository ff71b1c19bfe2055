"""A zip of stored entries, each of a size known before, at aligned places. Nothing is held in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, Self

from workbench.writing.checksums import crc32, crc32_combine

__all__ = ["ZipWriter"]

_LIMIT: Final = 0xFFFFFFFF
_MANY: Final = 0xFFFF
_UTF8: Final = 0x800
_PADDING: Final = 0x4246
"""The extra field, "FB", by which torch moves the bytes of an entry to an aligned place."""


class ZipWriter:
    """Entries one after the other into a seekable file that is empty; the directory follows when the block ends."""

    def __init__(self, file: IO[bytes], *, alignment: int) -> None:
        self._file = file
        self._alignment = alignment
        self._directory: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    def add(self, name: str, data: bytes) -> None:
        """An entry whose bytes are at hand."""

        def write(file: IO[bytes]) -> int:
            file.write(data)
            return crc32(data)

        self.stream(name, len(data), write)

    def stream(self, name: str, size: int, write: Callable[[IO[bytes]], int], *, head: bytes = b"") -> int:
        """An entry of `head` and `size` bytes, which `write` puts into the file and gives the CRC-32 of; that."""
        file, encoded, n_streamed = self._file, name.encode(), size
        size += len(head)
        begin = file.tell()
        is_large = size >= _LIMIT
        flags = 0 if name.isascii() else _UTF8
        extra = struct.pack("<HHQQ", 1, 16, size, size) if is_large else b""
        padding = -(begin + 30 + len(encoded) + len(extra) + 4) % self._alignment
        extra += struct.pack("<HH", _PADDING, padding) + b"Z" * padding
        shown = _LIMIT if is_large else size
        version = 45 if is_large else 20
        local = struct.pack("<4sHHHHH", b"PK\x03\x04", version, flags, 0, 0, 0x21)
        tail = struct.pack("<IIHH", shown, shown, len(encoded), len(extra))
        file.write(local + bytes(4) + tail + encoded + extra + head)
        streamed = write(file)
        crc = crc32_combine(crc32(head), streamed, n_streamed)
        end = file.tell()
        file.seek(begin + len(local))
        file.write(struct.pack("<I", crc))
        file.seek(end)
        self._directory.append(self._listed(encoded, flags, crc, size, begin))
        return streamed

    def _listed(self, name: bytes, flags: int, crc: int, size: int, begin: int) -> bytes:
        wide = []
        shown_size, shown_begin = size, begin
        if size >= _LIMIT:
            wide += [size, size]
            shown_size = _LIMIT
        if begin >= _LIMIT:
            wide.append(begin)
            shown_begin = _LIMIT
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = 45 if wide else 20
        return (
            struct.pack("<4sHHHHHH", b"PK\x01\x02", version, version, flags, 0, 0, 0x21)
            + struct.pack("<IIIHHHHHII", crc, shown_size, shown_size, len(name), len(extra), 0, 0, 0, 0, shown_begin)
            + name
            + extra
        )

    def _finish(self) -> None:
        file, n = self._file, len(self._directory)
        begin = file.tell()
        for entry in self._directory:
            file.write(entry)
        size = file.tell() - begin
        if n >= _MANY or size >= _LIMIT or begin >= _LIMIT:
            end = begin + size
            file.write(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, size, begin))
            file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        counted = min(n, _MANY)
        file.write(
            struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, counted, counted, min(size, _LIMIT), min(begin, _LIMIT), 0)
        )
