"""Tensors as Burn's .mpk, the record of a model as NamedMpkFileRecorder writes it. The reader: formats/mpk.py."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Final, Literal, TypeAlias, get_args

from workbench.checkpoint import Checkpoint
from workbench.core.text import bytes_text, count_text
from workbench.errors import ExportError, printable
from workbench.formats.burn_dtypes import BURN_NAMES
from workbench.target import Target, kind_of
from workbench.target.model import Module, Node, TupleOf
from workbench.target.record import Fit, Leaf, Tree, fit
from workbench.writing.burnpack_file import param_id
from workbench.writing.items import Item, check_each, copy

__all__ = ["Precision", "Record", "check_mpk", "mpk_id", "mpk_record", "write_mpk"]

Precision: TypeAlias = Literal["full", "half"]
"""FullPrecisionSettings (f32, i32) or HalfPrecisionSettings (f16, i16): a recorder of either reads both."""

_RELEASES: Final = {"0.18": "0.18.0", "0.19": "0.19.1", "0.20": "0.20.1", "0.21": "0.21.0"}
"""The release whose records are written, by version of Burn."""

_WITHOUT_ARRAYS: Final = "0.21"
"""From this version on arrays of constants are nil, and bool is a dtype with variants."""

_LONGER_LSTM: Final = "0.20"
_STORED: Final[Mapping[Precision, Mapping[str, str]]] = {
    "full": {"float": "float32", "int": "int32", "bool": "bool"},
    "half": {"float": "float16", "int": "int16", "bool": "bool"},
}
_SETTINGS: Final[Mapping[Precision, tuple[str, str, str]]] = {
    "full": ("f32", "i32", "FullPrecisionSettings"),
    "half": ("half::binary16::f16", "i16", "HalfPrecisionSettings"),
}
_MAX_BYTES: Final = (1 << 32) - 1
_COUNTER: Final = "num_batches_tracked"
"""What each BatchNorm of PyTorch has, and none of Burn."""

_SHOWN: Final = 5
_SAVED: Final = (
    "an .mpk that Burn {burn} wrote of it: "
    '`model.save_file("model", &NamedMpkFileRecorder::<FullPrecisionSettings>::new())`.'
)
_ASK: Final = f"Give the Rust source of the model as target, or {_SAVED}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record that can be written: `tree` with its tensors, `items` in the order of its fields, under their paths.

    `notes` says, a line each, what was converted, what is nil since there is no tensor for it, and which tensors have
    no field and so are not in the file; these are `unused`.
    """

    tree: Tree
    items: tuple[Item, ...]
    version: str
    precision: Precision
    notes: tuple[str, ...] = ()
    unused: tuple[Item, ...] = ()


def check_mpk(version: str | None) -> None:
    """Raise `ExportError` where Burn `version` has no .mpk; None is no version at all, and has none either."""
    if version is None:
        raise ExportError(
            "An .mpk is for one version of Burn, and none is chosen.",
            cause=f"Those that have .mpk files are {', '.join(_RELEASES)}. Nothing was changed.",
            next_step="Choose one of them (burn=…, --burn 0.21), or another format.",
            code="no-mpk",
        )
    if version not in _RELEASES:
        raise ExportError(
            f"Burn {printable(version, 40)} has no .mpk files.",
            cause=f"Those that have are {', '.join(_RELEASES)}; later ones read .bpk instead. Nothing was changed.",
            next_step="Choose Burn 0.21 or older (burn=…, --burn 0.21), or the format bpk.",
            code="no-mpk",
        )


def mpk_record(
    items: Sequence[Item],
    target: Target | Checkpoint | None,
    *,
    version: str | None,
    precision: Precision = "full",
) -> Record:
    """The record that Burn `version` has of the model, filled with `items`, which carry its names and layout.

    Its structs are known from `target`: Rust source, or an .mpk of the model. Raises `ExportError`, naming fields and
    tensors: where Burn has no .mpk, where the structs are not known, where a field has no tensor or one of another
    shape, and where the file cannot hold a tensor.
    """
    check_mpk(version)
    assert version is not None
    if precision not in get_args(Precision):
        raise ExportError(
            f"There is no precision {printable(repr(precision), 40)}.",
            cause=f"Those there are: {', '.join(get_args(Precision))}. Nothing was changed.",
            next_step="Choose one of them.",
            code="mpk-precision",
        )
    found = fit(_model(target, version), {item.name: item.shape for item in items})
    by_key = {item.name: item for item in items}
    used = {leaf.key for leaf in found.leaves}
    unused = tuple(item for item in items if item.name not in used)
    _check(found, by_key, unused, version)
    stored = [_stored(by_key[leaf.key], leaf, precision) for leaf in found.leaves]
    check_each(stored, _refusal, "an .mpk file")
    notes = tuple(_notes(found, by_key, stored, unused))
    return Record(found.tree, tuple(stored), version, precision, notes, unused)


def mpk_id(name: str) -> str:
    """A parameter's id as a record spells it: made of its name, the same each time."""
    return base64.b32hexencode(param_id(name).to_bytes(8, "little")).rstrip(b"=").lower().decode()


