"""Texts as Rust string literals, and back."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["rust_literal", "text_of_literal"]

_NAMED: Final = {"\0": "\\0", "\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_UNNAMED: Final = {text: char for char, text in _NAMED.items()} | {"\\'": "'"}
_ESCAPE: Final = re.compile(r"\\(?:x[0-7][0-9A-Fa-f]|u\{[0-9A-Fa-f_]+\}|\r?\n[ \t\r\n]*|.)", re.DOTALL)
_RAW: Final = re.compile(r'r(#*)"(.*)"\1', re.DOTALL)


def rust_literal(text: str) -> str:
    r"""`text` as a Rust string literal of printable ASCII alone, whatever it holds. ValueError for a lone surrogate.

    Never a raw string: nothing inside can end the literal or the line, or reorder what a reader sees.

    >>> print(rust_literal('^a\\.(.*)"\u202e'))
    "^a\\.(.*)\"\u{202e}"
    """
    parts = []
    for char in text:
        if char in _NAMED:
            parts.append(_NAMED[char])
        elif " " <= char <= "~":
            parts.append(char)
        elif 0xD800 <= ord(char) < 0xE000:
            raise ValueError(f"no Rust string holds the lone surrogate U+{ord(char):04X}")
        else:
            parts.append(f"\\u{{{ord(char):x}}}")
    return f'"{"".join(parts)}"'


def text_of_literal(source: str) -> str | None:
    r"""The text that the Rust string literal `source` stands for, None where it is none that Rust takes.

    >>> text_of_literal('r#"a"b"#')
    'a"b'
    """
    if raw := _RAW.fullmatch(source):
        ends_early = f'"{raw[1]}' in raw[2]
        return None if ends_early or _has_bare_return(raw[2]) else _lines(raw[2])
    if len(source) < 2 or source[0] != '"' or source[-1] != '"':
        return None
    inside = source[1:-1]
    found: list[str] = []
    at = 0
    for escape in _ESCAPE.finditer(inside):
        found.append(inside[at : escape.start()])
        char = _char(escape[0])
        if char is None:
            return None
        found.append(char)
        at = escape.end()
    found.append(inside[at:])
    plain = [part for part in found[::2] if '"' in part or "\\" in part or _has_bare_return(part)]
    return None if plain else "".join(_lines(part) if n % 2 == 0 else part for n, part in enumerate(found))


def _char(escape: str) -> str | None:
    kind = escape[1]
    if kind == "x" and len(escape) == 4:
        return chr(int(escape[2:], 16))
    if kind == "u" and len(escape) > 2:
        digits = escape[3:-1]
        if digits.startswith("_") or len(digits.replace("_", "")) > 6:
            return None
        code = int(digits.replace("_", ""), 16)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else None
    if kind in "\r\n":
        # A backslash at the end of a line takes the break and the blanks that the next line begins with.
        return "" if escape != "\\\r" else None
    return _UNNAMED.get(escape)


def _lines(text: str) -> str:
    """Rust reads a source with line ends of Windows as one with those of Unix."""
    return text.replace("\r\n", "\n")


def _has_bare_return(text: str) -> bool:
    return "\r" in text.replace("\r\n", "")
