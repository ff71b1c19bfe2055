"""safetensors files that lie: lengths, the dialect of their JSON, offsets, shapes; and what is two formats at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

from tests.make.hostile.case import FLOATS, HEALTHY, Case, fixed, program, records, saved
from tests.make.safetensors import header_of, safetensors_file, with_header
from tests.make.zips import make_zip

_HEALTHY = (HEALTHY, "F32", (2, 2), FLOATS)
_ENTRY = '"healthy":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}'


def _entry(dtype: object = "F32", shape: object = (2, 2), offsets: object = (0, 16)) -> str:
    return json.dumps({HEALTHY: {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


_BROKEN_HEADERS = {
    "no-object": "[]",
    "half": '{"healthy":{"dty',
    "twice": "{" + _ENTRY + "," + _ENTRY + "}",
    "nan": '{"healthy":{"dtype":"F32","shape":[NaN,2],"data_offsets":[0,16]}}',
    "infinity": '{"healthy":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,16]}}',
    "float-shape": _entry(shape=[2.0, 2.0]),
    "true-shape": _entry(shape=[True, 4]),
    "negative-shape": _entry(shape=[-2, -2]),
    "text-shape": _entry(shape="22"),
    "shape-2-40": _entry(shape=[2**40]),
    "shape-wraps": _entry(shape=[2**62, 4, 1]),
    "shape-of-many": _entry(shape=[2**63] * 5000),
    "digits": '{"healthy":{"dtype":"F32","shape":[' + "9" * 100_000 + '],"data_offsets":[0,16]}}',
    "offsets-turned": _entry(offsets=[16, 0]),
    "offsets-negative": _entry(offsets=[-16, 0]),
    "offsets-2-64": _entry(offsets=[2**64 - 16, 2**64]),
    "offsets-three": _entry(offsets=[0, 8, 16]),
    "offsets-beyond": _entry(shape=[2**38], offsets=[0, 2**40]),
    "offsets-late": _entry(shape=[1], offsets=[12, 16]),
    "offsets-short": _entry(shape=[1], offsets=[0, 4]),
    "unknown-dtype": _entry(dtype="F33"),
    "dtype-of-nothing": _entry(dtype=None),
    "entry-is-text": '{"healthy":"F32"}',
    "metadata-of-numbers": '{"__metadata__":{"a":1},' + _ENTRY + "}",
    "metadata-is-text": '{"__metadata__":"a",' + _ENTRY + "}",
    "comment": "{/* hi */" + _ENTRY + "}",
    "comma": "{" + _ENTRY + ",}",
    "single-quotes": "{'healthy':{}}",
    "behind-it": "{" + _ENTRY + "}{}",
    "deep-lists": '{"a":' + "[" * 100_000,
    "deep-objects": '{"a":' * 100_000,
    "raw-newline-in-key": '{"a\nb":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
    "overlap": json.dumps({
        HEALTHY: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
    }),
}  # fmt: skip


def cases() -> Iterator[Case]:
    for name, header in _BROKEN_HEADERS.items():
        data = with_header(header, FLOATS)
        yield Case(f"header-{name}", "error", fixed(data), suffix=".safetensors", metadata=len(data) - 16)
    header, floats = header_of([_HEALTHY])
    for n in (0, 1, 7, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 100_000_001):
        yield Case(f"header-length-{n}", "error", fixed(with_header(header, floats, n)), suffix=".safetensors")
    whole = safetensors_file([_HEALTHY])
    for at in (4, 8, 9, 40, len(whole) - 17, len(whole) - 1):
        yield Case(f"header-cut-after-{at}", "error", fixed(whole[:at]), suffix=".safetensors")
    yield Case("header-bytes-behind", "error", fixed(whole + b"more"), suffix=".safetensors")
    yield Case("header-not-utf-8", "error", fixed(with_header(b'{"\xff\xfe":1}', b"")), suffix=".safetensors")
    million = [(f"{n}", "F32", (0,), b"") for n in range(40_000)]
    yield Case("header-many-empty", "opens", fixed(safetensors_file([_HEALTHY, *million])), suffix=".safetensors")
    spaced = with_header(json.dumps(header).encode() + b" " * 1000, floats)
    yield Case("control-header-with-spaces", "opens", fixed(spaced), suffix=".safetensors")
    yield Case("control-safetensors-named-pt", "opens", fixed(whole))
    yield Case("control-pt-named-safetensors", "opens", fixed(saved(program())), suffix=".safetensors")
    rank = json.dumps({HEALTHY: header[HEALTHY], "r": {"dtype": "U8", "shape": [0] * 5000, "data_offsets": [16, 16]}})
    yield Case("header-rank-5000", "unreadable", fixed(with_header(rank, FLOATS)), suffix=".safetensors")
    yield from _two_at_once(whole)


def _two_at_once(whole: bytes) -> Iterator[Case]:
    """Files that are valid as two formats, told by what stands first."""
    zipped = make_zip(records()).data
    both = {HEALTHY: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "z": {"dtype": "U8", "shape": [len(zipped)], "data_offsets": [16, 16 + len(zipped)]}}  # fmt: skip
    yield Case("two-safetensors-and-zip", "opens", fixed(with_header(both, FLOATS + zipped)), suffix=".safetensors")
    yield Case("two-zip-and-safetensors", "finding", fixed(zipped + whole), "bytes-after-zip")
    in_comment = make_zip(records(), comment=whole).data
    yield Case("two-zip-with-safetensors-as-comment", "opens", fixed(in_comment))
    # Eight bytes that begin a zip are a header of 6 x 10^15 bytes elsewhere.
    yield Case("two-magic-only", "error", fixed(b"PK\x03\x04" + struct.pack("<I", 0) + json.dumps(both).encode()))
