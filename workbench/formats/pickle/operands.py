"""Operands that are written as text: numbers and strings as protocol 0 and Python 2 spell them."""

from __future__ import annotations

import re
from typing import Final

from workbench.core.tree import Opaque
from workbench.formats.limits import MAX_DIGITS
from workbench.formats.pickle.builder import Fault

__all__ = ["decimal", "decimal_fraction", "memo_number", "python2_text", "quoted"]

# No zeros in front: "010" is eight to Python's C machine, an error to its other one.
_DECIMAL: Final = re.compile(rb"[+-]?(0+|[1-9][0-9]*)")
_FLOAT: Final = re.compile(rb"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|inf|nan)")
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE_ESCAPES: Final = {
    b"n": 10,
    b"r": 13,
    b"t": 9,
    b"a": 7,
    b"b": 8,
    b"f": 12,
    b"v": 11,
    b"\\": 92,
    b"'": 39,
    b'"': 34,
}


def decimal(line: bytes) -> object:
    """An integer; of a very long one only its number of digits."""
    if not _DECIMAL.fullmatch(line):
        raise Fault("its text is no number")
    if len(line) > MAX_DIGITS:
        return Opaque("int", (f"integer of {len(line):,} digits",))
    return int(line)


def decimal_fraction(line: bytes) -> float:
    """A float."""
    if len(line) > MAX_DIGITS or not _FLOAT.fullmatch(line):
        raise Fault("its text is no number")
    return float(line)


def memo_number(line: bytes) -> int:
    """A number of the memo."""
    if len(line) > 20 or not line.isdigit():
        raise Fault("its text is no memo number")
    return int(line)


def quoted(line: bytes) -> str:
    """A string in quotes, its escapes resolved."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Fault("its text has no quotes")
    return python2_text(_ESCAPE.sub(_unescape, line[1:-1]))


def python2_text(data: bytes) -> str:
    """Byte strings of Python 2 are names here: UTF-8 where they are, else one character a byte."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unescape(match: re.Match[bytes]) -> bytes:
    what = match[1]
    if what[:1] == b"x" and len(what) == 3:
        return bytes([int(what[1:], 16)])
    if what[:1].isdigit() and what[:1] < b"8":
        return bytes([int(what, 8) & 0xFF])
    if what == b"\n":
        return b""
    code = _SIMPLE_ESCAPES.get(what)
    return match[0] if code is None else bytes([code])
