"""An export: weight files, programs that load them, a report, and mapping.json, in one folder or zip file, together."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.errors import ExportError
from workbench.exporting import programs
from workbench.exporting.contents import Contents, Ties
from workbench.exporting.mapping_file import MAPPING, mapping_text
from workbench.exporting.report import report_text
from workbench.exporting.single import sources_of
from workbench.writing import archive, atomic, checksums, files, npy_folder, shards, weights
from workbench.writing.files import DEFAULT_FORMATS, FORMATS, TEXTS, Part
from workbench.writing.mpk_file import Precision
from workbench.writing.progress import Cancel, Meter, Report

if TYPE_CHECKING:
    from workbench.exporting.programs import Program
    from workbench.mapping import Plan

__all__ = ["ExportResult", "export", "outline"]

_HEADS: Final = 4096
"""Bytes allowed for the heads of files when free space is checked."""

_REPORT: Final = TEXTS["report"]
_PACKED: Final = "packed"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Where the files are, mapping.json first, or the zip file; `nbytes` is their size together.

    `changes` names, a line each, what is not as in the source beside the names of the mapping: casts, transposes,
    parameters named for Burn, ties; and what could not be decided or written.
    """

    folder: Path
    paths: tuple[Path, ...]
    nbytes: int
    changes: tuple[str, ...] = ()


def export(
    plan: Plan,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = DEFAULT_FORMATS,
    ties: Ties = "twice",
    precision: Precision = "full",
    shard_size: int | str | None = None,
    executor: concurrent.futures.Executor | None = None,
    overwrite: bool = False,
    verify: bool = True,
    progress: Report | None = None,
    cancel: Cancel | None = None,
) -> ExportResult:
    """Write the tensors of `plan` under their new names, and mapping.json which says what was done.

    A `folder` that ends in ".zip" is one zip file with all in it. `formats` are "npz", "safetensors", "pt" (for
    torch.load and Burn), "bpk" and "mpk" (for the Burn version of the mapping; in Burn's layout, where the types of
    modules are known, unless the mapping says not to adapt), and texts: "rust" (load.rs and its Cargo.toml, where the
    mapping names a Burn), "python" (load.py, numpy alone) and "report" (REPORT.md). A .mpk needs a target that tells
    the structs, and has floats and integers of `precision`, "full" or "half".

    Tied tensors are written under each of their names (`ties` "twice"), or "once"; mapping.json has the others then.
    A .pt keeps them tied, a .mpk has them all, always. A .safetensors or .pt of more than `shard_size` bytes (or
    "5GB") is split, with an index, under the names that transformers looks for (pytorch_model-00001-of-00003.bin, …
    of a .pt, tied tensors in one shard); `executor` writes the shards, and one that was stopped goes on where it was.
    All workers must have the checkpoint and `folder` under the same paths.

    All files appear, or nothing changes; each is opened again and compared with what was read, unless `verify` is off.
    Tensors that the plan skips are listed in mapping.json with the reason. Raises `CollisionError` while two tensors
    claim one name, and `ExportError` where a tensor has no place in one of the formats, the folder cannot be written,
    or files are there and `overwrite` is not set. That replaces files of an earlier export, and no program or report
    of another origin.

    `progress` is called with a `Progress` now and then; where `cancel` says yes, `ExportCancelled` is raised.
    """
    if not os.fspath(folder):
        raise ExportError(
            "An export needs the name of a folder, and this one is empty.",
            next_step='Name one; the current folder is ".".',
            code="no-folder",
        )
    folder = Path(folder)
    is_packed = archive.is_archive(folder)
    contents = Contents(plan, ties)
    parts = _weights(contents, formats, folder, precision, shard_size, executor, verify)
    texts = _Texts(contents, parts, formats, precision)
    # A reader that meets mapping.json last can trust the files it lists.
    names = (*(name for part in parts for name in part.names), *texts.names, MAPPING)
    nbytes = sum(part.nbytes for part in parts)
    needed = nbytes + _HEADS * len(names) - shards.kept_nbytes(parts)
    passes = 2 if verify else 1
    if is_packed:
        needed += max((part.nbytes for part in parts), default=0)
    elif overwrite:
        _check_texts(folder, texts.names)
    meter = Meter(nbytes * passes * (2 if is_packed else 1), progress, cancel)
    place, placed = (folder.parent, (folder.name,)) if is_packed else (folder, names)
    with atomic.staged(
        place,
        placed,
        overwrite=overwrite,
        sources=sources_of(plan.checkpoint),
        needed=needed,
        folders={npy_folder.NAME: npy_folder.OWN},
    ) as new:
        if not is_packed:
            shards.check_beside(folder, names)
        room = new / _PACKED if is_packed else new
        room.mkdir(exist_ok=True)
        facts = _write(room, parts, verify, meter)
        facts += texts.write(room, facts)
        (room / MAPPING).write_bytes(mapping_text(contents, parts, facts).encode("ascii"))
        if is_packed:
            _pack(room, new / folder.name, verify, meter)
        nbytes = sum(_size(new / name) for name in placed)
    shards.remove_kept(folder)
    ordered = (MAPPING, *names[:-1])
    paths = (folder,) if is_packed else tuple(folder / name for name in ordered)
    return ExportResult(folder, paths, nbytes, tuple(_changes(contents, parts, texts)))


