"""A file while it is written: its digest, what is counted, and what becomes of a failure behind it."""

from __future__ import annotations

import errno
import os
import threading

import pytest
from blake3 import blake3

import workbench as wb
from tests.writing.made import checkpoint_of, tree_of, values
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
