"""Rules for prefixes that wrappers leave in names: offered, never applied."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from workbench.mapping import regex
from workbench.mapping.regex import escaped
from workbench.mapping.rules import Rule
from workbench.suggesting.engine import Suggestion

__all__ = ["wrapper_rules"]

_ALWAYS = (
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_fpw_module",
    "_forward_module",
)
"""Segments that only torch.compile, FSDP, activation checkpointing and DeepSpeed write: no module is called so."""
_AROUND = ("module", "model", "net", "network", "state_dict", "ema_model", "model_ema", "ema", "shadow")
"""Segments that are wrappers where every key has them in front."""
_EMA = ("ema_model", "model_ema", "ema", "ema_net", "shadow")
_N_EXAMPLES = 3


def wrapper_rules(keys: Iterable[str]) -> tuple[Suggestion, ...]:
    """Anchored rules that take wrapper segments out of `keys`, in the order in which they apply.

    `gains` counts the keys that a rule changes. A prefix that only some keys have is no wrapper but a submodule,
    unless nothing else is ever called so; a segment deeper down is one where nothing stands beside it. An averaged
    copy (EMA) beside the weights is offered with a warning, for only one of the two can get the plain names.
    """
    names = [key for key in keys if key.isascii() or _is_text(key)]
    found: list[Suggestion] = []
    for segment in _ALWAYS:
        if _holds(names, f"{segment}."):
            names = _take_out(names, segment, _anywhere(names, segment), found)
    while (prefix := _common(names)) is not None:
        names = _take_out(names, prefix, rf"^{escaped(prefix)}\.", found)
    for segment in ("module",):
        if _holds(names, f".{segment}.") and _is_alone(names, segment):
            names = _take_out(names, segment, rf"\.{segment}\.", found)
    _offer_copies(names, found)
    return tuple(found)


def _holds(names: Sequence[str], text: str) -> bool:
    """Whether the text may stand in any of the names: one search through all of them."""
    return text in "\n".join(names)


def _anywhere(names: Sequence[str], segment: str) -> str:
    """The pattern that takes a segment out wherever it stands in these names; "" where it stands nowhere."""
    inside = [name for name in names if segment in name.split(".")[:-1]]
    if not inside:
        return ""
    text = escaped(segment)
    if any(f"{segment}.{segment}." in name for name in inside):
        return rf"(^|\.)(?:{text}\.)+"
    at_root = [name.startswith(f"{segment}.") and segment not in name.split(".")[1:-1] for name in inside]
    return rf"^{text}\." if all(at_root) else rf"(^|\.){text}\."


def _common(names: Sequence[str]) -> str | None:
    """The wrapper in front of every name; averaged copies beside the weights do not count."""
    if names and names[0].partition(".")[0] not in (*_AROUND, *_EMA):
        return None
    names = [name for name in names if not (name.startswith(_EMA) and name.partition(".")[0] in _EMA)] or names
    first = names[0].partition(".")[0] if names else ""
    return first if first in _AROUND and all(name.startswith(f"{first}.") for name in names) else None


def _is_alone(names: Sequence[str], segment: str) -> bool:
    """Whether a segment stands in the middle of names, everywhere as the only child, with more than one key below."""
    children: dict[str, set[str]] = defaultdict(set)
    below: dict[str, int] = defaultdict(int)
    for name in names:
        parts = name.split(".")
        for place in range(1, len(parts)):
            children[".".join(parts[:place])].add(parts[place])
            if parts[place] == segment and place < len(parts) - 1:
                below[".".join(parts[:place])] += 1
    return bool(below) and all(children[parent] == {segment} and n > 1 for parent, n in below.items())


def _take_out(names: list[str], segment: str, pattern: str, found: list[Suggestion]) -> list[str]:
    if not pattern:
        return names
    replacement = "$1" if pattern.startswith("(") else "." if pattern.startswith(r"\.") else ""
    rule = Rule(pattern, replacement)
    before = regex.column(names)
    after = regex.replace_all(before, pattern, replacement)
    moved = np.flatnonzero(regex.differ(before, after))
    if not len(moved) or regex.count_same(after, ""):
        return names
    clash = regex.n_distinct(before) - regex.n_distinct(after)
    said = (f"{clash:,} keys would get a name that another one has",) if clash else ()
    first = moved[:_N_EXAMPLES]
    examples = tuple(zip(regex.at(before, first), regex.at(after, first), strict=True))
    found.append(Suggestion(rule, len(moved), examples, said))
    return names if clash else list(after)


def _offer_copies(names: Sequence[str], found: list[Suggestion]) -> None:
    known: set[str] = set()
    for segment in _EMA:
        if not _holds(names, f"{segment}."):
            continue
        copies = [name for name in names if name.startswith(f"{segment}.")]
        if not copies or len(copies) == len(names):
            continue
        known = known or set(names)
        plain = [name.removeprefix(f"{segment}.").removeprefix("module.") for name in copies]
        inner = r"(?:module\.)?" if any(name.startswith(f"{segment}.module.") for name in copies) else ""
        twins = sum(name in known or any(f"{other}.{name}" in known for other in _AROUND) for name in plain)
        if 2 * twins < len(copies):
            continue
        pairs = tuple(zip(copies, plain, strict=True))[:_N_EXAMPLES]
        said = f"{twins:,} of these keys are averaged copies of others in the file: keep one of the two, skip the other"
        found.append(Suggestion(Rule(rf"^{segment}\.{inner}", ""), len(copies), pairs, (said,)))


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
