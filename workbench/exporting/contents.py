"""Content: the tensors of a plan as one format has them, which of them are tied, and what is changed in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from workbench.errors import CollisionError, ExportError, printable
from workbench.mapping.rows import STATUSES, Status
from workbench.writing.items import Item, firsts

if TYPE_CHECKING:
    from workbench.mapping import Collision, Plan

__all__ = ["BURN_LAYOUT", "KEEPS_TIES", "Content", "Contents", "Ties"]

Ties: TypeAlias = Literal["twice", "once"]

BURN_LAYOUT: Final = ("bpk", "mpk")
"""The formats that are Burn's own: Linear weights transposed and norms renamed, where types of modules are known."""

KEEPS_TIES: Final = ("pt", "mpk")
"""A .pt has one storage under both names; a record of Burn has no place for an alias, and none to be left out of."""

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Content:
    """`items` are all tensors that are exported, row by row; `tied` gives of a name the earlier one that is the same.

    `written` are those that stand in the file: without the tied ones, where they are written once.
    """

    items: tuple[Item, ...]
    tied: dict[str, str]
    written: tuple[Item, ...]

    @property
    def left_out(self) -> dict[str, str]:
        """The tied names that are not in the file, and those they are tied to."""
        return self.tied if len(self.written) < len(self.items) else {}


class Contents:
    """What an export of `plan` holds, by format. Raises `CollisionError` while two tensors claim one name.

    So does one tensor that has the name of others' parent, unless the names are `flat`, to be nested by nobody.
    """

    def __init__(self, plan: Plan, ties: Ties = "twice", *, flat: bool = False) -> None:
        if ties not in ("twice", "once"):
            raise ExportError(
                f"Tied tensors are written once or twice, not {printable(repr(ties), 40)}.",
                next_step="Choose one of them.",
                code="export-ties",
            )
        collisions = [each for each in plan.collisions if not flat or each.kind == "same"]
        if collisions:
            raise _blocked(collisions)
        self.plan = plan
        self.ties: Ties = ties

    def of(self, format: str) -> Content:
        """The tensors of a file of that format."""
        common, tied = self._burn if format in BURN_LAYOUT else self._common
        once = self.ties == "once" and format not in KEEPS_TIES
        written = tuple(item for item in common if item.name not in tied) if once else common
        return Content(common, tied, written)

    @cached_property
    def common(self) -> Content:
        """The tensors of all formats that are not Burn's own."""
        return self.of("")

    @cached_property
    def burn(self) -> Plan:
        """The plan of a file that is Burn's own. Raises `CollisionError`."""
        plan = self.plan.in_burn
        if plan.collisions:
            raise _blocked(plan.collisions)
        return plan

    @cached_property
    def kept(self) -> Sequence[int]:
        """The rows that are exported."""
        skipped = STATUSES.index(Status.SKIPPED)
        return [row for row, code in enumerate(self.plan.codes.tolist()) if code != skipped]

    @cached_property
    def _common(self) -> tuple[tuple[Item, ...], dict[str, str]]:
        """Layouts are adapted here only if Burn reads this export, and not the original."""
        plan = self.plan
        adapts = plan.mapping.route == "exported"
        names, tensors, casts = plan.remapped, list(plan.tensors), plan.casts
        found = []
        for row in self.kept:
            tensor, cast = tensors[row], casts.get(row, "")
            if adapts:
                found.append(Item(plan.adapted_key(row), tensor, plan.layout(row) == "transpose", cast))
            else:
                found.append(Item(names[row], tensor, cast=cast))
        return _checked(found)

    @cached_property
    def _burn(self) -> tuple[tuple[Item, ...], dict[str, str]]:
        plan = self.burn
        tensors, casts = list(plan.tensors), plan.casts
        return _checked(
            [
                Item(plan.target_key(row), tensors[row], plan.layout(row) == "transpose", casts.get(row, ""))
                for row in self.kept
            ]
        )

    def changes(self, format: str, name: str) -> Iterator[str]:
        """A line for each tensor of the file `name` whose values, name or layout are not those of the mapping's names.

        The file is named where its format is Burn's own, for the others are alike. What could not be decided is said.
        """
        content = self.of(format)
        start = f"{name}: " if format in BURN_LAYOUT else ""
        names = [self.plan.remapped[row] for row in self.kept]
        for remapped, item in zip(names, content.items, strict=True):
            said = []
            if item.cast:
                said.append(f"cast from {item.tensor.dtype.name} to {item.cast}")
            if item.transposed:
                said.append("transposed")
            if item.name != remapped:
                said.append(f"named {item.name}")
            if said:
                yield f"{start}{remapped}: {' and '.join(said)}"
        for alias, first in content.left_out.items():
            missing = "; Burn will call it missing" if format in BURN_LAYOUT else ""
            yield f"{start}{alias}: tied to {first}, so not written again{missing}"
        if format in BURN_LAYOUT and (undecided := self.undecided(format)):
            more = f" and {len(undecided) - _SHOWN:,} more" if len(undecided) > _SHOWN else ""
            yield (
                f"{name}: left in PyTorch's layout, for the type of their modules is not known: "
                f"{', '.join(undecided[:_SHOWN])}{more}. "
                "Give the target or mark the modules: those of a Linear are then transposed."
            )

    def undecided(self, format: str) -> list[str]:
        """Matrices of modules of unknown type; a square one that should be transposed loads without an error."""
        if self.plan.checkpoint.format in ("burnpack", "mpk") or self.plan.mapping.layout.adapt is False:
            return []
        found = []
        for row, item in zip(self.kept, self.of(format).items, strict=True):
            is_left = item.name == self.plan.remapped[row] and not item.transposed
            if is_left and item.name.endswith("weight") and len(item.shape) == 2 and not self.plan.knows_type(row):
                found.append(item.name)
        return found


