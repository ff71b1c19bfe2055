"""Weights that are stored in parts, made plain: values, names and order as PyTorch's own removal gives them."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save

import workbench as wb
from tests import oracles
from workbench.checkpoint import checkpoint_of
from workbench.core.source import MemorySource
from workbench.errors import TensorError
from workbench.mapping.folding import fold, parametrised

NORM_ULPS = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 16}
"""How far a norm may be from PyTorch's, which sums in another order, in units of the last place."""


def modules(torch):
    """The modules that are parametrised, each with the parameter."""
    nn = torch.nn
    return {
        "linear": (lambda: nn.Linear(12, 7), "weight"),
        "square linear": (lambda: nn.Linear(24, 24), "weight"),
        "conv": (lambda: nn.Conv2d(6, 10, 3), "weight"),
        "square conv": (lambda: nn.Conv2d(16, 16, 3), "weight"),
        "transposed conv": (lambda: nn.ConvTranspose2d(6, 10, 3), "weight"),
        "square transposed conv": (lambda: nn.ConvTranspose2d(16, 16, 3), "weight"),
        "lstm": (lambda: nn.LSTM(5, 8), "weight_hh_l0"),
    }


def kinds(torch):
    """How each is put on and taken off."""
    import torch.nn.utils.prune as prune

    utils = torch.nn.utils
    new = utils.parametrizations

    def off(module, name):
        utils.parametrize.remove_parametrizations(module, name)

    return {
        "weight_norm": (utils.weight_norm, utils.remove_weight_norm),
        "weight_norm 1": (lambda module, name: utils.weight_norm(module, name, dim=1), utils.remove_weight_norm),
        "weight_norm all": (lambda module, name: utils.weight_norm(module, name, dim=None), utils.remove_weight_norm),
        "new weight_norm": (new.weight_norm, off),
        "new weight_norm 1": (lambda module, name: new.weight_norm(module, name, dim=1), off),
        "spectral_norm": (utils.spectral_norm, utils.remove_spectral_norm),
        "new spectral_norm": (new.spectral_norm, off),
        "pruned": (lambda module, name: prune.random_unstructured(module, name, 0.4), prune.remove),
    }


KINDS = ["weight_norm", "weight_norm 1", "weight_norm all", "new weight_norm", "new weight_norm 1", "spectral_norm",
         "new spectral_norm", "pruned"]  # fmt: skip
MODULES = ["linear", "square linear", "conv", "square conv", "transposed conv", "square transposed conv", "lstm"]


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def trained(module, name):
    """What a few steps of training do to u and v of a spectral_norm: they follow the weight."""
    for _ in range(3):
        for hook in module._forward_pre_hooks.values():
            hook(module, None)
        getattr(module, name)


def pair(torch, kind, module, dtype):
    """A state_dict with the parts, and the one after PyTorch took the parametrisation off."""
    torch.manual_seed(len(kind) + len(module))
    make, name = modules(torch)[module]
    on, off = kinds(torch)[kind]
    one = torch.nn.Sequential(OrderedDict(first=torch.nn.Linear(3, 3), it=make(), last=torch.nn.BatchNorm1d(3)))
    on(one.it, name)
    trained(one.it, name)
    with torch.no_grad():
        for each in one.it.parameters():
            each *= 1 + torch.randn_like(each) * 0.01
    one = one.eval().to(dtype)
    parts = {key: value.clone() for key, value in one.state_dict().items()}
    off(one.it, name)
    return parts, {key: value.clone() for key, value in one.state_dict().items()}


def as_numpy(tensor):
    return tensor.detach().float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.detach().numpy()


def ulps(found, wanted, dtype):
    """The largest distance, in units of the last place of what is wanted."""
    bits = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}[dtype]
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    _, exponent = np.frexp(wanted)
    smallest = {"float64": -1073, "float32": -148, "float16": -23, "bfloat16": -132}[dtype]
    unit = np.ldexp(1.0, np.maximum(exponent - bits, smallest - 1))
    return float((np.abs(found - wanted) / unit).max())


