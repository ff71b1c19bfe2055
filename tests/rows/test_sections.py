"""What the table shows below the tensors: the rest of the file, and its values."""

from pathlib import Path

import workbench as wb
from tests.oracles import torch
from workbench.rows import Table, View

SAMPLES = Path(wb.__file__).parent / "samples"


def lines(table):
    return [("  " * row["depth"]) + "".join(text for text, _ in row["label"]) for row in table.rows(0, 200)]


def opened(table, title):
    row = next(row for row in table.rows(0, 200) if row["key"] == title)
    return Table(table.plan, table.fold(row["id"], open=True), table)


def test_values_beside_the_tensors_are_folded_below_them_and_readable():
    table = Table(wb.Mapping().plan(wb.open(SAMPLES / "net_nested.pt")), View())
    assert "Values of the file, not exported" in lines(table)
    shown = {row["key"]: row for row in opened(table, "Values of the file, not exported").rows(0, 200)}
    assert (shown["epoch"]["target"], shown["epoch"]["dtype"]) == ([("3", "")], "int")
    assert shown["epoch"]["status"] == "value"


def test_tensors_outside_the_top_level_key_are_listed_as_the_rest_of_the_file(tmp_path):
    weights = torch().ones(2)
    path = tmp_path / "two.pt"
    torch().save({"model": {"a": weights, "b": weights}, "ema": {"a": weights}}, path)
    table = Table(wb.Mapping(top_level_key="model").plan(wb.open(path)), View())
    assert lines(table)[:3] == ["a", "b", "Rest of the file, not exported"]
    rest = opened(table, "Rest of the file, not exported").rows(0, 200)[3]
    assert (rest["key"], rest["status"], rest["shape"]) == ("ema.a", "outside", "2")


def test_a_whole_model_shows_the_class_of_each_module_and_what_no_state_dict_names(tmp_path):
    nn = torch().nn
    model = nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1, bias=False))
    model.register_buffer("mask", torch().zeros(3), persistent=False)
    path = tmp_path / "whole.pt"
    torch().save({"model": model}, path)
    table = Table(wb.Mapping(top_level_key="model").plan(wb.open(path)), View())
    notes = {row["key"]: row["note"] for row in table.rows(0, 200)}
    assert (notes["0"], notes["0.weight"], notes["1.weight"]) == ("Linear", "", "Conv1d")
    beside = opened(table, "Beside the state_dict, not exported").rows(0, 200)
    assert [row["key"] for row in beside if row["depth"] and row["status"] == "outside"] == ["model.mask"]
    assert "non-persistent" in next(row["reason"] for row in beside if row["key"] == "model.mask")


def test_a_text_is_found_in_values_too():
    table = Table(wb.Mapping().plan(wb.open(SAMPLES / "net_nested.pt")), View(find="epoch"))
    assert lines(table) == ["Values of the file, not exported", "  epoch"]


def test_a_chip_leaves_the_sections_out():
    table = Table(wb.Mapping().plan(wb.open(SAMPLES / "net_nested.pt")), View(chip="unchanged"))
    assert not any("not exported" in line for line in lines(table))


def test_the_names_of_the_pickle_are_listed_the_worst_first_where_some_are_not_for_tensors(tmp_path):
    path = tmp_path / "module.pt"
    torch().save({"w": torch().ones(1), "layer": torch().nn.ReLU()}, path)
    title = "What the pickle names, none of it run"
    table = Table(wb.Mapping().plan(wb.open(path)), View())
    assert lines(table)[-1] == title
    shown = [row for row in opened(table, title).rows(0, 200) if row["depth"] and row["target"]]
    kinds = [row["target"][0][0] for row in shown if row["key"] in wb.open(path).names]
    assert kinds[0] == "inert"
    assert kinds[-1] == "needed for tensors"
    assert title not in lines(Table(wb.Mapping().plan(wb.open(SAMPLES / "net.pt")), View()))


def test_a_safetensors_file_has_no_sections():
    table = Table(wb.Mapping().plan(wb.open(SAMPLES / "net.safetensors")), View())
    assert table.extras == ()
