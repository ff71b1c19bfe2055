"""A clean file out of any checkpoint: the state_dict of a whole model, or the only state_dict there is."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.core.text import bytes_text, count_text
from workbench.errors import CollisionError, ExportError, printable
from workbench.exporting.single import write_single
from workbench.mapping import Mapping, folding
from workbench.state_dicts import StateDict, likeliest_first, state_dicts
from workbench.writing import files
from workbench.writing.items import Item, carries, firsts
from workbench.writing.progress import Cancel, Report

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = ["FixResult", "StateDict", "fix", "state_dicts"]

_SUFFIXES: Final = {".safetensors": "safetensors", ".pt": "pt", ".pth": "pt"}
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class FixResult:
    """The file written, what it holds, and what of the source it does not.

    `aliases` are pairs of a name and the earlier one that is the same tensor; `left_out` pairs of a key of the source
    and a clause that says why it is not in the file. `folded` are pairs of a name and the keys that its values were
    computed from, `not_folded` pairs of a name that stays in parts and a clause that says why.
    """

    path: Path
    nbytes: int
    state_dict: StateDict
    aliases: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    folded: tuple[tuple[str, tuple[str, ...]], ...] = ()
    not_folded: tuple[tuple[str, str], ...] = ()


def fix(
    checkpoint: Checkpoint,
    out: str | os.PathLike[str],
    *,
    top_level_key: str | None = None,
    fold: bool = False,
    overwrite: bool = False,
    verify: bool = True,
    progress: Report | None = None,
    cancel: Cancel | None = None,
) -> FixResult:
    """Write the state_dict of a checkpoint as `out`, a .safetensors or a .pt: what torch's state_dict() would give.

    Names that are one tensor stay one in a .pt; a .safetensors has each of them, and lists them as JSON in its metadata
    (`aliases`). With `fold`, weights that are stored in parts (weight_norm, spectral_norm, pruning) are plain ones, in
    the place where state_dict() has them after PyTorch's own removal. Raises `ExportError` where there is no
    state_dict, several and no `top_level_key`, a tensor that the format cannot hold, or `out` cannot be written; it
    never writes over the checkpoint itself.
    `progress` is called with a `Progress` now and then; where `cancel` says yes, `ExportCancelled` is raised.
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
    used: set[int] = set()
    found = None
    if fold:
        names, tensors = [name for name, _ in chosen.tensors], [tensor for _, tensor in chosen.tensors]
        found = folding.fold(names, tensors, checkpoint.modules)
        used = {id(chosen.tensors[row][1]) for row in (*found.parts, *found.gone)}
        chosen = replace(chosen, tensors=tuple((found.keys[row], found.tensors[row]) for row in found.in_order()))
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
    folded = tuple((found.keys[row], found.parts[row]) for row in sorted(found.parts)) if found is not None else ()
    notes = {"aliases": dict(aliases), "folded": dict(folded)}
    metadata = {name: json.dumps(note, separators=(",", ":")) for name, note in notes.items() if note}
    file = files.weight_file(format, items, name=path.name, metadata=metadata)
    nbytes = write_single(path, file, checkpoint, overwrite=overwrite, verify=verify, progress=progress, cancel=cancel)
    not_folded = () if found is None else tuple((each.name, each.refusal) for each in found.refused)
    left_out = tuple(_left_out(checkpoint, chosen, used))
    return FixResult(path, nbytes, chosen, aliases, left_out, folded, not_folded)


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
    listed = ", ".join(_words(each) for each in likeliest_first(found)[:_SHOWN])
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


def _left_out(checkpoint: Checkpoint, chosen: StateDict, used: set[int]) -> Iterator[tuple[str, str]]:
    """`used` are the ids of the tensors that went into folded ones."""
    taken = used | {id(tensor) for _, tensor in chosen.tensors}
    for _, tensor in chosen.tensors:
        if not carries(tensor):
            yield tensor.key, f"it cannot be read: {tensor.unreadable}"
    for tensor in checkpoint.tensors:
        if id(tensor) not in taken:
            yield tensor.key, "it is not part of the state_dict"
    for each in checkpoint.beside:
        yield each.tensor.key, each.reason
