"""Error texts as Burn, PyTorch and safetensors write them, matched against files."""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy
from safetensors import SafetensorError

import workbench as wb
from tests.burn.golden import answers
from tests.make.named import checkpoint_named
from tests.oracles import corpus
from tests.oracles import torch as the_torch
from workbench.mapping.repairs import repaired


@pytest.fixture(scope="module")
def torch():
    return the_torch()


def error_in(answer) -> str:
    """The first error or panic in an answer of the crates."""
    if isinstance(answer, dict):
        for name in ("error", "panic"):
            if isinstance(answer.get(name), str):
                return answer[name]
    inside = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    return next((found for each in inside if (found := error_in(each))), "")


# ---- Burn, word for word --------------------------------------------------------------------------------------------

BURN = [
    # the place of the answer, its name there, the cause, a key that it names
    ("import/load/0.18.0.json", "guide key remap left out", "missing-source-values", "conv"),
    ("import/load/0.18.0.json", "guide top-level key wrong", "top-level-key-not-found", "state_dict"),
    ("import/load/0.19.1.json", "guide top-level key wrong", "top-level-key-not-found", "state_dict"),
    ("import/load/0.18.0.json", "enum, record of the other variant", "no-variant", None),
    ("import/load/0.18.0.json", "enum, file fits none", "no-variant", None),
    ("import/load/0.18.0.json", "broken file of Burn's tests", "cut-off", None),
    ("import/load/0.19.1.json", "broken file of Burn's tests", "broken-pickle", None),
    ("import/load/0.18.0.json", "net, protocol 5", "pickle-protocol", None),
    ("import/load/0.19.1.json", "net, protocol 5", "pickle-protocol", None),
    ("import/load/0.18.0.json", "wrong sizes", "size-at-forward", None),
    ("import/load/0.18.0.json", "wrong rank", "rank-mismatch", None),
    ("import/load/0.18.0.json", "rule with a bad pattern", "bad-regex", "conv("),
    ("import/load/0.18.0.json", "two of three indices", "list-length", None),
    ("import/load/0.18.0.json", "index below index", "list-expected", None),
    ("import/load/0.18.0.json", "layer norm without bias", "norm-parameter-missing", "bias"),
    ("import/load/0.18.0.json", "layer norm with Burn's names", "norm-parameter-missing", "weight"),
    ("import/load/0.18.0.json", "tuple", "tuple-field", None),
    ("import/load/0.18.0.json", "int64 beyond int32", "int-range", None),
    ("import/load/0.18.0.json", "view not needed", "not-contiguous", None),
    ("import/load/0.18.0.json", "safetensors: a .pt", "safetensors-wrong-file", None),
    ("import/load/0.18.0.json", "safetensors: small ints", "dtype-unsupported", "I16"),
    ("import/load/0.19.1.json", "whole model", "unsupported-type", "__builtin__.set"),
    ("import/load/0.19.1.json", "list of tensors", "root-not-a-dict", None),
    ("apply/0.19.1.json", "match/pytorch", "tensors-missing", "norm1.beta"),
    ("apply/0.19.1.json", "match/safetensors", "shape-mismatch", "fc1.weight"),
    ("apply/0.20.1.json", "missing/burnpack", "tensors-missing", "head.bias"),
    ("apply/0.21.0.json", "prefix/no rule", "tensors-missing", "conv1.bias"),
    ("apply/0.22.1.json", "prefix/no rule", "tensors-missing", "norm1.gamma"),
    ("apply/0.22.1.json", "top key/wrong", "top-level-key-not-found", "state_dict"),
    ("apply/0.22.1.json", "top key/not a dict", "top-level-key-not-found", "epoch"),
    ("apply/0.22.1.json", "filter/bad regex", "bad-regex", "("),
    ("read/0.21.0.json", "files/whole_model.pt", "unsupported-type", "__builtin__.set"),
    ("read/0.22.1.json", "files/list_root.pt", "root-not-a-dict", None),
    ("read/0.22.1.json", "files/sparse_coo.pt", "unsupported-type", "torch._utils._rebuild_sparse_tensor"),
    ("read/0.22.1.json", "files/big_endian.pt", "big-endian", None),
    ("read/0.22.1.json", "files/name_of_21_characters.pt", "zip-name-of-21", None),
    ("read/0.22.1.json", "files/key_bool.pt", "odd-dict-key", None),
    ("read/0.22.1.json", "files/defaultdict_root.pt", "filled-object", "SetItems"),
    ("read/0.22.1.json", "files/whole_model_legacy.pt", "whole-model-legacy", None),
    ("read/0.22.1.json", "files/truncated_half.pt", "cut-off", None),
    ("read/0.22.1.json", "files/no_pickle.pt", "no-pickle-in-zip", None),
]


