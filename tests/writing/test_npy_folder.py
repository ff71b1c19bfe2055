"""Tensors as .npy files in a folder."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from tests.writing.made import ALL_DTYPES, EXTRA, HOSTILE_NAMES, bits, checkpoint_of, flat, tensor_of, values
from workbench.core.tensor import dtype_named
from workbench.writing.items import Item
from workbench.writing.npy_folder import NpyFolder, npy_folder


def export(arrays, tmp_path: Path) -> Path:
    plan = wb.Mapping(burn=None).plan(checkpoint_of(tmp_path / "net.safetensors", arrays))
    wb.export(plan, tmp_path / "out", formats=["npy"])
    return tmp_path / "out"


def test_numpy_alone_reads_every_dtype(tmp_path):
    arrays = {dtype: values(dtype, (3, 4), 5) for dtype in ALL_DTYPES}
    folder = export(arrays, tmp_path) / "npy"
    index = json.loads((folder / "index.json").read_text())["tensors"]
    assert index.keys() == arrays.keys()
    for name, facts in index.items():
        array = np.load(folder / facts["file"], allow_pickle=False)
        assert array.dtype.name == facts.get("stored", facts["dtype"])
        assert ("stored" in facts) == (name in EXTRA.split())
        assert list(array.shape) == facts["shape"] == [3, 4]
        assert array.tobytes() == arrays[name].tobytes()


def test_odd_shapes_come_back(tmp_path):
    arrays = {
        "scalar": values("float32", ()),
        "empty": values("int16", (0, 3)),
        "deep": values("uint8", (1,) * 31 + (2,)),
    }
    folder = export(arrays, tmp_path)
    assert {name: bits(array) for name, array in flat(wb.load_export(folder)).items()} == {
        name: bits(array) for name, array in arrays.items()
    }


def test_no_file_is_named_by_a_key(tmp_path):
    arrays = {name: values("int8", (2,), n) for n, name in enumerate(filter(None, HOSTILE_NAMES))}
    folder = export(arrays, tmp_path)
    found = sorted(path.name for path in (folder / "npy").iterdir())
    assert found == [*(f"{n:06}.npy" for n in range(len(arrays))), "index.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "out"]
    index = json.loads((folder / "npy" / "index.json").read_text())["tensors"]
    assert {name: np.load(folder / "npy" / facts["file"]).tobytes() for name, facts in index.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_load_export_opens_an_export_that_has_only_the_folder(tmp_path):
    arrays = {f"a.{dtype}": values(dtype, (2, 2), 3) for dtype in ALL_DTYPES}
    found = flat(wb.load_export(export(arrays, tmp_path)))
    assert {name: bits(array) for name, array in found.items()} == {name: bits(array) for name, array in arrays.items()}


@pytest.mark.parametrize("change", ["flip", "cut", "longer", "header", "missing", "index", "link-out"])
def test_load_export_refuses_a_folder_that_was_changed(change, tmp_path):
    folder = export({"a": values("float32", (4,)), "b": values("float32", (4,), 1)}, tmp_path)
    path, index = folder / "npy" / "000001.npy", folder / "npy" / "index.json"
    data = path.read_bytes()
    if change == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif change == "cut":
        path.write_bytes(data[:-1])
    elif change == "longer":
        path.write_bytes(data + b"\0")
    elif change == "header":
        path.write_bytes(data.replace(b"<f4", b"<i4"))
    elif change == "missing":
        path.unlink()
    elif change == "index":
        index.write_bytes(index.read_bytes().replace(b"000001", b"000000"))
    else:
        index.write_bytes(index.read_bytes().replace(b"000001.npy", b"../../net.npy"))
    with pytest.raises(wb.OpenError) as caught:
        wb.load_export(folder)
    assert caught.value.code in ("export-changed", "export-unreadable", "export-incomplete")


@pytest.mark.parametrize("n", [262_143, 262_144, 262_145])
def test_files_around_a_mebibyte_are_what_numpy_writes(n, tmp_path):
    array = values("int32", (n,))
    folder = export({"w": array}, tmp_path) / "npy"
    np.save(tmp_path / "numpy.npy", array)
    assert (folder / "000000.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_a_folder_that_is_not_what_was_written_is_not_put_in_place(tmp_path, monkeypatch):
    plan = wb.Mapping().plan(checkpoint_of(tmp_path / "net.safetensors", {f"t{n}": values("int8", (4,)) for n in "ab"}))
    real = NpyFolder.write
    for change in ("value", "index", "gone"):

        def write(self, folder, meter, change=change):
            crcs = real(self, folder, meter)
            path = folder / "npy" / "000001.npy"
            if change == "value":
                path.write_bytes(path.read_bytes()[:-1] + b"?")
            elif change == "gone":
                path.unlink()
            else:
                index = folder / "npy" / "index.json"
                index.write_bytes(index.read_bytes().replace(b'"tb"', b'"tc"'))
            return crcs

        monkeypatch.setattr(NpyFolder, "write", write)
        with pytest.raises(wb.ExportError) as caught:
            wb.export(plan, tmp_path / "out", formats=["npy"])
        assert caught.value.code == "not-verified"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors"]


def test_an_export_of_many_files_can_be_cancelled_and_replaced_from_its_own_kind(tmp_path):
    arrays = {f"t{n}": values("float32", (2,), n) for n in range(1200)}
    folder = export(arrays, tmp_path) / "npy"
    plan = wb.Mapping(burn=None).plan(wb.open(folder))
    asked = iter(range(10_000))
    with pytest.raises(wb.ExportCancelled):
        wb.export(plan, tmp_path / "two", formats=["npy"], cancel=lambda: next(asked) > 900)
    assert not (tmp_path / "two").exists()
    wb.export(plan, tmp_path / "two", formats=["npy"])
    wb.export(plan, tmp_path / "two", formats=["npy"], overwrite=True)
    found = flat(wb.load_export(tmp_path / "two"))
    assert {name: bits(array) for name, array in found.items()} == {name: bits(array) for name, array in arrays.items()}
    with pytest.raises(wb.ExportError) as caught:
        wb.export(plan, tmp_path / "out", formats=["npy"], overwrite=True)
    assert caught.value.code == "writes-over-source"


def test_a_folder_of_an_earlier_export_is_replaced_whole(tmp_path):
    arrays = {f"t{n}": values("float32", (3,), n) for n in range(4)}
    folder = export(arrays, tmp_path)
    plan = wb.Mapping(burn=None).plan(checkpoint_of(tmp_path / "small.safetensors", {"t0": arrays["t0"]}))
    with pytest.raises(wb.ExportError) as caught:
        wb.export(plan, folder, formats=["npy"])
    assert caught.value.code == "files-exist"
    wb.export(plan, folder, formats=["npy"], overwrite=True)
    assert sorted(path.name for path in (folder / "npy").iterdir()) == ["000000.npy", "index.json"]
    assert list(flat(wb.load_export(folder))) == ["t0"]


def test_a_folder_with_files_of_others_in_it_is_never_replaced(tmp_path):
    arrays = {"t": values("float32", (3,))}
    plan = wb.Mapping(burn=None).plan(checkpoint_of(tmp_path / "net.safetensors", arrays))
    (tmp_path / "out" / "npy").mkdir(parents=True)
    (tmp_path / "out" / "npy" / "mine.npy").write_bytes(b"mine")
    with pytest.raises(wb.ExportError) as caught:
        wb.export(plan, tmp_path / "out", formats=["npy"], overwrite=True)
    assert caught.value.code == "folder-holds-more"
    assert (tmp_path / "out" / "npy" / "mine.npy").read_bytes() == b"mine"


def test_a_dtype_that_numpy_has_not_is_refused_by_name():
    tensor = replace(tensor_of("w", values("uint8", (4,))), dtype=dtype_named("float4_e2m1fn_x2"))
    with pytest.raises(wb.ExportError) as caught:
        npy_folder([Item("new.w", tensor)])
    assert caught.value.code == "format-cannot-hold"
    assert "'new.w'" in str(caught.value)


@pytest.mark.parametrize("name", ["000000.npy", "index.json"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(name, tmp_path):
    folder = export({"a": values("float32", (4,))}, tmp_path)
    (folder / "npy" / name).unlink()
    os.mkfifo(folder / "npy" / name)
    mapping = json.loads((folder / "mapping.json").read_text())
    mapping["files"] = [file for file in mapping["files"] if file["name"] != f"npy/{name}"]
    (folder / "mapping.json").write_text(json.dumps(mapping))
    with pytest.raises(wb.OpenError, match="pipe") as caught:
        wb.load_export(folder)
    assert caught.value.code == "export-unreadable"


def test_a_claim_of_more_dimensions_than_numpy_has_is_refused(tmp_path):
    folder = export({"a": values("float32", (4,))}, tmp_path)
    mapping = json.loads((folder / "mapping.json").read_text())
    mapping["rows"][0]["shape"] = [2**62] * 50_000
    (folder / "mapping.json").write_text(json.dumps(mapping))
    with pytest.raises(wb.OpenError, match="'a' has not the shape"):
        wb.load_export(folder)


def test_a_zip_whose_entries_lie_over_one_another_is_refused(tmp_path):
    plan = wb.Mapping(burn=None).plan(checkpoint_of(tmp_path / "net.safetensors", {"a": values("float32", (1000,))}))
    path = tmp_path / "out.zip"
    wb.export(plan, path, formats=["npy"])
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        begin, entries = archive.start_dir, archive.infolist()
    large = max(entries, key=lambda entry: entry.file_size)
    directory = raw[begin:-22]
    for n in range(1, 100):
        name = b"out/npy/%06d.npy" % n
        sizes = (large.CRC, large.file_size, large.file_size, len(name), 0, 0, 0, 0, 0, large.header_offset)
        directory += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0x21, *sizes) + name
    count = len(entries) + 99
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), begin, 0)
    path.write_bytes(raw[:begin] + directory + end)
    with pytest.raises(wb.OpenError) as caught:
        wb.load_export(path)
    assert caught.value.code == "export-unreadable"


def test_an_index_that_no_reader_would_take_is_refused_before_anything_is_written():
    items = [Item(chr(ord("a") + n) * 3_000_000, tensor_of("w", values("int8", (2,)))) for n in range(25)]
    assert npy_folder(items[:20]).items == tuple(items[:20])
    with pytest.raises(wb.ExportError, match=r"The names and shapes make npy/index.json too long") as caught:
        npy_folder(items)
    assert caught.value.code == "index-too-large"
