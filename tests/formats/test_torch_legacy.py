"""Streams of torch.save before 1.6, built number by number and written by torch."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.formats.suite import FormatSuite
from tests.formats.test_torch_zip import CLASSES
from tests.make import legacy
from tests.make import pickles as p
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.checkpoint import open_checkpoint
from workbench.core.source import MemorySource
from workbench.core.tensor import contiguous_strides, dtype_named
from workbench.core.tree import Dict, Opaque
from workbench.errors import OpenError, TensorError
from workbench.finding import Severity

DATA = np.arange(6, dtype="<f4").tobytes()
NAMED = tuple(CLASSES)


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "net.pt"))


def refused(data: bytes) -> OpenError:
    with pytest.raises(OpenError) as caught:
        opened(data)
    assert caught.value.next_step
    return caught.value


def state_dict(**tensors: bytes) -> bytes:
    return p.ordered_dict(*((p.text(key), value) for key, value in tensors.items()))


def codes(contents: formats.Contents) -> list[str]:
    return [finding.code for finding in contents.findings]


W = legacy.tensor(legacy.storage("11", 6), (2, 3), (3, 1))
B = legacy.tensor(legacy.storage("12", 6), (6,), (1,))


class TestLegacyStream(FormatSuite):
    format_name: ClassVar[str] = "torch-legacy"
    dtypes: ClassVar[tuple[str, ...]] = NAMED

    def build(self, parts: Any) -> tuple[bytes, list[int]]:
        entries, storages = [], []
        for i, (key, dtype, shape, raw) in enumerate(parts):
            numel = len(raw) // dtype_named(dtype).itemsize
            source = legacy.storage(str(i), numel, CLASSES[dtype])
            entries.append((p.text(key), legacy.tensor(source, shape, contiguous_strides(shape))))
            storages.append((str(i), numel, raw))
        made = legacy.stream_parts(p.ordered_dict(*entries), storages)
        ends = [*itertools.accumulate(map(len, made))]
        return b"".join(made), ends


def test_storages_are_found_by_the_order_of_the_list_not_of_the_object() -> None:
    contents = opened(legacy.stream(state_dict(b=B, w=W), ("11", 6, DATA), ("12", 6, DATA[::-1])))
    assert [t.key for t in contents.tensors] == ["b", "w"]
    assert contents.tensors[1].read().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert contents.tensors[0].read().tobytes() == DATA[::-1]
    assert codes(contents) == []


def test_a_view_of_a_storage_lies_inside_its_root() -> None:
    view = legacy.storage("11", 6, view=("99", 2, 3))
    contents = opened(legacy.stream(state_dict(v=legacy.tensor(view, (2,), (1,), 1)), ("11", 6, DATA)))
    assert contents.tensors[0].read().tolist() == [3, 4]
    outside = legacy.tensor(legacy.storage("11", 6, view=("99", 2, 3)), (3,), (1,), 1)
    assert "has 3 of float32" in opened(legacy.stream(state_dict(v=outside), ("11", 6, DATA))).tensors[0].unreadable


def test_a_class_behind_a_module_id_is_that_class_and_its_source_is_only_text() -> None:
    source = p.text("import os; os.system('true')")
    wrapped = p.tuple_of(p.text("module"), p.name("nets", "Net"), p.text("nets.py"), source) + b"Q"
    state = p.dict_of(
        (p.text("_parameters"), p.dict_of((p.text("w"), W))),
        (p.text("_buffers"), p.EMPTY_DICT),
        (p.text("_modules"), p.EMPTY_DICT),
    )
    contents = opened(legacy.stream(wrapped + p.EMPTY_TUPLE + b"\x81" + state + b"b", ("11", 6, DATA)))
    assert [t.key for t in contents.tensors] == ["w"]
    assert isinstance(contents.tree, Opaque)
    assert contents.tree.class_path == "nets.Net"
    assert codes(contents) == ["unknown-name"]


def test_parameters_of_before_0_4_are_their_tensors() -> None:
    old = p.call(
        p.name("torch._utils", "_rebuild_tensor"), legacy.storage("11", 6), p.number(0), p.numbers([6]), p.numbers([1])
    )
    parameter = p.call(p.name("torch.nn.parameter", "Parameter"), old)
    parameter += p.tuple_of(p.boolean(True), p.boolean(False), p.ordered_dict()) + b"b"
    contents = opened(legacy.stream(state_dict(w=parameter), ("11", 6, DATA)))
    assert contents.tensors[0].read().tobytes() == DATA
    assert codes(contents) == []


def test_a_count_that_differs_from_the_object_is_an_error() -> None:
    for count in (5, 7, -1, 2**62):
        assert refused(legacy.stream(state_dict(w=W), ("11", count, DATA))).code == "storage-size"


@pytest.mark.parametrize("claimed", [0, 1, 3])
def test_a_storage_that_grows_with_its_views_is_read_as_torch_reads_it(torch: Any, claimed: int) -> None:
    floats = np.arange(1, 5, dtype="<f4").tobytes()
    root = state_dict(
        x=legacy.tensor(legacy.storage("a", claimed), (2, 2), (2, 1)),
        y=legacy.tensor(legacy.storage("b", 4), (4,), (1,)),
    )
    data = legacy.stream(root, ("a", 4, floats), ("b", 4, floats))
    theirs = torch.load(io.BytesIO(data), weights_only=True)
    contents = opened(data)
    assert {t.key: t.read().tolist() for t in contents.tensors} == {k: v.tolist() for k, v in theirs.items()}
    assert codes(contents) == ["longer-storage"]


@pytest.mark.parametrize("n", [-1, 2**62, 2**80])
def test_a_storage_with_an_impossible_number_of_elements_is_listed_and_its_neighbours_are_read(n: int) -> None:
    root = state_dict(
        x=legacy.tensor(legacy.storage("a", n), (4,), (1,)), y=legacy.tensor(legacy.storage("b", 2), (2,), (1,))
    )
    contents = opened(legacy.stream(root, ("a", 4, bytes(16)), ("b", 2, np.array([5, 6], "<f4").tobytes())))
    x, y = contents.tensors
    assert (x.key, x.shape, x.dtype.name) == ("x", (4,), "float32")
    with pytest.raises(TensorError, match="'x' cannot be read: the number of elements"):
        x.read()
    assert y.read().tolist() == [5, 6]
    assert codes(contents) == ["unreadable-storage"]


@pytest.mark.parametrize("view", [("v", 3, 9), ("v", -1, 2), ("v", 2**40, 2**40)])
def test_a_view_that_leaves_its_storage_is_listed_and_the_others_of_it_are_read(view: tuple[str, int, int]) -> None:
    root = state_dict(
        x=legacy.tensor(legacy.storage("a", 4, view=view), (2,), (1,)),
        y=legacy.tensor(legacy.storage("a", 4), (4,), (1,)),
    )
    contents = opened(legacy.stream(root, ("a", 4, np.arange(4, dtype="<f4").tobytes())))
    x, y = contents.tensors
    with pytest.raises(TensorError, match="'x' cannot be read: it lies in a view that leaves its storage"):
        x.read()
    assert y.read().tolist() == [0, 1, 2, 3]
    assert "unreadable-storage" in codes(contents)


def test_a_storage_missing_from_the_list_is_unreadable_and_its_neighbours_are_not() -> None:
    contents = opened(legacy.stream(state_dict(w=W, b=B), ("12", 6, DATA)))
    assert [bool(t.unreadable) for t in contents.tensors] == [True, False]
    assert contents.tensors[1].read().tobytes() == DATA
    assert codes(contents) == ["unreadable-storage"]


def test_a_storage_only_in_the_list_is_an_error_unless_it_is_the_last() -> None:
    first = legacy.stream(state_dict(w=W), ("10", 6, DATA), ("11", 6, DATA))
    assert refused(first).code == "unknown-storage"
    last = opened(legacy.stream(state_dict(w=W), ("11", 6, DATA), ("99", 6, DATA)))
    assert codes(last) == ["unused-storage"]
    assert last.tensors[0].read().tobytes() == DATA


def test_a_storage_of_two_sizes_is_unreadable() -> None:
    both = state_dict(w=W, x=legacy.tensor(legacy.storage("11", 12, "HalfStorage"), (12,), (1,)))
    contents = opened(legacy.stream(both, ("11", 6, DATA)))
    assert all("two different sizes" in t.unreadable for t in contents.tensors)


def test_bytes_behind_the_last_storage_are_a_finding() -> None:
    contents = opened(legacy.stream(state_dict(w=W), ("11", 6, DATA)) + b"more")
    assert codes(contents) == ["bytes-after-stream"]


@pytest.mark.parametrize(
    "data",
    [
        legacy.stream(state_dict(w=W), ("11", 6, DATA), ("11", 6, DATA)),
        b"".join(legacy.stream_parts(state_dict(w=W), [("11", 6, DATA)], version=p.number(1000))),
        legacy.MAGIC + p.pickle(p.number(1001)) + legacy.SYS_INFO + p.pickle(p.NONE) + p.pickle(p.NONE),
    ],
    ids=["key twice", "other version", "no list of keys"],
)
def test_a_stream_that_contradicts_itself_is_an_error(data: bytes) -> None:
    assert refused(data).code == "broken-stream"


@pytest.mark.parametrize("place", range(5))
def test_a_call_in_any_of_the_five_pickles_is_a_finding_and_never_made(place: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    call = p.call(p.name("os", "system"), p.text(f"touch {marker}")) + b"0"
    parts = legacy.stream_parts(state_dict(w=W), [("11", 6, DATA)])
    parts[place] = parts[place][:2] + call + parts[place][2:]
    if place == 0:
        # Not the magic number any more: a plain pickle, with more behind it.
        assert "runs-a-program" in codes(opened(b"".join(parts)))
    else:
        contents = opened(b"".join(parts))
        assert [f.severity for f in contents.findings if f.code == "runs-a-program"] == [Severity.ERROR]
        assert contents.tensors[0].read().tobytes() == DATA
    assert not marker.exists()


def test_a_break_behind_a_dangerous_name_tells_of_it() -> None:
    data = legacy.MAGIC + p.pickle(p.number(1001)) + legacy.SYS_INFO + p.proto() + p.name("os", "system") + b"\xff"
    assert "os.system" in refused(data).cause


def test_a_pickle_of_many_windows_is_read_as_one_of_a_single_window() -> None:
    entries = {f"layers.{i}.weight": legacy.tensor(legacy.storage(str(i), 1), (1,), (1,)) for i in range(3000)}
    storages = [(str(i), 1, np.array([i], "<f4").tobytes()) for i in range(3000)]
    data = legacy.stream(state_dict(**entries), *storages)
    source = MemorySource(data, "net.pt")
    contents = formats.read(source)
    assert [float(t.read()[0]) for t in contents.tensors] == list(range(3000))
    assert len(source.ranges) > 10


# torch as oracle.


@pytest.fixture
def torch() -> Any:
    return load_torch()


def raw(torch: Any, tensor: Any) -> bytes:
    solid = tensor.detach().resolve_conj().resolve_neg().contiguous().clone().flatten()
    return bytes(solid.view(torch.uint8).numpy().tobytes()) if solid.numel() else b""


@pytest.mark.parametrize("protocol", range(6))
def test_what_torch_writes_comes_back_bit_for_bit(torch: Any, tmp_path: Path, protocol: int) -> None:
    tensors = {}
    for name in (*NAMED, "uint16", "float8_e4m3fn"):
        dtype = getattr(torch, name)
        data = torch.randint(0, 2 if name == "bool" else 256, (dtype.itemsize * 12,), dtype=torch.uint8)
        tensors[name] = data.view(dtype).reshape(3, 4)
    base = torch.randn(4, 5, 6)
    tensors |= {"base": base, "t": base.permute(2, 0, 1), "cut": base[1:, ::2, 3], "wide": base[:, :1].expand(4, 9, 6)}
    tensors |= {"scalar": base[0, 0, 0], "empty": base[:0], "conj": torch.randn(3, dtype=torch.complex64).conj()}
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3))
    path = tmp_path / "net.pt"
    torch.save(tensors, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    ckpt = open_checkpoint(path)
    assert ckpt.format == "torch-legacy"
    assert list(ckpt) == list(tensors)
    for key, tensor in tensors.items():
        ref = ckpt.tensor(key)
        assert (ref.dtype.name, ref.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)), key
        assert ref.read().tobytes() == raw(torch, tensor), key
    assert len({ckpt.tensor(key).storage.id for key in ("base", "t", "cut", "wide")}) == 1


def test_a_whole_model_has_the_names_of_its_state_dict(torch: Any, tmp_path: Path) -> None:
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.LSTM(2, 3), nn.MultiheadAttention(4, 2))
    )
    torch.save({"model": model, "epoch": 3}, tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    ckpt = open_checkpoint(tmp_path / "net.pt")
    assert list(ckpt) == ["model." + key for key in model.state_dict()]
    for key, tensor in model.state_dict().items():
        assert ckpt["model." + key].tobytes() == raw(torch, tensor)
    assert isinstance(ckpt.tree, Dict)
    assert ckpt.tree["epoch"] == 3
