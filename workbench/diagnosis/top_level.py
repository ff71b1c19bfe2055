"""Which dict of the file holds the weights, and what else takes up its bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from workbench.core.text import bytes_text, count_text
from workbench.diagnosis.case import MAX_KEYS, Case
from workbench.errors import printable
from workbench.finding import Finding, Repair, Severity

__all__ = ["Candidate", "ballast", "candidates", "is_training_state", "top_level_key"]

_WEIGHTS: Final = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "model_state",
    "params",
    "params_ema",
    "generator",
    "netG",
    "g",
    "G",
    "encoder",
    "backbone",
    "student",
    "model_weights",
    "ema_state_dict",
    "state",
]
_COPIES: Final = ("ema", "averaged", "shadow", "swa", "polyak")
_TRAINING: Final = (
    "optim", "scheduler", "scaler", "lr_sched", "amp", "loss", "callback", "rng", "grad", "loops", "momentum",
)  # fmt: skip
_LEAVES: Final = frozenset(
    [
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "momentum_buffer",
        "square_avg",
        "acc_delta",
        "step_size",
        "prev",
        "sum",
        "exp_inf",
    ]
)
_MUCH: Final = 0.02


@dataclass(frozen=True, slots=True)
class Candidate:
    """A top-level key that may hold the weights; `copy_of` is the key that it is an averaged copy of, or ""."""

    key: str
    n_tensors: int
    nbytes: int
    copy_of: str = ""


def is_training_state(key: str) -> bool:
    """Whether a top-level key is by its name what training needs beside the weights."""
    low = key.lower()
    return any(low.startswith(word) or f"_{word}" in low for word in _TRAINING)


def is_copy(key: str) -> bool:
    """Whether a key is by its name an averaged copy of the weights."""
    low = key.lower()
    return any(word in low.replace("-", "_").split("_") for word in _COPIES)


def _below_of(case: Case) -> dict[str, list[int]]:
    """The rows of the whole file by their first segment, "" for those at the root."""
    found: dict[str, list[int]] = {}
    for row, tensor in enumerate(case.checkpoint.tensors):
        found.setdefault(str(tensor.path[0]) if len(tensor.path) > 1 else "", []).append(row)
    return found


def candidates(case: Case) -> tuple[Candidate, ...]:
    """The top-level keys that may hold the weights, the likeliest first."""
    tensors = case.checkpoint.tensors
    rows = _below_of(case)
    kept: list[Candidate] = []
    kinds: dict[str, Counter[tuple[tuple[int, ...], str]]] = {}
    for entry in case.checkpoint.top_level_keys:
        mine = rows.get(entry.key, [])
        leaves = Counter(str(tensors[row].path[-1]) for row in mine)
        if is_training_state(entry.key) or any(leaf in _LEAVES for leaf in leaves):
            continue
        kinds[entry.key] = Counter((tensors[row].shape, tensors[row].dtype.name) for row in mine)
        kept.append(Candidate(entry.key, entry.n_tensors, entry.nbytes))
    plain = [each for each in kept if not is_copy(each.key)]
    found = []
    for each in kept:
        of = ""
        if is_copy(each.key):
            # A copy has the same tensors, but perhaps not the counters.
            alike = [
                other for other in plain if sum((kinds[each.key] & kinds[other.key]).values()) * 2 > other.n_tensors
            ]
            of = alike[0].key if alike else ""
        found.append(Candidate(each.key, each.n_tensors, each.nbytes, of))
    return tuple(sorted(found, key=_rank))


def _rank(each: Candidate) -> tuple[bool, int, int, int]:
    known = _WEIGHTS.index(each.key) if each.key in _WEIGHTS else len(_WEIGHTS)
    return bool(each.copy_of), -each.n_tensors, -each.nbytes, known


def top_level_key(case: Case) -> Iterator[Finding]:
    """The weights lie below a key of the root, and nobody has chosen it."""
    if case.mapping.top_level_key is not None or any(each.code == "top-level-key-missing" for each in case.plan.lints):
        return
    found = candidates(case)
    at_root = len(_below_of(case).get("", ()))
    if not found or at_root > found[0].n_tensors:
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
    sure = best.key in _WEIGHTS or bool(copies) or not several
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
    yield Finding(
        "ballast",
        Severity.NOTE,
        "the file",
        f"{bytes_text(nbytes)} of its {bytes_text(case.checkpoint.nbytes)} are no weights: {parts}. An export without "
        f"them weighs {bytes_text(rest)}.",
        "Choose the top-level key of the weights, then export.",
        keys=keys,
        repair=take(best[0].key) if len(best) == 1 else None,
    )
