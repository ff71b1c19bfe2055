"""The button that folds: asked as the page asks, shown in the rows, taken back by undo."""

import numpy as np
from safetensors.numpy import save_file

import workbench as wb
from tests.widgets.asking import Asked


def test_the_button_of_the_finding_folds_and_undo_takes_it_back(tmp_path, page):
    parts = {"net.weight_g": np.ones((3, 1), np.float32), "net.weight_v": np.ones((3, 4), np.float32)}
    save_file(parts, tmp_path / "parts.safetensors")
    asked = Asked(wb.Workbench(tmp_path / "parts.safetensors"), page)
    found = wb.diagnose(asked.view.checkpoint)
    number = next(n for n, each in enumerate(found) if each.code == "weight-norm")
    done = asked.ask("repair", finding=number, revision=asked.view.revision)
    assert done == {"label": "Fold into weight"}
    rows = [row for row in asked.ask("rows", **{"from": 0, "to": 40})["rows"] if row["kind"] == "tensor"]
    assert {row["key"]: row["remapped"] for row in rows}["net.weight_v"] == "net.weight"
    assert {row["reason"] for row in rows} == {"folded from net.weight_v and net.weight_g", "folded into net.weight"}
    equation = asked.view.summary["equation"]
    assert (equation["found"], equation["out"], equation["skipped"]) == (2, 1, 1)
    assert asked.view.summary["undo"] == "Fold into weight"
    asked.ask("undo")
    assert asked.view.mapping == wb.Mapping()
    assert asked.view.summary["equation"]["out"] == 2
