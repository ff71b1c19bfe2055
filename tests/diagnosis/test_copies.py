"""Two state_dicts of one model in a file: said by names and shapes, and by values where they are read."""

from __future__ import annotations

import pytest

import workbench as wb
from tests.oracles import torch as the_torch
from workbench.mapping.repairs import repaired


@pytest.fixture(scope="module")
def torch():
    return the_torch()


@pytest.fixture
def saved(torch, tmp_path):
    """Save with torch, open here."""

    def save(value):
        torch.save(value, tmp_path / "net.pt")
        return wb.open(tmp_path / "net.pt")

    return save


def found(checkpoint, mapping=None, **options):
    return [each for each in wb.diagnose(checkpoint, mapping, **options) if each.code == "same-state-dict"]


def net(torch):
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict()


@pytest.mark.parametrize("names", [("model", "ema"), ("state_dict", "ema_state_dict"), ("net", "net_raw")])
def test_a_copy_is_said_at_once_and_its_repair_takes_it(torch, saved, names):
    model = net(torch)
    copy = {key: value.clone() for key, value in model.items()}
    checkpoint = saved(dict(zip(names, (model, copy), strict=True)))
    (said,) = found(checkpoint)
    assert f"`{names[1]}` has the same keys and shapes as `{names[0]}`: 7 tensors." in said.text
    assert "identical" not in said.text
    mapping = repaired(wb.Mapping(), said.repair)
    assert mapping.top_level_key == names[1]
    assert not found(checkpoint, mapping)


def test_the_values_tell_how_far_the_copies_are_apart_and_where(torch, saved):
    model = net(torch)
    copy = {key: value.clone() for key, value in model.items()}
    copy["0.weight"][0, 0, 1, 1] += 0.25
    copy["1.running_mean"] += 0.125
    (said,) = found(saved({"model": model, "ema": copy}), deep=True)
    assert "identical in 5 of 7 tensors; the largest difference is 0.25, at `0.weight`." in said.text


def test_copies_of_equal_values_are_said_to_be_identical_also_where_they_are_nan(torch, saved):
    model = net(torch)
    model["0.bias"][0] = float("nan")
    copy = {key: value.clone() for key, value in model.items()}
    (said,) = found(saved({"model": model, "ema": copy}), deep=True)
    assert "identical in all 7 tensors" in said.text


def test_a_copy_in_another_dtype_is_compared_by_its_numbers(torch, saved):
    model = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.5]])}
    (said,) = found(saved({"model": model, "ema": {"w": model["w"].bfloat16().t().contiguous().t()}}), deep=True)
    assert "identical in all 1 tensors" in said.text
    (said,) = found(saved({"model": {"n": torch.tensor([2**53])}, "ema": {"n": torch.tensor([2**53 + 1])}}), deep=True)
    assert "identical in 0 of 1 tensors" in said.text


def test_the_same_tensors_under_two_keys_are_no_copies(torch, saved):
    model = net(torch)
    (said,) = found(saved({"model": model, "best": dict(model)}))
    assert "the same tensors in the file" in said.text


def test_a_copy_without_the_counters_is_one_and_says_what_it_lacks(torch, saved):
    model = net(torch)
    copy = {key: value.clone() for key, value in model.items() if "num_batches" not in key}
    (said,) = found(saved({"model": model, "ema": copy}), deep=True)
    assert "6 tensors, and 1 tensor that only one of them has." in said.text
    assert "identical in all 6 tensors" in said.text


def test_other_shapes_other_keys_and_optimizers_are_no_copies(torch, saved):
    model = torch.nn.Linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not found(saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()}))
    assert not found(saved({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(3)}}))
    assert not found(saved({"a": {"w": torch.ones(2)}, "b": {"v": torch.ones(2)}}))
    assert not found(
        saved({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2), "x": torch.ones(1), "y": torch.ones(1)}})
    )


def test_progress_goes_once_over_everything_that_is_read(torch, saved):
    model = net(torch)
    checkpoint = saved({"model": model, "ema": {key: value.clone() for key, value in model.items()}})
    seen = []
    wb.diagnose(checkpoint, deep=True, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {2 * checkpoint.nbytes}
    assert seen[-1][0] == seen[-1][1]


def test_ballast_is_left_out_by_choosing_the_key_or_by_a_clean_file(torch, saved):
    big = {"state": {0: {"exp_avg": torch.zeros(900)}}, "param_groups": []}
    (said,) = [
        each for each in wb.diagnose(saved({"a": net(torch), "b": net(torch), "opt": big})) if each.code == "ballast"
    ]
    assert said.repair["value"] == "a"
    checkpoint = saved({"w": torch.ones(3), "v": torch.ones(3), "optimizer": big})
    (said,) = [each for each in wb.diagnose(checkpoint) if each.code == "ballast"]
    assert said.repair.do == "export"
