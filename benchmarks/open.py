"""Opening and reading, each against a named peer, every measurement in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

ROUNDS = 3
CHILD = """
import json, sys, time
{setup}
def peak():  # of this process alone: ru_maxrss would remember its parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
print(json.dumps([seconds, peak() / 1024, (peak() - before) / 1024]))
"""
OURS = "import workbench as wb, workbench.checkpoint"
COLUMNS = """t = wb.open(sys.argv[1]).tensors
facts = list(zip(t.keys, t.shapes, [dtype.name for dtype in t.dtypes], t.offsets))"""
"""Key, shape, dtype and offset of every tensor, as the plan, `frame()` and the totals take them."""
ONE_BY_ONE = "ckpt = wb.open(sys.argv[1]); facts = [(t.key, t.shape, t.dtype.name, t.offset) for t in ckpt.tensors]"
"""The same from a `TensorRef` for each."""


def run(setup: str, work: str, path: Path) -> tuple[float, float, float]:
    """Seconds, peak MB and MB beyond the imports of the quickest of `ROUNDS` children."""
    best = (float("inf"), 0.0, 0.0)
    for _ in range(ROUNDS):
        code = CHILD.format(setup=setup, work=work)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        best = min(best, tuple(json.loads(done.stdout)))
    return best


def row(what: str, ours: tuple[float, float, float], peer: str, theirs: tuple[float, float, float]) -> None:
    print(
        f"| {what} | {ours[0]:.3f} s, {ours[1]:.0f} MB | {peer} {theirs[0]:.3f} s, {theirs[1]:.0f} MB "
        f"| {ours[0] / theirs[0]:.2f} of the time, {ours[1] / theirs[1]:.2f} of the memory |",
        flush=True,
    )


def rows(what: str, path: Path, peer: str, theirs: tuple[float, float, float]) -> None:
    row(what, run(OURS, COLUMNS, path), peer, theirs)
    row(f"{what}, a `TensorRef` for each", run(OURS, ONE_BY_ONE, path), peer, theirs)


def state_dict(n: int) -> dict[str, torch.Tensor]:
    value = torch.zeros(1)
    names = ("q", "k", "v", "o", "up", "down", "gate", "norm1", "norm2", "bias")
    return {f"model.layers.{i // 10}.{names[i % 10]}.weight": value.clone() for i in range(n)}


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # An installed package is compiled, as numpy here is.
    print("| what | workbench | peer | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for n in (100_000, 20_000):
            path = Path(folder) / f"{n}.pt"
            torch.save(state_dict(n), path)
            theirs = run("import torch", "torch.load(sys.argv[1], mmap=True, weights_only=True)", path)
            rows(f"open `.pt`, {n:,} tensors", path, "`torch.load(mmap, weights_only)`", theirs)
            path.unlink()

        path = Path(folder) / "many.safetensors"
        save_file({key: np.zeros(1, np.float32) for key in state_dict(100_000)}, path)
        theirs = run(
            "from safetensors import safe_open",
            "with safe_open(sys.argv[1], 'np') as file:\n"
            "    facts = [(k, (s := file.get_slice(k)).get_shape(), s.get_dtype()) for k in file.keys()]",
            path,
        )
        rows("open `.safetensors`, 100,000 tensors", path, "`safe_open`, shape and dtype", theirs)
        path.unlink()

        path = Path(folder) / "sparse.safetensors"
        size = 50_000_000_000 // 300 // 4 * 4
        header = {
            f"t{i}": {"dtype": "F32", "shape": [size // 4], "data_offsets": [i * size, (i + 1) * size]}
            for i in range(300)
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + 300 * size)
        seconds, _, extra = run(OURS, ONE_BY_ONE, path)
        print(f"| open a sparse 50 GB `.safetensors` | {seconds:.3f} s, {extra:.0f} MB more than the interpreter | | |")
        path.unlink()

        path = Path(folder) / "big.safetensors"
        save_file({"big": np.ones(250_000_000, np.float32)}, path)
        theirs = run("import numpy as np", "np.fromfile(sys.argv[1], np.uint8)", path)
        ours = run(f"{OURS}\nckpt = wb.open(sys.argv[1])", "ckpt['big']", path)
        row("read one tensor of 1 GB", ours, "`numpy.fromfile` of the file", theirs)
        path.unlink()

        path = Path(folder) / "small.pt"
        torch.save(state_dict(3), path)
        theirs = run("import subprocess", "subprocess.run([sys.executable, '-c', 'import numpy'])", path)
        ours = run(
            "import subprocess",
            "subprocess.run([sys.executable, '-m', 'workbench', 'inspect', sys.argv[1]], stdout=subprocess.DEVNULL)",
            path,
        )
        row("`workbench inspect` of a small file", ours, "`import numpy` alone", theirs)


if __name__ == "__main__":
    main()
