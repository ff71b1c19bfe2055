"""Our remapping against what the real crates answered (results recorded by running burn-store)."""

import json

import pytest

import workbench as wb
from tests.oracles import corpus

VERSIONS = {
    "0.21": "burn-store-0.21.0.json",
    "0.22": "burn-store-0.22.1.json",
    "0.23": "burn-store-0.22.1.json",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_remapped_keys_and_refusals_are_those_of_burn_store(version):
    folder = corpus("golden/remap")
    cases = json.loads((folder / "cases.json").read_text())
    answers = json.loads((folder / VERSIONS[version]).read_text())
    assert len(cases) == len(answers) > 1_500
    different = []
    for case, answer in zip(cases, answers, strict=True):
        try:
            mapping = wb.Mapping([wb.Rule(*rule) for rule in case["rules"]], burn=version, reindex=case["reindex"])
            ours = mapping.remap_keys(case["keys"])
        except wb.RuleError as error:
            ours = error.text
        if ours != answer.get("error", answer.get("final", answer.get("remapped"))):
            different.append(case["name"])
    assert different == []