def write_mpk(record: Record, file: IO[bytes], *, ids: Callable[[str], str] = mpk_id) -> dict[str, int]:
    """The file. The CRC-32 of each tensor's bytes by name; `ids` gives a parameter's id by name.

    Raises `ExportError` where an integer or float has no place in the precision chosen.
    """
    floats, ints, settings = _SETTINGS[record.precision]
    place = "burn_core::record"
    head = {
        "float": floats,
        "int": ints,
        "format": f"{place}::file::NamedMpkFileRecorder<{place}::settings::{settings}>",
        "version": _RELEASES[record.version],
        "settings": settings,
    }
    items = {item.name: item for item in record.items}
    crcs: dict[str, int] = {}
    file.write(b"\x83" + _text("metadata") + _map(len(head)))
    file.write(b"".join(_text(key) + _text(value) for key, value in head.items()))
    file.write(_text("item"))
    pending: list[Tree | bytes] = [record.tree]
    while pending:
        node = pending.pop()
        if node is None:
            file.write(b"\xc0")
        elif isinstance(node, bytes):
            file.write(node)
        elif isinstance(node, list):
            file.write(_list(len(node)))
            pending += reversed(node)
        elif isinstance(node, Leaf):
            item = items[node.path]
            dtype = _dtype(item, record.version)
            shape = _list(len(item.shape)) + b"".join(map(_number, item.shape))
            file.write(_map(2) + _text("id") + _text(ids(item.name)) + _text("param") + _map(3))
            file.write(_text("bytes") + _bin(item.nbytes))
            crcs[item.name] = _copied(item, file, record.precision)
            file.write(_text("shape") + shape + _text("dtype") + dtype)
        else:
            file.write(_map(len(node)))
            for name, inner in reversed(node.items()):
                pending += (inner, _text(name))
    file.write(_text("_b") + b"\x90")
    return crcs


# ---- what the record is -------------------------------------------------------------------------------


def _model(target: Target | Checkpoint | None, version: str) -> Node:
    """The structs of the model, as Burn `version` records them."""
    if isinstance(target, Checkpoint):
        target = Target.from_checkpoint(target) if target.format == "mpk" else None
    model = None if target is None else target.record(version)
    if target is None or model is None:
        known = f"The target, {printable(target.origin, 120)}, has names only" if target else "There is no target"
        raise ExportError(
            "The structs of the model are not known, and an .mpk holds all their fields.",
            cause=f"{known}. Nothing was changed.",
            next_step=_ASK.format(burn=version),
            code="mpk-no-structs",
        )
    written = ".".join(target.record_version.split(".")[:2])
    lacks = ""
    if written == _WITHOUT_ARRAYS and version < _WITHOUT_ARRAYS:
        lacks = "arrays of constants, such as the stride of a Conv2d, which earlier versions ask for"
    elif version >= _LONGER_LSTM and _has_short_lstm(model):
        lacks = "the activations of an Lstm, which later versions ask for"
    if lacks:
        raise ExportError(
            f"The record of Burn {written} in {printable(target.origin, 120)} does not tell that of Burn {version}.",
            cause=f"It does not hold {lacks}. Nothing was changed.",
            next_step=_ASK.format(burn=version),
            code="mpk-other-version",
        )
    return model


def _has_short_lstm(model: Node) -> bool:
    pending = [model]
    while pending:
        node = pending.pop()
        if isinstance(node, Module):
            names = [name for name, _ in node.fields]
            if "cell_gate" in names and "gate_activation" not in names:
                return True
            pending += [child for _, child in node.fields]
        elif isinstance(node, TupleOf):
            pending += node.items
        elif hasattr(node, "variants"):
            pending += [child for _, child in node.variants]
    return False


def _check(found: Fit, by_key: Mapping[str, Item], unused: Sequence[Item], version: str) -> None:
    """Raise `ExportError` for what Burn would refuse, panic at, or not notice."""
    missing = list(found.missing)
    if any(not item.name.endswith(_COUNTER) for item in unused):
        # Empty where tensors are left over: their names do not fit yet.
        missing += [(f"{path}.0" if path else "0", "") for path in found.empty]
    if missing:
        names = [f"'{printable(path, 200)}'" + (f" of {printable(of, 80)}" if of else "") for path, of in missing]
        left = [f"'{printable(item.name, 200)}'" for item in unused]
        has_left = f" These tensors have no field: {_listed(left)}." if left else ""
        raise ExportError(
            f"{count_text(len(missing), 'field')} of the model {'has' if len(missing) == 1 else 'have'} no tensor.",
            cause=f"{_listed(names)}.{has_left} Burn would refuse the file. Nothing was changed.",
            next_step="Write rules that give the tensors the names of the fields, or choose another target.",
            code="mpk-missing",
        )
    if found.wrong:
        shown = [_mismatch(leaf, by_key[leaf.key].shape) for leaf in found.wrong]
        raise ExportError(
            f"{count_text(len(shown), 'tensor')} {'has' if len(shown) == 1 else 'have'} another shape than the model.",
            cause=f"{_listed(shown)}. Burn would load the file and fail later. Nothing was changed.",
            next_step="Change the rules, or mark a module as Linear to have its weight transposed.",
            code="mpk-shape",
        )
    if found.unsettled:
        shown = [f"'{printable(path, 200)}': {printable(what, 200)}" for path, what in found.unsettled]
        raise ExportError(
            f"The target does not tell {count_text(len(shown), 'field')} of the model, and an .mpk holds them all.",
            cause=f"Not known: {_listed(shown)}. Nothing was changed.",
            next_step=f"Give Rust source that has these types, or {_SAVED.format(burn=version)}",
            code="mpk-open-record",
        )


