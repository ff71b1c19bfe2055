"""Questions from the page: each has an id and gets exactly one reply, a result or an error.

The page sends ``{"id": 7, "ask": "rows", "args": {"from": 0, "to": 40}}`` and receives ``{"id": 7, "ok": {...}}`` or
``{"id": 7, "error": {...}}``. The traits that an answer belongs to are sent before it. `static/wire.js` is the
other end; no other file knows the form of a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from workbench.errors import RuleError, WorkbenchError, printable

Answer = dict[str, object]
Handler = Callable[["Args"], Answer]

_log = logging.getLogger(__name__)


class BadQuestionError(Exception):
    """A message that no page of ours sends."""


class Args:
    """The arguments of one question, checked as they are taken out."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether the page says anything of it."""
        return name in self._values

    def text(self, name: str) -> str:
        """A text; raises `BadQuestionError` otherwise, as the methods below."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise BadQuestionError(f"{name} must be a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None where it is absent or null."""
        return None if self._values.get(name) is None else self.text(name)

    def number(self, name: str) -> int:
        """A whole number."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadQuestionError(f"{name} must be a whole number")
        return value

    def optional_number(self, name: str) -> int | None:
        """A whole number, or None where it is absent or null."""
        return None if self._values.get(name) is None else self.number(name)

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadQuestionError(f"{name} must be a list of texts")
        return value

    def objects(self, name: str) -> list[Mapping[str, object]]:
        """A list of JSON objects."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise BadQuestionError(f"{name} must be a list of objects")
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where it is absent."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise BadQuestionError(f"{name} must be true or false")
        return value


def answer(message: object, handlers: Mapping[str, Handler]) -> Answer | None:
    """The reply to `message`; None for what is no question at all."""
    if not isinstance(message, dict) or not isinstance(message.get("id"), int | str):
        return None
    question, args = message.get("ask"), message.get("args", {})
    reply: Answer = {"id": message["id"]}
    try:
        if not isinstance(question, str) or question not in handlers or not isinstance(args, dict):
            raise BadQuestionError(f"no such question: {printable(str(question), 40)}")
        reply["ok"] = handlers[question](Args(args))
    except Exception as error:
        reply["error"] = fault(error, f"question {question!r}")
    return reply


def fault(error: Exception, what: str) -> Answer:
    """An error as the page shows it; what is no fault of the user's goes to the log with its traceback."""
    if isinstance(error, RuleError):
        return {
            "code": "pattern",
            "title": printable(error.reason, 300),
            "text": printable(error.text, 2_000),
            "column": error.column,
            "width": error.width,
        }
    if isinstance(error, WorkbenchError):
        return dict(error.as_dict())
    if isinstance(error, BadQuestionError | IndexError | ValueError):
        return {"code": "bad-question", "title": printable(str(error), 300)}
    _log.error("workbench: %s failed", what, exc_info=error)
    return {
        "code": "bug",
        "title": "The workbench failed at this; nothing was changed.",
        "next": "The kernel's log has the details: please report them.",
    }
