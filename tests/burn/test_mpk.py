"""Records that we write, loaded by the recorder of real Burn 0.20 into a model with a field of every kind."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

import workbench as wb
from tests.burn import oracle
from tests.writing.made import checkpoint_of
from tests.writing.test_mpk_file import ids_in, written
from workbench.exporting import export
from workbench.target import Target
from workbench.writing.items import Item
from workbench.writing.mpk_file import mpk_record

PROJECT = "burn-import-0.20"
SOURCE = oracle.PROJECTS / PROJECT / "src" / "record.rs"
LINEAR = re.compile(r".*(fc|query|key|value|output|array\.\d|tuple\.0|head|_transform)\.weight")
NORM = re.compile(r"(norm|group|rms|encoder\.blocks\.\d\.norm|tuple\.1)\.(gamma|beta)")
NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "bool": "Bool"}


def asked(**question):
    return oracle.ask(PROJECT, [question])[0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The model as real Burn saves it when it is new."""
    path = tmp_path_factory.mktemp("burn") / "new.mpk"
    answer = asked(ask="save", file=str(path))
    assert "params" in answer, answer
    return path


@pytest.fixture(scope="module")
def arrays(saved):
    """An array of chosen values for each parameter, in Burn's layout."""
    made = {}
    random = np.random.default_rng(7)
    for tensor in wb.open(saved).tensors:
        kind = {"float32": "float32", "int32": "int64", "bool": "bool"}[tensor.dtype.name]
        array = random.standard_normal(tensor.shape) * 100
        made[tensor.key] = (array > 0) if kind == "bool" else array.astype(kind)
    return made


def as_torch(arrays, *, variants):
    """The same as PyTorch has them: Linear weights (out, in), norms with weight and bias."""
    found = {}
    for path, array in arrays.items():
        key = path if variants else re.sub(r"\.(Plain|Pair)\b", "", path)
        if LINEAR.fullmatch(path):
            array = np.ascontiguousarray(array.T)
        if NORM.fullmatch(path):
            key = key.replace("gamma", "weight").replace("beta", "bias")
        found[key] = array
    return found


def expected(arrays, precision="full"):
    found = {}
    for path, array in arrays.items():
        if precision == "half" and array.dtype == np.float32:
            array = array.astype(np.float16).astype(np.float32)
        described = {"dtype": NAMES[array.dtype.name], "shape": list(array.shape)}
        found[path] = described | {"sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    return found


@pytest.mark.parametrize("precision", ["full", "half"])
@pytest.mark.parametrize("variants", [True, False])
@pytest.mark.parametrize("source", ["rust", "template"])
def test_burn_loads_our_record_with_equal_values(tmp_path, saved, arrays, source, variants, precision):
    ckpt = checkpoint_of(tmp_path / "net.safetensors", as_torch(arrays, variants=variants))
    target = Target.from_rust(SOURCE, root="Everything") if source == "rust" else Target.open(saved)
    plan = wb.Mapping(burn="0.20").plan(ckpt, target)
    result = export(plan, tmp_path / "out", formats=["mpk"], precision=precision)
    for reader in ("full", "half") if precision == "half" else ("full",):
        answer = asked(ask="load record", file=str(tmp_path / "out" / "model.mpk"), precision=reader)
        assert answer.get("params") == expected(arrays, precision), answer
        assert (answer["head"], answer["tail"]) == (True, False)
    cast = f"cast from int64 to {'int32' if precision == 'full' else 'int16'}"
    assert f"model.mpk: steps: {cast}" in result.changes
    assert ("model.mpk: scale: cast from float32 to float16" in result.changes) == (precision == "half")
    assert any("lstm.gate_activation" in line for line in result.changes) == (source == "rust")


@pytest.mark.parametrize("module", ["Everything", "Others"])
def test_the_bytes_are_those_that_burn_saves_of_the_same_module(tmp_path, module):
    path = tmp_path / "new.mpk"
    answer = asked(ask="save", file=str(path), module=module)
    assert answer.keys() & {"params", "saved"}, answer
    items = [Item(tensor.key, tensor) for tensor in wb.open(path).tensors]
    for target in (Target.from_rust(SOURCE, root=module), Target.open(path)):
        ours = written(mpk_record(items, target, version="0.20"), ids=ids_in(path.read_bytes()).get)
        assert ours == path.read_bytes(), target


def test_burn_loads_a_record_of_its_own_again_after_a_rename_and_back(tmp_path, saved, arrays):
    plan = wb.Mapping([wb.Rule("^conv", "stem"), wb.Rule("^stem", "conv")], burn="0.20").plan(wb.open(saved))
    export(plan, tmp_path / "out", formats=["mpk"])
    answer = asked(ask="load record", file=str(tmp_path / "out" / "model.mpk"))
    values = {tensor.key: tensor.read() for tensor in wb.open(saved).tensors}
    values["steps"] = values["steps"].astype(np.int64)
    assert answer["params"] == expected(values)
