"""Files together: all of them, or nothing changes."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.writing.made import tree_of
from workbench.errors import ExportError
from workbench.writing.atomic import staged

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


def test_a_replaced_file_keeps_the_permissions_it_had(tmp_path):
    write_all(tmp_path, "old")
    (tmp_path / "one").chmod(0o600)
    with staged(tmp_path, NAMES, overwrite=True) as staging:
        write_all(staging)
    assert (tmp_path / "one").read_text() == "new"
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600


def test_the_umask_is_respected(tmp_path):
    before = os.umask(0o077)
    try:
        with staged(tmp_path / "out", NAMES, overwrite=False) as staging:
            write_all(staging)
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "out" / "one").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["net.pt", "./x/../net.pt"])
def test_the_source_is_never_written_over_under_another_spelling_of_its_path(tmp_path, name):
    (tmp_path / "x").mkdir()
    (tmp_path / "net.pt").write_text("weights")
    (tmp_path / "door").symlink_to(tmp_path, target_is_directory=True)
    with (
        pytest.raises(ExportError) as caught,
        staged(tmp_path / "door", ["net.pt"], overwrite=True, sources=[f"{tmp_path}/{name}"]),
    ):
        pytest.fail("the block must not run")
    assert caught.value.code == "writes-over-source"
    assert (tmp_path / "net.pt").read_text() == "weights"


# ---- folders as a whole ---------------------------------------------------------------------------------------------

NUMBERED = {"arrays": re.compile("[0-9]+")}


def write_folder(staging: Path, *names: str) -> None:
    (staging / "arrays").mkdir()
    for name in names:
        (staging / "arrays" / name).write_text("new")
    (staging / "last").write_text("new")


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for names in (("1", "2"), ("1",)):
        with staged(tmp_path, ["arrays", "last"], overwrite=True, folders=NUMBERED) as staging:
            write_folder(staging, *names)
    assert tree_of(tmp_path) == {"arrays": None, "arrays/1": b"new", "last": b"new"}


def test_a_folder_is_back_where_it_was_when_a_later_file_cannot_be_put_in_place(tmp_path):
    write_folder(tmp_path, "1", "2")
    before = tree_of(tmp_path)

    def incomplete():
        with staged(tmp_path, ["arrays", "last"], overwrite=True, folders=NUMBERED) as staging:
            write_folder(staging, "3")
            os.mkdir(staging / "other")
            os.replace(tmp_path / "last", staging / "other" / "last")
            (tmp_path / "last").mkdir()

    with pytest.raises(ExportError):
        incomplete()
    (tmp_path / "last").rmdir()
    assert tree_of(tmp_path) == {name: data for name, data in before.items() if name != "last"}


def test_a_folder_that_holds_something_else_is_refused_by_its_name(tmp_path):
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "1").write_text("old")
    (tmp_path / "arrays" / "notes").write_text("mine")
    with (
        pytest.raises(ExportError, match="notes") as caught,
        staged(tmp_path, ["arrays", "last"], overwrite=True, folders=NUMBERED),
    ):
        pytest.fail("the block must not run")
    assert caught.value.code == "folder-holds-more"
    assert (tmp_path / "arrays" / "notes").read_text() == "mine"


def test_a_source_within_a_folder_is_never_written_over(tmp_path):
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "1").write_text("weights")
    with (
        pytest.raises(ExportError) as caught,
        staged(tmp_path, ["arrays"], overwrite=True, folders=NUMBERED, sources=[str(tmp_path / "arrays" / "1")]),
    ):
        pytest.fail("the block must not run")
    assert caught.value.code == "writes-over-source"


# ---- two at once ----------------------------------------------------------------------------------------------------


def test_of_two_at_once_the_last_to_end_has_all_its_files_in_place(tmp_path):
    with staged(tmp_path, NAMES, overwrite=True) as one:
        write_all(one, "one")
        with staged(tmp_path, NAMES, overwrite=True) as two:
            write_all(two, "two")
        assert {(tmp_path / name).read_text() for name in NAMES} == {"two"}
        assert {(one / name).read_text() for name in NAMES} == {"one"}
    assert tree_of(tmp_path) == dict.fromkeys(NAMES, b"one")


@pytest.mark.parametrize("is_there", [True, False])
def test_of_two_at_once_the_last_to_end_is_refused_where_it_may_not_overwrite(tmp_path, is_there):
    out = tmp_path / "out"
    if is_there:
        out.mkdir()

    def late():
        with staged(out, NAMES, overwrite=False) as one:
            write_all(one, "one")
            with staged(out, NAMES, overwrite=False) as two:
                write_all(two, "two")

    with pytest.raises(ExportError) as caught:
        late()
    assert caught.value.code == "files-exist"
    assert tree_of(out) == dict.fromkeys(NAMES, b"two")
    assert os.listdir(tmp_path) == ["out"]


# ---- killed ---------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from workbench.writing.atomic import staged

NAMES = ("one", "two", "last")
STEPS = ("os.mkdir", "os.rename", "os.link", "os.chmod", "os.remove", "os.rmdir")

def run(folder, moment):
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event in STEPS:
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    with staged(folder, NAMES, overwrite=True) as staging:
        for name in NAMES:
            (staging / name).write_text("new")
        if sys.argv[2] == "no links":
            def refuse(*args, **kwargs):
                raise PermissionError("no links here")
            os.link = refuse
        sys.addaudithook(watch)

killed, moment = True, 0
while killed:
    folder = Path(sys.argv[1], str(moment))
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text("old")
    child = os.fork()
    if not child:
        run(folder, moment)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed, moment = os.WIFSIGNALED(status), moment + 1
sys.exit(status)
"""


