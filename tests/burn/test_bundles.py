"""load.rs of a bundle, as it stands: compiled against the published crates, run, and the values of the model compared.

The steps of the guide: a model that was saved whole, its state_dict, rules, an export for one Burn, loaded by that.
WORKBENCH_BURN names the versions of Burn to ask instead of those that are always asked: "0.18,0.19,0.23".
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import workbench as wb
from tests.burn import guide, oracle
from workbench.burn import apis_of, reader_for
from workbench.exporting import export
from workbench.mapping import Layout, Pick, Selection

ALWAYS = (("0.20", "burn-import"), ("0.21", "burn-store"), ("0.22", "burn-store"))
CONTAINERS = {"pt": "torch-zip", "safetensors": "safetensors", "bpk": "burnpack", "mpk": "mpk"}
FRAME = """
#[path = "../../../../shared/serve.rs"]
mod serve;
{modules}

fn main() {{
    serve::serve(|question| match question["program"].as_u64().unwrap_or_default() {{
{arms}
        _ => serde_json::Value::Null,
    }});
}}
"""
PACKAGE = """[package]
name = "bundles"
version = "0.0.0"
edition = "2024"
publish = false

[dependencies]
serde_json = "1"
sha2 = "0.10"
{dependencies}

[profile.dev]
debug = false
debug-assertions = false
overflow-checks = false

