"""Reads files one after the other under an audit hook, and prints a line of JSON for each.

``python -m tests.hostile.child READER GUARD JOBS``: GUARD 1 ends the process with status 86 at the first forbidden
act, JOBS is a JSON list of ``[file name, [keys]]`` in the current folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.hostile.pace import pace
from tests.hostile.readers import READERS
from tests.make.hostile.case import program, saved

CAUGHT = 86
_COSTLY = 1.0
"""CPU seconds of opening from which on the machine's pace is measured again: below them no bound is in question."""

_NEVER = frozenset(
    {
        "pickle.find_class",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "subprocess.Popen",
        "pty.spawn",
        "os.startfile",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.truncate",
        "shutil.rmtree",
        "tempfile.mkstemp",
        "tempfile.mkdtemp",
        "webbrowser.open",
        "code.__new__",
        "exec",
        "compile",
        "marshal.loads",
        "ctypes.dlopen",
        "ctypes.dlsym",
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OURS = ("workbench", "numpy", "ml_dtypes", "pandas", "rich", "polars", "safetensors")
# Of the standard library those that no reader has a use for; the others may be imported late.
_BAD_MODULES = (
    "pty",
    "runpy",
    "pdb",
    "bdb",
    "timeit",
    "code",
    "codeop",
    "webbrowser",
    "smtplib",
    "ftplib",
    "imaplib",
    "xmlrpc",
    "antigravity",
    "shelve",
    "venv",
    "ensurepip",
    "multiprocessing",
    "asyncio",
    "socket",
)


class _Guard:
    """The audit hook: quiet until `armed`, and allowing to open `path` and Python's own modules."""

    def __init__(self) -> None:
        self.armed = False
        self.importing = 0
        self.path = ""
        self.roots = tuple({os.path.realpath(each) for each in (*sys.path, sys.prefix, sys.base_prefix) if each})

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        # Asked at every id(), so this comes first: the guard should cost next to nothing.
        if event == "builtins.id" or not self.armed:
            return
        if event in ("exec", "compile", "code.__new__", "marshal.loads") and _is_importing():
            return
        if event == "compile" and args[0] is None:
            return
        bad = event in _NEVER or event.startswith(("socket.", "ftplib.", "urllib.", "http."))
        if event == "import":
            root = str(args[0]).partition(".")[0]
            bad = root in _BAD_MODULES or not (root in sys.stdlib_module_names or root in _OURS)
        elif event == "open":
            bad = not self._may_open(args)
        if bad:
            self.armed = False
            os.write(2, f"caught: {event} {args!r}"[:500].encode("ascii", "backslashreplace") + b"\n")
            os._exit(CAUGHT)

    def _may_open(self, args: tuple[Any, ...]) -> bool:
        path, _, flags = args
        if not isinstance(path, (str, bytes)) or flags & _WRITING:
            return False
        full = os.path.realpath(os.fsdecode(path))
        return full == self.path or (full.endswith((".py", ".pyc", ".so", ".pyd")) and full.startswith(self.roots))


def _is_importing() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def main(reader_name: str, guarded: str, jobs: list[tuple[str, list[str]]]) -> None:
    reader = READERS[reader_name]
    # What the reader imports late is imported by now: once for a healthy file, once for a broken one.
    warm = Path("warm.pt").absolute()
    for data in (saved(program()), b"PK\x03\x04"):
        warm.write_bytes(data)
        READERS["workbench"](warm, ["healthy"])
    warm.unlink()
    guard = _Guard()
    if guarded == "1":
        sys.addaudithook(guard)
    before = pace()
    for name, keys in jobs:
        path = Path(name).absolute()
        guard.path, guard.armed = os.path.realpath(path), True
        print(json.dumps({"begin": name}), flush=True)
        facts = reader(path, keys)
        guard.armed = False
        after = pace() if facts.get("open_seconds", 0) > _COSTLY else before
        print(json.dumps({"end": name, "pace": max(before, after)} | facts), flush=True)
        before = after


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))
