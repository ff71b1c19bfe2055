"""Plain pickles of arrays and tensors, as pickle.dump writes them in every protocol."""

from __future__ import annotations

import io
import itertools
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest

from tests.formats.suite import FormatSuite
from tests.make import legacy
from tests.make import pickles as p
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import dtype_named
from workbench.core.tree import Dict
from workbench.errors import NotACheckpointError, OpenError, TensorError
from workbench.formats.plain_pickle import sniff

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32")
DTYPES += ("float64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "net.pkl"))


def array(dtype: str, shape: Any, raw: bytes) -> Any:
    return np.frombuffer(bytearray(raw), dtype_named(dtype).numpy).reshape(shape)


class TestPickleOfArrays(FormatSuite):
    format_name: ClassVar[str] = "pickle"
    dtypes: ClassVar[tuple[str, ...]] = DTYPES
    protocol: ClassVar[int] = 4

    def build(self, parts: Any) -> tuple[bytes, list[int]]:
        data = pickle.dumps({key: array(dtype, shape, raw) for key, dtype, shape, raw in parts}, self.protocol)
        return data, [2, 11, len(data) // 2, len(data)]


class TestPickleOfArraysProtocol3(TestPickleOfArrays):
    protocol = 3


class TestPickleOfArraysProtocol5(TestPickleOfArrays):
    protocol = 5


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_are_read(protocol: int) -> None:
    base = np.arange(24, dtype="f8").reshape(2, 3, 4)
    arrays = {
        "plain": base,
        "fortran": np.asfortranarray(base),
        "cut": base[:, ::2],
        "big": base.astype(">i4"),
        "bool": base > 3,
        "bfloat16": base.astype(ml_dtypes.bfloat16),
        "empty": base[:0],
        "scalar": np.array(7.5),
        "bytes": np.arange(256, dtype="u1"),
        "accents": np.frombuffer("äé".encode() * 8, "u1"),
        "large": np.arange(5000, dtype="i2"),
    }
    contents = opened(pickle.dumps({"model": arrays, "twice": [base, base]}, protocol))
    assert [t.key for t in contents.tensors] == [*(f"model.{key}" for key in arrays), "twice.0", "twice.1"]
    for tensor, (key, wanted) in zip(contents.tensors, arrays.items(), strict=False):
        read = tensor.read()
        assert read.shape == wanted.shape, key
        assert read.dtype == wanted.dtype.newbyteorder("="), key
        assert read.tobytes() == wanted.astype(wanted.dtype.newbyteorder("=")).tobytes(), key
    assert contents.findings == ()


@pytest.mark.parametrize("protocol", range(6))
def test_scalars_are_numbers(protocol: int) -> None:
    values = {"f": np.float32(1.5), "i": np.int64(-3), "b": np.bool_(True), "c": np.complex64(1 + 2j)}
    values["h"] = ml_dtypes.bfloat16(2.5)
    contents = opened(
        pickle.dumps({key: value for key, value in values.items() if key != "h" or protocol > 1}, protocol)
    )
    tree = contents.tree
    assert isinstance(tree, Dict)
    assert [tree[key] for key in "fibc"] == [1.5, -3, True, 1 + 2j]
    assert contents.tensors == ()


def test_arrays_that_hold_no_numbers_are_listed_and_not_read() -> None:
    arrays = {
        "objects": np.array([None, {}], dtype=object),
        "text": np.array(["ab", "c"]),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "records": np.zeros(2, dtype=[("x", "f4"), ("y", "i2")]),
        "fine": np.ones(2, "f4"),
    }
    for protocol in range(6):
        contents = opened(pickle.dumps(arrays, protocol))
        assert [t.key for t in contents.tensors] == list(arrays)
        assert [bool(t.unreadable) for t in contents.tensors] == [True, True, True, True, False]
        assert contents.tensors[-1].read().tolist() == [1, 1]


def test_an_array_of_python_2_is_read_though_its_bytes_are_text() -> None:
    for raw in (b"\xc3\xa9\xc3\xa9", b"\xe9\xff\x00\x01", b"abcd"):
        dtype = p.call(p.name("numpy", "dtype"), p.text("u1"), p.number(0), p.number(1))
        dtype += (
            p.tuple_of(p.number(3), p.text("|"), p.NONE, p.NONE, p.NONE, p.number(-1), p.number(-1), p.number(0)) + b"b"
        )
        made = p.call(
            p.name("numpy.core.multiarray", "_reconstruct"), p.name("numpy", "ndarray"), p.numbers([0]), b"U\x01b"
        )
        state = p.tuple_of(p.number(1), p.numbers([4]), dtype, p.boolean(False), b"U\x04" + raw)
        (tensor,) = opened(p.pickle(p.dict_of((p.text("w"), made + state + b"b")))).tensors
        assert tensor.read().tobytes() == raw


def test_an_array_whose_bytes_do_not_fill_its_shape_is_unreadable() -> None:
    data = pickle.dumps({"w": np.arange(4, dtype="f4")}, 4)
    contents = opened(data.replace(b"K\x04\x85", b"K\x05\x85"))
    assert "take 20 bytes, but it has 16" in contents.tensors[0].unreadable


def test_an_array_of_a_state_that_numpy_does_not_take_is_listed_and_never_read_as_empty() -> None:
    bare = p.call(
        p.name("numpy.core.multiarray", "_reconstruct"), p.name("numpy", "ndarray"), p.numbers((0,)), p.text("b")
    )
    state = p.tuple_of(p.number(1), p.numbers((-2,)), p.text("no dtype"), p.boolean(False), p.text("x"))
    contents = opened(p.pickle(p.dict_of((p.text("w"), bare + state + b"b"))))
    (tensor,) = contents.tensors
    with pytest.raises(TensorError, match="'w' cannot be read: the file gives it a state"):
        tensor.read()
    assert [finding.code for finding in contents.findings] == ["odd-pickle"]


def test_large_byte_strings_stay_in_the_file() -> None:
    source = MemorySource(pickle.dumps({"w": np.zeros(10_000_000), "b": np.arange(3.0)}, 4), "net.pkl")
    contents = formats.read(source)
    assert [t.key for t in contents.tensors] == ["w", "b"]
    assert source.bytes_read < 300_000
    assert contents.tensors[1].read().tolist() == [0, 1, 2]


def test_a_pickle_without_tensors_opens() -> None:
    for protocol, value in itertools.product(range(6), ({"w": 1}, [1, 2], {"a": {"b": "text " * 2000}})):
        contents = opened(pickle.dumps(value, protocol))
        assert (contents.format, contents.tensors) == ("pickle", ())


@pytest.mark.parametrize(
    "text", [b"Indeed. This is text.", b"(in brackets).", b"None of it.", b"c\nd\n", b"Very long " * 999]
)
def test_text_is_no_pickle(text: bytes) -> None:
    assert not sniff(MemorySource(text))
    with pytest.raises(NotACheckpointError):
        opened(text)


def test_what_a_pickle_would_call_is_a_finding_also_behind_its_end(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    call = p.call(p.name("os", "system"), p.text(f"touch {marker}"))
    inside = opened(p.pickle(p.dict_of((p.text("x"), call))))
    assert [f.code for f in inside.findings] == ["runs-a-program"]
    behind = opened(p.pickle(p.dict_of((p.text("x"), p.NONE))) + p.pickle(call))
    assert {f.code for f in behind.findings} == {"runs-a-program", "odd-pickle"}
    assert not marker.exists()


# Streams inside pickles.


def nested(stream: bytes) -> bytes:
    return p.call(p.name("torch.storage", "_load_from_bytes"), b"B" + len(stream).to_bytes(4, "little") + stream)


def root_of(stream: bytes) -> formats.Contents:
    return opened(p.pickle(p.dict_of((p.text("w"), legacy.tensor(nested(stream), (2,), (1,)))), 3))


STREAM = legacy.stream(legacy.storage("7", 2), ("7", 2, np.array([1, 2], "<f4").tobytes()))


def test_a_tensor_whose_storage_is_a_stream_is_read() -> None:
    contents = root_of(STREAM)
    assert contents.tensors[0].read().tolist() == [1, 2]
    assert contents.findings == ()


@pytest.mark.parametrize(
    "stream", [STREAM[:-1], STREAM[:40], b"", b"text", STREAM.replace(b"\x02\0\0\0\0\0\0\0", b"\x03\0\0\0\0\0\0\0")]
)
def test_a_broken_stream_leaves_its_tensor_unreadable(stream: bytes) -> None:
    (tensor,) = root_of(stream).tensors
    assert tensor.unreadable


def test_streams_nest_two_deep_and_no_deeper() -> None:
    inner = STREAM
    for depth in range(1, 4):
        (tensor,) = root_of(inner).tensors
        assert bool(tensor.unreadable) == (depth > 2)
        inner = legacy.stream(nested(inner))


def test_the_same_bytes_cannot_be_read_again_and_again() -> None:
    stream = legacy.stream(legacy.storage("7", 2**20), ("7", 2**20, bytes(2**22)))
    once = (
        p.name("torch.storage", "_load_from_bytes")
        + b"q\0"
        + b"B"
        + len(stream).to_bytes(4, "little")
        + stream
        + b"q\1"
    )
    again = b"h\0h\1\x85R" * 40
    with_all = p.proto(3) + p.EMPTY_LIST + p.MARK + once + b"\x85R" + again + b"e" + p.STOP
    with pytest.raises(OpenError):
        opened(with_all[:-1])
    source = MemorySource(with_all, "net.pkl")
    formats.read(source)
    assert source.bytes_read < 2_000_000


def test_a_call_inside_a_nested_stream_is_a_finding(tmp_path: Path) -> None:
    call = p.call(p.name("os", "system"), p.text(f"touch {tmp_path / 'marker'}")) + b"0"
    contents = root_of(legacy.stream(call + legacy.storage("7", 2), ("7", 2, bytes(8))))
    assert [f.code for f in contents.findings] == ["runs-a-program"]
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_tensors_that_torch_pickles_come_back_bit_for_bit(protocol: int) -> None:
    torch = load_torch()
    base = torch.randn(3, 4)
    tensors = OrderedDict(
        a=base,
        t=base.t(),
        cut=base[1:, ::2],
        half=base.half(),
        b16=base.bfloat16(),
        p=torch.nn.Parameter(base),
        large=torch.arange(5000),
    )
    out = io.BytesIO()
    pickle.dump({"state_dict": tensors, "epoch": 1}, out, protocol)
    contents = opened(out.getvalue())
    assert [t.key for t in contents.tensors] == [f"state_dict.{key}" for key in tensors]
    for tensor, wanted in zip(contents.tensors, tensors.values(), strict=True):
        raw = wanted.detach().contiguous().clone().flatten().view(torch.uint8).numpy().tobytes()
        assert tensor.read().tobytes() == raw
    assert contents.findings == ()
