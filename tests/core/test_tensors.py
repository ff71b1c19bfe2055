"""The tensors of a file say the same, made one by one, all at once, or not at all."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.core.sharing import shared_storages, ties
from workbench.core.source import MemorySource
from workbench.core.tensor import Layout, Storage, TensorRef, contiguous_strides, dtype_named
from workbench.core.tensors import Tensors
from workbench.core.tree import Dict, walk

SOURCE = MemorySource(bytes(4096))
SHAPES = [(2, 3), (), (0, 4), (7,), (2, 3)]
NAMES = ["float32", "bool", "int64", "float4_e2m1fn_x2", "bfloat16"]
KEYS = [f"layers.{i}.weight" for i in range(50)]


class Places:
    """Storages of 64 bytes, one after the other."""

    def storage(self, number: int) -> Storage:
        return Storage(f"data/{number}", 64, SOURCE, 64 * number)


def layout(i: int) -> Layout:
    dtype, shape = dtype_named(NAMES[i % 5]), SHAPES[i % 5]
    return dtype, shape, contiguous_strides(shape), i % 2, dtype.lacks_numpy


def lazy() -> Tensors:
    return Tensors.apart(KEYS, [layout(i) for i in range(len(KEYS))], Places())


def singly() -> list[TensorRef]:
    return [
        TensorRef(key, (key,), *layout(i)[:4], Places().storage(i), unreadable=layout(i)[4])
        for i, key in enumerate(KEYS)
    ]


def columns(tensors: Tensors) -> list[list[object]]:
    return [list(tensors.keys), tensors.dtypes, tensors.shapes, tensors.offsets, tensors.sizes]


def test_the_columns_say_what_the_tensors_say() -> None:
    made = singly()
    expected = [
        [tensor.key for tensor in made],
        [tensor.dtype for tensor in made],
        [tensor.shape for tensor in made],
        [tensor.offset for tensor in made],
        [tensor.nbytes for tensor in made],
    ]
    tensors = lazy()
    assert columns(tensors) == columns(Tensors(made)) == expected
    assert tensors.unreadable == Tensors(made).unreadable == {i: made[i].unreadable for i in range(3, 50, 5)}
    assert tensors.rows == Tensors(made).rows == {key: i for i, key in enumerate(KEYS)}
    assert not tensors.are_nested
    assert tensors._every is None
    assert list(tensors) == made
    assert columns(tensors) == expected


def test_each_is_made_once_however_it_is_asked_for() -> None:
    tensors, made = lazy(), singly()
    first, last, some = tensors[0], tensors[-1], tensors[3:9:2]
    assert (first, last, some) == (made[0], made[-1], tuple(made[3:9:2]))
    assert tensors._every is None
    every = list(tensors)
    assert every == made
    assert [every[i] is each for i, each in ((0, first), (49, last), (3, some[0]), (7, some[2]))] == [True] * 4
    assert all(a is b for a, b in zip(tensors, every, strict=True))
    assert tensors[3:5] == tuple(every[3:5])
    assert first in tensors
    assert (len(tensors), bool(tensors), bool(Tensors(()))) == (50, True, False)
    for row in (50, -51):
        for each in (lazy(), tensors):
            with pytest.raises(IndexError):
                each[row]


def test_threads_get_the_same_tensors() -> None:
    tensors = lazy()

    def ask(n: int) -> list[int]:
        return [id(each) for each in tensors] if n % 3 == 0 else [id(tensors[i]) for i in range(50)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(24)))
    assert all(each == found[0] for each in found)


def test_a_mapping_of_tensors_holds_the_very_tensors() -> None:
    tensors = lazy()
    tree = Dict.of(tensors)
    assert tensors._every is None
    assert (tree.class_name, tree.n_repeated, len(tree)) == ("dict", 0, 50)
    assert [key for key, _ in tree.pairs] == KEYS
    assert all(tree[key] is tensor for key, tensor in zip(KEYS, tensors, strict=True))
    assert [path for path, _ in walk(tree)] == [(key,) for key in KEYS]


def test_tensors_apart_share_nothing_and_are_not_looked_at_for_it() -> None:
    tensors = lazy()
    assert ties(tensors) == ties(singly()) == ()
    assert shared_storages(tensors) == shared_storages(singly()) == ()
    assert tensors._every is None


def test_several_tensors_of_one_key_are_all_there() -> None:
    a, b, c = singly()[:3]
    twice = Tensors((a, b, a, c))
    assert (list(twice), twice.rows) == ([a, b, a, c], {a.key: 2, b.key: 1, c.key: 3})
    nested = TensorRef("x.y", ("x", "y"), *layout(0)[:4], Places().storage(0))
    assert (twice.are_nested, Tensors((a, nested)).are_nested) == (False, True)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_says_the_same_whatever_was_made_before(again) -> None:
    tensors = lazy()
    first = tensors[3]
    found = again(tensors)
    assert columns(found) == columns(tensors)
    assert found.are_apart
    assert found[3].key == first.key
    assert [tensor.storage.begin for tensor in found] == [tensor.storage.begin for tensor in tensors]
