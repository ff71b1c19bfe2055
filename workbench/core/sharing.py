"""Which tensors of a file are one: ties (several names of the very same view), and storages with several views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workbench.core.tensor import Storage, TensorRef

__all__ = ["SharedStorage", "shared_storages", "ties"]


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


def _in_storages(tensors: Iterable[TensorRef]) -> list[list[TensorRef]]:
    """The tensors by storage. Those without values in the file, or without elements, share nothing."""
    found: dict[tuple[object, ...], list[TensorRef]] = {}
    for tensor in tensors:
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
