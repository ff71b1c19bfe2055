"""Which tensors of a file are one: ties (several names of the very same view), and storages with several views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.core.tensor import Spans, Storage, TensorRef
from workbench.core.tensors import Tensors

__all__ = ["SharedStorage", "begins_and_sizes", "shared_storages", "ties"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SharedStorage:
    """A storage in which several different views lie, in file order.

    ``overlapping`` says whether the bytes spanned by two of them meet. Two views that take turns, such as the even and
    the odd elements, meet in this sense without having an element in common.
    """

    storage: Storage
    tensors: tuple[TensorRef, ...]
    overlapping: bool


def _place(storage: Storage) -> tuple[object, ...]:
    return id(storage.source), storage.begin, storage.id


def _view(tensor: TensorRef) -> tuple[object, ...]:
    """All that decides the values: two tensors with an equal view are one."""
    strides = tuple(0 if size <= 1 else step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    lazy = (tensor.byteswap, tensor.conj, tensor.neg)
    return (*_place(tensor.storage), tensor.dtype.name, tensor.shape, strides, tensor.offset, *lazy)


def begins_and_sizes(tensors: Sequence[TensorRef]) -> tuple[Numbers, Numbers]:
    """Where the storage of each tensor begins, and its size in bytes, -1 where it is not in the file.

    Equal beginnings are those of one source. No storage is made for a tensor that has none yet.
    """
    begins = np.empty(len(tensors), np.int64)
    sizes = np.empty(len(tensors), np.int64)
    sources: dict[int, int] = {}
    rows_of: dict[int, tuple[Any, list[int]]] = {}
    others = []
    for row, places in enumerate([getattr(tensor, "_places", None) for tensor in tensors]):
        known = rows_of.get(id(places))
        if known is not None:
            known[1].append(row)
        elif isinstance(places, Spans):
            rows_of[id(places)] = places, [row]
        else:
            others.append(row)
    owners = np.zeros(len(tensors), np.int64)
    for places, rows in rows_of.values():
        numbers = np.fromiter((tensors[row]._number for row in rows), np.int64, len(rows))
        begins[rows], sizes[rows] = places.spans(numbers)
        owners[rows] = sources.setdefault(id(places.source), len(sources))
    for row in others:
        storage = tensors[row].storage
        begins[row] = storage.begin
        sizes[row] = storage.nbytes if storage.source is not None else -1
        owners[row] = sources.setdefault(id(storage.source), len(sources))
    return begins * max(len(sources), 1) + owners, sizes


def _in_storages(tensors: Iterable[TensorRef]) -> list[list[TensorRef]]:
    """The tensors by storage. Those without values in the file, or without elements, share nothing."""
    found: dict[tuple[object, ...], list[TensorRef]] = {}
    if isinstance(tensors, Tensors) and tensors.are_apart:
        return []
    tensors = tuple(tensors)
    if not tensors:
        return []
    begins, sizes = begins_and_sizes(tensors)
    _, which, counts = np.unique(begins, return_inverse=True, return_counts=True)
    for row in np.flatnonzero((counts[which] > 1) & (sizes >= 0)).tolist():
        tensor = tensors[row]
        if tensor.storage.source is not None and 0 not in tensor.shape:
            found.setdefault(_place(tensor.storage), []).append(tensor)
    return [members for members in found.values() if len(members) > 1]


def ties(tensors: Iterable[TensorRef]) -> tuple[tuple[TensorRef, ...], ...]:
    """Groups of tensors that are the same view of the same storage, in file order: weights tied in the model.

    Takes time in proportion to the number of tensors.
    """
    groups: list[tuple[TensorRef, ...]] = []
    for members in _in_storages(tensors):
        views: dict[tuple[object, ...], list[TensorRef]] = {}
        for tensor in members:
            views.setdefault(_view(tensor), []).append(tensor)
        groups += [tuple(same) for same in views.values() if len(same) > 1]
    return tuple(groups)


def shared_storages(tensors: Iterable[TensorRef]) -> tuple[SharedStorage, ...]:
    """The storages in which at least two different views lie, each view once, in file order.

    Takes time in proportion to the number of tensors, but for sorting those of one storage.
    """
    found = []
    for members in _in_storages(tensors):
        views: dict[tuple[object, ...], TensorRef] = {}
        for tensor in members:
            views.setdefault(_view(tensor), tensor)
        if len(views) > 1:
            different = tuple(views.values())
            found.append(SharedStorage(different[0].storage, different, _meet(different)))
    return tuple(found)


def _meet(tensors: tuple[TensorRef, ...]) -> bool:
    reached = -1
    for begin, end in sorted(map(_span, tensors)):
        if begin < reached:
            return True
        reached = max(reached, end)
    return False


def _span(tensor: TensorRef) -> tuple[int, int]:
    """First byte and end of what a tensor touches in its storage."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    return tensor.offset * tensor.dtype.itemsize, (last + 1) * tensor.dtype.itemsize
