"""Generated Rust, compiled against the published crates and run: its result is the plan.

All programs for one Burn version are in one binary. They depend on the seed alone, so that it is built once.
"""

import contextlib
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import workbench as wb
from tests.burn import made, oracle
from tests.code.programs import compiled
from tests.code.texts import NASTY, nasty_texts
from workbench.code import rust_code, rust_literal
from workbench.mapping import Layout, Mapping, Pick, Plan, Rule, Selection

STORES = {"burn-store-0.21": "0.21", "burn-store-0.22": "0.22"}


@dataclass
class Case:
    """A program for `plan`, and the file that it is asked about."""

    about: str
    plan: Plan
    path: Path
    text: str


@dataclass
class Built:
    """A binary and its programs; `ask` asks those for one purpose."""

    binary: Path
    cases: list[Case]

    def about(self, about):
        return [case for case in self.cases if case.about == about]

    def ask(self, about, what, **more):
        questions = [
            {"ask": what, "program": n, "file": str(case.path)} | {name: make(case) for name, make in more.items()}
            for n, case in enumerate(self.cases)
            if case.about == about
        ]
        return oracle.ask_program(self.binary, questions)


@pytest.fixture(scope="module", params=STORES)
def stores(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    version = STORES[request.param]
    cases = [*by_chance(folder, version), *as_they_stand(folder, version), *exported(folder, version)]
    return Built(compiled(request.param, [case.text for case in cases], literals()), cases)


@pytest.fixture(scope="module")
def recorders(tmp_path_factory):
    cases = list(for_burn_import(tmp_path_factory.mktemp("burn-import-0.20")))
    return Built(compiled("burn-import-0.20", [case.text for case in cases]), cases)


def literals():
    return [rust_literal(text) for text in nasty_texts()]


def program(plan, **more):
    text = rust_code(plan, program=True, **more)
    assert "NOT in this code" not in text
    return text


def nasty_rule(seed):
    return Rule(re.escape(seed.choice(NASTY[1:])).replace("\0", r"\x00"), seed.choice(NASTY))


def by_chance(folder, version):
    seed = random.Random(21)
    for n in range(48):
        suffix = seed.choice([".pt", ".safetensors", ".bpk"])
        below = seed.choice(["state_dict", 'a"\\\u202e\n*/']) if suffix == ".pt" and seed.random() < 0.4 else None
        path = made.write(folder / f"{n}{suffix}", made.parts(seed, made.keys(seed, 10)), below=below)
        rules = made.rules(seed)
        if seed.random() < 0.5:
            rules.insert(0, nasty_rule(seed))
        if seed.random() < 0.3:
            rules.append(Rule("conv", "off", enabled=False))
        has_switches = suffix != ".bpk"
        reindex = seed.choice([None, True, False]) if has_switches else None
        mapping = Mapping(
            rules,
            burn=version,
            top_level_key=below,
            reindex=reindex,
            keep_indices=(r"^layers$", r"\.0$") if reindex and version == "0.22" and seed.random() < 0.5 else (),
            layout=Layout(adapt=True if suffix != ".pt" and seed.random() < 0.5 else None),
            skip_enum_variants=seed.choice([None, True, False]) if has_switches else None,
        )
        plan = mapping.plan(wb.open(path))
        if len(set(plan.remapped)) < len(plan):
            continue
        if seed.random() < 0.5:
            node = Pick("node", seed.choice(plan.originals).partition(".")[0])
            picks = (seed.choice([node, Pick("regex", "e"), Pick("key", seed.choice(plan.originals))]),)
            selection = Selection(include=picks) if seed.random() < 0.6 else Selection(exclude=picks)
            plan = replace(mapping, selection=selection).plan(plan.checkpoint)
        yield Case("chance", plan, path, program(plan))


def as_they_stand(folder, version):
    parts = [("module.fc.weight", "F32", (2, 3), bytes(24)), ("module.fc.bias", "F32", (2,), bytes(8))]
    for suffix, adapt in ((".pt", None), (".safetensors", True), (".bpk", True)):
        path = made.write(folder / f"net{suffix}", parts)
        mapping = Mapping([Rule(r"^module\.", "")], burn=version, layout=Layout(adapt=adapt))
        plan = mapping.plan(wb.open(path))
        yield Case("whole", plan, path, program(plan))


def exported(folder, version):
    parts = made.parts(random.Random(2), ["fc.0.weight", "fc.2.weight", "fc.7.bias"])
    original = made.write(folder / "original.pt", parts)
    plan = Mapping([Rule("fc", "layers")], burn=version, route="exported", reindex=False).plan(wb.open(original))
    final = [(new, *part[1:]) for new, part in zip(plan.remapped, parts, strict=True)]
    for container, suffix in (("safetensors", ".safetensors"), ("torch-zip", ".pt"), ("burnpack", ".bpk")):
        path = made.write(folder / f"out{suffix}", final)
        yield Case("exported", plan, path, program(plan, container=container))


def for_burn_import(folder):
    seed = random.Random(22)
    for n in range(30):
        suffix = seed.choice([".pt", ".safetensors"])
        below = 'a"\\\u202e' if suffix == ".pt" and seed.random() < 0.4 else None
        path = made.write(folder / f"{n}{suffix}", made.parts(seed, made.keys(seed, 8)), below=below)
        rules = made.rules(seed)
        if seed.random() < 0.5:
            rules.append(nasty_rule(seed))
        plan = Mapping(rules, burn="0.20", top_level_key=below).plan(wb.open(path))
        if len(set(plan.after_rules)) == len(plan):
            yield Case("recorder", plan, path, program(plan))
    for n in range(10):
        path = made.write(folder / f"s{n}.pt", made.parts(seed, made.keys(seed, 8)))
        reindex = seed.choice([None, False])
        plan = Mapping(made.rules(seed), burn="0.20", api="burn-store", reindex=reindex).plan(wb.open(path))
        yield Case("store", plan, path, program(plan))


def params_of(case):
    return [
        {"path": row.target_key, "shape": row.tensor.shape, "stack": ["Struct:Any"] * (row.target_key.count(".") + 1)}
        for row in case.plan.rows
    ]


def test_every_program_shows_the_names_of_its_plan(stores):
    theirs = [sorted(answer.get("tensors", answer)) for answer in stores.ask("chance", "read")]
    assert theirs == [sorted(case.plan.remapped) for case in stores.about("chance")]
    assert len(theirs) > 25


def test_every_program_loads_what_its_plan_selects_and_skips_the_rest(stores):
    ours = []
    for case in stores.about("chance"):
        rows = list(zip(case.plan.rows, case.plan.selected.tolist(), strict=True))
        taken = sorted(row.target_key for row, is_taken in rows if is_taken)
        ours.append((taken, sorted(row.target_key for row, is_taken in rows if not is_taken)))
    theirs = []
    for answer in stores.ask("chance", "load", params=params_of):
        result = answer.get("result", {"applied": [str(answer)], "skipped": []})
        theirs.append((sorted(result["applied"]), sorted(result["skipped"])))
    assert theirs == ours
    assert sum(bool(skipped) for _, skipped in ours) > 5


def test_a_program_runs_as_it_stands_beside_the_file(stores):
    with contextlib.chdir(stores.about("whole")[0].path.parent):
        answers = stores.ask("whole", "main")
    for answer in answers:
        assert "Successfully applied: 2" in answer.get("stdout", str(answer))
    assert all("Err" in answer for answer in stores.ask("whole", "main"))


def test_the_exported_file_keeps_its_names_in_the_program_for_it(stores):
    answers = stores.ask("exported", "read")
    assert len(answers) == 3
    for answer in answers:
        assert sorted(answer["tensors"]) == ["layers.0.weight", "layers.2.weight", "layers.7.bias"]


def test_rust_reads_every_literal_as_the_text_it_was_made_from(stores):
    assert oracle.ask_program(stores.binary, [{"ask": "literals"}]) == [nasty_texts()]


def test_programs_for_burn_import_print_the_names_that_the_plan_prints(recorders):
    ours = [case.plan.debug().strip() for case in recorders.about("recorder")]
    assert [answer["stdout"].strip() for answer in recorders.ask("recorder", "read")] == ours
    assert len(ours) > 15


def test_programs_for_the_store_of_burn_0_20_show_the_names_of_their_plans(recorders):
    ours = [sorted(set(case.plan.remapped)) for case in recorders.about("store")]
    assert [sorted(answer["Ok"]) for answer in recorders.ask("store", "keys")] == ours
