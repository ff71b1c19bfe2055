"""Seen: what becomes of one tensor in a reader of Burn; and the findings that tell of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from workbench.burn.readers import Reader
from workbench.burn.refusals import Refusal
from workbench.core.text import count_text
from workbench.errors import printable
from workbench.finding import Finding, Repair, Severity

__all__ = ["RIGHT", "Seen", "State", "findings_of"]

State = Literal["right", "wrong values", "lost", "unreadable"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What becomes of one tensor: "lost" is not listed, "unreadable" fails when it is read. `why` follows "it"."""

    state: State
    why: str = ""
    code: str = ""


RIGHT: Final = Seen("right")


_MAX_KEYS: Final = 1000
"""Keys that one finding carries."""

_SEVERITIES: Final = {"wrong values": Severity.ERROR, "unreadable": Severity.ERROR, "lost": Severity.WARNING}
_CLEAN: Final = "Export a clean file from here and load that: names, shapes and values are then as they are shown here."
_EMPTY: Final = "It holds no tensors: ask its author for the file that has the weights."
_NO_VALUES: Final = "Save it again from a model whose tensors have values: no export can make them up."


def findings_of(reader: Reader, stop: Refusal | None, keys: Sequence[str], seen: Sequence[Seen]) -> tuple[Finding, ...]:
    """One finding for a file that is refused, else one for each cause, worst first."""
    repair = Repair.make("Export a clean file", "export", format="safetensors")
    if stop is not None:
        text = f"{reader.name} refuses this file. {stop.text}"
        if stop.message:
            text += f" It says: {printable(stop.message, 400)}"
        mends = None if stop.code == "burn-top-level-key" or not keys else repair
        step = stop.next_step if keys else _EMPTY
        return (Finding(stop.code, Severity.ERROR, "", text, step, repair=mends),)
    groups: dict[tuple[State, str], list[int]] = {}
    for row, each in enumerate(seen):
        if each is not RIGHT:
            groups.setdefault((each.state, each.code), []).append(row)
    found = []
    for (state, code), rows in sorted(groups.items(), key=lambda item: _ORDER.index(item[0][0])):
        first = keys[rows[0]]
        what = f"`{printable(first, 100)}`" if len(rows) == 1 else count_text(len(rows), "tensor")
        why = seen[rows[0]].why
        verb = {"lost": "lost", "unreadable": "unreadable", "wrong values": "wrong"}[state]
        are = "is" if len(rows) == 1 else "are"
        each_why = f"it {why}" if len(rows) == 1 else f"the first, `{printable(first, 100)}`, {why}"
        silently = "" if state == "unreadable" else " without a message"
        text = f"In {reader.name} {what} {are} {verb}{silently}: {each_why}."
        place = f"key {printable(first, 120)}"
        named = tuple(keys[row] for row in rows[:_MAX_KEYS])
        is_here = code != "burn-meta-tensor"
        step, mends = (_CLEAN, repair) if is_here else (_NO_VALUES, None)
        found.append(Finding(code, _SEVERITIES[state], place, text, step, keys=named, repair=mends))
    return tuple(found)


_ORDER: Final = ("wrong values", "unreadable", "lost", "right")
