"""A folder of .npy files with its index, opened as one checkpoint."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import workbench as wb
from tests import oracles
from workbench.core.tensor import MAX_RANK

BFLOAT = np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3)
ARRAYS = {
    "a.weight": np.float32([[1, 2], [3, 4]]),
    "b": BFLOAT,
    "scalar": np.array(7, np.int64),
    "none": np.zeros((0, 3), "?"),
}


def folder_of(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """The folder as its format is documented, by numpy alone."""
    path.mkdir()
    tensors = {}
    for n, (key, array) in enumerate(arrays.items()):
        facts = {"file": f"{n:06}.npy", "shape": list(array.shape), "dtype": array.dtype.name}
        if array.dtype.isbuiltin != 1:
            facts["stored"] = f"uint{8 * array.itemsize}"
            array = array.view(facts["stored"])
        np.save(path / facts["file"], array)
        tensors[key] = facts
    write_index(path, tensors)
    return path


def write_index(path: Path, tensors: object, **changes: object) -> None:
    index = {"schema": "checkpoint-workbench/npy", "version": 1, "tensors": tensors} | changes
    (path / "index.json").write_text(json.dumps(index))


def claims(path: Path) -> dict[str, dict[str, object]]:
    return json.loads((path / "index.json").read_text())["tensors"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "npy", ARRAYS)


def held(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


@pytest.mark.parametrize("what", ["", "index.json"])
def test_the_folder_and_its_index_open_it_with_its_own_dtypes(folder: Path, what: str) -> None:
    ckpt = wb.open(folder / what)
    assert (ckpt.format, ckpt.findings) == ("npy-folder", ())
    assert {key: held(ckpt[key]) for key in ckpt} == {key: held(array) for key, array in ARRAYS.items()}
    assert list(ckpt) == list(ARRAYS)
    assert ckpt.size == sum(path.stat().st_size for path in folder.iterdir())
    assert "folder of numpy arrays" in repr(ckpt)


def test_an_export_opens_with_the_keys_shapes_and_dtypes_it_had(tmp_path: Path) -> None:
    torch = oracles.torch()
    state = {
        "w": torch.randn(3, 4).to(torch.bfloat16),
        "../b": torch.arange(4),
        "e": torch.ones(2).to(torch.float8_e5m2),
    }
    torch.save(state, tmp_path / "net.pt")
    wb.convert(tmp_path / "net.pt", tmp_path / "out")
    ckpt = wb.open(tmp_path / "out")
    assert [(t.key, t.shape, f"torch.{t.dtype.name}") for t in ckpt.tensors] == [
        (key, tuple(tensor.shape), str(tensor.dtype)) for key, tensor in state.items()
    ]
    for key, tensor in state.items():
        assert ckpt[key].tobytes() == bytes(tensor.view(torch.uint8).flatten().tolist())


def test_it_is_a_source_like_any_other(folder: Path, tmp_path: Path) -> None:
    wb.convert(folder, tmp_path / "net.npz")
    wb.convert(wb.open(folder), tmp_path / "again")
    assert {key: held(wb.open(tmp_path / "again")[key]) for key in ARRAYS} == {k: held(a) for k, a in ARRAYS.items()}
    assert (tmp_path / "again" / "000000.npy").read_bytes() == (folder / "000000.npy").read_bytes()
    with pytest.raises(wb.ExportError) as caught:
        wb.convert(folder, folder, overwrite=True)
    assert caught.value.code == "writes-over-source"


def test_no_file_is_held_open_however_many_there_are(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "npy", {f"t{n}": np.full(2, n, np.int32) for n in range(300)})
    before = len(os.listdir("/proc/self/fd"))
    ckpt = wb.open(path)
    assert [ckpt[f"t{n}"][0] for n in range(300)] == list(range(300))
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_values_are_read_when_they_are_asked_for(folder: Path) -> None:
    ckpt = wb.open(folder)
    assert held(pickle.loads(pickle.dumps(ckpt.tensor("b"))).read()) == held(BFLOAT)
    np.save(folder / "000001.npy", BFLOAT.view("uint16")[::-1].copy())
    with pytest.raises(wb.OpenError) as caught:
        ckpt["b"]
    assert caught.value.code == "changed"
    (folder / "000002.npy").unlink()
    with pytest.raises(wb.OpenError) as caught:
        ckpt["scalar"]
    assert caught.value.code == "changed"
    assert held(ckpt["a.weight"]) == held(ARRAYS["a.weight"])


def test_what_numpy_saved_in_another_layout_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    made = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = folder_of(tmp_path / "npy", {"turned": made, "big": made})
    np.save(path / "000000.npy", np.asfortranarray(made))
    np.save(path / "000001.npy", made.astype(">f4"))
    ckpt = wb.open(path)
    assert [ckpt[key].tolist() for key in ckpt] == [made.tolist()] * 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"file": "../000000.npy"}, "such files are named like 000000.npy"),
        ({"file": "/etc/passwd"}, "such files are named like 000000.npy"),
        ({"file": "000000.npy\n"}, "such files are named like 000000.npy"),
        ({"file": "\u0660" * 6 + ".npy"}, "such files are named like 000000.npy"),
        ({"file": 0}, "such files are named like 000000.npy"),
        ({"file": None}, "such files are named like 000000.npy"),
        ({"file": "999999.npy"}, "its file 999999.npy is not there"),
        ({"file": "000001.npy"}, "which is that of 'b'"),
        ({"shape": [4, 1]}, "its file holds float32 of shape 2×2, and the index says float32 of shape 4×1"),
        ({"shape": [2**63]}, "the index says its shape is [9223372036854775808]"),
        ({"shape": [2**40] * 60}, "overflows"),
        ({"shape": [1] * (MAX_RANK + 1)}, f"{MAX_RANK + 1} dimensions"),
        ({"shape": [-1, 2]}, "the index says its shape is [-1, 2]"),
        ({"shape": [2.0, 2]}, "the index says its shape is"),
        ({"shape": [True, 4]}, "the index says its shape is"),
        ({"shape": "22"}, "the index says its shape is"),
        ({"dtype": "int32"}, "its file holds float32"),
        ({"dtype": "O"}, "which numpy cannot hold"),
        ({"dtype": ["f"]}, "which numpy cannot hold"),
        ({"dtype": "float4_e2m1fn_x2"}, "which numpy cannot hold"),
        ({"stored": "int8"}, "is stored as"),
        ({"stored": []}, "is stored as"),
    ],
    ids=lambda each: "" if isinstance(each, str) else repr(each)[:40],
)
def test_a_claim_that_cannot_be_is_a_row_that_says_why(change: dict[str, object], why: str, folder: Path) -> None:
    tensors = claims(folder)
    write_index(folder, {"b": tensors["b"], "a.weight": tensors["a.weight"] | change})
    ckpt = wb.open(folder)
    tensor = ckpt.tensor("a.weight")
    assert why in tensor.unreadable
    with pytest.raises(wb.WorkbenchError):
        ckpt["a.weight"]
    assert [(finding.code, finding.severity) for finding in ckpt.findings] == [("unreadable-array", "error")]
    assert held(ckpt["b"]) == held(BFLOAT)


@pytest.mark.parametrize("what", ["absent", "cut", "header", "magic", "pipe", "folder", "object", "huge header"])
def test_a_file_that_is_broken_is_a_row_that_says_why(what: str, folder: Path) -> None:
    path = folder / "000000.npy"
    raw = path.read_bytes()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "object":
        np.save(path, np.array([[{}, {}], [{}, {}]], object))
    elif what != "absent":
        header = raw[:8] + b"\xff\xff" + raw[10:]
        path.write_bytes({"cut": raw[:-1], "header": raw[:40], "magic": b"x" + raw[1:], "huge header": header}[what])
    ckpt = wb.open(folder)
    assert ckpt.tensor("a.weight").unreadable
    assert any(finding.severity == "error" and "000000.npy" in finding.place for finding in ckpt.findings)
    with pytest.raises(wb.WorkbenchError):
        ckpt["a.weight"]
    assert held(ckpt["b"]) == held(BFLOAT)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"schema": "checkpoint-workbench/npy", "version": 2, "tensors": {}}', "unknown-version"),
        ('{"schema": "checkpoint-workbench/npy", "version": true, "tensors": {}}', "unknown-version"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": []}', "broken-index"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1}', "broken-index"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": {"a": 1, "a": 2}}', "broken-index"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": {"a": 1' + "0" * 5000 + "}}", "broken-index"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": {"a": ' + "[" * 90_000, "broken-index"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": {"a"', "broken-index"),
        ('{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": {"a": 1, "b": {}}}', "no-arrays"),
    ],
)
def test_an_index_that_is_broken_is_an_error(text: str, code: str, folder: Path) -> None:
    (folder / "index.json").write_text(text)
    for what in (folder, folder / "index.json"):
        with pytest.raises(wb.OpenError) as caught:
            wb.open(what)
        assert caught.value.code == code


def test_an_index_alone_says_that_its_files_are_missing(folder: Path) -> None:
    for path in folder.glob("*.npy"):
        path.unlink()
    with pytest.raises(wb.OpenError, match=r"4 files.*000000\.npy is not there") as caught:
        wb.open(folder)
    assert caught.value.code == "no-arrays"


def test_an_empty_export_opens_empty(tmp_path: Path) -> None:
    assert len(wb.open(folder_of(tmp_path / "npy", {}))) == 0


def test_an_index_of_something_else_leaves_the_folder_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"name": "of a web page"}')
    np.save(tmp_path / "one.npy", np.arange(3))
    assert wb.open(tmp_path)[""].tolist() == [0, 1, 2]


def test_one_of_its_files_opens_alone(folder: Path) -> None:
    assert wb.open(folder / "000002.npy")[""].tolist() == 7


def test_the_fingerprint_follows_the_index_and_every_header(folder: Path) -> None:
    first = wb.open(folder).fingerprint
    np.save(folder / "000000.npy", np.asfortranarray(ARRAYS["a.weight"]))
    second = wb.open(folder).fingerprint
    tensors = claims(folder)
    write_index(folder, {key: tensors[key] for key in reversed(tensors)})
    assert len({first, second, wb.open(folder).fingerprint}) == 3
