"""Where the files of an export lie: in a folder, or stored in a zip, out of which they are read where they are."""

from __future__ import annotations

import abc
import contextlib
import errno
import io
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from workbench.core.source import MAX_READ, ByteSource, FileSource
from workbench.errors import MappingError, OpenError, printable
from workbench.exporting.mapping_file import MAPPING
from workbench.mapping import persist
from workbench.writing import archive, checksums
from workbench.writing.files import unreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["ZIP_FAULTS", "Place", "check_apart", "opened"]

ZIP_FAULTS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
)
"""What zipfile and numpy raise over a broken file; NotImplementedError is a RuntimeError."""

_CHUNK: Final = 1 << 20
_LOCAL_HEAD: Final = 30


class Place(Protocol):
    """The files of one export, by their names there. All raise `OpenError` where one is missing or broken."""

    path: Path

    def json(self, name: str) -> object:
        """What a JSON file says. Raises `MappingError`."""

    def source(self, name: str) -> ByteSource:
        """The bytes of a file."""

    def folder(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """A folder of files, on the disk for as long as the block lasts."""

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def digest(self, name: str) -> str:
        """The digest of a file, in hex."""

    def stream(self, name: str) -> io.BufferedReader:
        """A file to read and seek in."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Place]:
    """The place at `path`, a folder or a zip file."""
    if not archive.is_archive(path) or os.path.isdir(path):
        yield _Folder(path)
        return
    source = FileSource(path)
    try:
        file = zipfile.ZipFile(io.BufferedReader(_Stream(source), _CHUNK))
    except ZIP_FAULTS as error:
        raise unreadable(path, str(error)) from error
    with file:
        check_apart(file, source.size, path)
        yield _Archive(path, source, file)


def check_apart(file: zipfile.ZipFile, size: int, path: Path) -> None:
    """Raise `OpenError` where entries of a zip of `size` bytes lie over one another: a small file would fill a disk."""
    if sum(entry.file_size for entry in file.infolist() if entry.compress_type == zipfile.ZIP_STORED) > size:
        raise unreadable(path, "its entries take more bytes than it has")


class _Files(abc.ABC):
    """What both kinds have in common."""

    path: Path

    @abc.abstractmethod
    def source(self, name: str) -> ByteSource: ...

    def size(self, name: str) -> int:
        return self.source(name).size

    def digest(self, name: str) -> str:
        digest = checksums.new_digest()
        for piece in _pieces(self.source(name)):
            digest.update(piece)
        return digest.hexdigest()

    def stream(self, name: str) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self.source(name)), _CHUNK)


class _Folder(_Files):
    def __init__(self, path: Path) -> None:
        self.path = path

    def json(self, name: str) -> object:
        return persist.read_json(self.path / name)

    def source(self, name: str) -> ByteSource:
        path = self.path / name
        if not os.path.lexists(path):
            raise missing(path)
        return FileSource(path)

    def folder(self, name: str) -> contextlib.AbstractContextManager[Path]:
        return contextlib.nullcontext(self.path / name)


class _Archive(_Files):
    """The export below the folder of the zip in which mapping.json lies: its only one, or its root."""

    def __init__(self, path: Path, source: ByteSource, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self._source = source
        roots = [name[: -len(MAPPING)] for name in file.namelist() if _is_mapping(name)]
        self._root = roots[0] if len(roots) == 1 else ""
        self._sources: dict[str, ByteSource] = {}

    def json(self, name: str) -> object:
        if self._root + name not in self._file.NameToInfo:
            raise MappingError(
                "There is no export in this zip.",
                path=str(self.path),
                cause=f"It has no {name}, or several.",
                next_step="Choose one that an export wrote.",
                code="mapping-unreadable",
            )
        return persist.parse(b"".join(_pieces(self.source(name))), self.path / name)

    def source(self, name: str) -> ByteSource:
        if name not in self._sources:
            entry = self._entry(name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise unreadable(self.path, f"{name} in it is compressed: unpack the zip, and read the folder")
            self._sources[name] = _Part(self._source, self._begin(entry), entry.file_size, name)
        return self._sources[name]

    @contextlib.contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="workbench-") as made:
            inside = f"{self._root}{name}/"
            for entry in self._file.namelist():
                file = entry.removeprefix(inside)
                # Only plain names are written: what a zip says is no path.
                if entry.startswith(inside) and file.replace(".", "").isalnum() and file.isascii():
                    try:
                        with (Path(made) / file).open("wb") as out:
                            out.writelines(_pieces(self.source(f"{name}/{file}")))
                    except OSError as error:
                        raise unreadable(self.path, error.strerror or str(error)) from error
            yield Path(made)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._file.getinfo(self._root + name)
        except KeyError:
            raise missing(self.path / name) from None

    def _begin(self, entry: zipfile.ZipInfo) -> int:
        head = self._source.read_exact(entry.header_offset, _LOCAL_HEAD)
        if head[:4] != b"PK\x03\x04":
            raise unreadable(self.path, f"where {printable(entry.filename, 80)} should begin, it does not")
        name, extra = struct.unpack("<HH", head[26:30])
        return entry.header_offset + _LOCAL_HEAD + int(name) + int(extra)


class _Part:
    """A run of bytes of another source, as one of its own."""

    def __init__(self, whole: ByteSource, begin: int, size: int, name: str) -> None:
        if begin + size > whole.size:
            raise unreadable(Path(whole.path or whole.name), f"{name} in it ends behind the end of the file")
        self._whole = whole
        self._begin = begin
        self.size = size
        self.name = name
        self.path = whole.path

    def read_exact(self, begin: int, n: int) -> bytes:
        self._check(begin, n)
        return self._whole.read_exact(self._begin + begin, n)

    def read_into(self, begin: int, out: memoryview) -> None:
        self._check(begin, len(out))
        self._whole.read_into(self._begin + begin, out)

    def check_unchanged(self) -> None:
        self._whole.check_unchanged()

    def _check(self, begin: int, n: int) -> None:
        if begin < 0 or n < 0 or begin + n > self.size:
            raise unreadable(Path(self.path or self.name), f"{self.name} in it is cut off")


class _Stream(io.RawIOBase):
    """A source as a file of Python's."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a place before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        out = memoryview(buffer).cast("B")
        n = max(0, min(len(out), self._source.size - self._at, MAX_READ))
        self._source.read_into(self._at, out[:n])
        self._at += n
        return n


def _pieces(source: ByteSource) -> Iterator[bytes]:
    for at in range(0, source.size, _CHUNK):
        yield source.read_exact(at, min(_CHUNK, source.size - at))


def _is_mapping(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file == MAPPING and "/" not in folder


def missing(path: Path) -> OpenError:
    """The error for a file of an export that is not there."""
    return OpenError(
        "The export is incomplete: this file is missing.",
        path=str(path),
        next_step="Export again.",
        code="export-incomplete",
    )
