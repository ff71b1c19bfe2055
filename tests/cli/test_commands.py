"""The command line as a shell sees it: text, JSON, exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import workbench as wb
from workbench.cli.lab import split_arguments

ROOT = Path(wb.__file__).parents[1]
SAMPLES = Path(wb.__file__).parent / "samples"
NET, PREFIXED, NESTED, GAPS = (
    str(SAMPLES / f"{name}.pt") for name in ("net", "net_prefixed", "net_nested", "sequential_gaps")
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "80"}
COMMAND = [sys.executable, "-m", "workbench"]


def workbench(*arguments, exits: int = 0, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == exits, done.stdout + done.stderr
    return done


def answer(*arguments, exits: int = 0):
    return json.loads(workbench(*arguments, "--json", exits=exits).stdout)


def fault(*arguments, exits: int = 2, **options) -> str:
    done = workbench(*arguments, exits=exits, **options)
    assert done.stdout == ""
    assert done.stderr.startswith(("Error: ", "Usage: "))
    return done.stderr


def save(path: Path, *keys: str) -> Path:
    safetensors.numpy.save_file({key: np.array([n], np.float32) for n, key in enumerate(keys)}, path)
    return path


# ---- inspect --------------------------------------------------------------------------------------------------------


def test_inspect_lists_key_shape_dtype_and_size():
    lines = workbench("inspect", NET).stdout.splitlines()
    assert lines[0] == "net.pt: flat state_dict, PyTorch zip, 3 tensors, 136 B"
    assert "key           shape    dtype    size" in lines
    assert "conv1.weight  2×2×2×2  float32  64 B" in lines


def test_inspect_names_the_top_level_keys_of_a_nested_file():
    assert "top-level keys: my_state_dict (3 tensors, 136 B)" in workbench("inspect", NESTED).stdout


def test_inspect_lists_only_what_lies_under_a_top_level_key():
    said = answer("inspect", NESTED, "--top-level-key", "my_state_dict")
    assert [tensor["key"] for tensor in said["tensors"]] == ["conv1.weight", "conv1.bias", "conv2.weight"]
    assert said["top_level_key"] == "my_state_dict"


def test_inspect_answers_with_json():
    said = answer("inspect", NESTED)
    checkpoint = wb.open(NESTED)
    assert said["name"] == "net_nested.pt"
    assert said["format"] == "torch-zip"
    assert said["kind"] == checkpoint.kind
    assert said["size"] == Path(NESTED).stat().st_size
    assert said["fingerprint"] == checkpoint.fingerprint
    assert said["top_level_keys"] == [{"key": "my_state_dict", "n_tensors": 3, "nbytes": 136}]
    assert said["tensors"][0] == {
        "key": "my_state_dict.conv1.weight",
        "shape": [2, 2, 2, 2],
        "dtype": "float32",
        "nbytes": 64,
    }
    assert said["findings"] == []


def test_inspect_of_a_missing_top_level_key_names_those_there_are():
    said = fault("inspect", NESTED, "--top-level-key", "nope")
    assert "'nope'" in said
    assert "'my_state_dict'" in said
    assert "[top-level-key]" in said


# ---- remap ----------------------------------------------------------------------------------------------------------


def test_remap_shows_rules_and_status_and_an_equation():
    lines = workbench("remap", PREFIXED, "--rule", r"conv\.(.*)", "$1").stdout.splitlines()
    assert "conv.conv1.bias    → conv1.bias    1      2        float32  remapped" in lines
    assert lines[-1] == "3 in = 3 out + 0 skipped"


def test_remap_answers_with_the_final_keys_and_the_rules_that_hit():
    said = answer("remap", GAPS, "--rule", "nothing", "x", "--rule", "^(.*)$", "m.$1")
    assert said["reindexed"] is True
    assert said["collisions"] == []
    assert [entry["original"] for entry in said["entries"][::2]] == ["0.weight", "2.weight", "4.weight"]
    assert [entry["remapped"] for entry in said["entries"][::2]] == ["m.0.weight", "m.1.weight", "m.2.weight"]
    assert said["entries"][2] == {
        "original": "2.weight",
        "remapped": "m.1.weight",
        "shape": [8, 8],
        "dtype": "float32",
        "rules": [1],
        "status": "reindexed",
    }


def test_remap_keeps_gaps_where_it_is_told_to():
    said = answer("remap", GAPS, "--no-reindex")
    assert said["reindexed"] is False
    assert all(entry["original"] == entry["remapped"] for entry in said["entries"])
    assert answer("remap", GAPS, "--reindex", "--burn", "none")["reindexed"] is True
    assert answer("remap", GAPS, "--burn", "none")["reindexed"] is False


def test_remap_exits_with_1_on_a_collision_and_names_both_sides():
    done = workbench("remap", NET, "--rule", "conv[12]", "c", exits=1)
    assert "collision: c.weight is claimed by conv1.weight, conv2.weight" in done.stdout
    assert "3 in = 1 out + 0 skipped + 2 in collision" in done.stdout
    said = answer("remap", NET, "--rule", "conv[12]", "c", exits=1)
    assert said["collisions"] == [
        {"remapped": "c.weight", "originals": ["conv1.weight", "conv2.weight"], "kind": "same"}
    ]


def test_remap_counts_what_lies_outside_the_top_level_key(tmp_path):
    said = workbench("remap", NESTED, "--top-level-key", "my_state_dict").stdout
    assert "my_state_dict.conv1.weight" not in said
    assert said.splitlines()[-1] == "3 in = 3 out + 0 skipped"


def test_rules_with_odd_characters_arrive_as_they_are():
    pairs = [
        ("-x", ""),
        ("--help", "--json"),
        ("--rule", "--"),
        ("=", "-o"),
        ("", ""),
        (" ", "\t"),
        ("é\u202e", "🦀"),
        ('"', "'"),
        (r"\.", "${1}"),
        ("--", "$$"),
    ]
    words = [word for pair in pairs for word in ("--rule", *pair)]
    said = answer("remap", NET, *words, exits=0)
    assert [(rule["pattern"], rule["replacement"]) for rule in said["rules"]] == pairs


def test_a_rule_may_be_written_with_an_equals_sign():
    said = answer("remap", NET, "--rule=-x=", "y")
    assert said["rules"] == [{"pattern": "-x=", "replacement": "y", "enabled": True}]


@pytest.mark.parametrize("words", [["--rule"], ["--rule", "x"], ["--rule=x"]])
def test_a_rule_without_two_values_is_bad_usage(words):
    assert "needs two values" in fault("remap", NET, *words)


def test_a_bad_pattern_shows_the_text_of_the_regex_crate():
    said = fault("remap", NET, "--rule", r"conv\.(.*", "$1")
    assert "unclosed group" in said
    assert "[pattern]" in said
    assert "        conv\\.(.*\n              ^\n" in said


def test_a_mapping_file_comes_first_and_options_outrank_it(tmp_path):
    path = tmp_path / "mapping.json"
    wb.Mapping([wb.Rule("conv", "c")], reindex=False, burn="0.21", top_level_key="gone").save(path)
    said = answer("remap", NESTED, "--mapping", path, "--rule", "^c1", "first", "--top-level-key", "my_state_dict")
    assert [entry["remapped"] for entry in said["entries"]] == ["first.weight", "first.bias", "c2.weight"]
    assert said["burn"]["version"] == "0.21"
    assert said["reindexed"] is False
    assert "'gone'" in fault("remap", NESTED, "--mapping", path)


@pytest.mark.parametrize("text", ["", "{}", "[", '{"schema": "checkpoint-workbench/mapping", "version": 9}', "\x00"])
def test_a_bad_mapping_file_is_named(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    assert "mine.json" in fault("remap", NET, "--mapping", path)


def test_an_unknown_burn_version_is_named():
    assert "[burn-version]" in fault("remap", NET, "--burn", "7")


# ---- faults of files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["inspect"], ["remap"], ["export", "-o", "out"], ["convert", "out.npz"]])
@pytest.mark.parametrize(
    "data", [b"", b"plain text", b"\x80\x02.", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\xff" * 64, bytes(1000)]
)
def test_a_file_that_is_no_checkpoint_is_said_to_be_none(tmp_path, command, data):
    (tmp_path / "bad.pt").write_bytes(data)
    assert "bad.pt" in fault(command[0], tmp_path / "bad.pt", *command[1:], cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


def test_a_file_cut_off_anywhere_is_an_error_and_no_traceback(tmp_path):
    data = Path(NET).read_bytes()
    for size in range(0, len(data), max(1, len(data) // 7)):
        (tmp_path / "cut.pt").write_bytes(data[:size])
        assert "cut.pt" in fault("inspect", tmp_path / "cut.pt")


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "gone", "/dev/null"):
        fault("inspect", path, timeout=120)


@pytest.mark.parametrize(
    "words", [["inspect"], ["nonsense"], ["inspect", NET, NET], ["inspect", NET, "--nope"], ["export", NET]]
)
def test_bad_usage_exits_with_2(words):
    assert "Usage: workbench" in fault(*words)


# ---- what reaches the terminal ---------------------------------------------------------------------------------------

HOSTILE = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "a\rb",
    "[/red]",
    "[bold]x[/bold]",
    ":smile:",
    "\u202eleft",
    "\x7f\x9b",
    "日本",
]


def test_text_from_a_file_cannot_command_a_pipe(tmp_path):
    path = save(tmp_path / "net.safetensors", *HOSTILE)
    for command in ("inspect", "remap"):
        said = workbench(command, path).stdout
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)
        for shown in (r"\x1b[31mred", "[/red]", "[bold]x[/bold]", ":smile:", r"\u{202e}left", "日本"):
            assert shown in said
        printed = workbench(command, path, "--json").stdout
        assert not re.search("[^\n -~]", printed)
        entries = json.loads(printed)["tensors" if command == "inspect" else "entries"]
        assert sorted(entry.get("key", entry.get("original")) for entry in entries) == sorted(HOSTILE)


def in_a_terminal(*arguments) -> str:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env={**ENVIRONMENT, "TERM": "xterm-256color"},
    )
    os.close(follower)
    data = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        data += chunk
    os.close(leader)
    process.wait()
    return data.decode()


def test_text_from_a_file_cannot_command_a_terminal(tmp_path):
    path = save(tmp_path / "net.safetensors", *HOSTILE)
    for command in ("inspect", "remap"):
        said = in_a_terminal(command, path)
        assert "\x1b[1m" in said  # our own colours are there
        plain = re.sub(r"\x1b\[[0-9;]*m", "", said).replace("\r\n", "\n")
        assert plain == workbench(command, path).stdout


def test_an_error_that_quotes_a_file_cannot_command_a_terminal(tmp_path):
    (tmp_path / "\x1b[31mx.pt").write_text("\x1b[31m plain")
    said = fault("inspect", tmp_path / "\x1b[31mx.pt")
    assert "\x1b" not in said
    assert r"\x1b[31mx.pt" in said


def test_a_long_key_is_not_cut_to_80_columns(tmp_path):
    key = ".".join(["segment"] * 60)
    path = save(tmp_path / "net.safetensors", key)
    assert key in workbench("inspect", path).stdout
    assert key in in_a_terminal("inspect", path)


def test_an_ascii_terminal_gets_escapes_and_no_traceback():
    done = subprocess.run(
        [*COMMAND, "inspect", NET],
        capture_output=True,
        env={**ENVIRONMENT, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert rb"2\xd72\xd72\xd72" in done.stdout


# ---- how it begins and ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["inspect"], ["remap"], ["export"], ["convert"], ["diagnose"], ["lab"]])
def test_help_shows_an_example(words):
    said = workbench(*words, "--help").stdout
    assert f"workbench {' '.join(words) or 'inspect'} net.pt" in said


def test_version_is_the_version_of_the_package():
    assert workbench("--version").stdout == f"workbench {wb.__version__}\n"


def test_help_imports_nothing_heavy():
    code = "import sys, workbench.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert not {"numpy", "polars", "pandas", "ipywidgets", "rich", "pydantic", "ml_dtypes"} & set(done.stdout.split())


def test_an_example_of_the_help_is_one_line_to_copy_however_narrow_the_terminal(monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "COLUMNS", "40")
    said = workbench("export", "--help").stdout
    assert "  workbench export big.safetensors -o big --format safetensors --shards 5GB --workers 4\n" in said


def test_inspect_imports_neither_a_validator_nor_what_colours_a_terminal():
    code = (
        "import sys\nfrom workbench.cli.app import app\n"
        f"app(['inspect', {str(NET)!r}], standalone_mode=False)\n"
        "print('imported:', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    imported = set(done.stdout.partition("imported:")[2].split())
    assert "workbench.checkpoint" in imported
    assert not {"pydantic", "rich.console", "polars", "cbor2"} & imported


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["export", NET, "-o", "out", "--workers", "0"], "0 is too small: give 1 or more."),
        (["export", NET, "-o", "out", "--workers", "two"], "'two' is no whole number."),
        (["export", NET, "-o", "out", "--ties", "thrice"], "'thrice' is not one of them: twice, once."),
        (["convert", NET, "out.mpk", "--precision", "low"], "'low' is not one of them: full, half."),
        (["remap", NET, "--upto", "x"], "'x' is no whole number."),
        (["remap", NET, "--code", "java"], "'java' is not one of them: rust, python."),
    ],
)
def test_a_wrong_value_names_its_option_and_what_may_stand_there(words, text):
    said = fault(*words)
    assert f"Invalid value for '{words[-2]}': {text}\n" in said


def many_tensors(tmp_path: Path) -> Path:
    """More lines than a pipe holds."""
    return save(tmp_path / "many.safetensors", *(f"layers.{n}.weight" for n in range(20_000)))


def start(*arguments, **environment) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT | environment,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_goes_away_is_met_in_silence(tmp_path, options, unbuffered):
    with start("inspect", many_tensors(tmp_path), *options, PYTHONUNBUFFERED=unbuffered) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_an_interrupt_ends_with_130_and_no_traceback(tmp_path):
    with start("inspect", many_tensors(tmp_path)) as process:
        process.stdout.read(10)  # the pipe is full now, and the command waits
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait() == 130


# ---- lab ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "file", "rest"),
    [
        ([], None, []),
        (["net.pt"], "net.pt", []),
        (["net.pt", "--no-browser", "--port", "8899"], "net.pt", ["--no-browser", "--port", "8899"]),
        (["--port", "8899", "net.pt"], "net.pt", ["--port", "8899"]),
        (["--port=8899", "net.pt"], "net.pt", ["--port=8899"]),
        (["--no-browser", "net.pt"], "net.pt", ["--no-browser"]),
        (["--no-browser", "--ip", "0.0.0.0"], None, ["--no-browser", "--ip", "0.0.0.0"]),
    ],
)
def test_lab_tells_its_file_from_options_of_jupyter(words, file, rest):
    assert split_arguments(words) == (None if file is None else Path(file), rest)
