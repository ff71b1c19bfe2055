"""safetensors: the reference reader's refusals, and one of our own."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.suite import FormatSuite, Part, some_bytes
from tests.make.safetensors import header_of, safetensors_file, with_header
from workbench import formats
from workbench.core.source import MemorySource
from workbench.errors import OpenError, WorkbenchError
from workbench.formats import safetensors as our_safetensors
from workbench.formats import safetensors_tiles

SPELLINGS = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}


class TestSafetensors(FormatSuite):
    format_name: ClassVar[str] = "safetensors"
    dtypes: ClassVar[Sequence[str]] = tuple(SPELLINGS)

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        spelt = [(key, SPELLINGS[dtype], shape, raw) for key, dtype, shape, raw in parts]
        header, data = header_of(spelt)
        file = with_header(header, data)
        ends = [len(file) - len(data) + entry["data_offsets"][1] for entry in header.values()]
        return file, [0, 8, len(file) - len(data), *ends]


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "made.safetensors"))


def entry(begin: int = 0, end: int = 4, dtype: Any = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


REFUSED = {
    "header longer than the file": with_header({"w": entry()}, b"1234", length=5000),
    "not json": with_header('{"w": }', b""),
    "not an object inside": with_header('{"w": 1}', b""),
    "not utf-8": with_header(b'{"w\xff": {}}', b""),
    "zero padding": with_header(b'{"w":' + json.dumps(entry()).encode() + b"}\0\0", b"1234"),
    "unknown dtype": with_header({"w": entry(dtype="F33")}, b"1234"),
    "lower-case dtype": with_header({"w": entry(dtype="f32")}, b"1234"),
    "a number as dtype": with_header({"w": entry(dtype=32)}, b"1234"),
    "no shape": with_header({"w": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234"),
    "negative size": with_header({"w": entry(shape=(-1,))}, b"1234"),
    "float size": with_header({"w": entry(shape=[1.0])}, b"1234"),
    "boolean size": with_header({"w": entry(shape=[True])}, b"1234"),
    "three offsets": with_header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}, b"1234"),
    "offsets reversed": with_header({"w": entry(4, 0)}, b"1234"),
    "size and shape disagree": with_header({"w": entry(shape=(2,))}, b"1234"),
    "shape overflows": with_header({"w": entry(shape=(2**63, 2**63))}, b"1234"),
    "shape overflows before its zero": with_header({"w": entry(0, 0, shape=(3, 2**63, 0))}),
    "a hole before": with_header({"w": entry(4, 8)}, b"12345678"),
    "a hole between": with_header({"a": entry(0, 4), "b": entry(8, 12)}, b"1" * 12),
    "overlap": with_header({"a": entry(0, 4), "b": entry(0, 4)}, b"1234"),
    "bytes behind": with_header({"a": entry()}, b"12345"),
    "bytes missing": with_header({"a": entry()}, b"123"),
    "metadata number": with_header({"__metadata__": {"n": 1}}, b""),
    "metadata text": with_header({"__metadata__": "x"}, b""),
    "odd count of F4": with_header({"w": entry(0, 2, "F4", (3,))}, b"12"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refuses_what_the_reference_reader_refuses(why: str) -> None:
    with pytest.raises(OpenError) as caught:
        opened(REFUSED[why])
    assert caught.value.code in {"broken-header", "cut-off", "unknown-dtype"}
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(REFUSED[why])


@pytest.mark.parametrize(
    "header",
    [
        '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        '{"__metadata__":{"a":"1","a":"2"},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    ],
)
def test_refuses_a_name_that_stands_in_the_header_twice_though_others_take_the_last(header: str) -> None:
    assert safetensors.deserialize(with_header(header, b"1234"))
    with pytest.raises(OpenError, match="twice"):
        opened(with_header(header, b"1234"))


@pytest.mark.parametrize("header", ['{"a":NaN}', '{"a":' + "[" * 100_000, '{"a":' + "9" * 5000 + "}", '{"a":1e999}'])
def test_refuses_json_that_parsers_read_differently(header: str) -> None:
    with pytest.raises(OpenError):
        opened(with_header(header))


def takes(read: Any, data: bytes) -> bool:
    try:
        read(data)
    except (OpenError, safetensors.SafetensorError):
        return False
    return True


NUMBERS = ["".join(chars) for n in (1, 2, 3) for chars in product("-+014.e", repeat=n)]
NUMBERS += ["0.0", "-0.0", "4.0", "40e-1", "0E0", "1E+0", "1e308", "1e309", "-1e309", "0x4", "0b1", "1_0", "\u0664"]
NUMBERS += [str(each) for edge in (1 << 31, 1 << 32, 1 << 63, 1 << 64) for each in (edge - 1, edge, edge + 1, edge + 4)]


@pytest.mark.parametrize(
    ("place", "size"), [("[1],[N,4]", 4), ("[1],[0,N]", 4), ("[N],[0,4]", 4), ("[N],[0,0]", 0), ("[0,N],[0,0]", 0)]
)
def test_numbers_of_any_spelling_are_taken_where_the_reference_reader_takes_them(place: str, size: int) -> None:
    verdicts = set()
    for number in NUMBERS:
        shape, offsets = place.replace("N", number).split("],")
        header = '{"w":{"dtype":"F32","shape":' + shape + '],"data_offsets":' + offsets + ',"note":1}}'
        for spelt in (header, header.replace(',"note":1', "")):
            data = with_header(spelt, bytes(size))
            wanted = takes(safetensors.deserialize, data)
            assert takes(opened, data) == wanted, spelt
            verdicts.add(wanted)
    assert verdicts == {True, False}


def test_numbers_that_nobody_needs_are_refused_where_the_reference_reader_refuses_them() -> None:
    for number in NUMBERS:
        data = with_header('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"note":' + number + "}}", bytes(4))
        assert takes(opened, data) == takes(safetensors.deserialize, data), number


@pytest.mark.parametrize(
    "header",
    ["{}", '{ "__metadata__": null}', '  {"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"note":1.5}}\n  '],
)
def test_takes_what_the_reference_reader_takes(header: str) -> None:
    data = with_header(header, b"1234" if "F32" in header else b"")
    assert [tensor.key for tensor in opened(data).tensors] == [key for key, _ in safetensors.deserialize(data)]


def test_metadata_is_kept_as_text() -> None:
    data = safetensors_file([("w", "U8", (1,), b"1")], {"format": "pt", "note": "<b>"})
    assert opened(data).metadata == {"format": "pt", "note": "<b>"}


@pytest.mark.parametrize(
    ("spelling", "shape", "n", "name", "shown"),
    [
        ("F4", (2, 4), 4, "float4_e2m1fn_x2", (2, 2)),
        ("F6_E2M3", (4,), 3, "float6_e2m3fn", (4,)),
        ("F6_E3M2", (4,), 3, "float6_e3m2fn", (4,)),
    ],
)
def test_types_without_arrays_are_listed_and_cannot_be_read(
    spelling: str, shape: tuple[int, ...], n: int, name: str, shown: tuple[int, ...]
) -> None:
    contents = opened(safetensors_file([("w", spelling, shape, some_bytes(n)), ("b", "U8", (1,), b"1")]))
    tensor, neighbour = contents.tensors
    assert (tensor.dtype.name, tensor.shape, tensor.nbytes) == (name, shown, n)
    assert "numpy has no" in tensor.unreadable
    with pytest.raises(WorkbenchError, match="numpy has no"):
        tensor.read()
    assert neighbour.read().tobytes() == b"1"


def test_a_tensor_may_begin_at_any_byte() -> None:
    contents = opened(safetensors_file([("a", "U8", (1,), b"1"), ("b", "F64", (2,), some_bytes(16))]))
    assert contents.tensors[1].read().tobytes() == some_bytes(16)


def test_the_error_names_file_tensor_and_bytes() -> None:
    with pytest.raises(OpenError) as caught:
        opened(with_header({"a": entry()}, b"123"))
    assert str(caught.value).startswith(
        "made.safetensors, tensor 'a': This safetensors file is cut off. It needs bytes"
    )
    assert str(caught.value).endswith("[cut-off]")


@given(
    st.lists(st.tuples(st.text(max_size=8), st.sampled_from(list(SPELLINGS.values())), st.integers(0, 3)), max_size=6)
)
def test_reads_what_the_reference_reader_reads(rows: list[tuple[str, str, int]]) -> None:
    sizes = {spelling: dtype for dtype, spelling in SPELLINGS.items()}
    from workbench.core.tensor import dtype_named

    parts: list[Part] = []
    for i, (key, spelling, n) in enumerate({key: row for key, *_ in rows for row in rows if row[0] == key}.values()):
        if key != "__metadata__":
            parts.append((key, spelling, (n,), some_bytes(n * dtype_named(sizes[spelling]).itemsize, i)))
    data = safetensors_file(parts)
    theirs = {key: (part["dtype"], part["shape"], bytes(part["data"])) for key, part in safetensors.deserialize(data)}
    ours = {t.key: (SPELLINGS[t.dtype.name], list(t.shape), t.read().tobytes()) for t in opened(data).tensors}
    assert ours == theirs


def test_writes_of_the_package_come_back(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    arrays = {f"layer.{i}.w": np.arange(i, i + 6, dtype=np.float16).reshape(2, 3) for i in range(5)}
    save_file(arrays, tmp_path / "x.safetensors", {"format": "np"})
    contents = opened((tmp_path / "x.safetensors").read_bytes())
    assert {t.key: t.read().tolist() for t in contents.tensors} == {k: v.tolist() for k, v in arrays.items()}


def told(table: our_safetensors._Table) -> object:
    """All that a table says."""
    metadata, tensors, begins, ends = table
    return metadata, list(tensors), [t.storage.source for t in tensors], begins.tolist(), ends.tolist()


NAMES = st.text(st.sampled_from('ab".,{}[]:\\é'), max_size=8)


@settings(max_examples=200)
@given(st.dictionaries(NAMES, st.lists(st.integers(0, 3), max_size=3), max_size=4), st.booleans(), st.booleans())
def test_the_quick_pattern_and_the_strict_parser_read_the_same(shapes, compact, with_metadata):
    header, at = ({"__metadata__": {"format": "pt", "a": '","b'}} if with_metadata else {}), 0
    for name, shape in shapes.items():
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [at, at + math.prod(shape)]}
        at += math.prod(shape)
    raw = json.dumps(header, separators=(",", ":") if compact else None, ensure_ascii=False).encode() + b"  "
    source = MemorySource(len(raw).to_bytes(8, "little") + raw + bytes(at), "made.safetensors")
    quick = our_safetensors._quick(source, raw, 8 + len(raw))
    strict = our_safetensors._strict(source, raw, 8 + len(raw))
    assert quick is None or told(quick) == told(strict)
    plain = bool(shapes) and not any(set(name) & set('"\\') for name in shapes)
    assert (quick is not None) == (compact and plain)


@pytest.mark.parametrize("window", [1, 100, 1 << 20])
@pytest.mark.parametrize("seed", range(4))
def test_a_header_near_a_usual_one_is_read_as_the_strict_parser_reads_it(seed, window, monkeypatch):
    monkeypatch.setattr(safetensors_tiles, "_WINDOW", window)
    random = Random(seed)
    names = ["a", "é.w", "", "b]},c", "x" * 40, "layers.10.w"]
    n_quick = 0
    for _ in range(800):
        entries, at = [], 0
        for key in random.sample(names, random.randrange(1, len(names))):
            shape = [random.choice((0, 1, 2, 10)) for _ in range(random.randrange(4))]
            size = math.prod(shape) * 4
            span = f"{at},{at + size}"
            entries.append(
                f'"{key}":{{"dtype":"F32","shape":{json.dumps(shape)},"data_offsets":[{span}]}}'.replace(" ", "")
            )
            at += size
        raw = bytearray(("{" + ",".join(entries) + "}" + " " * random.randrange(3)).encode())
        for _ in range(random.randrange(3)):
            i = random.randrange(len(raw))
            raw[i : i + random.randrange(3)] = random.choice(
                (b"", b'"', b"0", b"7", b",", b"]", b"}", b"\\", b" ", b"\xff", bytes(raw[i : i + 9]))
            )
        header = bytes(raw)
        source = MemorySource(len(header).to_bytes(8, "little") + header + bytes(at), "made.safetensors")
        quick = our_safetensors._quick(source, header, 8 + len(header))
        if quick is not None:
            n_quick += 1
            assert told(quick) == told(our_safetensors._strict(source, header, 8 + len(header)))
    assert 100 < n_quick < 700


@pytest.mark.parametrize(
    "text",
    [
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[00,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[01]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1000000000000000000000000000001]}}',
        '{"__metadata__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},}',
        '{,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}{"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}x',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}',
        '{"__metadata__":{"a":"b","a":"c"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"__metadata__":{"a":1},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    ],
)
def test_the_quick_pattern_leaves_every_other_spelling_to_the_strict_parser(text):
    raw = text.encode()
    source = MemorySource(len(raw).to_bytes(8, "little") + raw + b"1", "made.safetensors")
    assert our_safetensors._quick(source, raw, 8 + len(raw)) is None


@pytest.mark.parametrize("escape", [r"\ud800", r"\uDC00\ud800", r"\ud83d\ude00", r"\u00e9", r"\\ud800"])
@pytest.mark.parametrize("place", ["metadata", "key"])
def test_half_of_a_surrogate_pair_is_refused_where_the_reference_reader_refuses_it(escape, place):
    fact = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    name, note = ("w", escape) if place == "metadata" else (escape, "")
    data = with_header('{"__metadata__":{"note":"' + note + '"},"' + name + '":' + fact + "}", bytes(4))
    try:
        reference = {key for key, _ in safetensors.deserialize(data)}
    except safetensors.SafetensorError:
        with pytest.raises(OpenError, match="surrogate"):
            opened(data)
    else:
        assert {tensor.key for tensor in opened(data).tensors} == reference
