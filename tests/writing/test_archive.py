"""An export as one zip file."""

from __future__ import annotations

import os
import shutil
import zipfile

import pytest

import workbench as wb
from tests.writing.made import ALL_DTYPES, bits, checkpoint_of, flat, tree_of, values
from workbench.exporting import export, load_export, places
from workbench.writing import archive
from workbench.writing.files import FORMATS
from workbench.writing.zip_writer import ZipWriter

KINDS = [name for name in FORMATS if name != "mpk"]


@pytest.fixture
def plan(tmp_path):
    table = {f"block.{n}.{name}": values(name, (3, n + 1), n) for n, name in enumerate(ALL_DTYPES)}
    return wb.Mapping([wb.Rule("^block", "b")], reindex=False).plan(checkpoint_of(tmp_path / "x.safetensors", table))


@pytest.fixture
def common(tmp_path):
    table = {f"b.{n}": values("float32", (5, n), n) for n in range(4)}
    return wb.Mapping(reindex=False).plan(checkpoint_of(tmp_path / "y.safetensors", table))


def same(nested, plan):
    got = {name: bits(array) for name, array in flat(nested).items()}
    return got == {row.remapped: bits(row.tensor.read()) for row in plan.rows}


def test_a_folder_that_ends_in_zip_is_one_file_with_all_in_it(plan, tmp_path):
    before = tree_of(tmp_path)
    result = export(plan, tmp_path / "net.zip")
    assert tree_of(tmp_path).keys() - before.keys() == {"net.zip"}
    assert result.paths == (tmp_path / "net.zip",)
    assert result.nbytes == (tmp_path / "net.zip").stat().st_size
    export(plan, tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "net.zip") as made:
        assert made.testzip() is None
        assert {entry.compress_type for entry in made.infolist()} == {zipfile.ZIP_STORED}
        inside = {name: made.read(name) for name in made.namelist()}
    assert inside == {f"net/{name}": data for name, data in tree_of(tmp_path / "folder").items()}
    assert same(load_export(tmp_path / "net.zip"), plan)


@pytest.mark.parametrize("format", KINDS)
def test_every_format_is_read_straight_out_of_the_zip(common, tmp_path, format):
    export(common, tmp_path / "net.zip", formats=[format])
    assert same(load_export(tmp_path / "net.zip"), common)


def test_shards_are_read_out_of_the_zip(common, tmp_path):
    export(common, tmp_path / "net.zip", formats=["safetensors"], shard_size=40)
    with zipfile.ZipFile(tmp_path / "net.zip") as made:
        assert sum(name.endswith(".safetensors") for name in made.namelist()) > 1
    assert same(load_export(tmp_path / "net.zip"), common)


def test_the_same_plan_gives_the_same_zip(plan, tmp_path):
    export(plan, tmp_path / "net.zip")
    (tmp_path / "other").mkdir()
    export(plan, tmp_path / "other" / "net.zip")
    assert (tmp_path / "net.zip").read_bytes() == (tmp_path / "other" / "net.zip").read_bytes()


def test_it_unpacks_into_a_folder_of_its_name(plan, tmp_path):
    export(plan, tmp_path / "net.zip")
    shutil.unpack_archive(tmp_path / "net.zip", tmp_path)
    assert same(load_export(tmp_path / "net"), plan)
    packed = shutil.make_archive(str(tmp_path / "again"), "zip", tmp_path / "net")
    with pytest.raises(wb.OpenError, match="is compressed: unpack the zip"):
        load_export(packed)


@pytest.mark.parametrize("name", ["net.zip", "deep/er/net.ZIP", ".zip", "...zip", 'a"b.zip', os.fsdecode(b"a\xff.zip")])
def test_the_folder_inside_is_a_plain_name(common, tmp_path, name):
    export(common, tmp_path / name, formats=["npz"])
    with zipfile.ZipFile(tmp_path / name) as made:
        (folder,) = {entry.partition("/")[0] for entry in made.namelist()}
    assert folder == ("net" if "net" in name else "export")
    assert same(load_export(tmp_path / name), common)


