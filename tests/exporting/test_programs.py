"""The programs of a bundle: which file load.rs loads, and what it does when there is none."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

import workbench as wb
from tests.oracles import torch as load_torch
from tests.writing.made import checkpoint_of, values
from workbench.burn import VERSIONS, apis_of
from workbench.exporting import export
from workbench.mapping import Layout

SOURCE = """
use burn::nn::Linear;
#[derive(Module, Debug)]
pub struct Network<B: Backend> { fc: Linear<B> }
"""
TABLE = {"net.fc.weight": values("float32", (2, 2)), "net.fc.bias": values("float32", (2,))}


@pytest.fixture
def torch_file(tmp_path):
    th = load_torch()
    th.save(
        {name: th.from_numpy(np.ones(array.shape, np.float32)) for name, array in TABLE.items()}, tmp_path / "net.pt"
    )
    return wb.open(tmp_path / "net.pt")


def program(checkpoint, folder, formats, target=None, **decided):
    plan = wb.Mapping([wb.Rule(r"^net\.", "")], **decided).plan(checkpoint, target)
    result = export(plan, folder, formats=[*formats, "rust", "report"])
    path = folder / "load.rs"
    return (path.read_text() if path.exists() else ""), result, (folder / "REPORT.md").read_text()


def test_the_original_is_read_with_the_rules_where_burn_can(torch_file, tmp_path):
    text, result, report = program(torch_file, tmp_path / "out", ["bpk"])
    assert '"net.pt".to_string()' in text
    assert "with_key_remapping" in text
    assert "`load.rs` loads the original file, `net.pt` with PytorchStore of Burn 0.22" in report
    assert not any("load.rs" in line for line in result.changes)


def test_the_exported_file_is_read_without_rules_where_the_mapping_says_so(torch_file, tmp_path):
    text, _, report = program(torch_file, tmp_path / "out", ["safetensors"], route="exported")
    assert '"model.safetensors".to_string()' in text
    assert "remapping" not in text
    assert "`load.rs` loads `model.safetensors` of this folder" in report


def test_the_exported_file_is_read_where_the_original_would_need_more_than_burn_can(torch_file, tmp_path):
    cast = [wb.Cast("float16", from_dtype="float32")]
    text, result, report = program(torch_file, tmp_path / "out", ["safetensors"], casts=cast)
    assert '"model.safetensors".to_string()' in text
    assert "NOT in this code" not in text
    (said,) = [line for line in result.changes if "load.rs" in line]
    assert "The casts to other dtypes." in said
    assert "The casts to other dtypes." in report


@pytest.mark.parametrize(
    ("burn", "formats", "file"),
    [
        ("0.22", ["npz", "safetensors", "pt", "bpk"], "model.bpk"),
        ("0.22", ["pt", "safetensors"], "model.safetensors"),
        ("0.21", ["mpk", "pt"], "model.pt"),
        ("0.20", ["mpk"], "model.mpk"),
        ("0.18", ["safetensors", "pt"], "model.safetensors"),
    ],
)
def test_the_best_file_that_the_version_reads_is_taken(torch_file, tmp_path, burn, formats, file):
    target = wb.Target.from_rust(SOURCE, burn=burn)
    text, _, _ = program(torch_file, tmp_path / "out", formats, target, burn=burn, route="exported")
    assert f'"{file}".to_string()' in text
    assert "NOT in this code" not in text


def test_a_record_of_half_precision_is_loaded_as_one(torch_file, tmp_path):
    plan = wb.Mapping([wb.Rule(r"^net\.", "")], burn="0.20", route="exported").plan(
        torch_file, wb.Target.from_rust(SOURCE, burn="0.20")
    )
    export(plan, tmp_path / "out", formats=["mpk", "rust"], precision="half")
    text = (tmp_path / "out" / "load.rs").read_text()
    assert "NamedMpkFileRecorder::<HalfPrecisionSettings>" in text


def test_a_file_of_burns_own_layout_is_not_adapted_again(torch_file, tmp_path):
    target = wb.Target.from_rust(SOURCE)
    known, _, _ = program(torch_file, tmp_path / "known", ["bpk"], target, route="exported")
    assert "Adapter" not in known
    unknown, _, _ = program(torch_file, tmp_path / "unknown", ["bpk"], route="exported")
    assert "PyTorchToBurnAdapter" in unknown
    never, _, _ = program(torch_file, tmp_path / "never", ["bpk"], route="exported", layout=Layout(adapt=False))
    assert "Adapter" not in never


def test_a_file_with_both_layouts_is_passed_over_for_one_that_the_loader_adapts(tmp_path):
    table = {f"{name}.weight": np.eye(2, dtype=np.float32) for name in ("a", "b")}
    plan = wb.Mapping(route="exported", layout=Layout(modules=[("a", "Linear")])).plan(
        checkpoint_of(tmp_path / "x.safetensors", table)
    )
    export(plan, tmp_path / "out", formats=["bpk", "safetensors", "rust"])
    assert '"model.safetensors".to_string()' in (tmp_path / "out" / "load.rs").read_text()
    export(plan, tmp_path / "only", formats=["bpk", "rust"])
    assert "type is not known" in (tmp_path / "only" / "load.rs").read_text()


def test_several_shards_are_no_file_that_burn_reads(torch_file, tmp_path):
    plan = wb.Mapping(route="exported").plan(torch_file)
    result = export(plan, tmp_path / "out", formats=["safetensors", "rust"], shard_size=10)
    assert not (tmp_path / "out" / "load.rs").exists()
    assert "There is no load.rs: Burn 0.22 reads none of the weight files." in result.changes
    export(plan, tmp_path / "two", formats=["safetensors", "pt", "bpk", "rust"], shard_size=10)
    assert '"model.bpk".to_string()' in (tmp_path / "two" / "load.rs").read_text()


def test_without_a_framework_there_is_no_rust(torch_file, tmp_path):
    text, result, report = program(torch_file, tmp_path / "out", ["npz"], burn=None)
    assert not text
    assert "There is no load.rs" in report
    assert "There is no load.rs: the mapping is for no framework." in result.changes


def test_the_source_of_the_target_comes_along_as_model_rs(torch_file, tmp_path):
    text, _, _ = program(torch_file, tmp_path / "out", ["bpk"], wb.Target.from_rust(SOURCE))
    assert (tmp_path / "out" / "model.rs").read_text() == SOURCE
    assert "model::Network::new(&device)" in text
    (tmp_path / "file.rs").write_text(SOURCE)
    program(torch_file, tmp_path / "two", ["bpk"], wb.Target.open(tmp_path / "file.rs"))
    assert (tmp_path / "two" / "model.rs").read_text() == SOURCE
    _, _, report = program(torch_file, tmp_path / "three", ["bpk"])
    assert not (tmp_path / "three" / "model.rs").exists()
    assert "Put your `model.rs` beside it first." in report


@pytest.mark.parametrize("burn", VERSIONS)
def test_the_manifest_builds_load_rs_alone(torch_file, tmp_path, burn):
    for api in apis_of(burn):
        program(torch_file, tmp_path / f"{burn}-{api}", ["safetensors"], burn=burn, api=api)
        manifest = tomllib.loads((tmp_path / f"{burn}-{api}" / "Cargo.toml").read_text())
        assert manifest["bin"] == [{"name": "load", "path": "load.rs"}]
        assert manifest["workspace"] == {}


@pytest.mark.parametrize("name", ["Cargo.toml", "load.rs", "load.py", "REPORT.md"])
def test_a_program_of_another_origin_is_never_written_over(torch_file, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    plan = wb.Mapping().plan(torch_file)
    with pytest.raises(wb.ExportError, match="not of an earlier export") as caught:
        export(plan, tmp_path / "out", overwrite=True)
    assert caught.value.code == "not-of-an-export"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {name}
    (tmp_path / "out" / name).unlink()
    export(plan, tmp_path / "out")
    (tmp_path / "out" / name).write_text("edited")
    wb.load_export(tmp_path / "out")
    export(plan, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / name).read_text() != "edited"


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", '{"files": [[]]}', "\x00"])
def test_a_mapping_that_says_nothing_of_files_makes_no_program_one_of_an_export(torch_file, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mapping.json").write_text(text)
    (tmp_path / "out" / "load.py").write_text("mine")
    with pytest.raises(wb.ExportError) as caught:
        export(wb.Mapping().plan(torch_file), tmp_path / "out", overwrite=True)
    assert caught.value.code == "not-of-an-export"
    assert (tmp_path / "out" / "load.py").read_text() == "mine"
