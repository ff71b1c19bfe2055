"""Exporting a large model, beside `cp` of the same bytes and beside torch.load and safetensors' save_file."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import workbench as wb
from workbench.exporting import export

SIDE = 4096
TORCH = """
import sys, torch
from safetensors.torch import save_file
save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])
"""
MMAP = TORCH.replace("weights_only=True", "weights_only=True, mmap=True")


def state_dict(n: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(0, 256, (SIDE * SIDE * 4,), dtype=torch.uint8, generator=generator).view(torch.float32)
    return {f"layers.{i}.weight": bits.reshape(SIDE, SIDE).roll(i) for i in range(n)}


def measured(work: Callable[[], object], source: Path, out: Path) -> float:
    """Seconds of one run, begun with `source` in memory, nothing in `out` and nothing waiting for the disk."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()
    subprocess.run(["cat", source], check=True, stdout=subprocess.DEVNULL)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--gb", type=float, default=4.0, help="size of the model")
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "model.pt", Path(folder) / "out"
        torch.save(state_dict(max(1, round(options.gb * 1e9 / (4 * SIDE * SIDE)))), source)
        nbytes = source.stat().st_size
        plan = wb.Mapping(burn="0.22").plan(wb.open(source))

        def ours(format: str, verify: bool) -> Callable[[], object]:
            return lambda: export(plan, out / "export", formats=[format], verify=verify)

        def copied() -> None:
            subprocess.run(["cp", source, out / "copy"], check=True)

        def synced() -> None:
            copied()
            subprocess.run(["sync", out / "copy"], check=True)

        def peer(code: str) -> Callable[[], object]:
            return lambda: subprocess.run([sys.executable, "-c", code, source, out / "x.safetensors"], check=True)

        runs = {
            "`cp`": copied,
            "`cp` and `sync`": synced,
            "`torch.load`, `save_file`": peer(TORCH),
            "`torch.load(mmap=True)`, `save_file`": peer(MMAP),
            ".safetensors, not verified": ours("safetensors", False),
            ".safetensors": ours("safetensors", True),
            ".bpk, not verified": ours("bpk", False),
            ".bpk": ours("bpk", True),
        }
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(options.rounds):
            for what, work in runs.items():
                best[what] = min(best[what], measured(work, source, out))
        copy, sync, peers = (best[what] for what in list(runs)[:3])
        print(f"{nbytes / 1e9:.2f} GB, best of {options.rounds}; speed relative to each of three:\n")
        print("| what | time | speed | to `cp` | to `cp` and `sync` | to torch and `save_file` |")
        print("|---|---|---|---|---|---|")
        for what, seconds in best.items():
            speed = f"{nbytes / seconds / 1e9:.2f} GB/s"
            ratios = " | ".join(f"{other / seconds:.2f}" for other in (copy, sync, peers))
            print(f"| {what} | {seconds:.2f} s | {speed} | {ratios} |")


if __name__ == "__main__":
    main()
