"""A file while it is written: its digest, what is counted, and what becomes of a failure behind it."""

from __future__ import annotations

import errno
import os
import random
import threading
import zlib

import pytest
from blake3 import blake3

import workbench as wb
from tests.writing.made import checkpoint_of, tree_of, values
from workbench.core.source import FileSource
from workbench.exporting import export
from workbench.writing import checksums, output
from workbench.writing.progress import Meter

MB = 1 << 20


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("sizes", [[], [1], [3 * MB] * 2, [MB] * 20, [20 * MB], [5] * 1000 + [9 * MB, 1, 9 * MB]])
def test_the_digest_of_a_file_is_known_when_it_is_written(tmp_path, sizes):
    path, meter = tmp_path / "x", Meter()
    with output.created(path, meter, sum(sizes)) as file:
        for n, size in enumerate(sizes):
            file.write(bytes([n % 256]) * size)
    assert path.stat().st_size == sum(sizes)
    assert meter.digests == {path: blake3(path.read_bytes()).hexdigest()}
    assert checksums.digest_of(path) == meter.digests[path]


@pytest.mark.parametrize("size", [100, 12 * MB])
def test_it_is_right_where_the_writer_goes_back_too(tmp_path, size):
    path, meter = tmp_path / "x", Meter()
    with output.created(path, meter, size) as file:
        file.write(b"a" * size)
        file.seek(4)
        file.write(b"late")
        file.seek(0, os.SEEK_END)
        file.write(b"b" * size)
    assert meter.digests[path] == blake3(path.read_bytes()).hexdigest()
    assert path.read_bytes() == b"aaaalate" + b"a" * (size - 8) + b"b" * size


def copied_short(source, target, n, begin):
    """As the system may: fewer than asked for, and nothing any more in the middle."""
    if begin > 6 * MB:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return os.write(target, os.pread(source, min(n, 3 * MB + 1), begin))


@pytest.mark.parametrize("system", [None, copied_short])
@pytest.mark.parametrize("size", [MB, 20 * MB + 3])
def test_what_the_system_copies_is_hashed_and_counted_too(tmp_path, monkeypatch, size, system):
    if system is not None:
        monkeypatch.setattr(os, "copy_file_range", system, raising=False)
    data = random.Random(0).randbytes(size + 10)
    (tmp_path / "source").write_bytes(data)
    path, told = tmp_path / "x", []
    meter = Meter(2 * size + 8, told.append)
    with output.created(path, meter, 2 * size + 8) as file:
        file.write(b"head")
        crc = file.copy_from(FileSource(tmp_path / "source"), 5, size)
        file.write(b"between!")
        assert file.copy_from(FileSource(tmp_path / "source"), 10, size) == zlib.crc32(data[10:])
        assert file.tell() == 12 + 2 * size
    assert crc == zlib.crc32(data[5:-5])
    assert path.read_bytes() == b"head" + data[5:-5] + b"between!" + data[10:]
    assert meter.digests == {path: blake3(path.read_bytes()).hexdigest()}
    meter.begin("", "write")
    assert told[-1].done == 2 * size + 8


@pytest.mark.parametrize("sizes", [(MB, 100), (3 * MB, MB, 7), (7 * MB, 0, 2 * MB)])
def test_what_is_written_after_what_the_system_copied_is_in_the_digest_of_a_small_file_too(tmp_path, sizes):
    copied, *written = sizes
    (tmp_path / "source").write_bytes(random.Random(0).randbytes(copied))
    path, meter = tmp_path / "x", Meter()
    with output.created(path, meter, sum(sizes)) as file:
        file.write(b"head")
        file.copy_from(FileSource(tmp_path / "source"), 0, copied)
        for size in written:
            file.write(b"x" * size)
    assert path.stat().st_size == 4 + sum(sizes)
    assert meter.digests[path] == blake3(path.read_bytes()).hexdigest()


def test_it_is_right_where_the_writer_went_back_before_the_system_copied(tmp_path):
    (tmp_path / "source").write_bytes(random.Random(0).randbytes(9 * MB))
    path, meter = tmp_path / "x", Meter()
    with output.created(path, meter, 9 * MB) as file:
        file.write(b"head")
        file.copy_from(FileSource(tmp_path / "source"), 0, 9 * MB)
        file.seek(0)
        file.write(b"HEAD")
        file.seek(0, os.SEEK_END)
        file.copy_from(FileSource(tmp_path / "source"), MB, 3 * MB)
    data = (tmp_path / "source").read_bytes()
    assert path.read_bytes() == b"HEAD" + data + data[MB : 4 * MB]
    assert meter.digests[path] == blake3(path.read_bytes()).hexdigest()


def test_a_source_that_is_cut_off_meanwhile_is_said_so(tmp_path):
    (tmp_path / "source").write_bytes(bytes(20 * MB))
    source = FileSource(tmp_path / "source")
    os.truncate(tmp_path / "source", 10 * MB)

    def copied():
        with output.created(tmp_path / "x", Meter(), 20 * MB) as file:
            file.copy_from(source, 0, 20 * MB)

    with pytest.raises(wb.OpenError, match="changed since it was opened"):
        copied()


def test_cancel_does_not_wait_for_the_rest(tmp_path):
    """A tensor may be all there is."""
    asked = []

    def cancel():
        asked.append(None)
        return len(asked) == 3

    with (tmp_path / "source").open("wb") as file:
        os.truncate(file.fileno(), 4 << 30)
    source = FileSource(tmp_path / "source")

    def copied():
        with output.created(tmp_path / "x", Meter(cancel=cancel), 4 << 30) as file:
            file.copy_from(source, 0, 4 << 30)

    with pytest.raises(wb.ExportError) as caught:
        copied()
    assert caught.value.code == "cancelled"
    assert (tmp_path / "x").stat().st_size < 100 * MB


def test_a_file_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(FileExistsError), output.created(tmp_path / "x", Meter(), 0):
        pytest.fail("the block must not run")
    assert (tmp_path / "x").read_text() == "mine"


def test_what_stops_the_writer_ends_the_threads(tmp_path):
    def stopped():
        with output.created(tmp_path / "x", Meter(), 20 * MB) as file:
            file.write(bytes(20 * MB))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()


def test_a_disk_that_fails_behind_the_writer_fails_the_export(tmp_path, monkeypatch):
    plan = wb.Mapping().plan(checkpoint_of(tmp_path / "x.safetensors", {"w": values("uint8", (12 * MB,))}))
    before = tree_of(tmp_path)

    def broken(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(wb.ExportError, match="Input/output error"):
        export(plan, tmp_path / "out", formats=["safetensors"])
    assert tree_of(tmp_path) == before


def test_a_large_tensor_before_a_small_one_leaves_an_export_that_loads(tmp_path):
    arrays = {"a": values("float32", (300_000,)), "b": values("float32", (10,), 1)}
    plan = wb.Mapping().plan(checkpoint_of(tmp_path / "x.safetensors", arrays))
    export(plan, tmp_path / "out", formats=["safetensors"])
    loaded = wb.load_export(tmp_path / "out")
    assert {key: array.tobytes() for key, array in loaded.items()} == {key: a.tobytes() for key, a in arrays.items()}
