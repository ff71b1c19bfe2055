"""Ties and shared storages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracles import torch as load_torch
from workbench.checkpoint import open_checkpoint
from workbench.core.sharing import begins_and_sizes, shared_storages, ties
from workbench.core.source import MemorySource
from workbench.core.tensor import Storage, TensorRef, dtype_named

SOURCE = MemorySource(b"0123456789", "made")
STORAGE = Storage("data/0", 10, SOURCE)


def view(key: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, **other: object) -> TensorRef:
    options = {"dtype": dtype_named("uint8"), "storage": STORAGE} | other
    return TensorRef(key, (key,), shape=shape, strides=strides, offset=offset, **options)  # type: ignore[arg-type]


def keys(groups: object) -> list[list[str]]:
    return [[tensor.key for tensor in group] for group in groups]  # type: ignore[attr-defined]


def test_names_of_the_very_same_view_are_tied() -> None:
    tensors = [view("a", (2, 3), (3, 1)), view("b", (6,), (1,)), view("c", (2, 3), (3, 1)), view("d", (6,), (1,))]
    assert keys(ties(tensors)) == [["a", "c"], ["b", "d"]]
    assert keys(ties(iter(tensors[:2]))) == []


@pytest.mark.parametrize(
    "other",
    [
        view("x", (3, 2), (3, 1)),
        view("x", (2, 3), (1, 2)),
        view("x", (2, 3), (3, 1), 1),
        view("x", (2, 3), (3, 1), conj=True),
        view("x", (2, 3), (3, 1), dtype=dtype_named("int8")),
        view("x", (2, 3), (3, 1), storage=Storage("data/1", 10, SOURCE)),
        view("x", (2, 3), (3, 1), storage=Storage("data/0", 10, MemorySource(b""))),
    ],
)
def test_any_difference_of_the_views_parts_two_tensors(other: TensorRef) -> None:
    assert ties([view("a", (2, 3), (3, 1)), other]) == ()


def test_the_stride_of_a_dimension_with_one_element_does_not_matter() -> None:
    assert keys(ties([view("a", (1, 3), (3, 1)), view("b", (1, 3), (99, 1))])) == [["a", "b"]]


def test_tensors_without_elements_or_values_share_nothing() -> None:
    nowhere = Storage("none", 0, None)
    tensors = [view(key, (0,), (1,)) for key in "ab"] + [view(key, (2,), (1,), storage=nowhere) for key in "cd"]
    assert ties(tensors) == shared_storages(tensors) == ()


def test_views_of_one_storage_that_meet_are_told_from_those_that_do_not() -> None:
    apart = shared_storages([view("a", (2,), (1,)), view("b", (3,), (1,), 2)])
    assert [(group.storage, keys([group.tensors]), group.overlapping) for group in apart] == [
        (STORAGE, [["a", "b"]], False)
    ]
    (meeting,) = shared_storages([view("a", (9,), (1,)), view("b", (1,), (1,), 1), view("c", (1,), (1,), 8)])
    assert meeting.overlapping
    assert shared_storages([view("a", (2,), (1,)), view("b", (2,), (1,))]) == ()


def test_tied_weights_of_torch_are_found(tmp_path: Path) -> None:
    torch = load_torch()
    net = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5, bias=False), torch.nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.append(net[2])
    base = torch.randn(6, 2)
    torch.save({"net": net, "base": base, "rows": base[2:4], "end": base[4:]}, tmp_path / "net.pt")
    tensors = open_checkpoint(tmp_path / "net.pt").tensors
    assert keys(ties(tensors)) == [
        ["net.0.weight", "net.1.weight"],
        ["net.2.weight", "net.3.weight"],
        ["net.2.bias", "net.3.bias"],
    ]
    (shared,) = shared_storages(tensors)
    assert keys([shared.tensors]) == [["base", "rows", "end"]]
    assert shared.overlapping


def test_places_are_told_at_once_and_are_those_of_the_storages(tmp_path: Path) -> None:
    torch = load_torch()
    base = torch.arange(12.0)
    torch.save({"a": base[:4], "b": base, "c": torch.ones(3), "d": base, "e": torch.ones(5)[1:]}, tmp_path / "net.pt")
    tensors = open_checkpoint(tmp_path / "net.pt").tensors
    begins, sizes = begins_and_sizes(tensors)
    assert sizes.tolist() == [each.storage.nbytes for each in tensors]
    assert (begins == begins[0]).tolist() == [each.storage.id == tensors[0].storage.id for each in tensors]
