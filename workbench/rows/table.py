"""Table: the lines a view shows of a plan, and what stands in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from workbench.core.text import bytes_text, count_text, shape_text
from workbench.mapping import Plan, Status
from workbench.mapping.marks import Part, changes
from workbench.mapping.plan import STATUSES
from workbench.rows.cells import (
    RowDict,
    aria,
    classes,
    common_segments,
    cut,
    dim,
    escaped,
    find_marked,
    only_said,
    tags_of,
)
from workbench.rows.numbers import braces, merged
from workbench.rows.outline import FOLDED, GROUP, NOTE, Item, Outline, natural
from workbench.rows.repeats import Repeats
from workbench.rows.sections import Section, extras
from workbench.rows.view import View

MAX_ROWS = 200
"""The most lines one call of `Table.rows` gives."""

_REINDEXED = STATUSES.index(Status.REINDEXED)
_TWO_SCREENS = 60
_MAX_TEXT = 2_000


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
        self._fold_texts: dict[int, str] = {}
        self.lines: list[int]
        if earlier is not None and self._stands_still(earlier):
            self.lines = earlier.lines
        else:
            self.lines = self._lines()

    def _outline(self, earlier: Table | None) -> Outline:
        """The outline of `earlier` while the same blocks fold in it."""
        self._heads: dict[str, tuple[int, str, str]] = {}
        self._block_tags: dict[str, str] = {}
        if earlier is not None and (not self.repeats.any or self.view.arrangement != "nested"):
            self._heads, self._block_tags = earlier._heads, earlier._block_tags
            return earlier.outline
        arranged = self.repeats.arranged(self.plan, self.found, self.view.single)
        self._heads, self._block_tags = arranged.heads, arranged.tags
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
            names.add(_extra_name(extra))
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

    def _id(self, item: Item) -> str:
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
            before = [0, *np.cumsum(found[self._order_array]).tolist()]
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
                head, is_open = n, self.is_open(_extra_name(n))
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
    def _order_array(self) -> npt.NDArray[np.int64]:
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

    # ---- what stands in a line --------------------------------------------------------------------

    def rows(self, start: int, stop: int) -> list[RowDict]:
        """Lines `start` to `stop` (at most `MAX_ROWS`) as the page shows them."""
        start = max(0, start)
        stop = min(stop, len(self), start + MAX_ROWS)
        nested = self.view.arrangement == "nested"
        rows = []
        for i in range(start, stop):
            line = self.lines[i]
            if not nested:
                rows.append(self._tensor(i, line, 0, 0))
            elif line < 0:
                rows.append(self._extra(i, -1 - line))
            else:
                rows.append(self._line(i, line))
        return rows

    def _line(self, i: int, line: int) -> RowDict:
        item = self.outline[line]
        if item.row == NOTE:
            return self._note(i, item)
        if item.row == FOLDED:
            return self._folded(i, item)
        return self._group(i, line) if item.is_group else self._tensor(i, item.row, item.shown, item.depth)

    def _tensor(self, i: int, row: int, shown: int, depth: int) -> RowDict:
        plan, nested = self.plan, self.view.arrangement == "nested"
        original, remapped, tensor = plan.originals[row], plan.remapped[row], plan.tensors[row]
        status = plan.status(row)
        tag, tag_title = self.tags.get(tensor.key, ("", ""))
        left, right = changes(original, remapped)
        label = cut(left, shown)
        parent = original[: max(0, shown if nested else 0)]
        target = dim(right, common_segments(parent, remapped))
        if self.view.arrangement == "flat-remapped" and i > 0 and plan.remapped[self.lines[i - 1]] == remapped:
            target = [("the same", "note")]
        if status is Status.SKIPPED:
            target = [("not exported", "note")]
        reason = plan.row(row).reason if status in (Status.SKIPPED, Status.COLLISION) else ""
        return RowDict(
            i=i,
            id=f"t:{row}",
            kind="tensor",
            depth=depth,
            open=False,
            key=escaped(original),
            remapped=escaped(remapped),
            tag=tag,
            tag_title=escaped(tag_title),
            note=self._class_of(owner) if len(owner := original.rpartition(".")[0]) >= max(shown, 1) else "",
            label=self._shown(label),
            target=self._shown(target),
            shape=shape_text(tensor.shape),
            dtype=tensor.dtype.name,
            size=bytes_text(tensor.nbytes),
            status=str(status),
            status_text=str(status),
            differs=self._differs_word(row),
            hit=self.found is not None and bool(self.view.terms) and bool(self.found[row]),
            reason=escaped(reason),
            aria=aria(original, remapped, tensor, str(status), differs=self._differs_word(row)),
        )

    def _differs_word(self, row: int) -> str:
        if not self.repeats.any:
            return ""
        one = self.repeats.differing.get(row)
        return one.kind if one is not None and one.kind != "block" and self.differs[row] else ""

    def _note(self, i: int, item: Item) -> RowDict:
        """The sentence below a tensor that is not as in the other blocks."""
        row = self.outline.order[item.start]
        one = self.repeats.differing[row]
        cast = self.plan.casts.get(row)
        mended = f" It is cast to {cast}." if cast else ""
        text = escaped(one.sentence + mended)
        key = escaped(self.plan.originals[row])
        return only_said(i, f"n:{row}", "note", item.depth, key=key, label=[(text, "")], aria=text)

    def _folded(self, i: int, item: Item) -> RowDict:
        """One tensor of folded blocks, for all of them."""
        plan = self.plan
        rows = self.outline.order[item.start : item.end]
        row, n = rows[0], item.end - item.start
        tensor, remapped = plan.tensors[row], self._merged(item)
        left, right = changes(item.key, remapped)
        worst, words = self._worst(item)
        status = STATUSES[worst]
        n_dim = common_segments(item.key[: item.shown], remapped)
        target: list[Part] = [("not exported", "note")] if status is Status.SKIPPED else dim(right, n_dim)
        reason = plan.row(row).reason if status in (Status.SKIPPED, Status.COLLISION) else ""
        found = int(self.found[rows].sum()) if self.found is not None and self.view.terms else 0
        said = str(status) if words == f"{n:,}" else words
        differs = self._differs_word(row)
        label = self._shown(cut(left, item.shown))
        return RowDict(
            i=i,
            id=self._id(item),
            kind="tensor",
            depth=item.depth,
            open=False,
            key=escaped(item.key),
            remapped=escaped(remapped),
            tag=f"×{n:,}" if "{" in item.key[item.shown :] else "",
            tag_title="",
            note="",
            label=label,
            target=self._shown(target),
            shape=shape_text(tensor.shape),
            dtype=tensor.dtype.name,
            size=f"{n:,} × {bytes_text(tensor.nbytes)}",
            status=str(status),
            status_text=said,
            differs=differs,
            hit=found > 0,
            reason=escaped(reason),
            aria=aria(item.key, remapped, tensor, said, times=n, differs=differs),
        )

    def _merged(self, item: Item) -> str:
        """The remapped key of folded tensors as one, numbers in braces."""
        counts, _ = self._totals
        if counts[0][item.end] - counts[0][item.start] == item.end - item.start:
            return item.key
        return self._braced(item, item.start, 1, 0)

    def _braced(self, item: Item, start: int, step: int, cut: int) -> str:
        """What the names of every `step`-th row from `start` on have become, without `cut` characters at the end.

        In a fold that lies in no other, its first two blocks say where the number stands.
        """
        order, names = self.outline.order, self.plan.remapped
        rows = order[start : start + step * item.n : step]
        if item.n != len(self.outline.folds[item.fold].numbers):
            return merged([name[: len(name) - cut] for name in (names[row] for row in rows)])
        first, second = (names[row][: len(names[row]) - cut].split(".") for row in rows[:2])
        places = [n for n, (one, two) in enumerate(zip(first, second, strict=True)) if one != two]
        if places:
            text = self._fold_texts.get(item.fold)
            if text is None:
                numbers = sorted(int(names[row].split(".")[places[0]]) for row in rows)
                text = self._fold_texts[item.fold] = braces(numbers)
            for place in places:
                first[place] = text
        return ".".join(first)

    def _worst(self, item: Item) -> tuple[int, str]:
        """The worst status below a line as a place in `STATUSES`, and how many have it."""
        counts, _ = self._totals
        n = item.end - item.start
        tally = [int(total[item.end] - total[item.start]) for total in counts]
        worst = max(code for code, number in enumerate(tally) if number)
        return worst, f"{tally[worst]:,} of {n:,}" if tally[worst] < n else f"{n:,}"

    def _group(self, i: int, line: int) -> RowDict:
        plan, item = self.plan, self.outline[line]
        counts, sizes = self._totals
        n = item.end - item.start
        worst, words = self._worst(item)
        moved = int(counts[0][item.end] - counts[0][item.start]) < n
        prefix = self._prefix(item, moved=moved) if item.n == 1 else self._fold_prefix(line, item, moved=moved)
        more, tag = self._repeated(line, item)
        label = cut(changes(item.key, prefix)[0] if prefix is not None else ((item.key, ""),), item.shown)
        if prefix is None:
            target: list[Part] = [("(several prefixes)", "note")]
        elif not prefix:
            target = [("(prefix removed)", "note")]
        else:
            target = [(text, mark or "dim") for text, mark in changes(item.key, prefix)[1]]
        if more:
            label.append((more, ""))
            if prefix and counts[_REINDEXED][item.start] == counts[_REINDEXED][item.end]:
                target.append((more, "dim"))
        dtypes = self._dtypes[self._order_array[item.start : item.end]]
        one_dtype = plan.tensors[self.outline.order[item.start]].dtype.name if (dtypes == dtypes[0]).all() else ""
        size = sizes[item.end] - sizes[item.start]
        status = str(STATUSES[worst])
        what = f"group of {count_text(n, 'tensor')}"
        becomes = f", becomes {prefix}" if prefix and prefix != item.key else ""
        return RowDict(
            i=i,
            id=self._id(item),
            kind="group",
            depth=item.depth,
            open=self.is_open(item.ident),
            key=escaped(item.key),
            remapped=escaped(prefix or ""),
            tag=tag,
            tag_title="",
            note=self._class_of_blocks(item),
            label=self._shown(label),
            target=self._shown(target),
            shape=count_text(n, "tensor") if item.n == 1 else f"{item.n:,} × {count_text(n // item.n, 'tensor')}",
            dtype=one_dtype,
            size=bytes_text(size),
            status=status,
            status_text=words,
            differs=self._n_differ(item),
            hit=False,
            reason="",
            aria=escaped(f"{item.key}{more}{becomes}, {f'{tag}, ' if tag else ''}{what}, {words} {status}"),
        )

    def _extra(self, i: int, n: int) -> RowDict:
        extra = self.extras[n]
        is_head = isinstance(extra, Section)
        key = extra.title if isinstance(extra, Section) else extra.key
        text = "" if isinstance(extra, Section) else extra.text
        status = "outside" if isinstance(extra, Section) else extra.status
        return RowDict(
            i=i,
            id=f"x:{n}",
            kind="group" if is_head else "tensor",
            depth=0 if is_head else 1,
            open=is_head and self.is_open(_extra_name(n)),
            key=escaped(key),
            remapped="",
            tag="",
            tag_title="",
            note="",
            label=self._shown([(key, "note" if is_head else "")]),
            target=self._shown([(text, "")]) if text else [],
            shape=extra.shape,
            dtype="" if isinstance(extra, Section) else escaped(extra.dtype[:60]),
            size=extra.size,
            status=status,
            status_text=f"{extra.n:,}" if isinstance(extra, Section) else status,
            differs="",
            hit=False,
            reason="" if isinstance(extra, Section) else escaped(extra.reason),
            aria=escaped(f"{key}, {text or extra.shape}, {'group' if is_head else 'not exported'}"),
        )

    @property
    def _dtypes(self) -> npt.NDArray[np.int64]:
        """A number for the dtype of each row."""
        return self.repeats.dtypes

    @cached_property
    def _totals(self) -> tuple[list[npt.NDArray[np.int64]], list[int]]:
        """Running totals along the outline's order: rows of each status, and bytes."""
        codes = self.plan.codes[self._order_array]
        counts = [np.concatenate(([0], np.cumsum(codes == code))) for code in range(len(STATUSES))]
        sizes = self.plan.sizes
        return counts, [0, *accumulate([sizes[row] for row in self.outline.order])]

    def _prefix(self, item: Item, *, moved: bool) -> str | None:
        """What a group's key becomes when all of its tensors move together; None where they part."""
        if not moved:
            return item.key
        cut, prefix = len(item.key), None
        for row in self.outline.order[item.start : item.end]:
            original, remapped = self.plan.originals[row], self.plan.remapped[row]
            tail = original[cut:]  # with its dot
            if prefix is None:
                if remapped == tail[1:]:
                    prefix = ""
                elif remapped.endswith(tail):
                    prefix = remapped[: len(remapped) - len(tail)]
                else:
                    return None
            elif (remapped != prefix + tail) if prefix else (remapped != tail[1:]):
                return None
        return prefix

    def _fold_prefix(self, line: int, item: Item, *, moved: bool) -> str | None:
        """What the key of a group in a fold becomes: that of its first block, with the numbers of all in braces."""
        if not moved:
            return item.key
        outline, names, prefix = self.outline, self.plan.remapped, ""
        first, tails = True, ""
        for at in range(line + 1, item.after):
            _, _, _, row, start, end, _, _, _, _ = outline.lines[at]
            if row in (GROUP, NOTE):
                continue
            for place in range(start, start + (end - start) // item.n):
                original, remapped = self.plan.originals[outline.order[place]], names[outline.order[place]]
                tail = original[len(item.real) :]
                here = "" if remapped == tail[1:] else remapped[: -len(tail)] if remapped.endswith(tail) else None
                if here is None or not (first or here == prefix):
                    return None
                if first:
                    first, prefix, tails, begin, step = False, here, tail, start, (end - start) // item.n
        if not prefix:
            return prefix
        return self._braced(item, begin, step, len(tails))

    def _repeated(self, line: int, item: Item) -> tuple[str, str]:
        """What a group of blocks adds to its key, and the word on a fold or on a block that differs."""
        if item.n > 1:
            is_head = "{" in item.key[item.shown :]
            return "", self.outline.folds[item.fold].tag if is_head else ""
        head = self._heads.get(item.real)
        if head is not None:
            n_lines, numbers, words = head
            below = sum(1 for _ in self._children(line, item, n_lines + 1))
            if below == n_lines:
                return f".{numbers}", words
        return "", self._block_tags.get(item.real, "")

    def _children(self, line: int, item: Item, most: int) -> Iterator[int]:
        """The first `most` lines right below a group, notes aside."""
        at, n = line + 1, 0
        while at < item.after and n < most:
            if self.outline.lines[at][3] != NOTE:
                n += 1
                yield at
            at = self.outline.lines[at][6]

    def _n_differ(self, item: Item) -> str:
        if item.n > 1 or item.real not in self._block_tags:
            return ""
        n = int(self.differs[self.outline.order[item.start : item.end]].sum())
        return f"{n:,} differ{'s' if n == 1 else ''}" if n else ""

    def _class_of_blocks(self, item: Item) -> str:
        """The class of a group, where folded blocks have one in common."""
        name = self._class_of(item.real)
        if item.n == 1 or not name:
            return name
        fold = self.outline.folds[item.fold]
        keys = (fold.block(number) + item.real[len(fold.first) :] for number in fold.numbers)
        return name if all(self._class_of(key) == name for key in keys) else ""

    def _class_of(self, key: str) -> str:
        """The class of the module with this key, without its package; "" where the file knows none."""
        path = self.classes.get(key, "")
        return escaped(path.rpartition(".")[2][:60])

    def _shown(self, parts: list[Part]) -> list[Part]:
        """Parts ready for the page: bounded, unprintable characters escaped, found text marked."""
        result: list[Part] = []
        room = _MAX_TEXT
        for text, mark in parts:
            if room <= 0:
                result.append(("…", "note"))
                break
            result.extend(find_marked(escaped(text[:room]), mark, self.view.terms))
            room -= len(text)
        return result


def _number(line_id: str, prefix: str) -> int | None:
    digits = line_id.removeprefix(prefix)
    return int(digits) if line_id.startswith(prefix) and digits.isdecimal() and len(digits) < 10 else None


def _group_name(key: str) -> str:
    return f"g{key}"


def _extra_name(n: int) -> str:
    return f"#{n}"
