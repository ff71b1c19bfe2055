"""Sight: what one reader of Burn would see in a file, before any rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from workbench.burn.inventory import Inventory, inventory
from workbench.burn.readers import Reader
from workbench.burn.refusals import Refusal, is_unpadded, refusal
from workbench.burn.seen import RIGHT, Seen, State, findings_of
from workbench.burn.walks import passed_over
from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict
from workbench.errors import printable
from workbench.finding import Finding, Severity

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = ["Seen", "Sight", "State", "sight"]


@dataclass(frozen=True)
class Sight:
    """All tensors of a file (below the top-level key), in file order, as a reader would see them.

    `refused` is the reason why it opens nothing, "" where it does; `message` its own words, where they are known.
    `keys` are the names before any rule, `seen` what becomes of each.
    """

    reader: Reader
    refused: str
    message: str
    code: str
    tensors: tuple[TensorRef, ...] = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    seen: tuple[Seen, ...] = field(repr=False)
    findings: tuple[Finding, ...] = field(repr=False)

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """The names that the reader gives, each once: none where it refuses the file."""
        if self.refused:
            return ()
        named = (
            key for key, seen in zip(self.keys, self.seen, strict=True) if seen.state != "lost" or seen.code == _JOINED
        )
        return tuple(dict.fromkeys(named))

    def of(self, state: State) -> tuple[str, ...]:
        """The names of the tensors with that fate."""
        return tuple(key for key, seen in zip(self.keys, self.seen, strict=True) if seen.state == state)

    @cached_property
    def is_right(self) -> bool:
        """Whether every tensor gets through with its values."""
        return not self.refused and all(seen is RIGHT for seen in self.seen)


_JOINED: Final = "burn-joined-names"


def sight(reader: Reader, checkpoint: Checkpoint, top_level_key: str | None = None) -> Sight:
    """What `reader` would see in `checkpoint`, or below one key of its root. Reads no tensor bytes.

    What only the values could tell (an int64 that does not fit, a wrong checksum) is not looked at.
    """
    found = inventory(checkpoint.tree) if reader.parser else Inventory()
    stop = refusal(reader, checkpoint, found, top_level_key)
    rows, keys, n_below = _below(checkpoint, top_level_key)
    seen: list[Seen] = []
    if stop is None:
        seen = _fates(reader, checkpoint, rows, keys, n_below)
        stop = _stopped_by_one(reader, keys, seen)
    if stop is not None:
        seen = [Seen("unreadable", "lies in a file that is refused", stop.code)] * len(keys)
    return Sight(
        reader,
        stop.text if stop is not None else "",
        stop.message if stop is not None else "",
        stop.code if stop is not None else "",
        tuple(checkpoint.tensors[row] for row in rows),
        tuple(keys),
        tuple(seen),
        (*findings_of(reader, stop, keys, seen), *(_int_range(reader, checkpoint, rows, keys) if stop is None else ())),
    )


def _int_range(reader: Reader, checkpoint: Checkpoint, rows: list[int], keys: list[str]) -> tuple[Finding, ...]:
    """What only the values can tell: whether int64 fit where they are converted. Counters of one element do."""
    if "int64" not in reader.converts:
        return ()
    tensors = [(key, checkpoint.tensors[row]) for key, row in zip(keys, rows, strict=True)]
    wide = tuple(key for key, tensor in tensors if tensor.dtype.name == "int64" and tensor.shape)
    if not wide:
        return ()
    what = f"`{printable(wide[0], 100)}` is int64" if len(wide) == 1 else f"{len(wide):,} tensors are int64"
    text = (
        f"{what}, and {reader.name} converts int64 to 32 bits (16 bits at half precision): a number that does not fit "
        "makes it panic."
    )
    step = "Look at the largest values; cast them in an export if they are too large."
    return (Finding("burn-int-range", Severity.NOTE, f"key {printable(wide[0], 120)}", text, step, keys=wide[:1000]),)


def _below(checkpoint: Checkpoint, top_level_key: str | None) -> tuple[list[int], list[str], int]:
    """Row and key of each tensor that is meant, and the depth of the key; an exact one comes before a dotted way."""
    if top_level_key is None:
        return list(range(len(checkpoint.tensors))), [tensor.key for tensor in checkpoint.tensors], 0
    for prefix in ((top_level_key,), tuple(top_level_key.split("."))):
        n = len(prefix)
        rows = [
            row
            for row, tensor in enumerate(checkpoint.tensors)
            if len(tensor.path) > n and tuple(map(str, tensor.path[:n])) == prefix
        ]
        if rows:
            return rows, [".".join(map(str, checkpoint.tensors[row].path[n:])) for row in rows], n
    return [], [], 1


def _fates(reader: Reader, checkpoint: Checkpoint, rows: list[int], keys: list[str], n_below: int) -> list[Seen]:
    seen = []
    known: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Seen] = {}
    for row in rows:
        tensor = checkpoint.tensors[row]
        kind = (tensor.dtype.name, tensor.shape, tensor.strides)
        fate = known.get(kind)
        if tensor.unreadable or tensor.neg or tensor.byteswap or (tensor.offset and not reader.honours_offsets):
            fate = _values(reader, checkpoint, tensor)
        elif fate is None:
            fate = known[kind] = _values(reader, checkpoint, tensor)
        seen.append(fate)
    if not reader.parser:
        return seen
    if not _is_flat(checkpoint, reader):
        passed = passed_over(reader, checkpoint, n_below)
        for place, row in enumerate(rows):
            each = passed[row]
            if each is not None:
                seen[place] = Seen("lost", each.why, each.code)
    _join(keys, seen)
    return seen


def _is_flat(checkpoint: Checkpoint, reader: Reader) -> bool:
    """Whether the file is one dict of tensors under text, which every reader lists whole."""
    tree = checkpoint.tree
    return (
        isinstance(tree, Dict)
        and (reader.fills_ordered_pairs or not checkpoint.written.has_ordered_pairs)
        and checkpoint.format != "torch-tar"
        and len(tree) == len(checkpoint.tensors)
        and all(type(key) is str and type(value) is TensorRef for key, value in tree.pairs)
    )


def _join(keys: list[str], seen: list[Seen]) -> None:
    """Of several tensors with one joined name one is left, and nobody can tell which."""
    if len(set(keys)) == len(keys):
        return
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if seen[row].state != "lost":
            rows.setdefault(key, []).append(row)
    why = "has the same joined name as another; one of them is left, and which one is chance"
    for several in rows.values():
        if len(several) > 1:
            for row in several:
                seen[row] = Seen("lost", why, _JOINED)


def _values(reader: Reader, checkpoint: Checkpoint, tensor: TensorRef) -> Seen:
    """What becomes of the values of a tensor that is found."""
    if not reader.version:
        return RIGHT
    dtype = tensor.dtype.name
    if dtype in reader.drops:
        return Seen("lost", f"is {dtype}, which is left out", "burn-dtype")
    if checkpoint.format == "burnpack":
        return _of_burnpack(reader, checkpoint, tensor)
    if not reader.parser:
        return RIGHT
    if tensor.storage.source is None:
        return Seen("lost", "has no values in the file", "burn-meta-tensor")
    if checkpoint.format == "pickle":
        return Seen("lost", "is an array of numpy, which is kept as an object", "burn-numpy-array")
    empty = 0 in tensor.shape
    if empty and not reader.reads_empty:
        return Seen("unreadable", "has no elements, which the reader fails on", "burn-empty-tensor")
    if tensor.unreadable and dtype in reader.reads and not empty:
        if reader.short_storage == "zeros":
            return Seen("wrong values", "has zeros where its storage is missing or cut off", "burn-short-storage")
        return Seen("unreadable", "needs a storage that is missing or cut off", "burn-short-storage")
    if empty:
        return RIGHT
    if checkpoint.format == "torch-legacy" and reader.legacy_is_zeros:
        return Seen("wrong values", "is read as zeros, as is every tensor of such a stream", "burn-legacy-zeros")
    if dtype in reader.misreads:
        return Seen("wrong values", f"is {dtype}, and is read as float32 of the same shape", "burn-complex")
    if tensor.neg:
        return Seen("wrong values", "has its negative bit set, which is ignored: the sign is wrong", "burn-neg-bit")
    if not tensor.is_contiguous:
        if reader.strides == "ignored":
            return Seen("wrong values", "is not contiguous, and its strides are not looked at", "burn-strides")
        if reader.strides == "refused" and not _is_fortran(tensor):
            return Seen("unreadable", "is not contiguous, which the reader fails on", "burn-strides")
    if tensor.offset and not reader.honours_offsets:
        return Seen("wrong values", "is a view that begins inside its storage, and is read elsewhere", "burn-offset")
    if tensor.byteswap and reader.big_endian == "ignored":
        return Seen("wrong values", "is big-endian, and is read as little-endian", "burn-big-endian")
    return RIGHT


def _of_burnpack(reader: Reader, checkpoint: Checkpoint, tensor: TensorRef) -> Seen:
    if tensor.unreadable and not reader.checks_extents and tensor.dtype.name in reader.reads:
        return Seen("unreadable", "has more or fewer bytes than its shape needs", "burn-byte-length")
    shifted = is_unpadded(checkpoint) if reader.pads else checkpoint.written.padding > 0
    if shifted and tensor.nbytes:
        by = "of 0.19" if reader.pads else "later than 0.19"
        return Seen("wrong values", f"is in a burnpack {by}, whose data are looked for elsewhere", "burn-packed-layout")
    return RIGHT


def _is_fortran(tensor: TensorRef) -> bool:
    """Whether the elements lie in column-major order without gaps."""
    step = 1
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _stopped_by_one(reader: Reader, keys: list[str], seen: list[Seen]) -> Refusal | None:
    """A reader that reads every tensor of the file, needed or not, fails on the first that cannot be read."""
    if not reader.reads_unneeded:
        return None
    for key, each in zip(keys, seen, strict=True):
        if each.state == "unreadable":
            message = {
                "burn-empty-tensor": 'Failed to get tensor data: PanicError("Panic occurred while loading tensor data")'
            }.get(each.code, "")
            return Refusal(each.code, f"The tensor `{key[:100]}` {each.why}, and every tensor is read.", message)
    return None
