"""Casts: tensors that are to get another dtype. None happens unless it is asked for here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workbench.core.tensor import DTYPES, TensorRef
from workbench.errors import MappingError, printable
from workbench.mapping import regex
from workbench.mapping.selection import Pick

__all__ = ["Cast", "casts_of", "float_casts", "is_float"]

_REAL: Final = tuple(
    name for name, dtype in DTYPES.items() if dtype.numpy is not None and not name.startswith(("complex", "q"))
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Tensors of dtype `from_dtype` (None: any) that `pick` means (None: all) become `dtype`.

    Raises `MappingError` for a dtype without real numbers that numpy can compute with.
    """

    dtype: str
    pick: Pick | None = None
    from_dtype: str | None = None

    def __post_init__(self) -> None:
        if self.pick is not None and not isinstance(self.pick, Pick):
            raise TypeError(f"Cast: pick must be a Pick or None, not {self.pick!r}")
        for name in (self.dtype,) if self.from_dtype is None else (self.dtype, self.from_dtype):
            if name not in _REAL:
                raise MappingError(
                    f"{printable(repr(name), 40)} is not a dtype that a cast knows.",
                    cause=f"Known are {', '.join(_REAL)}.",
                    next_step="Choose one of them.",
                    code="cast-dtype",
                )


def casts_of(
    casts: tuple[Cast, ...], column: regex.Keys, keys: Sequence[str], tensors: Sequence[TensorRef]
) -> dict[int, str]:
    """The rows that get another dtype, and which; a later cast outranks an earlier one."""
    wanted: dict[int, str] = {}
    for cast in casts:
        rows = range(len(keys)) if cast.pick is None else np.flatnonzero(cast.pick.finds(column, keys)).tolist()
        for row in rows:
            name = tensors[row].dtype.name
            if name in _REAL and cast.from_dtype in (None, name):
                wanted[row] = cast.dtype
    return {row: dtype for row, dtype in wanted.items() if tensors[row].dtype.name != dtype}


def float_casts(casts: Sequence[Cast], dtype: str | None, names: Iterable[str]) -> tuple[Cast, ...]:
    """`casts` with one to `dtype` for each float among `names`, in place of earlier ones of a dtype; None: none."""
    kept = [cast for cast in casts if cast.pick is not None or not is_float(cast.from_dtype)]
    if dtype is not None:
        Cast(dtype)  # Is refused also where the file has no floats.
        kept += [Cast(dtype, None, name) for name in names if is_float(name) and name in _REAL]
    return tuple(kept)


def is_float(dtype: str | None) -> bool:
    """Whether a dtype holds real numbers with a point."""
    return dtype is not None and dtype.startswith(("float", "bfloat"))