def test_a_zip_that_is_there_is_not_written_over_unless_told(common, tmp_path):
    (tmp_path / "net.zip").write_bytes(b"mine")
    with pytest.raises(wb.ExportError, match="exists already"):
        export(common, tmp_path / "net.zip")
    assert (tmp_path / "net.zip").read_bytes() == b"mine"
    export(common, tmp_path / "net.zip", overwrite=True)
    assert same(load_export(tmp_path / "net.zip"), common)


def test_a_zip_that_does_not_read_back_is_not_put_in_place(common, tmp_path, monkeypatch):
    pack = archive.pack

    def spoilt(folder, names, path, inside, meter):
        crcs = pack(folder, names, path, inside, meter)
        data = bytearray(path.read_bytes())
        data[data.index(b"NUMPY") + 200] ^= 1
        path.write_bytes(data)
        return crcs

    monkeypatch.setattr(archive, "pack", spoilt)
    before = tree_of(tmp_path)
    with pytest.raises(wb.ExportError, match="does not read back"):
        export(common, tmp_path / "net.zip", formats=["npz"])
    assert tree_of(tmp_path) == before


def test_a_cancelled_zip_leaves_nothing(common, tmp_path):
    before = tree_of(tmp_path)
    asked = []
    with pytest.raises(wb.ExportCancelled):
        export(common, tmp_path / "deep" / "net.zip", cancel=lambda: asked.append(1) or len(asked) > 8)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("cut", [0, 1, 0.5, 0.9, -1])
def test_a_zip_that_is_cut_or_changed_is_refused(common, tmp_path, cut):
    export(common, tmp_path / "net.zip", formats=["npz"])
    data = (tmp_path / "net.zip").read_bytes()
    (tmp_path / "net.zip").write_bytes(data[: cut if isinstance(cut, int) else int(len(data) * cut)])
    with pytest.raises((wb.OpenError, wb.MappingError)):
        load_export(tmp_path / "net.zip")
    begin = data.index(b"NUMPY") + 200
    (tmp_path / "net.zip").write_bytes(data[:begin] + bytes([data[begin] ^ 1]) + data[begin + 1 :])
    with pytest.raises(wb.OpenError):
        load_export(tmp_path / "net.zip")


def test_an_archive_of_more_than_4_gib_is_read_by_others(tmp_path):
    size = (4 << 30) + 5
    with (tmp_path / "big.zip").open("xb") as file, ZipWriter(file, alignment=64) as made:

        def skip(out):
            out.seek(size - 1, os.SEEK_CUR)
            out.write(b"\1")
            return 0

        made.stream("big/model.bpk", size, skip)
        made.add("big/mapping.json", b"{}")
    with zipfile.ZipFile(tmp_path / "big.zip") as archive:
        assert archive.getinfo("big/model.bpk").file_size == size
        assert archive.read("big/mapping.json") == b"{}"
    with places.opened(tmp_path / "big.zip") as place:
        source = place.source("model.bpk")
        assert (source.size, source.read_exact(size - 2, 2)) == (size, b"\0\1")
        assert place.json("mapping.json") == {}


def test_a_zip_without_an_export_and_what_is_no_file_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as made:
        made.writestr("a/b/mapping.json", "{}")
    with pytest.raises(wb.MappingError, match="There is no export in this zip"):
        load_export(tmp_path / "other.zip")
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(wb.OpenError, match="named pipe"):
        load_export(tmp_path / "pipe.zip")
    with pytest.raises(wb.OpenError, match="no such file"):
        load_export(tmp_path / "none.zip")


def test_an_array_of_a_zip_stays_when_the_zip_is_gone(common, tmp_path):
    export(common, tmp_path / "net.zip", formats=["npy"])
    arrays = load_export(tmp_path / "net.zip")
    (tmp_path / "net.zip").unlink()
    assert same(arrays, common)


def test_progress_counts_the_packing_too(common, tmp_path):
    told = []
    export(common, tmp_path / "net.zip", formats=["npz"], progress=told.append)
    assert {each.file for each in told} == {"model.npz", "net.zip"}
    assert all(each.done <= each.total for each in told)
    assert os.listdir(tmp_path).count("net.zip") == 1
