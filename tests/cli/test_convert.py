"""`workbench convert` and `wb.convert`: one file of weights as another kind of file, and nothing beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import workbench as wb
from tests.cli.test_commands import NESTED, NET, answer, fault, workbench
from tests.oracles import torch

LINEAR = """
use burn::{module::Module, nn::{Linear, LayerNorm}, tensor::backend::Backend};

#[derive(Module, Debug)]
pub struct Net<B: Backend> {
    fc: Linear<B>,
    norm: LayerNorm<B>,
}
"""


def linear(path: Path) -> dict[str, np.ndarray]:
    made = {
        "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fc.bias": np.ones(2, np.float32),
        "norm.weight": np.full(2, 3, np.float32),
        "norm.bias": np.zeros(2, np.float32),
    }
    torch().save({key: torch().from_numpy(array) for key, array in made.items()}, path)
    return made


def test_the_ending_decides_and_other_programs_read_the_file(tmp_path):
    source = {key: wb.open(NET)[key] for key in wb.open(NET)}
    for name in ("net.safetensors", "net.npz", "net.pt", "net.pth", "net.bin"):
        assert workbench("convert", NET, tmp_path / name).stdout.splitlines()[0] == str(tmp_path / name)
    read = [
        safetensors.numpy.load_file(tmp_path / "net.safetensors"),
        dict(np.load(tmp_path / "net.npz")),
        *(torch().load(tmp_path / name, weights_only=True) for name in ("net.pt", "net.pth", "net.bin")),
    ]
    for arrays in read:
        assert set(arrays) == set(source)
        assert all(np.array_equal(np.asarray(arrays[key]), source[key]) for key in source)
    assert {path.name for path in tmp_path.iterdir()} == {
        "net.safetensors", "net.npz", "net.pt", "net.pth", "net.bin"
    }  # fmt: skip


def test_without_an_ending_it_is_a_folder_that_numpy_reads(tmp_path):
    workbench("convert", NET, tmp_path / "arrays")
    index = json.loads((tmp_path / "arrays" / "index.json").read_text())
    source = wb.open(NET)
    assert set(index["tensors"]) == set(source)
    for key, facts in index["tensors"].items():
        assert np.array_equal(np.load(tmp_path / "arrays" / facts["file"]), source[key])
    assert "[files-exist]" in fault("convert", NET, tmp_path / "arrays")
    workbench("convert", NET, tmp_path / "arrays", "--overwrite")
    (tmp_path / "arrays" / "mine.txt").write_text("mine")
    fault("convert", NET, tmp_path / "arrays", "--overwrite")
    assert (tmp_path / "arrays" / "mine.txt").read_text() == "mine"


def test_burns_files_have_burns_layout_where_the_types_are_known_and_each_change_is_named(tmp_path):
    made = linear(tmp_path / "net.pt")
    (tmp_path / "net.rs").write_text(LINEAR)
    said = workbench("convert", tmp_path / "net.pt", tmp_path / "net.bpk", "--target", tmp_path / "net.rs").stdout
    assert "fc.weight: transposed" in said
    assert "norm.weight: named norm.gamma" in said
    written = wb.open(tmp_path / "net.bpk")
    assert np.array_equal(written["fc.weight"], made["fc.weight"].T)
    assert np.array_equal(written["norm.gamma"], made["norm.weight"])

    said = workbench("convert", tmp_path / "net.pt", tmp_path / "plain.bpk").stdout
    assert "left in PyTorch's layout" in said
    assert np.array_equal(wb.open(tmp_path / "plain.bpk")["fc.weight"], made["fc.weight"])


def test_an_mpk_is_written_from_the_structs_of_the_target(tmp_path):
    made = linear(tmp_path / "net.pt")
    (tmp_path / "net.rs").write_text(LINEAR)
    options = ("--burn", "0.20", "--target", tmp_path / "net.rs")
    workbench("convert", tmp_path / "net.pt", tmp_path / "net.mpk", *options)
    written = wb.open(tmp_path / "net.mpk")
    assert np.array_equal(written["fc.weight"], made["fc.weight"].T)
    workbench("convert", tmp_path / "net.pt", tmp_path / "half.mpk", *options, "--precision", "half")
    assert wb.open(tmp_path / "half.mpk").tensors[0].dtype.name == "float16"
    assert "[no-mpk]" in fault("convert", tmp_path / "net.pt", tmp_path / "new.mpk")


def test_without_a_framework_no_version_of_burn_is_blamed_and_the_one_taken_is_told(tmp_path):
    linear(tmp_path / "net.pt")
    said = fault("convert", tmp_path / "net.pt", tmp_path / "new.mpk", "--burn", "none")
    assert "none is chosen" in said
    assert "0.22" not in said
    assert "--burn 0.21" in said
    assert not (tmp_path / "new.mpk").exists()
    changes = answer("convert", tmp_path / "net.pt", tmp_path / "new.bpk", "--burn", "none")["changes"]
    assert "written as Burn 0.22 does it, for no version is chosen" in changes
    changes = answer("convert", tmp_path / "net.pt", tmp_path / "known.bpk", "--burn", "0.22")["changes"]
    assert not any("no version is chosen" in line for line in changes)
    for name in ("new.safetensors", "new.npz", "new.pt"):
        assert answer("convert", tmp_path / "net.pt", tmp_path / name, "--burn", "none")["changes"] == []


def test_names_that_no_model_can_hold_are_refused_with_a_way_out_that_convert_has_not(tmp_path):
    torch().save({"a": torch().ones(2), "a.b": torch().ones(2)}, tmp_path / "prefix.pt")
    said = fault("convert", tmp_path / "prefix.pt", tmp_path / "out.bpk", exits=1)
    assert "prefix.pt" in said
    assert "workbench export --rule" in said
    assert not (tmp_path / "out.bpk").exists()


@pytest.mark.parametrize("command", ["convert", "export", "fix"])
def test_an_empty_path_is_not_taken_for_the_current_folder(command):
    out = [""] if command == "convert" else ["-o", ""]
    assert "is empty, and needs a path" in fault(command, NESTED, *out)


def test_a_file_without_tensors_is_said_to_hold_none(tmp_path):
    torch().save({"step": 3, "m": torch().zeros(3, device="meta")}, tmp_path / "none.pt")
    for command in (
        ["convert", tmp_path / "none.pt", tmp_path / "a.pt"],
        ["fix", tmp_path / "none.pt", "-o", tmp_path / "b.pt"],
    ):
        assert "No tensor is left: the file holds none." in workbench(*command).stdout


def test_only_what_is_below_a_key_is_taken_where_one_is_named(tmp_path):
    found = answer("convert", NESTED, tmp_path / "out.safetensors", "--top-level-key", "my_state_dict")
    assert found["n_tensors"] == len(safetensors.numpy.load_file(tmp_path / "out.safetensors")) > 0
    assert not any(
        key.startswith("my_state_dict.") for key in safetensors.numpy.load_file(tmp_path / "out.safetensors")
    )
    fault("convert", NESTED, tmp_path / "two.safetensors", "--top-level-key", "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]


def test_an_ending_that_says_nothing_is_refused(tmp_path):
    said = fault("convert", NET, tmp_path / "net.docx")
    assert ".safetensors" in said
    assert "[export-format]" in said


def test_nothing_is_replaced_unasked_and_the_source_never(tmp_path):
    out = tmp_path / "net.npz"
    out.write_text("mine")
    assert "--overwrite" in fault("convert", NET, out)
    assert out.read_text() == "mine"
    workbench("convert", NET, out, "--overwrite")
    (tmp_path / "net.pt").write_bytes(Path(NET).read_bytes())
    os.link(tmp_path / "net.pt", tmp_path / "link.pt")
    for name in ("net.pt", "link.pt"):
        assert "[writes-over-source]" in fault("convert", tmp_path / "net.pt", tmp_path / name, "--overwrite")
    assert (tmp_path / "net.pt").read_bytes() == Path(NET).read_bytes()


def test_in_python_the_result_says_what_was_written(tmp_path):
    result = wb.convert(wb.open(NET), tmp_path / "net.npz")
    assert (result.path, result.n_tensors) == (tmp_path / "net.npz", 3)
    assert result.nbytes == result.path.stat().st_size
    assert result.changes == result.left_out == ()
    seen = []
    wb.convert(NET, tmp_path / "net.safetensors", progress=seen.append)
    assert {(each.file, each.step) for each in seen} == {("net.safetensors", "write"), ("net.safetensors", "verify")}
    with pytest.raises(wb.ExportCancelled):
        wb.convert(NET, tmp_path / "never.npz", cancel=lambda: True)
    assert not (tmp_path / "never.npz").exists()


def test_values_that_are_no_tensors_are_said_to_be_left_out(tmp_path):
    torch().save({"w": torch().ones(2), "epoch": 3, "hyper": {"lr": 0.1}}, tmp_path / "train.pt")
    facts = answer("convert", tmp_path / "train.pt", tmp_path / "w.npz")
    assert facts["changes"] == ["left out, no tensors: epoch, hyper.lr"]
    torch().save({"w": torch().ones(2)}, tmp_path / "plain.pt")
    assert answer("convert", tmp_path / "plain.pt", tmp_path / "plain.npz")["changes"] == []


def test_a_file_that_is_there_is_called_by_its_name(tmp_path):
    (tmp_path / "out.npz").write_bytes(b"mine")
    said = fault("convert", NET, tmp_path / "out.npz")
    assert said.startswith("Error: out.npz: This exists already.")
    assert (tmp_path / "out.npz").read_bytes() == b"mine"


def test_a_tensor_named_as_the_parent_of_another_is_kept_where_names_are_flat(tmp_path):
    made = {"a": torch().zeros(3), "a.b": torch().ones(2)}
    torch().save(made, tmp_path / "flat.pt")
    workbench("convert", tmp_path / "flat.pt", tmp_path / "flat.safetensors")
    read = safetensors.numpy.load_file(tmp_path / "flat.safetensors")
    assert {key: array.tolist() for key, array in read.items()} == {"a": [0, 0, 0], "a.b": [1, 1]}


@pytest.mark.parametrize("out", [".", "/", ".."])
def test_a_folder_is_no_name_for_what_is_written(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(wb.ExportError) as caught:
        wb.convert(NET, out)
    assert caught.value.code == "no-file-name"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run-10:30", "a\\b", "a\nb", "a\udcffb"])
def test_a_name_that_no_index_can_list_is_refused_before_shards_are_written(tmp_path, name):
    with pytest.raises(wb.ExportError) as caught:
        wb.convert(NET, tmp_path / f"{name}.safetensors", shard_size=1)
    assert caught.value.code == "shard-name"
    assert list(tmp_path.iterdir()) == []
    assert wb.convert(NET, tmp_path / f"{name}.safetensors").path.exists()
