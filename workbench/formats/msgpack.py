"""MessagePack of a file that is not trusted, walked in place: bytes stay on disk, everything else becomes a tree.

https://github.com/msgpack/msgpack/blob/master/spec.md. Extension types are refused, nesting and memory are bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from workbench.core.source import ByteSource
from workbench.core.tree import Dict
from workbench.formats.limits import MAX_MSGPACK_DEPTH, MAX_MSGPACK_TEXT, max_memory

__all__ = ["Bin", "MsgpackProblem", "walk"]

_CHUNK: Final = 4096
_ITEM, _ENTRY, _CONTAINER = 64, 110, 120
"""Bytes of memory that a value, an entry of a map and a container take, rounded up."""

# First byte: kind, and the width of the length or number behind it.
_SIZED: Final = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
    0xCA: (">f", 4), 0xCB: (">d", 8),
    0xCC: (">B", 1), 0xCD: (">H", 2), 0xCE: (">L", 4), 0xCF: (">Q", 8),
    0xD0: (">b", 1), 0xD1: (">h", 2), 0xD2: (">l", 4), 0xD3: (">q", 8),
}  # fmt: skip
_PLAIN: Final = {0xC0: None, 0xC2: False, 0xC3: True}


class MsgpackProblem(ValueError):
    """What is wrong with it, as a sentence; ``is_cut`` when the file ends too early."""

    def __init__(self, cause: str, at: int, *, is_cut: bool = False) -> None:
        super().__init__(cause)
        self.at = at
        self.is_cut = is_cut


@dataclass(frozen=True, slots=True)
class Bin:
    """A run of bytes of the file, unread."""

    begin: int
    nbytes: int


class _Cursor:
    """The file from one position on, a small piece at a time; what is skipped is never read."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._piece = b""
        self._begin = 0
        self.at = 0
        self.n_walked = 0

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        self.check(n)
        first = self.at - self._begin
        if not 0 <= first <= first + n <= len(self._piece):
            self._piece = self._source.read_exact(self.at, min(max(n, _CHUNK), self._source.size - self.at))
            self._begin, first = self.at, 0
        self.at += n
        self.n_walked += n
        return self._piece[first : first + n]

    def check(self, n: int) -> None:
        """MsgpackProblem when fewer than ``n`` bytes are left."""
        if n > self._source.size - self.at:
            cause = f"It should go on for {n:,} bytes, but {self._source.size - self.at:,} are left."
            raise MsgpackProblem(cause, self.at, is_cut=True)


@dataclass(slots=True)
class _Frame:
    """A container that is being filled: a list, or a map as key, value, key, value."""

    n_left: int
    is_map: bool
    values: list[object]


def walk(source: ByteSource, close: Callable[[Dict], object]) -> tuple[object, int, bytes]:
    """The first value, where it ends, and all bytes but those of ``Bin``; ``close`` may replace each map when it ends.

    MsgpackProblem where it is broken, and when it takes more memory than a file of its kind can need.
    """
    cursor = _Cursor(source)
    stack: list[_Frame] = []
    seen = bytearray()
    used = 0
    while True:
        at = cursor.at
        head = cursor.take(1)
        seen += head
        first = head[0]
        kind, number = "", 0
        value: object = None
        if first < 0x80:
            value = first
        elif first >= 0xE0:
            value = first - 256
        elif first < 0xC0:
            kind = "map" if first < 0x90 else "list" if first < 0xA0 else "str"
            number = first & (0x0F if first < 0xA0 else 0x1F)
        elif first in _PLAIN:
            value = _PLAIN[first]
        elif first in _SIZED:
            kind, width = _SIZED[first]
            raw = cursor.take(width)
            seen += raw
            if kind[0] == ">":
                (value,) = struct.unpack(kind, raw)
                kind = ""
            else:
                number = int.from_bytes(raw, "big")
        else:
            raise MsgpackProblem(f"Byte {first:#04x} begins no value that Burn writes.", at)
        frame = stack[-1] if stack else None
        is_key = frame is not None and frame.is_map and not frame.n_left & 1
        used += _ITEM + (_ENTRY if is_key else 0)
        if kind == "str" or (kind == "bin" and is_key):
            value = _text(cursor, number, at, seen)
            used += 2 * number
        elif kind == "bin":
            cursor.check(number)
            value = Bin(cursor.at, number)
            cursor.at += number
        elif kind and is_key:
            raise MsgpackProblem("A key is a container.", at)
        elif kind:
            used += _CONTAINER
            n = number << (kind == "map")
            cursor.check(n)
            if len(stack) == MAX_MSGPACK_DEPTH:
                raise MsgpackProblem(f"It nests deeper than {MAX_MSGPACK_DEPTH:,} levels.", at)
            stack.append(_Frame(n, kind == "map", []))
        elif is_key and type(value) is not int:
            raise MsgpackProblem("A key is neither text nor a number.", at)
        if used > max_memory(cursor.n_walked):
            raise MsgpackProblem("It takes more memory than a file of its size can need.", at)
        if kind in ("map", "list"):
            frame = stack[-1]
        elif frame is None:
            return value, cursor.at, bytes(seen)
        else:
            frame.values.append(value)
            frame.n_left -= 1
        while frame is not None and frame.n_left == 0:
            stack.pop()
            value = _closed(frame, close)
            if not stack:
                return value, cursor.at, bytes(seen)
            frame = stack[-1]
            frame.values.append(value)
            frame.n_left -= 1


def _closed(frame: _Frame, close: Callable[[Dict], object]) -> object:
    if not frame.is_map:
        return frame.values
    each = iter(frame.values)
    return close(Dict(zip(each, each, strict=True)))


def _text(cursor: _Cursor, n: int, at: int, seen: bytearray) -> str:
    if n > MAX_MSGPACK_TEXT:
        cursor.check(n)
        raise MsgpackProblem(f"A text in it has {n:,} bytes; the limit is {MAX_MSGPACK_TEXT:,}.", at)
    raw = cursor.take(n)
    seen += raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MsgpackProblem("A text in it is not UTF-8.", at) from None
