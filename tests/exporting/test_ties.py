"""Tied tensors: under each of their names, or once with the others listed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors

import workbench as wb
from tests.oracles import torch as load_torch
from tests.writing.made import bits, flat
from workbench.exporting import export, load_export

FORMATS = ["npz", "safetensors", "pt", "bpk", "npy"]


@pytest.fixture
def tied(tmp_path):
    th = load_torch()
    shared = th.arange(12, dtype=th.float32).reshape(4, 3)
    th.save({"a.weight": shared, "b.weight": shared, "c.weight": shared[1:], "d": th.ones(2)}, tmp_path / "net.pt")
    return wb.open(tmp_path / "net.pt")


def plan_of(checkpoint, **decided):
    return wb.Mapping([wb.Rule("^a", "first")], reindex=False, **decided).plan(checkpoint)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("ties", ["once", "twice"])
def test_both_names_come_back_whichever_way_they_were_written(tied, tmp_path, format, ties):
    plan = plan_of(tied)
    export(plan, tmp_path / "out", formats=[format], ties=ties)
    got = flat(load_export(tmp_path / "out"))
    assert {name: bits(array) for name, array in got.items()} == {
        row.remapped: bits(row.tensor.read()) for row in plan.rows
    }
    is_one = got["first.weight"] is got["b.weight"]
    assert is_one == (ties == "once" and format != "pt")


def test_once_leaves_the_alias_out_of_the_file_and_lists_it_everywhere(tied, tmp_path):
    result = export(plan_of(tied), tmp_path / "out", formats=[*FORMATS, "report"], ties="once")
    with safetensors.safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert sorted(file.keys()) == ["c.weight", "d", "first.weight"]
        assert json.loads(file.metadata()["aliases"]) == {"b.weight": "first.weight"}
    assert sorted(wb.open(tmp_path / "out" / "model.bpk")) == ["c.weight", "d", "first.weight"]
    rows = {row["remapped"]: row for row in json.loads((tmp_path / "out" / "mapping.json").read_text())["rows"]}
    assert {name: row.get("tied_to") for name, row in rows.items()} == {
        "first.weight": None, "b.weight": "first.weight", "c.weight": None, "d": None,
    }  # fmt: skip
    assert "`b.weight` is `first.weight`" in (tmp_path / "out" / "REPORT.md").read_text()
    assert "b.weight: tied to first.weight, so not written again" in result.changes
    assert (
        "model.bpk: b.weight: tied to first.weight, so not written again; Burn will call it missing" in result.changes
    )


@pytest.mark.parametrize("precision", ["full", "half"])
@pytest.mark.parametrize("folder", ["out", "out.zip"])
def test_a_record_has_all_names_whatever_is_chosen_and_is_read_back(tmp_path, precision, folder):
    th = load_torch()
    shared = th.arange(12, dtype=th.float32).reshape(4, 3)
    th.save({"embed.weight": shared, "head.weight": shared, "spare": th.ones(2)}, tmp_path / "net.pt")
    source = "#[derive(Module, Debug)] pub struct Net<B: Backend> { embed: Embedding<B>, head: Linear<B> }"
    target = wb.Target.from_rust(f"use burn::nn::*; {source}", burn="0.20")
    plan = wb.Mapping(burn="0.20").plan(wb.open(tmp_path / "net.pt"), target)
    export(plan, tmp_path / folder, formats=["mpk", "report"], ties="once", precision=precision)
    got = flat(load_export(tmp_path / folder))
    assert sorted(got) == ["embed.weight", "head.weight"]
    dtype = "float32" if precision == "full" else "float16"
    assert {array.dtype.name for array in got.values()} == {dtype}
    assert np.array_equal(got["embed.weight"], np.arange(12).reshape(4, 3))
    assert np.array_equal(got["head.weight"], np.arange(12).reshape(4, 3).T)


def test_a_pt_keeps_one_storage_under_both_names(tied, tmp_path):
    export(plan_of(tied), tmp_path / "out", formats=["pt"], ties="once")
    loaded = load_torch().load(tmp_path / "out" / "model.pt", weights_only=True)
    assert loaded["first.weight"].data_ptr() == loaded["b.weight"].data_ptr()


def test_a_tie_of_which_burn_transposes_one_is_none_in_its_file(tied, tmp_path):
    plan = plan_of(tied, layout=wb.Layout(modules=[("b", "Linear")]))
    export(plan, tmp_path / "out", formats=["bpk"], ties="once")
    made = wb.open(tmp_path / "out" / "model.bpk")
    assert made.tensor("b.weight").shape == (3, 4)
    assert np.array_equal(made["b.weight"], made["first.weight"].T)
    got = flat(load_export(tmp_path / "out"))
    assert np.array_equal(got["b.weight"], got["first.weight"].T)


def test_a_word_that_is_neither_once_nor_twice_is_refused(tied, tmp_path):
    with pytest.raises(wb.ExportError, match="once or twice"):
        export(plan_of(tied), tmp_path / "out", ties="thrice")


def test_an_alias_of_nothing_is_refused(tied, tmp_path):
    export(plan_of(tied), tmp_path / "out", formats=["npz"], ties="once")
    path = tmp_path / "out" / "mapping.json"
    path.write_text(path.read_text().replace('"tied_to": "first.weight"', '"tied_to": "b.weight"'))
    with pytest.raises(wb.MappingError, match="tied to a name that is not there"):
        load_export(tmp_path / "out")
