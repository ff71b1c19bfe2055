"""REPORT.md: what was exported, for someone who has only this folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from workbench.core.text import count_text, shape_text
from workbench.diagnosis import findings_of
from workbench.exporting.contents import BURN_LAYOUT, Contents
from workbench.exporting.markdown import code, prose, table
from workbench.writing import checksums

if TYPE_CHECKING:
    from workbench.exporting.programs import Program
    from workbench.mapping import Plan, Row
    from workbench.mapping.selection import Selection
    from workbench.writing.files import Part
    from workbench.writing.items import Item

__all__ = ["report_text"]

_MAX_ROWS: Final = 5_000
"""Rows that are listed one by one; more are told by their patterns."""

_MAX_LISTED: Final = 200
_NUMBER: Final = re.compile(r"(?<![^.])[0-9]+(?![^.])")
_HEAD: Final = ("in the source", "in the export", "shape", "dtype", "status", "changed")


def report_text(
    contents: Contents,
    parts: Sequence[Part],
    program: Program | None,
    files: Sequence[Mapping[str, object]],
    remarks: Sequence[str],
) -> str:
    """The report: the same text for the same plan. `files` are the facts of those written before it.

    `program` is None where load.rs was not asked for; `remarks` are sentences that are said at the top.
    """
    sections = [
        _top(contents.plan, remarks),
        _ways(contents.plan, program, files),
        _files(files),
        _decisions(contents.plan),
        _findings(contents.plan),
        _coverage(contents.plan),
        _tensors(contents, parts),
        _left_out(contents.plan),
        _ties(contents),
    ]
    return "\n".join(section for section in sections if section)


def _top(plan: Plan, remarks: Sequence[str]) -> str:
    from workbench import __version__

    checkpoint = plan.checkpoint
    counts = plan.counts
    lines = [
        f"# Export of {code(checkpoint.name)}",
        "",
        f"Written by checkpoint-workbench {__version__}.",
        "",
        f"- Source: {code(checkpoint.name)}, {prose(checkpoint.kind)}, {checkpoint.size:,} bytes, "
        f"fingerprint {code(checkpoint.fingerprint)}",
        f"- Tensors: {counts['all']:,} in the source, {plan.n_out:,} exported, {counts['skipped']:,} skipped",
        *(f"- {prose(remark)}" for remark in remarks),
    ]
    return "\n".join(lines) + "\n"


def _ways(plan: Plan, program: Program | None, files: Sequence[Mapping[str, object]]) -> str:
    mapping, names = plan.mapping, [str(file["name"]) for file in files]
    lines = ["## How to load it", ""]
    if mapping.burn is None:
        lines.append("- The mapping is for no framework.")
    elif mapping.route == "original":
        lines.append(f"- Route: Burn {mapping.burn} reads the original file, and the rules below give the names.")
    else:
        lines.append(f"- Route: Burn {mapping.burn} reads the exported file, in which the names are final.")
    if program is not None and program.loading is not None:
        reader = program.loading.reader
        what = (
            f"{code(program.file)} of this folder"
            if program.file
            else f"the original file, {code(plan.checkpoint.name)}"
        )
        lines.append(f"- {code('load.rs')} loads {what} with {reader.store} of Burn {reader.version} ({reader.crate}).")
        path = program.file or "PATH"
        ready = "" if "model.rs" in names else f" Put your {code('model.rs')} beside it first."
        lines.append(f"- {code(f'cargo run --release -- {path}')} in this folder runs it.{ready}")
        if program.loading.adapts or (not program.file and reader.adapter_by_default):
            lines.append("- The loader turns PyTorch's layout into Burn's: Linear weights and the names of norms.")
        lines += [f"- Not in {code('load.rs')}: {prose(gap)}" for gap in program.loading.gaps]
    if program is not None and program.why:
        lines.append(f"- {prose(program.why)}")
    if "load.py" in names:
        lines.append(f"- {code('load.py')} gives the arrays with numpy alone: {code('from load import load')}.")
    lines.append(f"- {code('workbench.load_export')} gives the arrays, checked against these hashes.")
    return "\n".join(lines) + "\n"


def _files(files: Sequence[Mapping[str, object]]) -> str:
    shown = [file for file in files if "/" not in str(file["name"])]
    rows = [
        (code(str(file["name"]), cell=True), f"{file['nbytes']:,}", code(str(file[checksums.FIELD]))) for file in shown
    ]
    text = f"## Files\n\n{table(('file', 'bytes', 'BLAKE3'), rows, right=[1])}"
    if more := len(files) - len(shown):
        text += f"\nand {count_text(more, 'file')} in {code('npy/')}; mapping.json has the hash of each.\n"
    return text


def _decisions(plan: Plan) -> str:
    mapping = plan.mapping
    lines = ["## What was decided", ""]
    if mapping.burn is not None:
        lines.append(f"- Burn {mapping.burn}" + (f", {mapping.api}" if mapping.api else ""))
    if mapping.top_level_key is not None:
        lines.append(f"- Top-level key: {code(mapping.top_level_key)}")
    lines += _selected(mapping.selection)
    closed = "closed" if plan.reindexes else "kept"
    by = "as the reader does by itself" if mapping.reindex is None else "as chosen"
    lines.append(f"- Gaps in the indices of lists are {closed}, {by}.")
    lines += [f"- Lists that keep their indices: {code(pattern)}" for pattern in mapping.keep_indices]
    if mapping.skip_enum_variants is not None:
        lines.append(f"- Names of enum variants are {'left out' if mapping.skip_enum_variants else 'kept'}.")
    if mapping.layout.adapt is not None:
        lines.append(f"- Layouts are {'adapted to Burn' if mapping.layout.adapt else 'not adapted'}, as chosen.")
    lines += [f"- Module {code(path)} is a {code(kind)}." for path, kind in mapping.layout.modules]
    for cast in mapping.casts:
        which = f"{code(cast.pick.text)} ({cast.pick.kind})" if cast.pick is not None else "all tensors"
        source = f" that are {code(cast.from_dtype)}" if cast.from_dtype else ""
        lines.append(f"- Cast to {code(cast.dtype)}: {which}{source}")
    if plan.folded:
        lines.append(f"- {count_text(len(plan.folded), 'parameter')} computed from parts.")
    lines += ["", "### Rules", ""]
    for number, rule in enumerate(mapping.rules, start=1):
        hits = plan.hits(number - 1)
        said = "switched off" if hits is None else f"hits {count_text(int(hits.sum()), 'key')}"
        note = f" {prose(rule.note)}" if rule.note else ""
        lines.append(f"{number}. {code(rule.pattern)} → {code(rule.replacement)}, {said}.{note}")
    if not mapping.rules:
        lines.append("There are none.")
    return "\n".join(lines) + "\n"


def _selected(selection: Selection) -> Iterator[str]:
    for word, picks in (("Only", selection.include), ("Not", selection.exclude)):
        yield from (f"- {word} the {pick.kind} {code(pick.text)}" for pick in picks[:_MAX_LISTED])
        if len(picks) > _MAX_LISTED:
            yield f"- {word} {len(picks) - _MAX_LISTED:,} more, listed in mapping.json"


def _findings(plan: Plan) -> str:
    found = findings_of(plan)
    lines = ["## Findings", ""]
    for finding in found[:_MAX_LISTED]:
        place = f", {prose(finding.place)}" if finding.place else ""
        lines.append(
            f"- **{finding.severity}**{place}: {prose(' '.join(filter(None, (finding.text, finding.next_step))))} "
            f"{code(finding.code)}"
        )
    if len(found) > _MAX_LISTED:
        lines.append(f"- and {len(found) - _MAX_LISTED:,} more")
    if not found:
        lines.append("There are none.")
    return "\n".join(lines) + "\n"


def _coverage(plan: Plan) -> str:
    if plan.target is None:
        return ""
    found = plan.coverage()
    lines = [
        "## Coverage",
        "",
        f"Against {prose(plan.target.origin)}: {prose(found.summary)}. {prose(found.verdict)}",
        "",
    ]
    for name, paths in (
        ("Missing", found.missing),
        ("Skipped", found.skipped),
        ("Unused", found.unused),
    ):
        if paths:
            more = f" and {len(paths) - _MAX_LISTED:,} more" if len(paths) > _MAX_LISTED else ""
            lines.append(f"- {name} ({len(paths):,}): {', '.join(map(code, paths[:_MAX_LISTED]))}{more}")
    wrong = [*found.mismatched, *found.errors]
    lines += [f"- {code(problem.path)}: {prose(problem.text)}" for problem in wrong[:_MAX_LISTED]]
    if len(wrong) > _MAX_LISTED:
        lines.append(f"- and {len(wrong) - _MAX_LISTED:,} more that do not fit")
    return "\n".join(lines).rstrip("\n") + "\n"


def _tensors(contents: Contents, parts: Sequence[Part]) -> str:
    plan = contents.plan
    rows = list(_rows(contents, parts))
    if len(rows) <= _MAX_ROWS:
        cells = [_cells(*row) for row in rows]
        return f"## Tensors\n\n{table(_HEAD, cells)}" if cells else ""
    groups = Counter(
        (*(_NUMBER.sub("*", text) for text in row[:2]), *row[2:5], _NUMBER.sub("*", row[5])) for row in rows
    )
    shown = [(f"{n:,}", *_cells(*group)) for group, n in list(groups.items())[:_MAX_ROWS]]
    more = f" and {len(groups) - _MAX_ROWS:,} more patterns" if len(groups) > _MAX_ROWS else ""
    said = f"All {len(plan):,} of them are in mapping.json, one a line; here are the patterns of their names{more}."
    return f"## Tensors\n\n{said}\n\n{table(('count', *_HEAD), shown, right=[0])}"


def _cells(original: str, written: str, shape: str, dtype: str, status: str, changed: str) -> tuple[str, ...]:
    return code(original, cell=True), code(written, cell=True), shape, dtype, status, changed


def _rows(contents: Contents, parts: Sequence[Part]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Of each tensor that is exported: its names, shape, dtype, status, and what is changed in it, as Markdown."""
    plan = contents.plan
    burns = [(part.names[-1], contents.of(part.format)) for part in parts if part.format in BURN_LAYOUT]
    only_burn = all(part.format in BURN_LAYOUT for part in parts)
    for place, number in enumerate(contents.kept):
        row = plan.row(number)
        item = contents.common.items[place]
        said = [] if only_burn else list(_changes(row, item, contents.common.tied.get(item.name)))
        for file, content in burns:
            own = content.items[place]
            inside = [each for each in _changes(row, own, content.tied.get(own.name)) if each not in said]
            said += [f"in {file}: {each}" for each in inside]
        if row.layout and plan.mapping.route == "original":
            how = "transposed" if row.layout == "transpose" else f"named {code(row.target_key, cell=True)}"
            said.append(f"{how} by Burn when it reads the original")
        if row.folded_from:
            said.insert(0, f"computed from {', '.join(code(key, cell=True) for key in row.folded_from)}")
        tensor = row.tensor
        yield row.original, row.remapped, shape_text(tensor.shape), tensor.dtype.name, str(row.status), "; ".join(said)


