"""Table: the lines a view shows of a plan, and what stands in each."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from workbench.core.tensor import TensorRef
from workbench.core.text import bytes_text, count_text, shape_text
from workbench.errors import printable
from workbench.mapping import Plan, Status
from workbench.mapping.marks import Part, changes
from workbench.mapping.plan import STATUSES
from workbench.rows.outline import Item, Outline, natural
from workbench.rows.sections import Section, extras
from workbench.rows.view import View

MAX_ROWS = 200
"""The most lines one call of `Table.rows` gives."""

_TWO_SCREENS = 60
_MAX_TEXT = 2_000


class RowDict(TypedDict):
    """One line as the page gets it; the fields are described in widgets/wire.py."""

    i: int
    id: str
    kind: str
    depth: int
    open: bool
    key: str
    remapped: str
    note: str
    tag: str
    tag_title: str
    label: list[Part]
    target: list[Part]
    shape: str
    dtype: str
    size: str
    status: str
    status_text: str
    hit: bool
    reason: str
    aria: str


class Table:
    """The lines of `plan` under `view`. `earlier` lends what the change left alone."""

    def __init__(self, plan: Plan, view: View, earlier: Table | None = None) -> None:
        self.plan = plan
        same_keys = earlier is not None and earlier.plan.originals is plan.originals
        if earlier is None or not same_keys:
            self.outline = Outline(plan.originals)
            self.extras = extras(plan)
            self.classes = _classes(plan)
            self.tags = _tags(plan)
            view = replace(view, open=None, closed=frozenset())
        else:
            self.outline, self.extras = earlier.outline, earlier.extras
            self.classes, self.tags = earlier.classes, earlier.tags
        if view.open is None:
            view = replace(view, open=self.outline.opened_at_first(_TWO_SCREENS))
        self.view = view
        if earlier is not None and earlier.plan is plan and "_searched" in earlier.__dict__:
            self._searched = earlier._searched
        self.found: npt.NDArray[np.bool_] | None = self._filter() if view.is_filtered else None
        self.lines: list[int]
        if earlier is not None and same_keys and self._stands_still(earlier):
            self.lines = earlier.lines
        else:
            self.lines = self._lines()

    def _stands_still(self, earlier: Table) -> bool:
        """Whether the lines are those of `earlier`: unfiltered, an edit of the rules moves only one arrangement."""
        view = self.view
        return view == earlier.view and not view.is_filtered and view.arrangement != "flat-remapped"

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def n_found(self) -> int | None:
        """How many tensors the text to find is in; None where nothing is sought."""
        return int(self.found.sum()) if self.view.terms and self.found is not None else None

    # ---- which lines ------------------------------------------------------------------------------

    def fold(self, line_id: str, *, open: bool, siblings: bool = False) -> View:
        """The view with a group open or shut; with `siblings` all groups beside that line, which may be a tensor."""
        outline, lines = self.outline, set[int]()
        row, line, extra = _number(line_id, "t:"), _number(line_id, "g:"), _number(line_id, "x:")
        if row is not None:
            line = self.outline.line_of.get(row)
        if extra is not None and extra < len(self.extras):
            lines.add(-1 - extra)
        if line is not None and line < len(outline):
            if siblings:
                depth, first = outline[line].depth, line
                while first > 0 and outline[first - 1].depth >= depth:
                    first -= 1
                while first < len(outline) and outline[first].depth >= depth:
                    lines.add(first)
                    first = outline[first].after
            lines = {line for line in {*lines, line} if outline[line].is_group}
        view = self.view
        if view.is_filtered:
            return replace(view, closed=view.closed - lines if open else view.closed | lines)
        before = view.open or frozenset()
        return replace(view, open=before | lines if open else before - lines)

    def is_open(self, line: int) -> bool:
        """Whether the group at `line` of the outline is open."""
        return line not in self.view.closed if self.view.is_filtered else line in (self.view.open or ())

    def line_of(self, line_id: str) -> int:
        """The line that shows the row or group with this id; -1 where it is not shown."""
        row, group, extra = _number(line_id, "t:"), _number(line_id, "g:"), _number(line_id, "x:")
        wanted: int | None = None
        if row is not None:
            wanted = self.outline.line_of.get(row) if self.view.arrangement == "nested" else row
        elif self.view.arrangement == "nested":
            wanted = group if extra is None else -1 - extra
        try:
            return -1 if wanted is None else self.lines.index(wanted)
        except ValueError:
            return -1

    def rows_of(self, line_id: str) -> list[int]:
        """The plan's rows that a line stands for: one for a tensor, all of a group, none for what is beside."""
        row, group = _number(line_id, "t:"), _number(line_id, "g:")
        if row is not None and row < len(self.plan):
            return [row]
        if group is not None and group < len(self.outline):
            item = self.outline[group]
            return [int(each) for each in self.outline.order[item.start : item.end]]
        return []

    def next_hit(self, start: int, direction: int) -> tuple[int, int]:
        """The line of the next found tensor from line `start` on, wrapping, and its number from 1; (-1, 0) if none."""
        hits = [n for n, line in enumerate(self.lines) if self._row(line) is not None and self._is_hit(line)]
        if not hits:
            return -1, 0
        if direction >= 0:
            place = next((p for p, n in enumerate(hits) if n > start), 0)
        else:
            place = next((p for p in reversed(range(len(hits))) if hits[p] < start), len(hits) - 1)
        return hits[place], place + 1

    def _lines(self) -> list[int]:
        """Lines of the outline (nested) or rows of the plan (flat); -1 - n stands for line n of the extras."""
        found = self.found
        if self.view.arrangement != "nested":
            order = self.order
            lines = order if found is None else [row for row in order if found[row]]
            return list(lines)
        outline = self.outline.lines
        shut, opened = self.view.closed, self.view.open or frozenset()
        lines = []
        before: list[int] = []
        if found is not None:
            before = [0, *np.cumsum(found[self._order_array]).tolist()]
        line, n = 0, len(outline)
        while line < n:
            _, _, _, row, start, end, after = outline[line]
            if found is not None and before[end] == before[start]:
                line = after
                continue
            lines.append(line)
            if row < 0 and (line in shut if found is not None else line not in opened):
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
                head, is_open = n, self.is_open(-1 - n)
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
        if view.chip != "all":
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

    def _row(self, line: int) -> int | None:
        """The plan's row that a line shows; None for groups and for what lies outside."""
        if self.view.arrangement != "nested":
            return line
        if line < 0:
            return None
        row = self.outline[line].row
        return row if row >= 0 else None

    def _is_hit(self, line: int) -> bool:
        row = self._row(line)
        return bool(self.view.terms) and row is not None and self.found is not None and bool(self.found[row])

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
                item = self.outline[line]
                rows.append(
                    self._group(i, line) if item.is_group else self._tensor(i, item.row, item.shown, item.depth)
                )
        return rows

    def _tensor(self, i: int, row: int, shown: int, depth: int) -> RowDict:
        plan, nested = self.plan, self.view.arrangement == "nested"
        original, remapped, tensor = plan.originals[row], plan.remapped[row], plan.tensors[row]
        status = plan.status(row)
        tag, tag_title = self.tags.get(tensor.key, ("", ""))
        left, right = changes(original, remapped)
        label = _cut(left, shown)
        parent = original[: max(0, shown if nested else 0)]
        target = _dim(right, _common_segments(parent, remapped))
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
            key=_text(original),
            remapped=_text(remapped),
            tag=tag,
            tag_title=_text(tag_title),
            note=self._class_of(owner) if len(owner := original.rpartition(".")[0]) >= max(shown, 1) else "",
            label=self._shown(label),
            target=self._shown(target),
            shape=shape_text(tensor.shape),
            dtype=tensor.dtype.name,
            size=bytes_text(tensor.nbytes),
            status=str(status),
            status_text=str(status),
            hit=self.found is not None and bool(self.view.terms) and bool(self.found[row]),
            reason=_text(reason),
            aria=_aria(original, remapped, tensor, str(status)),
        )

    def _group(self, i: int, line: int) -> RowDict:
        plan, item = self.plan, self.outline[line]
        counts, sizes = self._totals
        n = item.end - item.start
        tally = [int(total[item.end] - total[item.start]) for total in counts]
        worst = max(code for code, number in enumerate(tally) if number)
        prefix = self._prefix(item, moved=tally[0] < n)
        label = _cut(changes(item.key, prefix)[0] if prefix is not None else ((item.key, ""),), item.shown)
        if prefix is None:
            target: list[Part] = [("(several prefixes)", "note")]
        elif not prefix:
            target = [("(prefix removed)", "note")]
        else:
            target = [(text, mark or "dim") for text, mark in changes(item.key, prefix)[1]]
        dtypes = {plan.tensors[row].dtype.name for row in self.outline.order[item.start : item.end]}
        size = sizes[item.end] - sizes[item.start]
        words = f"{tally[worst]:,} of {n:,}" if tally[worst] < n else f"{n:,}"
        status = str(STATUSES[worst])
        becomes = f", becomes {prefix}" if prefix and prefix != item.key else ""
        return RowDict(
            i=i,
            id=f"g:{line}",
            kind="group",
            depth=item.depth,
            open=self.is_open(line),
            key=_text(item.key),
            remapped=_text(prefix or ""),
            tag="",
            tag_title="",
            note=self._class_of(item.key),
            label=self._shown(label),
            target=self._shown(target),
            shape=count_text(n, "tensor"),
            dtype=dtypes.pop() if len(dtypes) == 1 else "",
            size=bytes_text(size),
            status=status,
            status_text=words,
            hit=False,
            reason="",
            aria=_text(f"{item.key}{becomes}, group of {count_text(n, 'tensor')}, {words} {status}"),
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
            open=is_head and self.is_open(-1 - n),
            key=_text(key),
            remapped="",
            tag="",
            tag_title="",
            note="",
            label=self._shown([(key, "note" if is_head else "")]),
            target=self._shown([(text, "")]) if text else [],
            shape=extra.shape,
            dtype="" if isinstance(extra, Section) else _text(extra.dtype[:60]),
            size=extra.size,
            status=status,
            status_text=f"{extra.n:,}" if isinstance(extra, Section) else status,
            hit=False,
            reason="" if isinstance(extra, Section) else _text(extra.reason),
            aria=_text(f"{key}, {text or extra.shape}, {'group' if is_head else 'not exported'}"),
        )

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

    def _class_of(self, key: str) -> str:
        """The class of the module with this key, without its package; "" where the file knows none."""
        path = self.classes.get(key, "")
        return _text(path.rpartition(".")[2][:60])

    def _shown(self, parts: list[Part]) -> list[Part]:
        """Parts ready for the page: bounded, unprintable characters escaped, found text marked."""
        result: list[Part] = []
        room = _MAX_TEXT
        for text, mark in parts:
            if room <= 0:
                result.append(("…", "note"))
                break
            result.extend(_find_marked(_text(text[:room]), mark, self.view.terms))
            room -= len(text)
        return result


