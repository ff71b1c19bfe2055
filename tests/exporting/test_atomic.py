"""Files together: all of them, or nothing changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.exporting.made import tree_of
from workbench.errors import ExportError
from workbench.exporting.atomic import staged

NAMES = ("one", "two", "last")


class Stop(BaseException):
    """Like KeyboardInterrupt: no Exception."""


def write_all(staging: Path, text: str = "new") -> None:
    for name in NAMES:
        (staging / name).write_text(text)


def test_a_new_folder_holds_the_files_and_nothing_else(tmp_path):
    with staged(tmp_path / "a" / "b" / "out", NAMES, overwrite=False) as staging:
        write_all(staging)
        assert not (tmp_path / "a" / "b" / "out").exists()
    assert tree_of(tmp_path) == {
        "a": None,
        "a/b": None,
        "a/b/out": None,
        "a/b/out/last": b"new",
        "a/b/out/one": b"new",
        "a/b/out/two": b"new",
    }


def test_new_files_and_folders_have_the_permissions_that_others_get(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "one").write_text("")
    with staged(tmp_path / "out", NAMES, overwrite=False) as staging:
        write_all(staging)
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "out" / "one").stat().st_mode == (tmp_path / "plain" / "one").stat().st_mode


@pytest.mark.parametrize("fault", [RuntimeError, Stop])
def test_a_fault_while_writing_leaves_no_folder(tmp_path, fault):
    def interrupted():
        with staged(tmp_path / "a" / "out", NAMES, overwrite=False) as staging:
            (staging / "one").write_text("new")
            raise fault

    with pytest.raises(fault):
        interrupted()
    assert tree_of(tmp_path) == {}


@pytest.mark.parametrize("fault", [RuntimeError, Stop])
def test_a_fault_while_writing_leaves_the_old_files(tmp_path, fault):
    write_all(tmp_path, "old")
    before = tree_of(tmp_path)

    def interrupted():
        with staged(tmp_path, NAMES, overwrite=True) as staging:
            write_all(staging)
            raise fault

    with pytest.raises(fault):
        interrupted()
    assert tree_of(tmp_path) == before


def test_other_files_in_the_folder_stay(tmp_path):
    write_all(tmp_path, "old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "sub").mkdir()
    with staged(tmp_path, NAMES, overwrite=True) as staging:
        write_all(staging)
    assert tree_of(tmp_path) == {
        "last": b"new",
        "notes.txt": b"mine",
        "one": b"new",
        "sub": None,
        "two": b"new",
    }


def test_an_existing_folder_without_these_files_needs_no_permission_to_overwrite(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with staged(tmp_path, NAMES, overwrite=False) as staging:
        write_all(staging)
    assert sorted(tree_of(tmp_path)) == ["last", "notes.txt", "one", "two"]


def test_existing_files_are_refused_by_name(tmp_path):
    (tmp_path / "one").write_text("old")
    (tmp_path / "last").write_text("old")
    with (
        pytest.raises(ExportError, match="one and last exist already") as caught,
        staged(tmp_path, NAMES, overwrite=False),
    ):
        pytest.fail("the block must not run")
    assert caught.value.code == "files-exist"
    assert "Nothing was changed." in str(caught.value)
    assert tree_of(tmp_path) == {"last": b"old", "one": b"old"}


def test_a_fault_while_putting_files_in_place_puts_the_old_ones_back(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "one").write_text("old")
    before = tree_of(tmp_path)

    def blocked():
        with staged(out, NAMES, overwrite=True) as staging:
            write_all(staging)
            (out / "last").mkdir()
            (out / "last" / "mine").write_text("mine")

    with pytest.raises(ExportError, match="Nothing was changed"):
        blocked()
    assert (out / "last" / "mine").read_text() == "mine"
    (out / "last" / "mine").unlink()
    (out / "last").rmdir()
    assert tree_of(tmp_path) == before


def test_a_file_that_was_not_written_changes_nothing(tmp_path):
    write_all(tmp_path, "old")
    before = tree_of(tmp_path)

    def incomplete():
        with staged(tmp_path, NAMES, overwrite=True) as staging:
            (staging / "one").write_text("new")

    with pytest.raises(ExportError):
        incomplete()
    assert tree_of(tmp_path) == before


def test_a_folder_that_appears_meanwhile_is_not_written_over(tmp_path):
    out = tmp_path / "out"

    def raced():
        with staged(out, NAMES, overwrite=False) as staging:
            write_all(staging)
            out.mkdir()
            (out / "one").write_text("theirs")

    with pytest.raises(ExportError, match="appeared"):
        raced()
    assert tree_of(tmp_path) == {"out": None, "out/one": b"theirs"}


def refused(folder: Path, **options) -> ExportError:
    with pytest.raises(ExportError) as caught, staged(folder, NAMES, overwrite=True, **options):
        pytest.fail("the block must not run")
    assert "Nothing was changed." in str(caught.value)
    return caught.value


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    assert refused(tmp_path / "out").code == "folder-is-a-file"
    assert refused(tmp_path / "out" / "deeper" / "still").code == "folder-is-a-file"
    assert tree_of(tmp_path) == {"out": b"a file"}


def test_a_link_to_nowhere_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    assert refused(tmp_path / "out").code == "folder-is-a-file"


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "two").mkdir()
    assert refused(tmp_path).code == "file-is-a-folder"


def test_a_path_no_system_takes_is_refused(tmp_path):
    assert refused(tmp_path / "a\0b").code == "not-written"
    assert refused(tmp_path / ("x" * 300) / "out").code == "not-written"
    assert tree_of(tmp_path) == {}


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_source_is_never_written_over(tmp_path, link):
    out = tmp_path / "out"
    out.mkdir()
    source = tmp_path / "net.pt" if link else out / "two"
    source.write_text("weights")
    if link:
        link(source, out / "two")
    assert refused(out, sources=[str(source)]).code == "writes-over-source"
    assert source.read_text() == "weights"


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_text("precious")
    (out / "two").symlink_to(tmp_path / "precious")
    with staged(out, NAMES, overwrite=True) as staging:
        write_all(staging)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (out / "two").is_symlink()
    assert (out / "two").read_text() == "new"


def test_a_folder_reached_through_a_link_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with staged(tmp_path / "out", NAMES, overwrite=False) as staging:
        write_all(staging)
    assert sorted(tree_of(tmp_path / "real")) == ["last", "one", "two"]
    assert (tmp_path / "out").is_symlink()