def _checked(items: Sequence[Item]) -> tuple[tuple[Item, ...], dict[str, str]]:
    _check_names(items)
    return tuple(items), {
        item.name: items[first].name
        for n, (item, first) in enumerate(zip(items, firsts(items), strict=True))
        if first != n
    }


def _check_names(items: Iterable[Item]) -> None:
    """An adapter may give a tensor the name that another one has already."""
    twice = [name for name, n in Counter(item.name for item in items).items() if n > 1]
    if twice:
        raise CollisionError(
            f"Export is blocked: '{printable(twice[0], 120)}' is claimed more than once.",
            cause="The adapter gives one tensor the name that another one has. Nothing was changed.",
            next_step="Leave one of them out, or rename it with a rule.",
            code="collision",
        )


def _blocked(collisions: Iterable[Collision]) -> CollisionError:
    collisions = list(collisions)
    shown = "; ".join(_collision_words(collision) for collision in collisions[:_SHOWN])
    more = f"; and {len(collisions) - _SHOWN:,} more" if len(collisions) > _SHOWN else ""
    claimed = "one remapped key is" if len(collisions) == 1 else f"{len(collisions):,} remapped keys are"
    return CollisionError(
        f"Export is blocked: {claimed} claimed more than once.",
        cause=f"{shown}{more}. Nothing was changed.",
        next_step="Change a rule so that every tensor keeps a name of its own.",
        code="collision",
    )


def _collision_words(collision: Collision) -> str:
    names = [f"'{printable(name, 120)}'" for name in collision.originals[:_SHOWN]]
    more = f" and {len(collision.originals) - _SHOWN:,} more" if len(collision.originals) > _SHOWN else ""
    short = printable(collision.remapped, 120)
    if collision.kind == "prefix":
        others = f"{', '.join(names[1:])}{more}"
        return f"'{short}' is the name of a tensor ({names[0]}) and the beginning of others ({others})"
    return f"'{short}' comes from {', '.join(names)}{more}"
