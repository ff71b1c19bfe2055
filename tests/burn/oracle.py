"""Real Burn, asked in JSON: small Cargo projects on the published crates, built once into a cache.

`python -m tests.burn.oracle` builds all of them (four to twelve minutes of two cores from nothing). The cache is
``~/.cache/checkpoint-workbench/burn``, or what WORKBENCH_BURN_CACHE names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.oracles import unavailable

PROJECTS = Path(__file__).parent / "projects"
SHARED = "shared"
NAMES = tuple(sorted(path.name for path in PROJECTS.iterdir() if (path / "Cargo.toml").is_file()))
OLDEST_CARGO = (1, 95)
"""What burn 0.22 asks for."""

Answer = dict[str, object]
_MARK = "#answer "


def ask(name: str, questions: Sequence[Mapping[str, object]]) -> list[Answer]:
    """The answer of project `name` to each question, in order.

    What the crate printed before an answer is its "stdout", where there is any. {"panic": text}: it panicked.
    {"abort": text}: the process died, and the questions after it went to a new one.
    """
    return ask_program(built(name), questions)


def ask_program(program: Path, questions: Sequence[Mapping[str, object]]) -> list[Answer]:
    """As `ask`, of a program that is there."""
    answers: list[Answer] = []
    while len(answers) < len(questions):
        rest = json.dumps(list(questions[len(answers) :]))
        ran = subprocess.run([program], input=rest, capture_output=True, text=True, encoding="utf-8", timeout=600)
        got = list(_answers(ran.stdout))
        answers += got
        if len(answers) < len(questions):
            answers.append({"abort": ran.stderr.strip().splitlines()[-2:]})
    return answers


def _answers(out: str) -> Iterator[Answer]:
    printed: list[str] = []
    for line in out.split("\n"):
        if line.startswith(_MARK):
            answer = json.loads(line.removeprefix(_MARK))
            text = "\n".join(printed).strip("\n")
            yield answer | {"stdout": text} if text and isinstance(answer, dict) else answer
            printed = []
        else:
            printed.append(line)


@cache
def built(name: str) -> Path:
    """The program of project `name`, built where it has to be. Skips where cargo or the crates cannot be had."""
    return build(name, {}, name.replace(".", "-"))


def build(name: str, extra: Mapping[str, str], binary: str) -> Path:
    """Binary `binary` of project `name`, with the files `extra` (path below all projects to text) added to it.

    A `name` that is none of `NAMES` is a project of those files alone.
    """
    _need_cargo()
    room = cache_folder() / name
    room.mkdir(parents=True, exist_ok=True)
    target = room / "target"
    program = target / "debug" / (binary + (".exe" if sys.platform == "win32" else ""))
    with _locked(room / "lock"):
        files = {path: text.encode() for path, text in extra.items()} | _sources(name)
        stamp, key = room / f"{binary}.stamp", _key(files)
        if program.is_file() and stamp.is_file() and stamp.read_text() == key:
            return program
        source = room / "source"
        for path, data in files.items():
            place = source / path
            if not place.is_file() or place.read_bytes() != data:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
        _cargo(["build", "--bin", binary], source / name, target)
        stamp.write_text(key)
    return program


def cache_folder() -> Path:
    """Where everything is built."""
    named = os.environ.get("WORKBENCH_BURN_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "checkpoint-workbench" / "burn"


def _sources(name: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(PROJECTS)): path.read_bytes()
        for folder in (name, SHARED)
        for path in sorted((PROJECTS / folder).rglob("*"))
        if path.suffix in {".rs", ".toml"}
    }


def _key(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(f"{path} {len(data)}\n".encode() + data)
    return digest.hexdigest()


@cache
def _need_cargo() -> None:
    if shutil.which("cargo") is None:
        unavailable("cargo is not installed, so real Burn cannot be asked: https://rustup.rs")
    said = subprocess.run(["cargo", "--version"], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_CARGO:
        unavailable(f"cargo {'.'.join(map(str, OLDEST_CARGO))} or newer is needed to ask real Burn, not {said.strip()}")


def _cargo(arguments: list[str], folder: Path, target: Path) -> None:
    environment = os.environ | {"CARGO_TARGET_DIR": str(target), "CARGO_TERM_COLOR": "never"}
    # Compiler errors that are ours must fail a test; crates that cannot be downloaded need not.
    fetched = subprocess.run(["cargo", "fetch"], cwd=folder, env=environment, capture_output=True, text=True)
    if fetched.returncode:
        unavailable(f"the crates of {folder.name} cannot be downloaded: {fetched.stderr.strip()[-600:]}")
    ran = subprocess.run(["cargo", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise AssertionError(f"cargo {' '.join(arguments)} of {folder.name}:\n{ran.stderr[-6000:]}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; test workers start together."""
    with path.open("a") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for project in NAMES:
        started = time.monotonic()
        print(f"{project}: building", flush=True)
        try:
            built(project)
        except pytest.skip.Exception as reason:
            print(f"{project}: left out, {reason}")  # In CI this would have been a failure.
            continue
        print(f"{project}: {time.monotonic() - started:.0f} s", flush=True)
