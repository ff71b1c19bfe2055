"""Rules: a regex and its replacement, with the semantics of Rust's regex crate as Burn's KeyRemapper uses it."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.mapping import regex


@dataclass(frozen=True, slots=True)
class Rule:
    r"""One step of key remapping: every match of `pattern` becomes `replacement`; `note` is for the reader.

    The pattern is not anchored. In the replacement `$1`, `${1}` and `$name` stand for groups (the longest name
    wins: `$1a` is the group named ``1a``; write `${1}a`), `$0` for the whole match, `$$` for a dollar sign; an
    unknown group is empty. Raises `RuleError` with the crate's message where the pattern is not a regex.

    >>> Rule(r"conv\.(.*)", "$1")
    Rule('conv\\.(.*)', '$1')
    """

    pattern: str
    replacement: str
    enabled: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        for name, value, kind in (
            ("pattern", self.pattern, str),
            ("replacement", self.replacement, str),
            ("enabled", self.enabled, bool),
            ("note", self.note, str),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"Rule: {name} must be {kind.__name__}, not {value!r} ({type(value).__name__})")
        regex.check_pattern(self.pattern)
        regex.check_text(self.pattern, self.replacement, "replacement")

    def __repr__(self) -> str:
        off = "" if self.enabled else ", enabled=False"
        note = f", note={self.note!r}" if self.note else ""
        return f"Rule({self.pattern!r}, {self.replacement!r}{off}{note})"
