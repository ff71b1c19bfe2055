"""How much memory an export takes beyond the interpreter: little, whatever the size of the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MB = 1 << 20

RUN = """
import json, sys
import workbench as wb
from workbench.exporting import export
from workbench.mapping import Cast, Layout

def peak():  # in kB, of this process alone: ru_maxrss would remember its parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

source, out, format, how = sys.argv[1:]
layout = Layout(modules=(("big", "Linear"),)) if how == "transposed" else Layout()
casts = [Cast("bfloat16", from_dtype="float32")] if how == "cast" else []
small = wb.open(sys.argv[1] + ".small")
export(wb.Mapping(layout=layout, casts=casts).plan(small), out + ".small", formats=[format])
plan = wb.Mapping(layout=layout, casts=casts).plan(wb.open(source))
before = peak()
result = export(plan, out, formats=[format])
print(json.dumps([(peak() - before) * 1024, result.nbytes]))
"""


def sparse(path: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file of zeros that take no place on the disk."""
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + at)


def peak_of(tmp_path: Path, format: str, how: str = "") -> tuple[int, int]:
    """Bytes of memory beyond what a small export took before, and bytes written."""
    sparse(tmp_path / "x.small", {"big.weight": [8, 8]})
    command = [sys.executable, "-c", RUN, tmp_path / "x", tmp_path / "out", format, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


@pytest.mark.parametrize("format", ["safetensors", "bpk", "pt", "npz"])
def test_what_lies_as_it_is_written_takes_a_few_megabytes(tmp_path, format):
    sparse(tmp_path / "x", {f"layer.{n}.weight": [4096, 4096] for n in range(9 if format == "safetensors" else 3)})
    peak, written = peak_of(tmp_path, format)
    assert written > 3 * 64 * MB
    assert peak < 32 * MB


def test_a_cast_takes_a_few_megabytes(tmp_path):
    sparse(tmp_path / "x", {"big.weight": [8192, 8192]})
    peak, written = peak_of(tmp_path, "safetensors", "cast")
    assert written > 128 * MB
    assert peak < 64 * MB


def test_a_transposed_tensor_is_held_once(tmp_path):
    sparse(tmp_path / "x", {"big.weight": [8192, 8192]})
    peak, written = peak_of(tmp_path, "bpk", "transposed")
    assert written > 256 * MB
    assert 256 * MB < peak < 1.5 * 256 * MB
