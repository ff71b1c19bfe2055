"""View: how the table is looked at; decided by the user, forgotten with the widget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from workbench.mapping import Status

ARRANGEMENTS: Final = ("nested", "flat", "flat-remapped")
CHIPS: Final = ("all", *(str(status) for status in Status), "differs")


@dataclass(frozen=True, slots=True)
class View:
    """Arrangement, filter and folds. `open` holds the names of open groups, None for a fresh table's folds.

    A filter (a chip or a text to find) opens all groups that hold a hit; `closed` holds those shut since. Below the
    keys in `single` each repeated block is shown by itself.
    """

    arrangement: str = "nested"
    chip: str = "all"
    find: str = ""
    open: frozenset[str] | None = None
    closed: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.arrangement not in ARRANGEMENTS:
            raise ValueError(f"arrangement must be one of {ARRANGEMENTS}, not {self.arrangement!r}")
        if self.chip not in CHIPS:
            raise ValueError(f"chip must be one of {CHIPS}, not {self.chip!r}")

    @property
    def terms(self) -> tuple[str, ...]:
        """What must all be found in a row, in lower case."""
        return tuple(self.find.lower().split())

    @property
    def is_filtered(self) -> bool:
        """Whether some rows are left out."""
        return self.chip != "all" or bool(self.terms)

    def changed(self, *, arrangement: str | None = None, chip: str | None = None, find: str | None = None) -> View:
        """The view with another arrangement, chip or text to find; folds made under the old filter are forgotten."""
        new = replace(
            self,
            arrangement=self.arrangement if arrangement is None else arrangement,
            chip=self.chip if chip is None else chip,
            find=self.find if find is None else find,
        )
        same_filter = (new.chip, new.terms) == (self.chip, self.terms)
        return new if same_filter else replace(new, closed=frozenset())
