"""PyTorch's two formats before the zip, written number by number."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.make import pickles as p

MAGIC = p.pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
SYS_INFO = p.pickle(p.dict_of((p.text("little_endian"), p.boolean(True))))


def storage(
    key: str, numel: int, kind: str = "FloatStorage", *, module: str = "torch", view: tuple[str, int, int] | None = None
) -> bytes:
    """A persistent id of the stream."""
    seen = p.NONE if view is None else p.tuple_of(p.text(view[0]), p.number(view[1]), p.number(view[2]))
    parts = (p.text("storage"), p.name(module, kind), p.text(key), p.text("cpu"), p.number(numel), seen)
    return p.tuple_of(*parts) + b"Q"


def tensor(source: bytes, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> bytes:
    """A call of torch._utils._rebuild_tensor_v2 on a storage of either format."""
    return p.call(
        p.name("torch._utils", "_rebuild_tensor_v2"),
        source,
        p.number(offset),
        p.numbers(shape),
        p.numbers(strides),
        p.boolean(False),
        p.ordered_dict(),
    )


def stream_parts(
    root: bytes,
    storages: Sequence[tuple[str, int, bytes]],
    *,
    keys: Sequence[str] | None = None,
    version: bytes = p.number(1001),
    system: bytes = SYS_INFO,
) -> list[bytes]:
    """The parts of a stream; a storage is key, count and bytes, and `keys` may list others."""
    listed = [key for key, _, _ in storages] if keys is None else keys
    parts = [MAGIC, p.pickle(version), system, p.pickle(root), p.pickle(p.list_of(*map(p.text, listed)))]
    for _, count, data in storages:
        parts += [struct.pack("<q", count), data]
    return parts


def stream(root: bytes, *storages: tuple[str, int, bytes], keys: Sequence[str] | None = None) -> bytes:
    """A whole stream."""
    return b"".join(stream_parts(root, storages, keys=keys))


def member(name: str, data: bytes, *, size: bytes | None = None, kind: bytes = b"0") -> bytes:
    """One file of a tar, padded to blocks of 512."""
    head = bytearray(512)
    head[: len(name)] = name.encode()
    head[124:136] = (b"%011o\0" % len(data)) if size is None else size
    head[156:157] = kind
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % 512)


def tar_storages(
    storages: Sequence[tuple[int, str, int, bytes]], views: Sequence[tuple[int, int, int, int]] = ()
) -> bytes:
    """The member `storages`: id, class, count, bytes; then views of them."""
    out = p.pickle(p.number(len(storages)))
    for key, kind, count, data in storages:
        out += (
            p.pickle(p.tuple_of(p.number(key), p.text("cpu"), p.name("torch", kind))) + struct.pack("<q", count) + data
        )
    return out + p.pickle(p.list_of(*map(p.numbers, views)))


def tar_tensors(tensors: Sequence[tuple[int, int, Sequence[int], Sequence[int], int]]) -> bytes:
    """The member `tensors`: id, id of the storage, shape, strides, offset."""
    out = p.pickle(p.number(len(tensors)))
    for key, source, shape, strides, offset in tensors:
        out += p.pickle(p.tuple_of(p.number(key), p.number(source), p.name("torch", "FloatTensor")))
        out += struct.pack(f"<ii{2 * len(shape)}qq", len(shape), 0, *shape, *strides, offset)
    return out


def tar(root: bytes, storages: bytes, tensors: bytes) -> list[bytes]:
    """The members of a tar."""
    members = {"sys_info": SYS_INFO, "pickle": p.pickle(root), "tensors": tensors, "storages": storages}
    return [*(member(name, data) for name, data in members.items()), bytes(1024)]


def tensor_id(key: int) -> bytes:
    """A persistent id of the tar."""
    return p.text(str(key)) + b"Q"
