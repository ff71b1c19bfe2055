"""What the child does with a file: `workbench` is the real one, the others are what the harness must catch."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.pace import REFERENCE, work
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.cli import inspect
from workbench.core.source import FileSource
from workbench.core.tree import brief
from workbench.errors import WorkbenchError
from workbench.formats.zip_directory import read_directory

Facts = dict[str, Any]

_SMALL = 100_000
_MOST_LISTED = 20

MOST_READ = 64 << 20
"""Bytes of a tensor above which it is only listed: the bound of reading is of what was asked for."""

_CONTROL = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0xFEFF} - {10}


def workbench(path: Path, keys: Sequence[str]) -> Facts:
    """Open, list, read, and show in every way that needs no browser."""
    begin = time.process_time()
    try:
        checkpoint = open_checkpoint(path)
        n_keys = len(list(checkpoint.keys()))
        opened: Facts = {"n_tensors": n_keys}
    except WorkbenchError as error:
        checkpoint = None
        opened = {"error": error.code, "text": str(error), "title": error.title, "next": error.next_step}
    facts = opened | {"open_seconds": time.process_time() - begin, "open_peak": _peak()}
    if checkpoint is not None:
        facts |= _read_all(checkpoint, keys) | _shown(checkpoint)
    # A large file is not read twice.
    facts["json_exit"], facts["json_fault"] = (2 if checkpoint is None else 0, "")
    if path.stat().st_size < _SMALL:
        facts["json_exit"], facts["json_fault"] = _as_json(path)
    return facts


def _read_all(checkpoint: Checkpoint, keys: Sequence[str]) -> Facts:
    values: dict[str, list[float] | str] = {}
    unreadable = 0
    listed = []
    for tensor in checkpoint.tensors[:2000]:
        if MOST_READ < tensor.nbytes <= 1 << 31:
            continue
        try:
            array = tensor.read()
        except WorkbenchError as error:
            unreadable += 1
            if len(listed) < _MOST_LISTED:
                listed.append(tensor.key)
            if tensor.key in keys:
                values[tensor.key] = str(error)
            continue
        if tensor.key in keys:
            values[tensor.key] = array.ravel()[:16].tolist()
    return {"values": values, "unreadable": unreadable, "unreadable_keys": listed}


def _shown(checkpoint: Checkpoint) -> Facts:
    text, html = repr(checkpoint), checkpoint._repr_html_()
    html += repr(checkpoint.tensors[:50]) + brief(checkpoint.tree)
    faults = [f"U+{ord(c):04X} in the repr" for c in text + html if ord(c) in _CONTROL or 0xD800 <= ord(c) < 0xE000]
    faults += [
        f"{tag} in the HTML" for tag in ("<img", "<script", "</td></table><s") if tag in checkpoint._repr_html_()
    ]
    if len(text) > 1 << 20 or len(html) > 1 << 20:
        faults.append("more than 1 MiB of text")
    return {
        "findings": [[f.code, str(f.severity)] for f in checkpoint.findings],
        "finding_text": sum(len(f.text) for f in checkpoint.findings),
        "shown_faults": faults[:5],
    }


def _as_json(path: Path) -> tuple[int, str]:
    """What `workbench inspect --json` would exit with, and what is wrong with its text."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            status = inspect.run(path, top_level_key=None, as_json=True)
        json.loads(out.getvalue(), parse_constant=lambda text: _no(text))
    except WorkbenchError:
        return 2, ""
    except ValueError as error:
        return status, f"its JSON is none: {error}"
    return status, "" if out.getvalue().isascii() else "its JSON is not ASCII"


def _no(text: str) -> None:
    raise ValueError(f"{text} in it")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _Stubbed(pickle.Unpickler):
    """Unpickles as torch would, without the cost of torch: its names are a function that does nothing."""

    def find_class(self, module: str, name: str) -> Any:
        return (lambda *_: None) if module.partition(".")[0] in ("torch", "nets") else super().find_class(module, name)

    def persistent_load(self, pid: object) -> None:
        return None


def unpickle(path: Path, keys: Sequence[str]) -> Facts:
    """What must never be done to a file."""
    directory = read_directory(FileSource(path))
    entry = directory.find("net/data.pkl")
    assert entry is not None
    data = directory.read(entry)
    try:
        _Stubbed(io.BytesIO(data)).load()
    except Exception as error:
        return {"error": "broken", "text": repr(error)}
    return {}


def zipped(path: Path, keys: Sequence[str]) -> Facts:
    """Reads the zip through Python's own module, which raises its own errors."""
    with zipfile.ZipFile(path) as archive:
        return {"names": [archive.read(name)[:1].hex() for name in archive.namelist()]}


def crash(path: Path, keys: Sequence[str]) -> Facts:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def spin(path: Path, keys: Sequence[str]) -> Facts:
    while True:
        pass


def wait(path: Path, keys: Sequence[str]) -> Facts:
    signal.pause()
    return {}


def slow(path: Path, keys: Sequence[str]) -> Facts:
    """Half as long again as allowed for a small file, on a machine of any pace."""
    begin, enough = time.process_time(), 1.5 * 2 * 3
    n = 0
    while n * REFERENCE < enough or time.process_time() - begin < enough:
        work()
        n += 1
    facts = workbench(path, keys)
    return facts | {"open_seconds": time.process_time() - begin}


def greedy(path: Path, keys: Sequence[str]) -> Facts:
    held = bytearray(b"x") * (300 << 20)
    facts = workbench(path, keys)
    return facts | {"held": len(held)}


def change(path: Path, keys: Sequence[str]) -> Facts:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return {}


def look_around(path: Path, keys: Sequence[str]) -> Facts:
    Path("/etc/hosts").read_bytes()
    return {}


def start(path: Path, keys: Sequence[str]) -> Facts:
    os.system("true")
    return {}


def connect(path: Path, keys: Sequence[str]) -> Facts:
    import socket

    socket.socket().close()
    return {}


def import_by_name(path: Path, keys: Sequence[str]) -> Facts:
    __import__("bait")
    return {}


def wrong_value(path: Path, keys: Sequence[str]) -> Facts:
    facts = workbench(path, keys)
    return facts | {"values": {key: [0.0, 0.0, 0.0, 0.0] for key in facts["values"]}}


READERS: dict[str, Callable[[Path, Sequence[str]], Facts]] = {
    each.__name__: each  # type: ignore[attr-defined]
    for each in (
        workbench, unpickle, zipped, crash, spin, wait, slow, greedy, change, look_around, start, connect,
        import_by_name, wrong_value,
    )
}  # fmt: skip
