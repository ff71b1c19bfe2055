"""The table of tensors of a tree."""

from __future__ import annotations

import pytest

from workbench.core.source import MemorySource
from workbench.core.tensor import Storage, TensorRef, dtype_named
from workbench.core.tree import Dict
from workbench.formats.contents import table


def tensor() -> TensorRef:
    return TensorRef("", (), dtype_named("int8"), (1,), (1,), 0, Storage("0", 1, MemorySource(b"1")))


def test_a_tensor_is_in_the_table_itself_under_its_joined_key() -> None:
    flat, nested, root = tensor(), tensor(), tensor()
    assert table(Dict([("a", flat)])) == (flat,)
    assert (flat.key, flat.path) == ("a", ("a",))
    (row,) = table(Dict([("a", [Dict([(3, nested)])])]))
    assert row is nested
    assert (row.key, row.path) == ("a.0.3", ("a", 0, 3))
    assert [(row.key, row.path) for row in table(root)] == [("", ())]


@pytest.mark.parametrize("n", [2, 30])
def test_a_tensor_in_several_places_has_a_row_for_each(n: int) -> None:
    one = tensor()
    for tree in (Dict([(f"k{i}", one) for i in range(n)]), Dict([("k", [one] * n), ("last", one)])):
        rows = table(tree)
        assert len({row.key for row in rows}) == len(rows) >= n
        assert all(row.key == ".".join(map(str, row.path)) for row in rows)
        one = tensor()


def test_a_tree_that_gave_its_table_gives_it_again() -> None:
    tree = Dict([("a", tensor()), ("b", tensor())])
    assert table(tree) == table(tree)