def _changes(row: Row, item: Item, tied: str | None) -> Iterator[str]:
    if item.cast:
        yield f"cast to {item.cast}"
    if item.transposed:
        yield f"transposed to {shape_text(item.shape)}"
    if item.name != row.remapped:
        yield f"named {code(item.name, cell=True)}"
    if tied is not None:
        yield f"tied to {code(tied, cell=True)}"


def _left_out(plan: Plan) -> str:
    skipped = [row for row in plan.rows if row.status == "skipped"]
    outside = plan.outside
    beside = plan.checkpoint.beside
    if not skipped and not outside and not beside:
        return ""
    rows = [(row.original, row.reason) for row in skipped]
    rows += [(tensor.key, "not under the top-level key") for tensor in outside]
    rows += [(each.tensor.key, each.reason) for each in beside]
    cells = [(code(key, cell=True), prose(reason, cell=True)) for key, reason in rows[:_MAX_ROWS]]
    more = f"\n{len(rows) - _MAX_ROWS:,} more are not listed here.\n" if len(rows) > _MAX_ROWS else ""
    return f"## Skipped\n\n{table(('tensor', 'why'), cells)}{more}"


def _ties(contents: Contents) -> str:
    tied = contents.common.tied
    if not tied:
        return ""
    how = "once; the second name is listed" if contents.ties == "once" else "under each name"
    lines = ["## Tied tensors", "", f"The same values under several names. They are written {how}.", ""]
    lines += [f"- {code(alias)} is {code(first)}" for alias, first in list(tied.items())[:_MAX_LISTED]]
    if len(tied) > _MAX_LISTED:
        lines.append(f"- and {len(tied) - _MAX_LISTED:,} more")
    return "\n".join(lines) + "\n"
