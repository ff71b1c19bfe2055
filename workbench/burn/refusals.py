"""Why a reader of Burn refuses a whole file, in plain words and in its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from workbench.burn.inventory import Inventory, kind_of
from workbench.burn.readers import Reader
from workbench.burn.versions import reader_for
from workbench.checkpoint import Checkpoint
from workbench.core.tensor import UNKNOWN
from workbench.core.text import count_text
from workbench.core.tree import Dict, module_parts
from workbench.errors import printable

__all__ = ["MAX_COPIED_BYTES", "MAX_COPIED_NODES", "Refusal", "is_unpadded", "refusal"]

MAX_COPIED_NODES: Final = 1_000_000
"""Values that pytorch-reader copies through its memo before it calls the file a memo bomb."""

MAX_COPIED_BYTES: Final = 64 << 20
_MAX_PICKLE: Final = 100 << 20
_MAX_TENSOR: Final = 10 << 30

_FRAME: Final = 0x95
_PERSID: Final = 0x50
_HOLDS: Final = "The file holds tensor data in a form this reader cannot represent."

_STORAGES: Final = {
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
    "qint8": "QInt8Storage",
    "quint8": "QUInt8Storage",
    "qint32": "QInt32Storage",
    "quint4x2": "QUInt4x2Storage",
    "quint2x4": "QUInt2x4Storage",
}
_SAFETENSORS_NAMES: Final = {
    "complex64": "C64",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float4_e2m1fn_x2": "F4",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stable code, the reason in plain words, and the text of the crate where it is known."""

    code: str
    text: str
    message: str = ""
    next_step: str = "Export a clean file from here and load that."


def refusal(reader: Reader, checkpoint: Checkpoint, found: Inventory, top_level_key: str | None) -> Refusal | None:
    """The first thing in `checkpoint` at which `reader` gives up, None where it opens."""
    if not reader.version:
        return None
    if not reader.store:
        return _no_reader(reader, checkpoint)
    if reader.parser:
        checks = (*_PICKLE_CHECKS[reader.parser], _top_level)
    else:
        checks = {"safetensors": (_safetensors_dtypes,), "burnpack": (_burnpack,)}.get(checkpoint.format, ())
    for check in checks:
        first = next(iter(check(reader, checkpoint, found, top_level_key)), None)
        if first is not None:
            return first
    return None


_Check = Callable[[Reader, Checkpoint, Inventory, str | None], Iterator[Refusal]]

# ---- containers ---------------------------------------------------------------------------------------

_CONTAINER_WORDS: Final = {
    "torch-legacy": "a PyTorch stream of the kind before torch 1.6",
    "torch-tar": "a PyTorch tar of the kind before torch 0.1.10",
    "pickle": "a plain pickle",
    "torchscript": "a TorchScript program",
    "pt2": "an exported program (.pt2)",
    "torch-package": "a torch.package",
    "npz": "a numpy archive",
    "npy": "a numpy array",
    "npy-folder": "a folder of numpy arrays",
    "safetensors-shards": "a checkpoint in several files",
    "torch-shards": "a checkpoint in several files",
    "mpk": "a record of Burn's recorders",
    "burnpack": "a burnpack file",
}


def _no_reader(reader: Reader, checkpoint: Checkpoint) -> Refusal:
    what = _CONTAINER_WORDS.get(checkpoint.format, f"a file of format {checkpoint.format}")
    step = "Export a clean file from here and load that."
    if checkpoint.format.endswith("-shards"):
        step = "Export it as one file from here and load that; Burn reads one file at a time."
    code = {"torchscript": "burn-torchscript", "mpk": "burn-recorders-gone"}.get(checkpoint.format, "burn-container")
    text = f"Burn {reader.version} ({reader.api}) does not read {what}."
    return Refusal(code, text, _as_zip(reader, checkpoint), step)


