"""Our plans against the published crates: renaming, indices, reading and loading, by seed."""

import hashlib
import random

import numpy as np
import pytest

import workbench as wb
from tests.burn import made, oracle
from tests.oracles import torch
from workbench.mapping import Layout, Mapping, coverage
from workbench.mapping.reindex import nested_indices
from workbench.target import Entry, Target

STORES = {"burn-store-0.21": "0.21", "burn-store-0.22": "0.22"}
EACH = pytest.mark.parametrize("project", STORES)
EACH_FILE = pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bpk"])
STORE_OF = {".pt": "PytorchStore", ".safetensors": "SafetensorsStore", ".bpk": "BurnpackStore"}
DTYPE = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
DTYPE |= {"I16": "int16", "I8": "int8", "U8": "uint8", "Bool": "bool", "Bool(Native)": "bool"}
KEEP = (r"^layers$", r"layers\.\d+$", r"^$", r"encoder", r".*", r"norm\.")


def asked_of(rules):
    return [[rule.pattern, rule.replacement] for rule in rules]


def described(tensor):
    data = np.ascontiguousarray(tensor.read()).tobytes()
    return [tensor.dtype.name, list(tensor.shape), hashlib.sha256(data).hexdigest()]


def answered(tensors):
    return {key: [DTYPE[one["dtype"]], one["shape"], one["sha256"]] for key, one in tensors.items()}


@EACH
def test_rules_and_indices_give_the_names_that_the_store_gives(project):
    seed = random.Random(5)
    questions, ours = [], []
    for n in range(400):
        keys, rules = made.keys(seed, 12, odd=n % 2 == 1), made.rules(seed)
        reindex = seed.random() < 0.7
        ours.append(Mapping(rules, burn=STORES[project], reindex=reindex).remap_keys(keys))
        questions.append({"ask": "remap", "keys": keys, "rules": asked_of(rules), "reindex": reindex})
    theirs = [answer["names"] for answer in oracle.ask(project, questions)]
    assert ours == theirs
    assert sum(names != question["keys"] for names, question in zip(theirs, questions, strict=True)) > 250


def test_lists_that_keep_their_indices_are_those_of_burn_0_22():
    seed = random.Random(6)
    questions, ours = [], []
    for n in range(300):
        keys, rules = made.keys(seed, 12, odd=n % 3 == 0), made.rules(seed)
        keep = seed.sample(KEEP, seed.randint(1, 2))
        ours.append(Mapping(rules, burn="0.22", reindex=True, keep_indices=keep).remap_keys(keys))
        question = {"ask": "remap", "keys": keys, "rules": asked_of(rules), "reindex": True, "keep": keep}
        questions.append(question)
    assert ours == [answer["names"] for answer in oracle.ask("burn-store-0.22", questions)]


def test_rules_give_the_names_that_burn_import_gives():
    seed = random.Random(7)
    questions, ours = [], []
    for n in range(200):
        keys, rules = made.keys(seed, 12, odd=n % 2 == 1), made.rules(seed)
        names = Mapping(rules, burn="0.20").remap_keys(keys)
        if len(set(names)) == len(names):  # Of several tensors with one name, chance decides which is left.
            ours.append(names)
            questions.append({"ask": "remap", "keys": keys, "rules": asked_of(rules)})
    assert len(ours) > 80
    assert ours == [answer["names"] for answer in oracle.ask("burn-import-0.20", questions)]


def test_nested_lists_give_the_names_that_burn_imports_tree_gives():
    seed = random.Random(8)
    questions, ours = [], []
    for _ in range(1500):
        keys = made.keys(seed, seed.randint(2, 6))
        found = nested_indices(keys)
        is_prefix = any(one != other and other.startswith(f"{one}.") for one in keys for other in keys)
        if not (found.random or found.panics or is_prefix or len(set(found.names)) < len(keys)):
            ours.append(found.names)
            questions.append({"ask": "remap", "keys": keys, "rules": [], "reindex": True})
    assert sum(names != question["keys"] for names, question in zip(ours, questions, strict=True)) > 40
    assert ours == [answer.get("names", answer) for answer in oracle.ask("burn-import-0.20", questions)]


