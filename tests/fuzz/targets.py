"""What is done with each structure, and what must hold: only our errors, and Python's own answer where it has one."""

from __future__ import annotations

import contextlib
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz import containers, programs
from tests.make.hostile.case import saved
from workbench.checkpoint import checkpoint_of
from workbench.core.source import MemorySource
from workbench.core.tree import Dict, Opaque, brief
from workbench.errors import MappingError, OpenError, WorkbenchError
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.mapping import persist

_MOST_READ = 1 << 20


def _check(error: WorkbenchError) -> None:
    assert error.path, f"{error} names no file"
    assert error.next_step, f"{error} has no next step"
    assert str(error).isprintable()


def _read_everything(data: bytes) -> None:
    try:
        checkpoint = checkpoint_of(MemorySource(data, "fuzzed"))
    except WorkbenchError as error:
        _check(error)
        return
    assert repr(checkpoint).replace("\n", "").isprintable()
    checkpoint._repr_html_()
    assert all(finding.text for finding in checkpoint.findings)
    for tensor in checkpoint.tensors:
        repr(tensor)
        if tensor.nbytes <= _MOST_READ:
            with contextlib.suppress(WorkbenchError):
                array = tensor.read()
                assert array.shape == tensor.shape


def machine(random: Random) -> None:
    """Any program gives a file that opens, or one of our errors."""
    _read_everything(saved(programs.torch_pickle(random)))


def zip_directory(random: Random) -> None:
    """So does any lie in the headers of a zip."""
    _read_everything(programs.zip_file(random))


def safetensors_header(random: Random) -> None:
    """And any header of a safetensors file."""
    _read_everything(programs.safetensors_file(random))


def mapping_json(random: Random) -> None:
    """A mapping.json gives a mapping that comes back from its own JSON, or a MappingError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mapping.json")
        path.write_bytes(programs.mapping_json(random))
        try:
            mapping = persist.load(path)
        except MappingError as error:
            _check(error)
            return
        assert persist.from_json(persist.to_json(mapping)) == mapping


def as_pickle(random: Random) -> None:
    """A program without names gives the very tree that Python's own machine gives, and fails where that fails."""
    data = programs.plain_program(random)
    if random.random() < 0.3:
        data = programs.spoil(random, data)
    if any(opcode in data for opcode in _NOT_PLAIN) or _SPARSE_MEMO.search(data):
        return
    try:
        expected = programs.plain(data)
    except Exception:
        # Ours may be more patient (a tuple as arguments is no business of a reader), but never with another error.
        with contextlib.suppress(OpenError):
            Machine(data, TreeBuilder(lambda pid: None, "fuzzed")).run()
        return
    try:
        tree = Machine(data, TreeBuilder(lambda pid: None, "fuzzed")).run()
    except OpenError as error:
        if not any(word in str(error) for word in _STRICTER):
            raise AssertionError(f"{data!r}: pickle gives {expected!r}") from error
        return
    assert same(tree, expected), f"{data!r}: {brief(tree)} is not {expected!r}"


_NOT_PLAIN = (b"c", b"i", b"\x93", b"\x82", b"\x83", b"\x84", b"\x97", b"P", b"Q", b"\x96")
# Python's memo is an array: a large number in it takes gigabytes and half a minute.
_SPARSE_MEMO = re.compile(rb"r..[^\0]|r...[^\0]|p\d{6}", re.DOTALL)
# What Python takes and we say is an error: it is never written.
_STRICTER = (
    "one value at the end",
    "frame",
    "its text is no number",
    "memo number",
    "no mapping",
    "no list",
    "no set",
    "no quotes",
    "UTF-8",
)


def same(ours: object, theirs: object) -> bool:
    """Whether a tree of ours is the value Python made; where it has no equal of ours, whether it is kept as text."""
    waiting = [(ours, theirs)]
    seen = set()
    while waiting:
        a, b = waiting.pop()
        if (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        if isinstance(a, Dict) and isinstance(b, dict):
            pairs = list(a.pairs)
            if all(type(key) is str for key, _ in pairs):
                if [key for key, _ in pairs] != list(b):
                    return False
                waiting += [(each, b[key]) for key, each in pairs]
        elif isinstance(a, (list, tuple)) and type(a) is type(b):
            if len(a) != len(b):
                return False
            waiting += zip(a, b, strict=True)
        elif isinstance(a, Opaque):
            continue
        elif isinstance(a, float) and isinstance(b, float):
            if a != b and not (math.isnan(a) and math.isnan(b)):
                return False
        elif hasattr(a, "items") and isinstance(b, (set, frozenset)):
            continue
        elif isinstance(b, (bytes, bytearray)) and isinstance(a, (bytes, str)):
            if isinstance(a, bytes) and a != b:
                return False
        elif type(a) is not type(b) or a != b:
            return False
    return True


def _container(name: str) -> Callable[[Random], None]:
    def target(random: Random) -> None:
        _read_everything(containers.MAKERS[name](random))

    target.__name__ = name
    return target


def nested_stream(random: Random) -> None:
    """A stream inside a pickle, spoiled, gives a file that opens or one of our errors."""
    _read_everything(saved(programs.program(containers.nested_stream(random))))


TARGETS: tuple[Callable[[Random], None], ...] = (
    machine,
    zip_directory,
    safetensors_header,
    mapping_json,
    as_pickle,
    nested_stream,
    *map(_container, containers.MAKERS),
)
