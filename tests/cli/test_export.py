"""`workbench export` as a shell sees it: files, texts, JSON, progress on a terminal, and Ctrl+C."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import workbench as wb
from tests.cli.test_commands import ENVIRONMENT, GAPS, NET, PREFIXED, answer, fault, workbench
from tests.oracles import torch

DEFAULTS = {"mapping.json", "model.npz", "model.safetensors", "load.rs", "Cargo.toml", "load.py", "REPORT.md"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def tied(path: Path) -> Path:
    weight = torch().arange(6.0).reshape(2, 3)
    torch().save({"embed.weight": weight, "head.weight": weight, "head.bias": torch().zeros(2)}, path)
    return path


def test_export_writes_and_says_where(tmp_path):
    out = tmp_path / "out"
    done = workbench("export", PREFIXED, "-o", out, "--rule", r"conv\.(.*)", "$1")
    lines = done.stdout.splitlines()
    assert lines[0] == str(out / "mapping.json")
    assert {Path(line).name for line in lines[: len(DEFAULTS)]} == names(out) == DEFAULTS
    assert "3 in = 3 out + 0 skipped" in done.stdout
    assert done.stderr == ""
    assert sorted(wb.load_export(out)) == ["conv1", "conv2"]


def test_an_exported_mapping_gives_the_same_export(tmp_path):
    workbench("export", GAPS, "-o", tmp_path / "one", "--rule", "^", "m.", "--no-reindex")
    workbench("export", GAPS, "-o", tmp_path / "two", "--mapping", tmp_path / "one" / "mapping.json")
    for name in DEFAULTS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_export_of_a_collision_exits_with_1_and_leaves_nothing(tmp_path):
    assert "Export is blocked" in fault("export", NET, "-o", tmp_path / "out", "--rule", ".+", "x", exits=1)
    assert list(tmp_path.iterdir()) == []


def test_export_overwrites_only_when_asked(tmp_path):
    workbench("export", NET, "-o", tmp_path)
    assert "--overwrite" in fault("export", NET, "-o", tmp_path)
    workbench("export", NET, "-o", tmp_path, "--overwrite")


def test_export_into_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    assert "[folder-is-a-file]" in fault("export", NET, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_the_formats_that_are_asked_for_are_written(tmp_path):
    workbench("export", NET, "-o", tmp_path / "out", "--format", "pt", "--format", "npy", "--format", "report")
    assert names(tmp_path / "out") == {"mapping.json", "model.pt", "npy", "REPORT.md"}
    assert set(torch().load(tmp_path / "out" / "model.pt", weights_only=True)) == set(wb.open(NET))
    assert "[export-format]" in fault("export", NET, "-o", tmp_path / "two", "--format", "docx")


def test_an_export_that_does_not_fill_its_target_says_so(tmp_path):
    (tmp_path / "target.json").write_text(json.dumps({"conv1.weight": [1], "lost": [2]}))
    target = ("--target", tmp_path / "target.json")
    said = workbench("export", NET, "-o", tmp_path / "one", *target).stdout
    assert "target: " in said
    assert "of 2 parameters of the target filled" in said
    assert "1 missing" in said
    found = answer("export", NET, "-o", tmp_path / "two", *target)
    assert found["coverage"]["missing"] == ["lost"]
    assert answer("export", NET, "-o", tmp_path / "three")["coverage"] is None


def test_what_was_asked_for_and_is_not_there_is_said(tmp_path):
    said = workbench("export", NET, "-o", tmp_path / "out", "--format", "rust", "--burn", "none").stdout
    assert "There is no load.rs: the mapping is for no framework." in said
    assert names(tmp_path / "out") == {"mapping.json"}


def test_a_zip_holds_all_of_it(tmp_path):
    done = workbench("export", NET, "-o", tmp_path / "net.zip")
    assert done.stdout.splitlines()[0] == str(tmp_path / "net.zip")
    assert names(tmp_path) == {"net.zip"}
    assert set(wb.load_export(tmp_path / "net.zip")) == {"conv1", "conv2"}


def test_json_has_the_result_for_programs(tmp_path):
    found = answer("export", NET, "-o", tmp_path / "out", "--exclude", "conv2", "--cast", "float16")
    assert {Path(path) for path in found["paths"]} == set((tmp_path / "out").iterdir())
    assert found["nbytes"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert (found["counts"]["all"], found["counts"]["out"]) == (3, 2)
    assert [skipped["original"] for skipped in found["skipped"]] == ["conv2.weight"]
    assert any("cast from float32 to float16" in line for line in found["changes"])


def test_floats_are_cast_and_the_mapping_says_so(tmp_path):
    workbench("export", NET, "-o", tmp_path / "out", "--format", "safetensors", "--cast", "float16")
    written = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    source = wb.open(NET)
    assert {str(array.dtype) for array in written.values()} == {"float16"}
    assert all(np.array_equal(array, source[key].astype(np.float16)) for key, array in written.items())
    assert wb.Mapping.load(tmp_path / "out" / "mapping.json").casts == (wb.Cast("float16", None, "float32"),)
    assert "[cast-dtype]" in fault("export", NET, "-o", tmp_path / "two", "--cast", "float99")


def test_remap_shows_the_cast_that_export_makes():
    assert {entry.get("cast") for entry in answer("remap", NET, "--cast", "bfloat16")["entries"]} == {"bfloat16"}


def test_tied_tensors_are_written_once_where_that_is_asked_for(tmp_path):
    path = tied(tmp_path / "tied.pt")
    for ties, keys in (
        ("twice", {"embed.weight", "head.weight", "head.bias"}),
        ("once", {"embed.weight", "head.bias"}),
    ):
        workbench("export", path, "-o", tmp_path / ties, "--format", "safetensors", "--ties", ties)
        assert set(safetensors.numpy.load_file(tmp_path / ties / "model.safetensors")) == keys
        model = wb.load_export(tmp_path / ties)
        assert np.array_equal(model["head"]["weight"], model["embed"]["weight"])
    assert "--ties" in fault("export", path, "-o", tmp_path / "x", "--ties", "thrice")


@pytest.mark.parametrize("workers", [None, 2])
def test_a_large_safetensors_is_split_and_may_be_written_by_several_processes(tmp_path, workers):
    more = () if workers is None else ("--workers", workers)
    workbench("export", NET, "-o", tmp_path / "out", "--format", "safetensors", "--shards", "80B", *more)
    written = names(tmp_path / "out")
    assert "model.safetensors.index.json" in written
    assert len([name for name in written if name.startswith("model-0000")]) == 2
    source, sharded = wb.open(NET), wb.open(tmp_path / "out" / "model.safetensors.index.json")
    assert set(sharded) == set(source)
    assert all(np.array_equal(sharded[key], source[key]) for key in source)


def test_a_size_of_shards_that_is_none_is_named(tmp_path):
    assert "[shard-size]" in fault("export", NET, "-o", tmp_path / "out", "--shards", "large")
    assert "--workers" in fault("export", NET, "-o", tmp_path / "out", "--workers", "0")
    assert list(tmp_path.iterdir()) == []


def test_an_mpk_without_its_structs_says_what_is_needed(tmp_path):
    said = fault("export", NET, "-o", tmp_path / "out", "--format", "mpk", "--burn", "0.20")
    assert "Rust source" in said
    assert "[no-mpk]" in fault("export", NET, "-o", tmp_path / "out", "--format", "mpk", "--burn", "0.22")


# ---- on a terminal ---------------------------------------------------------------------------------------------------


def on_terminal(*arguments: object) -> tuple[str, str, int]:
    """stdout, what a terminal as stderr was sent, and the exit code."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "workbench", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
        encoding="utf-8",
    ) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # EIO is what Linux says when the other end is closed.
            while piece := os.read(ours, 4096):
                seen += piece
        os.close(ours)
        assert process.stdout is not None
        return process.stdout.read(), seen.decode(), process.wait()


