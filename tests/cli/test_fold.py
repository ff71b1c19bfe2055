"""--fold on the command line: shown, exported and fixed."""

from __future__ import annotations

import json
import warnings

import pytest

from tests import oracles
from tests.cli.test_fix import workbench


@pytest.fixture
def path(tmp_path):
    torch = oracles.torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.nn.Sequential(
            torch.nn.utils.weight_norm(torch.nn.Linear(4, 3)),
            torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 3)),
        )
    torch.save(model.state_dict(), tmp_path / "net.pt")
    return tmp_path / "net.pt"


def test_remap_shows_what_is_folded_and_has_burn_read_the_export(path, tmp_path):
    said = workbench("remap", path, "--fold", "--save", tmp_path / "mapping.json").stdout
    assert "folded from 0.weight_v and 0.weight_g" in said
    assert "skipped: folded into 0.weight" in said
    assert "[fold-needs-export]" not in said
    saved = json.loads((tmp_path / "mapping.json").read_text())
    assert (saved["fold"], saved["route"]) == (True, "exported")
    entries = json.loads(workbench("remap", path, "--mapping", tmp_path / "mapping.json", "--json").stdout)["entries"]
    assert [entry["folded_from"] for entry in entries if "folded_from" in entry] == [["0.weight_v", "0.weight_g"]]
    plain = json.loads(workbench("remap", path, "--mapping", tmp_path / "mapping.json", "--no-fold", "--json").stdout)
    assert not any("folded_from" in entry for entry in plain["entries"])


def test_who_insists_on_the_original_file_is_told_that_burn_gets_the_parts(path):
    said = workbench("remap", path, "--fold", "--route", "original").stdout
    assert "[fold-needs-export]" in said


def test_fix_says_what_it_folded_and_what_it_could_not(path, tmp_path):
    torch = oracles.torch()
    said = workbench("fix", path, "-o", tmp_path / "out.pt", "--fold").stdout
    assert "folded: 0.weight from 0.weight_v and 0.weight_g" in said
    assert "not folded: 1.weight: it is an orthogonal parametrization" in said
    assert list(torch.load(tmp_path / "out.pt"))[:2] == ["0.bias", "0.weight"]


def test_export_folds_and_diagnose_names_the_option(path, tmp_path):
    import safetensors.numpy

    workbench("export", path, "-o", tmp_path / "out", "--fold", "--format", "safetensors")
    assert "0.weight" in safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert "--fold" in workbench("diagnose", path).stdout