def outline(
    contents: Contents,
    folder: Path,
    formats: Sequence[str],
    *,
    precision: Precision = "full",
    shard_size: int | str | None = None,
) -> tuple[str, ...]:
    """The names that `export` would write into `folder`, by which it is refused where a format cannot hold a tensor."""
    parts = _weights(contents, formats, folder, precision, shard_size, None, True)
    texts = _Texts(contents, parts, formats, precision)
    return (*(name for part in parts for name in part.names), *texts.names, MAPPING)


def _weights(
    contents: Contents,
    formats: Sequence[str],
    folder: Path,
    precision: Precision,
    shard_size: int | str | None,
    executor: concurrent.futures.Executor | None,
    verify: bool,
) -> list[Part]:
    """The weight files asked for, each refused by `ExportError` where it cannot hold what the plan gives it."""
    for format in formats:
        if format not in FORMATS and format not in TEXTS:
            files.weight_file(format, ())
    plan = contents.plan
    shards.check_asked(formats, shard_size, executor)
    weights.check(contents.common.items, formats)
    found: list[Part] = []
    for format in FORMATS:
        if format not in formats:
            continue
        content = contents.of(format)
        if format == "npy":
            found.append(npy_folder.npy_folder(content.written))
        elif format in shards.SHARDED:
            found.append(
                shards.sharded(
                    format,
                    plan,
                    content.written,
                    folder,
                    size=shard_size,
                    executor=executor,
                    verifies=verify,
                    metadata=_aliases(content.tied) if format == "safetensors" else None,
                )
            )
        else:
            known = plan.target or plan.checkpoint
            file = files.weight_file(format, content.written, burn=plan.mapping.burn, target=known, precision=precision)
            found.append(file)
    return found


def _aliases(tied: dict[str, str]) -> dict[str, str]:
    """What the metadata of a .safetensors say of tied tensors."""
    return {"aliases": json.dumps(tied, separators=(",", ":"))} if tied else {}


