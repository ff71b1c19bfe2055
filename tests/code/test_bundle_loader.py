"""load.py of a bundle: numpy alone, without this package."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import workbench as wb
from tests.writing.made import ALL_DTYPES, bits, checkpoint_of, flat, values
from workbench.exporting import export
from workbench.writing.weights import npz_dtype

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from load import dtypes, load
found = {}
def walk(level, before=""):
    for name, value in level.items():
        if isinstance(value, dict):
            walk(value, before + name + ".")
        else:
            found[before + name] = [str(value.dtype), list(value.shape), value.tobytes().hex()]
walk(load(widen=len(sys.argv) > 2))
print(json.dumps([found, dtypes(), sorted(sys.modules)]))
"""


def run(folder, *more):
    ran = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, folder, *more], capture_output=True, text=True, cwd=folder, check=True
    )
    return json.loads(ran.stdout)


@pytest.fixture
def plan(tmp_path):
    table = {f"block.{name}": values(name, (3, 2), n) for n, name in enumerate(ALL_DTYPES)}
    table |= {"scalar": values("float32", ()), "nothing": values("float32", (0, 2)), "weiß": values("bool", (3,))}
    return wb.Mapping([wb.Rule("^block", "b")], reindex=False).plan(checkpoint_of(tmp_path / "x.safetensors", table))


@pytest.mark.parametrize("format", ["npz", "safetensors", "npy"])
def test_it_gives_the_arrays_and_imports_nothing_but_numpy(plan, tmp_path, format):
    export(plan, tmp_path / "out", formats=[format, "python"])
    found, dtypes, modules = run(tmp_path / "out")
    for row in plan.rows:
        stored = npz_dtype(row.tensor.dtype) or row.tensor.dtype.name
        wanted = [stored, list(row.tensor.shape), bits(row.tensor.read())[-1].hex()]
        assert found[row.remapped] == wanted
        assert dtypes[row.remapped] == row.tensor.dtype.name
    assert len(found) == len(plan)
    assert not {"workbench", "ml_dtypes", "safetensors", "torch", "pandas"} & set(modules)


def test_bfloat16_is_widened_on_request(plan, tmp_path):
    export(plan, tmp_path / "out", formats=["npz", "python"])
    dtype, shape, data = run(tmp_path / "out", "widen")[0]["b.bfloat16"]
    (row,) = [row for row in plan.rows if row.remapped == "b.bfloat16"]
    assert dtype == "float32"
    got = np.frombuffer(bytes.fromhex(data), np.float32).reshape(shape)
    assert got.astype(ml_dtypes.bfloat16).tobytes() == row.tensor.read().tobytes()


def test_it_reads_shards_and_ties_that_are_written_once(tmp_path):
    from tests.oracles import torch

    th = torch()
    shared = th.arange(12.0)
    th.save({"a": shared, "b": shared, "c": th.ones(5)}, tmp_path / "net.pt")
    plan = wb.Mapping().plan(wb.open(tmp_path / "net.pt"))
    export(plan, tmp_path / "out", formats=["safetensors", "python"], ties="once", shard_size=50)
    found = run(tmp_path / "out")[0]
    assert sorted(found) == ["a", "b", "c"]
    assert found["a"] == found["b"]


def test_run_by_itself_it_lists_what_there_is(plan, tmp_path):
    export(plan, tmp_path / "out")
    ran = subprocess.run(
        [sys.executable, "-I", tmp_path / "out" / "load.py"], capture_output=True, text=True, check=True
    )
    assert "b.float32  float32  [3, 2]" in ran.stdout
    assert "wei\\xdf  bool  [3]" in ran.stdout


@pytest.mark.parametrize("format", ["npz", "safetensors", "npy"])
def test_a_key_of_5000_segments_is_listed_too(tmp_path, format):
    deep = ".".join(["a"] * 5_000)
    table = {"b": values("float32", (2,)), deep: values("float32", (1,)), "": values("float32", (3,))}
    plan = wb.Mapping(reindex=False).plan(checkpoint_of(tmp_path / "x.safetensors", table))
    export(plan, tmp_path / "out", formats=[format, "python"])
    ran = subprocess.run(
        [sys.executable, "-I", tmp_path / "out" / "load.py"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(ran.stdout.splitlines()) == sorted(["  float32  [3]", f"{deep}  float32  [1]", "b  float32  [2]"])


def test_a_bundle_without_a_file_that_numpy_reads_has_none_and_says_so(plan, tmp_path):
    only = wb.Mapping(selection=wb.Selection(include=[wb.Pick("key", "scalar")])).plan(plan.checkpoint)
    result = export(only, tmp_path / "out", formats=["pt", "python"])
    assert not (tmp_path / "out" / "load.py").exists()
    assert "There is no load.py: numpy reads none of the weight files." in result.changes


def test_the_program_is_the_same_for_every_export_and_names_no_key(plan, tmp_path):
    export(plan, tmp_path / "one")
    export(wb.Mapping().plan(plan.checkpoint), tmp_path / "two")
    one, two = ((tmp_path / name / "load.py").read_bytes() for name in ("one", "two"))
    assert one == two
    ast.parse(one, feature_version=(3, 9))


def test_what_it_gives_is_what_load_export_gives(plan, tmp_path):
    export(plan, tmp_path / "out", formats=["npz", "python"])
    found = run(tmp_path / "out")[0]
    assert {name: data for name, (_, _, data) in found.items()} == {
        name: array.tobytes().hex() for name, array in flat(wb.load_export(tmp_path / "out")).items()
    }
