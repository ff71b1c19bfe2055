"""Our .bpk beside those that the real crates wrote of the same content."""

from __future__ import annotations

import io
import json
import struct

import cbor2
import numpy as np
import pytest

import workbench as wb
from tests.oracles import corpus
from tests.writing.made import ALL_DTYPES, bits, tensor_of, values
from workbench.core.tensor import dtype_named
from workbench.errors import ExportError
from workbench.writing.burnpack_file import check_bpk, param_id, write_bpk
from workbench.writing.items import Item

RELEASES = {"0.19": "0.19.1", "0.20": "0.20.1", "0.21": "0.21.0", "0.22": "0.22.1", "0.23": "0.23.0-pre.1"}
DTYPE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "Bool": "bool",
    "Bool(Native)": "bool",
}
DTYPE |= {f"{sign}{n}": f"{kind}{n}" for sign, kind in (("I", "int"), ("U", "uint")) for n in (8, 16, 32, 64)}
HELD = [dtype for dtype in ALL_DTYPES if dtype in DTYPE.values()]


def items_of(table):
    return [Item(name, tensor_of(name, array)) for name, array in table.items()]


def written(items, version, **options) -> bytes:
    file = io.BytesIO()
    write_bpk(items, file, version=version, **options)
    return file.getvalue()


def content(case):
    """Name to array of what a case of the corpus holds; None where it has a name twice, or what we never write."""
    table = {}
    for one in case.get("params", case.get("tensors")):
        name = one.get("path", one.get("name"))
        if name in table or one["dtype"] not in DTYPE or "bytes" not in one:
            return None
        dtype = dtype_named(DTYPE[one["dtype"]])
        table[name] = np.frombuffer(bytes.fromhex(one["bytes"]), dtype.numpy).reshape(one["shape"])
    return table


@pytest.mark.parametrize("version", RELEASES)
def test_the_bytes_are_those_that_the_crates_write_of_the_same_content(version):
    folder = corpus("golden/bpk")
    cases = json.loads((folder / "cases.json").read_text())
    compared = []
    for path in sorted((folder / RELEASES[version]).glob("*.bpk")):
        table = content(cases[path.stem])
        if table is None:
            continue
        theirs = path.read_bytes()
        head = cbor2.loads(theirs[10 : 10 + struct.unpack("<I", theirs[6:10])[0]])
        ids = {name: entry.get("param_id") for name, entry in head["tensors"].items()}
        ours = written(items_of(table), version, ids=ids.get, metadata=head.get("metadata", {}))
        assert ours == theirs, path.name
        compared.append(path.stem)
    assert {"store_small", "store_200", "store_bool", "store_empty"} <= set(compared)
    assert version == "0.19" or {"writer_zero_size_last", "writer_pad_175", "writer_odd_names"} <= set(compared)


@pytest.mark.parametrize("version", RELEASES)
def test_every_dtype_that_burn_has_comes_back_bit_for_bit(version, tmp_path):
    table = {f"of.{dtype}": values(dtype, shape, 3) for dtype in HELD for shape in [(3, 5)]}
    table |= {"scalar": values("float32", ()), "empty": values("float64", (0, 4)), "last": values("int64", (2, 0))}
    path = tmp_path / "net.bpk"
    path.write_bytes(written(items_of(table), version))
    back = wb.open(path)
    assert {key: bits(back[key]) for key in back} == {name: bits(array) for name, array in table.items()}
    assert [finding.code for finding in back.findings] == (["packed-layout"] if version == "0.19" else [])


@pytest.mark.parametrize("dtype", sorted(set(ALL_DTYPES) - set(HELD)))
def test_a_dtype_that_burn_lacks_is_refused_by_name(dtype):
    with pytest.raises(ExportError, match=rf"'w' \({dtype}\): Burn has no such dtype"):
        check_bpk(items_of({"w": values(dtype, (2,)), "fine": values("float32", (1,))}), "0.22")


def test_burn_0_18_has_no_bpk():
    with pytest.raises(ExportError, match=r"Burn 0\.18 has no \.bpk files"):
        check_bpk([], "0.18")


def test_ids_are_of_the_name_alone_and_differ():
    names = [f"layers.{n}.weight" for n in range(2000)]
    assert len({param_id(name) for name in names}) == 2000
    assert [param_id(name) for name in names] == [param_id(name) for name in names]
    assert all(0 < param_id(name) < 2**64 for name in names)
