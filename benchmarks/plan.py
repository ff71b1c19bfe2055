"""Plans of 100,000 keys and ten rules, beside the bare polars chain, Python's re and, where it is there, google-re2."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from keys_100k import N_LAYERS, NAMES, RULES, timed
from safetensors.numpy import save_file

import workbench as wb
from workbench.mapping import regex


def bare(column: regex.Keys) -> regex.Keys:
    """The rules as polars runs them, and nothing else."""
    for pattern, replacement in RULES:
        column = regex.replace_all(column, pattern, replacement)
    return column


def engine(name: str, keys: list[str]) -> Callable[[], list[str]]:
    """The rules through another engine with the interface of `re`."""
    module: Any = re if name == "re" else import_module(name)
    rules = [(module.compile(pattern), replacement.replace("$1", r"\1")) for pattern, replacement in RULES]

    def run() -> list[str]:
        out = []
        for key in keys:
            for pattern, replacement in rules:
                key = pattern.sub(replacement, key)
            out.append(key)
        return out

    return run


def main() -> None:
    keys = [f"model.layers.{n}.{name}.weight" for n in range(N_LAYERS) for name in NAMES]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.safetensors"
        save_file({key: np.zeros(1, np.float32) for key in keys}, path)
        ckpt = wb.open(path)
        column = regex.column(list(ckpt))
        chain, _ = timed("ten rules, bare polars chain", lambda: bare(column))
        for name in ("re", "re2"):
            try:
                run = engine(name, list(ckpt))
            except ImportError:
                print(f"ten rules, {name}: not installed")
            else:
                timed(f"ten rules, {name}", run, rounds=1)

        rules = [wb.Rule(*rule) for rule in RULES]
        gap = wb.Rule(r"^blocks\.(3|77)\.", "x.$1.")
        for what, mapping in (
            ("no reindexing", wb.Mapping(rules, reindex=False)),
            ("reindexing, no gaps", wb.Mapping(rules, reindex=True)),
            ("reindexing, gaps", wb.Mapping([*rules[:-1], gap], reindex=True)),
            ("burn-import's indices, gaps", wb.Mapping([*rules[:-1], gap], burn="0.20")),
        ):
            once, _ = timed(f"plan from scratch, {what}", lambda mapping=mapping: mapping.plan(ckpt))
            print(f"{'  of the bare chain':58} {once / chain:10.2f}")
        mapping = wb.Mapping(rules, reindex=True)
        once, _ = timed("plan from scratch, reindexing and all lints", lambda: mapping.plan(ckpt).lints)
        print(f"{'  of the bare chain':58} {once / chain:10.2f}\n")

        plan = mapping.plan(ckpt)
        strokes = iter(range(1_000))

        def edit(rule: int) -> wb.Plan:
            edited = [*rules]
            edited[rule] = wb.Rule(rf"^blocks\.{next(strokes)}\.", "z.")
            return plan.update(wb.Mapping(edited, reindex=True))

        screen = range(50_000, 50_060)
        timed("60 rows after an edit of the first rule", lambda: plan.rows_after(mapping.with_rules(rules[1:]), screen))
        timed("whole plan after an edit of the last rule", lambda: edit(-1))
        timed("whole plan after an edit of the first rule", lambda: edit(0))
        clash = wb.Mapping([*rules[:-1], wb.Rule(r"^blocks\.\d+\.", "b.")], reindex=True)
        timed("whole plan after an edit that makes all keys collide", lambda: plan.update(clash))


if __name__ == "__main__":
    main()
