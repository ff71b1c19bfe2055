"""Exported programs (torch.export.save, `.pt2`): weights under their names, as the program's state_dict has them.

Since torch 2.8 `data/weights/*_weights_config.json` says for each name which entry holds its bytes, and dtype, sizes,
strides and offset. Before that, `serialized_state_dict.pt` was a whole checkpoint inside the zip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from workbench.core.beside import Beside
from workbench.core.source import ByteSource
from workbench.core.tensor import DTYPES, UNKNOWN, DType, Storage, TensorRef, contiguous_strides
from workbench.core.text import count_text
from workbench.core.tree import Dict, StorageNode
from workbench.errors import NotACheckpointError, OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats import strict_json
from workbench.formats.contents import Contents, fingerprint, table
from workbench.formats.limits import MAX_ROWS
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_storages import Storages, byte_order, needed, text_of
from workbench.formats.zip_directory import ZipDirectory

__all__ = ["name", "read_zip"]

name: Final = "pt2"

_WEIGHTS: Final = "data/weights/"
_CONSTANTS: Final = "data/constants/"
_WEIGHTS_CONFIG: Final = "_weights_config.json"
_CONSTANTS_CONFIG: Final = "_constants_config.json"
_STRIDED: Final = 7

# The numbers of torch.export's own schema, which are not those of the C++ enum.
_SCALAR_TYPES: Final = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}


class _Broken(ValueError):
    """What is wrong with a configuration."""


@dataclass(frozen=True, slots=True)
class _Payload:
    """One name of a configuration."""

    entry: str
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    unreadable: str


def read_zip(directory: ZipDirectory, root: str) -> Contents:
    """Weights of the exported program below `root`; of several programs each under its name."""
    source = directory.source
    kind = (text_of(directory, f"{root}archive_format") or "").strip()
    if kind != "pt2":
        raise NotACheckpointError(
            f"This zip calls its format {printable(repr(kind), 60)}, which is none of torch's.",
            path=source.path or source.name,
            next_step="Choose a file that torch.save, torch.export.save or safetensors wrote.",
            code="other-zip",
        )
    byteorder = byte_order(directory, root)
    findings = list(directory.findings)
    raw: list[bytes] = []
    objects: list[str] = []
    weights = _configs(directory, root + _WEIGHTS, _WEIGHTS_CONFIG, raw, objects)
    constants = _configs(directory, root + _CONSTANTS, _CONSTANTS_CONFIG, raw, objects)
    if not weights:
        raise _no_weights(directory, root)
    storages = Storages(directory, root, byteorder == "big", folder=_WEIGHTS)
    models = {model: _tensors(storages, payloads, root + _WEIGHTS) for model, payloads in weights.items()}
    tree = next(iter(models.values())) if len(models) == 1 else Dict(models.items())
    kept_in = Storages(directory, root, byteorder == "big", folder=_CONSTANTS)
    beside = tuple(
        Beside(
            replace(tensor, key=f"{model}.{tensor.key}" if len(models) > 1 else tensor.key),
            "it is a constant of the program (a plain attribute or a non-persistent buffer)",
        )
        for model, payloads in constants.items()
        for tensor in table(_tensors(kept_in, payloads, root + _CONSTANTS))
    )
    findings += storages.findings()
    findings += kept_in.findings()
    if beside:
        shown = ", ".join(f"`{printable(each.tensor.key, 80)}`" for each in beside[:5])
        more = f" and {len(beside) - 5:,} more" if len(beside) > 5 else ""
        text = f"The program keeps constants that are not in its state_dict: {shown}{more}."
        findings.append(Finding("program-constants", Severity.NOTE, f"entry {printable(root, 80)}{_CONSTANTS}", text))
    if objects:
        shown = ", ".join(f"`{printable(each, 80)}`" for each in objects[:5])
        more = f" and {len(objects) - 5:,} more" if len(objects) > 5 else ""
        text = (
            f"The program keeps {count_text(len(objects), 'custom object')}, {shown}{more}, as a pickle inside the "
            "archive. That is not read: what weights it holds are not among the tensors here."
        )
        step = "Save the weights where it was made: torch.save(exported.state_dict, 'weights.pt')."
        findings.append(Finding("custom-object", Severity.WARNING, f"entry {printable(root, 80)}data", text, step))
    if byteorder == "big":
        text = (
            "The file is big-endian. torch.export.load would read its weights as they lie; they are turned round here."
        )
        findings.append(Finding("big-endian", Severity.WARNING, f"entry {printable(root, 80)}byteorder", text))
    metadata = {
        "root": root.rstrip("/"),
        "version": (text_of(directory, f"{root}archive_version") or "").strip(),
        "byteorder": byteorder or "",
        "models": ", ".join(printable(model, 80) for model in list(models)[:20]),
    }
    return Contents(
        name,
        tree,
        table(tree),
        tuple(findings),
        {key: value for key, value in metadata.items() if value},
        fingerprint(*raw, directory.raw),
        beside=beside,
    )


def _no_weights(directory: ZipDirectory, root: str) -> NotACheckpointError:
    source = directory.source
    compiled = any(entry.name.startswith(f"{root}data/aotinductor/") for entry in directory.entries)
    return NotACheckpointError(
        "This is a compiled program (AOTInductor, .pt2): its weights are part of machine code and have no names."
        if compiled
        else "This is an exported program (.pt2) without a list of weights.",
        path=source.path or source.name,
        place=f"entry {printable(root, 80)}{_WEIGHTS}",
        next_step="Save the weights where it was made: torch.save(exported.state_dict, 'weights.pt').",
        code="torch-export",
    )


def _configs(
    directory: ZipDirectory, folder: str, suffix: str, raw: list[bytes], objects: list[str]
) -> dict[str, dict[str, _Payload]]:
    """The configurations of a folder by the name of their program; their bytes are added to ``raw``.

    The names of what is no tensor are added to ``objects``.
    """
    found: dict[str, dict[str, _Payload]] = {}
    n = 0
    for entry in directory.entries:
        if not (entry.name.startswith(folder) and entry.name.endswith(suffix)):
            continue
        model = entry.name[len(folder) : -len(suffix)]
        raw.append(directory.read(needed(directory, entry.name)))
        try:
            found[model] = _config(raw[-1], objects)
            n += len(found[model])
            if n > MAX_ROWS:
                raise _Broken(f"it lists more than {MAX_ROWS:,} tensors")
        except _Broken as broken:
            raise _error(directory.source, entry.place, str(broken)) from None
    return found


def _error(source: ByteSource, place: str, why: str) -> OpenError:
    return OpenError(
        "The list of weights of this exported program is broken.",
        path=source.path or source.name,
        place=f"entry {place}",
        cause=f"{why[:1].upper()}{why[1:]}.",
        next_step="Fetch the file again, or export the program again.",
        code="broken-config",
    )


def _config(raw: bytes, objects: list[str]) -> dict[str, _Payload]:
    try:
        made = strict_json.parse(raw)
    except strict_json.JsonProblem as problem:
        raise _Broken(str(problem)) from None
    entries = made.get("config") if isinstance(made, dict) else None
    if not isinstance(entries, dict):
        raise _Broken("it has no object `config`")
    found = {key: _payload(key, entry) for key, entry in entries.items()}
    objects += [key for key, payload in found.items() if payload is None]
    return {key: payload for key, payload in found.items() if payload is not None}


def _payload(key: str, entry: Any) -> _Payload | None:
    """None for what is no tensor: a custom object, kept as a pickle."""
    shown = printable(repr(key), 120)
    if not isinstance(entry, dict) or not isinstance(entry.get("path_name"), str):
        raise _Broken(f"the entry of {shown} has no `path_name`")
    meta = entry.get("tensor_meta")
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise _Broken(f"`tensor_meta` of {shown} is no object")
    code = meta.get("dtype")
    dtype_name = _SCALAR_TYPES.get(code) if type(code) is int else None
    shape, strides = _counts(meta.get("sizes")), _counts(meta.get("strides"))
    offset = _count(meta.get("storage_offset", {"as_int": 0}))
    unreadable = ""
    # The other weights do not hang on what is wrong with one: a later torch may well know more dtypes.
    if dtype_name is None:
        unreadable = f"its dtype {printable(repr(code)[:80], 40)} is not known"
    elif shape is None:
        unreadable = "its shape is no list of sizes"
    elif offset is None:
        unreadable = "its offset is no count of elements"
    elif entry.get("use_pickle") is True:
        unreadable = "it was saved as an object of its own inside the archive, which is not read"
    elif meta.get("layout", _STRIDED) != _STRIDED:
        unreadable = "it is sparse, and that is not read"
    elif strides is None or len(strides) != len(shape):
        unreadable = "its strides are no counts of elements"
    shape = (0,) if shape is None else shape
    if strides is None or len(strides) != len(shape):
        strides = contiguous_strides(shape)
    dtype = DTYPES[dtype_name] if dtype_name else UNKNOWN
    return _Payload(entry["path_name"], dtype, shape, strides, offset or 0, unreadable)


def _count(node: object) -> int | None:
    value = node.get("as_int") if isinstance(node, dict) else node
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _counts(node: object) -> tuple[int, ...] | None:
    if not isinstance(node, list):
        return None
    counts = [_count(each) for each in node]
    return tuple(each for each in counts if each is not None) if None not in counts else None


def _tensors(storages: Storages, payloads: dict[str, _Payload], place: str) -> Dict:
    builder = TreeBuilder(lambda _: None, place)
    opened: dict[str, StorageNode] = {}
    pairs: list[tuple[str, TensorRef]] = []
    for key, payload in payloads.items():
        node = opened.get(payload.entry)
        if node is None:
            node = opened[payload.entry] = storages.open(payload.entry, None)
        dtype = payload.dtype
        if dtype is UNKNOWN:
            nowhere = Storage("none", 0, None)
            shape = payload.shape
            pairs.append(
                (key, TensorRef("", (), dtype, shape, payload.strides, 0, nowhere, unreadable=payload.unreadable))
            )
            continue
        # The entry is the whole storage: how many elements it has, only its size tells.
        sized = StorageNode(
            node.storage,
            dtype,
            node.storage.nbytes // dtype.itemsize,
            big_endian=node.big_endian,
            problem=node.problem,
        )
        made = builder.tensor(
            sized, dtype, payload.offset, payload.shape, payload.strides, unreadable=payload.unreadable
        )
        if type(made) is not TensorRef:
            nowhere = Storage("none", 0, None)
            reason = "its shape has more elements than memory can address"
            made = TensorRef("", (), dtype, payload.shape, payload.strides, 0, nowhere, unreadable=reason)
        pairs.append((key, made))
    return Dict(pairs)
