"""`workbench remap` beside the plan: selection, targets, suggestions, traces, code, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import workbench as wb
from tests.cli.test_commands import GAPS, NESTED, NET, PREFIXED, answer, fault, save, workbench

STRIP = ("--rule", r"conv\.(.*)", "$1")


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target.json"
    path.write_text(json.dumps({"conv1.weight": [2, 2, 2, 2], "conv1.bias": [3], "extra.weight": [4]}))
    return path


def test_selection_is_by_regexes_on_the_keys_of_the_file():
    said = answer("remap", NET, "--include", "conv1", "--exclude", "bias$")
    assert {entry["original"]: entry.get("reason") for entry in said["entries"]} == {
        "conv1.weight": None,
        "conv1.bias": "left out by exclude /bias$/",
        "conv2.weight": "left out: not in include /conv1/",
    }
    assert said["counts"]["out"] == 1
    assert said["counts"]["skipped"] == 2


def test_with_a_target_the_json_says_what_it_covers(target):
    said = answer("remap", PREFIXED, *STRIP, "--target", target)["coverage"]
    assert said["applied"] == ["conv1.weight"]
    assert said["missing"] == ["extra.weight"]
    assert said["unused"] == ["conv2.weight"]
    assert said["mismatched"] == ["conv1.bias"]


def test_with_a_target_the_text_ends_in_its_coverage(target):
    text = workbench("remap", PREFIXED, *STRIP, "--target", target).stdout
    assert "coverage: 1 of 3 parameters of the target filled (33 %)" in text
    assert "missing: extra.weight" in text
    assert "unused: conv2.weight" in text


def test_suggestions_come_with_their_gains_and_the_coverage_after_them(tmp_path):
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("conv1.weight\nconv1.bias\nconv2.weight\n")
    said = answer("remap", PREFIXED, "--target", wanted, "--suggest")
    assert said["coverage_before"]["applied"] == []
    assert said["coverage"]["missing"] == []
    rules = [(rule["pattern"], rule["replacement"]) for rule in said["suggested"]]
    assert all(rule["gains"] > 0 for rule in said["suggested"])
    keys = list(wb.open(PREFIXED))
    assert sorted(wb.Mapping([wb.Rule(*rule) for rule in rules]).remap_keys(keys)) == [
        "conv1.bias", "conv1.weight", "conv2.weight",
    ]  # fmt: skip
    text = workbench("remap", PREFIXED, "--target", wanted, "--suggest").stdout
    assert "with them: 3 of 3 parameters" in text


def test_without_a_target_wrappers_are_offered(tmp_path):
    path = save(tmp_path / "wrapped.safetensors", "module.a.w", "module.b.w")
    said = answer("remap", path, "--suggest")
    assert [rule["gains"] for rule in said["suggested"]] == [2]
    assert [entry["remapped"] for entry in said["entries"]] == ["module.a.w", "module.b.w"]


def test_lints_stand_on_rules_counted_from_0_with_a_repair():
    said = answer("remap", NET, "--rule", "conv1", "c", "--rule", "(conv2)", "$1a")
    found = next(lint for lint in said["lints"] if lint["rule"] == 1 and lint["repair"])
    assert found.keys() >= {"code", "severity", "rule", "text", "next", "repair"}
    assert found["repair"]["do"] == "edit-rule"
    assert f"[{found['code']}]" in workbench("remap", NET, "--rule", "conv1", "c", "--rule", "(conv2)", "$1a").stdout


def test_an_error_among_the_lints_exits_with_1():
    said = answer("remap", NET, "--rule", "conv.", "c", exits=1)
    assert "error" in {lint["severity"] for lint in said["lints"]}


def test_it_stops_after_the_first_rules():
    rules = ("--rule", "conv1", "a", "--rule", "^a", "b")
    assert answer("remap", NET, *rules, "--upto", "1")["entries"][0]["remapped"].startswith("a.")
    assert "There are no 3 rules" in fault("remap", NET, *rules, "--upto", "3")


def test_a_trace_is_the_way_of_one_key():
    said = answer("remap", PREFIXED, *STRIP, "--trace", "conv.conv1.bias")["trace"]
    assert said["final"] == "conv1.bias"
    assert said["steps"] == [
        {"rule": 0, "what": "rule", "before": "conv.conv1.bias", "after": "conv1.bias", "note": ""}
    ]
    text = workbench("remap", PREFIXED, *STRIP, "--trace", "conv.conv1.bias").stdout
    assert text == "conv.conv1.bias\n  rule 1: conv.conv1.bias → conv1.bias\n"
    assert "There is no tensor 'nope'" in fault("remap", PREFIXED, "--trace", "nope")


def test_the_debug_print_is_printed_alone():
    text = workbench("remap", PREFIXED, *STRIP, "--burn", "0.20", "--debug").stdout
    assert text.startswith("Debug information of keys and tensor shapes:\n---\nOriginal Key: conv.conv1.bias\n")
    assert text == wb.Mapping([wb.Rule(*STRIP[1:])], burn="0.20").plan(wb.open(PREFIXED)).debug()


@pytest.mark.parametrize(("language", "word"), [("rust", "with_key_remapping"), ("python", "import workbench as wb")])
def test_the_code_is_printed_alone(language, word):
    text = workbench("remap", PREFIXED, *STRIP, "--code", language).stdout
    assert word in text
    assert "→" not in text


def test_every_decision_is_saved_and_read_again(tmp_path):
    path = tmp_path / "m.json"
    options = (
        "--include", "w", "--exclude", "x", "--burn", "0.20", "--api", "burn-store", "--route", "exported",
        "--keep-index", "^a$", "--top-level-key", "my_state_dict", "--reindex",
    )  # fmt: skip
    first = answer("remap", NESTED, *STRIP, *options, "--save", path)
    mapping = wb.Mapping.load(path)
    assert mapping == wb.Mapping(
        [wb.Rule(*STRIP[1:])],
        burn="0.20",
        api="burn-store",
        route="exported",
        top_level_key="my_state_dict",
        selection=wb.Selection((wb.Pick("regex", "w"),), (wb.Pick("regex", "x"),)),
        reindex=True,
        keep_indices=["^a$"],
    )
    assert answer("remap", NESTED, "--mapping", path) == first
    assert answer("remap", NESTED, "--mapping", path, "--burn", "0.22")["burn"]["version"] == "0.22"


def test_lists_keep_their_indices_where_they_are_told_to():
    closed = [entry["remapped"] for entry in answer("remap", GAPS)["entries"]]
    kept = [entry["remapped"] for entry in answer("remap", GAPS, "--keep-index", "")["entries"]]
    originals = [entry["original"] for entry in answer("remap", GAPS)["entries"]]
    assert kept == originals != closed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--include", "("), "unclosed group"),
        (("--keep-index", "("), "unclosed group"),
        (("--api", "burn-import"), "no API 'burn-import'"),
        (("--route", "other"), "original or exported"),
        (("--code", "cobol"), "cobol"),
        (("--target", "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_options_are_refused_in_words(options, words):
    assert words in fault("remap", NET, *options)


def test_the_json_names_the_store_and_the_api_that_reads_the_file():
    said = answer("remap", NESTED, "--burn", "0.20", "--api", "burn-store")["burn"]
    assert said == {"version": "0.20", "api": "PytorchStore", "store": "PytorchStore", "reads_with": "burn-store"}
    assert answer("remap", NESTED, "--burn", "0.20")["burn"]["reads_with"] == "burn-import"


def test_save_replaces_a_mapping_and_nothing_else(tmp_path):
    copy = tmp_path / "net.pt"
    copy.write_bytes(Path(NET).read_bytes())
    assert "[save-replaces-other]" in fault("remap", copy, "--save", copy)
    assert copy.read_bytes() == Path(NET).read_bytes()
    saved = tmp_path / "mapping.json"
    for pattern in ("^a", "^b"):
        said = workbench("remap", copy, "--rule", pattern, "", "--save", saved).stdout
        assert said.splitlines()[-1] == f"saved: {saved}"
        assert [rule.pattern for rule in wb.Mapping.load(saved).rules] == [pattern]


def test_a_wrong_pattern_is_shown_once_with_its_place():
    for option in ("--include", "--keep-index"):
        said = fault("remap", NET, option, "(")
        assert said.count("regex parse error") == 1
        assert "\\x0a" not in said


def test_a_mapping_or_target_that_is_not_there_is_said_to_be_missing():
    assert "nope.json: The mapping cannot be read. There is no such file. " in fault(
        "remap", NET, "--mapping", "nope.json"
    )
    assert "nope.rs: There is no such file. " in fault("remap", NET, "--target", "nope.rs")
