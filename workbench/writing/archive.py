"""One zip file with a whole export in it: every file stored as it is, under one folder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final

from workbench.core.source import FileSource
from workbench.writing import output
from workbench.writing.checksums import crc32
from workbench.writing.files import differs
from workbench.writing.progress import Meter
from workbench.writing.zip_writer import ZipWriter

__all__ = ["folder_in", "is_archive", "pack", "verify"]

_SUFFIX: Final = ".zip"
_ALIGNMENT: Final = 64
_CHUNK: Final = 1 << 20
_PLAIN: Final = "export"


def is_archive(folder: Path) -> bool:
    """Whether an export into `folder` is one zip file."""
    return folder.name.lower().endswith(_SUFFIX)


def folder_in(path: Path) -> str:
    """The folder that the archive at `path` holds: what unzipping it makes is named like it."""
    stem = path.name[: -len(_SUFFIX)].strip(" .")
    is_plain = not any(char in '\\:*?"<>|' or char < " " or "\ud800" <= char <= "\udfff" for char in stem)
    return stem if stem and is_plain else _PLAIN


def pack(folder: Path, names: Sequence[str], path: Path, inside: str, meter: Meter) -> dict[str, int]:
    """Write the files `names` of `folder` as a zip at `path`, under `inside`, and remove each one once it is in it.

    The CRC-32 of each file. Dates are fixed: the same files give the same zip.
    """
    meter.begin(path.name, "write")
    crcs = {}
    sizes = {name: (folder / name).stat().st_size for name in names}
    with output.created(path, meter, sum(sizes.values())) as file, ZipWriter(file, alignment=_ALIGNMENT) as archive:
        for name, size in sizes.items():
            whole = partial(_copy, file, folder / name, size)
            crcs[name] = archive.stream(f"{inside}/{name}", size, whole)
            (folder / name).unlink()
    return crcs


def verify(path: Path, inside: str, crcs: dict[str, int], meter: Meter) -> None:
    """Read the archive again, by another program than the one that wrote it. `ExportError` where a file differs."""
    meter.begin(path.name, "verify")
    try:
        with zipfile.ZipFile(path) as archive:
            found = {entry.filename: entry for entry in archive.infolist()}
            if found.keys() != {f"{inside}/{name}" for name in crcs}:
                raise differs(path, "it does not hold the files that were written")
            for name, crc in crcs.items():
                with archive.open(found[f"{inside}/{name}"]) as file:
                    read = 0
                    while piece := file.read(_CHUNK):
                        read = crc32(piece, read)
                        meter.add(len(piece))
                if read != crc:
                    raise differs(path, f"{name} in it has other bytes")
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise differs(path, f"reading it again says: {error}") from error


def _copy(file: output.Output, source: Path, size: int, _: IO[bytes]) -> int:
    return file.copy_from(FileSource(source), 0, size)