@pytest.mark.parametrize("links", ["links", "no links"])
def test_a_process_killed_at_any_step_of_putting_files_in_place_loses_none(tmp_path, links):
    """Each file is the old or the new one; where it is missing for want of links, the next export puts it back."""
    subprocess.run([sys.executable, "-c", KILLED, tmp_path, links], check=True)
    outs = sorted(tmp_path.iterdir())
    assert len(outs) > 8
    for out in outs:
        found = {name: (out / name).read_text() for name in NAMES if (out / name).exists()}
        assert set(found.values()) <= {"old", "new"}
        assert links == "no links" or len(found) == len(NAMES)
        if found.get("last") == "new":
            assert set(found.values()) == {"new"}, "what makes the others count is the last"
        with staged(out, ["another"], overwrite=False) as staging:
            (staging / "another").write_text("new")
        assert sorted(os.listdir(out)) == sorted(["another", *NAMES])
        assert {(out / name).read_text() for name in NAMES} <= {"old", "new"}


def test_what_a_killed_process_left_hidden_beside_a_new_folder_is_removed(tmp_path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom workbench.writing.atomic import staged\n"
        "with staged(Path(sys.argv[1]), ['one'], overwrite=False) as staging:\n"
        "    (staging / 'one').write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=False)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".workbench-")
    with staged(tmp_path / "out", NAMES, overwrite=False) as staging:
        assert left not in os.listdir(tmp_path)
        write_all(staging)
    assert os.listdir(tmp_path) == ["out"]


def test_a_hidden_folder_that_is_no_left_over_stays(tmp_path):
    (tmp_path / ".workbench-notes").mkdir()
    (tmp_path / ".workbench-notes" / "mine").write_text("mine")
    (tmp_path / ".workbench-file").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "new").write_text("mine")
    (tmp_path / ".workbench-link").symlink_to(tmp_path / "elsewhere")
    before = tree_of(tmp_path)
    with staged(tmp_path, NAMES, overwrite=False) as staging:
        write_all(staging)
    assert tree_of(tmp_path).items() >= before.items()


def test_a_name_no_system_takes_is_refused(tmp_path):
    with pytest.raises(ExportError) as caught, staged(tmp_path, ["a\0b"], overwrite=True):
        pytest.fail("the block must not run")
    assert caught.value.code == "not-written"
    assert tree_of(tmp_path) == {}


def test_a_folder_that_may_not_be_moved_does_not_lock_the_one_that_was_to_replace_it(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts").chmod(0o555)
    modes = []

    def refuse(source, target):
        modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.glob("*/new/parts"))
        raise PermissionError(errno.EACCES, "no")

    def replace():
        with staged(tmp_path, ["parts"], overwrite=True, folders={"parts": re.compile(".*")}) as staging:
            (staging / "parts").mkdir()
            (staging / "parts" / "0").write_text("new")
            monkeypatch.setattr(os, "rename", refuse)

    with pytest.raises(ExportError) as caught:
        replace()
    assert caught.value.code == "no-permission"
    assert modes
    assert all(mode & 0o200 for mode in modes)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_a_source_that_is_gone_is_no_reason_against_a_folder(tmp_path):
    write_all(tmp_path, "old")
    with staged(tmp_path, NAMES, overwrite=True, sources=[str(tmp_path / "gone.pt")]) as staging:
        write_all(staging)
    assert tree_of(tmp_path) == dict.fromkeys(NAMES, b"new")