@pytest.mark.parametrize(("place", "name", "code", "key"), BURN)
def test_what_burn_says_is_known_by_its_cause_and_key(place, name, code, key):
    text = error_in(answers(place)[name])
    said = wb.explain(text)
    assert said.known, text
    assert said.code == code
    assert "Burn" in said.wording or said.wording == "safetensors"
    if key is not None:
        assert any(each.startswith(key) for each in said.keys)


def test_nearly_everything_that_the_crates_said_is_known():
    texts = set()
    for folder in ("read", "apply", "import/load"):
        for path in sorted((corpus("golden") / folder).glob("0.*.json")):
            texts |= {text for each in json.loads(path.read_text()).values() if (text := error_in(each))}
    unknown = [text for text in texts if not wb.explain(text).known]
    assert len(texts) > 200
    # The rest names nothing ("not implemented"), or a file that is not there.
    assert {text for text in unknown if "No such file" not in text and text != "not implemented"} == set()


MISSING = (
    "DeserializeError(\"Serde error: other error: Missing source values for the 'conv1' field of type "
    "'Conv2dRecordItem'. Please verify the source data and ensure the field name is correct\")"
)


def test_a_missing_field_is_found_below_a_prefix_and_its_rule_ends_it(tmp_path):
    checkpoint = checkpoint_named(
        tmp_path, ["model.net.conv1.weight", "model.net.conv1.bias", "model.net.conv2.weight"]
    )
    said = wb.explain(MISSING, checkpoint)
    assert said.keys == ("conv1",)
    assert said.here == (("conv1", ("model.net.conv1.bias", "model.net.conv1.weight")),)
    assert (said.repairs[0]["pattern"], said.repairs[0]["replacement"]) == (r"^model\.net\.", "")
    assert said.still_there is True
    after = wb.explain(MISSING, plan=repaired(wb.Mapping(), said.repairs[0]).plan(checkpoint))
    assert after.still_there is False
    assert "at the root" in after.cause


def test_a_missing_field_with_another_spelling_gets_its_rule_and_one_that_is_nowhere_none(tmp_path):
    said = wb.explain(MISSING, checkpoint_named(tmp_path, ["conv_1.weight", "fc.weight"]))
    assert repaired(wb.Mapping(), said.repairs[0]).remap_keys(["conv_1.weight"]) == ["conv1.weight"]
    nowhere = wb.explain(MISSING, checkpoint_named(tmp_path, ["fc.weight"], "other.safetensors"))
    assert nowhere.repairs == ()
    assert nowhere.still_there is True


def test_a_missing_field_below_many_prefixes_gets_no_rule_that_would_mend_one_of_them(tmp_path):
    keys = [f"model.blocks.{n}.conv1.weight" for n in range(4)]
    said = wb.explain(MISSING, checkpoint_named(tmp_path, keys))
    assert "stands below 4 places" in said.cause
    assert not any(repair.do == "add-rule" and "blocks" in str(repair["pattern"]) for repair in said.repairs)


@pytest.mark.parametrize("version", ["0.19.1", "0.20.1", "0.21.0", "0.22.1"])
def test_the_list_of_missing_tensors_of_each_version_leads_to_the_same_rule(version):
    case = answers("apply/cases.json")["prefix/no rule"]
    checkpoint = wb.open(corpus("golden/apply") / case["file"])
    text = error_in(answers(f"apply/{version}.json")["prefix/no rule"])
    said = wb.explain(text, checkpoint)
    wanted = {each["path"] for each in case["params"]}
    assert set(said.keys) == wanted
    mapping = wb.Mapping()
    # Where the prefix is a dict of the file, taking that comes first; either ends it.
    rules = [repair for repair in said.repairs if repair.do == "add-rule"]
    mapping = repaired(mapping, rules[0])
    assert wb.explain(text, plan=mapping.plan(checkpoint)).still_there is False


def test_a_top_level_key_that_is_not_there_is_answered_with_those_that_are(torch, tmp_path):
    torch.save({"model": {"w": torch.ones(2)}, "epoch": 1}, tmp_path / "net.pt")
    checkpoint = wb.open(tmp_path / "net.pt")
    text = error_in(answers("apply/0.22.1.json")["top key/wrong"])
    said = wb.explain(text, checkpoint)
    assert said.still_there is True
    assert said.repairs[0]["value"] == "model"
    chosen = repaired(wb.Mapping(), said.repairs[0]).plan(checkpoint)
    assert wb.explain(text, plan=chosen).still_there is False


