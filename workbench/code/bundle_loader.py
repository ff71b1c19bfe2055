"""The arrays of this export, with numpy alone.

    from load import load
    model = load()                 # dicts nested by the dots of the names
    model["conv1"]["weight"]

Or run this file to see what there is. numpy has no bfloat16 and no float8: such tensors come as unsigned integers of
the same width that hold their bits (uint16, uint8), and `load(widen=True)` gives bfloat16 as the float32 of the same
values. `dtypes()` tells which tensor has which. Nothing is checked against the hashes in mapping.json.
"""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "C64": "<c8", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
    "F8_E4M3": "u1", "F8_E4M3FNUZ": "u1", "F8_E5M2": "u1", "F8_E5M2FNUZ": "u1", "F8_E8M0": "u1",
}  # fmt: skip


def load(folder: Path = HERE, widen: bool = False) -> dict[str, Any]:
    """The tensors as arrays, in dicts nested by the dots of their names."""
    mapping = _mapping(folder)
    kinds = _dtypes(mapping)
    arrays = dict(_arrays(folder, mapping))
    if mapping.get("ties") == "once":
        arrays |= {_name(row): arrays[row["tied_to"]] for row in _rows(mapping) if "tied_to" in row}
    root: dict[str, Any] = {}
    for name in kinds:
        array = arrays[name]
        if widen and kinds[name] == "bfloat16":
            array = (array.astype("<u4") << 16).view("<f4")
        *outer, last = name.split(".")
        level = root
        for segment in outer:
            level = level.setdefault(segment, {})
        level[last] = array
    return root


def dtypes(folder: Path = HERE) -> dict[str, str]:
    """The dtype of each tensor, by its whole name."""
    return _dtypes(_mapping(folder))


def _mapping(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "mapping.json").read_text(encoding="ascii"))
    return found


def _rows(mapping: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (row for row in mapping["rows"] if row["status"] != "skipped")


def _name(row: dict[str, Any]) -> str:
    name: str = row["written"]["name"] if "written" in row else row["remapped"]
    return name


def _dtypes(mapping: dict[str, Any]) -> dict[str, str]:
    return {_name(row): (row.get("written") or row)["dtype"] for row in _rows(mapping)}


def _arrays(folder: Path, mapping: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    names = [file["name"] for file in mapping["files"]]
    if "model.npz" in names:
        with np.load(folder / "model.npz", allow_pickle=False) as npz:
            yield from npz.items()
        return
    found = [Path(name).name for name in names if name.endswith(".safetensors")]
    if not found and "npy/index.json" in names:
        index = json.loads((folder / "npy" / "index.json").read_text(encoding="ascii"))
        for name, about in index["tensors"].items():
            yield name, np.load(folder / "npy" / Path(about["file"]).name, allow_pickle=False)
        return
    if not found:
        sys.exit("numpy reads none of the files of this export: it has no .npz, .safetensors or .npy.")
    for name in found:
        yield from _safetensors(folder / name)


def _safetensors(path: Path) -> Iterator[tuple[str, Any]]:
    """Eight bytes tell the length of a header of JSON, which tells where each tensor lies behind it."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, about in header.items():
            begin, end = about["data_offsets"]
            file.seek(8 + length + begin)
            yield (
                name,
                np.frombuffer(bytearray(file.read(end - begin)), SAFETENSORS[about["dtype"]]).reshape(about["shape"]),
            )


def _shown(root: dict[str, Any]) -> Iterator[str]:
    """A line for each array; names may have more segments than functions may call each other."""
    pending: list[tuple[str, Any]] = [("", root)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            before = f"{name}." if value is not root else ""
            pending += reversed([(f"{before}{inner}", each) for inner, each in value.items()])
        else:
            yield f"{name}  {value.dtype}  {list(value.shape)}"


if __name__ == "__main__":
    for line in _shown(load()):
        print(ascii(line)[1:-1])
