"""Work that takes its time: on a thread, one at a time, told as it goes, stopped when asked.

A job outlives the question that starts it: the question is answered at once with the job's number, and all views follow
the `job` trait. The kernel answers other questions meanwhile.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Final, Literal

from workbench.core.text import count_text
from workbench.errors import ExportCancelled, ExportError
from workbench.widgets.wire import fault
from workbench.writing.progress import Cancel, Progress, Report

__all__ = ["IDLE", "Files", "Jobs", "Kind", "Work", "running_loop"]

Facts = dict[str, object]
Kind = Literal["export", "fix"]
Work = Callable[[Report, Cancel], Facts]
"""What a job does; its facts are the job's `result`."""

IDLE: Final[Facts] = {"id": 0, "state": "idle"}
"""What `job` says before the first one."""

_BETWEEN: Final = 0.1
"""Seconds between two messages of one job."""
_PATIENCE: Final = 5
"""Seconds that the end of the program waits for a job to clean up behind itself."""
_LISTED: Final = 20
"""Files told one by one; of more, those that are at hand."""


class Files:
    """How far each file of an export is, from what its `Progress` says. `planned` are names and bytes, in order."""

    def __init__(self, planned: Sequence[tuple[str, int]]) -> None:
        self._sizes = dict(planned)
        self._states: dict[str, str] = dict.fromkeys(self._sizes, "waiting")
        self._done: dict[tuple[str, str], int] = {}
        self._at: Progress | None = None
        self._begun = 0
        self._lock = threading.Lock()

    def note(self, now: Progress) -> None:
        """The next report; on any thread."""
        with self._lock:
            self._note(now)

    def facts(self) -> Facts:
        """Bytes of the step at hand, and where each file stands; at most so many files as one can look through."""
        with self._lock:
            return self._told()

    def _note(self, now: Progress) -> None:
        before = self._at
        if before is None or (before.file, before.step) != (now.file, now.step):
            if before is not None:
                self._states[before.file] = "written"
                self._done[before.file, before.step] = self._sizes.get(before.file, 0)
            self._begun = now.done
        self._states[now.file] = "writing" if now.step == "write" else "checking"
        self._done[now.file, now.step] = now.done - self._begun
        self._at = now

    def _told(self) -> Facts:
        now = self._at
        total = sum(self._sizes.values())
        step = now.step if now is not None else "write"
        done = sum(n for (_, of), n in self._done.items() if of == step)
        listed = list(self._states)
        if len(listed) > _LISTED:
            at = listed.index(now.file) if now is not None else 0
            begin = min(max(0, at - _LISTED // 2), len(listed) - _LISTED)
            listed = listed[begin : begin + _LISTED]
        return {
            "file": "" if now is None else now.file,
            "step": step,
            "done": min(done, total),
            "total": total,
            "percent": 0 if now is None or not now.total else int(100 * now.done / now.total),
            "seconds_left": None if now is None else now.seconds_left,
            "files": [{"name": name, "state": self._states[name], "percent": self._percent(name)} for name in listed],
            "more": count_text(len(self._states) - len(listed), "more file") if len(self._states) > _LISTED else "",
        }

    def _percent(self, name: str) -> int:
        if self._states[name] == "written":
            return 100
        step = "write" if self._states[name] == "writing" else "verify"
        size = self._sizes.get(name, 0)
        return min(100, int(100 * self._done.get((name, step), 0) / size)) if size else 0


class Jobs:
    """The jobs of one view. `tell` gets each new value of the `job` trait, on the thread that started the job."""

    def __init__(self, tell: Callable[[Facts], None]) -> None:
        self._tell = tell
        self._number = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._facts: Facts = dict(IDLE)

    @property
    def is_running(self) -> bool:
        """Whether one is at work."""
        return self._facts["state"] == "running"

    def start(self, kind: Kind, name: str, planned: Sequence[tuple[str, int]], work: Work) -> int:
        """Begin, and return the job's number; where there is no event loop, it is done when this returns.

        `name` is of the checkpoint at work, `planned` are the files to come, with their bytes. Raises `ExportError`
        while another one is running.
        """
        if self.is_running:
            raise ExportError(
                "Another file is being written already.",
                cause="One export runs at a time. Nothing was changed.",
                next_step="Wait for it, or cancel it.",
                code="job-running",
            )
        self._number += 1
        self._stop = threading.Event()
        files = Files(planned)
        fixed: Facts = {
            "id": self._number,
            "kind": kind,
            "name": name,
            "stopping": False,
            "result": None,
            "error": None,
        }
        self._show(fixed | files.facts() | {"state": "running"})
        loop = running_loop()
        if loop is None:
            self._show(self._facts | self._run(work, files.note))
            return self._number

        waiting = False

        def report(progress: Progress) -> None:  # on the job's thread
            nonlocal waiting
            files.note(progress)
            if not waiting:
                waiting = True
                post(lambda: loop.call_later(_BETWEEN, follow))

        def follow() -> None:
            nonlocal waiting
            waiting = False
            if self.is_running:
                self._show(self._facts | files.facts())

        def post(call: Callable[[], object]) -> None:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and with it the view.
                loop.call_soon_threadsafe(call)

        def at_work() -> None:
            ended = self._run(work, report)
            post(lambda: self._end(ended | files.facts()))

        # A daemon, which `close` still waits for: the program must end although the disk is slow.
        self._thread = threading.Thread(target=at_work, name="workbench-export", daemon=True)
        atexit.register(self.close)
        self._thread.start()
        return self._number

    def cancel(self, number: int) -> bool:
        """Ask a job to stop; False where it is not running any more."""
        if not self.is_running or self._facts["id"] != number:
            return False
        self._stop.set()
        self._show(self._facts | {"stopping": True})
        return True

    def close(self) -> None:
        """Stop what is running, and wait a little until it has cleaned up behind itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _run(self, work: Work, report: Report) -> Facts:
        """The end of the job as facts: done, cancelled or failed."""
        try:
            return {"state": "done", "result": work(report, self._stop.is_set)}
        except ExportCancelled as error:
            return {"state": "cancelled", "error": error.as_dict()}
        except Exception as error:
            return {"state": "failed", "error": fault(error, f"job {self._number}")}

    def _end(self, ended: Facts) -> None:
        atexit.unregister(self.close)
        self._thread = None
        self._show(self._facts | ended)

    def _show(self, facts: Facts) -> None:
        self._facts = facts
        self._tell(facts)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