def test_a_transposed_linear_is_said_and_the_adapter_is_its_repair(tmp_path):
    safetensors.numpy.save_file({"fc1.weight": np.ones((2, 3), np.float32)}, tmp_path / "net.safetensors")
    checkpoint = wb.open(tmp_path / "net.safetensors")
    text = error_in(answers("apply/0.19.1.json")["match/safetensors"])
    said = wb.explain(text, checkpoint)
    assert "transpose" in said.cause
    assert said.here == (("fc1.weight", ("fc1.weight",)),)
    assert said.still_there is True
    after = repaired(wb.Mapping(), said.repairs[0])
    assert after.layout.adapt is True
    assert wb.explain(text, plan=after.plan(checkpoint)).still_there is False


def test_a_class_that_old_burn_refuses_is_gone_with_the_version_that_reads_it(torch, tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "net.pt")
    checkpoint = wb.open(tmp_path / "net.pt")
    text = error_in(answers("read/0.21.0.json")["files/whole_model.pt"])
    old = wb.explain(text, plan=wb.Mapping(burn="0.21").plan(checkpoint))
    assert old.still_there is True
    assert [finding.code for finding in old.findings] == ["whole-model"]
    assert any(repair.do == "export" for repair in old.repairs)
    assert wb.explain(text, plan=wb.Mapping(burn="0.22").plan(checkpoint)).still_there is False


# ---- PyTorch and safetensors, as they say it now --------------------------------------------------------------------


def raised(work) -> str:
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing was raised")


def put(path, data: bytes):
    path.write_bytes(data)
    return path


def model(torch):
    return torch.nn.Sequential(OrderedDict(fc=torch.nn.Linear(2, 3)))


TORCH = {
    "missing-keys": (lambda torch, at: model(torch).load_state_dict({}), "fc.weight"),
    "unexpected-keys": (
        lambda torch, at: model(torch).load_state_dict({**model(torch).state_dict(), "x.y": torch.ones(1)}),
        "x.y",
    ),
    "size-mismatch": (
        lambda torch, at: model(torch).load_state_dict({"fc.weight": torch.ones(4, 2), "fc.bias": torch.ones(3)}),
        "fc.weight",
    ),
    "not-a-state-dict": (lambda torch, at: model(torch).load_state_dict(model(torch)), "torch.nn"),
    "weights-only": (
        lambda torch, at: (torch.save({"a": argparse.Namespace()}, at / "a.pt"), torch.load(at / "a.pt")),
        "argparse.Namespace",
    ),
    "key-error": (lambda torch, at: {"model": 1}["state_dict"], "state_dict"),
    "wrong-file": (lambda torch, at: torch.load(put(at / "a.pt", b"<!doctype html>"), weights_only=False), "<"),
    "no-eval": (lambda torch, at: model(torch).state_dict().eval(), "eval"),
    "torchscript-expected": (
        lambda torch, at: (torch.save({"a": torch.ones(1)}, at / "a.pt"), torch.jit.load(at / "a.pt")),
        "constants.pkl",
    ),
    "cut-off": (
        lambda torch, at: (
            torch.save({"a": torch.ones(1)}, at / "a.pt"),
            torch.load(put(at / "b.pt", (at / "a.pt").read_bytes()[:200])),
        ),
        None,
    ),
    "no-torch-zip": (
        lambda torch, at: (np.savez(at / "a.npz", a=np.ones(1)), torch.load(at / "a.npz")),
        None,
    ),
    "class-not-found": (lambda torch, at: __import__("models_of_nobody"), "models_of_nobody"),
}


@pytest.mark.parametrize("code", TORCH)
def test_what_torch_says_is_known_by_its_cause_and_key(torch, tmp_path, code):
    work, key = TORCH[code]
    said = wb.explain(raised(lambda: work(torch, tmp_path)))
    assert said.code == code
    assert said.wording == "PyTorch"
    if key is not None:
        assert any(each.startswith(key) for each in said.keys)


def test_a_class_that_torch_cannot_find_is_found_in_the_file(torch, tmp_path):
    code = "import sys, torch\nclass Net(torch.nn.Linear): pass\ntorch.save(Net(1, 1), sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path / "net.pt"], check=True)
    load = "import sys, torch\ntorch.load(sys.argv[1], weights_only=False)"
    done = subprocess.run([sys.executable, "-c", load, tmp_path / "net.pt"], capture_output=True, text=True)
    said = wb.explain(done.stderr, wb.open(tmp_path / "net.pt"))
    assert said.code == "class-not-found"
    assert said.keys == ("__main__.Net",)
    assert "It is the class of `the file itself`" in said.cause
    assert said.repairs[0].do == "export"


