"""Entry: one parameter that a model wants, as far as is known; and what its dtype makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal

from workbench.errors import WorkbenchError, printable

__all__ = ["MAX_ENTRIES", "Entry", "Kind", "kind_of", "target_error", "unskipped"]

Kind = Literal["float", "int", "bool"]

MAX_ENTRIES: Final = 1_000_000
"""Parameters that a target may have."""

_KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("float", "float"), ("bfloat", "float"), ("int", "int"), ("uint", "int"), ("bool", "bool"),
)  # fmt: skip
_ENUM: Final = "Enum:"


@dataclass(frozen=True, slots=True)
class Entry:
    """A parameter of the target; None where its source does not tell.

    `path` is the module's own name for it; `*` stands for the indices of a list of unknown length. `containers` names
    for each segment of the path what it is a part of ("Struct:Net", "Vec", "Enum:Kind", "Struct:Linear"), as Burn's
    derive does; empty where types are not known. An `optional` one may be absent from the model.
    """

    path: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    kind: Kind | None = None
    containers: tuple[str, ...] = ()
    optional: bool = False
    _: KW_ONLY
    rank: int | None = None

    @property
    def module_type(self) -> str:
        """The struct that the parameter is a field of ("Linear"); "" where it is not known."""
        for container in reversed(self.containers):
            if container.startswith("Struct:"):
                return container[7:]
        return ""


def kind_of(dtype: str) -> Kind | None:
    """float, int or bool; None for what is neither (complex, quantised).

    >>> kind_of("bfloat16"), kind_of("uint8"), kind_of("complex64")
    ('float', 'int', None)
    """
    return next((kind for start, kind in _KINDS if dtype.startswith(start)), None)


def unskipped(path: str, containers: Sequence[str]) -> str:
    """`path` without the names of enum variants.

    >>> unskipped("conv.Base.weight", ("Struct:Net", "Enum:Kind", "Struct:Conv2d"))
    'conv.weight'
    """
    if not any(container.startswith(_ENUM) for container in containers):
        return path
    segments = path.split(".")
    if len(segments) != len(containers):
        return path
    return ".".join(s for s, container in zip(segments, containers, strict=True) if not container.startswith(_ENUM))


def target_error(title: str, *, place: str = "", cause: str = "", next_step: str = "", code: str) -> WorkbenchError:
    """What is wrong with a target; whoever knows the file adds its path."""
    return WorkbenchError(
        printable(title, 400), place=place, cause=printable(cause, 400), next_step=next_step, code=code
    )