def _mismatch(leaf: Leaf, shape: tuple[int, ...]) -> str:
    wanted = leaf.parameter
    said = f"{list(wanted.shape)}" if wanted.shape is not None else f"{wanted.rank} dimensions"
    return f"'{printable(leaf.key, 200)}' is {list(shape)}, the model has {said}"


def _stored(item: Item, leaf: Leaf, precision: Precision) -> Item:
    """The item under its path in the record, with the dtype that a recorder gives it, unless the plan casts it."""
    if not item.cast:
        kind = leaf.parameter.kind or kind_of(item.dtype.name)
        wanted = _STORED[precision].get(kind or "", "")
        if wanted != item.dtype.name and kind_of(item.dtype.name) is not None:
            item = replace(item, cast=wanted)
    return replace(item, name=leaf.path)


def _refusal(item: Item) -> str:
    if item.dtype.name not in BURN_NAMES:
        return "Burn has no such dtype"
    if item.cast and item.tensor.dtype.numpy is None:
        return f"{item.tensor.dtype.lacks_numpy}, so it cannot be cast to {item.cast}"
    if item.nbytes > _MAX_BYTES:
        return f"MessagePack holds {bytes_text(_MAX_BYTES)} at most"
    try:
        item.name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode text"
    return ""


def _notes(found: Fit, by_key: Mapping[str, Item], stored: Sequence[Item], unused: Sequence[Item]) -> Iterator[str]:
    for leaf, item in zip(found.leaves, stored, strict=True):
        said = []
        if item.cast and not by_key[leaf.key].cast:
            said.append(f"cast from {item.tensor.dtype.name} to {item.cast}")
        if leaf.path != leaf.key:
            said.append(f"stands at {leaf.path}")
        if said:
            yield f"{leaf.key}: {' and '.join(said)}"
    for path, variant in found.assumed:
        yield f"{path}: written as {variant}, which Burn takes unless the model says otherwise"
    for path in found.absent:
        yield f"{path}: no tensor has this name, so it is None; a model that has it loses it when it loads the file"
    for path in found.empty:
        yield f"{path}: no tensor has a name below it, so it is an empty list"
    for item in unused:
        yield f"{item.name}: not written, since the model has no such field"


def _listed(shown: Sequence[str]) -> str:
    more = f"; and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return "; ".join(shown[:_SHOWN]) + more


# ---- bytes --------------------------------------------------------------------------------------------


def _copied(item: Item, file: IO[bytes], precision: Precision) -> int:
    try:
        return copy(item, file)
    except ExportError as error:
        if error.code == "cast-does-not-fit":
            error.cause = f"It is {item.tensor.dtype.name}; in {precision} precision Burn stores {item.cast}. " + (
                "Nothing was changed."
            )
            error.next_step = (
                "Leave it out, give it a dtype with a cast of its own, or choose "
                f"{'full precision' if precision == 'half' else 'another format'}."
            )
        raise


def _dtype(item: Item, version: str) -> bytes:
    if item.dtype.name == "bool" and version >= _WITHOUT_ARRAYS:
        return _map(1) + _text("Bool") + _text("Native")
    return _text(BURN_NAMES[item.dtype.name])


def _text(text: str) -> bytes:
    raw = text.encode()
    n = len(raw)
    if n < 32:
        return bytes([0xA0 | n]) + raw
    return (b"\xd9" + bytes([n]) if n < 1 << 8 else _wide(n, 0xDA)) + raw


def _bin(n: int) -> bytes:
    return b"\xc4" + bytes([n]) if n < 1 << 8 else _wide(n, 0xC5)


def _list(n: int) -> bytes:
    return bytes([0x90 | n]) if n < 16 else _wide(n, 0xDC)


def _map(n: int) -> bytes:
    return bytes([0x80 | n]) if n < 16 else _wide(n, 0xDE)


def _wide(n: int, mark: int) -> bytes:
    """A length of two bytes behind `mark`, or of four behind the next mark."""
    return struct.pack(">BH", mark, n) if n < 1 << 16 else struct.pack(">BL", mark + 1, n)


def _number(n: int) -> bytes:
    """A size, in as few bytes as it takes."""
    if n < 128:
        return bytes([n])
    mark, form = next(
        pair for top, *pair in ((8, 0xCC, "B"), (16, 0xCD, "H"), (32, 0xCE, "L"), (64, 0xCF, "Q")) if n < 1 << top
    )
    return struct.pack(f">B{form}", mark, n)