def test_progress_is_one_line_on_a_terminal_that_is_taken_away_at_the_end(tmp_path):
    stdout, seen, code = on_terminal("export", NET, "-o", tmp_path / "out", "--format", "npz")
    assert code == 0
    assert "Writing model.npz: 0 %" in seen
    assert "Checking model.npz: " in seen
    assert "\n" not in seen
    assert seen.endswith("\r\x1b[K")
    assert stdout.splitlines()[0] == str(tmp_path / "out" / "mapping.json")


def test_json_has_no_progress_beside_it(tmp_path):
    stdout, seen, code = on_terminal("export", NET, "-o", tmp_path / "out", "--json")
    assert (seen, code) == ("", 0)
    assert json.loads(stdout)["folder"] == str(tmp_path / "out")


HELD = """
import sys, threading
from workbench.writing.progress import Meter

begin = Meter.begin

def held(meter, *args):
    begin(meter, *args)
    print("at work", file=sys.stderr, flush=True)
    while True:
        threading.Event().wait(0.01)
        meter._check()

Meter.begin = held
from workbench.cli.app import main

main()
"""


@pytest.mark.parametrize(
    "command", [["export", NET, "-o", "out"], ["convert", NET, "out.npz"], ["fix", NET, "-o", "out.pt"]]
)
def test_ctrl_c_leaves_everything_as_it_was_and_says_so(tmp_path, command):
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, *command],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert stdout == ""
    assert stderr == "Cancelled. Nothing was changed. [cancelled]\n"
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_precision_without_an_mpk_is_refused(tmp_path):
    assert "[precision-without-mpk]" in fault("export", NET, "-o", tmp_path / "out", "--precision", "half")
    assert "[precision-without-mpk]" in fault("convert", NET, tmp_path / "out.npz", "--precision", "half")
    assert list(tmp_path.iterdir()) == []


def test_shards_of_a_format_without_any_are_refused_by_the_names_of_the_options(tmp_path):
    for option in (["--shards", "5GB"], ["--workers", "2"]):
        said = fault("export", NET, "-o", tmp_path / "out", "--format", "npz", *option)
        assert option[0] in said
        assert "[no-format-in-shards]" in said


def test_an_export_of_nothing_says_so(tmp_path):
    said = workbench("export", NET, "-o", tmp_path / "out", "--include", "nothing").stdout
    assert "3 in = 0 out + 3 skipped" in said
    assert "No tensor is left: the files hold none.\n" in said
