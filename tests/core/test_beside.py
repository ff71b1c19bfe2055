"""Tensors beside the table."""

from __future__ import annotations

from workbench.core.beside import MAX_BESIDE, beside_of
from workbench.core.source import MemorySource
from workbench.core.tensor import Storage, TensorRef, dtype_named
from workbench.core.tree import Dict, Opaque, Set, walk


def tensor() -> TensorRef:
    return TensorRef("", (), dtype_named("int8"), (1,), (1,), 0, Storage("0", 1, MemorySource(b"1")))


def module(parameters: Dict | None = None, children: Dict | None = None, **attributes: object) -> Opaque:
    tables = [("_parameters", parameters or Dict()), ("_buffers", Dict()), ("_modules", children or Dict())]
    return Opaque("nets.Net", (), Dict([*tables, *attributes.items()]))


def paths(tree: object) -> list[str]:
    return [each.tensor.key for each in beside_of(tree)[0]]


def test_a_tree_without_objects_has_nothing_beside_it() -> None:
    assert beside_of(Dict([("a", tensor()), ("b", [tensor()])])) == ((), 0)
    assert beside_of(tensor()) == beside_of(None) == ((), 0)


def test_everything_an_object_holds_is_found_in_file_order() -> None:
    stranger = Opaque("acme.Box", (tensor(), [tensor()]), Dict([("x", tensor()), ("y", Set([tensor()]))]))
    stranger.kwargs = Dict([("k", tensor())])
    found, n = beside_of(Dict([("before", tensor()), ("box", stranger)]))
    assert [each.tensor.key for each in found] == ["box.x", "box.y.0", "box.args.0", "box.args.1.0", "box.kwargs.k"]
    assert n == 5
    assert {each.reason for each in found} == {"it is kept by an object `acme.Box`, which is no module"}
    assert found[3].tensor.path == ("box", "args", 1, 0)


def test_table_and_rest_together_hold_each_tensor_once() -> None:
    shared, child = tensor(), module(Dict([("w", tensor())]))
    net = module(Dict([("w", shared)]), Dict([("child", child)]), alias=shared, again=[child, shared], only=tensor())
    tree = Dict([("net", net), ("list", [net])])
    assert [".".join(map(str, path)) for path, _ in walk(tree)] == [
        "net.w",
        "net.child.w",
        "list.0.w",
        "list.0.child.w",
    ]
    assert paths(tree) == ["net.only"]


def test_an_object_met_first_inside_an_attribute_still_counts_as_part_of_the_table() -> None:
    child = module(Dict([("w", tensor())]), extra=tensor())
    net = module(None, Dict([("child", child)]), early=child)
    assert paths(Dict([("first", Opaque("acme.Box", (), Dict([("c", child)]))), ("net", net)])) == ["net.child.extra"]


def test_cycles_and_depth_end() -> None:
    deep: object = tensor()
    for _ in range(100_000):
        deep = [deep]
    loop = module(deep=deep)
    assert isinstance(loop.state, Dict)
    loop.args = (loop,)
    loop.state._put(("self", loop))
    found, n = beside_of([loop])
    assert n == 1
    assert len(found[0].tensor.path) == 101
    assert found[0].tensor.path[0] == "…"


def test_a_great_many_are_counted_but_not_all_listed() -> None:
    found, n = beside_of(module(many=[tensor() for _ in range(MAX_BESIDE + 5)]))
    assert (len(found), n) == (MAX_BESIDE, MAX_BESIDE + 5)
