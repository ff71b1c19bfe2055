"""The weight files of one export: what each holds, in whose layout, and what is refused before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import workbench as wb
from tests.burn import oracle
from tests.cli.test_commands import fault, workbench
from tests.oracles import torch as load_torch
from tests.writing.made import bits, checkpoint_of, flat, tree_of, values
from workbench.exporting import export, load_export, planned_files
from workbench.mapping import Cast, Layout
from workbench.writing.files import FORMATS, WeightFile

ALL = [format for format in FORMATS if format != "mpk"]  # That one needs a target.
DTYPES = ["float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool"]


def table_of():
    found = {f"block.{n}.{dtype}": values(dtype, (3, n + 1), n) for n, dtype in enumerate(DTYPES)}
    return found | {"scalar": values("float32", ()), "nothing": values("float32", (0, 2))}


@pytest.fixture
def plan(tmp_path):
    return wb.Mapping([wb.Rule("^block", "b")], reindex=False).plan(
        checkpoint_of(tmp_path / "x.safetensors", table_of())
    )


def same(checkpoint_or_dict, plan):
    got = {name: bits(array) for name, array in checkpoint_or_dict.items()}
    return got == {row.remapped: bits(row.tensor.read()) for row in plan.rows}


def test_all_formats_hold_the_same_values_under_the_new_names(plan, tmp_path):
    result = export(plan, tmp_path / "out", formats=ALL)
    assert [path.name for path in result.paths] == ["mapping.json", *(FORMATS[format] for format in ALL)]
    for format in ("safetensors", "pt", "bpk"):
        assert same(wb.open(tmp_path / "out" / FORMATS[format]), plan), format
    assert same(flat(load_export(tmp_path / "out")), plan)


@pytest.mark.parametrize("format", ALL)
def test_an_export_of_one_format_is_read_back(plan, tmp_path, format):
    export(plan, tmp_path / "out", formats=[format])
    assert {name.partition("/")[0] for name in tree_of(tmp_path / "out")} == {"mapping.json", FORMATS[format]}
    assert same(flat(load_export(tmp_path / "out")), plan)
    assert [file.name for file in planned_files(plan, [format])] == ["mapping.json", FORMATS[format]]


def test_the_same_plan_gives_the_same_bytes(plan, tmp_path):
    export(plan, tmp_path / "one", formats=ALL)
    export(plan, tmp_path / "two", formats=ALL)
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two")


def test_an_unknown_format_is_refused_with_those_that_are_known(plan, tmp_path):
    with pytest.raises(wb.ExportError, match="Those there are: npz, safetensors, pt, bpk"):
        export(plan, tmp_path / "out", formats=["onnx"])
    assert not (tmp_path / "out").exists()


def test_a_dtype_that_only_some_formats_hold_is_refused_for_the_others_alone(tmp_path):
    table = {"w": values("float8_e5m2", (2, 3)), "v": values("float32", (2,))}
    plan = wb.Mapping().plan(checkpoint_of(tmp_path / "x.safetensors", table))
    before = tree_of(tmp_path)
    with pytest.raises(wb.ExportError, match=r"'w' \(float8_e5m2\): Burn has no such dtype"):
        export(plan, tmp_path / "out", formats=["pt", "bpk"])
    assert tree_of(tmp_path) == before
    export(plan, tmp_path / "out", formats=["pt", "safetensors"])
    assert same(wb.open(tmp_path / "out" / "model.pt"), plan)


# ---- layout and casts -----------------------------------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path):
    th = load_torch()
    th.manual_seed(0)
    net = th.nn.Sequential(th.nn.BatchNorm1d(3), th.nn.Linear(3, 3), th.nn.Linear(3, 2))
    th.save(net, tmp_path / "whole.pt")
    return wb.open(tmp_path / "whole.pt"), {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def test_a_bpk_has_the_layout_of_burn_where_modules_are_known_and_the_others_have_that_of_torch(whole, tmp_path):
    checkpoint, state = whole
    result = export(wb.Mapping(reindex=False).plan(checkpoint), tmp_path / "out", formats=ALL)
    burn = wb.open(tmp_path / "out" / "model.bpk")
    assert bits(burn["0.gamma"]) == bits(state["0.weight"])
    assert bits(burn["0.beta"]) == bits(state["0.bias"])
    assert bits(burn["1.weight"]) == bits(np.ascontiguousarray(state["1.weight"].T))
    assert bits(burn["2.weight"]) == bits(np.ascontiguousarray(state["2.weight"].T))
    loaded = load_torch().load(tmp_path / "out" / "model.pt", weights_only=True)
    assert {name: bits(tensor.numpy()) for name, tensor in loaded.items()} == {n: bits(a) for n, a in state.items()}
    assert result.changes == (
        "model.bpk: 0.weight: named 0.gamma",
        "model.bpk: 0.bias: named 0.beta",
        "model.bpk: 1.weight: transposed",
        "model.bpk: 2.weight: transposed",
    )
    rows = {row["original"]: row for row in json.loads((tmp_path / "out" / "mapping.json").read_text())["rows"]}
    assert rows["1.weight"]["bpk"] == {"name": "1.weight", "shape": [3, 3], "dtype": "float32", "transposed": True}
    assert "bpk" not in rows["1.bias"]


def test_nothing_is_transposed_where_the_mapping_says_not_to_adapt(whole, tmp_path):
    checkpoint, state = whole
    plan = wb.Mapping(reindex=False, layout=Layout(adapt=False)).plan(checkpoint)
    result = export(plan, tmp_path / "out", formats=["bpk"])
    assert {name: bits(array) for name, array in wb.open(tmp_path / "out" / "model.bpk").items()} == {
        name: bits(array) for name, array in state.items()
    }
    assert result.changes == ()


def test_a_matrix_of_unknown_type_is_left_and_named(tmp_path):
    checkpoint = checkpoint_of(tmp_path / "x.safetensors", {"fc.weight": values("float32", (2, 2))})
    (said,) = export(wb.Mapping().plan(checkpoint), tmp_path / "out", formats=["bpk"]).changes
    assert "left in PyTorch's layout" in said
    assert "fc.weight" in said
    marked = wb.Mapping(layout=Layout(modules=(("fc", "Linear"),))).plan(checkpoint)
    assert export(marked, tmp_path / "two", formats=["bpk"]).changes == ("model.bpk: fc.weight: transposed",)


def test_a_cast_is_exact_and_named(tmp_path):
    table = {"w": np.array([1.5, -2.25, 3.1415927], np.float32), "n": np.array([1, 2], np.int64)}
    plan = wb.Mapping(casts=[Cast("bfloat16", from_dtype="float32")]).plan(
        checkpoint_of(tmp_path / "x.safetensors", table)
    )
    result = export(plan, tmp_path / "out", formats=ALL)
    for name in ("model.pt", "model.bpk", "model.safetensors"):
        back = wb.open(tmp_path / "out" / name)
        assert bits(back["w"]) == bits(table["w"].astype(ml_dtypes.bfloat16))
        assert bits(back["n"]) == bits(table["n"])
    assert result.changes == ("w: cast from float32 to bfloat16",)


@pytest.mark.parametrize("version", ["0.21", "0.22"])
def test_real_burn_loads_the_bpk_of_a_whole_model_into_its_modules(whole, tmp_path, version):
    checkpoint, state = whole
    export(wb.Mapping(burn=version, reindex=False).plan(checkpoint), tmp_path / "out", formats=["bpk"])
    wanted = {"0.gamma": state["0.weight"], "0.beta": state["0.bias"], "1.bias": state["1.bias"]}
    wanted |= {"1.weight": state["1.weight"].T, "2.weight": state["2.weight"].T, "2.bias": state["2.bias"]}
    kinds = {"0": "Struct:BatchNorm", "1": "Struct:Linear", "2": "Struct:Linear"}
    params = [
        {"path": path, "stack": ["Struct:Net", kinds[path[0]]], "shape": list(array.shape), "kind": "float"}
        for path, array in wanted.items()
    ]
    question = {"ask": "load", "store": "BurnpackStore", "file": str(tmp_path / "out" / "model.bpk"), "rules": []}
    question |= {"params": params, "adapter": False, "validate": True, "allow_partial": False}
    (answer,) = oracle.ask(f"burn-store-{version}", [question])
    assert sorted(answer["result"]["applied"]) == sorted(wanted)
    for path, array in wanted.items():
        held = answer["params"][path]
        assert held["shape"] == list(array.shape)
        assert held["sha256"] == hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


# ---- what keeps files whole -----------------------------------------------------------------------------------------


def test_a_file_that_does_not_read_back_is_not_put_in_place(plan, tmp_path, monkeypatch):
    write = WeightFile.write

    def spoilt(self, folder, meter):
        crcs = write(self, folder, meter)
        with (folder / self.name).open("r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)
            file.seek(-1, 2)
            file.write(bytes([last[0] ^ 1]))
        return crcs

    monkeypatch.setattr(WeightFile, "write", spoilt)
    with pytest.raises(wb.ExportError, match="does not read back") as caught:
        export(plan, tmp_path / "out", formats=["safetensors"])
    assert caught.value.code == "not-verified"
    assert not (tmp_path / "out").exists()
    export(plan, tmp_path / "out", formats=["safetensors"], verify=False)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_too_little_space_is_said_before_anything_is_written(plan, tmp_path, monkeypatch):
    before = tree_of(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=100, used=90, free=10))
    with pytest.raises(wb.ExportError, match="The disk has 10 B left") as caught:
        export(plan, tmp_path / "deep" / "out", formats=["pt"])
    assert caught.value.code == "disk-full"
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize("format", ALL)
def test_an_export_never_writes_over_its_source_through_a_link(plan, tmp_path, link, format):
    source = tmp_path / "x.safetensors"
    (tmp_path / "out").mkdir()
    link(source, tmp_path / "out" / FORMATS[format])
    before = tree_of(tmp_path)
    with pytest.raises(wb.ExportError, match="the checkpoint itself"):
        export(plan, tmp_path / "out", formats=[format], overwrite=True)
    assert tree_of(tmp_path) == before


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_formats_asked_for_and_says_what_is_changed(whole, tmp_path):
    said = workbench(
        "export", tmp_path / "whole.pt", "-o", tmp_path / "out", "--format", "pt", "--format", "bpk", "--no-reindex"
    ).stdout
    assert sorted(tree_of(tmp_path / "out")) == ["mapping.json", "model.bpk", "model.pt"]
    assert "model.bpk: 1.weight: transposed" in said


def test_the_command_takes_the_types_of_modules_from_a_target(tmp_path):
    safetensors.numpy.save_file({"fc.weight": np.eye(2, 3, dtype=np.float32)}, tmp_path / "net.safetensors")
    (tmp_path / "model.rs").write_text(
        "use burn::nn::Linear;\n#[derive(Module, Debug)]\npub struct Net<B: Backend> { fc: Linear<B> }\n"
    )
    workbench(
        "export",
        tmp_path / "net.safetensors",
        "-o",
        tmp_path / "out",
        "--format=bpk",
        "--target",
        tmp_path / "model.rs",
    )
    assert wb.open(tmp_path / "out" / "model.bpk").tensor("fc.weight").shape == (3, 2)


def test_the_command_refuses_a_format_it_does_not_know(tmp_path):
    safetensors.numpy.save_file({"w": np.ones(1, np.float32)}, tmp_path / "net.safetensors")
    assert "npz, safetensors, pt, bpk" in fault(
        "export", tmp_path / "net.safetensors", "-o", tmp_path / "out", "--format", "onnx"
    )