def _as_zip(reader: Reader, checkpoint: Checkpoint) -> str:
    """What the reader of .pt files says when it is given another kind of file, "" where that is not known."""
    parser = reader_for(reader.version, "torch-zip", reader.api).parser
    calls = reader_for(reader.version, "torch-zip", reader.api).calls
    if checkpoint.format in ("npz", "torch-package", "pt2"):
        return _NO_PICKLE.get(parser, "")
    if checkpoint.format == "torchscript" and calls is not None:
        called = [(at, name) for name, at in checkpoint.written.called.items() if name not in calls]
        return _unsupported_old(min(called)[1]) if called else _NOT_A_DICT_OLD
    if checkpoint.format == "torch-legacy" and parser == "candle":
        return "invalid Zip archive: Could not find central directory end"
    return ""


_NO_PICKLE: Final = {
    "burn-store": "Invalid PyTorch file format: No data.pkl file found in ZIP archive. "
    "Expected PyTorch 1.6+ format with data.pkl or archive/data.pkl",
    "pytorch-reader": "invalid PyTorch file format: No data.pkl entry found in ZIP archive. "
    "Expected a PyTorch 1.6+ checkpoint",
}


# ---- pickles ------------------------------------------------------------------------------------------


def _old(text: str) -> str:
    return f"Pickle parsing error: {text}. This may indicate an unsupported PyTorch file format or corrupted file."


def _unsupported_old(name: str) -> str:
    return _old(f"Unsupported Python type '{name}'. This may indicate a full model save rather than a state_dict.")


def _unsupported_new(name: str) -> str:
    return f"pickle: unsupported Python type '{name}'. {_HOLDS}"


_LEGACY: Final = ("torch-legacy", "pickle")
_NOT_A_DICT_OLD: Final = (
    "Invalid PyTorch file format: Expected a dictionary at the root of the PyTorch file, but found a different type. "
    "The file may be a full model save rather than a state_dict."
)
_BIG_ENDIAN: Final = (
    "invalid PyTorch file format: Big-endian PyTorch files are not supported. The file was saved on a big-endian "
    "system and requires byte order conversion."
)