[workspace]
"""


NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04-all-the-way-into-burn.ipynb"
PRINTED = re.compile(r"```text\n(.*?)\n```", re.DOTALL)


def asked():
    """Versions and APIs of Burn whose bundles are built."""
    named = os.environ.get("WORKBENCH_BURN", "").replace(",", " ").split()
    return [(version, api) for version in named for api in apis_of(version)] or ALWAYS


@dataclass
class Case:
    """A bundle, the file that its load.rs should say it loads, and what the file has for the model.

    `some`: the model takes those alone whose names have a hit of that. A bundle of the notebook has a model of its own,
    of which nothing is `wanted`.
    """

    bundle: Path
    loads: str
    wanted: dict[str, np.ndarray[Any, Any]] | None = None
    some: str = ""

    def run(self, binary, number):
        with contextlib.chdir(self.bundle):
            (answer,) = oracle.ask_program(binary, [{"program": number}])
        return answer.get("stdout", str(answer))


@dataclass
class Built:
    binary: Path
    cases: list[Case]


@pytest.fixture(scope="module", params=asked(), ids=lambda each: f"{each[1]}-{each[0]}")
def built(request, tmp_path_factory):
    version, api = request.param
    folder = tmp_path_factory.mktemp(f"{api}-{version}")
    cases = [case for mask in (False, True) for case in bundles(folder / f"mask-{mask}", version, api, mask=mask)]
    if (version, api) in ALWAYS and (made := of_notebook().get(version)) is not None:
        cases.append(made)
    return Built(compiled(f"{api}-{version}", cases), cases)


def bundles(folder, version, api, *, mask):
    """All routes, sources and formats; those with a `mask` of bool leave out readers that have no such dtype."""
    folder.mkdir()
    wanted = guide.save_whole(folder / "whole.pt", mask=mask)
    wb.fix(wb.open(folder / "whole.pt"), folder / "net.pt")
    source_rs = guide.model_rs(version, mask=mask)
    known = wb.Target.from_rust(source_rs, burn=version)
    found = {format: reader_for(version, container, api) for format, container in CONTAINERS.items()}
    readers = {
        format: reader for format, reader in found.items() if reader.store and ("bool" in reader.reads or not mask)
    }
    rules = guide.PREFIX + (guide.INDICES + guide.NORMS if (version, api) == ("0.19", "burn-store") else [])

    def bundle(name, source, format, loads, *, wanted=wanted, some="", rules=rules, target=known, **options):
        precision = options.pop("precision", "full")
        plan = wb.Mapping(rules, burn=version, api=api, **options).plan(wb.open(source), target)
        place = folder / name
        export(plan, place, formats=[format, "rust"], precision=precision)
        if options["route"] == "original":
            shutil.copy(source, place / loads)
        if target is None:
            (place / "model.rs").write_text(source_rs)
        return Case(place, loads, wanted, some)

    yield from exported(folder, readers, bundle, wanted)
    yield from originals(folder, readers, bundle)


def exported(folder, readers, bundle, wanted):
    for source in ("net.pt", "whole.pt"):
        for adapt in (None, True):
            how = {"route": "exported", "layout": Layout(adapt=adapt)}
            for format in readers:
                if adapt and format == "pt":
                    continue  # It would adapt what is adapted already, which the code says.
                yield bundle(f"{source}-{adapt}-{format}", folder / source, format, f"model.{format}", **how)
    for format, reader in readers.items():
        if reader.can_adapt:  # Without a target the file is in PyTorch's layout, for Burn to adapt.
            yield bundle(f"bare-{format}", folder / "net.pt", format, f"model.{format}", target=None, route="exported")
    if "mpk" in readers:
        halves = {key: array.astype("float16") if array.dtype == "float32" else array for key, array in wanted.items()}
        how = {"route": "exported", "precision": "half", "wanted": halves}
        yield bundle("half", folder / "net.pt", "mpk", "model.mpk", **how)


def originals(folder, readers, bundle):
    for format, reader in readers.items():
        if not reader.has_rules:
            continue
        source, how = folder / "net.pt", {"route": "original"}
        if format == "safetensors":
            same = export(wb.Mapping(burn=None).plan(wb.open(source)), folder / "same", formats=[format])
            source = same.folder / "model.safetensors"
            how |= {} if reader.adapter_by_default else {"layout": Layout(adapt=True)}
            how |= {"reindex": True} if reader.can_switch_indices else {}
        elif format == "bpk":  # Not every version adapts a .bpk, so it is one in Burn's layout.
            source = folder / "net.pt-None-bpk" / "model.bpk"
            how["rules"] = [wb.Rule("^(.*)$", "net.$1"), wb.Rule(r"^net\.", "")]
        other = "safetensors" if format == "bpk" else "pt"  # What load.rs does not load.
        yield bundle(f"original-{format}", source, other, source.name, **how)
        if format == "pt":
            source = guide.save_below(source, folder / "below.pt", "state")
            how |= {"top_level_key": "state"}
            how |= {"skip_enum_variants": False} if reader.skips_enum_variants else {}
            how |= {"keep_indices": ["^none$"]} if reader.keep_lists else {}
            yield bundle("below", source, other, source.name, **how)
        if reader.filters == "none":
            continue
        picks = [Pick("node", node) for node in ("layers", "norm", "steps", "mask")]
        how["selection"] = Selection(include=[Pick("regex", "^conv")]) if format == "pt" else Selection(exclude=picks)
        yield bundle(f"some-{format}", source, other, source.name, some="^conv", **how)


@cache
def of_notebook():
    """The bundles that the notebook writes, by version of Burn."""
    space: dict[str, object] = {}
    with contextlib.chdir(NOTEBOOK.parent), contextlib.redirect_stdout(io.StringIO()):
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source, space)
    here = space["here"]
    with zipfile.ZipFile(here / "for-0.20.zip") as archive:
        archive.extractall(here)
    return {
        "0.20": Case(here / "for-0.20", "model.mpk"),
        "0.22": Case(here / "for-0.22", "model.bpk"),
    }


def compiled(project, cases):
    place = f"{project}/src/bin/bundles"
    files, arms = {}, []
    for n, case in enumerate(cases):
        text = (case.bundle / "load.rs").read_text()
        assert "NOT in this code" not in text, case
        if case.wanted is not None:
            text = text.replace("\n    Ok(())\n}\n", '\n    println!("{}", model::values(&model));\n    Ok(())\n}\n')
        files[f"{place}/p{n}/load.rs"] = text.replace("\nfn main()", "\npub fn main()")
        files[f"{place}/p{n}/model.rs"] = (case.bundle / "model.rs").read_text()
        arms.append(f"        {n} => serde_json::json!(p{n}::main().map_err(|error| error.to_string())),")
    modules = "\n".join(f'#[path = "p{n}/load.rs"]\nmod p{n};' for n in range(len(cases)))
    files[f"{place}/main.rs"] = FRAME.format(modules=modules, arms="\n".join(arms))
    if project not in oracle.NAMES:
        files[f"{project}/Cargo.toml"] = PACKAGE.format(dependencies="\n".join(dependencies(cases)))
    return oracle.build(project, files, "bundles")


def dependencies(cases):
    """What the manifests of all bundles ask for, together."""
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        for name, wanted in tomllib.loads((case.bundle / "Cargo.toml").read_text())["dependencies"].items():
            full = {"version": wanted} if isinstance(wanted, str) else wanted
            known = found.setdefault(name, full | {"features": []})
            assert known["version"] == full["version"], case
            known["features"] = sorted({*known["features"], *full.get("features", ())})
    for name, full in found.items():
        yield f"{name} = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in full.items())} }}"


def test_every_bundle_is_loaded_with_the_values_of_the_model(built):
    for n, case in enumerate(built.cases):
        assert f'"{case.loads}".to_string()' in (case.bundle / "load.rs").read_text(), case.bundle
        if case.wanted is None:
            continue
        said = case.run(built.binary, n)
        lines = [line.split(" ", 2)[1:] for line in said.splitlines() if line.startswith("value ")]
        got = {name: json.loads(text) for name, text in lines}
        assert got.keys() == case.wanted.keys(), (case.bundle, said)
        for name, array in case.wanted.items():
            is_equal = np.array_equal(np.array(got[name], np.float32), array.reshape(-1))
            assert is_equal == bool(re.search(case.some, name)), (case.bundle, name)


def test_burn_prints_what_the_notebook_says(built):
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    for n, case in enumerate(built.cases):
        if case.wanted is None:
            assert case.run(built.binary, n).strip() in PRINTED.findall(text)
