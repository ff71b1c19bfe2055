"""`workbench diagnose` as a newcomer types it."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
import safetensors.numpy

from tests.cli.test_commands import COMMAND, ENVIRONMENT, NET, PREFIXED, answer, fault, save, workbench
from tests.oracles import torch as the_torch

ERROR = "Missing source values for the 'conv1' field of type 'Conv2dRecordItem'. Please verify the source data"


def test_a_clean_file_has_nothing_in_its_way():
    said = workbench("diagnose", NET).stdout
    assert said.startswith("net.pt: flat state_dict, PyTorch zip, 3 tensors")
    assert "Nothing was found that stands in the way of loading it." in said


def test_a_file_without_tensors_is_offered_no_repair_that_would_fail(tmp_path):
    torch = the_torch()
    torch.save(3, tmp_path / "three.pt")
    said = workbench("diagnose", tmp_path / "three.pt", exits=1).stdout
    assert "It holds no tensors: there is nothing to load." in said
    assert "ask its author for the file that has the weights" in said
    assert "workbench fix" not in said
    torch.save({}, tmp_path / "empty.pt")
    assert "Nothing was found" not in workbench("diagnose", tmp_path / "empty.pt").stdout
    torch.save({"m": torch.zeros(3, device="meta")}, tmp_path / "meta.pt")
    said = workbench("diagnose", tmp_path / "meta.pt").stdout
    assert "Save it again from a model whose tensors have values" in said
    assert "workbench fix" not in said


def test_a_whole_model_is_an_error_for_the_burn_that_refuses_it_and_a_warning_for_the_one_that_reads_it(tmp_path):
    torch = the_torch()
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    old = workbench("diagnose", tmp_path / "net.pt", "--burn", "0.21", exits=1).stdout
    assert "error: This file holds the whole model, not its state_dict." in old
    assert 'torch.save(model.state_dict(), "net.pt")' in old
    assert f"(workbench fix {tmp_path / 'net.pt'} -o net.state_dict.safetensors)" in old
    assert "warning: This file holds the whole model" in workbench("diagnose", tmp_path / "net.pt").stdout


def test_the_json_has_the_promised_fields():
    said = answer("diagnose", PREFIXED, "--error", ERROR)
    assert set(said) >= {"findings", "explanation"}
    for finding in said["findings"]:
        assert set(finding) >= {"code", "severity", "place", "message", "next", "repair"}
    assert said["explanation"]["code"] == "missing-source-values"
    assert said["explanation"]["repairs"][0]["do"] == "add-rule"
    assert answer("diagnose", NET)["explanation"] is None


def test_an_error_is_explained_with_the_rule_that_mends_it_and_the_rule_mends_it(tmp_path):
    text = workbench("diagnose", PREFIXED, "--error", ERROR).stdout
    assert "The error: The model has a field that the file has nothing for." in text
    assert r"repair: Add rule `^conv\.` → nothing (--rule '^conv\.' '')" in text
    assert "The cause is still there." in text
    workbench("remap", PREFIXED, "--rule", r"^conv\.", "", "--save", tmp_path / "mapping.json")
    after = workbench("diagnose", PREFIXED, "--error", ERROR, "--mapping", tmp_path / "mapping.json").stdout
    assert "With the present choices this cause is gone." in after


def test_the_error_is_read_from_standard_input():
    done = subprocess.run(
        [*COMMAND, "diagnose", PREFIXED, "--error", "-"],
        input=ERROR.encode(), capture_output=True, env=ENVIRONMENT, check=True,
    )  # fmt: skip
    assert "The error: The model has a field" in done.stdout.decode()


def test_an_unknown_error_is_called_so():
    assert "The error: Not known." in workbench("diagnose", NET, "--error", "the moon is full").stdout


def test_deep_reads_the_values(tmp_path):
    safetensors.numpy.save_file({"w": np.array([[1, np.nan]], np.float32)}, tmp_path / "net.safetensors")
    assert "[nan-values]" in workbench("diagnose", tmp_path / "net.safetensors", "--deep").stdout
    assert "--deep looks for NaN" in workbench("diagnose", tmp_path / "net.safetensors").stdout


def test_a_target_that_is_not_covered_exits_with_one(tmp_path):
    (tmp_path / "target.json").write_text('["a.weight", "b.weight"]')
    path = save(tmp_path / "net.safetensors", "a.weight")
    assert "Missing: `b.weight`" in workbench("diagnose", path, "--target", tmp_path / "target.json", exits=1).stdout


def test_what_is_no_checkpoint_exits_with_two_and_says_what_it_is(tmp_path):
    (tmp_path / "net.pt").write_text("<!doctype html><html></html>")
    assert "web page" in fault("diagnose", tmp_path / "net.pt")


@pytest.mark.parametrize("broken", ["web page", "cut off", "not there"])
def test_a_file_that_cannot_be_opened_is_one_finding_in_json(tmp_path, broken):
    path = save(tmp_path / "net.safetensors", "a.weight")
    if broken == "web page":
        path.write_text("<!doctype html><html></html>")
    elif broken == "cut off":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    done = workbench("diagnose", path, "--json", "--error", "HeaderTooLarge", exits=2)
    said = json.loads(done.stdout)
    (found,) = said["findings"]
    assert found["severity"] == "error"
    assert found["code"] in done.stderr
    assert found["message"].partition(".")[0] in done.stderr
    assert found["next"] in done.stderr
    assert found["place"]
    assert found["repair"] is None
    assert said["explanation"]["known"]


def test_a_broken_file_with_an_error_text_has_the_text_explained_first(tmp_path):
    (tmp_path / "net.pt").write_text("<!doctype html><html></html>")
    done = workbench("diagnose", tmp_path / "net.pt", "--error", "invalid load key, '<'.", exits=2)
    assert "The error: The file is no PyTorch file." in done.stdout
    assert done.stderr.startswith("Error: ")


def test_help_names_the_ways_in():
    said = workbench("diagnose", "--help").stdout
    for option in ("--error", "--burn", "--mapping", "--target", "--deep", "--json"):
        assert option in said


def test_the_one_block_of_another_dtype_is_named_with_the_others(tmp_path):
    torch = the_torch()
    weights = {f"layers.{n}.q.weight": torch.zeros(2, 2, dtype=torch.bfloat16) for n in range(6)}
    torch.save(weights | {"layers.4.q.weight": torch.zeros(2, 2)}, tmp_path / "net.pt")
    said = workbench("diagnose", tmp_path / "net.pt").stdout
    assert "layers.4.q.weight is float32, and bfloat16 in the 5 other blocks." in said
    assert "Cast it to bfloat16" in said
    torch.save(weights, tmp_path / "net.pt")
    assert "block-differs" not in workbench("diagnose", tmp_path / "net.pt").stdout
