"""Sharded checkpoints: opened by folder, index or shard, with everything that does not fit reported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.make import pickles as p
from tests.make.safetensors import safetensors_file
from tests.make.zips import torch_zip
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import NotACheckpointError, OpenError, TensorError
from workbench.finding import Severity

INDEX = "model.safetensors.index.json"
SHARDS = {
    "model-00001-of-00003.safetensors": {"a.w": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "model-00002-of-00003.safetensors": {"b.w": np.arange(4, dtype=np.int64), "b.b": np.ones(2, np.float16)},
    "model-00003-of-00003.safetensors": {"c.w": np.zeros((0, 5), np.float32)},
}
ONE, TWO, THREE = SHARDS
TOTAL = 24 + 32 + 4


def write(folder: Path, shards: dict[str, dict[str, Any]] = SHARDS) -> Path:
    for name, arrays in shards.items():
        save_file(arrays, folder / name, {"format": "pt"})
    return folder


def write_index(folder: Path, weight_map: dict[str, Any] | None = None, name: str = INDEX, **metadata: Any) -> Path:
    if weight_map is None:
        weight_map = {key: shard for shard, arrays in SHARDS.items() for key in arrays}
    path = folder / name
    path.write_text(json.dumps({"metadata": {"total_size": TOTAL} | metadata, "weight_map": weight_map}, indent=2))
    return path


def codes(ckpt: Checkpoint) -> list[str]:
    return [finding.code for finding in ckpt.findings]


def text_of(ckpt: Checkpoint, code: str) -> str:
    (found,) = [finding for finding in ckpt.findings if finding.code == code]
    return f"{found.place}: {found.text}"


@pytest.mark.parametrize("what", [".", INDEX, ONE, TWO, THREE])
def test_folder_index_and_any_shard_open_the_whole_set(tmp_path: Path, what: str) -> None:
    write_index(write(tmp_path))
    ckpt = open_checkpoint(tmp_path / what)
    theirs = {key: array for shard in SHARDS for key, array in load_file(tmp_path / shard).items()}
    assert set(ckpt) == set(theirs)
    for key, array in theirs.items():
        assert ckpt[key].dtype == array.dtype
        assert ckpt[key].tolist() == array.tolist()
    assert (ckpt.format, ckpt.kind, ckpt.findings) == ("safetensors-shards", "safetensors in shards", ())
    assert ckpt.metadata == {"total_size": str(TOTAL), "format": "pt"}
    assert ckpt.size == sum((tmp_path / shard).stat().st_size for shard in SHARDS)
    assert repr(ckpt)


def test_the_keys_stand_in_the_order_of_the_shards_and_of_their_headers(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    wanted = []
    for shard in sorted(SHARDS):
        with safe_open(tmp_path / shard, "np") as file:
            wanted += list(file.offset_keys())
    assert list(open_checkpoint(tmp_path)) == wanted


def test_the_current_folder_can_be_named_by_a_bare_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_index(write(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert [len(open_checkpoint(what)) for what in (".", INDEX, TWO)] == [4, 4, 4]


def test_torch_shards_open_with_their_index(tmp_path: Path) -> None:
    weight = p.tensor("0", 2, (2,), (1,))
    for n, key in enumerate("ab", 1):
        data = np.full(2, n, "<f4").tobytes()
        root = p.pickle(p.ordered_dict((p.text(f"{key}.w"), weight)))
        (tmp_path / f"pytorch_model-{n:05}-of-00002.bin").write_bytes(torch_zip(root, {"0": data}))
    weight_map = {f"{key}.w": f"pytorch_model-{n:05}-of-00002.bin" for n, key in enumerate("ab", 1)}
    write_index(tmp_path, weight_map, "pytorch_model.bin.index.json", total_size=16)
    ckpt = open_checkpoint(tmp_path)
    assert (ckpt.format, ckpt.findings) == ("torch-shards", ())
    assert {key: ckpt[key].tolist() for key in ckpt} == {"a.w": [1, 1], "b.w": [2, 2]}
    assert len({tensor.storage.id for tensor in ckpt.tensors}) == 2
    assert list(ckpt.tree) == ["a.w", "b.w"]  # type: ignore[call-overload]


def test_links_of_a_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    write_index(write(blobs))
    for n, name in enumerate([*SHARDS, INDEX]):
        (blobs / name).rename(blobs / f"blob{n}")
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / f"blob{n}")
    for what in (".", INDEX, TWO):
        ckpt = open_checkpoint(snapshot / what)
        assert (len(ckpt), ckpt.findings) == (4, ())


def test_a_missing_shard_is_a_finding_that_lists_its_tensors(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    (tmp_path / TWO).unlink()
    for what in (".", INDEX, ONE):
        ckpt = open_checkpoint(tmp_path / what)
        assert set(ckpt) == {"a.w", "c.w"}
        assert codes(ckpt) == ["missing-shard", "missing-tensor"]
        assert "is not there" in text_of(ckpt, "missing-shard")
        assert "b.w, b.b" in text_of(ckpt, "missing-tensor")
        assert all(finding.severity is Severity.ERROR and finding.next_step for finding in ckpt.findings)


def test_a_shard_that_is_cut_off_leaves_the_others_readable(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    os.truncate(tmp_path / TWO, (tmp_path / TWO).stat().st_size - 3)
    ckpt = open_checkpoint(tmp_path)
    assert codes(ckpt) == ["broken-shard", "missing-tensor"]
    assert "cut off" in text_of(ckpt, "broken-shard")
    assert ckpt["a.w"].sum() == 15


def test_tensors_that_are_missing_extra_or_elsewhere_are_findings(tmp_path: Path) -> None:
    write(tmp_path)
    write_index(tmp_path, {"a.w": TWO, "b.w": TWO, "gone": THREE, "c.w": THREE, "also": ONE})
    ckpt = open_checkpoint(tmp_path)
    assert codes(ckpt) == ["missing-tensor", "missing-tensor", "index-disagrees", "extra-tensor"]
    assert f"a.w (listed in {TWO}, lies in {ONE})" in text_of(ckpt, "index-disagrees")
    assert "b.b" in text_of(ckpt, "extra-tensor")
    assert {f.place for f in ckpt.findings if f.code == "missing-tensor"} == {f"shard {ONE}", f"shard {THREE}"}
    assert set(ckpt) == {"a.w", "b.w", "b.b", "c.w"}


def test_a_tensor_in_two_shards_is_listed_twice_and_asking_for_it_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, SHARDS | {THREE: {"a.w": np.ones(2, np.float32), "c.w": np.zeros((0, 5), np.float32)}})
    write_index(tmp_path)
    ckpt = open_checkpoint(tmp_path)
    assert codes(ckpt)[0] == "duplicate-tensor"
    assert f"{ONE}, {THREE}" in text_of(ckpt, "duplicate-tensor")
    assert [tensor.shape for tensor in ckpt.tensors if tensor.key == "a.w"] == [(2, 3), (2,)]
    with pytest.raises(TensorError, match="2 tensors have the key"):
        ckpt["a.w"]


def test_a_total_size_that_is_wrong_is_a_note(tmp_path: Path) -> None:
    write(tmp_path)
    write_index(tmp_path, total_size=TOTAL + 1)
    assert [(f.code, f.severity) for f in open_checkpoint(tmp_path).findings] == [("total-size", Severity.NOTE)]
    write_index(tmp_path, total_size=float(TOTAL))
    assert open_checkpoint(tmp_path).findings == ()


def test_shards_without_an_index_form_a_set_by_their_numbers(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    ckpt = open_checkpoint(tmp_path)
    assert (len(ckpt), ckpt.findings, ckpt.path) == (4, (), str(tmp_path))
    (tmp_path / TWO).unlink()
    ckpt = open_checkpoint(tmp_path)
    assert (len(ckpt), codes(ckpt)) == (2, ["missing-shard"])
    assert "missing: 00002" in text_of(ckpt, "missing-shard")


def test_one_shard_without_an_index_opens_alone_and_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    ckpt = open_checkpoint(tmp_path / TWO)
    assert (set(ckpt), ckpt.format, codes(ckpt)) == ({"b.w", "b.b"}, "safetensors", ["one-shard"])


def test_a_file_that_no_index_beside_it_lists_opens_alone(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    save_file({"x": np.ones(1, np.float32)}, tmp_path / "other.safetensors")
    ckpt = open_checkpoint(tmp_path / "other.safetensors")
    assert (set(ckpt), ckpt.findings) == ({"x"}, ())


def test_a_broken_index_beside_a_file_does_not_keep_it_from_opening(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": {"a.w": "../x"}}')
    ckpt = open_checkpoint(tmp_path / ONE)
    assert (set(ckpt), codes(ckpt)) == ({"a.w"}, ["broken-index", "one-shard"])
    with pytest.raises(OpenError) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.code == "shard-name"


def test_files_of_the_folder_that_are_no_part_of_the_set_are_named(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    save_file({"old": np.ones(1, np.float32)}, tmp_path / "model-00004-of-00004.safetensors")
    save_file({"all": np.ones(1, np.float32)}, tmp_path / "consolidated.safetensors")
    save_file({"lora": np.ones(1, np.float32)}, tmp_path / "adapter.safetensors")
    ckpt = open_checkpoint(tmp_path)
    assert codes(ckpt) == ["extra-shard", "consolidated", "beside-shards"]
    assert "model-00004-of-00004.safetensors" in text_of(ckpt, "extra-shard")
    assert "adapter.safetensors" in text_of(ckpt, "beside-shards")
    assert set(ckpt) == {"a.w", "b.w", "b.b", "c.w"}


HOSTILE_NAMES = [
    "../x",
    "/etc/x",
    "a/b",
    "a\\b",
    "C:x",
    "file://x",
    "",
    ".",
    "..",
    "x\0y",
    "x\n",
    3,
    None,
    ["x"],
    "x" * 256,
]


@pytest.mark.parametrize("shard", HOSTILE_NAMES)
def test_an_index_whose_shard_is_no_plain_name_is_refused_and_nothing_else_is_opened(
    tmp_path: Path, shard: object
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    save_file({"secret": np.ones(1, np.float32)}, tmp_path / "x")
    write_index(inner, {"a": ONE, "secret": shard})
    with pytest.raises(OpenError) as caught:
        open_checkpoint(inner / INDEX)
    assert caught.value.code == "shard-name"
    assert "'secret'" in caught.value.place


BROKEN = {
    "no json": '{"weight_map": {"a": "x"',
    "a name twice": '{"weight_map": {"a": "x", "a": "y"}}',
    "not a number": '{"weight_map": {"a": "x"}, "metadata": NaN}',
    "a long number": '{"weight_map": {"a": "x"}, "metadata": ' + "9" * 5000 + "}",
    "too deep": '{"weight_map": {"a": "x"}, "metadata": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "a list": '{"weight_map": ["x"]}',
    "nothing": '{"weight_map": {}}',
    "too much": '{"weight_map": {"a": "x"}, "m": [' + "0," * 5_000_000 + "0]}",
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_index_is_one_of_our_errors(tmp_path: Path, why: str) -> None:
    (tmp_path / INDEX).write_text(BROKEN[why])
    with pytest.raises(OpenError) as caught:
        open_checkpoint(tmp_path / INDEX)
    assert caught.value.code in {"broken-index", "too-big"}
    assert caught.value.next_step


def test_an_index_without_any_of_its_shards_is_an_error(tmp_path: Path) -> None:
    write_index(tmp_path)
    with pytest.raises(OpenError) as caught:
        open_checkpoint(tmp_path / INDEX)
    assert caught.value.code == "no-shards"
    with pytest.raises(NotACheckpointError, match="none of the shards"):
        open_checkpoint(tmp_path)


def test_a_shard_that_is_a_pipe_is_a_finding_and_does_not_block(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    (tmp_path / TWO).unlink()
    os.mkfifo(tmp_path / TWO)
    assert "named pipe" in text_of(open_checkpoint(tmp_path), "broken-shard")


def test_a_shard_that_changes_meanwhile_is_an_error_for_its_own_tensors_only(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    ckpt = open_checkpoint(tmp_path)
    (tmp_path / TWO).write_bytes(safetensors_file([("b.w", "U8", (1,), b"1")]))
    with pytest.raises(OpenError) as caught:
        ckpt["b.w"]
    assert caught.value.code == "changed"
    assert caught.value.path == str(tmp_path / TWO)
    assert ckpt["a.w"].sum() == 15


def test_the_fingerprint_follows_every_shard(tmp_path: Path) -> None:
    write_index(write(tmp_path))
    before = open_checkpoint(tmp_path).fingerprint
    assert open_checkpoint(tmp_path / TWO).fingerprint == before
    write(tmp_path, {THREE: {"c.w": np.zeros((0, 6), np.float32)}})
    assert open_checkpoint(tmp_path).fingerprint != before


def test_a_folder_with_one_checkpoint_opens_it(tmp_path: Path) -> None:
    save_file({"w": np.ones(1, np.float32)}, tmp_path / "model.anything")
    (tmp_path / "README.md").write_text("# Model\n")
    (tmp_path / "config.json").write_text('{"hidden_size": 4}')
    (tmp_path / "sub").mkdir()
    ckpt = open_checkpoint(tmp_path)
    assert (set(ckpt), ckpt.name) == ({"w"}, "model.anything")


def test_a_folder_with_several_checkpoints_lists_them(tmp_path: Path) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        save_file({"w": np.ones(1, np.float32)}, tmp_path / name)
    with pytest.raises(NotACheckpointError, match=r"2 checkpoints: one.safetensors, two.safetensors") as caught:
        open_checkpoint(tmp_path)
    assert caught.value.code == "several-checkpoints"


def test_a_folder_with_two_sets_lists_them(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, {f"ema-{name}": arrays for name, arrays in SHARDS.items()})
    with pytest.raises(NotACheckpointError, match=r"ema-model-\*-of-00003.safetensors, model-\*-of-00003.safetensors"):
        open_checkpoint(tmp_path)


def test_a_folder_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Model\n")
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert (caught.value.code, caught.value.path) == ("folder", str(tmp_path))


@pytest.mark.parametrize("what", [".", ".metadata", "__0_0.distcp"])
def test_a_distributed_checkpoint_is_named_with_what_to_do(tmp_path: Path, what: str) -> None:
    for name in (".metadata", "__0_0.distcp", "__1_0.distcp"):
        (tmp_path / name).write_bytes(b"\x80\x02.")
    with pytest.raises(NotACheckpointError, match="dcp_to_torch") as caught:
        open_checkpoint(tmp_path / what)
    assert caught.value.code == "distributed-checkpoint"
