"""What the real crates answered, file by file."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import workbench as wb
from tests.oracles import corpus
from workbench.errors import WorkbenchError

CRATES = {
    "0.18": "0.18.0",
    "0.19": "0.19.1",
    "0.20": "0.20.1",
    "0.21": "0.21.0",
    "0.22": "0.22.1",
    "0.23": "0.23.0-pre.1",
}
BURN_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "Bool": "bool",
}


@cache
def answers(place: str) -> Any:
    """A JSON file of the collection."""
    return json.loads((corpus("golden") / place).read_text())


@cache
def opened(path: Path) -> wb.Checkpoint | None:
    """The file, None where we refuse it ourselves."""
    try:
        return wb.open(path)
    except WorkbenchError:
        return None


@cache
def digest(path: Path, row: int, *, transposed: bool = False) -> str:
    """sha256 of the values of one tensor, as we read them, or with its dimensions turned around."""
    checkpoint = opened(path)
    assert checkpoint is not None
    values = checkpoint.tensors[row].read()
    return hashlib.sha256((values.T if transposed else values).tobytes()).hexdigest()


def path_of(name: str) -> Path:
    """Where a file that an answer names lies."""
    folder, _, rest = name.partition("/")
    return corpus("golden/read/files") / rest if folder == "files" else corpus("peer") / folder / rest
