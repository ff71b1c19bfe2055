"""100,000 keys: opening against torch.load, rules against Python's re, and what one key stroke costs."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

import workbench as wb
from workbench.rows import Table, View

N_LAYERS = 10_000
NAMES = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out", "mlp.up", "mlp.down", "norm1", "norm2", "a", "b")
RULES = [(r"^model\.layers\.(\d+)\.", "blocks.$1.")] + [
    (rf"{name.replace('.', chr(92) + '.')}\.", f"x{n}.") for n, name in enumerate(NAMES[:9])
]
_T = TypeVar("_T")


def timed(what: str, work: Callable[[], _T], rounds: int = 3) -> tuple[float, _T]:
    """The best of `rounds`, printed, and the last result."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    print(f"{what:58} {best * 1000:10.1f} ms")
    return best, result


def with_re(keys: list[str]) -> list[str]:
    """The same rules through Python's re; its replacements spell groups as \\1."""
    rules = [(re.compile(pattern), replacement.replace("$1", r"\1")) for pattern, replacement in RULES]
    out = []
    for key in keys:
        for pattern, replacement in rules:
            if pattern.search(key):
                key = pattern.sub(replacement, key)
        out.append(key)
    return out


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.pt"
        value = torch.zeros(1)
        torch.save({f"model.layers.{n}.{name}.weight": value.clone() for n in range(N_LAYERS) for name in NAMES}, path)
        ours, ckpt = timed("wb.open", lambda: wb.open(path))
        peer, _ = timed(
            "torch.load(mmap=True, weights_only=True)", lambda: torch.load(path, mmap=True, weights_only=True), rounds=1
        )
        print(f"{'opening takes, of the peer':58} {ours / peer:10.3f}\n")

        keys = list(ckpt)
        mapping = wb.Mapping([wb.Rule(*rule) for rule in RULES], reindex=False)
        ours, remapped = timed("ten rules, Mapping.remap_keys", lambda: mapping.remap_keys(keys))
        peer, with_python = timed("ten rules, Python re", lambda: with_re(keys), rounds=1)
        assert remapped == with_python
        print(f"{'ten rules take, of the peer':58} {ours / peer:10.3f}\n")

        _, plan = timed("Mapping.plan, ten rules and reindexing", lambda: wb.Mapping(mapping.rules).plan(ckpt))
        letters = iter("weight.bias.gamma.beta")

        def stroke() -> wb.Plan:
            rule = wb.Rule(next(letters), "z")
            return plan.update(wb.Mapping([*mapping.rules[:-1], rule]))

        _, edited = timed("Plan.update after one key stroke in the last rule", stroke)
        _, table = timed("Table of a fresh checkpoint", lambda: Table(plan, View()))
        timed("Table after the key stroke", lambda: Table(edited, table.view, table))
        flat = Table(plan, View(arrangement="flat"), table)
        timed("rows 90,000 to 90,040", lambda: flat.rows(90_000, 90_040))
        timed("find 'layers.9999'", lambda: Table(plan, View(find="layers.9999"), table))


if __name__ == "__main__":
    main()
