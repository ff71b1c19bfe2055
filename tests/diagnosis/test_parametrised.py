"""Weights in parts: the finding, and the repair that folds them, from the session to the file."""

from __future__ import annotations

import json
import warnings

import pytest

import workbench as wb
from tests import oracles
from workbench.finding import Severity


@pytest.fixture
def checkpoint(tmp_path):
    torch = oracles.torch()
    import torch.nn.utils.prune as prune

    nn = torch.nn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(
            nn.utils.weight_norm(nn.Linear(4, 4)),
            nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
            nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)),
        )
        prune.random_unstructured(model[2], "bias", 0.5)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    return wb.open(tmp_path / "net.pt")


def parted(findings):
    kinds = ("weight-norm", "spectral-norm", "pruned", "parametrised")
    return {each.code: each for each in findings if each.code in kinds}


def test_each_kind_is_found_and_what_can_be_folded_has_the_repair(checkpoint):
    found = parted(wb.diagnose(checkpoint))
    assert set(found) == {"weight-norm", "spectral-norm", "pruned", "parametrised"}
    assert all(each.severity is Severity.WARNING for each in found.values())
    assert {code for code, each in found.items() if each.repair is not None} == {
        "weight-norm",
        "spectral-norm",
        "pruned",
    }
    assert found["weight-norm"].repair.label == "Fold into weight"
    assert "orthogonal" in found["parametrised"].text
    assert 'remove_parametrizations(module, "weight")' in found["parametrised"].next_step
    assert 'prune.remove(module, "bias")' in found["pruned"].next_step
    assert "torch.nn.utils.remove_weight_norm(module)" in found["weight-norm"].next_step


def test_the_repair_folds_ends_the_findings_and_is_undone(checkpoint, tmp_path):
    session = wb.Session(checkpoint)
    session.repair(parted(session.findings)["spectral-norm"].repair)
    assert session.undo_label == "Fold into weight"
    assert (session.mapping.fold, session.mapping.route) == (True, "exported")
    assert set(parted(session.findings)) == {"parametrised"}
    kept = [row.remapped for row in session.plan.rows if row.status != "skipped"]
    assert {"0.weight", "1.weight", "2.bias"} <= set(kept)
    wb.export(session.plan, tmp_path / "out", formats=["safetensors"])
    facts = json.loads((tmp_path / "out" / "mapping.json").read_text())
    assert facts["fold"] is True
    rows = {row["original"]: row for row in facts["rows"]}
    assert rows["0.weight_v"]["folded_from"] == ["0.weight_v", "0.weight_g"]
    assert rows["0.weight_g"]["reason"] == "folded into 0.weight"
    assert wb.Mapping.load(tmp_path / "out" / "mapping.json") == session.mapping
    assert session.undo() == "Fold into weight"
    assert session.mapping == wb.Mapping()
    assert list(session.plan.remapped) == list(session.plan.originals)
    session.redo()
    assert session.plan.folded


def test_an_error_that_misses_the_plain_weight_is_answered_with_folding(checkpoint):
    text = (
        "RuntimeError: Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "0.weight", "1.weight". \n'
        '\tUnexpected key(s) in state_dict: "0.weight_g", "0.weight_v". '
    )
    said = wb.explain(text, checkpoint)
    assert said.repairs[0].do == "fold"
    assert dict(said.here)["0.weight"] == ("0.weight_v", "0.weight_g")


def test_the_inspector_and_the_trace_say_where_a_folded_weight_comes_from(checkpoint):
    from workbench.rows import Table, View
    from workbench.rows.inspector import inspected

    plan = wb.Mapping(fold=True).plan(checkpoint)
    facts = {word: text for word, text, _ in inspected(Table(plan, View()), f"t:{next(iter(plan.folded))}")["facts"]}
    assert facts["Folded from"] == "0.weight_v and 0.weight_g"
    assert "folding: 0.weight_v → 0.weight" in str(plan.trace("0.weight_v"))
