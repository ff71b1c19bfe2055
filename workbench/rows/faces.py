"""Faces: what stands in each line of a table, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from workbench.core.text import bytes_text, count_text, listed_text, shape_text
from workbench.mapping import Status
from workbench.mapping.marks import Part, changes
from workbench.mapping.plan import STATUSES
from workbench.rows.cells import (
    RowDict,
    aria,
    common_segments,
    cut,
    dim,
    escaped,
    find_marked,
    only_said,
)
from workbench.rows.numbers import braces, merged
from workbench.rows.outline import FOLDED, GROUP, NOTE, Item
from workbench.rows.sections import Section, extra_name

if TYPE_CHECKING:
    from workbench.rows.table import Table

__all__ = ["MAX_ROWS", "Faces"]

MAX_ROWS: Final = 200
"""The most lines one call of `Faces.rows` gives."""

_REINDEXED: Final = STATUSES.index(Status.REINDEXED)
_MAX_TEXT: Final = 2_000


class Faces:
    """The lines of `table` in words."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._plan, self._outline, self._repeats = table.plan, table.outline, table.repeats
        self._found, self._view = table.found, table.view
        self._fold_texts: dict[int, str] = {}

    def rows(self, start: int, stop: int) -> list[RowDict]:
        """Lines `start` to `stop` (at most `MAX_ROWS`) as the page shows them."""
        start = max(0, start)
        stop = min(stop, len(self._table), start + MAX_ROWS)
        nested = self._view.arrangement == "nested"
        rows = []
        for i in range(start, stop):
            line = self._table.lines[i]
            if not nested:
                rows.append(self._tensor(i, line, 0, 0))
            elif line < 0:
                rows.append(self._extra(i, -1 - line))
            else:
                rows.append(self._line(i, line))
        return rows

    def _line(self, i: int, line: int) -> RowDict:
        item = self._outline[line]
        if item.row == NOTE:
            return self._note(i, item)
        if item.row == FOLDED:
            return self._folded(i, item)
        return self._group(i, line) if item.is_group else self._tensor(i, item.row, item.shown, item.depth)

    def _tensor(self, i: int, row: int, shown: int, depth: int) -> RowDict:
        plan, nested = self._plan, self._view.arrangement == "nested"
        original, remapped, tensor = plan.originals[row], plan.remapped[row], plan.tensors[row]
        status = plan.status(row)
        tag, tag_title = self._table.tags.get(tensor.key, ("", ""))
        left, right = changes(original, remapped)
        label = cut(left, shown)
        parent = original[: max(0, shown if nested else 0)]
        target = dim(right, common_segments(parent, remapped))
        if self._view.arrangement == "flat-remapped" and i > 0 and plan.remapped[self._table.lines[i - 1]] == remapped:
            target = [("the same", "note")]
        if status is Status.SKIPPED:
            target = [("not exported", "note")]
        reason = self._reason(row, status)
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
            hit=self._found is not None and bool(self._view.terms) and bool(self._found[row]),
            reason=escaped(reason),
            aria=aria(original, remapped, tensor, str(status), differs=self._differs_word(row)),
        )

    def _reason(self, row: int, status: Status) -> str:
        """Why a tensor is not exported, or what it is computed from."""
        if status in (Status.SKIPPED, Status.COLLISION):
            return self._plan.row(row).reason
        return f"folded from {listed_text(self._plan.folded[row])}" if row in self._plan.folded else ""

    def _differs_word(self, row: int) -> str:
        if not self._repeats.any:
            return ""
        one = self._repeats.differing.get(row)
        return one.kind if one is not None and one.kind != "block" and self._table.differs[row] else ""

    def _note(self, i: int, item: Item) -> RowDict:
        """The sentence below a tensor that is not as in the other blocks."""
        row = self._outline.order[item.start]
        one = self._repeats.differing[row]
        cast = self._plan.casts.get(row)
        mended = f" It is cast to {cast}." if cast else ""
        text = escaped(one.sentence + mended)
        key = escaped(self._plan.originals[row])
        return only_said(i, f"n:{row}", "note", item.depth, key=key, label=[(text, "")], aria=text)

    def _folded(self, i: int, item: Item) -> RowDict:
        """One tensor of folded blocks, for all of them."""
        plan = self._plan
        rows = self._outline.order[item.start : item.end]
        row, n = rows[0], item.end - item.start
        tensor, remapped = plan.tensors[row], self._merged(item)
        left, right = changes(item.key, remapped)
        worst, words = self._worst(item)
        status = STATUSES[worst]
        n_dim = common_segments(item.key[: item.shown], remapped)
        target: list[Part] = [("not exported", "note")] if status is Status.SKIPPED else dim(right, n_dim)
        reason = self._reason(row, status)
        found = int(self._found[rows].sum()) if self._found is not None and self._view.terms else 0
        said = str(status) if words == f"{n:,}" else words
        differs = self._differs_word(row)
        label = self._shown(cut(left, item.shown))
        return RowDict(
            i=i,
            id=self._table.ident(item),
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
        order, names = self._outline.order, self._plan.remapped
        rows = order[start : start + step * item.n : step]
        if item.n != len(self._outline.folds[item.fold].numbers):
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
        plan, item = self._plan, self._outline[line]
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
        dtypes = self._dtypes[self._table.order_array[item.start : item.end]]
        one_dtype = plan.tensors[self._outline.order[item.start]].dtype.name if (dtypes == dtypes[0]).all() else ""
        size = sizes[item.end] - sizes[item.start]
        status = str(STATUSES[worst])
        what = f"group of {count_text(n, 'tensor')}"
        becomes = f", becomes {prefix}" if prefix and prefix != item.key else ""
        return RowDict(
            i=i,
            id=self._table.ident(item),
            kind="group",
            depth=item.depth,
            open=self._table.is_open(item.ident),
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
        extra = self._table.extras[n]
        is_head = isinstance(extra, Section)
        key = extra.title if isinstance(extra, Section) else extra.key
        text = "" if isinstance(extra, Section) else extra.text
        status = "outside" if isinstance(extra, Section) else extra.status
        return RowDict(
            i=i,
            id=f"x:{n}",
            kind="group" if is_head else "tensor",
            depth=0 if is_head else 1,
            open=is_head and self._table.is_open(extra_name(n)),
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
        return self._repeats.dtypes

    @cached_property
    def _totals(self) -> tuple[list[npt.NDArray[np.int64]], list[int]]:
        """Running totals along the outline's order: rows of each status, and bytes."""
        codes = self._plan.codes[self._table.order_array]
        counts = [np.concatenate(([0], np.cumsum(codes == code))) for code in range(len(STATUSES))]
        sizes = self._plan.sizes
        return counts, [0, *accumulate([sizes[row] for row in self._outline.order])]

    def _prefix(self, item: Item, *, moved: bool) -> str | None:
        """What a group's key becomes when all of its tensors move together; None where they part."""
        if not moved:
            return item.key
        cut, prefix = len(item.key), None
        for row in self._outline.order[item.start : item.end]:
            original, remapped = self._plan.originals[row], self._plan.remapped[row]
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
        outline, names, prefix = self._outline, self._plan.remapped, ""
        first, tails = True, ""
        for at in range(line + 1, item.after):
            _, _, _, row, start, end, _, _, _, _ = outline.lines[at]
            if row in (GROUP, NOTE):
                continue
            for place in range(start, start + (end - start) // item.n):
                original, remapped = self._plan.originals[outline.order[place]], names[outline.order[place]]
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
            return "", self._outline.folds[item.fold].tag if is_head else ""
        head = self._table.heads.get(item.real)
        if head is not None:
            n_lines, numbers, words = head
            below = sum(1 for _ in self._children(line, item, n_lines + 1))
            if below == n_lines:
                return f".{numbers}", words
        return "", self._table.block_tags.get(item.real, "")

    def _children(self, line: int, item: Item, most: int) -> Iterator[int]:
        """The first `most` lines right below a group, notes aside."""
        at, n = line + 1, 0
        while at < item.after and n < most:
            if self._outline.lines[at][3] != NOTE:
                n += 1
                yield at
            at = self._outline.lines[at][6]

    def _n_differ(self, item: Item) -> str:
        if item.n > 1 or item.real not in self._table.block_tags:
            return ""
        n = int(self._table.differs[self._outline.order[item.start : item.end]].sum())
        return f"{n:,} differ{'s' if n == 1 else ''}" if n else ""

    def _class_of_blocks(self, item: Item) -> str:
        """The class of a group, where folded blocks have one in common."""
        name = self._class_of(item.real)
        if item.n == 1 or not name:
            return name
        fold = self._outline.folds[item.fold]
        keys = (fold.block(number) + item.real[len(fold.first) :] for number in fold.numbers)
        return name if all(self._class_of(key) == name for key in keys) else ""

    def _class_of(self, key: str) -> str:
        """The class of the module with this key, without its package; "" where the file knows none."""
        path = self._table.classes.get(key, "")
        return escaped(path.rpartition(".")[2][:60])

    def _shown(self, parts: list[Part]) -> list[Part]:
        """Parts ready for the page: bounded, unprintable characters escaped, found text marked."""
        result: list[Part] = []
        room = _MAX_TEXT
        for text, mark in parts:
            if room <= 0:
                result.append(("…", "note"))
                break
            result.extend(find_marked(escaped(text[:room]), mark, self._view.terms))
            room -= len(text)
        return result
