"""What every format hands back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final, cast

from workbench.core.beside import Beside, beside_of, objects_and_repeats, objects_of
from workbench.core.tensor import TensorRef, give_keys
from workbench.core.text import shape_text
from workbench.core.tree import MAX_ROW_TEXT, MAX_ROWS, Dict, Opaque, module_parts, walk
from workbench.core.written import Written
from workbench.errors import printable
from workbench.finding import Finding, Severity

__all__ = [
    "Contents",
    "beside_the_table",
    "findings_beside",
    "findings_of_hooks",
    "fingerprint",
    "table",
]

_MAX_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Contents:
    """A file, opened: its tree, its tensors in file order, and what its reader noticed."""

    format: str
    tree: object = field(repr=False)
    tensors: Sequence[TensorRef] = field(repr=False)
    findings: tuple[Finding, ...]
    metadata: dict[str, str]
    fingerprint: str
    beside: tuple[Beside, ...] = field(default=(), repr=False)
    """Tensors that no state_dict() names."""
    names: dict[str, str] = field(default_factory=dict, repr=False)
    """What each class or function that a pickle of the file names is: "needed for tensors", "inert", "unknown" or
    "dangerous"."""
    written: Written = field(default_factory=Written, repr=False)


def fingerprint(*parts: bytes) -> str:
    """One name for the metadata bytes of a file: ``sha256:`` and 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def table(tree: object) -> tuple[TensorRef, ...]:
    """The tensors of a tree with their joined keys, in file order: the very ones in it, and copies of those that stand
    in several places of it."""
    flat = _flat(tree)
    if flat is not None:
        return flat
    rows = []
    for path, of in walk(tree):
        key = ".".join(map(str, path))
        if of.path or not path:
            of = replace(of, key=key, path=path)
        else:
            give_keys((of,), (key,), (path,))
        rows.append(of)
    return tuple(rows)


def _flat(tree: object) -> tuple[TensorRef, ...] | None:
    """The same, quickly, of a mapping of names to new tensors and nothing else, far below the limits; else None."""
    if type(tree) is not Dict or not 0 < len(tree) <= MAX_ROWS // 5:
        return None
    keys, nodes = tree.columns
    if set(map(type, keys)) != {str} or set(map(type, nodes)) != {TensorRef}:
        return None
    tensors = cast(tuple[TensorRef, ...], nodes)
    names = cast(tuple[str, ...], keys)
    if len(set(map(id, tensors))) < len(tensors) or any(map(attrgetter("path"), tensors)):
        return None
    if 4 * sum(map(len, names)) > MAX_ROW_TEXT:
        return None
    give_keys(tensors, names, zip(names, strict=True))
    return tensors


def beside_the_table(tree: object) -> tuple[tuple[Beside, ...], list[Finding]]:
    """The tensors that no state_dict() names; findings of them, and of hooks that could change its names."""
    objects, n_repeated = objects_and_repeats(tree)
    findings = []
    if n_repeated:
        what = "1 key of a mapping is" if n_repeated == 1 else f"{n_repeated:,} keys of mappings are"
        text = f"{what} set twice; the last value counts, as in torch.load."
        findings.append(Finding("repeated-key", Severity.WARNING, "", text))
    if not objects:
        return (), findings
    beside, n = beside_of(tree)
    return beside, [*findings, *findings_beside(beside, n), *findings_of_hooks(tree)]


def findings_beside(beside: tuple[Beside, ...], n_all: int) -> list[Finding]:
    """The tensors of a file that no state_dict() names, the first of them one by one."""
    found = []
    for each in beside[:_MAX_LISTED]:
        key = printable(each.tensor.key, 120)
        text = (
            f"The tensor `{key}` ({each.tensor.dtype.name}, {shape_text(each.tensor.shape)}) is in the file, but in no "
            f"state_dict(): {each.reason}."
        )
        found.append(Finding("tensors-in-object", Severity.NOTE, f"object {key}", text))
    if n_all > len(found):
        text = f"{n_all - len(found):,} more tensors are in no state_dict()."
        found.append(Finding("tensors-in-object", Severity.NOTE, "", text))
    return found


def findings_of_hooks(tree: object) -> list[Finding]:
    """Modules whose own code may change what their state_dict() holds when torch makes it; that code is not run."""
    owners = [node.class_path for node in objects_of(tree) if module_parts(node) is not None and _has_hooks(node)]
    n = len(owners)
    if not n:
        return []
    shown = ", ".join(f"`{printable(owner, 80)}`" for owner in list(dict.fromkeys(owners))[:3])
    what = "1 module has" if n == 1 else f"{n:,} modules have"
    text = (
        f"{what} hooks that may rename or drop entries of the state_dict(): {shown}. "
        "They are not run: the names here are those before the hooks."
    )
    return [Finding("state-dict-hooks", Severity.NOTE, "", text)]


def _has_hooks(module: Opaque) -> bool:
    hooks = module.state.get("_state_dict_hooks") if isinstance(module.state, Dict) else None
    hooks = hooks.pairs if isinstance(hooks, Opaque) else hooks
    return isinstance(hooks, Dict) and len(hooks) > 0
