"""``python -m tests.fuzz SECONDS [FIRST_SEED]``: every target in turn, executions and the lines they reached.

A failure prints target and seed; put both into FOUND in test_fuzz.py once it is mended.
"""

from __future__ import annotations

import dis
import sys
import time
import traceback
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

import workbench
from tests.fuzz.targets import TARGETS

_ROOT = str(Path(workbench.__file__).parent)
_MEASURED = (
    "core/source.py",
    "core/tree.py",
    "core/tensor.py",
    "formats/pickle/machine.py",
    "mapping/persist.py",
    "formats/pickle/rebuild.py",
    "formats/torch_zip.py",
    "formats/zip_directory.py",
    "formats/torch_storages.py",
    "formats/safetensors.py",
    "formats/torch_legacy.py",
    "formats/torch_tar.py",
    "formats/npz.py",
    "formats/burnpack.py",
    "formats/cbor.py",
    "formats/mpk.py",
    "formats/msgpack.py",
    "formats/torchscript.py",
    "formats/pt2.py",
)
_TRACED_EVERY = 40
_MOST_FAILURES = 20


class _Lines:
    """Which lines of the readers ran, by Python's own tracing: slow, so only now and then."""

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {f"{_ROOT}/{name}": set() for name in _MEASURED}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        lines = self.seen.get(frame.f_code.co_filename)
        if lines is None:
            return None

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            lines.add(frame.f_lineno)
            return local

        lines.add(frame.f_lineno)
        return local

    def report(self) -> None:
        for file, seen in self.seen.items():
            if not Path(file).exists():
                continue
            code = compile(Path(file).read_text(), file, "exec")
            all_lines = {line for inner in _functions(code) for _, line in dis.findlinestarts(inner) if line}
            hit = len(seen & all_lines)
            print(f"  {file.removeprefix(_ROOT + '/'):32} {hit:4} of {len(all_lines):4} lines in functions, "
                  f"{100 * hit / max(len(all_lines), 1):.0f} %")  # fmt: skip


def _functions(code: CodeType) -> list[CodeType]:
    found: list[CodeType] = []
    waiting = [code]
    while waiting:
        for inner in waiting.pop().co_consts:
            if isinstance(inner, CodeType):
                waiting.append(inner)
                if inner.co_flags & 0x1:  # CO_OPTIMIZED: a function, not the body of a class
                    found.append(inner)
    return found


def main(seconds: float, seed: int) -> int:
    lines = _Lines()
    counts = dict.fromkeys((target.__name__ for target in TARGETS), 0)
    slowest = (0.0, "", 0)
    failures = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and failures < _MOST_FAILURES:
        for target in TARGETS:
            traced = seed % _TRACED_EVERY == 0
            begin = time.process_time()
            sys.settrace(lines if traced else None)
            try:
                target(Random(seed))
            except Exception:
                sys.settrace(None)
                failures += 1
                print(f"{target.__name__}, seed {seed}:\n{traceback.format_exc(limit=-4)}", flush=True)
            finally:
                sys.settrace(None)
            counts[target.__name__] += 1
            if not traced:
                slowest = max(slowest, (time.process_time() - begin, target.__name__, seed))
        seed += 1
    print(f"{sum(counts.values()):,} executions, {failures} failures, the next seed is {seed}")
    print(f"  slowest: {slowest[0]:.2f} s of CPU, {slowest[1]} with seed {slowest[2]}")
    for name, n in counts.items():
        print(f"  {name:32} {n:,}")
    lines.report()
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000))