def _opcodes_and_calls(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    """What stops a reader first: an opcode it does not know, or a call it does not make."""
    written = checkpoint.written
    unknown = [(at, op) for op, at in written.opcodes.items() if op not in reader.opcodes]
    called = [
        (at, name) for name, at in written.called.items() if reader.calls is not None and name not in reader.calls
    ]
    first_op, first_call = min(unknown, default=None), min(called, default=None)
    if first_op is not None and (first_call is None or first_op[0] < first_call[0]):
        yield _unknown_opcode(reader, first_op[1], max(written.protocol, 0))
    elif first_call is not None:
        yield _unknown_call(first_call[1], found)


def _unknown_opcode(reader: Reader, op: int, protocol: int) -> Refusal:
    if op == _FRAME or protocol >= 4 or protocol < 2:
        text = f"It was saved with pickle protocol {protocol}, which {reader.name} does not read."
        code = "burn-pickle-protocol"
    elif op == 0x8A:
        text = f"It holds a number beyond 31 bits, which {reader.name} does not read: it refuses the whole file."
        code = "burn-large-number"
    else:
        text = f"Its pickle uses an opcode (0x{op:02x}) that {reader.name} does not know."
        code = "burn-pickle-opcode"
    messages = {
        "candle": f"unknown op-code {op}",
        "burn-store": _old(
            f"Invalid pickle opcode: 0x{op:02x}. The file may be corrupted or use an unsupported pickle protocol."
        ),
        "pytorch-reader": f"pickle: invalid pickle opcode: 0x{op:02x}. "
        "The file may be corrupted or use an unsupported pickle feature.",
    }
    return Refusal(code, text, messages.get(reader.parser, ""))


_TENSOR_CALLS: Final = {
    "torch._utils._rebuild_tensor_v3": (
        "burn-dtype",
        "It holds a tensor of a dtype that is written in a newer way (uint16, uint32, uint64, complex32, float8, ..)",
    ),
    "torch._utils._rebuild_meta_tensor_no_storage": ("burn-meta-tensor", "It holds a meta tensor, which has no values"),
    "torch._utils._rebuild_qtensor": ("burn-quantised", "It holds a quantised tensor"),
    "torch._utils._rebuild_sparse_tensor": ("burn-sparse", "It holds a sparse tensor"),
    "torch.serialization._get_layout": ("burn-sparse", "It holds a sparse tensor"),
    "torch._utils._rebuild_nested_tensor": ("burn-nested-tensor", "It holds a nested tensor"),
    "torch._utils._rebuild_parameter_with_state": (
        "burn-tensor-attributes",
        "It holds a Parameter with attributes of its own",
    ),
}


def _unknown_call(name: str, found: Inventory) -> Refusal:
    shown = printable(name, 120)
    message = _unsupported_old(name)
    if name in _TENSOR_CALLS:
        code, what = _TENSOR_CALLS[name]
        return Refusal(code, f"{what}: the whole file is refused.", message)
    if found.holds_modules:
        text = (
            f"It holds a whole model, not a state_dict: the reader stops at `{shown}`, which every saved module has "
            "or which this one keeps."
        )
        return Refusal("burn-whole-model", text, message, "Export the state_dict from here and load that.")
    text = f"Beside the weights it holds a `{shown}`: the reader cannot make one and refuses the whole file."
    return Refusal("burn-stray-object", text, message)


def _checksum(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    if reader.checks_pickle and not checkpoint.written.is_checked:
        text = "The checksum of its pickle is wrong or was left out: torch can be told to save without checksums."
        yield Refusal("burn-no-checksum", text)


def _legacy_old(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    protocol = checkpoint.written.protocol
    if checkpoint.format != "torch-legacy":
        return
    if protocol not in reader.legacy_protocols:
        if protocol == 3:
            message = _NOT_A_DICT_OLD
        else:
            op = _FRAME if protocol > 3 else 0x4C
            message = _unknown_opcode(reader, op, protocol).message
        text = f"A stream of pickle protocol {protocol} is not known as a PyTorch file; only protocol 2 is."
        yield Refusal("burn-pickle-protocol", text, message)
    elif found.holds_modules and reader.legacy_is_zeros:
        message = (
            "Invalid PyTorch file format: Failed to skip main object in legacy format: IO error: failed to fill whole "
            "buffer"
        )
        text = "It holds a whole model in the older stream, not a state_dict."
        yield Refusal("burn-whole-model", text, message, "Export the state_dict from here and load that.")


def _big_endian(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    if reader.big_endian == "refused" and checkpoint.metadata.get("byteorder") == "big":
        yield Refusal("burn-big-endian", "It was saved on a big-endian machine.", _BIG_ENDIAN)


def _first_entry(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    written = checkpoint.written
    if written.has_zip64 and len(written.first_entry.encode("utf-8", "surrogateescape")) == 30:
        name = printable(written.first_entry.rpartition("/")[0], 80)
        text = (
            f"The folder inside it, `{name}`, has a name of 21 bytes: the zip crate that a fresh build of "
            f"Burn {reader.version} gets (9.1 or newer) misreads such a file. Renaming the file does not help."
        )
        step = "Export it again from here, or run `cargo update -p zip --precise 9.0.4` in the Rust project."
        message = "zip archive error: invalid Zip archive: Invalid Central Directory header"
        yield Refusal("burn-zip-name-of-21", text, message, step)


def _keys_old(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    first = found.first
    if "bad-text" in first:
        yield Refusal("burn-text", "It holds text that is no UTF-8.")
    stumbles = [first[name] for name in ("odd-key", "lone-int-key") if name in first]
    for each in sorted(stumbles, key=lambda stumble: stumble.at):
        if each.what == "lone-int-key":
            text = (
                f"It holds a dict whose only key is a number ({each.detail}): the reader takes numbers as keys only "
                "where a dict has several."
            )
            yield Refusal("burn-int-key", text, _old("Invalid data in pickle file: dict key must be a string"))
        else:
            alone = first.get("first-odd-key-is-alone")
            many = first.get("first-odd-key-is-one-of-many")
            message = ""
            if alone is not None and (many is None or alone.at <= many.at):
                message = _old("Invalid data in pickle file: dict key must be a string")
            elif many is not None and many.detail:
                message = _old(f"Invalid data in pickle file: dict key must be a valid type, got {many.detail}")
            yield _odd_key(each.detail, message)


def _odd_key(kind: str, message: str) -> Refusal:
    text = f"It holds a dict with a key that is neither text nor a number ({printable(kind, 60)})."
    return Refusal("burn-odd-key", text, message)


def _filled(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    filled, owner = found.first.get("filled"), found.first.get("filled-class")
    if filled is None or owner is None:
        return
    if reader.parser == "candle" and owner.detail == "collections.defaultdict":
        return
    shown = printable(owner.detail, 100)
    text = f"It holds a `{shown}` with something in it: the reader fills only plain dicts and lists."
    message = {
        "burn-store": _old(f"Unexpected pickle opcode {filled.detail} in current context"),
        "pytorch-reader": f"pickle: unexpected pickle opcode {filled.detail} in current context",
    }.get(reader.parser, "")
    yield Refusal("burn-filled-object", text, message)


def _attributes_old(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    if "torch._tensor._rebuild_from_type_v2" in checkpoint.written.called:
        text = "It holds a Buffer, a subclass of Tensor, or a tensor with attributes of its own."
        message = _old("Invalid data in pickle file: rebuild_tensor_v2: expected at least 5 args, got 3")
        yield Refusal("burn-tensor-attributes", text, message)


def _dtypes_old(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    refused = [(at, name) for name, at in found.dtypes.items() if name in reader.refuses]
    if refused:
        _, name = min(refused)
        message = ""
        if name in _STORAGES:
            message = _old(f"Invalid data in pickle file: Unknown storage type: {_STORAGES[name]}")
        yield _dtype(reader, name, message)


def _dtype(reader: Reader, name: str, message: str) -> Refusal:
    return Refusal("burn-dtype", f"It holds a tensor of {name}: {reader.name} refuses the whole file.", message)


def _new_reader(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    """What pytorch-reader stops at, the first in the file's order."""
    first = found.first
    written = checkpoint.written
    if _PERSID in written.opcodes:
        yield Refusal(
            "burn-pickle-protocol",
            f"It was saved with pickle protocol 0, which {reader.name} does not read.",
            "pickle: invalid data in pickle file: persistent id must be a tuple, got str",
        )
    if "torch.storage._load_from_bytes" in written.called:
        yield Refusal(
            "burn-plain-pickle",
            "It was written by pickle.dump, with each storage as a file inside it.",
            "pickle: invalid data in pickle file: _rebuild_tensor_v2: expected a storage, got object",
        )
    if checkpoint.format == "torch-legacy" and found.holds_modules:
        yield Refusal(
            "burn-whole-model",
            "It holds a whole model in the stream of the kind before torch 1.6, not a state_dict.",
            "pickle: invalid data in pickle file: storage persistent id has 4 fields, expected at least 5",
            "Export the state_dict from here and load that.",
        )
    stops: list[tuple[int, Refusal]] = []
    refused = [(at, name) for name, at in found.dtypes.items() if name in reader.refuses]
    if refused:
        at, name = min(refused)
        stops.append((at, _dtype(reader, name, _unsupported_new(f"torch.{_STORAGES.get(name, name)}"))))
    if (objects := first.get("object-with-tensors")) is not None:
        shown = printable(objects.detail, 100)
        text = f"It holds tensors inside a `{shown}`, an object that is no module: the whole file is refused."
        stops.append((objects.at, Refusal("burn-object-with-tensors", text, _unsupported_new(objects.detail))))
    if (odd := first.get("odd-key")) is not None:
        message = f"pickle: invalid data in pickle file: dict key must be a str or int, got {odd.detail}"
        stops.append((odd.at, _odd_key(odd.detail, message)))
    if (attributes := first.get("dict-with-tensors")) is not None:
        text = "It holds a dict whose attributes hold tensors."
        stops.append((attributes.at, Refusal("burn-object-with-tensors", text, _unsupported_new(attributes.detail))))
    if "bad-text" in first:
        stops.append((first["bad-text"].at, Refusal("burn-text", "It holds text that is no UTF-8.")))
    for each in _filled(reader, checkpoint, found, key):
        stops.append((first["filled"].at, each))
    yield from (stop for _, stop in sorted(stops, key=lambda item: item[0]))
    if "torch._utils._rebuild_sparse_tensor" in written.called:
        message = _unsupported_new("torch._utils._rebuild_sparse_tensor")
        yield Refusal("burn-sparse", "It holds a sparse tensor: the whole file is refused.", message)
    yield from _limits(reader, checkpoint, found, key)


def _limits(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    if found.copied_nodes > MAX_COPIED_NODES or found.copied_bytes > MAX_COPIED_BYTES:
        n = count_text(len(checkpoint.tensors), "tensor")
        why = (
            f"It holds {n} and more besides than the reader copies: a file as torch writes it may have about 31,000 "
            "two-dimensional tensors (28,000 with the metadata of a state_dict)."
            if found.copied_nodes > MAX_COPIED_NODES
            else "It holds more than 64 MiB of text beside the weights."
        )
        message = (
            "pickle: invalid data in pickle file: Pickle memo bomb detected: copies exceeded 1000000 nodes or 67108864 "
            "bytes"
        )
        yield Refusal("burn-memo-bomb", why, message, "Export it as .safetensors from here and load that.")
    for shape, itemsize in {(tensor.shape, tensor.dtype.itemsize) for tensor in checkpoint.tensors}:
        if (nbytes := math.prod(shape) * itemsize) > _MAX_TENSOR:
            message = (
                f"pickle: invalid data in pickle file: Tensor with shape [{', '.join(map(str, shape))}] would "
                f"materialize {nbytes} bytes, above the {_MAX_TENSOR} byte limit"
            )
            yield Refusal("burn-tensor-limit", "One of its tensors is larger than 10 GiB.", message)
    for tensor in checkpoint.tensors:
        if tensor.unreadable.startswith("it needs element "):
            text = f"The tensor `{printable(tensor.key, 100)}` reaches beyond what its storage is said to hold."
            yield Refusal("burn-beyond-storage", text)
    if checkpoint.format == "torch-legacy":
        for finding in checkpoint.findings:
            if finding.code == "unused-storage":
                yield Refusal("burn-unused-storage", "It lists a storage that no tensor uses.")


def _top_level(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    """Whether there is a dict of tensors at the root, or below the key."""
    root = checkpoint.tree
    dictlike = isinstance(root, Dict) or (reader.reads_modules and module_parts(root) is not None)
    new = reader.parser == "pytorch-reader"
    if reader.parser == "candle":
        if key is not None and isinstance(root, Dict) and not _has_key(root, key):
            yield Refusal("burn-top-level-key", _no_key(key), f"key {key} not found", _CHOOSE)
        return
    if not dictlike:
        if module_parts(root) is not None:
            text = "It holds a whole model, not a state_dict."
            yield Refusal("burn-whole-model", text, _NOT_A_DICT_OLD, "Export the state_dict from here and load that.")
        kind = kind_of(root)
        if new and key is not None:
            message = f"Cannot select top-level key '{key}': the file's root is not a dictionary"
        else:
            message = f"Expected a dictionary at the root of the PyTorch file, found {kind}"
        text = f"What it holds is no dict but a {printable(kind, 60)}."
        yield Refusal(
            "burn-root-not-a-dict", text, f"invalid PyTorch file format: {message}" if new else _NOT_A_DICT_OLD
        )
    elif key is not None:
        entries = _entries(root)
        if key in entries:
            value = entries[key]
            if isinstance(value, Dict) or (reader.reads_modules and module_parts(value) is not None):
                return
            text = f"The top-level key `{printable(key, 80)}` does not hold a dict."
            new_message = (
                f"invalid PyTorch file format: Top-level key '{key}' does not hold a dictionary, found {kind_of(value)}"
            )
        else:
            text = _no_key(key)
            listed = ", ".join(f'"{each}"' for each in sorted(entries))
            new_message = f"key not found in PyTorch file: '{key}' not found. Available top-level keys: [{listed}]"
        in_order = ", ".join(f'"{each}"' for each in entries)
        old_message = (
            f"Key 'Top-level key '{key}' not found or is not a dictionary. Available top-level keys in file: "
            f"[{in_order}]' not found in PyTorch file. Available keys may be listed with the keys() method."
        )
        yield Refusal("burn-top-level-key", text, new_message if new else old_message, _CHOOSE)


_CHOOSE: Final = "Choose one of the keys of the root; Burn takes one level, exactly as it is written."


def _no_key(key: str) -> str:
    more = " Burn takes one level only: a dotted name is no way down." if "." in key else ""
    return f"Its root has no key `{printable(key, 80)}`.{more}"


def _has_key(root: Dict, key: str) -> bool:
    return any(type(each) is str and each == key for each in root)


def _entries(root: object) -> dict[str, object]:
    """What is below the root by its name, the last one of a name."""
    if isinstance(root, Dict):
        return {str(key): value for key, value in root.pairs}
    parts = module_parts(root)
    assert parts is not None
    parameters, buffers, modules = parts
    found: dict[str, object] = {}
    for part in (parameters, buffers, modules):
        found |= {str(key): value for key, value in part.pairs if value is not None} if part is not None else {}
    return found


_PICKLE_CHECKS: Final[dict[str, tuple[_Check, ...]]] = {
    "candle": (_checksum, _opcodes_and_calls, _filled),
    "burn-store": (
        _checksum,
        _legacy_old,
        _opcodes_and_calls,
        _attributes_old,
        _dtypes_old,
        _keys_old,
        _filled,
    ),
    "pytorch-reader": (_first_entry, _big_endian, _opcodes_and_calls, _new_reader),
}


# ---- safetensors and burnpack --------------------------------------------------------------------------------------


def _safetensors_dtypes(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    for tensor in checkpoint.tensors:
        if tensor.dtype.name in reader.refuses:
            name = _SAFETENSORS_NAMES.get(tensor.dtype.name)
            words = "unsupported safetensor dtype" if reader.api == "burn-import" else "Unsupported dtype:"
            known = name and tensor.dtype.name not in reader.unknown_dtypes
            yield _dtype(reader, tensor.dtype.name, f"{words} {name}" if known else "")


def _burnpack(reader: Reader, checkpoint: Checkpoint, found: Inventory, key: str | None) -> Iterator[Refusal]:
    written = checkpoint.written
    if written.bool_spelling and written.bool_spelling not in reader.bool_spellings:
        by = "0.19 or 0.20" if written.bool_spelling == "text" else "0.21 or later"
        text = f"It holds a bool tensor as Burn {by} writes it, which {reader.name} does not know."
        why = (
            "unknown variant `shape`, expected one of `Native`, `U8`, `U32`"
            if written.bool_spelling == "text"
            else "invalid type: sequence, expected str or bytes"
        )
        yield Refusal("burn-bool-spelling", text, f'Metadata deserialization error: Semantic(None, "{why}")')
    unknown = next((tensor for tensor in checkpoint.tensors if tensor.dtype == UNKNOWN), None)
    if unknown is not None:
        yield Refusal(
            "burn-unknown-dtype", f"The tensor `{printable(unknown.key, 100)}` has a dtype that no Burn knows."
        )
    if not reader.checks_extents:
        return
    if is_unpadded(checkpoint):
        yield Refusal(
            "burn-packed-layout",
            "Its data follow the metadata without padding, as Burn 0.19 writes them: it seems cut off.",
        )
    for tensor in checkpoint.tensors:
        needed = tensor.n_elements * tensor.dtype.itemsize
        if tensor.unreadable.startswith("it spans ") and needed != tensor.storage.nbytes:
            text = f"The tensor `{printable(tensor.key, 100)}` has more or fewer bytes than its shape needs."
            yield Refusal("burn-byte-length", text)


def is_unpadded(checkpoint: Checkpoint) -> bool:
    """Whether a burnpack has its data where only Burn 0.19 looks for them."""
    return any(finding.code == "packed-layout" for finding in checkpoint.findings)
