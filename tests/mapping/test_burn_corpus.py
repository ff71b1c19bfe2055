"""Our remapping against what the real crates answered (results recorded by running burn-store and burn-import)."""

import json

import pytest

import workbench as wb
from tests.oracles import corpus
from workbench.mapping.reindex import nested_indices

STORES = {
    "0.19": "burn-store-0.21.0.json",
    "0.20": "burn-store-0.21.0.json",
    "0.21": "burn-store-0.21.0.json",
    "0.22": "burn-store-0.22.1.json",
    "0.23": "burn-store-0.22.1.json",
}
"""The recorded answers: 0.20.1 gave those of 0.21.0, 0.19.1 the same names before reindexing, 0.23 those of 0.22.1."""

IMPORTS = {"0.18": "0.18.0", "0.19": "0.19.1", "0.20": "0.20.1"}


def remapped(keys, rules, **options):
    try:
        return wb.Mapping([wb.Rule(*rule) for rule in rules], **options).remap_keys(keys)
    except wb.RuleError as error:
        return error.text


@pytest.mark.parametrize("version", STORES)
def test_remapped_keys_and_refusals_are_those_of_burn_store(version):
    folder = corpus("golden/remap")
    cases = json.loads((folder / "cases.json").read_text())
    answers = json.loads((folder / STORES[version]).read_text())
    assert len(cases) == len(answers) > 1_500
    different = []
    for case, answer in zip(cases, answers, strict=True):
        reindex = case["reindex"] and version != "0.19"
        ours = remapped(case["keys"], case["rules"], burn=version, api="burn-store", reindex=reindex)
        final = answer.get("final") if reindex else None
        if ours != answer.get("error", final or answer.get("remapped")):
            different.append(case["name"])
    assert different == []


@pytest.mark.parametrize("version", ["0.22", "0.23"])
def test_lists_that_keep_their_indices_are_those_of_burn_store(version):
    folder = corpus("golden/remap")
    cases = json.loads((folder / "keep-cases.json").read_text())
    answers = json.loads((folder / "keep-burn-store-0.22.1.json").read_text())
    assert len(cases) == len(answers) > 10
    for case, answer in zip(cases, answers, strict=True):
        options = {"reindex": case["reindex"], "keep_indices": case["keep"]}
        ours = remapped(case["keys"], case["rules"], burn=version, **options)
        assert ours == answer.get("final", answer["remapped"]), case["name"]


@pytest.mark.parametrize("version", IMPORTS)
def test_remapped_keys_are_those_of_burn_import(version):
    cases = json.loads((corpus("golden/import/remap") / f"burn-import-{IMPORTS[version]}.json").read_text())
    assert len(cases) > 150
    for case in cases:
        ours = remapped(case["keys"], case["rules"], burn=version, reindex=False)
        if "ok" in case["renamed"]:
            assert ours == case["renamed"]["ok"], case["name"]
        else:
            assert ours.startswith("regex parse error") or "size limit" in ours, case["name"]


@pytest.mark.parametrize("version", IMPORTS)
def test_indices_are_those_of_burn_imports_tree_or_one_of_its_outcomes(version):
    cases = json.loads((corpus("golden/import/remap") / f"burn-import-{IMPORTS[version]}.json").read_text())
    n_exact = 0
    for case in cases:
        if "nested" not in case:
            continue
        renamed = case["renamed"]["ok"]
        ours = nested_indices(renamed)
        texts = [outcome["panic"] for outcome in case["nested"] if "panic" in outcome]
        trees = [outcome["ok"] for outcome in case["nested"] if "ok" in outcome]
        assert bool(texts) == bool(ours.random or (ours.panics and not trees)), case["name"]
        if not trees:
            assert ours.panics, case["name"]
        elif fits_a_tree(ours.names):
            assert [tree(case["keys"], ours)] == trees, case["name"]
            n_exact += 1
        else:  # which tensor is left, and where the others stray, is chance: every place must be one of ours
            places = {(old, place) for each in trees for old, place in leaves(each)}
            possible = {*zip(case["keys"], ours.names, strict=True), *zip(case["keys"], renamed, strict=True)}
            assert places <= possible, case["name"]
    assert n_exact > 100


def fits_a_tree(names):
    return len(set(names)) == len(names) and not any(b.startswith(f"{a}.") for a in names for b in names)


def tree(keys, result):
    """The names as burn-import's tree: maps and lists with the old keys as leaves."""
    root = {}
    for old, new in zip(keys, result.names, strict=True):
        node = root
        *outer, leaf = new.split(".")
        for segment in outer:
            node = node.setdefault(segment, {})
        node[leaf] = {"=": old}
    return with_lists(root, (), set(result.lists))


def with_lists(node, place, lists):
    if set(node) == {"="}:
        return node
    filled = {name: with_lists(child, (*place, name), lists) for name, child in node.items()}
    if not place or ".".join(place) not in lists:
        return filled
    return [filled[str(n)] for n in range(len(filled))]


def leaves(node, place=()):
    if isinstance(node, list):
        node = {str(n): child for n, child in enumerate(node)}
    for name, child in node.items():
        if name == "=" and isinstance(child, str):
            yield child, ".".join(place)
        elif not isinstance(child, str):  # a text is what a tensor itself keeps there, under names of its own
            yield from leaves(child, (*place, name))


@pytest.mark.parametrize("version", IMPORTS)
def test_the_debug_print_is_that_of_burn_import_word_for_word(version):
    folder = corpus("golden/import/debug-print")
    cases = json.loads((folder / "cases.json").read_text())
    prints = json.loads((folder / f"{IMPORTS[version]}.json").read_text())
    assert len(cases) > 20
    for case in cases:
        place = "peer/burn" if case["file"].startswith("peer/") else "golden/import/files"
        path = corpus(place) / case["file"].partition("/")[2]
        wanted = {outcome["text"] for outcome in prints[case["name"]]["stdout"]}
        try:
            mapping = wb.Mapping(
                [wb.Rule(*rule) for rule in case["rules"]], top_level_key=case["top_level_key"], burn=version
            )
        except wb.RuleError:
            assert wanted == {""}, case["name"]
            continue
        assert mapping.plan(wb.open(path)).debug() in wanted, case["name"]