def check(found, wanted, kind, dtype):
    """All tensors equal; the folded one to the tolerance of its kind."""
    assert list(found) == list(wanted)
    for key, tensor in wanted.items():
        values, right = found[key], as_numpy(tensor)
        assert values.shape == right.shape
        if key.startswith("it.weight") and kind != "pruned":
            assert ulps(values, right, dtype) <= NORM_ULPS[dtype], key
        else:
            assert values.astype(np.float64).tobytes() == right.astype(np.float64).tobytes(), key


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_folded_plan_gives_what_pytorch_gives_after_its_own_removal(kind, module, dtype, tmp_path, quiet):
    torch = oracles.torch()
    parts, wanted = pair(torch, kind, module, getattr(torch, dtype))
    torch.save(parts, tmp_path / "parts.pt")
    plan = wb.Mapping(burn=None, fold=True, reindex=False).plan(wb.open(tmp_path / "parts.pt"))
    found = {row.remapped: row.tensor.read() for row in plan.rows if row.status != "skipped"}
    check(found, wanted, kind, dtype)
    assert plan.counts["all"] == len(parts) == plan.n_out + plan.counts["skipped"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_and_a_fixed_file_hold_the_folded_weight(kind, tmp_path, quiet):
    torch = oracles.torch()
    import safetensors.torch

    parts, wanted = pair(torch, kind, "transposed conv", torch.float32)
    torch.save(parts, tmp_path / "parts.pt")
    checkpoint = wb.open(tmp_path / "parts.pt")
    plan = wb.Mapping(burn=None, fold=True, reindex=False).plan(checkpoint)
    wb.export(plan, tmp_path / "out", formats=["safetensors", "npz", "pt"])
    wb.fix(checkpoint, tmp_path / "fixed.pt", fold=True)
    wb.fix(checkpoint, tmp_path / "fixed.safetensors", fold=True)
    for name in ("out/model.pt", "fixed.pt"):
        found = torch.load(tmp_path / name, weights_only=True)
        check({key: value.numpy() for key, value in found.items()}, wanted, kind, "float32")
    for name in ("out/model.safetensors", "fixed.safetensors"):
        found = safetensors.torch.load_file(tmp_path / name)
        assert found.keys() == wanted.keys()
        check({key: found[key].numpy() for key in wanted}, wanted, kind, "float32")
    folded = wb.load_export(tmp_path / "out")
    assert set(folded["it"]) == {key.removeprefix("it.") for key in wanted if key.startswith("it.")}


def test_a_norm_of_zero_gives_nan_as_in_pytorch(tmp_path, quiet):
    torch = oracles.torch()
    one = torch.nn.utils.weight_norm(torch.nn.Linear(4, 3))
    with torch.no_grad():
        one.weight_v[1] = 0
    torch.save(one.state_dict(), tmp_path / "parts.pt")
    plan = wb.Mapping(fold=True).plan(wb.open(tmp_path / "parts.pt"))
    torch.nn.utils.remove_weight_norm(one)
    found = plan.tensors[plan.remapped.index("weight")].read()
    assert np.isnan(found).tolist() == torch.isnan(one.weight).tolist()
    assert np.isnan(found[1]).all()
    (said,) = [each for each in wb.diagnose(plan.checkpoint, plan.mapping, deep=True) if each.code == "nan-values"]
    assert said.keys


def test_several_parameters_of_one_module_are_folded(tmp_path, quiet):
    torch = oracles.torch()
    import torch.nn.utils.prune as prune

    one = torch.nn.LSTM(4, 6, num_layers=2, bidirectional=True)
    names = [name for name, _ in one.named_parameters() if name.startswith("weight")]
    for name in names:
        torch.nn.utils.weight_norm(one, name)
    prune.random_unstructured(one, "bias_ih_l0", 0.5)
    torch.save(one.state_dict(), tmp_path / "parts.pt")
    for name in names:
        torch.nn.utils.remove_weight_norm(one, name)
    prune.remove(one, "bias_ih_l0")
    wb.fix(wb.open(tmp_path / "parts.pt"), tmp_path / "fixed.pt", fold=True)
    found, wanted = torch.load(tmp_path / "fixed.pt"), one.state_dict()
    assert found.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-6, atol=0)