@EACH
@EACH_FILE
def test_a_plan_has_the_names_and_the_bytes_that_the_store_reads(project, suffix, tmp_path):
    seed = random.Random(9)
    questions, ours = [], []
    for n in range(60):
        parts = made.parts(seed, made.keys(seed, 8), tuple(made.DTYPES))
        below = "state_dict" if suffix == ".pt" and n % 3 == 0 else None
        path = made.write(tmp_path / f"{n}{suffix}", parts, below=below)
        reindex = None if suffix == ".bpk" else seed.choice([None, True, False])
        mapping = Mapping(made.rules(seed), burn=STORES[project], reindex=reindex, top_level_key=below)
        plan = mapping.plan(wb.open(path))
        if len(set(plan.remapped)) < len(plan):
            continue
        ours.append({row.remapped: described(row.tensor) for row in plan.rows})
        question = {"ask": "read", "store": STORE_OF[suffix], "file": str(path), "rules": asked_of(mapping.rules)}
        questions.append(question | {"reindex": reindex, "top_level_key": below})
    assert len(ours) > 25
    answers = oracle.ask(project, questions)
    assert ours == [answered(answer["tensors"]) if "tensors" in answer else answer for answer in answers]


@EACH
def test_files_of_torch_are_read_as_the_store_reads_them(project, tmp_path):
    th = torch()
    net = th.nn.Sequential(th.nn.Conv2d(1, 2, 3), th.nn.BatchNorm2d(2), th.nn.Flatten(), th.nn.Linear(8, 3))
    half = {"h": th.ones(2, 3, dtype=th.float16), "b": th.ones(4, dtype=th.bfloat16), "i": th.arange(5)}
    saved = {"plain": net.state_dict(), "wrapped": {"model": net.state_dict(), "step": 3}, "dtypes": half}
    for name, value in saved.items():
        th.save(value, tmp_path / f"{name}.pt")
    questions = [
        {"ask": "read", "store": "PytorchStore", "file": str(tmp_path / f"{name}.pt"), "reindex": False}
        for name in saved
    ]
    for answer, question in zip(oracle.ask(project, questions), questions, strict=True):
        ckpt = wb.open(question["file"])
        assert answered(answer["tensors"]) == {tensor.key: described(tensor) for tensor in ckpt.tensors}


def a_target(seed, plan):
    """Parameters for most tensors of the plan: some of another shape, some under another name, some of no tensor."""
    entries = {}
    for row in plan.rows:
        path, shape = row.remapped, row.tensor.shape
        kind = {"int64": "int", "uint8": "int", "bool": "bool"}.get(row.tensor.dtype.name, "float")
        luck = seed.random()
        if luck < 0.15:
            continue
        if luck < 0.25:
            path += ".other"
        elif luck < 0.35:
            shape = (*shape[:-1], shape[-1] + 1)
        module, _, leaf = path.rpartition(".")
        owner = seed.choice(["Linear", "Conv2d", "BatchNorm", "LayerNorm"])
        if owner in ("BatchNorm", "LayerNorm") and leaf in ("weight", "bias") and module:
            path = f"{module}.{'gamma' if leaf == 'weight' else 'beta'}"
        # One struct has one type: all of its parameters go with the first.
        stack = entries.setdefault("types", {}).setdefault(path.rpartition(".")[0], owner)
        containers = ("Vec",) * path.count(".") + (f"Struct:{stack}",)
        if stack == "Linear" and path.endswith("weight") and len(shape) == 2 and seed.random() < 0.8:
            shape = shape[::-1]
        entries[path] = Entry(path, shape, None, kind, containers)
    entries.pop("types", None)
    return Target(tuple(entries.values()), "made")


