"""A clean file with folded weights: what it holds, what it says, and what the result says of the rest."""

from __future__ import annotations

import json
import warnings

import pytest
import safetensors

import workbench as wb
from tests import oracles


@pytest.fixture
def path(tmp_path):
    torch = oracles.torch()
    nn = torch.nn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(
            nn.utils.weight_norm(nn.Linear(4, 3)), nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))
        )
    torch.save({"net": model.state_dict(), "step": torch.tensor(3)}, tmp_path / "net.pt")
    return tmp_path / "net.pt"


def test_the_result_accounts_for_every_tensor_of_the_file(path, tmp_path):
    checkpoint = wb.open(path)
    result = wb.fix(checkpoint, tmp_path / "out.safetensors", fold=True)
    assert result.folded == (("0.weight", ("0.weight_v", "0.weight_g")),)
    ((name, why),) = result.not_folded
    assert name == "1.weight"
    assert "orthogonal" in why
    written = {name for name, _ in result.state_dict.tensors}
    assert written == {"0.bias", "0.weight", "1.bias", "1.parametrizations.weight.original",
                       "1.parametrizations.weight.0.base"}  # fmt: skip
    assert [key for key, _ in result.left_out] == ["step"]
    parts = sum(len(keys) for _, keys in result.folded)
    assert len(checkpoint.tensors) == len(written) - len(result.folded) + parts + len(result.left_out)


def test_the_safetensors_file_records_what_was_folded_from_what(path, tmp_path):
    wb.fix(wb.open(path), tmp_path / "out.safetensors", fold=True)
    with safetensors.safe_open(tmp_path / "out.safetensors", "np") as file:
        assert json.loads(file.metadata()["folded"]) == {"0.weight": ["0.weight_v", "0.weight_g"]}


def test_without_fold_the_parts_stay(path, tmp_path):
    result = wb.fix(wb.open(path), tmp_path / "out.safetensors")
    assert (result.folded, result.not_folded) == ((), ())
    assert {"0.weight_g", "0.weight_v"} <= {name for name, _ in result.state_dict.tensors}


def test_a_weight_that_the_values_do_not_decide_stops_the_file_and_says_what_to_do(tmp_path):
    torch = oracles.torch()
    torch.manual_seed(3)
    parts = {"weight_orig": torch.randn(4, 4), "weight_u": torch.eye(4)[0], "weight_v": torch.eye(4)[2]}
    torch.save(parts, tmp_path / "parts.pt")
    with pytest.raises(wb.TensorError, match="cannot be folded") as caught:
        wb.fix(wb.open(tmp_path / "parts.pt"), tmp_path / "out.pt", fold=True)
    assert caught.value.code == "fold-undecided"
    assert "remove_spectral_norm" in caught.value.next_step
    assert [each.name for each in tmp_path.iterdir()] == ["parts.pt"]


def test_a_fold_that_would_take_a_name_there_is_not_done(tmp_path):
    torch = oracles.torch()
    parts = {"weight": torch.ones(3, 4), "weight_g": torch.ones(3, 1), "weight_v": torch.ones(3, 4)}
    torch.save(parts, tmp_path / "parts.pt")
    result = wb.fix(wb.open(tmp_path / "parts.pt"), tmp_path / "out.pt", fold=True)
    assert result.not_folded == (("weight", "there is a tensor of that name as well"),)
    assert torch.load(tmp_path / "out.pt").keys() == parts.keys()
