"""A file while it is written: what goes through is counted, and its digest is known when it is closed."""

from __future__ import annotations

import io
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from workbench.writing import checksums

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from workbench.writing.progress import Meter

__all__ = ["created", "sync"]

_BUFFER: Final = 256 << 10
_WORTH_A_THREAD: Final = 8 << 20


@contextmanager
def created(path: Path, meter: Meter, nbytes: int) -> Iterator[IO[bytes]]:
    """A new file at `path` to write into; `meter` is told of each piece, of `nbytes` (those of the tensors) in all.

    When the block ends, `meter.digests` has the file's digest. OSError where the path is taken.
    """
    raw = _Counted(path, meter, nbytes)
    try:
        with io.BufferedWriter(raw, _BUFFER) as file:
            yield file
        meter.digests[path] = raw.digest()
        meter.add(raw.uncounted)  # What is tied may be written once.
    finally:
        raw.stop()


class _Counted(io.FileIO):
    """Tells the meter of each write. Behind it one thread hashes what was written, another has it put on the disk.

    A writer that goes back to change something costs a second reading at the end.
    """

    def __init__(self, path: Path, meter: Meter, nbytes: int) -> None:
        super().__init__(path, "xb")
        self.uncounted = nbytes
        self._path = path
        self._meter = meter
        self._end = 0
        self._went_back = False
        self._digest = checksums.new_digest()
        self._hashing: _Behind | None = None
        self._syncing: _Behind | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        n = super().write(data)
        self._end += n
        if self._end >= _WORTH_A_THREAD:
            if self._syncing is None or self._hashing is None:
                self._syncing = _Behind(self._path, lambda descriptor, begin, end: os.fsync(descriptor))
                self._hashing = _Behind(self._path, lambda *where: checksums.take(self._digest, *where))
            self._syncing.go_to(self._end)
            if not self._went_back:
                self._hashing.go_to(self._end)
        counted = min(n, self.uncounted)  # Heads and padding come on top.
        self.uncounted -= counted
        self._meter.add(counted)
        return n

    def seek(self, offset: int, whence: int = 0, /) -> int:
        at = super().seek(offset, whence)
        self._went_back |= at != self._end
        return at

    def digest(self) -> str:
        """Of the whole file, once it is written."""
        if self._syncing is not None:
            self._syncing.finish()
        if self._hashing is None or self._went_back:
            return checksums.digest_of(self._path)
        self._hashing.finish()
        return self._digest.hexdigest()

    def stop(self) -> None:
        """End the threads."""
        for behind in (self._hashing, self._syncing):
            if behind is not None:
                behind.stop()


class _Behind:
    """Does `work` (descriptor, begin, end) on a file in a thread, behind the one who writes it."""

    def __init__(self, path: Path, work: Callable[[int, int, int], object]) -> None:
        self._work = work
        self._ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._is_stopped = False
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name=f"behind {path.name}", daemon=True)
        self._thread.start()

    def go_to(self, end: int) -> None:
        """The file is as it stays up to there."""
        self._ends.put(end)

    def finish(self) -> None:
        """Wait for the work to be done; OSError where it could not be."""
        self._ends.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Leave what is not done yet."""
        self._is_stopped = True
        self._ends.put(None)
        self._thread.join()

    def _run(self) -> None:
        at = 0
        is_last = False
        try:
            while not is_last and not self._is_stopped:
                end, is_last = self._latest()
                if end > at:
                    self._work(self._descriptor, at, end)
                    at = end
        except OSError as error:
            self._error = error
        finally:
            os.close(self._descriptor)

    def _latest(self) -> tuple[int, bool]:
        """How far it may go, and whether that is all: waits for news, then takes all there are."""
        ends = [self._ends.get()]
        while not self._ends.empty():
            ends.append(self._ends.get())
        return max((end for end in ends if end is not None), default=0), None in ends


def sync(path: Path) -> None:
    """Have the system write `path`, a file or a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