def loaded(found):
    """What a coverage says that the target holds afterwards, by path."""
    held = {}
    for n, (entry, state, row) in enumerate(zip(found.target.entries, found.states, found.rows, strict=True)):
        if state == "applied":
            array = found.plan.tensors[row].read()
            array = np.ascontiguousarray(array.T if n in found.transposed else array)
            held[entry.path] = [list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    return held


@EACH
@EACH_FILE
def test_coverage_says_what_the_load_into_a_module_said(project, suffix, tmp_path):
    seed = random.Random(11)
    questions, ours, values = [], [], []
    for n in range(90):
        path = made.write(tmp_path / f"{n}{suffix}", made.parts(seed, made.keys(seed, 8), ("F32", "F32", "I64")))
        adapt = True if suffix != ".pt" and seed.random() < 0.5 else None
        mapping = Mapping(made.rules(seed), burn=STORES[project], layout=Layout(adapt=adapt))
        plan = mapping.plan(wb.open(path))
        if len(set(plan.remapped)) < len(plan):  # Of several tensors with one name, chance decides which is left.
            continue
        target = a_target(seed, plan)
        found = coverage.coverage(plan, target)
        if not len(target) or (found.errors and project == "burn-store-0.21"):  # It panics half way.
            continue
        ours.append(
            {
                "applied": sorted(found.applied),
                "missing": sorted(found.missing),
                "unused": sorted(found.burn_unused),
                "errors": sorted(problem.path for problem in found.problems),
            }
        )
        values.append(loaded(found))
        params = [
            {"path": entry.path, "stack": entry.containers, "shape": entry.shape, "kind": entry.kind}
            for entry in target.entries
        ]
        question = {"ask": "load", "store": STORE_OF[suffix], "file": str(path), "rules": asked_of(mapping.rules)}
        question |= {"params": params, "adapter": bool(adapt), "validate": False, "allow_partial": True}
        questions.append(question)
    assert len(ours) > 20
    theirs, held = [], []
    for answer in oracle.ask(project, questions):
        result = answer.get("result", {"errors": [f"'{answer}'"]})
        lists = {name: sorted(result.get(name, [])) for name in ("applied", "missing", "unused")}
        theirs.append(lists | {"errors": sorted(text.split("'")[1] for text in result["errors"])})
        params = answer.get("params", {})
        held.append({path: [params[path]["shape"], params[path]["sha256"]] for path in result.get("applied", [])})
    assert theirs == ours
    assert held == values
    assert all(any(each[name] for each in ours) for name in ours[0])


def test_burn_import_loads_the_values_that_the_plan_names(tmp_path):
    seed = random.Random(12)
    shapes = {
        "model.conv1.weight": (2, 1, 2, 2), "model.conv1.bias": (2,), "model.bn.weight": (2,), "model.bn.bias": (2,),
        "model.bn.running_mean": (2,), "model.bn.running_var": (2,), "model.seq.1.weight": (2, 2),
        "model.seq.1.bias": (2,), "model.seq.4.weight": (2, 2), "model.seq.4.bias": (2,), "model.fc.weight": (2, 3),
        "model.fc.bias": (2,),
    }  # fmt: skip
    values = {
        key: np.array([seed.random() for _ in range(int(np.prod(shape)))], np.float32) for key, shape in shapes.items()
    }
    parts = [(key, "F32", shapes[key], values[key].tobytes()) for key in shapes]
    rules = [wb.Rule(r"^model\.", ""), wb.Rule(r"^bn\.", "norm1."), wb.Rule(r"^seq\.", "layers.")]
    for suffix, store in ((".pt", "PyTorchFileRecorder"), (".safetensors", "SafetensorsFileRecorder")):
        path = made.write(tmp_path / f"net{suffix}", parts)
        marks = [("fc", "Linear"), ("layers.0", "Linear"), ("layers.1", "Linear"), ("norm1", "BatchNorm")]
        plan = Mapping(rules, burn="0.20", layout=Layout(modules=marks)).plan(wb.open(path))
        ours = {}
        for row in plan.rows:
            array = row.tensor.read()
            array = np.ascontiguousarray(array.T if row.layout == "transpose" else array)
            ours[row.target_key] = [list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
        question = {"ask": "load", "store": store, "file": str(path), "rules": asked_of(rules), "debug": True}
        (answer,) = oracle.ask("burn-import-0.20", [question])
        assert {key: [one["shape"], one["sha256"]] for key, one in answer["params"].items()} == ours
        assert answer["stdout"].strip() == plan.debug().strip()
