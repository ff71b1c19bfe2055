"""What an export would be refused for, found while one looks at the panel: of a large plan on a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from workbench.errors import WorkbenchError
from workbench.exporting import FORMATS
from workbench.exporting.bundle import outline
from workbench.exporting.contents import Contents, Ties
from workbench.mapping import Plan
from workbench.widgets.jobs import running_loop
from workbench.widgets.wire import Args
from workbench.writing.mpk_file import Precision
from workbench.writing.shards import SHARDED

__all__ = ["Foreseen", "Foresight", "Options"]

_QUICK: Final = 3_000
"""Tensors up to which it is found at once."""
_PAUSE: Final = 1.0
"""Seconds without another question after which a larger plan is looked through: not between two strokes of a key."""
_log = logging.getLogger(__name__)
_ANYWHERE: Final = Path("export")
"""What is refused, and which names there are, is the same in every folder."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is chosen in the panel, beside the folder."""

    formats: tuple[str, ...]
    ties: Ties = "twice"
    precision: Precision = "full"
    shard_size: str | None = None

    @classmethod
    def of(cls, args: Args) -> Options:
        """The options of a question."""
        formats = tuple(args.texts("formats"))
        size = "" if set(SHARDED).isdisjoint(formats) else (args.optional_text("shard_size") or "").strip()
        ties: Ties = "once" if args.optional_text("ties") == "once" else "twice"
        precision: Precision = "half" if args.optional_text("precision") == "half" else "full"
        return cls(formats, ties, precision, size or None)

    def size_for(self, formats: Sequence[str]) -> str | None:
        """The size of shards, where there are any."""
        return self.shard_size if not set(SHARDED).isdisjoint(formats) else None


class Foreseen(NamedTuple):
    """Why formats cannot be written (title, and what to do), and the names that the others of those chosen make."""

    problems: dict[str, tuple[str, str]]
    names: tuple[str, ...]


_Key = tuple[str, Ties, str, str | None]


class _Look:
    """One plan looked through; what was found is kept, so that another choice costs only what is new in it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.is_stale = False
        self._contents: dict[Ties, Contents] = {}
        self._problems: dict[_Key, tuple[str, str] | None] = {}
        self._found: dict[Options, Foreseen] = {}

    def known(self, options: Options) -> Foreseen | None:
        return self._found.get(options)

    def find(self, options: Options) -> None:
        """As an export does it, format by format; given up where another plan has come."""
        contents = self._contents.setdefault(options.ties, Contents(self.plan, options.ties))
        problems = {}
        for format in FORMATS:
            if self.is_stale:
                return
            if (problem := self._problem(contents, format, options)) is not None:
                problems[format] = problem
        taken = [format for format in options.formats if format not in problems]
        size = options.size_for(taken)
        names: tuple[str, ...] = ()
        if not self.is_stale:
            names = outline(contents, _ANYWHERE, taken, precision=options.precision, shard_size=size)
        self._found[options] = Foreseen(problems, names)

    def _problem(self, contents: Contents, format: str, options: Options) -> tuple[str, str] | None:
        size = options.size_for([format])
        key: _Key = (format, options.ties, options.precision if format == "mpk" else "", size)
        if key not in self._problems:
            try:
                outline(contents, _ANYWHERE, (format,), precision=options.precision, shard_size=size)
            except WorkbenchError as error:
                self._problems[key] = (error.title, f"{error.cause} {error.next_step}")
            else:
                self._problems[key] = None
        return self._problems[key]


class Foresight:
    """What is foreseen of the plan at hand. `tell` is called on the loop's thread when there is more than before."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._look: _Look | None = None
        self._wanted: Options | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_looking = False

    def of(self, plan: Plan, options: Options) -> Foreseen | None:
        """What is known; None while a large plan is looked through. Raises `WorkbenchError` for a wrong option."""
        look = self._look
        if look is None or look.plan is not plan:
            self.close()
            look = self._look = _Look(plan)
        found = look.known(options)
        if found is not None:
            return found
        loop = running_loop()
        if loop is None or len(plan) <= _QUICK:
            look.find(options)
            return look.known(options)
        self._wanted = options
        self._wait(loop)
        return None

    def close(self) -> None:
        """Give up what is being looked through."""
        if self._look is not None:
            self._look.is_stale = True
        self._look = self._wanted = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_looking:
            self._timer = loop.call_later(_PAUSE, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        look, options = self._look, self._wanted
        self._timer = self._wanted = None
        if look is None or options is None:
            return

        def ended(future: asyncio.Future[None]) -> None:
            self._is_looking = False
            error = None if future.cancelled() else future.exception()
            if self._wanted is not None:
                self._wait(loop)
            elif error is not None:
                _log.error("workbench: an export could not be looked through", exc_info=error)
            elif look is self._look:
                self._tell()

        self._is_looking = True
        loop.run_in_executor(None, look.find, options).add_done_callback(ended)
