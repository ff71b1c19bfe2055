"""The machine: every opcode, every fault, and that nothing ever runs."""

from __future__ import annotations

import contextlib
import pickle
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make import pickles as p
from workbench.core.tree import Dict, Name, Opaque, Set, StorageNode
from workbench.errors import OpenError
from workbench.finding import Finding, Severity
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.opcodes import CODES
from workbench.formats.pickle.rebuild import TreeBuilder


def no_storage(pid: object) -> StorageNode | None:
    return None


def run(data: bytes) -> object:
    return Machine(data, TreeBuilder(no_storage, "data.pkl"), name="net.pt", entry="data.pkl").run()


def findings(data: bytes) -> list[Finding]:
    builder = TreeBuilder(no_storage, "data.pkl")
    Machine(data, builder, name="net.pt", entry="data.pkl").run()
    return builder.findings()


def plain(node: object) -> Any:
    """A tree as ordinary Python values, for comparison with what pickle makes of harmless programs."""
    if isinstance(node, Dict):
        return {(key if isinstance(key, (str, int)) else plain(key)): plain(value) for key, value in node.pairs}
    if isinstance(node, (list, tuple)):
        return type(node)(map(plain, node))
    if isinstance(node, Set):
        return (set if node.class_name == "set" else frozenset)(map(plain, node.items))
    return node


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.integers(2**300, 2**301),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-5, 5), inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.integers())
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("protocol", range(6))
@given(value=VALUES)
def test_makes_of_plain_values_what_pickle_makes_of_them(protocol: int, value: object) -> None:
    assert plain(run(pickle.dumps(value, protocol))) == value


def test_memoised_values_stay_one_object() -> None:
    shared = [1]
    tree = run(pickle.dumps([shared, shared]))
    assert isinstance(tree, list)
    assert tree[0] is tree[1]


def test_an_ordered_dict_keeps_order_and_its_attributes_apart() -> None:
    value: OrderedDict[str, int] = OrderedDict(b=1, a=2)
    value._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    tree = run(pickle.dumps(value, 2))
    assert isinstance(tree, Dict)
    assert (tree.class_name, list(tree.pairs)) == ("OrderedDict", [("b", 1), ("a", 2)])
    assert plain(tree.attributes) == {"_metadata": {"": {"version": 1}}}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"I01\n.", True),
        (b"I00\n.", False),
        (b"I-7\n.", -7),
        (b"L123456789012345678901L\n.", 123456789012345678901),
        (b"F1.5\n.", 1.5),
        (b"F-inf\n.", float("-inf")),
        (b"S'a\\n\\x41\\101\\'b'\n.", "a\nAA'b"),
        (b"U\x02h\xe9.", "h\xe9"),
        (b"U\x03h\xc3\xa9.", "h\xe9"),
        (b"Vh\\u00e9\n.", "h\xe9"),
        (b"\x8a\x00.", 0),
        (b"\x8a\x01\xff.", -1),
        (b"T\x01\0\0\0a.", "a"),
        (b"(K\1K\2l.", [1, 2]),
        (b"(Vk\nK\2d.", {"k": 2}),
        (b"K\1p5\n0g5\n.", 1),
        (b"K\1p700000000\n0g700000000\n.", 1),
        (b"(K\1K\x021K\3.", 3),
        (b"K\x012\x86.", (1, 1)),
        (b"\x8f(K\1\x90.", {1}),
        (b"(K\1\x91.", frozenset({1})),
        (b"\x96\1\0\0\0\0\0\0\0a.", b"a"),
        (b"X\x03\0\0\0\xed\xa0\x80.", "\ud800"),
    ],
)
def test_old_and_rare_opcodes(data: bytes, expected: object) -> None:
    assert plain(run(data)) == expected


def test_names_of_torch_become_text_and_small_calls_values() -> None:
    tree = run(
        p.pickle(
            p.list_of(
                p.name("torch", "half"),
                p.call(p.name("torch", "device"), p.text("cuda"), p.number(1)),
                p.call(p.name("torch", "Size"), p.list_of(p.number(2), p.number(3))),
                p.call(p.name("_codecs", "encode"), p.text("\xff"), p.text("latin1")),
                p.call(p.name("__builtin__", "bytearray"), p.text("\x01"), p.text("latin-1")),
                p.call(p.name("builtins", "complex"), b"G" + struct.pack(">d", 1), b"G" + struct.pack(">d", -2)),
            )
        )
    )
    assert tree == ["torch.float16", "cuda:1", (2, 3), b"\xff", b"\x01", 1 - 2j]
    assert isinstance(tree, list)
    assert type(tree[0]) is Name