def test_a_pruned_part_of_a_weight_norm_is_folded_through(tmp_path, quiet):
    torch = oracles.torch()
    import torch.nn.utils.prune as prune

    one = torch.nn.utils.weight_norm(torch.nn.Linear(6, 4))
    prune.random_unstructured(one, "weight_v", 0.5)
    torch.save(one.state_dict(), tmp_path / "parts.pt")
    prune.remove(one, "weight_v")
    torch.nn.utils.remove_weight_norm(one)
    plan = wb.Mapping(fold=True).plan(wb.open(tmp_path / "parts.pt"))
    kept = [row for row in plan.rows if row.status != "skipped"]
    assert {row.remapped for row in kept} == {"bias", "weight"}
    (weight,) = (row for row in kept if row.remapped == "weight")
    assert set(weight.folded_from) == {"weight_g", "weight_v_orig", "weight_v_mask"}
    assert {row.reason for row in plan.rows if row.status == "skipped"} == {"folded into weight"}
    assert ulps(weight.tensor.read(), one.weight.detach().numpy(), "float32") <= NORM_ULPS["float32"]


def test_the_folded_weight_of_a_shared_module_is_one_tensor_with_two_names(tmp_path, quiet):
    torch = oracles.torch()
    one = torch.nn.utils.weight_norm(torch.nn.Linear(4, 4))
    torch.save(torch.nn.Sequential(one, one).state_dict(), tmp_path / "parts.pt")
    result = wb.fix(wb.open(tmp_path / "parts.pt"), tmp_path / "fixed.pt", fold=True)
    assert ("1.weight", "0.weight") in result.aliases
    found = torch.load(tmp_path / "fixed.pt")
    assert found["0.weight"].data_ptr() == found["1.weight"].data_ptr()


def test_parts_below_children_come_out_where_the_state_dict_has_the_parameter(tmp_path, quiet):
    torch = oracles.torch()

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.randn(3, 3))
            self.b = torch.nn.Parameter(torch.randn(3))
            self.inner = torch.nn.Linear(2, 2)

    one = torch.nn.Sequential(Block(), torch.nn.Linear(2, 2, bias=False))
    torch.nn.utils.parametrizations.weight_norm(one[0], "w")
    torch.nn.utils.parametrizations.weight_norm(one[0].inner, "weight")
    torch.nn.utils.parametrizations.weight_norm(one[1], "weight")
    torch.save(one.state_dict(), tmp_path / "parts.pt")
    wb.fix(wb.open(tmp_path / "parts.pt"), tmp_path / "fixed.pt", fold=True)
    for module, name in ((one[0], "w"), (one[0].inner, "weight"), (one[1], "weight")):
        torch.nn.utils.parametrize.remove_parametrizations(module, name)
    assert list(torch.load(tmp_path / "fixed.pt")) == list(one.state_dict())


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "pruned"])
def test_a_whole_model_folds_to_the_state_dict_that_removal_gives(kind, module, tmp_path, quiet):
    torch = oracles.torch()
    make, name = modules(torch)[module]
    on, off = kinds(torch)[kind]
    one = torch.nn.Sequential(on(make(), name))
    trained(one[0], name)
    one.eval()
    torch.save(one, tmp_path / "model.pt")
    wb.fix(wb.open(tmp_path / "model.pt"), tmp_path / "fixed.pt", fold=True)
    off(one[0], name)
    found, wanted = torch.load(tmp_path / "fixed.pt"), one.state_dict()
    assert list(found) == list(wanted)
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-6, atol=0)


# ---- near misses and refusals ---------------------------------------------------------------------------


def made(**arrays):
    """A checkpoint of arrays by key; two underscores are a dot."""
    named = {key.replace("__", "."): np.asarray(value, np.float32) for key, value in arrays.items()}
    return checkpoint_of(MemorySource(save(named)))


def plan_of(**arrays):
    return wb.Mapping(burn=None, fold=True).plan(made(**arrays))


