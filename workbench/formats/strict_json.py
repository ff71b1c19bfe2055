"""JSON of a file that is not trusted: no name twice, no number that is none, a bounded count of values."""

from __future__ import annotations

import json
import math
from typing import Final, NoReturn

from workbench.errors import printable
from workbench.formats.limits import MAX_HEADER_INTEGER_DIGITS, MAX_ROWS

__all__ = ["JsonProblem", "parse"]

_MAX_VALUES: Final = 4 * MAX_ROWS


class JsonProblem(ValueError):
    """What is wrong with it, as the end of a sentence; ``at`` is the byte, -1 where it is no single one."""

    def __init__(self, words: str, at: int = -1) -> None:
        super().__init__(words)
        self.at = at


def parse(raw: bytes, *, max_values: int = _MAX_VALUES) -> object:
    """The value that ``raw`` spells. JsonProblem where readers of JSON disagree, or where it is none."""
    # Each value but the first of a container follows a comma, each first one a bracket: counted before they are made.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > max_values:
        raise JsonProblem(f"it holds more than {max_values:,} values")
    text = ""
    try:
        text = raw.decode("utf-8")
        return json.loads(
            text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise JsonProblem(f"byte {error.start:,} is not UTF-8", error.start) from None
    except json.JSONDecodeError as error:
        at = len(text[: error.pos].encode())
        raise JsonProblem(f"it is no JSON at byte {at:,} ({error.msg})", at) from None
    except RecursionError:
        raise JsonProblem("it nests too deeply") from None


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonProblem(f"the name {printable(key, 120)!r} stands in it twice")
            seen.add(key)
    return made


def _integer(text: str) -> int | float:
    if len(text) > MAX_HEADER_INTEGER_DIGITS:
        raise JsonProblem(f"a number in it has {len(text):,} digits")
    # serde_json, which the safetensors package reads with, takes it for a float, so for no size.
    return -0.0 if text == "-0" else int(text)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonProblem(f"the number {printable(text, 40)} in it is out of range")
    return number


def _no_constant(text: str) -> NoReturn:
    raise JsonProblem(f"{printable(text, 20)} is no JSON")