def test_a_key_that_is_set_twice_keeps_its_last_value_and_is_counted() -> None:
    tree = run(p.pickle(p.dict_of((p.text("a"), p.number(1)), (p.text("a"), p.number(2)))))
    assert isinstance(tree, Dict)
    assert (tree["a"], tree.n_repeated) == (2, 1)


def test_true_and_one_stay_two_keys() -> None:
    tree = run(p.pickle(p.dict_of((p.number(1), p.text("a")), (p.boolean(True), p.text("b")))))
    assert isinstance(tree, Dict)
    assert [(type(key), value) for key, value in tree.pairs] == [(int, "a"), (bool, "b")]


# Nothing runs.

MARKER = "workbench_marker_of_a_test"


def calling(marker: Path) -> dict[str, bytes]:
    argument = p.text(str(marker))
    target = p.name("os", "mkdir")
    return {
        "REDUCE": target + p.tuple_of(argument) + b"R",
        "popped": target + p.tuple_of(argument) + b"R0N",
        "NEWOBJ": target + p.tuple_of(argument) + b"\x81",
        "NEWOBJ_EX": target + p.tuple_of(argument) + b"}\x92",
        "INST": b"(" + argument + b"ios\nmkdir\n",
        "OBJ": b"(" + target + argument + b"o",
        "BUILD": target + p.dict_of((p.text("x"), argument)) + b"b",
        "STACK_GLOBAL": p.text("os") + p.text("mkdir") + b"\x93" + p.tuple_of(argument) + b"R",
        "as a key": b"}" + target + p.tuple_of(argument) + b"RNs",
        "in a tuple": target + p.tuple_of(argument) + b"R\x85",
        "in the state": p.instance("a", "B", p.dict_of((p.text("s"), target + p.tuple_of(argument) + b"R"))),
        "memoised": target + b"q\x050h\x05" + p.tuple_of(argument) + b"R",
        "dotted": p.name("torch.serialization", "os.mkdir") + p.tuple_of(argument) + b"R",
        "in a tensor": p.call(p.name("torch._utils", "_rebuild_tensor_v2"), target + p.tuple_of(argument) + b"R"),
    }


