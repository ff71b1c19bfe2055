"""Our .pt beside torch, and in Burn."""

from __future__ import annotations

import hashlib
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from tests.burn import oracle
from tests.oracles import torch as load_torch
from tests.writing.made import HOSTILE_NAMES, checkpoint_of, tensor_of, tree_of, values
from workbench.core.source import FileSource
from workbench.core.tensor import Storage, TensorRef, dtype_named
from workbench.errors import ExportError
from workbench.writing.items import Item
from workbench.writing.torch_pt import check_pt, write_pt
from workbench.writing.zip_writer import ZipWriter

DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16"),
    *("float32", "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz"),
    *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
]

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")


def written(path: Path, items) -> Path:
    with path.open("w+b") as file:
        write_pt(items, file)
    return path


def items_of(checkpoint) -> list[Item]:
    return [Item(tensor.key, tensor) for tensor in checkpoint.tensors]


def raw(tensor) -> bytes:
    th = load_torch()
    return tensor.detach().contiguous().reshape(-1).view(th.uint8).numpy().tobytes() if tensor.numel() else b""


@pytest.fixture
def everything(tmp_path):
    th = load_torch()
    th.manual_seed(0)
    base = th.arange(12.0).reshape(3, 4)
    found = {"a": base, "view": base[1:], "tied": base, "turned": base.T, "expanded": th.ones(1, 3).expand(4, 3)}
    found |= {
        "scalar": th.tensor(2.5),
        "empty": th.zeros(0, 3),
        "long": th.zeros(70_000),
        "deep": th.ones(1, 2, 1, 2, 1),
    }
    found |= {"conj": th.tensor([1 + 2j, 3 - 1j]).conj(), "ü.日本": th.ones(2), "": th.zeros(1), "flag": base > 3}
    for name in DTYPES[1:]:
        found[f"of.{name}"] = th.randint(0, 255, (64,), dtype=th.uint8).view(getattr(th, name))
    th.save(found, tmp_path / "theirs.pt")
    return found, written(tmp_path / "ours.pt", items_of(wb.open(tmp_path / "theirs.pt")))


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_every_dtype_and_view_bit_for_bit(everything, mmap):
    expected, path = everything
    loaded = load_torch().load(path, weights_only=True, mmap=mmap)
    assert list(loaded) == list(expected)
    for name, tensor in expected.items():
        got = loaded[name]
        assert (got.dtype, got.shape, got.is_contiguous()) == (tensor.dtype, tensor.shape, True), name
        assert raw(got) == raw(tensor.resolve_conj()), name


def test_tensors_that_are_one_stay_one(everything):
    _, path = everything
    loaded = load_torch().load(path, weights_only=True)
    assert loaded["a"].data_ptr() == loaded["tied"].data_ptr()
    assert loaded["a"].untyped_storage().data_ptr() != loaded["view"].untyped_storage().data_ptr()
    assert wb.open(path).ties == (("a", "tied"),)


def test_the_archive_is_as_torch_writes_it(everything):
    th = load_torch()
    _, path = everything
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(path.with_name("theirs.pt")) as theirs:
        assert ours.testzip() is None
        names = [name.removeprefix("archive/") for name in ours.namelist()]
        wanted = [name.removeprefix("theirs/") for name in theirs.namelist()]
        # Two views share a storage in the source; here each has its own.
        assert [name for name in names if not name.startswith("data/")] == [
            name for name in wanted if not name.startswith("data/")
        ]
        for name in (".format_version", ".storage_alignment", "byteorder", "version"):
            assert ours.read(f"archive/{name}") == theirs.read(f"theirs/{name}")
        assert len(ours.read("archive/.data/serialization_id")) == len(theirs.read("theirs/.data/serialization_id"))
        assert ours.read("archive/data.pkl")[:2] == b"\x80\x02"
    assert all(tensor.storage.begin % 64 == 0 for tensor in wb.open(path).tensors)
    assert th.serialization.get_unsafe_globals_in_checkpoint(path) == []


def test_the_same_tensors_give_the_same_bytes(everything, tmp_path):
    _, path = everything
    again = written(tmp_path / "again.pt", items_of(wb.open(path)))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_kept_as_it_is(name, tmp_path):
    path = written(tmp_path / "net.pt", [Item(name, tensor_of(name, values("float32", (2,))))])
    assert list(load_torch().load(path, weights_only=True)) == [name]
    assert list(tree_of(tmp_path)) == ["net.pt"]