@pytest.mark.parametrize(
    "arrays",
    [
        {"weight_g": np.ones((3, 1))},
        {"weight_v": np.ones((3, 4))},
        {"weight_g": np.ones((3, 4)), "weight_v": np.ones((3, 4))},
        {"weight_g": np.ones((1, 1)), "weight_v": np.ones((3, 4))},
        {"weight_g": np.ones((4, 1)), "weight_v": np.ones((3, 4))},
        {"a__weight_g": np.ones((3, 1)), "b__weight_v": np.ones((3, 4))},
        {"scale_g": np.ones(3), "scale_v": np.ones(3)},
        {"weight_orig": np.ones((3, 4))},
        {"weight_orig": np.ones((3, 4)), "weight_mask": np.ones((4, 3))},
        {"weight_orig": np.ones((3, 4)), "weight_mask": np.ones(4)},
        {"weight_orig": np.ones((3, 4)), "weight_u": np.ones(5), "weight_v": np.ones(4)},
        {"foo_orig": np.ones(3), "bar_mask": np.ones(3)},
        {"_g": np.ones((3, 1)), "_v": np.ones((3, 4))},
    ],
)
def test_names_that_only_look_alike_are_left_alone_and_are_no_finding(arrays):
    plan = plan_of(**arrays)
    assert plan.remapped == plan.originals or list(plan.remapped) == list(plan.originals)
    assert plan.n_out == len(arrays)
    codes = {each.code for each in wb.diagnose(plan.checkpoint)}
    assert not codes & {"weight-norm", "spectral-norm", "pruned", "parametrised"}


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (
            {"weight": np.ones((3, 4)), "weight_g": np.ones((3, 1)), "weight_v": np.ones((3, 4))},
            "a tensor of that name",
        ),
        ({"weight_orig": np.ones((3, 4)), "weight_u": np.ones(3)}, "`_v` is not in the file"),
        (
            {"parametrizations__w__original": np.ones((3, 3)), "parametrizations__w__0__base": np.ones((3, 3))},
            "orthogonal",
        ),
        (
            {"parametrizations__w__original": np.ones((3, 3)), "parametrizations__w__0__lora_A": np.ones((3, 1))},
            "0.lora_A",
        ),
        ({"parametrizations__w__original": np.ones((3, 3))}, "not one that is known"),
        (
            {"parametrizations__w__original0": np.ones((3, 3)), "parametrizations__w__original1": np.ones((3, 3))},
            "not the shapes of a weight_norm",
        ),
        ({"parametrizations__w__original0": np.ones((3, 3))}, "not one that is known"),
        ({"parametrizations__w__0___u": np.ones(3)}, "not in the file"),
    ],
)
def test_what_cannot_be_folded_stays_in_parts_and_says_why(arrays, why):
    plan = plan_of(**arrays)
    assert plan.n_out == len(arrays)
    (each,) = parametrised(plan.originals, plan.tensors, {})
    assert why in each.refusal
    (found,) = [
        said for said in wb.diagnose(plan.checkpoint) if said.code in ("weight-norm", "spectral-norm", "parametrised")
    ]
    assert why in found.text
    assert found.repair is None


def test_a_spectral_norm_along_either_dimension_that_the_values_do_not_tell_is_refused_when_read():
    generator = np.random.default_rng(1)
    plan = plan_of(weight_orig=generator.normal(size=(4, 4)), weight_u=[1, 0, 0, 0], weight_v=[0, 0, 1, 0])
    with pytest.raises(TensorError, match=r"fit dimension 0 as well as 1|fit dimension 1 as well as 0"):
        plan.tensors[plan.originals.index("weight_orig")].read()


def test_parts_of_different_dtypes_are_refused():
    named = {"weight_g": np.ones((3, 1), np.float16), "weight_v": np.ones((3, 4), np.float32)}
    checkpoint = checkpoint_of(MemorySource(save(named)))
    (each,) = parametrised(list(checkpoint), checkpoint.tensors, {})
    assert "different dtypes" in each.refusal


