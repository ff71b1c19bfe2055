"""Tensors that do not fit: offsets, strides, ranks, types, claims; the healthy one beside them stays readable."""

from __future__ import annotations

from collections.abc import Iterator

from tests.make import pickles as p
from tests.make.hostile.case import FLOATS, Case, Outcome, fixed, program, saved

_V2 = p.name("torch._utils", "_rebuild_tensor_v2")


def _v2(offset: bytes, shape: bytes, strides: bytes, numel: int = 4) -> bytes:
    return p.call(_V2, p.storage("0", numel), offset, shape, strides, b"\x89", p.ordered_dict())


def _views() -> Iterator[tuple[str, Outcome, bytes]]:
    yield "offset-outside", "unreadable", p.tensor("0", 4, (2,), (1,), offset=3)
    yield "offset-2-62", "unreadable", p.tensor("0", 4, (2,), (1,), offset=2**62)
    yield "offset-negative", "unreadable", p.tensor("0", 4, (2,), (1,), offset=-1)
    yield "offset-true", "unreadable", _v2(b"\x88", p.numbers((1,)), p.numbers((1,)))
    yield "stride-outside", "unreadable", p.tensor("0", 4, (2, 2), (3, 1))
    yield "stride-negative", "unreadable", p.tensor("0", 4, (4,), (-1,), offset=3)
    yield "stride-2-63", "unreadable", p.tensor("0", 4, (2,), (2**63,))
    yield "stride-2-62-of-one-row", "opens", p.tensor("0", 4, (1, 2, 2), (2**62, 1, 2))
    yield "stride-too-few", "unreadable", p.tensor("0", 4, (2, 2), (1,))
    yield "rank-65", "unreadable", p.tensor("0", 4, (1,) * 65, (1,) * 65)
    yield "shape-2-40", "unreadable", p.tensor("0", 4, (2**40,), (1,))
    yield "shape-2-40-twice", "unreadable", p.tensor("0", 4, (2**40, 2**40), (0, 0))
    yield "shape-wraps-to-four", "unreadable", p.tensor("0", 4, (2**32, 2**32, 4), (0, 0, 1))
    yield "shape-expanded", "opens", p.tensor("0", 4, (2**40,), (0,))
    yield "shape-zero-and-huge", "opens", p.tensor("0", 4, (0, 2**40), (1, 1))
    yield "shape-negative", "unreadable", p.tensor("0", 4, (-2, -2), (1, 1))
    yield "shape-of-truth", "unreadable", _v2(p.number(0), p.tuple_of(b"\x88"), p.numbers((1,)))
    yield "shape-of-floats", "unreadable", _v2(p.number(0), p.tuple_of(b"G" + bytes(8)), p.numbers((1,)))
    yield "shape-of-text", "unreadable", _v2(p.number(0), p.text("22"), p.text("11"))
    yield "shape-missing", "unreadable", p.call(_V2, p.storage("0", 4))
    yield "storage-of-text", "unreadable", p.call(_V2, p.text("0"), p.number(0), b")", b")", b"\x89", p.ordered_dict())
    yield "storage-claims-2-40", "unreadable", p.tensor("0", 2**40, (2,), (1,))
    yield "storage-claims-less", "finding", p.tensor("0", 2, (2,), (1,))
    yield "storage-negative", "unreadable", p.tensor("0", -4, (2,), (1,))
    yield "storage-key-leaves", "unreadable", p.tensor("../../../etc/passwd", 4, (2,), (1,))
    yield "storage-key-version", "unreadable", p.tensor("../version", 1, (1,), (1,))
    yield "storage-under-two-types", "opens", p.tensor("0", 2, (2,), (1,), kind="LongStorage")
    yield "conjugated-floats", "unreadable", p.tensor("0", 4, (4,), (1,), metadata=p.dict_of((p.text("conj"), b"\x88")))
    yield "quantised-outside", "unreadable", p.call(
        p.name("torch._utils", "_rebuild_qtensor"), p.storage("0", 16, "QInt8Storage"), p.number(2**50),
        p.numbers((4,)), p.numbers((1,)), b"N", b"\x89", p.ordered_dict(),
    )  # fmt: skip
    size = p.call(p.name("torch", "Size"), p.list_of(p.number(2**62), p.number(2**62)))
    yield "sparse-of-2-124", "unreadable", p.call(
        p.name("torch._utils", "_rebuild_sparse_tensor"), p.name("torch", "sparse_coo"),
        p.tuple_of(p.tensor("0", 4, (1, 4), (4, 1)), p.tensor("0", 4, (4,), (1,)), size),
    )  # fmt: skip
    yield "bytearray-of-2-40", "finding", p.call(p.name("builtins", "bytearray"), p.number(2**40))
    yield "bytes-of-2-40", "finding", p.call(p.name("builtins", "bytes"), p.number(2**40))
    yield (
        "numpy-of-2-40",
        "opens",
        p.call(
            p.name("numpy.core.multiarray", "_reconstruct"), p.name("numpy", "ndarray"), p.numbers((2**40,)), b"C\x01b"
        ),
    )
    yield "type-rebuilt-by-itself", "finding", p.call(
        p.name("torch._tensor", "_rebuild_from_type_v2"), p.name("torch._tensor", "_rebuild_from_type_v2"),
        p.name("torch", "Tensor"), b")", b"}",
    )  # fmt: skip
    yield "type-rebuilt-by-others", "finding", p.call(
        p.name("torch._tensor", "_rebuild_from_type_v2"), p.name("os", "system"),
        p.name("torch", "Tensor"), p.tuple_of(p.text("true")), b"}",
    )  # fmt: skip


def cases() -> Iterator[Case]:
    for name, outcome, data in _views():
        storages = {"0": FLOATS} if "less" not in name else {"0": FLOATS, "1": FLOATS}
        # torch refuses the whole file for such a tensor; the key is what its owner looks for, so it stays in the table.
        listed = ("x0",) if outcome == "unreadable" else ()
        yield Case(f"tensor-{name}", outcome, fixed(saved(program(data, version=4), storages)), unreadable=listed)
    joined = p.dict_of((p.text("w"), p.tensor("0", 4, (4,), (1,))))
    body = p.ordered_dict(
        (p.text("healthy"), p.tensor("0", 4, (2, 2), (2, 1))),
        (p.text("a.w"), p.tensor("0", 4, (4,), (1,))),
        (p.text("a"), joined),
    )
    yield Case("tensor-same-joined-key", "finding", fixed(saved(p.pickle(body))), "same-key")
