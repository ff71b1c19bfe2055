"""How fast this machine is just now: a fixed piece of work, as the readers do it, against its time on a known one."""

from __future__ import annotations

import gc
import time
from typing import Final

REFERENCE: Final = 0.075
"""CPU seconds of `work` on the machine that the bounds are for: CPython 3.11 on one core of an AMD EPYC in a cloud, the
least of 80 quiet runs."""

_ROUNDS: Final = 13_000
_TEXT: Final = bytes(range(256)) * 16


def work() -> int:
    """Small lists, dicts, tuples and objects made and dropped, look-ups, slices of bytes: about 75 ms."""

    class Node:
        __slots__ = ("args", "state")

        def __init__(self, args: object, state: object) -> None:
            self.args = args
            self.state = state

    names: dict[str, int] = {}
    kept: list[object] = []
    found = 0
    for i in range(_ROUNDS):
        at = i & 2047
        piece = _TEXT[at : at + 24]
        key = piece[:12].decode("latin1")
        names[key] = names.get(key, 0) + 1
        pair = (piece, [i, key])
        node = Node(pair, {"key": key, i: pair})
        kept.append(node)
        for step in range(12):
            found += len(_TEXT[at + step : at + step + 8])
            if names.get(key) is not None and type(node.args) is tuple:
                found += int.from_bytes(_TEXT[step : step + 4], "little") & 1
            kept.append([node.state, step])
    return found + len(kept)


def pace() -> float:
    """CPU seconds that `work` takes now, as a multiple of REFERENCE."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        begin = time.process_time()
        work()
        return (time.process_time() - begin) / REFERENCE
    finally:
        if was_enabled:
            gc.enable()
