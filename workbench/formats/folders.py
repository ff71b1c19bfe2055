"""What a path stands for: one file, a set of shards named by their folder, their index or one of them, or a folder of
.npy files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Final

from workbench.core import collector
from workbench.core.source import ByteSource, FileSource
from workbench.errors import NotACheckpointError, OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats import FORMATS, npy_folder
from workbench.formats import read as read_file
from workbench.formats.contents import Contents
from workbench.formats.limits import MAX_FOLDER, MAX_INDEX, MAX_SNIFFED
from workbench.formats.shards import NUMBERED, Index, Numbered, is_index, open_set, read_index

__all__ = ["Opened", "open_path", "open_source"]

_INDEX_NAME: Final = re.compile(r".+\.index(\.[\w-]+)?\.json", re.DOTALL | re.ASCII)
_LISTED: Final = 8


@dataclass(frozen=True, slots=True)
class Opened:
    """What was opened: its name, its path, the bytes of its file or files, and what they hold."""

    name: str
    path: str
    size: int
    contents: Contents


def open_source(source: ByteSource) -> Opened:
    """One file, whatever lies beside it."""
    return Opened(source.name, source.path or source.name, source.size, read_file(source))


def open_path(path: str | os.PathLike[str]) -> Opened:
    """The checkpoint at a path. OpenError when there is none, or when a folder holds several to choose from."""
    where = os.fspath(path)
    try:
        is_folder = os.path.isdir(where)
    except ValueError:
        is_folder = False
    if is_folder:
        return _open_arrays_in(where) or _open_folder(where)
    source = FileSource(where)
    folder, base = os.path.split(where)
    if base == ".metadata" or base.endswith(".distcp"):
        names = _listing(folder or ".")
        if _is_distributed(names):
            raise _distributed(folder or ".")
    if npy_folder.is_index(source):
        return _open_arrays(source, source.name, where)
    if is_index(source):
        return _open_index(read_index(source), source.name)
    found, broken = _index_of(source, folder)
    if found is not None:
        return _open_index(found, os.path.basename(found.path))
    opened = open_source(source)
    notes = [*broken, *_alone(base, folder)]
    if notes:
        contents = replace(opened.contents, findings=(*opened.contents.findings, *notes))
        return replace(opened, contents=contents)
    return opened


def _open_arrays_in(folder: str) -> Opened | None:
    """The arrays of a folder with an index of them, whose other names are not looked at: there may be very many."""
    try:
        source = FileSource(os.path.join(folder, npy_folder.INDEX))
    except OpenError:
        return None
    name = os.path.basename(os.path.abspath(folder)) or folder
    return _open_arrays(source, name, folder) if npy_folder.is_index(source) else None


def _open_arrays(index: FileSource, name: str, path: str) -> Opened:
    with collector.paused():
        contents, size = npy_folder.read(index)
    return Opened(name, path, size, contents)


def _open_index(index: Index, name: str) -> Opened:
    contents, size = open_set(index, _listing(os.path.dirname(index.path) or "."))
    return Opened(name, index.path, size, contents)


def _index_of(source: ByteSource, folder: str) -> tuple[Index | None, list[Finding]]:
    """The index beside a file that lists it, and a finding on each one that might but is broken."""
    broken = []
    try:
        names = [name for name in _listing(folder or ".") if _INDEX_NAME.fullmatch(name)]
    except OpenError:
        return None, []
    for name in sorted(names)[:_LISTED]:
        try:
            candidate = FileSource(os.path.join(folder, name))
            if candidate.size > MAX_INDEX or not is_index(candidate):
                continue
            index = read_index(candidate)
        except OpenError as error:
            text = f"The index {printable(name, 120)} beside this file cannot be read, so it was opened alone."
            broken.append(Finding("broken-index", Severity.WARNING, f"file {printable(name, 120)}", text, error.cause))
            continue
        if source.name in index.shards:
            return index, []
    return None, broken


def _alone(base: str, folder: str) -> list[Finding]:
    match = NUMBERED.fullmatch(base)
    if match is None or int(match[3]) < 2:
        return []
    text = (
        f"By its name this is shard {int(match[2]):,} of {int(match[3]):,}; it was opened alone, as no index lists it."
    )
    step = f"Open the folder {printable(folder or '.', 200)} to see the whole set."
    return [Finding("one-shard", Severity.NOTE, "", text, step)]


def _listing(folder: str) -> list[str]:
    """The names in a folder, sorted. OpenError when it cannot be listed or holds very many."""
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) > MAX_FOLDER:
                    raise OpenError(
                        f"The folder holds more than {MAX_FOLDER:,} files.",
                        path=folder,
                        next_step="Open the file you want by its name.",
                        code="large-folder",
                    )
    except OSError as error:
        raise OpenError(
            "The folder cannot be listed.",
            path=folder,
            cause=f"{error.strerror or error}.",
            next_step="Open the file you want by its name.",
            code="cannot-list",
        ) from None
    return sorted(names)


def _is_distributed(names: list[str]) -> bool:
    return ".metadata" in names and any(name.endswith(".distcp") for name in names)


def _distributed(folder: str) -> NotACheckpointError:
    return NotACheckpointError(
        "This is a distributed checkpoint of torch (`.metadata` and `.distcp` files); it is not read.",
        path=folder,
        next_step="Where torch is at hand, make one file of it: `python -m torch.distributed.checkpoint.format_utils"
        " dcp_to_torch FOLDER whole.pt`, and open whole.pt.",
        code="distributed-checkpoint",
    )


def _open_folder(folder: str) -> Opened:
    names = _listing(folder)
    name = os.path.basename(os.path.abspath(folder)) or folder
    if _is_distributed(names):
        raise _distributed(folder)
    present = set(names)
    indices: list[Index] = []
    listed: set[str] = set()
    for each in names:
        if not _INDEX_NAME.fullmatch(each):
            continue
        source = FileSource(os.path.join(folder, each))
        if is_index(source):
            index = read_index(source)
            listed.update(index.shards)
            if present & set(index.shards):
                indices.append(index)
    groups: dict[tuple[str, int, str], list[str]] = defaultdict(list)
    for each in names:
        match = NUMBERED.fullmatch(each)
        if match and each not in listed:
            groups[match[1], int(match[3]), match[4]].append(each)
    stems = {(match[1], match[4]) for match in map(NUMBERED.fullmatch, listed) if match}
    sets = [
        Numbered(folder, stem, count, suffix, tuple(shards))
        for (stem, count, suffix), shards in groups.items()
        if (stem, suffix) not in stems
    ]
    of_sets = listed | {each for shards in groups.values() for each in shards}
    if len(indices) + len(sets) > 0:
        rest = [each for each in names if each not in of_sets and not each.startswith("consolidated")]
    else:
        rest = [each for each in names if each not in of_sets]
    files = _checkpoint_files(folder, rest)
    if len(indices) == 1 and not sets:
        opened = _open_index(indices[0], os.path.basename(indices[0].path))
        return _beside(replace(opened, name=name, path=folder), files)
    if len(sets) == 1 and not indices:
        contents, size = open_set(sets[0], names)
        return _beside(Opened(name, folder, size, contents), files)
    if not indices and not sets and len(files) == 1:
        return open_path(os.path.join(folder, files[0]))
    candidates = [os.path.basename(index.path) for index in indices] + [each.name for each in sets] + files
    raise _which(folder, candidates, bool(listed - present))


def _beside(opened: Opened, files: list[str]) -> Opened:
    """A set, with a note on checkpoints in its folder that are no part of it."""
    if not files:
        return opened
    shown = ", ".join(printable(each, 120) for each in files[:_LISTED]) + (", …" if len(files) > _LISTED else "")
    text = f"The folder also holds {shown}, which the set does not list; left out."
    note = Finding("beside-shards", Severity.NOTE, "", text, "Open it by its name to see it.")
    return replace(opened, contents=replace(opened.contents, findings=(*opened.contents.findings, note)))


def _checkpoint_files(folder: str, names: list[str]) -> list[str]:
    """The files whose first bytes one of the formats knows; hidden ones are left out."""
    found = []
    for each in [each for each in names if not each.startswith(".")][:MAX_SNIFFED]:
        try:
            source = FileSource(os.path.join(folder, each))
            if any(known.sniff(source) for known in FORMATS):
                found.append(each)
        except OpenError:
            continue
    return found


def _which(folder: str, candidates: list[str], has_absent: bool) -> OpenError:
    if not candidates:
        cause = "There is an index in it, but none of the shards it lists." if has_absent else ""
        return NotACheckpointError(
            "This is a folder without a checkpoint in it.",
            path=folder,
            cause=cause,
            next_step="Fetch the shards into it." if has_absent else "Choose another folder, or a file.",
            code="folder",
        )
    shown = ", ".join(printable(each, 120) for each in candidates[:_LISTED])
    more = f" and {len(candidates) - _LISTED:,} more" if len(candidates) > _LISTED else ""
    return NotACheckpointError(
        f"This folder holds {len(candidates):,} checkpoints: {shown}{more}.",
        path=folder,
        next_step="Open the one you want by its name.",
        code="several-checkpoints",
    )
