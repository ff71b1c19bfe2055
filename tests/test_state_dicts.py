"""Which state_dicts a file has: one answer for the writer of a clean file and for diagnosis."""

from __future__ import annotations

import pytest

import workbench as wb
from tests import oracles
from workbench.state_dicts import candidates, is_copy, is_training_state, likeliest_first, state_dicts


@pytest.fixture
def saved(tmp_path):
    """Save with torch, open here."""

    def save(value):
        oracles.torch().save(value, tmp_path / "net.pt")
        return wb.open(tmp_path / "net.pt")

    return save


def weights(n=2):
    torch = oracles.torch()
    return {f"layer{i}.weight": torch.ones(3, 3) * i for i in range(n)}


def test_both_answers_name_the_same_places_of_a_training_checkpoint(saved):
    torch = oracles.torch()
    model = torch.nn.Linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint = saved({"optimizer": optimizer.state_dict(), "ema": weights(3), "net": weights(3), "epoch": 1})
    assert [each.key for each in state_dicts(checkpoint)] == ["ema", "net"]
    assert [each.key for each in likeliest_first(state_dicts(checkpoint))] == ["net", "ema"]
    assert [(each.key, each.copy_of) for each in candidates(checkpoint)] == [("net", ""), ("ema", "net")]
    with pytest.raises(wb.ExportError, match="There are 2 state_dicts") as caught:
        wb.fix(checkpoint, "out.pt")
    assert caught.value.cause.index("'net'") < caught.value.cause.index("'ema'")


def test_more_tensors_come_first_then_more_bytes_then_the_usual_names(saved):
    torch = oracles.torch()
    checkpoint = saved(
        {
            "odd": weights(2),
            "state_dict": weights(2),
            "wide": {key: torch.ones(9, 9) for key in weights(2)},
            "long": weights(3),
        }
    )
    assert [each.key for each in candidates(checkpoint)] == ["long", "wide", "state_dict", "odd"]


def test_a_dict_of_counters_is_no_candidate_beside_weights(saved):
    torch = oracles.torch()
    found = candidates(saved({"model": weights(), "steps": {"global": torch.tensor(3)}}))
    assert [each.key for each in found] == ["model"]


def test_several_models_below_one_key_are_one_candidate_and_several_state_dicts(saved):
    checkpoint = saved(
        {"models": {"a": weights(), "b": weights()}, "optimizer": {"x": {"exp_avg": weights()["layer0.weight"]}}}
    )
    assert [each.key for each in state_dicts(checkpoint)][:2] == ["models.a", "models.b"]
    assert [(each.key, each.n_tensors) for each in candidates(checkpoint)] == [("models", 4)]


@pytest.mark.parametrize("key", ["optimizer", "optimizer_state_dict", "lr_schedulers", "amp_scaler", "rng_state"])
def test_names_of_what_training_needs(key):
    assert is_training_state(key)


@pytest.mark.parametrize("key", ["ema", "ema_state_dict", "model-ema", "state.ema", "swa_model"])
def test_names_of_averaged_copies(key):
    assert is_copy(key)


@pytest.mark.parametrize("key", ["schema", "model", "cinema", "swag"])
def test_names_that_only_sound_like_copies(key):
    assert not is_copy(key)
