"""Everything this package raises on purpose.

    WorkbenchError
     ├─ OpenError               the file cannot be opened: broken, cut off, changed underneath
     │   └─ NotACheckpointError it is something else, and the text says what
     ├─ TensorError             one tensor cannot be read; its neighbours can
     │   └─ UnknownKeyError     no tensor has this key (also a KeyError)
     ├─ RuleError               a pattern is no regex
     ├─ MappingError            a mapping file is not one of ours, or a field of it is wrong
     └─ ExportError             nothing was written
         ├─ CollisionError      because two keys would become one
         └─ ExportCancelled     because whoever asked for it said stop

Every text reads: where, what it is, why, what to do, [code].
"""

from __future__ import annotations

import os
import re

__all__ = [
    "CollisionError",
    "ExportCancelled",
    "ExportError",
    "MappingError",
    "NotACheckpointError",
    "OpenError",
    "RuleError",
    "TensorError",
    "UnknownKeyError",
    "WorkbenchError",
    "printable",
]

# C0, DEL, C1; soft hyphen; Arabic letter mark; zero-width and direction marks; line separators and embeddings;
# word joiner to isolates; byte order mark; interlinear marks; tags; lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str, limit: int | None = None) -> str:
    r"""``text`` with every character a terminal or reader would obey shown as ``\xNN`` or ``\u{..}``.

    With ``limit``, at most that many characters, the last an ellipsis when something was cut.

    >>> printable("conv\x1b[31m")
    'conv\\x1b[31m'
    >>> printable("layers.0.weight", 8)
    'layers.…'
    """
    cut = limit is not None and len(text) > limit
    shown = _UNPRINTABLE.sub(_escape, text[:limit] if cut else text)
    if limit is not None and (cut or len(shown) > limit):
        return shown[: max(limit - 1, 0)] + "…"
    return shown


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


class WorkbenchError(Exception):
    """What it is, where, why and what to do; ``code`` is a stable slug."""

    def __init__(
        self,
        title: str,
        *,
        path: str | None = None,
        place: str = "",
        cause: str = "",
        next_step: str = "",
        code: str,
    ) -> None:
        super().__init__(title)
        self.title = title
        self.path = path
        self.place = place
        self.cause = cause
        self.next_step = next_step
        self.code = code

    def __str__(self) -> str:
        where = ", ".join(part for part in (os.path.basename(self.path or "") or self.path, self.place) if part)
        said = " ".join(part for part in (self.title, self.cause, self.next_step) if part)
        return printable(f"{where}: {said} [{self.code}]" if where else f"{said} [{self.code}]")

    def __reduce__(self) -> tuple[object, ...]:
        """How it comes back whole from a worker process."""
        return _restored, (type(self), self.args, self.__dict__)

    def as_dict(self) -> dict[str, str | None]:
        """The same facts as JSON fields."""
        return {
            "title": self.title,
            "file": self.path,
            "place": self.place,
            "cause": self.cause,
            "next": self.next_step,
            "code": self.code,
        }


def _restored(kind: type[WorkbenchError], args: tuple[object, ...], fields: dict[str, object]) -> WorkbenchError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class OpenError(WorkbenchError):
    """The file cannot be opened: broken, cut off, changed, not readable."""


class NotACheckpointError(OpenError):
    """The file is something else; the title says what."""


class TensorError(WorkbenchError):
    """One tensor cannot be read."""


class UnknownKeyError(TensorError, KeyError):
    """No tensor has this key."""


class RuleError(WorkbenchError):
    """A pattern the regex crate refuses.

    ``column`` and ``width`` (characters) say where in the pattern, -1 and 0 when the crate gives no place;
    ``text`` is the crate's whole message, ``reason`` its last line.
    """

    def __init__(
        self, pattern: str, reason: str, *, text: str = "", column: int = -1, width: int = 0, code: str = "pattern"
    ) -> None:
        super().__init__(
            f"The pattern {printable(pattern, 200)!r} is not a regex: {reason}.",
            next_step="Correct the pattern, or switch the rule off.",
            code=code,
        )
        self.pattern = pattern
        self.reason = reason
        self.text = text or reason
        self.column = column
        self.width = width


class MappingError(WorkbenchError):
    """A mapping file that is not one of ours, of another version, or with a wrong field."""


class ExportError(WorkbenchError):
    """Nothing was written, and why."""


class CollisionError(ExportError):
    """Nothing was written: two keys would become one."""


class ExportCancelled(ExportError):
    """An export was stopped by whoever had asked for it; nothing was changed."""