def _classes(plan: Plan) -> dict[str, str]:
    """Classes of modules by key, as the keys of the plan stand: below its top-level key."""
    classes = plan.checkpoint.modules
    top = plan.mapping.top_level_key
    if top is None:
        return classes
    return {key[len(top) + 1 :]: path for key, path in classes.items() if key.startswith(f"{top}.")}


def _tags(plan: Plan) -> dict[str, tuple[str, str]]:
    """A word on tensors that share their bytes with others, and which those are; by the tensor's key in the file."""
    tags: dict[str, tuple[str, str]] = {}
    for shared in plan.checkpoint.views:
        more = len(shared.tensors) - 1
        for n, tensor in enumerate(shared.tensors):
            other = shared.tensors[0 if n else 1].key
            others = other if more == 1 else f"{other} and {more - 1:,} more"
            how = "overlaps" if shared.overlapping else "lies in one storage with"
            tags[tensor.key] = ("view", f"{how} {others[:200]}")
    for group in plan.checkpoint.ties:
        for n, key in enumerate(group):
            other = group[0 if n else 1]
            others = other if len(group) == 2 else f"{other} and {len(group) - 2:,} more"
            tags[key] = (f"tied ×{len(group)}", f"the very same values as {others[:200]}")
    return tags


def _find_marked(text: str, mark: str, terms: tuple[str, ...]) -> list[Part]:
    """`text` in pieces, those that match a term marked "find"; struck and new parts keep their mark."""
    part: Part = (text, mark)  # type: ignore[assignment]
    lowered = text.lower()
    if not terms or mark not in ("", "dim") or len(lowered) != len(text):
        return [part]
    covered = np.zeros(len(text), np.bool_)
    for term in terms:
        at = lowered.find(term)
        while at >= 0:
            covered[at : at + len(term)] = True
            at = lowered.find(term, at + 1)
    pieces: list[Part] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or covered[end] != covered[start]:
            pieces.append((text[start:end], "find" if covered[start] else part[1]))
            start = end
    return pieces or [part]