def test_a_quantised_dtype_is_refused_by_name():
    tensor = TensorRef("q", ("q",), dtype_named("qint8"), (2,), (1,), 0, Storage("0", 2, None))
    with pytest.raises(ExportError, match=r"'q' \(qint8\): a plain tensor of torch has no such dtype"):
        check_pt([Item("q", tensor)])


def test_a_large_tensor_is_written_in_pieces(tmp_path):
    size = 200 << 20
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    storage = Storage("0", size, FileSource(tmp_path / "big"))
    tensor = TensorRef("w", ("w",), dtype_named("float32"), (size // 4,), (1,), 0, storage)
    tracemalloc.start()
    written(tmp_path / "net.pt", [Item("w", tensor)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 << 20


def test_entries_past_four_gib_have_their_places_and_sizes(tmp_path):
    size = (4 << 30) + 5
    path = tmp_path / "big.zip"
    with path.open("w+b") as file, ZipWriter(file, alignment=64) as archive:
        archive.add("first", b"1")
        archive.stream("large", size, lambda out: out.seek(size, 1) and 0)
        archive.add("last", b"last")
    with zipfile.ZipFile(path) as archive:
        assert [(entry.filename, entry.file_size) for entry in archive.infolist()] == [
            ("first", 1),
            ("large", size),
            ("last", 4),
        ]
        assert archive.read("last") == b"last"
        with archive.open("large") as entry:
            assert entry.read(3) == b"\0\0\0"


# ---- real Burn ------------------------------------------------------------------------------------------------------

NAMES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
NAMES |= {"I16": "int16", "I8": "int8", "U8": "uint8", "Bool": "bool", "Bool(Native)": "bool"}
STORES = {"pt": "PytorchStore", "bpk": "BurnpackStore", "safetensors": "SafetensorsStore"}


def described(array):
    return [array.dtype.name, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


@pytest.mark.parametrize("version", ["0.21", "0.22"])
def test_burn_reads_the_same_values_from_each_file(version, tmp_path):
    dtypes = sorted(set(NAMES.values()))
    table = {f"of.{dtype}.weight": values(dtype, (3, 2), n) for n, dtype in enumerate(dtypes)}
    table |= {"conv.weight": values("float32", (4, 2, 3, 3)), "scale": values("float32", (1,))}
    plan = wb.Mapping(burn=version, reindex=False).plan(checkpoint_of(tmp_path / "net.safetensors", table))
    wb.export(plan, tmp_path / "out", formats=list(STORES))
    questions = [
        {
            "ask": "read",
            "store": store,
            "file": str(tmp_path / "out" / f"model.{format}"),
            "rules": [],
            "reindex": False,
        }
        for format, store in STORES.items()
    ]
    wanted = {name: described(array) for name, array in table.items()}
    for answer in oracle.ask(f"burn-store-{version}", questions):
        assert "tensors" in answer, answer
        got = {key: [NAMES[one["dtype"]], one["shape"], one["sha256"]] for key, one in answer["tensors"].items()}
        assert got == wanted


def test_burn_import_lists_every_tensor_of_the_file(tmp_path):
    table = {"conv.weight": values("float32", (2, 1, 3, 3)), "fc.weight": values("float16", (2, 3))}
    plan = wb.Mapping(reindex=False).plan(checkpoint_of(tmp_path / "net.safetensors", table))
    wb.export(plan, tmp_path / "out", formats=["pt"])
    question = {"ask": "load", "store": "PyTorchFileRecorder", "file": str(tmp_path / "out" / "model.pt"), "rules": []}
    (answer,) = oracle.ask("burn-import-0.20", [question | {"debug": True}])
    listed = answer["stdout"]
    assert "Key: conv.weight\nShape: [2, 1, 3, 3]\nDtype: F32" in listed
    assert "Key: fc.weight\nShape: [2, 3]\nDtype: F16" in listed


def test_burn_0_22_reads_more_tensors_than_a_pickle_of_torch_may_have(tmp_path):
    table = {f"layers.{n}.w": np.full((1, 1), n, np.float32) for n in range(40_000)}
    plan = wb.Mapping(reindex=False).plan(checkpoint_of(tmp_path / "net.safetensors", table))
    wb.export(plan, tmp_path / "out", formats=["pt"])
    question = {"ask": "read", "store": "PytorchStore", "file": str(tmp_path / "out" / "model.pt"), "reindex": False}
    (answer,) = oracle.ask("burn-store-0.22", [question])
    assert len(answer.get("tensors", answer)) == 40_000