def test_the_missing_keys_of_torch_lead_to_the_prefix_and_to_none_when_it_is_off(torch, tmp_path):
    state = {f"module.{key}": value for key, value in model(torch).state_dict().items()}
    torch.save(state, tmp_path / "net.pt")
    text = raised(lambda: model(torch).load_state_dict(state))
    checkpoint = wb.open(tmp_path / "net.pt")
    said = wb.explain(text, checkpoint)
    assert set(said.keys) == {"fc.weight", "fc.bias", "module.fc.weight", "module.fc.bias"}
    assert said.repairs[0]["pattern"] == r"^module\."
    after = repaired(wb.Mapping(), said.repairs[0]).plan(checkpoint)
    assert wb.explain(text, plan=after).still_there is False


SAFETENSORS = {
    "safetensors-wrong-file": b"PK\3\4" + b"\x99" * 60,
    "safetensors-cut-off": struct.pack("<Q", 4000) + b"{}",
    "safetensors-header": struct.pack("<Q", 4) + b"abcd",
}


@pytest.mark.parametrize("code", SAFETENSORS)
def test_what_safetensors_says_is_known_by_its_cause(code):
    with pytest.raises(SafetensorError) as error:
        safetensors.numpy.load(SAFETENSORS[code])
    said = wb.explain(str(error.value))
    assert said.code == code
    assert said.wording == "safetensors"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("HeaderTooLarge", "safetensors-wrong-file"),
        ("MetadataIncompleteBuffer", "safetensors-cut-off"),
        ("InvalidHeaderDeserialization", "safetensors-header"),
    ],
)
def test_the_older_names_of_safetensors_are_known_too(name, code):
    assert wb.explain(f"safetensors_rust.SafetensorError: Error while deserializing header: {name}").code == code


def test_a_pt_file_given_to_safetensors_is_called_what_it_is(torch, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "net.safetensors")
    said = wb.explain("Error while deserializing header: HeaderTooLarge", wb.open(tmp_path / "net.safetensors"))
    assert "PyTorch zip" in said.cause
    assert said.still_there is True


# ---- what is not known ----------------------------------------------------------------------------------------------


def test_an_unknown_text_is_called_unknown_with_the_keys_it_names(tmp_path):
    checkpoint = checkpoint_named(tmp_path, ["module.conv.weight", "module.fc.bias"])
    said = wb.explain("something odd about module.conv.weight in a.b.c", checkpoint)
    assert not said.known
    assert said.title == "Not known."
    assert said.here == (("module.conv.weight", ("module.conv.weight",)),)
    assert [finding.code for finding in said.findings] == ["wrapper-prefix"]
    assert said.still_there is None
    assert not wb.explain("").known


def test_hostile_and_endless_texts_are_answered(tmp_path):
    checkpoint = checkpoint_named(tmp_path, ["a.weight"])
    for text in ("\x1b[31m\0" * 50_000, "Missing tensors: [" + '"x' * 100_000, "a." * 200_000, "KeyError: '" * 30_000):
        wb.explain(text, checkpoint)


# ---- a list that is none --------------------------------------------------------------------------------------------

NESTED = 'Expected Vec but got {\\"0\\": {\\"bias\\": {}}}'


def test_an_index_below_an_index_gets_a_field_between_and_the_target_names_it(tmp_path):
    checkpoint = checkpoint_named(tmp_path, ["v.0.0.w", "v.0.1.w"])
    found = wb.explain(NESTED, checkpoint)
    mended = repaired(wb.Mapping(), found.repairs[0])
    assert set(mended.plan(checkpoint).after_rules) == {"v.0.layers.0.w", "v.0.layers.1.w"}
    assert wb.explain(NESTED, plan=mended.plan(checkpoint)).still_there is False
    target = wb.Target.from_keys(["v.0.cells.0.w", "v.0.cells.1.w"])
    found = wb.explain(NESTED, plan=wb.Mapping().plan(checkpoint, target))
    assert repaired(wb.Mapping(), found.repairs[0]).plan(checkpoint, target).coverage().applied


def test_names_where_a_list_is_wanted_are_looked_up_and_a_setting_is_no_layer(tmp_path):
    checkpoint = checkpoint_named(tmp_path, ["conv1.weight", "conv2.weight"])
    found = wb.explain('Expected Vec but got {\\"conv1\\": {\\"weight\\": {', checkpoint)
    assert found.here == (("conv1", ("conv1.weight",)),)
    assert found.still_there
    assert "a setting, not a layer" in wb.explain('Expected Vec but got String("x")', checkpoint).cause
