"""Exports that are killed, cancelled, run out of disk, lose their source or meet each other: nothing is lost."""

from __future__ import annotations

import errno
import itertools
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from tests.writing.made import bits, checkpoint_of, flat, tree_of, values
from workbench.errors import WorkbenchError
from workbench.exporting import export, load_export

FORMATS = ["npz", "safetensors", "pt", "bpk"]
SIZE = 3 << 20
NAMES = ("one", "two", "three")


def checkpoint(path: Path, seed: int = 0) -> wb.Checkpoint:
    return checkpoint_of(path, {name: values("uint8", (SIZE,), seed + n) for n, name in enumerate(NAMES)})


def plan_of(path: Path, seed: int = 0) -> wb.Plan:
    return wb.Mapping(reindex=False).plan(checkpoint(path, seed))


class Calls:
    """A `cancel` that counts how often it is asked, and at the chosen time does something."""

    def __init__(self, moment: int = -1, then=lambda: True) -> None:
        self.n, self.moment, self.then = 0, moment, then

    def __call__(self) -> bool:
        self.n += 1
        return self.n == self.moment and bool(self.then())


def n_calls(plan, folder: Path, formats=FORMATS, *, verify: bool = True) -> int:
    calls = Calls()
    export(plan, folder, formats=formats, cancel=calls, verify=verify)
    shutil.rmtree(folder)
    return calls.n


def visible(folder: Path) -> dict[str, bytes | None]:
    return {name: data for name, data in tree_of(folder).items() if not name.startswith(".")}


# ---- killed ---------------------------------------------------------------------------------------------------------

RUN = """
import os, signal, sys
import workbench as wb
from workbench.exporting import export

source, out, moment, *formats = sys.argv[1:]
left = int(moment)

def killed():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return False

export(wb.Mapping(reindex=False).plan(wb.open(source)), out, formats=formats, overwrite=True, cancel=killed)
"""


def run(source: Path, out: Path, moment: int) -> list[str]:
    return [sys.executable, "-c", RUN, str(source), str(out), str(moment), *FORMATS]


def test_an_export_killed_at_ten_moments_leaves_the_old_one_whole(tmp_path):
    old = plan_of(tmp_path / "old.safetensors")
    source, out = tmp_path / "new.safetensors", tmp_path / "out"
    new = plan_of(source, seed=10)
    n = n_calls(new, tmp_path / "counted")
    export(old, out, formats=FORMATS)
    before, weights = visible(out), source.read_bytes()
    seed = random.randrange(1 << 32)
    for moment in sorted(random.Random(seed).sample(range(1, n + 1), 10)):
        done = subprocess.run(run(source, out, moment), check=False)
        assert done.returncode == -9, (seed, moment)
        assert visible(out) == before, (seed, moment)
        hidden = [name for name in os.listdir(out) if name.startswith(".")]
        assert len(hidden) == 1, "the one before was removed"
    assert source.read_bytes() == weights
    assert {name: bits(array) for name, array in flat(load_export(out)).items()} == {
        row.remapped: bits(row.tensor.read()) for row in old.rows
    }
    export(new, out, formats=FORMATS, overwrite=True)
    assert sorted(os.listdir(out)) == sorted(before)


