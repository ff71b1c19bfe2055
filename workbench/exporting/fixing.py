"""A clean file out of any checkpoint: the state_dict of a whole model, or the only state_dict there is."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.core.tensor import TensorRef
from workbench.core.text import bytes_text, count_text
from workbench.core.tree import Dict, Opaque, module_parts, table_entries
from workbench.errors import CollisionError, ExportError, printable
from workbench.exporting import atomic, files
from workbench.exporting.items import Item, carries, firsts
from workbench.exporting.progress import Meter
from workbench.mapping import Mapping

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = ["FixResult", "StateDict", "fix", "state_dicts"]

_SUFFIXES: Final = {".safetensors": "safetensors", ".pt": "pt", ".pth": "pt"}
_PICKLED: Final = frozenset({"torch-zip", "torch-legacy", "torch-tar", "pickle", "torch-shards"})
_SHOWN: Final = 8
_HEAD: Final = 4096

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class StateDict:
    """A place in a file that holds the weights of a model: `class_path` of a model saved whole, "" for a dict."""

    path: _Path
    class_path: str
    tensors: tuple[tuple[str, TensorRef], ...]

    @property
    def key(self) -> str:
        """The top-level key, "" for the file itself."""
        return ".".join(map(str, self.path))

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.nbytes for _, tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class FixResult:
    """The file written, what it holds, and what of the source it does not.

    `aliases` are pairs of a name and the earlier one that is the same tensor; `left_out` pairs of a key of the source
    and a clause that says why it is not in the file.
    """

    path: Path
    nbytes: int
    state_dict: StateDict
    aliases: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]


def state_dicts(checkpoint: Checkpoint) -> tuple[StateDict, ...]:
    """The whole models and state_dicts of a file, in file order; not what optimizers keep.

    A file that is no pickle has one, all of it. A dict around others counts where it has more tensors itself.
    """
    if checkpoint.format not in _PICKLED:
        return (StateDict((), "", checkpoint.under(None)),) if checkpoint.tensors else ()
    places = dict(_places(checkpoint.tree))
    below: dict[_Path, list[tuple[str, TensorRef]]] = {path: [] for path in places}
    depths = sorted({len(path) for path in places})
    for tensor in checkpoint.tensors:
        for depth in depths:
            found = below.get(tensor.path[:depth])
            if found is None or len(tensor.path) <= depth:
                continue
            if places[tensor.path[:depth]] or len(tensor.path) == depth + 1:
                found.append((".".join(map(str, tensor.path[depth:])), tensor))
                break
    all_found = [StateDict(path, places[path], tuple(tensors)) for path, tensors in below.items() if tensors]
    weighty = [each for each in all_found if any(tensor.shape for _, tensor in each.tensors)]
    return tuple(each for each in weighty if not _is_outdone(each, weighty)) or tuple(all_found[:1])


def _places(tree: object) -> Iterator[tuple[_Path, str]]:
    """Path and class of what may be a state_dict: modules, and dicts with tensors of their own."""
    waiting: list[tuple[_Path, object]] = [((), tree)]
    seen: set[int] = set()
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Opaque) and module_parts(node) is not None:
            yield path, node.class_path
            continue
        if not isinstance(node, (Dict, Opaque, list, tuple)) or _is_optimizer(node):
            continue
        children = [(key, child) for key, child in table_entries(node) or () if isinstance(key, (str, int))]
        if not isinstance(node, (list, tuple)) and any(isinstance(child, TensorRef) for _, child in children):
            yield path, ""
        waiting += [((*path, key), child) for key, child in reversed(children) if not isinstance(child, TensorRef)]


def _is_optimizer(node: object) -> bool:
    return isinstance(node, Dict) and {"state", "param_groups"} <= {key for key, _ in node.pairs if type(key) is str}


def _is_outdone(each: StateDict, others: Sequence[StateDict]) -> bool:
    """Whether it is a dict with a few tensors around the one that is meant."""
    depth = len(each.path)
    return not each.class_path and any(
        len(other.path) > depth and other.path[:depth] == each.path and len(other.tensors) > len(each.tensors)
        for other in others
    )


def fix(
    checkpoint: Checkpoint,
    out: str | os.PathLike[str],
    *,
    top_level_key: str | None = None,
    overwrite: bool = False,
    verify: bool = True,
) -> FixResult:
    """Write the state_dict of a checkpoint as `out`, a .safetensors or a .pt: what torch's state_dict() would give.

    Names that are one tensor stay one in a .pt; a .safetensors has each of them, and lists them as JSON in its metadata
    (`aliases`). Raises `ExportError` where there is no state_dict, several and no `top_level_key`, a tensor that the
    format cannot hold, or `out` cannot be written; it never writes over the checkpoint itself.
    """
    path = Path(out)
    format = _SUFFIXES.get(path.suffix.lower())
    if format is None:
        raise ExportError(
            "A state_dict is written as .safetensors or .pt.",
            path=str(path),
            next_step="Give the file one of these endings.",
            code="export-format",
        )
    chosen = _chosen(checkpoint, top_level_key)
    written = [(name, tensor) for name, tensor in chosen.tensors if carries(tensor)]
    twice = [name for name, n in Counter(name for name, _ in written).items() if n > 1]
    if twice:
        raise CollisionError(
            f"Several tensors have the name '{printable(twice[0], 120)}'.",
            path=checkpoint.path,
            cause="Different containers give them the same joined name. Nothing was changed.",
            next_step="Choose a top-level key below which the names differ.",
            code="collision",
        )
    items = [Item(name, tensor) for name, tensor in written]
    aliases = tuple(
        (item.name, items[first].name)
        for n, (item, first) in enumerate(zip(items, firsts(items), strict=True))
        if first != n
    )
    metadata = {"aliases": json.dumps(dict(aliases), separators=(",", ":"))} if aliases else {}
    file = files.weight_file(format, items, name=path.name, metadata=metadata)
    sources = [
        checkpoint.path,
        *{t.storage.source.path or "" for t in checkpoint.tensors if t.storage.source is not None},
    ]
    folder, meter = path.parent, Meter()
    with atomic.staged(
        folder, [path.name], overwrite=overwrite, sources=sources, needed=file.nbytes + _HEAD
    ) as staging:
        crcs = file.write(staging, meter)
        if verify:
            file.verify(staging, crcs, meter)
        nbytes = (staging / path.name).stat().st_size
    return FixResult(path, nbytes, chosen, aliases, tuple(_left_out(checkpoint, chosen)))


def _chosen(checkpoint: Checkpoint, top_level_key: str | None) -> StateDict:
    if top_level_key is not None:
        for each in state_dicts(checkpoint):
            if each.key == top_level_key:
                return each
        plan = Mapping(burn=None, top_level_key=top_level_key).plan(checkpoint)
        return StateDict((top_level_key,), "", tuple(zip(plan.originals, plan.tensors, strict=True)))
    found = state_dicts(checkpoint)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ExportError(
            "There is no state_dict in this file.",
            path=checkpoint.path,
            cause="It holds no dict of tensors and no model." if checkpoint.tensors else "It holds no tensors.",
            next_step="Choose a top-level key, if the weights are in a list." if checkpoint.tensors else "",
            code="no-state-dict",
        )
    listed = ", ".join(_words(each) for each in sorted(found, key=lambda each: -each.nbytes)[:_SHOWN])
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    raise ExportError(
        f"There are {len(found):,} state_dicts in this file.",
        path=checkpoint.path,
        cause=f"They lie under {listed}{more}.",
        next_step="Choose one of them (top_level_key=…, --top-level-key).",
        code="several-state-dicts",
    )


def _words(each: StateDict) -> str:
    what = f"whole model `{printable(each.class_path, 60)}`, " if each.class_path else ""
    size = f"{count_text(len(each.tensors), 'tensor')}, {bytes_text(each.nbytes)}"
    return f"{printable(each.key, 80)!r} ({what}{size})"


def _left_out(checkpoint: Checkpoint, chosen: StateDict) -> Iterator[tuple[str, str]]:
    taken = {id(tensor) for _, tensor in chosen.tensors}
    for _, tensor in chosen.tensors:
        if not carries(tensor):
            yield tensor.key, f"it cannot be read: {tensor.unreadable}"
    for tensor in checkpoint.tensors:
        if id(tensor) not in taken:
            yield tensor.key, "it is not part of the state_dict"
    for each in checkpoint.beside:
        yield each.tensor.key, each.reason
