"""Each cause in a file that torch made with it, and a near miss that has it not."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import OrderedDict, defaultdict

import numpy as np
import pytest

import workbench as wb
from tests.make.named import checkpoint_named
from tests.oracles import torch as the_torch
from workbench.diagnosis import headline
from workbench.diagnosis.models import is_safe_for_torch
from workbench.diagnosis.values import pieces
from workbench.mapping.repairs import repaired


@pytest.fixture(scope="module")
def torch():
    return the_torch()


@pytest.fixture
def saved(torch, tmp_path):
    """Save with torch, open here."""

    def save(value, name="net.pt"):
        torch.save(value, tmp_path / name)
        return wb.open(tmp_path / name)

    return save


def codes(checkpoint, mapping=None, target=None, **options):
    return {finding.code for finding in wb.diagnose(checkpoint, mapping, target, **options)}


def only(checkpoint, code, mapping=None, target=None, **options):
    found = [finding for finding in wb.diagnose(checkpoint, mapping, target, **options) if finding.code == code]
    assert len(found) == 1, [finding.code for finding in wb.diagnose(checkpoint, mapping, target, **options)]
    return found[0]


def net(torch):
    return torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(1, 2, 3), bn=torch.nn.BatchNorm2d(2)))


# ---- whole models and programs --------------------------------------------------------------------------------------


def test_a_whole_model_alone_is_said_with_its_class_its_line_and_its_repair(torch, saved):
    found = only(saved(net(torch)), "whole-model")
    assert "`torch.nn.modules.container.Sequential`" in found.text
    assert 'torch.save(model.state_dict(), "net.pt")' in found.next_step
    assert found.repair.do == "export"


@pytest.mark.parametrize(
    ("burn", "severity", "words"),
    [
        ("0.22", "warning", "Burn 0.22 reads it; 0.21 and older refuse it"),
        ("0.21", "error", "Burn 0.21 refuses it (“Unsupported Python type '__builtin__.set'”)"),
        ("0.18", "error", "Burn 0.18 looks into no object"),
    ],
)
def test_the_words_on_a_whole_model_follow_the_burn_version_and_say_it_once(torch, saved, burn, severity, words):
    checkpoint = saved(net(torch))
    found = only(checkpoint, "whole-model", wb.Mapping(burn=burn))
    assert found.severity == severity
    assert words in found.text
    assert not codes(checkpoint, wb.Mapping(burn=burn)) & {"burn-whole-model", "burn-tensors-in-object"}


def test_models_under_keys_and_beside_a_state_dict_are_two_other_findings(torch, saved):
    model = net(torch)
    under = saved({"model": model, "ema": net(torch), "epoch": 3})
    found = only(under, "whole-model-under-key")
    assert "`model` holds a whole model; `ema` holds another" in found.text
    beside = saved({"net": model, "state_dict": model.state_dict()})
    found = only(beside, "whole-model-beside")
    assert "The weights in `state_dict` are enough" in found.text
    assert found.repair["top_level_key"] == "state_dict"
    assert "tied-weights" not in codes(beside)


def test_a_state_dict_is_no_whole_model(torch, saved):
    assert not [code for code in codes(saved(net(torch).state_dict())) if code.startswith("whole-model")]


def test_a_program_of_torch_jit_is_said_once(torch, tmp_path):
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "program.pt")
    found = codes(wb.open(tmp_path / "program.pt"))
    assert "torchscript" in found
    assert "burn-torchscript" not in found
    assert "whole-model" not in found


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (np.float64(1), "scalar"),
        (defaultdict(list, a=[1]), "collections.defaultdict"),
    ],
)
def test_what_weights_only_refuses_is_named_as_torch_names_it(torch, saved, beside, name):
    checkpoint = saved({"w": torch.ones(2), "beside": beside})
    found = only(checkpoint, "weights-only-refused")
    assert name in found.text
    assert "inert-names" not in codes(checkpoint)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(checkpoint.path, weights_only=True)


@pytest.mark.parametrize("beside", [{1, 2}, "size", complex(1, 2), OrderedDict(a=1), 2**70])
def test_what_weights_only_takes_is_no_finding(torch, saved, beside):
    beside = torch.Size([1]) if beside == "size" else beside
    checkpoint = saved({"w": torch.ones(2), "beside": beside})
    torch.load(checkpoint.path, weights_only=True)
    assert "weights-only-refused" not in codes(checkpoint)


def test_the_names_that_torch_lets_through_are_those_of_torch(torch):
    from torch._weights_only_unpickler import _get_allowed_globals

    assert [name for name in _get_allowed_globals() if not is_safe_for_torch(name)] == []
    assert not any(is_safe_for_torch(name) for name in ("torch.jit.load", "os.system", "builtins.eval", "torch.load"))


# ---- top-level keys and ballast -------------------------------------------------------------------------------------


def trained(torch):
    model = torch.nn.Linear(20, 30)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 20)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}


def test_the_top_level_key_of_a_training_checkpoint_is_found_and_its_repair_ends_it(torch, saved):
    checkpoint = saved(trained(torch))
    found = only(checkpoint, "top-level-key-not-chosen")
    mapping = repaired(wb.Mapping(), found.repair)
    assert mapping.top_level_key == "model"
    assert not codes(checkpoint, mapping) & {"top-level-key-not-chosen", "ballast", "wrapper-prefix"}


def test_ballast_says_what_an_export_without_it_weighs(torch, saved):
    state = trained(torch)
    found = only(saved(state), "ballast")
    weights = sum(tensor.nbytes for tensor in state["model"].values())
    assert weights == 2520
    assert "An export without them weighs 2.5 kB" in found.text
    assert "`optimizer` (6 tensors" in found.text


def test_an_averaged_copy_comes_after_the_weights_it_is_of(torch, saved):
    model = torch.nn.Linear(2, 2).state_dict()
    found = only(
        saved({"ema": model, "model": {key: value + 1 for key, value in model.items()}}), "several-top-level-keys"
    )
    assert found.repair["value"] == "model"
    assert "`ema` is by its name the averaged copy (EMA) of `model`" in found.text


def test_a_file_of_an_optimizer_alone_has_no_weights(torch, saved):
    found = codes(saved({"optimizer": trained(torch)["optimizer"]}))
    assert "no-weights" in found
    assert "top-level-key-not-chosen" not in found


def test_a_flat_file_has_neither_key_nor_ballast(torch, saved):
    found = codes(saved({"optimizer.weight": torch.ones(3), "model.weight": torch.ones(2)}))
    assert not found & {"top-level-key-not-chosen", "several-top-level-keys", "ballast", "no-weights"}


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", ["module", "_orig_mod", "model"])
def test_a_wrapper_is_found_and_its_rule_takes_it_off(tmp_path, wrap):
    checkpoint = checkpoint_named(tmp_path, [f"{wrap}.conv.weight", f"{wrap}.fc.weight"])
    found = only(checkpoint, "wrapper-prefix")
    mapping = repaired(wb.Mapping(), found.repair)
    assert mapping.remap_keys(list(checkpoint)) == ["conv.weight", "fc.weight"]
    assert "wrapper-prefix" not in codes(checkpoint, mapping)


def test_a_submodule_called_module_and_a_file_with_one_dict_are_no_wrapper(tmp_path, torch, saved):
    assert "wrapper-prefix" not in codes(checkpoint_named(tmp_path, ["module.weight", "head.weight", "conv.weight"]))
    assert "wrapper-prefix" not in codes(saved({"model": {"a.weight": torch.ones(2), "b.weight": torch.ones(2)}}))


def parametrised(torch, kind):
    from torch.nn.utils import parametrizations, prune

    layer = torch.nn.Linear(3, 4)
    norms = torch.nn.utils
    if kind == "plain":
        return layer
    if kind == "weight-norm":
        return norms.weight_norm(layer)
    if kind == "new weight-norm":
        return parametrizations.weight_norm(layer)
    if kind == "spectral-norm":
        return norms.spectral_norm(layer)
    if kind == "new spectral-norm":
        return parametrizations.spectral_norm(layer)
    if kind == "pruned":
        return prune.l1_unstructured(layer, "weight", amount=2)
    return parametrizations.orthogonal(layer)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("weight-norm", "weight-norm"),
        ("new weight-norm", "weight-norm"),
        ("spectral-norm", "spectral-norm"),
        ("new spectral-norm", "spectral-norm"),
        ("pruned", "pruned"),
        ("orthogonal", "parametrised"),
        ("plain", None),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_a_weight_is_computed_from_is_told_by_its_kind(torch, saved, kind, code):
    model = torch.nn.Sequential(OrderedDict(fc=parametrised(torch, kind), out=torch.nn.Linear(4, 1)))
    found = codes(saved(model.state_dict())) & {"weight-norm", "spectral-norm", "pruned", "parametrised"}
    assert found == ({code} if code else set())


def test_names_that_only_look_like_a_parametrisation_are_none(tmp_path):
    found = codes(checkpoint_named(tmp_path, ["a.weight_g", "b.weight_v", "c.weight_orig", "d.weight"]))
    assert not found & {"weight-norm", "spectral-norm", "pruned", "parametrised"}


def test_counters_are_a_note_whose_repair_skips_them(torch, saved):
    checkpoint = saved(net(torch).state_dict())
    found = only(checkpoint, "counters")
    assert found.severity == "note"
    assert found.keys == ("bn.num_batches_tracked",)
    assert repaired(wb.Mapping(), found.repair).plan(checkpoint).counts["skipped"] == 1
    assert "counters" not in codes(saved(torch.nn.Linear(1, 1).state_dict()))


def test_gamma_and_beta_panic_in_burn_import_and_a_layer_scale_is_none(tmp_path):
    norm = checkpoint_named(tmp_path, ["norm.gamma", "norm.beta", "fc.weight"])
    found = only(norm, "norm-gamma-beta", wb.Mapping(burn="0.22"))
    assert found.severity == "note"
    mended = repaired(wb.Mapping(), found.repair)
    assert set(mended.plan(norm).after_rules) == {"norm.weight", "norm.bias", "fc.weight"}
    assert "norm-gamma-beta" not in codes(norm, mended)
    assert "norm-gamma-beta" not in codes(norm, target=wb.Target.from_keys(["norm.gamma", "norm.beta"]))
    scale = checkpoint_named(tmp_path, ["block.gamma", "block.norm.weight", "block.norm.bias"], "scale.safetensors")
    assert "norm-gamma-beta" not in codes(scale)


def test_burn_import_panics_at_burns_own_names_of_a_norm(torch, saved):
    checkpoint = saved({"norm.gamma": torch.ones(2), "norm.beta": torch.ones(2)})
    found = only(checkpoint, "norm-gamma-beta", wb.Mapping(burn="0.18"))
    assert found.severity == "error"
    assert "Failed to find 'weight' key in map" in found.text


def test_a_batch_norm_is_told_only_where_the_reader_does_not_rename_it(torch, saved, tmp_path):
    keys = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    assert "norm-weight-bias" in codes(checkpoint_named(tmp_path, keys))
    assert "norm-weight-bias" not in codes(saved({key: torch.ones(2) for key in keys}))
    plain = checkpoint_named(tmp_path, ["fc.weight", "fc.bias"], "plain.safetensors")
    assert "norm-weight-bias" not in codes(plain)


def test_gaps_are_told_with_what_each_generation_makes_of_them(torch, saved, tmp_path):
    kept = only(checkpoint_named(tmp_path, ["fc.0.weight", "fc.2.weight"]), "index-gap")
    assert "burn-store 0.19 keeps them" in kept.text
    assert repaired(wb.Mapping(), kept.repair).reindex is True
    closed = saved({"fc.0.weight": torch.ones(1), "fc.2.weight": torch.ones(1)})
    assert "index-gap" not in codes(closed)
    assert "burn-store 0.19 keeps them" in only(closed, "renumbered").text


def test_a_list_without_a_gap_is_no_finding(tmp_path):
    assert "index-gap" not in codes(checkpoint_named(tmp_path, ["fc.0.weight", "fc.1.weight"]))


@pytest.mark.parametrize(
    ("key", "is_bad"), [("a-b.weight", True), ("type.w", True), ("type_.w", False), ("é.w", False)]
)
def test_names_that_no_rust_field_can_have(tmp_path, key, is_bad):
    assert ("no-rust-name" in codes(checkpoint_named(tmp_path, [key, "b.weight"]))) == is_bad


# ---- storages and values --------------------------------------------------------------------------------------------


def test_a_view_of_a_much_larger_storage_is_told_and_a_clone_is_not(torch, saved):
    large = torch.zeros(10_000)
    found = only(saved({"w": large[:10]}), "view-of-large-storage")
    assert "40.0 kB of storage" in found.text
    assert "40 B of it" in found.text
    assert "view-of-large-storage" not in codes(saved({"w": large[:10].clone()}))
    assert "view-of-large-storage" not in codes(saved({"a": large[:5000], "b": large[5000:]}))


def test_tied_weights_are_a_note_and_equal_ones_are_not(torch, saved):
    weight = torch.ones(3)
    found = only(saved({"a.weight": weight, "b.weight": weight}), "tied-weights")
    assert found.repair["keys"] == ["b.weight"]
    assert "tied-weights" not in codes(saved({"a.weight": weight, "b.weight": weight.clone()}))


DEEP = {"nan-values", "infinite-values", "all-zero", "all-zero-vector", "constant-tensor"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([[1, float("nan")]], "nan-values"),
        ([[1, float("inf")]], "infinite-values"),
        ([[0, 0]], "all-zero"),
        ([0, 0], "all-zero-vector"),
        ([2, 2], "constant-tensor"),
        ([1, 2], None),
        ([3], None),
    ],
)
def test_values_are_looked_at_only_when_asked(torch, saved, dtype, values, code):
    checkpoint = saved({"w": torch.tensor(values, dtype=getattr(torch, dtype))})
    assert codes(checkpoint, deep=True) & DEEP == ({code} if code else set())
    assert not codes(checkpoint) & DEEP


def test_large_tensors_are_read_in_pieces_that_give_every_value_once(torch, saved):
    values = torch.arange(6 * 50 * 70, dtype=torch.int64).reshape(6, 50, 70)
    checkpoint = saved({"plain": values, "turned": values.permute(2, 0, 1)})
    for key in checkpoint:
        parts = list(pieces(checkpoint.tensor(key), 4096))
        assert max(part.nbytes for part in parts) <= 4096
        assert sorted(np.concatenate([part.reshape(-1) for part in parts]).tolist()) == list(range(values.numel()))


def test_progress_ends_at_all_bytes(torch, saved):
    steps = []
    wb.diagnose(saved({"a": torch.ones(4), "b": torch.ones(2)}), deep=True, progress=lambda *pair: steps.append(pair))
    assert steps[-1] == (24, 24)


# ---- together -------------------------------------------------------------------------------------------------------


def test_a_target_that_is_not_covered_is_an_error_that_names_what_is_missing(tmp_path):
    checkpoint = checkpoint_named(tmp_path, ["net.conv.weight", "net.conv.bias"])
    found = only(checkpoint, "target-not-covered", target=wb.Target.from_keys(["conv.weight", "conv.bias"]))
    assert found.severity == "error"
    assert set(found.keys) == {"conv.weight", "conv.bias"}
    mapping = wb.Mapping([wb.Rule(r"^net\.", "")])
    assert "target-not-covered" not in codes(checkpoint, mapping, wb.Target.from_keys(["conv.weight", "conv.bias"]))


def test_what_would_run_is_said_in_a_sentence_and_nothing_is_run(torch, tmp_path):
    marker = tmp_path / "ran"
    code = (
        "import os, sys, torch\n"
        "class Bad:\n"
        "    def __reduce__(self): return (os.system, (f'touch {sys.argv[2]}',))\n"
        "torch.save({'w': torch.ones(1), 'bad': Bad()}, sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "bad.pt", marker], check=True)
    found = only(wb.open(tmp_path / "bad.pt"), "runs-a-program")
    assert "would call `posix.system('touch " in found.text
    assert not marker.exists()


def test_a_problem_of_ten_thousand_keys_stays_readable(tmp_path):
    keys = [f"module.blocks.{n}.attn.{part}.weight_{half}" for n in range(1250) for part in "qkvo" for half in "gv"]
    found = wb.diagnose(checkpoint_named(tmp_path, keys))
    assert len(keys) == 10_000
    assert {"wrapper-prefix", "weight-norm"} <= {finding.code for finding in found}
    assert len(found) < 12
    assert all(len(finding.text) < 900 and len(finding.keys) <= 1000 for finding in found)
    assert any("`module.blocks.*.attn." in finding.text for finding in found)


def test_findings_come_worst_first_and_a_clean_file_has_none(torch, saved):
    clean = saved({"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)})
    assert wb.diagnose(clean) == ()
    order = ["error", "warning", "note"]
    ranks = [order.index(finding.severity) for finding in wb.diagnose(saved(net(torch)), wb.Mapping(burn="0.21"))]
    assert ranks == sorted(ranks)
    assert len(ranks) > 1


# ---- what comes first -----------------------------------------------------------------------------------------------


def first_of(checkpoint, mapping=None):
    findings = wb.diagnose(checkpoint, mapping)
    return headline(checkpoint, findings), findings


def test_the_headline_of_a_whole_model_is_its_title_and_the_line_of_its_owner(torch, saved):
    said, findings = first_of(saved(net(torch)))
    assert said.title == "This file holds the whole model, not its state_dict."
    assert said.text.startswith("PyTorch needs the class")
    assert said.owner == 'torch.save(model.state_dict(), "net.pt")'
    assert findings[said.number].code == "whole-model"


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def test_code_in_the_pickle_goes_before_a_whole_model(torch, saved):
    said, _ = first_of(saved({"model": net(torch), "x": Runs()}))
    assert said.title == "Loading this with PyTorch would run `posix.system`."
    assert "Nothing was run here." in said.text
    assert said.is_danger


def test_a_name_with_a_full_stop_ends_no_title(torch, saved):
    said, _ = first_of(saved({"the model. v2": net(torch)}))
    assert said.title == "`the model. v2` holds a whole model."


def test_a_flat_state_dict_and_one_that_is_chosen_have_no_headline(torch, saved):
    assert first_of(saved(net(torch).state_dict()))[0] is None
    nested = saved({"state_dict": net(torch).state_dict(), "epoch": 1})
    assert "state_dict" in first_of(nested)[0].title
    assert first_of(nested)[0].text == "Choose 'state_dict' as the top-level key."
    assert first_of(nested, wb.Mapping(top_level_key="state_dict"))[0] is None


# ---- a prefix that nobody knows -------------------------------------------------------------------------------------


def test_a_common_prefix_is_a_note_whose_rule_takes_it_off(tmp_path):
    checkpoint = checkpoint_named(tmp_path, ["conv.conv1.bias", "conv.conv1.weight", "conv.conv2.weight"])
    found = only(checkpoint, "common-prefix")
    assert found.severity == "note"
    assert "All 3 keys begin with `conv.`" in found.text
    mended = repaired(wb.Mapping(), found.repair)
    assert set(mended.plan(checkpoint).remapped) == {"conv1.bias", "conv1.weight", "conv2.weight"}
    assert "common-prefix" not in codes(checkpoint, mended)


def test_towards_a_target_a_common_prefix_is_told_only_where_it_is_in_the_way(tmp_path):
    keys = ["conv.conv1.bias", "conv.conv1.weight"]
    checkpoint = checkpoint_named(tmp_path, keys)
    assert "common-prefix" not in codes(checkpoint, target=wb.Target.from_keys(keys))
    assert "common-prefix" not in codes(checkpoint, target=wb.Target.from_keys(["other.weight"]))
    wanted = wb.Target.from_keys(["conv1.bias", "conv1.weight"])
    assert "2 more parameters of the target" in only(checkpoint, "common-prefix", target=wanted).text


@pytest.mark.parametrize(
    "keys",
    [
        ["fc.weight", "fc.bias"],  # a lone layer
        ["0.conv.weight", "0.conv.bias"],  # an index
        ["module.conv.weight", "module.fc.weight"],  # a wrapper that is known has a finding of its own
        ["conv.a.weight", "fc.a.weight"],
        ["conv.a.weight", "convolution.a.weight"],
    ],
)
def test_what_is_no_common_prefix_is_not_called_so(tmp_path, keys):
    assert "common-prefix" not in codes(checkpoint_named(tmp_path, keys))


def test_the_rules_for_gamma_and_beta_leave_a_layer_scale_alone(tmp_path):
    keys = ["blocks.0.norm.gamma", "blocks.0.norm.beta", "blocks.1.norm.gamma", "blocks.1.norm.beta", "blocks.0.gamma"]
    checkpoint = checkpoint_named(tmp_path, keys)
    mended = repaired(wb.Mapping(), only(checkpoint, "norm-gamma-beta").repair)
    names = set(mended.plan(checkpoint).after_rules)
    assert names == {f"blocks.{n}.norm.{leaf}" for n in (0, 1) for leaf in ("weight", "bias")} | {"blocks.0.gamma"}


# ---- very many of a kind --------------------------------------------------------------------------------------------


def test_ten_thousand_keys_that_fit_nowhere_are_told_by_pattern(tmp_path):
    leaves = [f"{part}.{leaf}" for part in ("q", "k", "v", "o", "norm") for leaf in ("weight", "bias")]
    keys = [f"module.layers.{2 * n}.{leaf}" for n in range(1000) for leaf in leaves]
    target = wb.Target.from_keys([key.replace("module.layers.", "blocks.") for key in keys])
    checkpoint = checkpoint_named(tmp_path, keys)
    findings = wb.diagnose(checkpoint, wb.Mapping(burn="0.21"), target)
    assert len(findings) < 8
    assert all(len(each.text) < 1200 for each in findings)
    text = next(each.text for each in findings if each.code == "target-not-covered")
    assert "10,000 missing" in text
    assert "`blocks.*.q.weight` (1,000)" in text
    assert "All 10,000 keys" in next(each.text for each in findings if each.code == "wrapper-prefix")
    assert "1,000 of them" in next(each.text for each in findings if each.code == "index-gap")
