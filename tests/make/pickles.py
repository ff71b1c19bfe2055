"""Pickles written opcode by opcode, so that a test can put any byte anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

STOP = b"."
MARK = b"("
NONE = b"N"
EMPTY_TUPLE = b")"
EMPTY_DICT = b"}"
EMPTY_LIST = b"]"
REDUCE = b"R"


def proto(version: int = 2) -> bytes:
    return b"\x80" + bytes([version])


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(raw)) + raw


def boolean(value: bool) -> bytes:
    return b"\x88" if value else b"\x89"


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return MARK + b"".join(items) + b"t"


def list_of(*items: bytes) -> bytes:
    return EMPTY_LIST + MARK + b"".join(items) + b"e"


def dict_of(*pairs: tuple[bytes, bytes], start: bytes = EMPTY_DICT) -> bytes:
    return start + MARK + b"".join(key + value for key, value in pairs) + b"u"


def numbers(values: Iterable[int]) -> bytes:
    return tuple_of(*map(number, values))


def call(function: bytes, *args: bytes) -> bytes:
    return function + tuple_of(*args) + REDUCE


def ordered_dict(*pairs: tuple[bytes, bytes]) -> bytes:
    return dict_of(*pairs, start=call(name("collections", "OrderedDict")))


def storage(key: str, numel: int, kind: str = "FloatStorage", module: str = "torch") -> bytes:
    return tuple_of(text("storage"), name(module, kind), text(key), text("cpu"), number(numel)) + b"Q"


def tensor(
    key: str,
    numel: int,
    shape: Sequence[int],
    strides: Sequence[int],
    *,
    offset: int = 0,
    kind: str = "FloatStorage",
    metadata: bytes | None = None,
) -> bytes:
    """A call of torch._utils._rebuild_tensor_v2."""
    more = () if metadata is None else (metadata,)
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage(key, numel, kind),
        number(offset),
        numbers(shape),
        numbers(strides),
        boolean(False),
        ordered_dict(),
        *more,
    )


def tensor_v3(
    key: str, nbytes: int, dtype: str, shape: Sequence[int], strides: Sequence[int], *, offset: int = 0
) -> bytes:
    """A call of torch._utils._rebuild_tensor_v3, as torch writes dtypes without a storage class."""
    return call(
        name("torch._utils", "_rebuild_tensor_v3"),
        storage(key, nbytes, "UntypedStorage", "torch.storage"),
        number(offset),
        numbers(shape),
        numbers(strides),
        boolean(False),
        ordered_dict(),
        name("torch", dtype),
    )


def instance(module: str, class_name: str, state: bytes) -> bytes:
    """An object made without arguments whose attributes are set afterwards."""
    return name(module, class_name) + EMPTY_TUPLE + b"\x81" + state + b"b"


def module(
    class_name: str = "Net",
    *,
    parameters: Sequence[tuple[str, bytes]] = (),
    buffers: Sequence[tuple[str, bytes]] = (),
    children: Sequence[tuple[str, bytes]] = (),
    temporary: Sequence[str] = (),
    attributes: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """A saved torch.nn.Module."""

    def mapping(entries: Sequence[tuple[str, bytes]]) -> bytes:
        return dict_of(*((text(key), value) for key, value in entries))

    hidden = call(name("__builtin__", "set"), list_of(*map(text, temporary)))
    state = dict_of(
        (text("training"), boolean(True)),
        (text("_parameters"), mapping(parameters)),
        (text("_buffers"), mapping(buffers)),
        (text("_non_persistent_buffers_set"), hidden),
        (text("_modules"), mapping(children)),
        *((text(key), value) for key, value in attributes),
    )
    return instance("nets", class_name, state)


def pickle(root: bytes, version: int = 2) -> bytes:
    return proto(version) + root + STOP
