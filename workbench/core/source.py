"""Bytes by position: the one way in which readers see a file."""

from __future__ import annotations

import os
import stat
import zlib
from typing import Final, Protocol

from workbench.errors import NotACheckpointError, OpenError

__all__ = ["MAX_READ", "ByteSource", "FileSource", "MemorySource", "PathSource", "inflate", "inflate_into"]

MAX_READ: Final = 64 << 20
"""The most bytes one ``read_exact`` hands out."""

_INFLATE_STEP: Final = 1 << 20
_GONE: Final = ("no-such-file", "broken-link", "folder", "not-a-file")
_HAS_COPY: Final = hasattr(os, "copy_file_range")


class ByteSource(Protocol):
    """A run of bytes that does not change while it is open."""

    @property
    def name(self) -> str:
        """The base name, for messages."""
        ...

    @property
    def path(self) -> str | None:
        """Where it lies, None when in memory only."""
        ...

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read_exact(self, begin: int, n: int) -> bytes:
        """Bytes ``begin`` to ``begin + n``; OpenError when they are not all there."""
        ...

    def read_into(self, begin: int, out: memoryview) -> None:
        """Fill ``out``, of bytes, with those from ``begin`` on, without a copy between; OpenError as above."""
        ...

    def check_unchanged(self) -> None:
        """OpenError when the file is not the one that was opened any more."""
        ...


def _check_range(source: ByteSource, begin: int, n: int) -> None:
    if n < 0 or begin < 0 or begin + n > source.size or n > MAX_READ:
        raise OpenError(
            f"Bytes {begin:,} to {begin + n:,} were asked for, but the file has {source.size:,} bytes.",
            path=source.path or source.name,
            cause="It was probably cut off while downloading, or written by a broken program.",
            next_step="Fetch it again.",
            code="cut-off",
        )


class FileSource:
    """A regular file, held open by descriptor and read with ``pread``; never a FIFO, device or folder."""

    __slots__ = ("__weakref__", "_descriptor", "_identity", "name", "path", "size")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = -1
        self.path = os.fspath(path)
        self.name = os.path.basename(self.path) or self.path
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | os.O_CLOEXEC)
            status = os.fstat(self._descriptor)
        except (OSError, ValueError) as error:
            raise _cannot_open(self.path, error) from None
        if not stat.S_ISREG(status.st_mode):
            raise _no_regular_file(self.path, status.st_mode)
        self.size = status.st_size
        self._identity = _identity(status)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[object, ...]:
        # A copy of the number of a descriptor would close that of the original, or of something else.
        return _opened_again, (self.path, self._identity)

    def __repr__(self) -> str:
        return f"FileSource({self.path!r}, {self.size:,} bytes)"

    def read_exact(self, begin: int, n: int) -> bytes:
        """Bytes ``begin`` to ``begin + n``, by as many calls as the system needs."""
        _check_range(self, begin, n)
        try:
            data = os.pread(self._descriptor, n, begin)
            while len(data) < n:
                more = os.pread(self._descriptor, n - len(data), begin + len(data))
                if not more:
                    raise _changed(self.path)
                data += more
        except OSError as error:
            raise self._failed(begin, error) from None
        return data

    def read_into(self, begin: int, out: memoryview) -> None:
        """Bytes from ``begin`` on, straight into ``out``."""
        _check_range(self, begin, len(out))
        done = 0
        try:
            while done < len(out):
                n = os.preadv(self._descriptor, [out[done:]], begin + done)
                if not n:
                    raise _changed(self.path)
                done += n
        except OSError as error:
            raise self._failed(begin, error) from None

    def copy_to(self, descriptor: int, begin: int, n: int) -> int:
        """Have the system copy bytes from ``begin`` on to where ``descriptor`` stands, and move on: how many of ``n``.

        0 where it cannot, for whatever reason: reading and writing them tells the reason, if there is one.
        """
        _check_range(self, begin, n)
        try:
            return os.copy_file_range(self._descriptor, descriptor, n, begin) if _HAS_COPY else 0
        except OSError:
            return 0

    def _failed(self, begin: int, error: OSError) -> OpenError:
        return OpenError(
            "The file cannot be read.",
            path=self.path,
            place=f"byte {begin:,}",
            cause=f"{error.strerror or error}.",
            next_step="Copy it to a local disk and open the copy.",
            code="read-failed",
        )

    def check_unchanged(self) -> None:
        """Compare device, inode, size and time of the path with those at opening."""
        try:
            same = _identity(os.stat(self.path)) == self._identity == _identity(os.fstat(self._descriptor))
        except OSError:
            same = False
        if not same:
            raise _changed(self.path)


