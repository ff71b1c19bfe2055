"""burnpack: what Burn's own crates wrote and read, and what hostile metadata may cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.suite import FormatSuite, Part, some_bytes
from tests.make.burnpack import burnpack_file, described, with_metadata
from tests.oracles import corpus
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import TensorRef
from workbench.errors import OpenError, TensorError, WorkbenchError
from workbench.formats.cbor import CborProblem, decode

SPELLINGS = {
    "bool": {"Bool": "Native"},
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
}
VERSIONS = ("0.19.1", "0.20.1", "0.21.0", "0.22.1", "0.23.0-pre.1")


class TestBurnpack(FormatSuite):
    format_name: ClassVar[str] = "burnpack"
    dtypes: ClassVar[Sequence[str]] = tuple(SPELLINGS)

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        spelt = [(key, SPELLINGS[dtype], shape, raw) for key, dtype, shape, raw in parts]
        data = burnpack_file(spelt)
        ends = [256 + entry["data_offsets"][1] for entry in described(spelt)[0].values()]
        return data, [0, 4, 6, 10, 256, *ends]


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "made.bpk"))


def codes(contents: formats.Contents) -> list[str]:
    return [finding.code for finding in contents.findings]


def entry(**other: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | other


def one(**other: Any) -> bytes:
    return with_metadata({"tensors": {"a": entry(**other)}}, some_bytes(8))


def spelling(tensor: TensorRef) -> str:
    words = {"Bool" if name == "bool" else str(word): name for name, word in SPELLINGS.items()} | {"Flex32": "float32"}
    return next(word for word, name in words.items() if name == tensor.dtype.name)


@pytest.mark.parametrize("version", VERSIONS)
def test_reads_what_burn_wrote_as_that_burn_reads_it(version: str) -> None:
    place = corpus("golden/bpk")
    answers = json.loads((place / f"{version}.json").read_text())
    n = 0
    for name, answer in answers.items():
        if "read" not in answer:
            continue
        contents = formats.read(MemorySource((place / version / f"{name}.bpk").read_bytes(), name))
        want = answer["read"]
        if "keys" in want:
            assert sorted(tensor.key for tensor in contents.tensors) == sorted(want["keys"]), name
        else:
            assert {tensor.key for tensor in contents.tensors} == set(want["tensors"]), name
        for tensor in contents.tensors:
            told = want.get("tensors", {}).get(tensor.key)
            digest = hashlib.sha256(tensor.read().tobytes()).hexdigest()
            if told is not None:
                assert (list(tensor.shape), digest) == (told["shape"], told["sha256"]), (name, tensor)
                assert spelling(tensor) == told["dtype"].replace("Flex32", "F32"), (name, tensor)
        n += 1
    assert n >= 7


def test_the_old_layout_gives_the_same_values_as_the_new_one() -> None:
    place = corpus("golden/bpk")
    names = sorted(path.name for path in (place / "0.19.1").iterdir())
    assert len(names) >= 5
    for name in names:
        old, new = (formats.read(MemorySource((place / v / name).read_bytes(), v)) for v in ("0.19.1", "0.20.1"))
        assert {t.key: t.read().tobytes() for t in old.tensors} == {t.key: t.read().tobytes() for t in new.tensors}
        assert codes(old) == (["packed-layout"] if old.tensors else [])
        assert codes(new) == []


# Ours is Burn 0.22's answer; these differ on purpose: one tensor is refused there with the whole file, here alone;
# the oldest spelling and the oldest layout are read here as well.
OTHERWISE = {"too_long_for_shape", "too_short_for_shape", "bool_text", "packed_no_padding", "bool_u32", "dtype_lower"}


def test_hand_made_files_read_as_burn_0_22_reads_them() -> None:
    place = corpus("golden/bpk")
    answers = json.loads((place / "foreign.json").read_text())
    assert len(answers) > 30
    for name, by_version in answers.items():
        (want,) = [each for each in by_version if "0.22.1" in each["versions"]]
        source = MemorySource((place / "foreign" / f"{name}.bpk").read_bytes(), name)
        if name in OTHERWISE:
            assert formats.read(source).tensors, name
        elif "error" in want:
            with pytest.raises(OpenError) as caught:
                formats.read(source)
            assert caught.value.next_step, name
        else:
            found = {t.key: hashlib.sha256(t.read().tobytes()).hexdigest() for t in formats.read(source).tensors}
            assert found == {key: tensor["sha256"] for key, tensor in want["tensors"].items()}, name


def test_a_packed_file_without_a_version_is_told_by_its_size_and_noted() -> None:
    data = burnpack_file([("a", "F32", (2,), some_bytes(8)), ("b", "U8", (3,), b"123")], packed=True)
    contents = opened(data)
    assert [tensor.read().tobytes() for tensor in contents.tensors] == [some_bytes(8), b"123"]
    assert codes(contents) == ["packed-layout"]


def test_a_file_that_names_a_later_burn_is_never_taken_for_the_old_layout() -> None:
    told = {"metadata": {"version": "0.22.1"}}
    data = burnpack_file([("a", "U8", (3,), b"123")], **told)
    assert opened(data).metadata == {"version": "0.22.1"}
    with pytest.raises(OpenError, match="should have 259 bytes") as caught:
        opened(burnpack_file([("a", "U8", (3,), b"123")], packed=True, **told))
    assert caught.value.code == "cut-off"


def test_scalars_of_a_record_are_values_of_the_tree() -> None:
    numbers = {"step": {"UInt": 3}, "lr": {"Float": 0.5}, "on": {"Bool": True}, "a": {"Int": 9}}
    contents = opened(burnpack_file([("a", "U8", (1,), b"1")], scalars=numbers))
    pairs = dict(contents.tree.pairs)  # type: ignore[attr-defined]
    assert {key: value for key, value in pairs.items() if key != "a"} == {"step": 3, "lr": 0.5, "on": True}
    assert [tensor.key for tensor in contents.tensors] == ["a"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"shape": [3]}, "needs 12"),
        ({"shape": [1]}, "needs 4"),
        ({"dtype": {"QFloat": {"value": "Q8S"}}}, "quantised"),
        ({"dtype": {"Bool": "U32"}}, "four bytes"),
        ({"shape": [1] * 65 + [2]}, "66 dimensions"),
    ],
)
def test_a_tensor_that_cannot_be_read_is_listed_beside_its_neighbours(other: dict[str, Any], why: str) -> None:
    tensors = {"a": entry(**other), "b": entry(data_offsets=[256, 264])}
    contents = opened(with_metadata({"tensors": tensors}, bytes(256) + some_bytes(8)))
    bad, good = contents.tensors
    assert why in bad.unreadable
    assert codes(contents) == ["unreadable-tensor"]
    with pytest.raises(WorkbenchError, match=why):
        bad.read()
    assert good.read().tobytes() == some_bytes(8)


def test_shared_bytes_and_repeated_names_and_bytes_behind_are_findings() -> None:
    tensors = {"a": entry(), "b": entry(data_offsets=[4, 12])}
    assert codes(opened(with_metadata({"tensors": tensors}, some_bytes(12)))) == ["shared-bytes"]
    assert codes(opened(one() + b"more")) == ["bytes-behind"]
    name = cbor2.dumps("a")
    twice = b"\xa1\x67tensors\xa2" + name + cbor2.dumps(entry(shape=[9])) + name + cbor2.dumps(entry())
    contents = opened(with_metadata(twice, some_bytes(8)))
    assert (codes(contents), contents.tensors[0].shape) == (["repeated-name"], (2,))


REFUSED = {
    "no map": with_metadata([1]),
    "no tensors": with_metadata({}),
    "tensors is a list": with_metadata({"tensors": []}),
    "metadata is null": with_metadata({"tensors": {}, "metadata": None}),
    "a number in metadata": with_metadata({"tensors": {}, "metadata": {"a": 1}}),
    "a text as scalar": with_metadata({"tensors": {}, "scalars": {"a": {"Int": "x"}}}),
    "an entry that is no map": with_metadata({"tensors": {"a": 1}}),
    "a negative size": one(shape=[-2]),
    "a float size": one(shape=[2.0]),
    "a boolean size": one(shape=[True, 2]),
    "no shape": one(shape=None),
    "a thousand dimensions": one(shape=[1] * 1000),
    "three offsets": one(data_offsets=[0, 4, 8]),
    "offsets reversed": one(data_offsets=[8, 0]),
    "beyond the end": one(data_offsets=[2**60, 2**60 + 8]),
    "a negative id": one(param_id=-1),
    "a tag": with_metadata(b"\xa1\x67tensors\xd9\x01\x02\x80"),
    "a big number": with_metadata(b"\xa1\x67tensors\xc2\x41\x01"),
    "a key that is a number": with_metadata({"tensors": {1: entry()}}),
    "a key that is a list": with_metadata(b"\xa1\x81\x01\x01"),
    "bad text": with_metadata(b"\xa1\x61\xff\x01"),
    "a cut map": with_metadata(b"\xa2\x61a\x01"),
    "an endless list": with_metadata(b"\xa1\x61a\x9f"),
    "a break in a map": with_metadata(b"\xbf\x61a\xff"),
    "a break alone": with_metadata(b"\xff"),
    "a number in a text": with_metadata(b"\xa1\x61a\x7f\x01\xff"),
    "a list of 2^63": with_metadata(b"\xa1\x61a\x9b\x7f" + b"\xff" * 7),
    "a text of 2^63": with_metadata(b"\xa1\x61a\x7b\x7f" + b"\xff" * 7),
    "a reserved length": with_metadata(b"\xa1\x61a\x1c"),
    "depth": with_metadata(b"\xa1\x61a" + b"\x81" * 500_000 + b"\x01"),
    "depth without end": with_metadata(b"\x9f" * 500_000),
    "nothing": with_metadata(b""),
    "the next version": with_metadata({"tensors": {}}, version=2),
    "a length beyond the end": b"NRUB\1\0\xff\xff\0\0" + bytes(100),
    "a length beyond the limit": b"NRUB\1\0\xff\xff\xff\xff" + bytes(100),
    "five bytes": b"NRUB\1",
}


@pytest.mark.parametrize(
    "entry",
    [{"dtype": "f32"}, {"dtype": 1}, {"dtype": {"Bool": ["Native"]}}, {"dtype": None}, {"shape": [2**63, 2]}],
    ids=str,
)
def test_a_tensor_of_a_dtype_or_size_that_cannot_be_is_listed_beside_its_neighbours(entry: dict[str, Any]) -> None:
    odd = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry
    good = {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}
    contents = opened(with_metadata({"tensors": {"bad": odd, "good": good}}, some_bytes(16)))
    bad, fine = contents.tensors
    with pytest.raises(TensorError, match="'bad' cannot be read: it"):
        bad.read()
    assert fine.read().tobytes() == some_bytes(16)[8:]
    assert codes(contents) == ["unreadable-tensor"]


@pytest.mark.parametrize("why", REFUSED)
def test_a_broken_file_is_one_of_our_errors(why: str) -> None:
    with pytest.raises(OpenError) as caught:
        opened(REFUSED[why])
    assert caught.value.code in {"broken-metadata", "cut-off", "unknown-dtype", "unknown-version", "too-big"}
    assert caught.value.next_step


@pytest.mark.parametrize("unit", [b"\x80", b"\xa0", b"\x9f\xff"])
def test_many_small_values_are_refused_before_they_take_memory(unit: bytes) -> None:
    n = 2_000_000
    with pytest.raises(CborProblem, match="bytes of memory"):
        decode(b"\xa1\x61a\x9a" + n.to_bytes(4, "big") + unit * n)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(_values, st.binary(max_size=3))
def test_the_walk_agrees_with_the_decoder_on_any_value(value: object, more: bytes) -> None:
    raw = cbor2.dumps(value)
    assert decode(raw + more) == (value, len(raw), 0)


@given(st.binary(max_size=60))
def test_any_metadata_gives_a_value_or_our_problem(raw: bytes) -> None:
    try:
        _, end, _ = decode(raw)
    except CborProblem:
        return
    assert 0 < end <= len(raw)