def test_nothing_is_read_before_values_are_asked_for_and_parts_are_read_once_each():
    source = MemorySource(save({"weight_g": np.ones((3, 1), np.float32), "weight_v": np.ones((3, 4), np.float32)}))
    plan = wb.Mapping(fold=True).plan(checkpoint_of(source))
    before = source.bytes_read
    row = plan.remapped.index("weight")
    assert (plan.tensors[row].shape, plan.tensors[row].dtype.name) == ((3, 4), "float32")
    assert source.bytes_read == before
    assert plan.tensors[row].read().tolist() == [[0.5] * 4] * 3
    assert source.bytes_read == before + 3 * 4 + 12 * 4


def test_a_large_weight_is_computed_once_for_a_reader_that_takes_it_in_pieces(monkeypatch):
    from workbench.core import tensor
    from workbench.mapping import folded_values

    monkeypatch.setattr(tensor, "CHUNK", 64)
    monkeypatch.setattr(folded_values, "CHUNK", 64)
    generator = np.random.default_rng(2)
    v, g = generator.normal(size=(9, 5, 3)).astype(np.float32), generator.normal(size=(1, 5, 1)).astype(np.float32)
    source = MemorySource(save({"weight_g": g, "weight_v": v}))
    plan = wb.Mapping(fold=True).plan(checkpoint_of(source))
    before = source.bytes_read
    found = plan.tensors[plan.remapped.index("weight")].read()
    assert source.bytes_read == before + v.nbytes + g.nbytes
    wide = v.astype(np.float64)
    wanted = wide * (g / np.sqrt((wide**2).sum(axis=(0, 2), keepdims=True)))
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


# ---- the plan ---------------------------------------------------------------------------------------------


def folding(**options):
    arrays = {"net__weight_g": np.ones((3, 1)), "net__weight_v": np.ones((3, 4)), "net__bias": np.ones(3)}
    return wb.Mapping(fold=True, **options).plan(made(**arrays))


def test_the_row_of_a_folded_weight_says_what_it_is_made_of_and_its_parts_where_they_went():
    plan = folding(rules=[wb.Rule(r"^net\.", "")])
    rows = {row.original: row for row in plan.rows}
    assert rows["net.weight_v"].remapped == "weight"
    assert rows["net.weight_v"].folded_from == ("net.weight_v", "net.weight_g")
    assert (rows["net.weight_g"].status, rows["net.weight_g"].reason) == ("skipped", "folded into net.weight")
    steps = [(step.what, step.before, step.after) for step in plan.trace("net.weight_v").steps]
    assert steps == [("folding", "net.weight_v", "net.weight"), ("rule", "net.weight", "weight")]


@pytest.mark.parametrize(
    ("selection", "reasons", "n_out"),
    [
        (
            wb.Selection(exclude=[wb.Pick("key", "net.weight_v")]),
            {
                "net.weight_v": "left out by exclude net.weight_v",
                "net.weight_g": "a part of net.weight, which is left out by exclude net.weight_v",
            },
            1,
        ),
        (
            wb.Selection(include=[wb.Pick("regex", "bias$")]),
            {
                "net.weight_v": "left out: not in include /bias$/",
                "net.weight_g": "a part of net.weight, which is left out: not in include /bias$/",
            },
            1,
        ),
        (
            wb.Selection(exclude=[wb.Pick("key", "net.weight_g")]),
            {"net.weight_g": "folded into net.weight, which needs it, though left out by exclude net.weight_g"},
            2,
        ),
    ],
)
def test_what_becomes_of_a_part_is_told_truly_where_something_is_left_out(selection, reasons, n_out, tmp_path):
    plan = folding(selection=selection)
    assert {row.original: row.reason for row in plan.rows if row.reason} == reasons
    assert plan.n_out == n_out
    frame = plan.frame().set_index("original")
    assert {key: frame.loc[key, "reason"] for key in reasons} == reasons
    wb.export(plan, tmp_path / "out", formats=["npz", "report"])
    report = (tmp_path / "out" / "REPORT.md").read_text().replace("\\", "").replace("`", "")
    written = {row["original"]: row for row in json.loads((tmp_path / "out" / "mapping.json").read_text())["rows"]}
    for key, reason in reasons.items():
        assert written[key]["reason"] == reason
        assert reason in report
    plain = plan.update(wb.Mapping(selection=selection))
    assert not any("fold" in row.reason or "part" in row.reason for row in plain.rows)