class _Texts:
    """The programs and the report, which are written when the weight files are there."""

    def __init__(self, contents: Contents, parts: Sequence[Part], formats: Sequence[str], precision: Precision) -> None:
        self._contents = contents
        self._parts = parts
        self._program: Program | None = None
        self.remarks: list[str] = []
        self._made: dict[str, str] = {}
        if "rust" in formats:
            self._program = programs.program_of(contents.plan, parts, half=precision == "half")
            self._made |= self._program.texts
            self.remarks += [self._program.why] if self._program.why else []
        if "python" in formats:
            made, why = programs.python_texts(parts)
            self._made |= made
            self.remarks += [why] if why else []
        self._has_report = "report" in formats

    @property
    def names(self) -> tuple[str, ...]:
        """The files, the report last."""
        return (*self._made, _REPORT) if self._has_report else tuple(self._made)

    def write(self, folder: Path, facts: Sequence[dict[str, object]]) -> list[dict[str, object]]:
        """Write them; the facts of each."""
        found = []
        for name, text in self._made.items():
            (folder / name).write_bytes(text.encode("utf-8", "replace"))
            found.append(_file_facts(folder, name))
        if self._has_report:
            remarks = [] if self._program is not None else self.remarks
            text = report_text(self._contents, self._parts, self._program, [*facts, *found], remarks)
            (folder / _REPORT).write_bytes(text.encode("utf-8", "replace"))
            found.append(_file_facts(folder, _REPORT))
        return found


def _write(folder: Path, parts: Sequence[Part], verify: bool, meter: Meter) -> list[dict[str, object]]:
    """Write the weight files and read them back; the facts of each file."""
    facts = []
    for part in parts:
        crcs = part.write(folder, meter)
        if verify:
            part.verify(folder, crcs, meter)
        facts += [_file_facts(folder, each, meter) for name in part.names for each in _files_below(folder, name)]
    return facts


def _files_below(folder: Path, name: str = "") -> list[str]:
    """The files that a name in `folder` stands for: itself, or those in the folder of that name."""
    path = os.path.join(folder, name) if name else str(folder)
    if not os.path.isdir(path):
        return [name]
    begin = len(os.path.join(folder, ""))
    # As texts: thousands of Path objects would take longer than the files.
    return sorted(f"{within}{os.sep}{file}"[begin:] for within, _, files in os.walk(path) for file in files)


def _file_facts(folder: Path, name: str, meter: Meter | None = None) -> dict[str, object]:
    path = folder / name
    digest = meter.digests.get(path) if meter is not None else None
    return {"name": name, "nbytes": path.stat().st_size, checksums.FIELD: digest or checksums.digest_of(path)}


def _size(path: Path) -> int:
    return sum(os.stat(os.path.join(path.parent, name)).st_size for name in _files_below(path.parent, path.name))


def _pack(room: Path, path: Path, verify: bool, meter: Meter) -> None:
    inside = archive.folder_in(path)
    # mapping.json first: it says what else there is.
    names = [MAPPING, *(name for name in _files_below(room) if name != MAPPING)]
    crcs = archive.pack(room, names, path, inside, meter)
    if verify:
        archive.verify(path, inside, crcs, meter)
    shutil.rmtree(room)


def _check_texts(folder: Path, names: Sequence[str]) -> None:
    """Raise `ExportError` where a program or a report would go that no earlier export wrote."""
    listed: set[object] = set()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        said = json.loads((folder / MAPPING).read_text(encoding="ascii"))
        listed = {file["name"] for file in said["files"]}
    for name in names:
        if name not in listed and os.path.lexists(folder / name):
            raise ExportError(
                "This file is not of an earlier export.",
                path=str(folder / name),
                cause="An export writes a file of that name. Nothing was changed.",
                next_step="Choose another folder, or leave that text out of the export.",
                code="not-of-an-export",
            )


def _changes(contents: Contents, parts: Sequence[Part], texts: _Texts) -> Iterator[str]:
    """A line each; what is the same in a file of Burn's own as in the others is said once."""
    said: set[str] = set()
    for part in parts:
        for line in contents.changes(part.format, part.names[-1]):
            if line.removeprefix(f"{part.names[-1]}: ") not in said:
                said |= {line, line.removeprefix(f"{part.names[-1]}: ")}
                yield line
        if isinstance(part, files.WeightFile):
            yield from (f"{part.name}: {note}" for note in part.notes)
    yield from texts.remarks
