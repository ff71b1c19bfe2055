"""Table: which lines a view shows of a plan; what stands in them is said by its `Faces`."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.mapping import Plan, Status
from workbench.mapping.plan import STATUSES
from workbench.rows.cells import (
    RowDict,
    classes,
    tags_of,
)
from workbench.rows.faces import MAX_ROWS, Faces
from workbench.rows.outline import FOLDED, GROUP, NOTE, Item, Outline, natural
from workbench.rows.repeats import Repeats
from workbench.rows.sections import Section, extra_name, extras
from workbench.rows.view import View

__all__ = ["MAX_ROWS", "Table"]

_TWO_SCREENS = 60


class Table:
    """The lines of `plan` under `view`. `earlier` lends what the change left alone."""

    def __init__(self, plan: Plan, view: View, earlier: Table | None = None) -> None:
        self.plan = plan
        same_keys = earlier is not None and earlier.plan.originals is plan.originals
        if earlier is None or not same_keys:
            self.repeats = Repeats(plan.originals, plan.tensors)
            self.extras = extras(plan)
            self.classes = classes(plan)
            self._names: list[str] = []
            self._numbers: dict[str, int] = {}
            view = replace(view, open=None, closed=frozenset(), single=frozenset())
        else:
            self.repeats, self.extras = earlier.repeats, earlier.extras
            self.classes = earlier.classes
            self._names, self._numbers = earlier._names, earlier._numbers
            if "tags" in earlier.__dict__:
                self.tags = earlier.tags
        self.view = view
        if earlier is not None and earlier.plan is plan and "_searched" in earlier.__dict__:
            self._searched = earlier._searched
        self.found: npt.NDArray[np.bool_] | None = self._filter() if view.is_filtered else None
        self.outline = self._outline(earlier if same_keys else None)
        if view.open is None:
            self.view = view = replace(view, open=self.outline.opened_at_first(_TWO_SCREENS))
        elif earlier is not None and same_keys and self.outline is not earlier.outline:
            self.view = view = replace(view, open=view.open | self.outline.opened_anew(earlier.outline, view.open))
        self.lines: list[int]
        if earlier is not None and self._stands_still(earlier):
            self.lines = earlier.lines
        else:
            self.lines = self._lines()

    def _outline(self, earlier: Table | None) -> Outline:
        """The outline of `earlier` while the same blocks fold in it."""
        self.heads: dict[str, tuple[int, str, str]] = {}
        self.block_tags: dict[str, str] = {}
        if earlier is not None and (not self.repeats.any or self.view.arrangement != "nested"):
            self.heads, self.block_tags = earlier.heads, earlier.block_tags
            return earlier.outline
        arranged = self.repeats.arranged(self.plan, self.found, self.view.single)
        self.heads, self.block_tags = arranged.heads, arranged.tags
        if earlier is not None and earlier.outline.shows(arranged):
            return earlier.outline
        return Outline(arranged, self.repeats.differing if self.repeats.any else ())

    @cached_property
    def tags(self) -> dict[str, tuple[str, str]]:
        """A word on tensors that share their bytes with others, and which those are."""
        return tags_of(self.plan)

    def _stands_still(self, earlier: Table) -> bool:
        """Whether the lines are those of `earlier`: unfiltered, an edit of the rules moves only one arrangement."""
        view = self.view
        same = self.outline is earlier.outline and view == earlier.view
        return same and not view.is_filtered and view.arrangement != "flat-remapped"

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def n_found(self) -> int | None:
        """How many tensors the text to find is in; None where nothing is sought."""
        return int(self.found.sum()) if self.view.terms and self.found is not None else None

    @property
    def n_differs(self) -> int:
        """How many tensors differ from those of the other blocks; what the chip of that name shows."""
        return int(self.differs.sum()) if self.repeats.any else 0

    # ---- which lines ------------------------------------------------------------------------------

    def fold(self, line_id: str, *, open: bool, siblings: bool = False) -> View:
        """The view with a group open or shut; with `siblings` all groups beside that line, which may be a tensor."""
        outline, names = self.outline, set[str]()
        line, extra = self._outline_line(line_id), _number(line_id, "x:")
        if extra is not None and extra < len(self.extras):
            names.add(extra_name(extra))
        if line is not None:
            found = {line}
            if siblings:
                depth, first = outline[line].depth, line
                while first > 0 and outline[first - 1].depth >= depth:
                    first -= 1
                while first < len(outline) and outline[first].depth >= depth:
                    found.add(first)
                    first = outline[first].after
            names |= {outline[line].ident for line in found if outline[line].is_group}
        view = self.view
        if view.is_filtered:
            return replace(view, closed=view.closed - names if open else view.closed | names)
        before = view.open or frozenset()
        return replace(view, open=before | names if open else before - names)

    def toggle_repeat(self, line_id: str) -> View | None:
        """The view with the blocks around a line shown singly, or folded again; None where nothing repeats there."""
        line = self._outline_line(line_id)
        if line is None or self.view.arrangement != "nested":
            return None
        item, view = self.outline[line], self.view
        if item.fold >= 0:
            parent = self.outline.folds[item.fold].parent
            inside = {_group_name(f"{parent}.{n}" if parent else str(n)) for n in self.outline.folds[item.fold].numbers}
            opened = (view.open or frozenset()) | {_group_name(parent)}
            return replace(view, single=view.single | {parent}, open=opened, closed=view.closed - inside)
        around = [key for key in view.single if not key or item.real == key or item.real.startswith(f"{key}.")]
        return replace(view, single=view.single - {max(around, key=len)}) if around else None

    def is_open(self, name: str) -> bool:
        """Whether the group with this name is open."""
        return name not in self.view.closed if self.view.is_filtered else name in (self.view.open or ())

    def _outline_line(self, line_id: str) -> int | None:
        """The line of the outline that an id means; None where there is none."""
        row = _number(line_id, "t:")
        if row is not None:
            return self.outline.line_of.get(row)
        note = _number(line_id, "n:")
        if note is not None:
            line = self.outline.line_of.get(note)
            has_note = line is not None and line + 1 < len(self.outline) and self.outline[line + 1].row == NOTE
            return line + 1 if line is not None and has_note else None
        number = _number(line_id, line_id[:2]) if line_id[:2] in ("g:", "r:") else None
        known = number is not None and number < len(self._names)
        return self.outline.line_called.get(self._names[number]) if known and number is not None else None

    def ident(self, item: Item) -> str:
        """What the page calls a group or a folded tensor, as long as the file is open."""
        name = item.ident
        number = self._numbers.setdefault(name, len(self._names))
        if number == len(self._names):
            self._names.append(name)
        return f"{'g' if name[0] == 'g' else 'r'}:{number}"

    def item(self, line_id: str) -> Item | None:
        """The line of the outline with this id, None where there is none."""
        line = self._outline_line(line_id)
        return None if line is None else self.outline[line]

    def line_of(self, line_id: str) -> int:
        """The line that shows the row or group with this id; -1 where it is not shown."""
        extra, row = _number(line_id, "x:"), _number(line_id, "t:")
        wanted: int | None
        if self.view.arrangement != "nested":
            wanted = row
        else:
            wanted = self._outline_line(line_id) if extra is None else -1 - extra
        try:
            return -1 if wanted is None else self.lines.index(wanted)
        except ValueError:
            return -1

    def rows_of(self, line_id: str) -> list[int]:
        """The plan's rows that a line stands for: one for a tensor, all of a group or of a fold, none for others."""
        row = _number(line_id, "t:")
        if row is not None:
            return [row] if row < len(self.plan) else []
        item = self.item(line_id)
        return [] if item is None else [int(each) for each in self.outline.order[item.start : item.end]]

    def next_hit(self, start: int, direction: int) -> tuple[int, int]:
        """The line of the next found tensor from line `start` on, wrapping, and its number from 1; (-1, 0) if none."""
        if not self.view.terms:
            return -1, 0
        hits = [n for n, line in enumerate(self.lines) if self._n_hits(line)]
        if not hits:
            return -1, 0
        if direction >= 0:
            place = next((p for p, n in enumerate(hits) if n > start), 0)
        else:
            place = next((p for p in reversed(range(len(hits))) if hits[p] < start), len(hits) - 1)
        return hits[place], 1 + sum(self._n_hits(self.lines[n]) for n in hits[:place])

    def _lines(self) -> list[int]:
        """Lines of the outline (nested) or rows of the plan (flat); -1 - n stands for line n of the extras."""
        found = self.found
        if self.view.arrangement != "nested":
            order = self.order
            lines = order if found is None else [row for row in order if found[row]]
            return list(lines)
        outline = self.outline.lines
        filtered = self.view.is_filtered
        names = self.view.closed if filtered else self.view.open or frozenset()
        lines = []
        before: list[int] = []
        if found is not None:
            before = [0, *np.cumsum(found[self.order_array]).tolist()]
        line, n = 0, len(outline)
        while line < n:
            _, _, _, row, start, end, after, blocks, real, _ = outline[line]
            if found is not None and before[end] == before[start]:
                line = after
                continue
            lines.append(line)
            if row == GROUP and ((_group_name(real) if blocks == 1 else f"*{real}") in names) == filtered:
                line = after
            else:
                line += 1
        return lines + self._extra_lines()

    def _extra_lines(self) -> list[int]:
        if self.view.chip != "all":
            return []
        terms = self.view.terms
        lines: list[int] = []
        head, is_open = -1, False
        for n, extra in enumerate(self.extras):
            if isinstance(extra, Section):
                head, is_open = n, self.is_open(extra_name(n))
                if not terms:
                    lines.append(-1 - n)
            elif not terms or all(term in extra.searched for term in terms):
                if terms and head >= 0:
                    lines.append(-1 - head)
                    head = -1
                if is_open:
                    lines.append(-1 - n)
        return lines

    @cached_property
    def order(self) -> list[int]:
        """The rows of a flat arrangement, in order."""
        by = self.plan.originals if self.view.arrangement == "flat" else self.plan.remapped
        sort_keys = [natural(key) for key in by]
        return sorted(range(len(by)), key=sort_keys.__getitem__)

    @cached_property
    def order_array(self) -> npt.NDArray[np.int64]:
        return np.array(self.outline.order, np.int64)

    def _filter(self) -> npt.NDArray[np.bool_]:
        plan, view = self.plan, self.view
        found = np.ones(len(plan), np.bool_)
        if view.chip == "differs":
            found &= self.differs
        elif view.chip != "all":
            found &= plan.codes == STATUSES.index(Status(view.chip))
        if view.terms:
            for term in view.terms:
                found &= np.array([term in text for text in self._searched], np.bool_)
        return found

    @cached_property
    def _searched(self) -> list[str]:
        """Both keys of each row in lower case; a text to find has no line end, so it is never found across the two."""
        pairs = zip(self.plan.originals, self.plan.remapped, strict=True)
        return [original.lower() if original == key else f"{original}\n{key}".lower() for original, key in pairs]

    @cached_property
    def differs(self) -> npt.NDArray[np.bool_]:
        """Which rows differ from the same tensor of the other blocks, and are not cast to be like it."""
        return self.repeats.differs(self.plan)

    def _n_hits(self, line: int) -> int:
        """How many found tensors a line shows; 0 for groups and for what lies outside."""
        if self.found is None or not self.view.terms:
            return 0
        if self.view.arrangement != "nested":
            return int(self.found[line])
        if line < 0:
            return 0
        _, _, _, row, start, end, _, _, _, _ = self.outline.lines[line]
        if row >= 0:
            return int(self.found[row])
        return int(self.found[self.outline.order[start:end]].sum()) if row == FOLDED else 0

    def rows(self, start: int, stop: int) -> list[RowDict]:
        """Lines `start` to `stop` (at most `MAX_ROWS`) as the page shows them."""
        return self._faces.rows(start, stop)

    @cached_property
    def _faces(self) -> Faces:
        return Faces(self)


def _number(line_id: str, prefix: str) -> int | None:
    digits = line_id.removeprefix(prefix)
    return int(digits) if line_id.startswith(prefix) and digits.isdecimal() and len(digits) < 10 else None


def _group_name(key: str) -> str:
    return f"g{key}"
