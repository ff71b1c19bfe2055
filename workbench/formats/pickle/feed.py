"""Feed: a pickle read by windows, for nothing tells where a pickle ends. ByteRange: byte strings left in the file."""

from __future__ import annotations

from typing import Final

from workbench.core.source import MAX_READ, ByteSource
from workbench.core.tree import Opaque
from workbench.errors import OpenError
from workbench.formats.pickle.opcodes import CODES

__all__ = ["LAZY_BYTES", "ByteRange", "Feed", "Window", "bytes_needed"]

LAZY_BYTES: Final = 1024
"""Byte strings of at least this length stay in the file."""

_STEP: Final = 64 << 10


class ByteRange(Opaque):
    """A byte string that was not read: ``n`` bytes from ``begin`` of ``source`` on."""

    __slots__ = ("begin", "n", "source")

    def __init__(self, source: ByteSource, begin: int, n: int) -> None:
        super().__init__(f"{n:,} bytes")
        self.source = source
        self.begin = begin
        self.n = n


class Window:
    """Part of a source as a source of its own, counted from its first byte."""

    def __init__(self, source: ByteSource, begin: int, n: int) -> None:
        self._source = source
        self._begin = begin
        self.name = source.name
        self.path = source.path
        self.size = n

    def read_exact(self, begin: int, n: int) -> bytes:
        """Bytes ``begin`` to ``begin + n`` of the part; OpenError when they are not all in it."""
        self._check(begin, n)
        return self._source.read_exact(self._begin + begin, n)

    def read_into(self, begin: int, out: memoryview) -> None:
        """The same, straight into ``out``."""
        self._check(begin, len(out))
        self._source.read_into(self._begin + begin, out)

    def _check(self, begin: int, n: int) -> None:
        if not 0 <= begin <= begin + n <= self.size:
            raise OpenError(
                f"Bytes {begin:,} to {begin + n:,} of a file inside this file were asked for; it has {self.size:,}.",
                path=self.path or self.name,
                next_step="Fetch it again.",
                code="cut-off",
            )

    def check_unchanged(self) -> None:
        """As the source."""
        self._source.check_unchanged()


class Feed:
    """Windows of a source up to ``end``, at least ``step`` bytes long where there are so many."""

    def __init__(self, source: ByteSource, end: int | None = None, *, step: int = _STEP, lazy: bool = False) -> None:
        self.source = source
        self.end = source.size if end is None else end
        self.lazy = lazy
        self._step = step
        self._begin = 0
        self._held = b""

    def window(self, begin: int, n: int) -> bytes:
        """Bytes from ``begin`` on: at least ``n`` of them unless the end comes first."""
        skip = begin - self._begin
        if skip < 0 or skip + n > len(self._held):
            wanted = min(max(n, self._step), self.end - begin)
            pieces = [
                self.source.read_exact(begin + at, min(MAX_READ, wanted - at)) for at in range(0, wanted, MAX_READ)
            ]
            self._held, self._begin, skip = b"".join(pieces), begin, 0
        return self._held[skip:]


def _by_code(**groups: str) -> dict[int, int]:
    return {CODES[name]: int(size[1:]) for size, names in groups.items() for name in names.split()}


_FIXED: Final = _by_code(
    n1="BINPUT BINGET BININT1 PROTO EXT1",
    n2="BININT2 EXT2",
    n4="LONG_BINPUT LONG_BINGET BININT EXT4",
    n8="BINFLOAT FRAME",
)
_SIZED: Final = _by_code(
    n1="SHORT_BINUNICODE SHORT_BINBYTES SHORT_BINSTRING LONG1",
    n4="BINUNICODE BINBYTES BINSTRING LONG4",
    n8="BINUNICODE8 BINBYTES8 BYTEARRAY8",
)
_LINES: Final = _by_code(n1="FLOAT INT LONG PERSID STRING UNICODE GET PUT", n2="GLOBAL INST")
_LAZY: Final = frozenset(CODES[name] for name in ("BINBYTES", "BINBYTES8", "BYTEARRAY8"))


def bytes_needed(data: bytes, at: int, left: int, *, lazy: bool) -> int:
    """Bytes that the opcode at ``at`` takes with its operands, as far as ``data`` tells.

    For a line that has no end in ``data``: twice of what is there, at most the ``left`` bytes that ever will be.
    """
    rest = len(data) - at
    if rest <= 0:
        return 1
    op = data[at]
    prefix = _SIZED.get(op)
    if prefix is not None:
        if rest <= prefix:
            return 1 + prefix
        n = int.from_bytes(data[at + 1 : at + 1 + prefix], "little")
        return 1 + prefix + (0 if lazy and op in _LAZY and n >= LAZY_BYTES else n)
    n_lines = _LINES.get(op, 0)
    end = at
    for _ in range(n_lines):
        end = data.find(b"\n", end + 1)
        if end < 0:
            return min(2 * rest, left)
    return 1 + _FIXED.get(op, 0) if not n_lines else end + 1 - at
