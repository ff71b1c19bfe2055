"""The directory of a zip file as PyTorch reads it, and a finding wherever another reader could see something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count, repeat
from struct import Struct
from typing import Final, NamedTuple

import numpy as np

from workbench.core.source import MAX_READ, ByteSource, inflate
from workbench.core.tensor import Storage
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.limits import MAX_DIRECTORY, inflated_limit
from workbench.formats.zip_columns import NOWHERE, Columns, Numbers, plain_places, quick_columns

__all__ = ["Entry", "ZipDirectory", "read_directory"]

_END: Final = Struct("<4s4H2LH")
_LOCATOR: Final = Struct("<4sLQL")
_END64: Final = Struct("<4sQ2H2L4Q")
_CENTRAL: Final = Struct("<4s6H3L5H2L")
_LOCAL: Final = Struct("<4s5H3L2H")
_U64: Final = Struct("<Q")

_TAIL: Final = 65_557
"""The end record stands within this many bytes of the end: 22 and a comment of at most 65,535."""

_MANY: Final = 256
"""Entries from which on their local headers are looked at together."""

_METHODS: Final = {0: "stored", 8: "deflated"}


class Entry(NamedTuple):
    """One record as the central directory has it. ``limit`` is where the next thing in the file begins."""

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    header_offset: int
    limit: int

    @property
    def place(self) -> str:
        """The name for messages."""
        return printable(self.name, 120)


class ZipDirectory:
    """All entries in directory order. Names are found as torch compares them: with their ASCII letters lowered."""

    __slots__ = (
        "_by_exact_name",
        "_by_name",
        "_columns",
        "_entries",
        "_plain",
        "_repeated",
        "findings",
        "names",
        "raw",
        "source",
    )

    def __init__(self, source: ByteSource, columns: Columns, raw: bytes, findings: tuple[Finding, ...]) -> None:
        self.source = source
        self.names = columns[0]
        self.raw = raw
        self.findings = findings
        self._columns = columns
        self._entries: tuple[Entry, ...] | None = None
        self._plain: tuple[Numbers, Numbers] | None = None
        lowered = _lowered(self.names)
        self._by_name = dict(zip(lowered, range(len(lowered)), strict=True))
        self._by_exact_name = self._by_name if lowered is self.names else None
        self._repeated: frozenset[str] = frozenset()
        if len(self._by_name) < len(lowered):
            self._repeated = frozenset(name for name, n in Counter(lowered).items() if n > 1)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry; `names` is there for those who need no more."""
        if self._entries is None:
            names, *numbers = self._columns
            self._entries = tuple(map(Entry, names, *(map(int, column) for column in numbers)))
        return self._entries

    def find(self, name: str) -> Entry | None:
        """The entry of that name, upper or lower case."""
        i = self._by_name.get(_lower(name))
        return None if i is None else Entry(self.names[i], *(int(column[i]) for column in self._columns[1:]))

    def is_repeated(self, name: str) -> bool:
        """Whether several entries answer to that name."""
        return bool(self._repeated) and _lower(name) in self._repeated

    def rows(self, names: Sequence[str]) -> Numbers:
        """The number of the last entry of exactly each of these names, -1 where there is none."""
        if self._by_exact_name is None:
            self._by_exact_name = dict(zip(self.names, count()))
        return np.fromiter(map(self._by_exact_name.get, names, repeat(-1)), np.int64, len(names))

    @property
    def plain(self) -> tuple[Numbers, Numbers]:
        """Begin and size of the entries with nothing odd about them: stored as they are, once, headers that agree.

        Only where there are many, for their headers are then read and checked together; `data_begin` tells of any.
        Those of all others are `NOWHERE`.
        """
        if self._plain is None:
            if len(self.names) >= _MANY:
                self._plain = plain_places(self.source, self._columns, self._lowered_once())
            else:
                nowhere = np.full(len(self.names), NOWHERE, np.int64)
                self._plain = nowhere, nowhere
        return self._plain

    def _lowered_once(self) -> Sequence[bool] | None:
        """Whether each name stands for one entry only, None when all do."""
        return [_lower(name) not in self._repeated for name in self.names] if self._repeated else None

    def data_begin(self, entry: Entry) -> tuple[int, str]:
        """Where the bytes of an entry begin, and in what its local header differs from the directory ("" if not).

        OpenError when the bytes would reach into another record.
        """
        if entry.flags & 0x2041:
            raise self._error(entry, "The entry is encrypted.", "encrypted-entry", "Unpack it with its password first.")
        if entry.method not in _METHODS:
            raise self._error(
                entry,
                f"The entry is compressed by method {entry.method}, which no torch.save writes.",
                "unknown-method",
                "Unpack the file and zip it again without compression.",
            )
        name = _encode(entry.name)
        room = min(30 + len(name), self.source.size - entry.header_offset)
        header = self.source.read_exact(entry.header_offset, max(room, 0))
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise self._error(entry, "No record begins where the directory says.", "no-local-header")
        _, _, flags, method, _, _, _, packed, size, n_name, n_extra = _LOCAL.unpack_from(header)
        begin: int = entry.header_offset + 30 + n_name + n_extra
        if begin + entry.packed > entry.limit:
            raise self._error(
                entry,
                f"Its {entry.packed:,} bytes from byte {begin:,} on reach into what begins at byte {entry.limit:,}.",
                "overlapping-entries",
            )
        differs = []
        if n_name != len(name) or header[30:] != name:
            differs.append("name")
        if method != entry.method:
            differs.append("method")
        if (flags ^ entry.flags) & ~0x0808:
            differs.append("flags")
        if (
            not flags & 8
            and packed != 0xFFFFFFFF
            and size != 0xFFFFFFFF
            and (packed, size) != (entry.packed, entry.size)
        ):
            differs.append("size")
        return begin, ", ".join(differs)

    def storage(self, entry: Entry, begin: int, storage_id: str) -> Storage:
        """The bytes of an entry, read when asked for."""
        return Storage(storage_id, entry.size, self.source, begin, entry.packed if entry.method == 8 else -1)

    def read(self, entry: Entry) -> bytes:
        """All bytes of a small entry, inflated within limits."""
        begin, _ = self.data_begin(entry)
        limit = inflated_limit(entry.size, entry.packed)
        if entry.size > limit:
            raise self._error(
                entry,
                f"Its {entry.packed:,} bytes say they unpack to {entry.size:,}; the limit is {limit:,}.",
                "too-big",
                "If you trust the file, save it again without compression.",
            )
        if entry.method == 8:
            return inflate(self.source, begin, entry.packed, 0, entry.size, f"entry {entry.place}")
        pieces = [
            self.source.read_exact(begin + at, min(MAX_READ, entry.size - at)) for at in range(0, entry.size, MAX_READ)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _error(self, entry: Entry, title: str, code: str, next_step: str = "Fetch the file again.") -> OpenError:
        return OpenError(
            title,
            path=self.source.path or self.source.name,
            place=f"entry {entry.place}",
            next_step=next_step,
            code=code,
        )


def _lower(name: str) -> str:
    return (
        (name if name.islower() else name.lower())
        if name.isascii()
        else "".join(c.lower() if c.isascii() else c for c in name)
    )


def _lowered(names: Sequence[str]) -> Sequence[str]:
    joined = "\n".join(names)
    # In bulk where no name has a line end of its own.
    if joined.isascii() and joined.count("\n") == len(names) - 1:
        lowered = joined.lower()
        return names if lowered == joined else lowered.split("\n")
    return [_lower(name) for name in names]


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape")


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


_Row = tuple[str, int, int, int, int, int, int]
"""An `Entry` without its limit."""


class _Reader:
    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.findings: list[Finding] = []

    def error(self, title: str, *, at: int | None = None, cause: str = "", code: str = "broken-zip") -> OpenError:
        return OpenError(
            title,
            path=self.source.path or self.source.name,
            place="" if at is None else f"byte {at:,}",
            cause=cause,
            next_step="Fetch the file again, or save it again with torch.save.",
            code=code,
        )

    def find_end(self) -> tuple[int, bytes]:
        """Position and fields of the last end record."""
        size = self.source.size
        begin = max(size - _TAIL, 0)
        tail = self.source.read_exact(begin, size - begin)
        at = tail.rfind(b"PK\x05\x06", 0, max(len(tail) - 18, 0))
        if at < 0:
            raise self.error(
                "This zip file is cut off.",
                cause=f"It begins as one, but the directory at its end is missing ({size:,} bytes are here).",
                code="cut-off",
            )
        return begin + at, tail[at : at + 22]

    def directory_place(self) -> tuple[int, int, int, int]:
        """Begin, size and count of the directory, and where the records that end the file begin."""
        end_at, record = self.find_end()
        _, disk, first_disk, n_here, n_all, n_bytes, begin, n_comment = _END.unpack(record)
        stop = end_at
        after = self.source.size - end_at - 22 - n_comment
        if after:
            what = f"{after:,} bytes follow the end of the zip" if after > 0 else "its comment is cut short"
            self.findings.append(
                Finding(
                    "bytes-after-zip", Severity.WARNING, f"byte {end_at + 22:,}", f"{what}; torch.load ignores that."
                )
            )
        if end_at >= 20:
            locator = self.source.read_exact(end_at - 20, 20)
            if locator[:4] == b"PK\x06\x07":
                _, _, at64, _ = _LOCATOR.unpack(locator)
                if at64 + 56 > end_at - 20:
                    raise self.error("The zip64 record of this file is not where it should be.", at=end_at - 20)
                fields = _END64.unpack(self.source.read_exact(at64, 56))
                if fields[0] != b"PK\x06\x06":
                    raise self.error("The zip64 record of this file is not where it should be.", at=at64)
                small, large = (n_here, n_all, n_bytes, begin), fields[6:10]
                full = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
                if any(a not in (b, c) for a, b, c in zip(small, large, full, strict=True)):
                    raise self.error("The two end records of this zip file contradict each other.", at=at64)
                n_here, n_all, n_bytes, begin = large
                stop = at64
        if disk or first_disk or n_here != n_all:
            raise self.error("This zip file is one part of several.", at=end_at)
        if begin + n_bytes > stop:
            raise self.error(
                "This zip file is broken.",
                at=end_at,
                cause=f"Its directory should fill bytes {begin:,} to {begin + n_bytes:,}, but its end is at {stop:,}.",
            )
        if begin + n_bytes < stop:
            gap = stop - begin - n_bytes
            self.findings.append(
                Finding(
                    "gap-in-zip",
                    Severity.WARNING,
                    f"byte {begin + n_bytes:,}",
                    f"{gap:,} bytes lie between the directory and the end record; no reader looks at them.",
                )
            )
        if n_bytes > MAX_DIRECTORY:
            raise self.error(
                f"The directory of this zip file has {n_bytes:,} bytes; the limit is {MAX_DIRECTORY:,}.", code="too-big"
            )
        return begin, n_bytes, n_all, stop

    def entries(self, raw: bytes, base: int, count: int) -> list[_Row]:
        found: list[_Row] = []
        pos, size = 0, len(raw)
        unpack = _CENTRAL.unpack_from
        for _ in range(count):
            if pos + 46 > size or raw[pos : pos + 4] != b"PK\x01\x02":
                raise self.error(
                    "The directory of this zip file is broken.",
                    at=base + pos,
                    cause=f"It should list {count:,} entries; {len(found):,} are there.",
                )
            fields = unpack(raw, pos)
            flags, method, crc, packed, full, n_name, n_extra, n_comment = (*fields[3:5], *fields[7:13])
            offset = fields[16]
            begin = pos + 46
            pos = begin + n_name + n_extra + n_comment
            if pos > size:
                raise self.error("The directory of this zip file is broken.", at=base + begin)
            if packed == 0xFFFFFFFF or full == 0xFFFFFFFF or offset == 0xFFFFFFFF:
                extra = raw[begin + n_name : begin + n_name + n_extra]
                full, packed, offset = self.zip64(extra, full, packed, offset, base + begin)
            found.append((_decode(raw[begin : begin + n_name]), method, flags, crc, packed, full, offset))
        if pos != size:
            raise self.error(
                "The directory of this zip file is broken.",
                at=base + pos,
                cause=f"{size - pos:,} bytes of it lie behind the {count:,} entries it counts.",
            )
        return found

    def columns(self, raw: bytes, begin: int, count: int) -> Columns:
        """The fields of all entries, their extents checked."""
        rows = self.entries(raw, begin, count)
        order = sorted(range(count), key=lambda i: rows[i][6])
        limits = [begin] * count
        previous = begin
        for i in reversed(order):
            limits[i] = previous
            name, _, _, _, packed, _, offset = rows[i]
            if offset + 30 + packed > previous:
                raise self.error(
                    "Two records of this zip file lie on the same bytes.",
                    at=offset,
                    cause=f"Entry {printable(name, 120)} reaches into what begins at byte {previous:,}.",
                    code="overlapping-entries",
                )
            previous = offset
        names, *numbers = zip(*rows, strict=True) if rows else ((),) * 7
        return (names, *numbers, limits)

    def zip64(self, extra: bytes, full: int, packed: int, offset: int, at: int) -> tuple[int, int, int]:
        pos = 0
        while pos + 4 <= len(extra):
            kind, n = int.from_bytes(extra[pos : pos + 2], "little"), int.from_bytes(extra[pos + 2 : pos + 4], "little")
            pos += 4
            if kind == 1:
                values = [value for value in (full, packed, offset) if value == 0xFFFFFFFF]
                if n < 8 * len(values) or pos + n > len(extra):
                    break
                wide = iter([_U64.unpack_from(extra, pos + 8 * i)[0] for i in range(len(values))])
                return tuple(next(wide) if v == 0xFFFFFFFF else v for v in (full, packed, offset))  # type: ignore[return-value]
            pos += n
        raise self.error("An entry of this zip file lacks its 64-bit sizes.", at=at)


def read_directory(source: ByteSource) -> ZipDirectory:
    """All entries of a zip file, their extents checked; OpenError where the file contradicts itself."""
    reader = _Reader(source)
    begin, n_bytes, count, _ = reader.directory_place()
    if count * 46 > n_bytes:
        raise reader.error(
            f"The directory of this zip file counts {count:,} entries, which do not fit in it.", at=begin
        )
    raw = b"".join(source.read_exact(begin + at, min(MAX_READ, n_bytes - at)) for at in range(0, n_bytes, MAX_READ))
    columns = quick_columns(raw, begin, count)
    if columns is None:
        columns = reader.columns(raw, begin, count)
    return ZipDirectory(source, columns, raw, tuple(reader.findings))