def test_switching_folding_off_gives_the_plan_without_it_and_back():
    plan = folding()
    plain = plan.update(wb.Mapping())
    assert list(plain.remapped) == list(plain.originals) == list(plan.originals)
    assert not plain.folded
    again = plain.update(plan.mapping)
    assert list(again.remapped) == list(plan.remapped)
    assert again.counts == plan.counts


def test_folding_survives_json_python_and_repr(tmp_path):
    mapping = wb.Mapping(fold=True)
    assert wb.Mapping.from_json(mapping.to_json()) == mapping
    assert repr(mapping) == "Mapping(fold=True)"
    scope: dict[str, object] = {}
    exec(mapping.to_python(), scope)
    assert scope["mapping"] == mapping
    older = mapping.to_json()
    del older["fold"]
    assert wb.Mapping.from_json(older) == wb.Mapping()
    with pytest.raises(TypeError, match="fold must be bool"):
        wb.Mapping(fold=1)


def test_burn_reading_the_original_file_is_said_not_to_fold():
    plan = folding()
    (said,) = [each for each in plan.lints if each.code == "fold-needs-export"]
    assert said.repair is not None
    from workbench.mapping.repairs import repaired

    exported = plan.update(repaired(plan.mapping, said.repair))
    assert exported.mapping.route == "exported"
    assert not [each for each in exported.lints if each.code == "fold-needs-export"]
    from workbench.code import rust_code

    assert "computed from parts" in rust_code(plan)
    assert "computed from parts" not in rust_code(exported)
    target = wb.Target.from_keys({"net.weight": (3, 4), "net.bias": (3,)})
    assert plan.coverage(target).missing == ("net.weight",)
    assert exported.coverage(target).complete


def test_python_session_and_repair_fold_alike():
    from workbench.finding import Repair
    from workbench.mapping.repairs import repaired

    for burn, route in (("0.22", "exported"), (None, "original")):
        mapping = wb.Mapping(burn=burn)
        session = wb.Session(made(weight_g=np.ones((3, 1)), weight_v=np.ones((3, 4))), mapping)
        session.set_fold(True)
        wanted = wb.Mapping(burn=burn, fold=True, route=route)
        assert session.mapping == mapping.with_fold(True) == wanted
        assert repaired(mapping, Repair.make("Fold into weight", "fold")) == wanted
        assert not [each for each in session.plan.lints if each.code == "fold-needs-export"]
        session.undo()
        assert session.mapping == mapping
        assert wanted.with_fold(False) == wb.Mapping(burn=burn, route=route)


def test_fold_is_one_decision_also_where_nothing_can_be_folded():
    plan = wb.Mapping(fold=True).plan(made(a=np.ones(2)))
    assert not plan.folded
    assert plan.n_out == 1
    assert not [each for each in plan.lints if each.code == "fold-needs-export"]


def test_keys_of_a_whole_file_fold_below_their_dict():
    checkpoint = made(weight_g=np.ones((2, 1)), weight_v=np.ones((2, 2)))
    found = fold(["sd.weight_g", "sd.weight_v"], checkpoint.tensors, {})
    assert found.keys == ("sd.weight_g", "sd.weight")
    assert found.gone == {0: 1}


@pytest.mark.parametrize("shape", [(3, 4), (3, 3)])
def test_a_spectral_norm_whose_vectors_are_zero_gives_what_a_division_by_zero_gives(shape, tmp_path):
    weight = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 4
    plan = plan_of(weight_orig=weight, weight_u=np.zeros(shape[0]), weight_v=np.zeros(shape[1]))
    with np.errstate(all="ignore"):
        wanted = weight / np.float32(0)
    assert np.array_equal(plan.tensors[plan.originals.index("weight_orig")].read(), wanted, equal_nan=True)