def _number(line_id: str, prefix: str) -> int | None:
    digits = line_id.removeprefix(prefix)
    return int(digits) if line_id.startswith(prefix) and digits.isdecimal() and len(digits) < 10 else None


def _cut(parts: tuple[Part, ...], shown: int) -> list[Part]:
    """`parts` without their first `shown` characters."""
    result: list[Part] = []
    for text, mark in parts:
        if shown < len(text):
            result.append((text[shown:], mark))
        shown = max(0, shown - len(text))
    return result


def _dim(parts: tuple[Part, ...], n: int) -> list[Part]:
    """`parts` with the plain text among the first `n` characters marked "dim"."""
    result: list[Part] = []
    for text, mark in parts:
        if mark == "" and n > 0:
            result.append((text[:n], "dim"))
            if text[n:]:
                result.append((text[n:], ""))
        else:
            result.append((text, mark))
        n -= len(text)
    return result


def _common_segments(prefix: str, key: str) -> int:
    """How many characters of whole segments `prefix` ("a.b.") and `key` begin with alike."""
    common = 0
    while (dot := prefix.find(".", common)) >= 0 and key[common : dot + 1] == prefix[common : dot + 1]:
        common = dot + 1
    return common


def _text(text: str) -> str:
    return text if text.isprintable() else printable(text)


def _aria(original: str, remapped: str, tensor: TensorRef, status: str) -> str:
    becomes = f", becomes {remapped}" if remapped != original else ""
    shape = " by ".join(str(size) for size in tensor.shape) if tensor.shape else "scalar"
    return _text(f"{original}{becomes}, {shape}, {tensor.dtype.name}, {status}")
