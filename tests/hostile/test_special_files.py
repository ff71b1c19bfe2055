"""What is no file, what may not be read, and what changes while it is open: an error, at once and for ever."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import workbench as wb
from tests.make.hostile.case import program, saved
from tests.make.safetensors import with_header
from workbench.errors import OpenError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt"
    path.write_bytes(saved(program()))
    return path


def _refused(path: Path) -> OpenError:
    with pytest.raises(OpenError) as caught:
        wb.open(path)
    assert caught.value.path
    assert caught.value.code
    return caught.value


def test_a_pipe_without_a_writer_is_an_error_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.pt")
    assert _refused(tmp_path / "net.pt").code == "not-a-file"


def test_devices_and_sockets_are_no_files(tmp_path: Path) -> None:
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        if os.path.exists(device):
            assert _refused(Path(device)).code in ("not-a-file", "cannot-open")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        assert _refused(tmp_path / "s").code in ("not-a-file", "cannot-open")


def test_links_in_a_circle_and_impossible_names_are_errors(tmp_path: Path) -> None:
    os.symlink(tmp_path / "b", tmp_path / "a")
    os.symlink(tmp_path / "a", tmp_path / "b")
    _refused(tmp_path / "a")
    _refused(tmp_path / ("n" * 5000))
    _refused(Path("nul\0inside.pt"))
    _refused(tmp_path / "a\udcff\x1b[31m")


def test_a_file_that_may_not_be_read_is_an_error_that_says_so(file: Path) -> None:
    user = os.geteuid()
    file.chmod(0)
    if user == 0:  # The superuser may read everything, so somebody else tries.
        os.seteuid(65534)
    try:
        assert _refused(file).code == "no-permission"
    finally:
        os.seteuid(user)


CHANGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "replaced": lambda path: (
        path.with_name("new").write_bytes(path.read_bytes()),
        path.with_name("new").replace(path),
    ),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changed_while_open_is_an_error_at_the_next_read(how: str, file: Path) -> None:
    checkpoint = wb.open(file)
    assert checkpoint["healthy"].tolist() == [[1, 2], [3, 4]]
    CHANGES[how](file)
    for _ in range(2):
        with pytest.raises(OpenError) as caught:
            checkpoint["healthy"]
        assert caught.value.code == "changed"


def test_a_file_that_shrinks_under_a_reader_never_ends_the_process(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    n = 64 << 20
    path.write_bytes(with_header({"w": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}))
    os.truncate(path, path.stat().st_size + n)
    checkpoint = wb.open(path)
    started = threading.Event()
    ended: list[str] = []

    def read() -> None:
        try:
            while True:
                checkpoint["w"]
                started.set()
        except OpenError as error:
            ended.append(error.code)

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(60)
    os.truncate(path, 100)
    reader.join(60)
    assert ended == ["changed"]


def test_a_huge_sparse_file_opens_like_a_small_one(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    n = 100 << 30
    path.write_bytes(with_header({"w": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}))
    os.truncate(path, path.stat().st_size + n)
    assert wb.open(path).tensors[0].shape == (n,)
