"""What only the values can tell: NaN, infinity, tensors of one number. Reads all bytes, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.core.tensor import CHUNK, TensorRef
from workbench.core.text import count_text
from workbench.diagnosis.case import Case, named
from workbench.errors import TensorError, printable
from workbench.finding import Finding, Severity
from workbench.state_dicts import is_training_state

__all__ = ["Progress", "pieces", "values"]

Progress = Callable[[int, int], None]
"""Is told how many bytes are done, and of how many."""

_NATIVE: Final = "?bhilqBHILQefdFD"


@dataclass(slots=True)
class _Seen:
    nan: int = 0
    inf: int = 0
    first: object = None
    is_constant: bool = True
    n: int = 0


def values(case: Case, progress: Progress | None = None) -> Iterator[Finding]:
    """Findings about the values of all tensors, each view read once."""
    total = sum(tensor.nbytes for tensor in case.tensors)
    done = 0
    groups: dict[str, list[int]] = {"nan": [], "inf": [], "zero": [], "constant": [], "unread": []}
    counts = {"nan": 0, "inf": 0}
    known: dict[tuple[object, ...], _Seen] = {}
    for row, tensor in enumerate(case.tensors):
        storage = tensor.storage
        view = (id(storage.source), storage.begin, storage.id, tensor.dtype.name, tensor.shape, tensor.strides,
                tensor.offset, tensor.neg, tensor.conj)  # fmt: skip
        seen = known.get(view)
        if seen is None and not tensor.unreadable:
            seen = _Seen()
            try:
                for piece in pieces(tensor):
                    _look(seen, piece)
                    done += piece.nbytes
                    if progress is not None:
                        progress(min(done, total), total)
                known[view] = seen
            except TensorError:
                seen = None
        elif seen is not None:
            done += tensor.nbytes
        if seen is None:
            groups["unread"].append(row)
            continue
        if seen.nan:
            groups["nan"].append(row)
            counts["nan"] += seen.nan
        if seen.inf:
            groups["inf"].append(row)
            counts["inf"] += seen.inf
        if seen.n > 1 and seen.is_constant and not seen.nan and not _is_state(case, row):
            groups["zero" if seen.first == 0 else "constant"].append(row)
    if progress is not None:
        progress(total, total)
    yield from _told(case, groups, counts)


def _is_state(case: Case, row: int) -> bool:
    """Whether a tensor is one of an optimizer, which may well be zero."""
    return case.mapping.top_level_key is None and is_training_state(case.plan.originals[row].partition(".")[0])


def pieces(tensor: TensorRef, limit: int = CHUNK) -> Iterator[npt.NDArray[Any]]:
    """The values in arrays of at most `limit` bytes, in any order; a deflated storage is read in one."""
    if tensor.nbytes <= limit or tensor.storage.packed >= 0:
        yield tensor.read()
        return
    if tensor.is_contiguous:
        step = max(1, limit // max(tensor.dtype.itemsize, 1))
        for at in range(0, tensor.n_elements, step):
            n = min(step, tensor.n_elements - at)
            yield replace(tensor, shape=(n,), strides=(1,), offset=tensor.offset + at).read()
        return
    axis = next(axis for axis, size in enumerate(tensor.shape) if size > 1)
    size, stride = tensor.shape[axis], tensor.strides[axis]
    step = max(1, limit * size // tensor.nbytes)
    for at in range(0, size, step):
        n = min(step, size - at)
        shape = (*tensor.shape[:axis], n, *tensor.shape[axis + 1 :])
        yield from pieces(replace(tensor, shape=shape, offset=tensor.offset + at * stride), limit)


def _look(seen: _Seen, piece: npt.NDArray[Any]) -> None:
    if not piece.size:
        return
    flat = piece.reshape(-1)
    if flat.dtype.char not in _NATIVE:
        flat = flat.astype(np.float32)
    seen.n += flat.size
    if flat.dtype.kind in "fc" and not np.isfinite(flat).all():
        n_nan = int(np.isnan(flat).sum())
        seen.nan += n_nan
        seen.inf += int(flat.size - np.isfinite(flat).sum()) - n_nan
    if seen.first is None:
        seen.first = flat[0]
    if seen.is_constant and not bool((flat == seen.first).all()):
        seen.is_constant = False


def _told(case: Case, groups: dict[str, list[int]], counts: dict[str, int]) -> Iterator[Finding]:
    if rows := groups["nan"]:
        text = (
            f"{_are(case, rows)} {count_text(counts['nan'], 'NaN value')}: a model with them gives NaN for everything."
        )
        yield _finding(case, "nan-values", Severity.WARNING, rows, text, "Take an earlier checkpoint of the training.")
    if rows := groups["inf"]:
        text = (
            f"{_are(case, rows)} {count_text(counts['inf'], 'infinite value')}. In an attention mask that is meant; in "
            "a weight it is an overflow."
        )
        yield _finding(case, "infinite-values", Severity.WARNING, rows, text)
    if rows := [row for row in groups["zero"] if len(case.tensors[row].shape) > 1]:
        text = f"{_are(case, rows)} zeros only: never trained, or lost while the file was written or converted."
        yield _finding(case, "all-zero", Severity.WARNING, rows, text, "Compare it with the file it was made from.")
    if rows := [row for row in groups["zero"] if len(case.tensors[row].shape) == 1]:
        text = f"{_are(case, rows)} zeros only, as biases and running means have before training."
        yield _finding(case, "all-zero-vector", Severity.NOTE, rows, text)
    if rows := groups["constant"]:
        text = f"{_are(case, rows)} one number everywhere, as scales of norms have before training."
        yield _finding(case, "constant-tensor", Severity.NOTE, rows, text)
    if rows := groups["unread"]:
        text = f"The values of {named(case.originals(rows))} could not be read and were not looked at."
        yield _finding(case, "values-not-read", Severity.NOTE, rows, text)


def _are(case: Case, rows: list[int]) -> str:
    return f"{named(case.originals(rows))} {'has' if len(rows) == 1 else 'have'}"


def _finding(case: Case, code: str, severity: Severity, rows: list[int], text: str, step: str = "") -> Finding:
    keys = case.originals(rows)
    return Finding(code, severity, f"key {printable(keys[0], 120)}", text, step, keys=keys)
