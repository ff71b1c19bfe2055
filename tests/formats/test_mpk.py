"""Burn's MessagePack records: what its recorders wrote, and files that no recorder would write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.suite import FormatSuite, Part, some_bytes
from tests.formats.test_burnpack import SPELLINGS
from tests.make.mpk import METADATA, Raw, pack, parameter, record
from tests.oracles import corpus
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tree import Dict
from workbench.errors import OpenError, TensorError
from workbench.formats.msgpack import MsgpackProblem, walk

VERSIONS = ("0.18.0", "0.19.1", "0.20.1", "0.21.0")


class TestMpk(FormatSuite):
    format_name: ClassVar[str] = "mpk"
    dtypes: ClassVar[Sequence[str]] = tuple(SPELLINGS)

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        item = {key: parameter(SPELLINGS[dtype], shape, raw) for key, dtype, shape, raw in parts}
        data = record(item)
        ends = [data.find(raw) + len(raw) for *_, raw in parts]
        return data, [0, 1, 10, data.find(b"\xa4item"), *ends, len(data) - 1]


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "made.mpk"))


def codes(contents: formats.Contents) -> list[str]:
    return [finding.code for finding in contents.findings]


def parameters(node: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The parameters of a recorded answer by their dotted names."""
    if isinstance(node, dict) and isinstance(node.get("param"), dict):
        return {".".join(path): node["param"]}
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return {key: found for name, each in inner for key, found in parameters(each, (*path, str(name))).items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_reads_what_the_recorders_of_burn_wrote(version: str) -> None:
    place = corpus("golden/import/mpk")
    answers = json.loads((place / f"{version}.json").read_text())
    spelt = {str(word): name for name, word in SPELLINGS.items()} | {"Bool": "bool"}
    n = 0
    for name, answer in answers.items():
        if not name.endswith(".mpk") or "ok" not in answer:
            continue
        want = parameters(answer["ok"])
        contents = formats.read(MemorySource((place / name).read_bytes(), name))
        assert {tensor.key for tensor in contents.tensors} == set(want), name
        for tensor in contents.tensors:
            told = want[tensor.key]
            assert (list(tensor.shape), tensor.dtype.name) == (told["shape"], spelt[str(told["dtype"])]), (name, tensor)
            assert hashlib.sha256(tensor.read().tobytes()).hexdigest() == told["sha256"], (name, tensor)
        assert contents.metadata["version"] == version
        assert codes(contents) == []
        n += 1
    assert n > 30


@pytest.mark.parametrize("version", VERSIONS)
def test_all_changed_files_that_burn_still_loads_have_its_keys_and_shapes(version: str) -> None:
    place = corpus("golden/import/mpk")
    n = 0
    for name, answer in json.loads((place / "foreign.json").read_text()).items():
        told = answer.get(version, {}).get("record", {})
        if not isinstance(told, dict) or "ok" not in told:
            continue
        contents = formats.read(MemorySource((place / "foreign" / name).read_bytes(), name))
        ours = {tensor.key: list(tensor.shape) for tensor in contents.tensors}
        wanted = {key: want["shape"] for key, want in parameters(told["ok"]).items()}
        if name == "enum_index.mpk":  # the variant is written as a number there, whose name only Burn's code knows
            ours = {key.replace("conv.1.", "conv.Conv.").replace("conv.0.", "conv.Conv."): n for key, n in ours.items()}
        assert {key: ours.get(key) for key in wanted} == wanted, name
        n += 1
    assert n > 40


def test_a_packed_record_is_named_and_not_opened() -> None:
    path = corpus("golden/import/mpk") / "0.20.1" / "net-full.mpk.gz"
    with pytest.raises(OpenError, match=r"a Burn record \(.mpk.gz\)"):
        formats.read(MemorySource(Path(path).read_bytes(), "net.mpk.gz"))


def test_lists_options_and_variants_give_the_names_of_burn() -> None:
    one = parameter("F32", [1], some_bytes(4))
    item = {"blocks": [{"w": one}, {"w": one}], "bias": None, "conv": {"Depthwise": {"w": one}}, "stride": [None, None]}
    contents = opened(record(item))
    assert [tensor.key for tensor in contents.tensors] == ["blocks.0.w", "blocks.1.w", "conv.Depthwise.w"]
    assert isinstance(contents.tree, Dict)
    assert contents.tree["stride"] == [None, None]
    assert contents.metadata == METADATA


def test_the_top_fields_may_stand_in_any_order() -> None:
    item = {"w": parameter("U8", [1], b"1")}
    for top in (
        {"_b": [], "item": item, "metadata": METADATA},
        {"extra": 1, "metadata": METADATA, "item": item, "_b": None},
    ):
        assert [tensor.read().tobytes() for tensor in opened(pack(top)).tensors] == [b"1"]


@pytest.mark.parametrize(
    ("dtype", "shape", "raw", "why"),
    [
        ("F32", [3], some_bytes(8), "needs 12"),
        ("float32", [2], some_bytes(8), "not known"),
        (1, [2], some_bytes(8), "not known"),
        ({"QFloat": {"q": 1}}, [2], some_bytes(8), "quantised"),
        ({"Bool": "U32"}, [2], some_bytes(8), "four bytes"),
        ("F32", [-2], some_bytes(8), "no list of sizes"),
        ("F32", [2.0], some_bytes(8), "no list of sizes"),
        ("F32", [True, 2], some_bytes(8), "no list of sizes"),
        ("F32", None, some_bytes(8), "no list of sizes"),
        ("F32", [2**63, 2**63], some_bytes(8), "more elements"),
        ("F32", [1] * 70, some_bytes(4), "70 dimensions"),
        ("F32", [2], None, "its bytes are none"),
        ("F32", [2], "text", "its bytes are none"),
        ("F32", [2], [1, 2, 300], "its bytes are none"),
    ],
)
def test_a_tensor_that_cannot_be_read_is_listed_beside_its_neighbours(
    dtype: Any, shape: Any, raw: Any, why: str
) -> None:
    contents = opened(record({"a": parameter(dtype, shape, raw), "b": parameter("U8", [1], b"1")}))
    bad, good = contents.tensors
    assert why in bad.unreadable
    assert codes(contents) == ["unreadable-tensor"]
    with pytest.raises(TensorError):
        bad.read()
    assert good.read().tobytes() == b"1"


def test_a_parameter_from_before_0_14_is_listed() -> None:
    item = {"w": {"id": "x", "param": {"value": [1.0, 2.0], "shape": [2]}}}
    (tensor,) = opened(record(item)).tensors
    assert (tensor.key, tensor.shape) == ("w", (2,))
    assert "before Burn 0.14" in tensor.unreadable


def test_bytes_as_a_list_of_numbers_are_read_as_burn_reads_them() -> None:
    (tensor,) = opened(record({"w": parameter("U8", [3], [1, 2, 255])})).tensors
    assert tensor.read().tolist() == [1, 2, 255]


def test_what_burn_would_refuse_or_drop_is_a_finding() -> None:
    item = {"w": parameter("U8", [1], b"12")}
    assert codes(opened(record(item))) == ["longer-tensor"]
    assert codes(opened(pack({"metadata": METADATA, "item": {}}))) == ["no-b"]
    assert codes(opened(pack({"item": {}, "_b": []}))) == ["no-metadata"]
    assert codes(opened(record({}) + b"x")) == ["bytes-behind"]
    twice = Raw(b"\x82" + pack("a") + pack(None) + pack("a") + pack(None))
    assert codes(opened(record(twice))) == ["repeated-name"]


def test_bytes_outside_tensors_are_shown_by_their_size() -> None:
    tree = opened(record({"x": b"123", "y": [b"4"]})).tree
    assert isinstance(tree, Dict)
    assert (tree["x"], tree["y"]) == ("3 bytes", ["1 bytes"])


START = b"\x83" + pack("metadata") + pack(METADATA) + pack("item")
BROKEN = {
    "a list of 2^32": START + b"\xdd\xff\xff\xff\xff",
    "a map of 2^32": START + b"\xdf\xff\xff\xff\xff",
    "a text of 2^32": START + b"\xdb\xff\xff\xff\xff",
    "bytes of 2^32": START + b"\xc6\xff\xff\xff\xff",
    "a long text": START + pack("x" * 2_000_000),
    "an extension": START + b"\xd4\x01\x00" + bytes(50),
    "a timestamp": START + b"\xd6\xff" + bytes(50),
    "the unused byte": START + b"\xc1" + bytes(50),
    "bad text": START + b"\xa1\xff" + bytes(50),
    "a key that is a list": START + b"\x81\x91\x01\x01" + bytes(50),
    "a key that is nothing": START + b"\x81\xc0\x01" + bytes(50),
    "a key with a point": START + b"\x81" + pack(1.5) + b"\x01" + bytes(50),
    "depth": START + b"\x91" * 500_000 + b"\x01",
    "many lists": START + b"\xdd" + (6_000_000).to_bytes(4, "big") + b"\x90" * 6_000_000,
    "many maps": START + b"\xdd" + (6_000_000).to_bytes(4, "big") + b"\x80" * 6_000_000,
    "nothing behind": START,
    "no item": b"\x81" + pack("metadata") + pack(METADATA),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_file_is_one_of_our_errors(why: str) -> None:
    with pytest.raises(OpenError) as caught:
        opened(BROKEN[why])
    assert caught.value.code in {"broken-record", "cut-off", "no-record"}
    assert caught.value.next_step


def test_weights_stay_on_disk_while_opening() -> None:
    item = {str(n): parameter("U8", [1_000_000], some_bytes(1_000_000)) for n in range(5)}
    source = MemorySource(record(item))
    assert len(formats.read(source).tensors) == 5
    assert source.bytes_read < 50_000


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=18) | st.dictionaries(st.text(max_size=4), inner, max_size=18),
    max_leaves=40,
)


@given(_values)
def test_the_walk_gives_back_any_value(value: object) -> None:
    def plain(node: object) -> object:
        if isinstance(node, Dict):
            return {key: plain(inner) for key, inner in node.pairs}
        return [plain(each) for each in node] if isinstance(node, list) else node

    raw = pack(value)
    found, end, seen = walk(MemorySource(raw + b"more"), lambda node: node)
    assert (plain(found), end, seen) == (value, len(raw), raw)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_our_problem(raw: bytes) -> None:
    try:
        _, end, _ = walk(MemorySource(raw), lambda node: node)
    except MsgpackProblem:
        return
    assert 0 < end <= len(raw)
