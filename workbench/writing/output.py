"""A file while it is written: what goes through is counted, and its digest is known when it is closed."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.writing import checksums

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from workbench.core.source import FileSource
    from workbench.writing.progress import Meter

__all__ = ["Output", "created", "sync"]

_BUFFER: Final = 256 << 10
_WORTH_A_THREAD: Final = 8 << 20
_STEP: Final = 8 << 20
"""Bytes that the system copies at a time: what lies between two looks at Cancel."""


class Output(io.BufferedWriter):
    """A new file to write into, that can also take bytes of another file without their passing through here."""

    def __init__(self, raw: _Counted) -> None:
        super().__init__(raw, _BUFFER)
        self._counted = raw

    def copy_from(self, source: FileSource, begin: int, n: int) -> int:
        """Go on with `n` bytes of `source` from `begin` on; their CRC-32, as a reading of its own finds them.

        OSError where they cannot be written, OpenError where they are not there.
        """
        self.flush()
        return self._counted.copy_from(source, begin, n)


@contextmanager
def created(path: Path, meter: Meter, nbytes: int) -> Iterator[Output]:
    """A new file at `path` to write into; `meter` is told of each piece, of `nbytes` (those of the tensors) in all.

    When the block ends, `meter.digests` has the file's digest. OSError where the path is taken.
    """
    raw = _Counted(path, meter, nbytes)
    try:
        with Output(raw) as file:
            yield file
        meter.digests[path] = raw.digest()
        meter.add(raw.uncounted)  # What is tied may be written once.
    finally:
        raw.stop()


class _Counted(io.FileIO):
    """Tells the meter of each write, and has the rest done behind it once there is enough to do.

    A writer that goes back to change something costs a second reading at the end.
    """

    def __init__(self, path: Path, meter: Meter, nbytes: int) -> None:
        super().__init__(path, "xb")
        self.uncounted = nbytes
        self._path = path
        self._meter = meter
        self._end = 0
        self._hashed_to = 0
        self._went_back = False
        self._behind: _Behind | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        n = super().write(data)
        self._move_on(n)
        if self._end >= _WORTH_A_THREAD:
            self._hash_to_here()
        return n

    def copy_from(self, source: FileSource, begin: int, n: int) -> int:
        """Go on with `n` bytes of `source` from `begin` on; their CRC-32."""
        behind = self._hash_to_here()
        hashed = behind.hash_source(source, begin, n, is_in_order=not self._went_back)
        self._hashed_to += n
        end = begin + n
        can_copy = True
        while begin < end:
            copied = source.copy_to(self.fileno(), begin, min(_STEP, end - begin)) if can_copy else 0
            if not copied:
                can_copy = False
                copied = super().write(source.read_exact(begin, min(_BUFFER, end - begin)))
            begin += copied
            self._move_on(copied)
        return hashed.result()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        at = super().seek(offset, whence)
        self._went_back |= at != self._end
        return at

    def digest(self) -> str:
        """Of the whole file, once it is written."""
        if self._behind is None:
            return checksums.digest_of(self._path)
        behind = self._hash_to_here()
        behind.wait()
        if self._went_back:
            return checksums.digest_of(self._path)
        return behind.digest.hexdigest()

    def stop(self) -> None:
        """End the threads."""
        if self._behind is not None:
            self._behind.stop()

    def _move_on(self, n: int) -> None:
        self._end += n
        if self._end >= _WORTH_A_THREAD:
            self._threads().sync()
        counted = min(n, self.uncounted)  # Heads and padding come on top.
        self.uncounted -= counted
        self._meter.add(counted)

    def _hash_to_here(self) -> _Behind:
        behind = self._threads()
        if not self._went_back and self._end > self._hashed_to:
            behind.hash_written(self._hashed_to, self._end)
            self._hashed_to = self._end
        return behind

    def _threads(self) -> _Behind:
        if self._behind is None:
            self._behind = _Behind(self._path)
        return self._behind


class _Behind:
    """What is done in two threads behind the one who writes a file: one hashes it, the other has it put on the disk."""

    def __init__(self, path: Path) -> None:
        self.digest = checksums.new_digest()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._hashing = ThreadPoolExecutor(1, f"hash {path.name}")
        self._syncing = ThreadPoolExecutor(1, f"sync {path.name}")
        self._hashed: deque[Future[int]] = deque()
        self._synced: Future[None] | None = None
        self._is_stopped = False

    def hash_written(self, begin: int, end: int) -> None:
        """The file is as it stays between the two, and next to be hashed there."""
        while self._hashed and self._hashed[0].done():
            self._hashed.popleft().result()
        self._hashed.append(self._hashing.submit(self._hash_written, begin, end))

    def hash_source(self, source: FileSource, begin: int, n: int, *, is_in_order: bool) -> Future[int]:
        """The file goes on with `n` bytes of `source` from `begin` on; their CRC-32. If `is_in_order`, to be hashed."""
        hashed = self._hashing.submit(self._hash_source, source, begin, n, is_in_order)
        self._hashed.append(hashed)
        return hashed

    def sync(self) -> None:
        """There is more to put on the disk. OSError where that failed."""
        if self._synced is None or self._synced.done():
            if self._synced is not None:
                self._synced.result()
            self._synced = self._syncing.submit(self._sync)

    def wait(self) -> None:
        """Until all is hashed and on the disk. OSError where it could not be."""
        if self._synced is not None:
            self._synced.result()
            self._sync()
        for hashed in self._hashed:
            hashed.result()

    def stop(self) -> None:
        """Leave what is not done yet."""
        self._is_stopped = True
        for pool in (self._hashing, self._syncing):
            pool.shutdown(cancel_futures=True)
        os.close(self._descriptor)

    def _sync(self) -> None:
        os.fsync(self._descriptor)

    def _hash_written(self, begin: int, end: int) -> int:
        for at in range(begin, end, _STEP):
            if not self._is_stopped:
                checksums.take(self.digest, self._descriptor, at, min(at + _STEP, end))
        return 0

    def _hash_source(self, source: FileSource, begin: int, n: int, is_in_order: bool) -> int:
        buffer = memoryview(bytearray(min(_BUFFER, n)))
        crc = 0
        for at in range(begin, begin + n, _BUFFER):
            if self._is_stopped:
                break
            piece = buffer[: min(_BUFFER, begin + n - at)]
            source.read_into(at, piece)
            if is_in_order:
                self.digest.update(piece)
            crc = checksums.crc32(piece, crc)
        return crc


def sync(path: Path) -> None:
    """Have the system write `path`, a file or a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
