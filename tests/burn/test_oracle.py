"""The driver that asks real Burn, with programs of its own in the place of Burn."""

import json
import stat
import sys

import pytest

from tests.burn import oracle
from tests.oracles import corpus

PROGRAM = """#!{python}
import json, os, sys
for question in json.load(sys.stdin):
    if question == "die":
        print("half a line", end="", flush=True)
        os.abort()
    if question == "talk":
        print("said before")
    print("\\n#answer", json.dumps({{"to": question}}), flush=True)
"""


def test_a_question_that_kills_the_process_is_an_answer_and_the_others_go_on(tmp_path):
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    first, dead, second, third = oracle.ask_program(program, ["a", "die", "talk", "b"])
    assert (first, third) == ({"to": "a"}, {"to": "b"})
    assert "abort" in dead
    assert second == {"to": "talk", "stdout": "said before"}


def test_without_cargo_the_reason_is_said_and_ci_fails(monkeypatch):
    oracle._need_cargo.cache_clear()
    monkeypatch.setattr(oracle.shutil, "which", lambda _: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="cargo is not installed"):
        oracle._need_cargo()
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="cargo is not installed"):
        oracle._need_cargo()
    oracle._need_cargo.cache_clear()


@pytest.mark.parametrize(("project", "crate"), [("burn-store-0.21", "0.21.0"), ("burn-store-0.22", "0.22.1")])
def test_the_programs_answer_as_recorded(project, crate):
    """Loads that another program on the same crates carried out: the module written by hand is one as they expect."""
    folder = corpus("golden/apply")
    cases = json.loads((folder / "cases.json").read_text())
    recorded = json.loads((folder / f"{crate}.json").read_text())
    names = {"pytorch": "PytorchStore", "safetensors": "SafetensorsStore", "burnpack": "BurnpackStore"}
    questions, expected = [], []
    for name, case in cases.items():
        answer = recorded[name].get("result", recorded[name])
        is_chance = "collision" in name or "overlap" in case["file"]
        takes_the_process = "panic" in answer or "abort" in answer
        backend = "16" in name or ("keep" in case and crate == "0.21.0")
        if is_chance or takes_the_process or backend or case.get("match_all") or case.get("from_adapter") == "half":
            continue
        questions.append(
            {"ask": "load", "store": names[case["store"]], "file": str(folder / case["file"])}
            | {"adapter": "from_adapter" in case, "reindex": case.get("map_indices_contiguous")}
            | {name: value for name, value in case.items() if name not in ("store", "file", "from_adapter")}
        )
        expected.append((name, answer))
    assert len(questions) > 80
    for (name, wanted), answer in zip(expected, oracle.ask(project, questions), strict=True):
        if "error" in wanted:
            assert "error" in answer, (name, answer)
            continue
        assert "result" in answer, (name, answer)
        for kind in ("applied", "skipped", "unused"):
            assert sorted(answer["result"][kind]) == sorted(wanted[kind]), name
