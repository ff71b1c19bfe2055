"""Which dict of the file holds the weights, and what else takes up its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench import state_dicts
from workbench.core.tensor import CHUNK, TensorRef
from workbench.core.text import bytes_text, count_text
from workbench.diagnosis.case import MAX_KEYS, Case
from workbench.errors import TensorError, printable
from workbench.finding import Finding, Repair, Severity
from workbench.state_dicts import KNOWN_KEYS, Candidate, Copy, StateDict

__all__ = ["ballast", "candidates", "copies", "copies_nbytes", "take", "top_level_key"]

_MUCH: Final = 0.02
_STEP: Final = CHUNK // 8
"""Elements compared at a time."""


def _below_of(case: Case) -> dict[str, list[int]]:
    """The rows of the whole file by their first segment, "" for those at the root."""
    found: dict[str, list[int]] = {}
    for row, tensor in enumerate(case.checkpoint.tensors):
        found.setdefault(str(tensor.path[0]) if len(tensor.path) > 1 else "", []).append(row)
    return found


def candidates(case: Case) -> tuple[Candidate, ...]:
    """The top-level keys that may hold the weights, the likeliest first."""
    return state_dicts.candidates(case.checkpoint)


def top_level_key(case: Case) -> Iterator[Finding]:
    """The weights lie below a key of the root, and nobody has chosen it."""
    if case.mapping.top_level_key is not None or any(each.code == "top-level-key-missing" for each in case.plan.lints):
        return
    found = candidates(case) if case.checkpoint.is_nested else ()
    if not found or len(_below_of(case).get("", ())) > found[0].n_tensors:
        return
    best = found[0]
    shown = ", ".join(_said(each) for each in found[:5]) + (f" and {len(found) - 5:,} more" if len(found) > 5 else "")
    several = len(found) > 1
    copies = [each for each in found if each.copy_of]
    if several:
        code, text = (
            "several-top-level-keys",
            f"{count_text(len(found), 'top-level key')} may hold the weights: {shown}.",
        )
    else:
        code, text = "top-level-key-not-chosen", f"The weights lie below {shown}, and no top-level key is chosen."
    if copies:
        text += (
            f" `{printable(copies[0].key, 60)}` is by its name the averaged copy (EMA) of "
            f"`{printable(copies[0].copy_of, 60)}`: often the better weights, and the ones that papers report."
        )
    sure = best.key in KNOWN_KEYS or bool(copies) or not several
    yield Finding(
        code,
        Severity.WARNING if sure else Severity.NOTE,
        "the file",
        text,
        f"Choose one of them; `{printable(best.key, 60)}` is the likeliest.",
        repair=take(best.key),
    )


def take(key: str) -> Repair:
    """Choose a top-level key."""
    return Repair.make(f"Take {printable(key, 60)}", "set", field="top_level_key", value=key)


def _said(each: Candidate) -> str:
    return f"`{printable(each.key, 60)}` ({count_text(each.n_tensors, 'tensor')}, {bytes_text(each.nbytes)})"


def ballast(case: Case) -> Iterator[Finding]:
    """Tensors that training needs and a model does not: optimizer state above all."""
    tensors = case.checkpoint.tensors
    if case.mapping.top_level_key is not None or not case.checkpoint.is_nested:
        return
    good = {each.key for each in candidates(case)}
    groups = {key: rows for key, rows in _below_of(case).items() if key and key not in good}
    rows = [row for each in groups.values() for row in each]
    nbytes = sum(tensors[row].nbytes for row in rows)
    if not rows:
        return
    parts = ", ".join(
        f"`{printable(key, 60)}` ({count_text(len(each), 'tensor')}, "
        f"{bytes_text(sum(tensors[row].nbytes for row in each))})"
        for key, each in sorted(groups.items(), key=lambda item: -len(item[1]))[:4]
    )
    keys = tuple(tensors[row].key for row in rows[:MAX_KEYS])
    if len(rows) == len(tensors):
        yield Finding(
            "no-weights",
            Severity.WARNING,
            "the file",
            f"This file holds the state of a training, {parts}, and no weights.",
            "Find the file that was saved beside it.",
            keys=keys,
        )
        return
    if nbytes < _MUCH * case.checkpoint.nbytes:
        return
    rest = case.checkpoint.nbytes - nbytes
    best = candidates(case)
    repair = Repair.make("Write a clean file", "export", format="safetensors")
    if best:
        repair = take(best[0].key)
    yield Finding(
        "ballast",
        Severity.NOTE,
        "the file",
        f"{bytes_text(nbytes)} of its {bytes_text(case.checkpoint.nbytes)} are no weights: {parts}. An export without "
        f"them weighs {bytes_text(rest)}.",
        "Choose the top-level key of the weights, then export." if best else "Write a file with the weights alone.",
        keys=keys,
        repair=repair,
    )


# ---- copies -------------------------------------------------------------------------------------------


def _copies(case: Case) -> tuple[Copy, ...]:
    return () if case.mapping.top_level_key is not None else state_dicts.copies(case.checkpoint)


def copies_nbytes(case: Case) -> int:
    """Bytes that a comparison of the copies reads."""
    return sum(one.nbytes + other.nbytes for each in _copies(case) for one, other in each.both.values())


def copies(case: Case, *, deep: bool = False, progress: Callable[[int], None] | None = None) -> Iterator[Finding]:
    """State_dicts of the same keys and shapes; with `deep` their values are compared, a chunk at a time.

    `progress` is told how many bytes are read.
    """
    done = 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done)

    for each in _copies(case):
        first, other, both = each.first, each.other, each.both
        one = _place_of(first)
        said = f"{_place_of(other)} has the same keys and shapes as {one}: {count_text(len(both), 'tensor')}"
        lacking = len(first.tensors) + len(other.tensors) - 2 * len(both)
        said += f", and {count_text(lacking, 'tensor')} that only one of them has." if lacking else "."
        are_one = each.n_tied == len(both)
        if are_one:
            said += " They are the same tensors in the file, not copies: either will do."
        elif deep:
            said += f" {_compared(both, step)}"
        yield Finding(
            "same-state-dict",
            Severity.NOTE,
            _place(other),
            said,
            "Choose the one that you want."
            if deep or are_one
            else "Choose the one that you want; a look at the values (deep) tells how far they are apart.",
            keys=tuple(tensor.key for _, tensor in both.values())[:MAX_KEYS],
            repair=take(other.key) if other.path else None,
        )


def _place_of(each: StateDict) -> str:
    return f"`{printable(each.key, 60)}`" if each.path else "the root"


def _place(each: StateDict) -> str:
    return f"key {printable(each.key, 120)}" if each.path else "the file"


def _compared(both: dict[str, tuple[TensorRef, TensorRef]], step: Callable[[int], None]) -> str:
    """How many of the pairs are equal, and where they differ most."""
    n_same = n_unread = 0
    largest, where = -1.0, ""
    for key, (one, other) in both.items():
        try:
            is_same, difference = _difference(one, other)
        except TensorError:
            n_unread += 1
            is_same, difference = False, -1.0
        step(one.nbytes + other.nbytes)
        n_same += is_same
        if difference > largest:
            largest, where = difference, key
    unread = f" {count_text(n_unread, 'tensor')} could not be read." if n_unread else ""
    if n_same == len(both):
        return f"Their values are identical in all {len(both):,} tensors."
    said = f"Their values are identical in {n_same:,} of {len(both):,} tensors"
    if largest > 0:
        said += f"; the largest difference is {largest:.3g}, at `{printable(where, 80)}`"
    return f"{said}.{unread}"


def _difference(one: TensorRef, other: TensorRef) -> tuple[bool, float]:
    """Whether two tensors of one shape have the same values, and the largest distance between numbers of them."""
    is_same, largest = True, 0.0
    for left, right in zip(_flat(one), _flat(other), strict=True):
        wide = np.complex128 if "c" in (left.dtype.kind, right.dtype.kind) else np.float64
        a, b = left.astype(wide), right.astype(wide)
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        if left.dtype == right.dtype and left.dtype.kind in "biu":
            equal = left == right  # float64 does not tell large integers apart
        if not equal.all():
            is_same = False
            with np.errstate(all="ignore"):
                apart = np.abs(a - b)[~equal]
            largest = max(largest, float(np.nanmax(apart)) if not np.isnan(apart).all() else 0.0)
    return is_same, largest


def _flat(tensor: TensorRef) -> Iterator[npt.NDArray[Any]]:
    """The values in their order, in steps of so many elements as two of them need little memory; or all at once."""
    if not tensor.is_contiguous or tensor.storage.packed >= 0 or tensor.n_elements <= _STEP:
        flat = tensor.read().reshape(-1)
        for at in range(0, flat.size, _STEP):
            yield flat[at : at + _STEP]
        return
    for at in range(0, tensor.n_elements, _STEP):
        n = min(_STEP, tensor.n_elements - at)
        yield replace(tensor, shape=(n,), strides=(1,), offset=tensor.offset + at).read()
