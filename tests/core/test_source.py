"""Files and memory as bytes by position."""

from __future__ import annotations

import copy
import os
import pickle
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.source import MAX_READ, FileSource, MemorySource, inflate
from workbench.errors import NotACheckpointError, OpenError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ten.bin"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_gives_the_bytes_at_a_place(file: Path) -> None:
    source = FileSource(file)
    assert (source.name, source.path, source.size) == ("ten.bin", str(file), 10)
    assert source.read_exact(2, 3) == b"234"
    assert source.read_exact(10, 0) == b""


@pytest.mark.parametrize(
    ("begin", "n"), [(-1, 1), (0, -1), (0, 11), (10, 1), (2**63, 1), (0, 2**64), (0, MAX_READ + 1)]
)
def test_a_range_outside_the_bytes_is_an_error_before_anything_is_allocated(file: Path, begin: int, n: int) -> None:
    for source in (FileSource(file), MemorySource(b"0123456789")):
        with pytest.raises(OpenError):
            source.read_exact(begin, n)


def test_memory_counts_what_was_read() -> None:
    source = MemorySource(b"0123456789", "m")
    source.read_exact(2, 3)
    source.read_exact(0, 1)
    assert (source.bytes_read, source.ranges) == (4, [(2, 5), (0, 1)])


def test_a_file_that_was_cut_replaced_or_removed_is_noticed(file: Path) -> None:
    other = file.with_name("other")
    for change in (
        lambda: os.truncate(file, 5),
        lambda: file.write_bytes(b"0123456789x"),
        lambda: os.replace(other, file),
        lambda: file.unlink(),
    ):
        file.write_bytes(b"0123456789")
        other.write_bytes(b"9876543210")
        source = FileSource(file)
        source.check_unchanged()
        change()
        with pytest.raises(OpenError) as caught:
            source.check_unchanged()
        assert caught.value.code == "changed"


def test_reading_behind_a_new_end_is_an_error(file: Path) -> None:
    source = FileSource(file)
    os.truncate(file, 5)
    with pytest.raises(OpenError) as caught:
        source.read_exact(0, 10)
    assert caught.value.code == "changed"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink(tmp_path / "gone", tmp_path / "link")
    for name, code in (("", "folder"), ("pipe", "not-a-file"), ("missing", "no-such-file"), ("link", "broken-link")):
        with pytest.raises(OpenError) as caught:
            FileSource(tmp_path / name)
        assert caught.value.code == code
        assert caught.value.next_step
    with pytest.raises(NotACheckpointError):
        FileSource("/dev/null")
    with pytest.raises(OpenError):
        FileSource("nul\0in name")


def test_a_link_to_a_file_is_followed(file: Path) -> None:
    link = file.with_name("link")
    os.symlink(file, link)
    assert FileSource(link).read_exact(0, 2) == b"01"


def deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


@given(st.binary(max_size=200), st.integers(0, 210), st.integers(0, 210))
def test_inflating_a_range_gives_that_range(data: bytes, skip: int, n: int) -> None:
    packed = deflated(data)
    source = MemorySource(b"xx" + packed + b"yy")
    if skip + n > len(data) and n > 0:
        with pytest.raises(OpenError):
            inflate(source, 2, len(packed), skip, n, "here")
    else:
        assert inflate(source, 2, len(packed), skip, n, "here") == data[skip : skip + n]


def test_inflating_far_inside_keeps_only_what_was_asked_for() -> None:
    data = bytes(5_000_000) + b"abc" + bytes(5_000_000)
    packed = deflated(data)
    assert inflate(MemorySource(packed), 0, len(packed), 5_000_000, 3, "here") == b"abc"


def test_damaged_bytes_are_an_error() -> None:
    with pytest.raises(OpenError, match="damaged"):
        inflate(MemorySource(b"\xff" * 50), 0, 50, 0, 10, "here")


def test_a_copy_has_a_descriptor_of_its_own(file: Path) -> None:
    source = FileSource(file)
    for again in (copy.copy(source), copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        assert again.read_exact(2, 3) == b"234"
        again.check_unchanged()
        del again
    other = FileSource(file)
    assert source.read_exact(2, 3) == other.read_exact(2, 3) == b"234"


def test_a_copy_of_a_file_that_changed_is_refused(file: Path) -> None:
    taken = pickle.dumps(FileSource(file))
    file.write_bytes(b"01234567890")
    with pytest.raises(OpenError) as caught:
        pickle.loads(taken)
    assert caught.value.code == "changed"