@pytest.mark.parametrize("opcode", calling(Path()))
def test_each_opcode_that_could_call_is_one_finding_and_calls_nothing(opcode: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = p.pickle(calling(marker)[opcode], 4)
    found = [finding for finding in findings(data) if finding.code == "runs-a-program"]
    assert [finding.severity for finding in found] == [Severity.ERROR]
    assert "mkdir(" in found[0].text
    assert not marker.exists()


def test_the_payload_of_these_tests_does_run_under_pickle(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(p.pickle(calling(marker)["REDUCE"]))
    assert marker.exists()


def test_many_calls_of_one_name_are_one_finding_with_a_count() -> None:
    evil = p.call(p.name("os", "system"), p.text("x"))
    (finding,) = findings(p.pickle(p.list_of(*[evil] * 500)))
    assert ", 500 times" in finding.text


def test_a_name_that_is_never_called_is_a_warning() -> None:
    (finding,) = findings(p.pickle(p.name("os", "system")))
    assert (finding.code, finding.severity) == ("runs-a-program", Severity.WARNING)


@pytest.mark.parametrize("opcode", [b"\x82\1", b"\x83\1\0", b"\x84\1\0\0\0"])
def test_names_by_number_count_as_dangerous(opcode: bytes) -> None:
    (finding,) = findings(p.pickle(opcode + b")R"))
    assert (finding.code, finding.severity) == ("computed-name", Severity.ERROR)


def test_names_that_are_no_text_and_calls_of_values_count_as_dangerous() -> None:
    for data in (p.number(1) + p.number(2) + b"\x93)R", p.number(1) + b")R", p.name("a", "f") + b")R)R"):
        found = findings(p.pickle(data))
        assert "computed-name" in [finding.code for finding in found]


def test_running_a_pickle_imports_nothing_it_names() -> None:
    before = set(sys.modules)
    run(p.pickle(p.list_of(p.name("antigravity", "fly"), p.call(p.name("this", "x"), p.number(1)))))
    assert not {"antigravity", "this"} & (set(sys.modules) - before)


def test_state_is_recorded_and_never_set() -> None:
    node = run(p.pickle(p.instance("a", "B", p.dict_of((p.text("class_path"), p.text("evil"))))))
    assert isinstance(node, Opaque)
    assert (node.class_path, plain(node.state)) == ("a.B", {"class_path": "evil"})


def test_an_argument_with_control_characters_is_shown_escaped_and_cut() -> None:
    (finding,) = findings(p.pickle(p.call(p.name("os", "system"), p.text("\x1b[31m" + "x" * 1000))))
    assert "\x1b" not in finding.text
    assert len(finding.text) < 300


# Faults.


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cut_at_any_byte_gives_our_error(protocol: int) -> None:
    value = {"a": [1, 2.5, None, (True, b"x" * 30)], "b": {"c": "é" * 30, 7: {1, 2}, "d": 2**100}}
    data = pickle.dumps(value, protocol)
    for at in range(len(data)):
        with pytest.raises(OpenError) as caught:
            run(data[:at])
        assert caught.value.place.startswith("byte ")


def test_any_opcode_at_any_place_gives_a_tree_or_our_error() -> None:
    data = pickle.dumps({"a": [1, (2, "x")], "b": {1, 2}}, 2)
    for at in range(len(data)):
        for opcode in [*CODES.values(), 0, 0xFF]:
            for changed in (data[:at] + bytes([opcode]) + data[at:], data[:at] + bytes([opcode]) + data[at + 1 :]):
                with contextlib.suppress(OpenError):
                    run(changed)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x80\x04", b"((]}", b"\x80\x02}q\0("]))
def test_any_bytes_give_a_tree_or_our_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(OpenError):
        run(start + data + b".")


@given(st.lists(st.sampled_from(sorted(CODES.values())), max_size=40))
def test_any_opcodes_give_a_tree_or_our_error(opcodes: list[int]) -> None:
    program = b"".join(bytes([op]) + (b"a\n" * 2 if op in b"ci" else b"\1\0\0\0\0\0\0\0") for op in opcodes)
    with contextlib.suppress(OpenError):
        run(program + b".")


@pytest.mark.parametrize("length", [5, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("opcode", [b"X", b"B", b"T", b"\x8b"])
def test_a_length_beyond_the_end_allocates_nothing(opcode: bytes, length: int) -> None:
    with pytest.raises(OpenError):
        run(b"\x80\x04" + opcode + struct.pack("<I", length) + b"abc.")


@pytest.mark.parametrize("length", [5, 2**31, 2**63, 2**64 - 1])
@pytest.mark.parametrize("opcode", [b"\x8d", b"\x8e", b"\x95", b"\x96"])
def test_a_long_length_beyond_the_end_allocates_nothing(opcode: bytes, length: int) -> None:
    with pytest.raises(OpenError):
        run(b"\x80\x04" + opcode + struct.pack("<Q", length) + b"N.")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"0.", "no MARK"),
        (b".", "one value"),
        (b"NN.", "one value"),
        (b"(N.", "one value"),
        (b"h\1.", "memo"),
        (b"g1\n.", "memo"),
        (b"gx\n.", "memo number"),
        (b"R.", "too few"),
        (b"(R.", "too few"),
        (b"}Ns.", "too few"),
        (b"NNNs.", "no mapping"),
        (b"}(Nu.", "no value"),
        (b"NNa.", "no list"),
        (b"](N\x90.", "no set"),
        (b"(o.", "no class"),
        (b"\x97.", "buffer"),
        (b"\x80\x06N.", "protocol 6"),
        (b"Ixx\n.", "no number"),
        (b"I1_000\n.", "no number"),
        (b"F1e\n.", "no number"),
        (b"Sabc\n.", "quotes"),
        (b"X\x01\0\0\0\xff.", "UTF-8"),
        (b"\xff", "no opcode"),
        (b"Vabc", "no end"),
        (b"\x80\x04\x95\x09\0\0\0\0\0\0\0N.", "are more than the"),
        (b"\x80\x04\x95\x02\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0N.", "frame"),
    ],
)
def test_a_fault_names_the_byte_and_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(OpenError, match=why) as caught:
        run(data)
    assert str(caught.value).startswith("net.pt, byte ")


def test_an_integer_of_many_digits_is_kept_without_computing_it() -> None:
    node = run(b"L" + b"9" * 100_000 + b"L\n.")
    assert isinstance(node, Opaque)
    assert node.args == ("integer of 100,000 digits",)


@pytest.mark.parametrize(
    "program",
    [b"]" * 8_000_000 + b".", b"N" + b"\x94" * 9_000_000 + b".", b"(" * 9_000_000 + b".", b"}\x94" * 5_000_000 + b"."],
    ids=["lists", "memo", "marks", "dicts"],
)
def test_more_objects_than_the_bytes_can_need_are_refused(program: bytes) -> None:
    builder = TreeBuilder(no_storage, "data.pkl")
    with pytest.raises(OpenError, match="more memory"):
        Machine(program, builder, on_disk=100_000, name="net.pt").run()


@pytest.mark.parametrize("before", [b"](", b"(", b"}(Na", b"cb\nC\n)\x81"])
def test_a_hundred_thousand_levels_cost_no_recursion(before: bytes) -> None:
    with pytest.raises(OpenError):
        run(before * 100_000 + b".")
