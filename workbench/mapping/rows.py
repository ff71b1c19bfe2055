"""Row: one tensor of a plan, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workbench.core.tensor import TensorRef
    from workbench.mapping.layout import Operation

__all__ = ["STATUSES", "Row", "Status"]


class Status(StrEnum):
    """What becomes of a tensor; the later ones outrank the earlier ones."""

    UNCHANGED = "unchanged"
    REMAPPED = "remapped"
    REINDEXED = "reindexed"
    SKIPPED = "skipped"
    COLLISION = "collision"


STATUSES: Final[tuple[Status, ...]] = tuple(Status)


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor of the plan. `rules` counts from 0, disabled rules included; `reason` says why it is not exported.

    `layout` is what an adapter does to it, `target_key` the key that the target has for it after that, `cast` the
    dtype that it is to get ("": its own). `folded_from` are the keys of the parts that it is computed from.
    """

    original: str
    remapped: str
    tensor: TensorRef
    rules: tuple[int, ...]
    status: Status
    reason: str = ""
    layout: Operation = ""
    target_key: str = ""
    cast: str = ""
    folded_from: tuple[str, ...] = ()
