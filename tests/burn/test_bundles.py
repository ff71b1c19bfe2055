"""load.rs of a bundle, as it stands: compiled against the published crates, run, and the values of the model compared.

The steps of the guide: a model that was saved whole, its state_dict, rules, an export for one Burn, loaded by that.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest

import workbench as wb
from tests.burn import guide, oracle
from workbench.exporting import export
from workbench.mapping import Layout

PROJECTS = {"burn-import-0.20": "0.20", "burn-store-0.21": "0.21", "burn-store-0.22": "0.22"}
EXPORTED = {
    "burn-import-0.20": ["mpk", "pt", "safetensors"],
    "burn-store-0.21": ["bpk", "safetensors", "pt", "mpk"],
    "burn-store-0.22": ["bpk", "safetensors", "pt"],
}
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


NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04-all-the-way-into-burn.ipynb"
PRINTED = re.compile(r"```text\n(.*?)\n```", re.DOTALL)


@dataclass
class Case:
    """A bundle, and the file that its load.rs should say it loads; one of the notebook has a model of its own."""

    bundle: Path
    loads: str
    is_of_notebook: bool = False

    def run(self, binary, number):
        with contextlib.chdir(self.bundle):
            (answer,) = oracle.ask_program(binary, [{"program": number}])
        return answer.get("stdout", str(answer))


@dataclass
class Built:
    binary: Path
    cases: list[Case]
    wanted: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=PROJECTS)
def built(request, tmp_path_factory):
    project, version = request.param, PROJECTS[request.param]
    folder = tmp_path_factory.mktemp(project)
    wanted = guide.save_whole(folder / "whole.pt")
    wb.fix(wb.open(folder / "whole.pt"), folder / "net.pt")
    cases = list(bundles(folder, project, version))
    if (made := of_notebook().get(version)) is not None:
        cases.append(made)
    return Built(compiled(project, cases), cases, wanted)


def bundles(folder, project, version):
    target = wb.Target.from_rust(guide.model_rs(version), burn=version)
    rules = [wb.Rule(*rule) for rule in guide.RULES]
    mapping = wb.Mapping(rules, burn=version)
    plan = mapping.plan(wb.open(folder / "net.pt"), target)
    export(plan, folder / "original", formats=["rust", "bpk" if version != "0.20" else "pt"])
    shutil.copy(folder / "net.pt", folder / "original" / "net.pt")
    yield Case(folder / "original", "net.pt")
    for source in ("net.pt", "whole.pt"):
        for adapt in (None, True):
            plan = wb.Mapping(rules, burn=version, route="exported", layout=Layout(adapt=adapt)).plan(
                wb.open(folder / source), target
            )
            for format in EXPORTED[project]:
                always_adapts = format == "pt" or (version == "0.20" and format == "safetensors")
                if adapt and always_adapts:
                    continue  # It would adapt what is adapted already, which the code says.
                bundle = folder / f"{source}-{adapt}-{format}"
                export(plan, bundle, formats=[format, "rust", "report"])
                yield Case(bundle, f"model.{format}")


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
        "0.20": Case(here / "for-0.20", "model.mpk", True),
        "0.22": Case(here / "for-0.22", "model.bpk", True),
    }


def compiled(project, cases):
    place = f"{project}/src/bin/bundles"
    files, arms = {}, []
    for n, case in enumerate(cases):
        text = (case.bundle / "load.rs").read_text()
        assert "NOT in this code" not in text
        if not case.is_of_notebook:
            ends = [line for line in ('    println!("{result}");\n', '    println!("{model}");\n') if line in text]
            text = text.replace(ends[0], f'{ends[0]}    println!("{{}}", model::values(&model));\n')
        files[f"{place}/p{n}/load.rs"] = text.replace("\nfn main()", "\npub fn main()")
        files[f"{place}/p{n}/model.rs"] = (case.bundle / "model.rs").read_text()
        arms.append(f"        {n} => serde_json::json!(p{n}::main().map_err(|error| error.to_string())),")
    modules = "\n".join(f'#[path = "p{n}/load.rs"]\nmod p{n};' for n in range(len(cases)))
    files[f"{place}/main.rs"] = FRAME.format(modules=modules, arms="\n".join(arms))
    return oracle.build(project, files, "bundles")


def test_every_bundle_is_loaded_with_the_values_of_the_model(built):
    for n, case in enumerate(built.cases):
        assert f'"{case.loads}".to_string()' in (case.bundle / "load.rs").read_text()
        if case.is_of_notebook:
            continue
        said = case.run(built.binary, n)
        lines = [line.split(" ", 2)[1:] for line in said.splitlines() if line.startswith("value ")]
        got = {name: json.loads(text) for name, text in lines}
        assert got.keys() == built.wanted.keys(), (case, said)
        for name, array in built.wanted.items():
            assert np.array_equal(np.array(got[name], np.float32), array.reshape(-1)), (case, name)


def test_burn_prints_what_the_notebook_says(built):
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    for n, case in enumerate(built.cases):
        if case.is_of_notebook:
            assert case.run(built.binary, n).strip() in PRINTED.findall(text)
