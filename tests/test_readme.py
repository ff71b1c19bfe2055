"""What the README shows is what happens."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text("utf-8")


@pytest.fixture
def among_samples(tmp_path, monkeypatch):
    for sample in (REPOSITORY / "workbench" / "samples").glob("*.*"):
        shutil.copy(sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sessions_in_python_print_what_they_say(among_samples):
    sessions = re.findall(r"```pycon\n(.*?)```", README, re.DOTALL)
    assert len(sessions) == 2
    test = doctest.DocTestParser().get_doctest("\n".join(sessions), {}, "README", None, 0)
    assert len(test.examples) > 16
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("command", re.findall(r"^\$ workbench ((?!lab).*)$", README, re.MULTILINE))
def test_the_commands_run_as_they_stand_there(among_samples, command):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        f"{sys.executable} -m workbench {command}",
        shell=True,
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_file_it_points_to_is_there():
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert len(targets) > 4
    headings = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    assert [target for target in targets if target not in headings and not (REPOSITORY / target).exists()] == []
