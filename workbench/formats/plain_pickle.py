"""Plain pickles (pickle.dump): numpy arrays, torch tensors and dicts of them, of protocols 0 to 5.

Byte strings of protocol 3 and up stay in the file until an array is read; older protocols write them as text, which has
to be decoded on opening.
"""

from __future__ import annotations

import re
from typing import Final

from workbench.core.source import ByteSource
from workbench.core.tensor import TensorRef
from workbench.errors import OpenError, printable
from workbench.formats.contents import Contents, beside_the_table, fingerprint, table
from workbench.formats.pickle.feed import Feed, bytes_needed
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_legacy import load_nested

__all__ = ["name", "read", "sniff"]

name: Final = "pickle"

_HEAD: Final = 4096
_EVIDENCE: Final = 6
_MAX_PICKLES_BEHIND: Final = 1000
# Protocols 0 and 1 have no first byte of their own: a container, its memo number and MARK; or a name.
_OLD_START: Final = re.compile(rb"[\]})]q\x00|\([ldt]p0\n|c[\w.]+\n[\w.]+\n|\(|[\]})]|[IFLVSN]")


def sniff(source: ByteSource) -> bool:
    """Whether the first bytes are a pickle: by its PROTO, or, for what has none, by running the first kilobytes."""
    if source.size >= 3:
        first = source.read_exact(0, 2)
        if first[0] == 0x80:
            return first[1] <= 5
    head = source.read_exact(0, min(source.size, _HEAD))
    if not _OLD_START.match(head):
        return False
    machine = Machine(head, TreeBuilder(lambda _: None, ""))
    try:
        machine.run()
    except OpenError:
        # The head of a longer pickle stops in the middle of an opcode; the first bytes alone are no evidence.
        left = source.size - machine.end
        needed = bytes_needed(head, machine.end, left, lazy=False)
        return machine.end >= _EVIDENCE and len(head) - machine.end < needed <= left
    return not head[machine.end :].strip()


def read(source: ByteSource) -> Contents:
    """Tree, arrays and tensors. What follows the pickle is walked for the names in it."""
    where = source.path or source.name
    builder = TreeBuilder(lambda _: None, "the pickle", arrays=True, nested=load_nested, home=source)
    feed = Feed(source, lazy=True)
    machine = Machine(b"", builder, name=where, entry="the pickle", feed=feed)
    try:
        tree = machine.run()
    except OpenError as error:
        raise builder.add_dangers(error) from None
    builder.read_by(machine)
    rest = source.size - machine.end
    if rest:
        before = set(builder.dangers())
        _walk_rest(feed, machine.end, builder, where)
        hidden = [path for path in builder.dangers() if path not in before]
        names = f" They name `{printable(hidden[0], 80)}`." if hidden else ""
        builder.note(f"has {rest:,} bytes behind its end, which pickle.load ignores.{names}", machine.end)
    tensors = table(tree)
    beside, noticed = beside_the_table(tree)
    findings = (*builder.findings(), *noticed)
    mark = fingerprint(*map(_facts, tensors))
    return Contents(
        name, tree, tensors, findings, {}, mark, beside=beside, names=builder.kinds(), written=builder.written()
    )


def _walk_rest(feed: Feed, begin: int, builder: TreeBuilder, where: str) -> None:
    for _ in range(_MAX_PICKLES_BEHIND):
        if begin >= feed.end:
            return
        machine = Machine(b"", builder, begin=begin, name=where, entry="the pickle", feed=feed)
        try:
            machine.run()
        except OpenError:
            return
        begin = machine.end


def _facts(tensor: TensorRef) -> bytes:
    """All that the metadata says on a tensor: values and metadata lie mixed here, so the bytes cannot be hashed."""
    storage = tensor.storage
    layout = (tensor.dtype.name, tensor.shape, tensor.strides, tensor.offset, storage.begin, storage.nbytes)
    return repr((tensor.path, layout)).encode("utf-8", "surrogatepass")
