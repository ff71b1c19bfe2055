"""The parts of a pattern and of a replacement, as far as lints and repairs need them. The crate decides the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

Kind = Literal["char", "dot", "class", "open", "close", "or", "start", "end", "edge", "repeat", "flags"]

_REPEAT = re.compile(r"(?:[*+?]|\{[0-9]*(?:,[0-9]*)?\})\??")
_OPEN = re.compile(r"\((?:\?P?<([^>]*)>|(\?[A-Za-z-]*:)|(\?[A-Za-z-]+\))|)")
_ESCAPE = re.compile(
    r"\\(?:[pP](?:\{[^}]*\}|.)|[xuU](?:\{[^}]*\}|[0-9A-Fa-f]{2,8})|b\{[a-z-]+\}|.)",
    re.DOTALL,
)
_DIGITS = "0123456789"
_ALL_OR_NO_DIGITS = {rf"\{letter}" for letter in "dDwWsS"}
_NO_DIGIT = re.compile(r"0-9|\\[dDwWsS.\-_\[\]]")
"""What a class may hold that takes all digits or none."""
_EDGES = {r"\b", r"\B", r"\<", r"\>"}
_REFERENCE = re.compile(r"\$(?:\$|\{([^}]*)\}|([0-9A-Za-z_]+))")


@dataclass(frozen=True, slots=True)
class Token:
    """One part of a pattern: `text` stands at `start`; `value` is the character of a "char"."""

    kind: Kind
    start: int
    text: str
    value: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Syntax:
    """A pattern in parts. `names` has one entry a group, "" where it has no name; `is_plain`: no ``x``, ``m``
    or ``u`` flag, so that a part means the same wherever it stands and ``^`` is the beginning of the key."""

    pattern: str
    tokens: tuple[Token, ...]
    names: tuple[str, ...]
    is_plain: bool

    @cached_property
    def has_alternatives(self) -> bool:
        """Whether there is an ``|`` outside of all groups."""
        depth = 0
        for token in self.tokens:
            depth += {"open": 1, "close": -1}.get(token.kind, 0)
            if token.kind == "or" and depth == 0:
                return True
        return False

    @cached_property
    def digits(self) -> str:
        """The digits that it may tell from other digits."""
        found = ""
        for token in self.tokens:
            if token.kind == "char":
                found += token.value if token.value in _DIGITS else ""
            elif token.kind == "class" and token.text not in _ALL_OR_NO_DIGITS:
                rest = _NO_DIGIT.sub("", token.text)
                if "[" not in token.text or any(char in _DIGITS or char == "\\" for char in rest):
                    return _DIGITS
        return found

    @property
    def starts_at_beginning(self) -> bool:
        """Whether it can match at the beginning of a key only."""
        return bool(self.tokens) and self.tokens[0].kind == "start" and not self.has_alternatives and self.is_plain

    @property
    def ends_at_end(self) -> bool:
        """Whether it can match at the end of a key only."""
        return bool(self.tokens) and self.tokens[-1].kind == "end" and not self.has_alternatives and self.is_plain

    @property
    def is_literal(self) -> bool:
        """Whether it is a text, with or without anchors."""
        return self.is_plain and all(token.kind in ("char", "start", "end", "edge") for token in self.tokens)

    @cached_property
    def lone_dots(self) -> tuple[Token, ...]:
        """The dots that stand for exactly one character."""
        return tuple(
            token
            for token, after in self._with_next()
            if token.kind == "dot" and (after is None or after.kind != "repeat")
        )

    def runs(self) -> Iterator[tuple[str, int, int]]:
        """The literal texts between dots and other parts: text, and where it starts and ends in the pattern."""
        text, start = "", 0
        for token, after in self._with_next():
            fixed = token.kind == "char" and token.value != "." and (after is None or after.kind != "repeat")
            if fixed and not text:
                start = token.start
            if fixed:
                text += token.value
            if text and (not fixed or after is None):
                yield text, start, token.end if fixed else token.start
                text = ""

    def _with_next(self) -> Iterator[tuple[Token, Token | None]]:
        for place, token in enumerate(self.tokens, start=1):
            yield token, self.tokens[place] if place < len(self.tokens) else None

    def replaced(self, changes: dict[int, str]) -> str:
        """The pattern with the tokens that start at a key of `changes` written as its value."""
        return "".join(changes.get(token.start, token.text) for token in self.tokens)

    def between(self, before: str, after: str) -> str:
        """The pattern with anchors around it."""
        inner = f"(?:{self.pattern})" if self.has_alternatives else self.pattern
        return before + inner + after

    def knows(self, name: str) -> bool:
        """Whether a replacement's ``${name}`` stands for a group."""
        if name.isascii() and name.isdigit():
            return int(name[:9]) <= len(self.names)
        return name != "" and name in self.names


@dataclass(frozen=True, slots=True)
class Reference:
    """A ``$name`` in a replacement, at `start` to `end`."""

    name: str
    start: int
    end: int
    braced: bool


@lru_cache(maxsize=1024)
def syntax(pattern: str) -> Syntax:
    """The parts of a pattern that the crate accepts."""
    tokens: list[Token] = []
    names: list[str] = []
    plain = True
    place = 0
    while place < len(pattern):
        kind, text, value = _token(pattern, place)
        if kind == "open" and (match := _OPEN.match(pattern, place)) and not match[2]:
            names.append(match[1] or "")
        flags = text[2:].rstrip(":)") if text.startswith("(?") and "<" not in text else ""
        if set(flags) & set("xmu"):
            plain = False
        tokens.append(Token(kind, place, text, value))
        place += len(text)
    return Syntax(pattern, tuple(tokens), tuple(names), plain)


def references(replacement: str) -> list[Reference]:
    """The groups a replacement asks for, as the crate reads them."""
    found = []
    for match in _REFERENCE.finditer(replacement):
        if match[0] != "$$":
            braced = match[1] is not None
            found.append(Reference(match[1] if braced else match[2], match.start(), match.end(), braced))
    return found


def _token(pattern: str, place: int) -> tuple[Kind, str, str]:
    char = pattern[place]
    if char == "\\":
        match = _ESCAPE.match(pattern, place)
        text = match[0] if match else pattern[place : place + 2]
        if text in _EDGES or text.startswith(r"\b{"):
            return "edge", text, ""
        if text in (r"\A", r"\z"):
            return ("start" if text == r"\A" else "end"), text, ""
        if len(text) == 2 and not text[1].isalnum():
            return "char", text, text[1]
        return "class", text, ""
    if char == "[":
        return "class", pattern[place : _class_end(pattern, place)], ""
    if char == "(":
        match = _OPEN.match(pattern, place)
        text = match[0] if match else char
        return ("flags" if match and match[3] else "open"), text, ""
    if char in "*+?{":
        match = _REPEAT.match(pattern, place)
        if match:
            return "repeat", match[0], ""
    simple: dict[str, Kind] = {".": "dot", ")": "close", "|": "or", "^": "start", "$": "end"}
    kind = simple.get(char, "char")
    return kind, char, char if kind == "char" else ""


def _class_end(pattern: str, place: int) -> int:
    """Where the class that opens at `place` ends; classes can stand in classes."""
    depth = 0
    while place < len(pattern):
        char = pattern[place]
        if char == "\\":
            place += 2
            continue
        if char == "[":
            depth += 1
            place += 1
            if pattern[place : place + 1] == "^":
                place += 1
            if pattern[place : place + 1] == "]":
                place += 1
            continue
        place += 1
        if char == "]":
            depth -= 1
            if depth == 0:
                return place
    return len(pattern)
