"""Nodes, their reprs, and the walk."""

from __future__ import annotations

from workbench.core.source import MemorySource
from workbench.core.tensor import Storage, TensorRef, dtype_named
from workbench.core.text import bytes_text, count_text, shape_text
from workbench.core.tree import Dict, Name, Opaque, Set, brief, key_text, module_parts, walk


def tensor() -> TensorRef:
    return TensorRef("", (), dtype_named("int8"), (1,), (1,), 0, Storage("0", 1, MemorySource(b"1")))


def test_a_dict_is_a_mapping_of_its_last_values_in_order() -> None:
    node = Dict([("b", 1), ("a", 2), ("b", 3)])
    assert (list(node), len(node), node["b"], node.get("x"), "a" in node) == (["b", "a"], 2, 3, None, True)
    assert node.n_repeated == 1


def test_keys_that_are_no_text_are_kept_but_never_hashed() -> None:
    class Loud(list[int]):
        def __hash__(self) -> int:  # type: ignore[override]
            raise AssertionError("hashed")

    odd = Loud()
    node = Dict([(odd, 1), ((1, 2), 2), (2**40, 3), (None, 4)])
    assert [value for _, value in node.pairs] == [1, 2, 3, 4]
    assert odd not in node
    assert node.get((1, 2)) is None


def test_nodes_compare_by_identity() -> None:
    assert Dict() != Dict()
    node = Dict()
    assert len({node, node}) == 1


def test_the_walk_lists_tensors_in_file_order_with_raw_paths() -> None:
    tree = Dict([("a.b", tensor()), ("c", [tensor(), (None, tensor())]), (7, Dict([("x", tensor())]))])
    assert [path for path, _ in walk(tree)] == [("a.b",), ("c", 0), ("c", 1, 1), (7, "x")]
    assert [path for path, _ in walk(tensor())] == [()]
    assert list(walk(Dict([("a", 1)]))) == list(walk(5)) == []


def test_a_shared_node_is_listed_under_each_name() -> None:
    shared = Dict([("w", tensor())])
    assert [path for path, _ in walk([shared, shared])] == [(0, "w"), (1, "w")]


def test_a_module_is_known_by_what_it_holds() -> None:
    state = Dict([("_parameters", Dict()), ("_modules", Dict())])
    assert module_parts(Opaque("my.Net", (), state)) is not None
    assert module_parts(Opaque("my.Net", (), Dict([("_parameters", Dict())]))) is None
    assert module_parts(Dict([("_parameters", Dict()), ("_modules", Dict())])) is None


def test_every_repr_is_bounded_and_printable() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    nodes = [
        "x" * 10**6,
        b"\x1b" * 10**6,
        2**10_000_000,
        -1.5,
        deep,
        Dict([("k", deep)]),
        Set([deep]),
        Opaque("a\u202e" * 10**5, (deep,)),
        Name("n" * 10**6),
        tensor(),
        object(),
    ]
    for node in nodes:
        assert len(brief(node)) < 140
        assert brief(node).isprintable()
    assert repr(Dict([("a", 1)], "OrderedDict")) == "OrderedDict of 1"


def test_keys_read_as_python_prints_them() -> None:
    keys = ["a", 3, None, True, 0.5, b"k", (1, 2), (1,), (), 2**300]
    shown = [key_text(key) for key in keys]
    assert shown == ["a", 3, "None", "True", "0.5", "b'k'", "(1, 2)", "(1,)", "()", "integer of about 91 digits"]


def test_numbers_read_as_people_write_them() -> None:
    assert (shape_text((64, 3, 7, 7)), shape_text(())) == ("64×3×7×7", "scalar")
    sizes = [0, 136, 999, 1000, 9408, 99_949, 99_950, 999_499, 999_500, 44_700_000, 2**40, 10**40]
    assert [bytes_text(n) for n in sizes] == [
        "0 B",
        "136 B",
        "999 B",
        "1.0 kB",
        "9.4 kB",
        "99.9 kB",
        "100 kB",
        "999 kB",
        "1.00 MB",
        "44.7 MB",
        "1.10 TB",
        "more than 10^38 B",
    ]
    assert [count_text(n, "tensor") for n in (0, 1, 12000)] == ["0 tensors", "1 tensor", "12,000 tensors"]
    assert count_text(2, "entry") == "2 entries"


def test_a_node_that_leads_back_to_its_holder_is_listed_where_it_holds_a_tensor() -> None:
    a: list[object] = []
    x: list[object] = [a]
    a += [x, tensor()]
    assert [path for path, _ in walk([a, x])] == [(0, 1), (1, 0, 1)]


def test_doubling_without_a_tensor_is_entered_once_even_if_it_leads_back_to_the_root() -> None:
    root: list[object] = [tensor()]
    node: list[object] = [root]
    for _ in range(60):
        node = [node, node]
    root.append(node)
    assert [path for path, _ in walk(root)] == [(0,)]


def test_a_wide_list_in_the_middle_of_the_walk_goes_on_where_it_was_left() -> None:
    tree = [[tensor()], 5, Dict([("a", (tensor(), None)), (None, [tensor()])]), tensor()]
    assert [path for path, _ in walk(tree)] == [(0, 0), (2, "a", 0), (2, "None", 0), (3,)]