class PathSource:
    """The file of a source, opened anew for each reading: one of more than a process may hold open at once."""

    __slots__ = ("_identity", "name", "path", "size")

    def __init__(self, source: FileSource) -> None:
        self.name = source.name
        self.path: str | None = source.path
        self.size = source.size
        self._identity = source._identity

    def __reduce__(self) -> tuple[object, ...]:
        return _shut_again, (self.path, self._identity)

    def __repr__(self) -> str:
        return f"PathSource({self.path!r}, {self.size:,} bytes)"

    def read_exact(self, begin: int, n: int) -> bytes:
        """Bytes ``begin`` to ``begin + n``."""
        return self._opened().read_exact(begin, n)

    def read_into(self, begin: int, out: memoryview) -> None:
        """Bytes from ``begin`` on, straight into ``out``."""
        self._opened().read_into(begin, out)

    def check_unchanged(self) -> None:
        """Compare device, inode, size and time with those at opening."""
        self._opened()

    def _opened(self) -> FileSource:
        assert self.path is not None
        try:
            source = FileSource(self.path)
        except OpenError as error:
            raise _changed(self.path) if error.code in _GONE else error from None
        if source._identity != self._identity:
            raise _changed(self.path)
        return source


def _changed(path: str) -> OpenError:
    return OpenError(
        "The file changed since it was opened.",
        path=path,
        cause="It was replaced, cut, extended or removed meanwhile.",
        next_step="Open it again.",
        code="changed",
    )


def _shut_again(path: str, identity: tuple[int, int, int, int]) -> PathSource:
    return PathSource(_opened_again(path, identity))


def _opened_again(path: str, identity: tuple[int, int, int, int]) -> FileSource:
    """A copy of a source, perhaps on another machine, where the device has another number. OpenError when changed."""
    source = FileSource(path)
    if source._identity[1:] != identity[1:]:
        raise _changed(path)
    return source


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _cannot_open(path: str, error: OSError | ValueError) -> OpenError:
    if isinstance(error, FileNotFoundError):
        gone = os.path.islink(path)
        return OpenError(
            "The link points to a file that is not there." if gone else "There is no such file.",
            path=path,
            next_step="Fetch the file the link names." if gone else "Check the spelling and the folder.",
            code="broken-link" if gone else "no-such-file",
        )
    if isinstance(error, PermissionError):
        return OpenError(
            "You may not read this file.",
            path=path,
            next_step="Ask its owner for read permission, or copy it as a user who has it.",
            code="no-permission",
        )
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OpenError("The file cannot be opened.", path=path, cause=f"{words}.", code="cannot-open")


def _no_regular_file(path: str, mode: int) -> NotACheckpointError:
    if stat.S_ISDIR(mode):
        return NotACheckpointError(
            "This is a folder.",
            path=path,
            next_step="Choose one of the files in it.",
            code="folder",
        )
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
    return NotACheckpointError(
        f"This is {kind}, not a file.",
        path=path,
        next_step="Write what it delivers to a file and open that.",
        code="not-a-file",
    )


class MemorySource:
    """Bytes in memory; ``bytes_read`` and ``ranges`` tell a test what was looked at."""

    def __init__(self, data: bytes, name: str = "memory") -> None:
        self._data = data
        self.name = name
        self.path: str | None = None
        self.size = len(data)
        self.bytes_read = 0
        self.ranges: list[tuple[int, int]] = []

    def read_exact(self, begin: int, n: int) -> bytes:
        """A copy of the bytes ``begin`` to ``begin + n``."""
        _check_range(self, begin, n)
        self.bytes_read += n
        self.ranges.append((begin, begin + n))
        return self._data[begin : begin + n]

    def read_into(self, begin: int, out: memoryview) -> None:
        """A copy of the bytes from ``begin`` on."""
        out[:] = self.read_exact(begin, len(out))

    def check_unchanged(self) -> None:
        """Memory does not change."""


def inflate(source: ByteSource, begin: int, packed: int, skip: int, n: int, place: str) -> bytes:
    """Bytes ``skip`` to ``skip + n`` of what ``packed`` deflated bytes at ``begin`` hold, and no byte further."""
    out = bytearray(n)
    inflate_into(source, begin, packed, skip, memoryview(out), place)
    return bytes(out)


def inflate_into(source: ByteSource, begin: int, packed: int, skip: int, out: memoryview, place: str) -> None:
    """Fill ``out`` with what ``packed`` deflated bytes at ``begin`` hold from byte ``skip`` on.

    Beyond ``out``, memory is bounded by a step of 1 MiB, whatever the packed bytes would grow to.
    """
    engine = zlib.decompressobj(-15)
    done = seen = 0
    at, end = begin, begin + packed
    pending = b""
    try:
        while done < len(out):
            if not pending:
                if at >= end or engine.eof:
                    break
                step = min(_INFLATE_STEP, end - at)
                pending = source.read_exact(at, step)
                at += step
            piece = engine.decompress(pending, _INFLATE_STEP)
            pending = engine.unconsumed_tail
            if seen + len(piece) > skip:
                wanted = memoryview(piece)[max(skip - seen, 0) :][: len(out) - done]
                out[done : done + len(wanted)] = wanted
                done += len(wanted)
            seen += len(piece)
            if not piece and not pending and at >= end:
                break
    except zlib.error as error:
        raise OpenError(
            "The compressed bytes are damaged.",
            path=source.path or source.name,
            place=place,
            cause=f"{str(error)[:200]}.",
            next_step="Fetch the file again.",
            code="damaged",
        ) from None
    if done < len(out):
        raise OpenError(
            f"The compressed bytes end after {seen:,} bytes, {skip + len(out):,} are needed.",
            path=source.path or source.name,
            place=place,
            next_step="Fetch the file again.",
            code="cut-off",
        )