def test_an_export_into_a_new_folder_that_is_killed_leaves_no_folder_of_that_name(tmp_path):
    source, out = tmp_path / "x.safetensors", tmp_path / "out"
    plan = plan_of(source)
    n = n_calls(plan, tmp_path / "counted")
    for moment in (1, n // 2, n):
        assert subprocess.run(run(source, out, moment), check=False).returncode == -9
        assert not out.exists()
    export(plan, out, formats=FORMATS)
    assert sorted(os.listdir(tmp_path)) == ["out", "x.safetensors"]


# ---- cancelled, and told how far it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_cancelled_within_a_tensor_and_leaves_all_as_it_was(tmp_path, format):
    plan = plan_of(tmp_path / "x.safetensors")
    n = n_calls(plan, tmp_path / "counted", [format])
    assert n > 2 * len(NAMES) * SIZE / (16 << 20)
    export(plan, tmp_path / "there", formats=[format])
    before = tree_of(tmp_path)
    for moment in (1, 2, n // 2, n):
        for out in ("there", "new"):
            with pytest.raises(wb.ExportCancelled):
                export(plan, tmp_path / out, formats=[format], overwrite=True, cancel=Calls(moment))
            assert tree_of(tmp_path) == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("verify", [True, False])
def test_progress_ends_at_the_total_and_never_goes_back(tmp_path, monkeypatch, format, verify):
    monkeypatch.setattr("workbench.writing.progress._BETWEEN", 0.0)
    plan, told = plan_of(tmp_path / "x.safetensors"), []
    export(plan, tmp_path / "out", formats=[format], verify=verify, progress=told.append)
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert {each.total for each in told} == {len(NAMES) * SIZE * (1 + verify)}
    assert {each.step for each in told} == ({"write", "verify"} if verify else {"write"})
    steps = [later.done - earlier.done for earlier, later in itertools.pairwise(told)]
    assert 0 < max(steps) <= (16 << 20)


def test_what_the_one_who_is_told_raises_stops_the_export(tmp_path):
    plan = plan_of(tmp_path / "x.safetensors")
    before = tree_of(tmp_path)

    def broken(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(plan, tmp_path / "out", progress=broken)
    assert tree_of(tmp_path) == before


def test_fix_tells_how_far_it_is_and_is_cancelled(tmp_path):
    opened, told = checkpoint(tmp_path / "x.safetensors"), []
    wb.fix(opened, tmp_path / "out.pt", progress=told.append)
    assert {each.total for each in told} == {2 * len(NAMES) * SIZE}
    before = tree_of(tmp_path)
    with pytest.raises(wb.ExportCancelled):
        wb.fix(opened, tmp_path / "out.pt", overwrite=True, cancel=Calls(4))
    assert tree_of(tmp_path) == before


# ---- no room --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB, where mounting one is allowed; the limit on a file's size below ends the same way everywhere."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_fills_up_meanwhile_loses_nothing_and_is_said(small_disk, tmp_path, format):
    old, new = plan_of(tmp_path / "old.safetensors"), plan_of(tmp_path / "new.safetensors", seed=10)
    export(old, small_disk / "out", formats=["npz"])
    before = tree_of(small_disk)

    def fill():
        with (small_disk / "other").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 9 << 20)

    with pytest.raises(wb.ExportError) as caught:
        export(new, small_disk / "out", formats=[format], overwrite=True, cancel=Calls(3, fill))
    assert caught.value.code == "disk-full"
    assert "Nothing was changed." in str(caught.value)
    (small_disk / "other").unlink()
    assert tree_of(small_disk) == before
    assert flat(load_export(small_disk / "out")).keys() == set(NAMES)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(small_disk, tmp_path):
    plan = plan_of(tmp_path / "x.safetensors")
    calls = Calls()
    with pytest.raises(wb.ExportError) as caught:
        export(plan, small_disk / "out", formats=FORMATS, cancel=calls)
    assert caught.value.code == "disk-full"
    assert calls.n == 0
    assert tree_of(small_disk) == {}


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_may_not_grow_further_loses_nothing_and_is_said(tmp_path, format):
    plan = plan_of(tmp_path / "x.safetensors")
    export(plan, tmp_path / "out", formats=[format])
    before = tree_of(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, limits[1]))
    try:
        with pytest.raises(wb.ExportError) as caught:
            export(plan, tmp_path / "out", formats=[format], overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.strerror(errno.EFBIG) in str(caught.value)
    assert "Nothing was changed." in str(caught.value)
    assert tree_of(tmp_path) == before


def test_a_folder_that_may_not_be_written_is_said_so(tmp_path):
    """Also for root, who may write everywhere: as somebody else, in a process of its own."""
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o555)
        plan = plan_of(tmp_path / "x.safetensors")
        plan.rows[:]
        child = os.fork()
        if not child:
            code = ""
            try:
                if not os.geteuid():
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                export(plan, place / "out")
            except WorkbenchError as error:
                code = error.code
            finally:
                os._exit(0 if code == "no-permission" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert os.listdir(place) == []
    finally:
        place.chmod(0o755)
        shutil.rmtree(place)


# ---- a source that does not stay as it is ---------------------------------------------------------------------------


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")


@pytest.mark.parametrize("change", [truncated, replaced, overwritten, os.unlink])
@pytest.mark.parametrize("format", FORMATS)
def test_a_source_that_changes_while_it_is_read_is_noticed(tmp_path, change, format):
    source, out = tmp_path / "x.safetensors", tmp_path / "out"
    plan = plan_of(source)
    n = n_calls(plan, out, [format], verify=False)
    for moment in (3, n // 2):
        plan = plan_of(source)
        with pytest.raises(WorkbenchError, match="changed since it was opened") as caught:
            export(plan, out, formats=[format], cancel=Calls(moment, lambda: change(source)))
        assert caught.value.code == "changed"
        assert str(caught.value).startswith("x.safetensors: ")
        assert {name for name in os.listdir(tmp_path) if name != "x.safetensors"} == set()


# ---- two at once ----------------------------------------------------------------------------------------------------


def test_of_two_exports_at_once_one_wins_with_all_its_files(tmp_path):
    sources = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    wanted = []
    for n, source in enumerate(sources):
        plan = plan_of(source, seed=10 * n)
        wanted.append({row.remapped: bits(row.tensor.read()) for row in plan.rows})
    out = tmp_path / "out"
    out.mkdir()
    running = [subprocess.Popen(run(source, out, -1)) for source in sources]
    assert [each.wait() for each in running] == [0, 0]
    assert {name: bits(array) for name, array in flat(load_export(out)).items()} in wanted
    held = [wb.open(out / f"model.{format}") for format in FORMATS]
    tables = [{name: bits(array) for name, array in each.items()} for each in held]
    assert all(table == tables[0] for table in tables)
    assert sorted(os.listdir(out)) == sorted(["mapping.json", *(f"model.{format}" for format in FORMATS)])


def test_the_copies_of_a_source_are_no_obstacle(tmp_path):
    """Only the file that is read is safe from being written over; what merely looks like it may be replaced."""
    source, out = tmp_path / "model.safetensors", tmp_path / "out"
    plan = plan_of(source)
    out.mkdir()
    shutil.copy(source, out / "model.safetensors")
    export(plan, out, formats=["safetensors"], overwrite=True)
    assert np.array_equal(wb.open(out / "model.safetensors")["one"], plan.rows[0].tensor.read())
