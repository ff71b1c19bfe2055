"""Case: what all detectors look at, each thing computed once; and the words they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from workbench.burn import Reader, Sight, sight
from workbench.core.tree import Dict, Opaque, module_parts
from workbench.errors import printable

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.core.tensor import TensorRef
    from workbench.finding import Finding
    from workbench.mapping import Mapping, Plan
    from workbench.suggesting.engine import Suggestion

__all__ = ["MAX_KEYS", "PICKLED", "Case", "named", "patterns"]

MAX_KEYS: Final = 1000
"""Keys that one finding carries."""

PICKLED: Final = ("torch-zip", "torch-legacy", "torch-tar", "pickle")
_NUMBER: Final = re.compile(r"(?<![^.])[0-9]+(?![^.])")


class Case:
    """A plan, what is read of its checkpoint, and what its reader sees.

    `keys` are the names after the rules, row by row with `plan.originals` and `tensors`: a fault that a rule has
    mended is not found again.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.checkpoint: Checkpoint = plan.checkpoint
        self.mapping: Mapping = plan.mapping
        self.reader: Reader = plan.reader

    @property
    def keys(self) -> Sequence[str]:
        return self.plan.after_rules

    @property
    def tensors(self) -> Sequence[TensorRef]:
        return self.plan.tensors

    @property
    def reads_file(self) -> bool:
        """Whether Burn is to read this very file, and not what is exported from it."""
        return self.mapping.burn is not None and self.mapping.route == "original"

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each selected tensor by its key in the whole file."""
        return {tensor.key: row for row, tensor in enumerate(self.tensors) if bool(self.plan.selected[row])}

    @cached_property
    def wrapper_rules(self) -> tuple[Suggestion, ...]:
        """Rules that take out of `keys` what wrappers put there."""
        from workbench.suggesting import wrapper_rules

        return wrapper_rules(self.keys)

    @cached_property
    def key_set(self) -> frozenset[str]:
        """All `keys`."""
        return frozenset(self.keys)

    @cached_property
    def stems(self) -> dict[str, int]:
        """Final keys without what follows the parent of their last segments, each once with its first row.

        All list indices of the keys lie in these.
        """
        rows: dict[str, int] = {}
        for row, key in enumerate(self.plan.remapped):
            stem, _, last = key.rpartition(".")
            rows.setdefault(key if last.isdecimal() else stem, row)
        stems: dict[str, int] = {}
        for stem, row in rows.items():
            parent, _, last = stem.rpartition(".")
            stems.setdefault(stem if last.isdecimal() else parent, row)
        return stems

    @cached_property
    def sight(self) -> Sight:
        return sight(self.reader, self.checkpoint, self.mapping.top_level_key)

    @cached_property
    def seen(self) -> tuple[Finding, ...]:
        """What the reader of Burn makes of the file, nothing where it is not to read it."""
        return self.sight.findings if self.reads_file else ()

    @cached_property
    def model_roots(self) -> dict[str, str]:
        """Key and class path of each module that lies in no other one; "" is the key of the file itself."""
        modules = self.checkpoint.modules
        return {key: name for key, name in modules.items() if not any(parent in modules for parent in _parents(key))}

    @cached_property
    def dicts_with_tensors(self) -> tuple[str, ...]:
        """Top-level keys whose value is a plain dict with tensors, not a module."""
        tree = self.checkpoint.tree
        if not isinstance(tree, Dict):
            return ()
        plain = {
            str(key)
            for key, value in tree.pairs
            if isinstance(value, Dict) or (isinstance(value, Opaque) and module_parts(value) is None)
        }
        return tuple(each.key for each in self.checkpoint.top_level_keys if each.key in plain)

    def originals(self, rows: Iterable[int]) -> tuple[str, ...]:
        """The keys of the file of the first of `rows`."""
        found = []
        for row in rows:
            found.append(self.plan.originals[row])
            if len(found) == MAX_KEYS:
                break
        return tuple(found)


def _parents(key: str) -> Iterable[str]:
    if key:
        yield ""
    at = key.find(".")
    while at >= 0:
        yield key[:at]
        at = key.find(".", at + 1)


def patterns(keys: Iterable[str], limit: int = 3) -> str:
    """What many keys look like: each pattern once, numbers as `*`, with its count.

    >>> patterns(["a.0.w", "a.1.w", "b.w"])
    '`a.*.w` (2), `b.w`'
    """
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(_NUMBER.sub("*", key), []).append(key)
    most = sorted(groups.items(), key=lambda item: -len(item[1]))
    shown = [
        f"`{printable(pattern, 80)}` ({len(group):,})" if len(group) > 1 else f"`{printable(group[0], 80)}`"
        for pattern, group in most[:limit]
    ]
    more = sum(len(group) for _, group in most[limit:])
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def named(keys: Sequence[str], limit: int = 3) -> str:
    """A few keys by name; more than that by their patterns."""
    if len(keys) <= limit:
        return ", ".join(f"`{printable(key, 80)}`" for key in keys)
    return patterns(keys, limit)
