"""One hostile or broken file: its bytes, and what must come of it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.make import pickles as p
from tests.make.zips import Record, make_zip, torch_records

Outcome = Literal["error", "finding", "unreadable", "opens"]

HEALTHY = "healthy"
FLOATS = struct.pack("<4f", 1, 2, 3, 4)
STORAGES = {"0": FLOATS}


@dataclass(frozen=True, slots=True)
class Case:
    """`name` names the file, ``build(marker)`` gives its bytes; ``marker`` is what a payload in it would create.

    `outcome` is the loudest that must come of it: an error; a finding of `code`; a tensor that is unreadable; or
    nothing. `readable` are the keys that must give their values: that of HEALTHY is always 1, 2, 3, 4. `unreadable` are
    those that must be listed and refuse to: no tensor of a file leaves the table. `metadata` is B of the bounds, the
    bytes on disk that are no tensor data, where that is not the whole file. `runs` says that unpickling data.pkl
    creates the marker. A `costly` case gets a process of its own.
    """

    name: str
    outcome: Outcome
    build: Callable[[str], bytes]
    code: str = ""
    readable: tuple[str, ...] = (HEALTHY,)
    suffix: str = ".pt"
    metadata: int | None = None
    runs: bool = False
    costly: bool = False
    unreadable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.outcome == "error":
            object.__setattr__(self, "readable", ())

    @property
    def file_name(self) -> str:
        return self.name + self.suffix


def fixed(data: bytes) -> Callable[[str], bytes]:
    """A file without a payload."""
    return lambda marker: data


def healthy() -> bytes:
    """The opcodes of a tensor of the values 1, 2, 3, 4."""
    return p.tensor("0", 4, (2, 2), (2, 1))


def program(*values: bytes, before: bytes = b"", after: bytes = b"", version: int = 2) -> bytes:
    """A data.pkl: a state_dict of the healthy tensor, and under ``x0``, ``x1``, .. what `values` leave."""
    pairs = [(p.text(HEALTHY), healthy()), *((p.text(f"x{n}"), value) for n, value in enumerate(values))]
    return (p.proto(version) if version >= 2 else b"") + before + p.ordered_dict(*pairs) + after + p.STOP


def saved(data_pkl: bytes, storages: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """A torch.save file around a data.pkl."""
    return make_zip(torch_records(data_pkl, STORAGES if storages is None else storages, **options)).data


def records(**options: Any) -> list[Record]:
    """The records of a healthy file, to be spoiled: data.pkl, byteorder, data/0, version."""
    return torch_records(program(), STORAGES, **options)
