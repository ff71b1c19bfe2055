"""Where values lie: small views of large storages, and weights that are one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from workbench.core.sharing import begins_and_sizes
from workbench.core.tensor import Storage, TensorRef
from workbench.core.text import bytes_text, count_text
from workbench.diagnosis.case import Case, named
from workbench.errors import printable
from workbench.finding import Finding, Repair, Severity

__all__ = ["large_storages", "tied"]

_WASTE: Final = 1024


def large_storages(case: Case) -> Iterator[Finding]:
    """Tensors that are small views of a storage which was saved whole."""
    held: dict[tuple[int, int, str], tuple[Storage, list[int]]] = {}
    _, nbytes = begins_and_sizes(case.tensors)
    for row in np.flatnonzero(nbytes > np.fromiter(case.plan.sizes, np.int64, len(nbytes))).tolist():
        tensor = case.tensors[row]
        storage = tensor.storage
        if storage.source is not None and tensor.nbytes < storage.nbytes:
            held.setdefault((id(storage.source), storage.begin, storage.id), (storage, []))[1].append(row)
    rows: list[int] = []
    waste = total = used_in_all = 0
    for storage, mine in held.values():
        used = _used([case.tensors[row] for row in mine])
        if storage.nbytes >= 2 * used and storage.nbytes - used >= _WASTE:
            rows += mine
            waste += storage.nbytes - used
            total += storage.nbytes
            used_in_all += used
    if not rows:
        return
    keys = [case.plan.originals[row] for row in rows]
    one = len(rows) == 1
    yield Finding(
        "view-of-large-storage",
        Severity.NOTE,
        f"key {printable(keys[0], 120)}",
        f"{named(keys)} {'is a view' if one else 'are views'} into {bytes_text(total)} of storage and "
        f"{'uses' if one else 'use'} {bytes_text(used_in_all)} of it: torch.save writes the whole storage of a view, "
        f"here {bytes_text(waste)} for nothing.",
        "An export holds the values alone. For the file's owner: save tensor.clone().",
        keys=case.originals(rows),
        repair=Repair.make("Export a clean file", "export", format="safetensors"),
    )


def _used(tensors: list[TensorRef]) -> int:
    """Bytes of a storage that lie in the span of any of the tensors."""
    spans = []
    for tensor in tensors:
        if 0 not in tensor.shape:
            size = tensor.dtype.itemsize
            last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
            # A view with steps uses its elements only.
            begin = tensor.offset * size
            spans.append((begin, min((last + 1) * size, begin + max(tensor.nbytes, 1))))
    used = reached = 0
    for begin, end in sorted(spans):
        used += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return used


def tied(case: Case) -> Iterator[Finding]:
    """Several keys for one and the same view: weights that the model shares."""
    groups = [(keys, _rows(case, keys)) for tie in case.checkpoint.ties for keys in _in_one_dict(case, tie)]
    groups = [(keys, rows) for keys, rows in groups if len(rows) > 1]
    if not groups:
        return
    examples = "; ".join(" = ".join(f"`{printable(key, 80)}`" for key in keys[:3]) for keys, _ in groups[:3])
    more = f"; and {len(groups) - 3:,} more groups" if len(groups) > 3 else ""
    again = [case.plan.originals[row] for _, rows in groups for row in rows[1:]]
    nbytes = sum(case.tensors[row].nbytes for _, rows in groups for row in rows[1:])
    yield Finding(
        "tied-weights",
        Severity.NOTE,
        f"key {printable(groups[0][0][0], 120)}",
        f"{count_text(len(groups), 'weight')} {'has' if len(groups) == 1 else 'have'} several keys: {examples}{more}. "
        f"PyTorch shares them in memory; a model of Burn has a parameter for each and fills each "
        f"({bytes_text(nbytes)} more), and training it would let them part.",
        "Skip the second name where the model takes the weight from the first.",
        keys=tuple(key for keys, _ in groups for key in keys)[:1000],
        repair=Repair.make("Skip the second names", "skip", keys=again),
    )


def _rows(case: Case, keys: tuple[str, ...]) -> list[int]:
    known = case.row_of
    return [known[key] for key in keys if key in known]


def _in_one_dict(case: Case, tie: tuple[str, ...]) -> list[tuple[str, ...]]:
    """A tie, parted where its keys lie in different top-level dicts: those are copies of a model, not its ties."""
    dicts = {each.key for each in case.checkpoint.top_level_keys}
    parts: dict[str, list[str]] = {}
    for key in tie:
        head = key.partition(".")[0]
        parts.setdefault(head if head in dicts else "", []).append(key)
    return [tuple(keys) for keys in parts.values()]
