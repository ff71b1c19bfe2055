"""A model in several .safetensors files, and going on after a stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import workbench as wb
from tests import oracles
from tests.writing.made import ALL_DTYPES, bits, checkpoint_of, flat, tensor_of, tree_of, values
from workbench.writing import shards
from workbench.writing.items import Item

N = 8
SHARD = 8_000
"""Bytes of two of the tensors of `net`."""

FILES = ["mapping.json", *(f"model-0000{n}-of-00004.safetensors" for n in range(1, 5)), "model.safetensors.index.json"]


@pytest.fixture
def arrays():
    return {f"layers.{n}.weight": values("float32", (100, 10), n) for n in range(N)}


@pytest.fixture
def plan(arrays, tmp_path):
    (tmp_path / "in").mkdir()
    return wb.Mapping([wb.Rule("^layers", "blocks")]).plan(checkpoint_of(tmp_path / "in" / "net.safetensors", arrays))


def export(plan, folder, **options):
    return wb.export(plan, folder, formats=["safetensors"], **({"shard_size": SHARD} | options))


def kept(place: Path, where: str = "") -> list[Path]:
    """The finished shards that a stopped export has left."""
    receipts = place.glob(f"{where}.workbench_shards-*/*.receipt.json")
    return sorted(path.with_name(path.name.removesuffix(".receipt.json")) for path in receipts)


def stop_after(place: Path, n: int):
    """Says yes to cancelling once so many shards are finished."""
    return lambda: len(kept(place)) >= n


def marks(paths) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_the_shards_and_their_index_are_as_other_tools_write_them(plan, arrays, tmp_path):
    result = export(plan, tmp_path / "out")
    assert [path.name for path in result.paths] == FILES
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": N * 4_000}
    assert set(index["weight_map"].values()) == set(FILES[1:-1])
    found = {}
    for name in FILES[1:-1]:
        with safetensors.safe_open(tmp_path / "out" / name, framework="np") as file:
            assert file.metadata()["format"] == "pt"
            for key in file.keys():  # noqa: SIM118
                assert index["weight_map"][key] == name
                found[key] = bits(file.get_tensor(key))
    assert found == {name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()}
    assert index["weight_map"].keys() == found.keys()


def test_the_set_opens_as_one_checkpoint_without_a_finding(plan, arrays, tmp_path):
    export(plan, tmp_path / "out")
    again = wb.open(tmp_path / "out")
    assert again.format == "safetensors-shards"
    assert {key: bits(again[key]) for key in again} == {
        name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()
    }
    assert again.findings == ()


def test_torch_reads_the_shards(plan, arrays, tmp_path):
    torch = oracles.torch()
    from safetensors.torch import load_file

    export(plan, tmp_path / "out")
    state = {key: tensor for name in FILES[1:-1] for key, tensor in load_file(tmp_path / "out" / name).items()}
    for name, array in arrays.items():
        found = state[name.replace("layers", "blocks")]
        assert found.dtype == torch.float32
        assert bits(found.numpy()) == bits(array)


def test_every_dtype_comes_back_from_shards(tmp_path):
    arrays = {dtype: values(dtype, (5, 3), 1) for dtype in ALL_DTYPES} | {"empty": values("int8", (0, 4))}
    plan = wb.Mapping().plan(checkpoint_of(tmp_path / "net.safetensors", arrays))
    export(plan, tmp_path / "out", shard_size=40)
    again = wb.open(tmp_path / "out")
    assert {key: bits(again[key]) for key in again} == {name: bits(array) for name, array in arrays.items()}


def test_load_export_opens_a_sharded_export(plan, arrays, tmp_path):
    export(plan, tmp_path / "out")
    listed = json.loads((tmp_path / "out" / "mapping.json").read_text())["files"]
    assert [file["name"] for file in listed] == FILES[1:]
    found = {name: bits(array) for name, array in flat(wb.load_export(tmp_path / "out")).items()}
    assert found == {name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()}


def test_load_export_refuses_a_set_with_a_shard_of_another_export(plan, tmp_path):
    export(plan, tmp_path / "out")
    shard = tmp_path / "out" / FILES[2]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(wb.OpenError) as caught:
        wb.load_export(tmp_path / "out")
    assert caught.value.code == "export-changed"
    shard.unlink()
    with pytest.raises(wb.OpenError) as caught:
        wb.load_export(tmp_path / "out")
    assert caught.value.code == "export-incomplete"


def test_what_fits_into_one_shard_is_one_file_without_an_index(plan, tmp_path):
    result = export(plan, tmp_path / "out", shard_size=N * 4_000)
    assert [path.name for path in result.paths] == ["mapping.json", "model.safetensors"]
    export(plan, tmp_path / "plain", shard_size=None)
    assert tree_of(tmp_path / "out") == tree_of(tmp_path / "plain")


def test_the_same_plan_gives_the_same_bytes_by_every_way(plan, tmp_path):
    export(plan, tmp_path / "one")
    with ThreadPoolExecutor(2) as pool:
        export(plan, tmp_path / "two", executor=pool)
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two")


# The first case is the example in the documentation of huggingface_hub's split_torch_state_dict_into_shards.
@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([6, 6, 2, 6, 2, 2], 10, [[6], [6, 2], [6, 2, 2]]),
        ([2, 30, 3, 5], 10, [[30], [2, 3, 5]]),
        ([2, 3], 5, [[2, 3]]),
        ([0, 0], 1, [[0, 0]]),
        ([7], 1, [[7]]),
        ([], 1, [[]]),
    ],
)
def test_tensors_are_split_in_order_and_a_large_one_is_alone(sizes, limit, expected):
    items = [Item(str(n), tensor_of(str(n), np.zeros(size, np.int8))) for n, size in enumerate(sizes)]
    assert [[item.nbytes for item in group] for group in shards.split(items, limit)] == expected


@pytest.mark.parametrize(
    ("said", "nbytes"),
    [
        (123, 123),
        ("123", 123),
        ("5GB", 5_000_000_000),
        ("500 mb", 500_000_000),
        ("1.5kB", 1500),
        (" 2GiB ", 2 << 30),
        ("0.1TB", 100_000_000_000),
        ("7B", 7),
    ],
)
def test_a_size_is_read_as_it_is_written(said, nbytes):
    assert shards.size_of(said) == nbytes


@pytest.mark.parametrize(
    "said", ["", "GB", "5 parsecs", "-1", "0", 0, -5, "1e9", "٣GB", True, None, 2.5, "5G5B", "9" * 5000]
)
def test_what_is_no_size_is_refused(said):
    with pytest.raises(wb.ExportError) as caught:
        shards.size_of(said)
    assert caught.value.code == "shard-size"


@pytest.mark.parametrize("out", ["new/deep/out", "out.zip", "new/out.zip", "new/deep/out.zip"])
def test_every_place_can_be_gone_on_with(out, plan, arrays, tmp_path):
    marked = {}
    for n in (1, 3):
        with pytest.raises(wb.ExportCancelled):
            export(plan, tmp_path / out, cancel=lambda n=n: len(kept(tmp_path, "**/")) >= n)
        found = marks(kept(tmp_path, "**/"))
        assert {name: found[name] for name in marked} == marked
        marked = found
    assert len(marked) == 3
    assert not (tmp_path / out).exists()
    export(plan, tmp_path / out)
    found = {name: bits(array) for name, array in flat(wb.load_export(tmp_path / out)).items()}
    assert found == {name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()}
    assert kept(tmp_path, "**/") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", out.partition("/")[0]])


def test_an_export_that_was_cancelled_goes_on_where_it_was(plan, tmp_path):
    with pytest.raises(wb.ExportCancelled) as caught:
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 2))
    assert "2 shards are finished, of 4" in str(caught.value)
    assert not (tmp_path / "out").exists()
    before = marks(kept(tmp_path))
    assert list(before) == FILES[1:3]
    export(plan, tmp_path / "out")
    after = marks((tmp_path / "out").glob("model-*"))
    assert {name: after[name] for name in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert len(wb.open(tmp_path / "out")) == N


def test_an_export_into_a_folder_that_exists_goes_on_too(plan, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(wb.ExportCancelled):
        export(plan, out, cancel=stop_after(out, 3))
    before = marks(kept(out))
    assert len(before) == 3
    export(plan, out)
    after = marks(out.glob("model-*"))
    assert {name: after[name] for name in before} == before
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "notes.txt"])


def test_nothing_is_kept_where_no_shard_was_finished(plan, tmp_path):
    with pytest.raises(wb.ExportCancelled) as caught:
        export(plan, tmp_path / "out", cancel=lambda: True)
    assert "goes on from there" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_another_size_starts_anew_and_leaves_nothing_behind(plan, tmp_path):
    with pytest.raises(wb.ExportCancelled):
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 2))
    export(plan, tmp_path / "out", shard_size=12_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert len(wb.open(tmp_path / "out")) == N


def test_an_export_into_another_folder_leaves_what_is_kept_alone(plan, tmp_path):
    with pytest.raises(wb.ExportCancelled):
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 2))
    before = marks(kept(tmp_path))
    export(plan, tmp_path / "other")
    assert marks(kept(tmp_path)) == before


def test_a_kept_shard_that_was_damaged_is_written_again(plan, arrays, tmp_path):
    with pytest.raises(wb.ExportCancelled):
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 3))
    cut, same_size, whole = kept(tmp_path)
    cut.write_bytes(cut.read_bytes()[:-1])
    status = same_size.stat()
    data = bytearray(same_size.read_bytes())
    data[-1] ^= 1
    same_size.write_bytes(data)
    os.utime(same_size, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = marks([whole])
    export(plan, tmp_path / "out")
    assert marks([tmp_path / "out" / whole.name]) == before
    again = wb.open(tmp_path / "out")
    assert {key: bits(again[key]) for key in again} == {
        name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()
    }


def test_nothing_is_kept_of_a_source_that_became_another(arrays, tmp_path):
    source = tmp_path / "net.safetensors"
    plan = wb.Mapping().plan(checkpoint_of(source, arrays))
    with pytest.raises(wb.ExportCancelled):
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 2))
    newer = {name: values("float32", (100, 10), 50 + n) for n, name in enumerate(arrays)}
    plan = wb.Mapping().plan(checkpoint_of(source, newer))
    export(plan, tmp_path / "out")
    again = wb.open(tmp_path / "out")
    assert {key: bits(again[key]) for key in again} == {name: bits(array) for name, array in newer.items()}


def test_shards_of_a_source_that_changes_meanwhile_are_not_kept_for_an_export_that_cannot_come(plan, tmp_path):
    source = tmp_path / "in" / "net.safetensors"

    def change():
        if len(kept(tmp_path)) == 2:
            os.truncate(source, source.stat().st_size - 4)
        return False

    with pytest.raises(wb.WorkbenchError) as caught:
        export(plan, tmp_path / "out", cancel=change)
    assert caught.value.code == "changed"
    assert "goes on from there" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_source_that_changes_before_its_export_is_refused(plan, arrays, tmp_path):
    checkpoint_of(tmp_path / "in" / "net.safetensors", {name: array[::-1] for name, array in arrays.items()})
    with ThreadPoolExecutor(1) as pool, pytest.raises(wb.WorkbenchError) as caught:
        export(plan, tmp_path / "out", executor=pool)
    assert caught.value.code == "changed"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


KILLED = """
import sys
from pathlib import Path
import workbench as wb

source, out = map(Path, sys.argv[1:])

def report(progress):
    if len(list(out.parent.glob(".workbench_shards-*/*.receipt.json"))) >= 2:
        print("two", flush=True)
        sys.stdin.read()

wb.export(wb.Mapping().plan(wb.open(source)), out, formats=["safetensors"], shard_size=8_000, progress=report)
"""


def test_an_export_that_was_killed_goes_on_where_it_was(arrays, tmp_path):
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "net.safetensors"
    checkpoint_of(source, arrays)
    command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"two\n"
        process.kill()
    assert not (tmp_path / "out").exists()
    before = marks(kept(tmp_path))
    assert len(before) >= 2
    export(wb.Mapping().plan(wb.open(source)), tmp_path / "out")
    after = marks((tmp_path / "out").glob("model-*"))
    assert {name: after[name] for name in before} == before
    assert kept(tmp_path) == []
    again = wb.open(tmp_path / "out")
    assert {key: bits(again[key]) for key in again} == {name: bits(array) for name, array in arrays.items()}


def test_the_same_export_twice_at_once_is_refused(plan, tmp_path):
    inside, done = threading.Event(), threading.Event()

    def wait() -> bool:
        if stop_after(tmp_path, 1)():
            inside.set()
            done.wait()
        return False

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(export, plan, tmp_path / "out", cancel=wait)
        assert inside.wait(60)
        try:
            with pytest.raises(wb.ExportError) as caught:
                export(plan, tmp_path / "out")
        finally:
            done.set()
        first.result()
    assert caught.value.code == "export-running"
    assert len(wb.open(tmp_path / "out")) == N


def test_progress_of_shards_ends_at_all_bytes(plan, tmp_path):
    said = []
    export(plan, tmp_path / "out", progress=said.append)
    done = [progress.done for progress in said]
    assert done == sorted(done)
    assert said[-1].done == said[-1].total == 2 * N * 4_000
    assert {progress.file for progress in said} <= set(FILES)


def test_shards_of_formats_without_any_are_refused(plan, tmp_path):
    with pytest.raises(wb.ExportError) as caught:
        wb.export(plan, tmp_path / "out", formats=["npz"], shard_size=SHARD)
    assert caught.value.code == "no-format-in-shards"


@pytest.mark.parametrize(("first", "then"), [(None, SHARD), (SHARD, None), (SHARD, 12_000)])
def test_no_file_is_left_beside_the_shards_that_loaders_might_take_for_them(first, then, plan, tmp_path):
    export(plan, tmp_path / "out", shard_size=first)
    before = tree_of(tmp_path / "out")
    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out", shard_size=then, overwrite=True)
    assert caught.value.code == "other-shards"
    assert tree_of(tmp_path / "out") == before


def test_shards_are_replaced_by_those_of_the_same_size(plan, arrays, tmp_path):
    export(plan, tmp_path / "out")
    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out")
    assert caught.value.code == "files-exist"
    again = wb.Mapping([wb.Rule("^layers", "again")]).plan(plan.checkpoint)
    export(again, tmp_path / "out", overwrite=True)
    assert set(wb.open(tmp_path / "out")) == {name.replace("layers", "again") for name in arrays}


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '"lost"', "lost"])
def test_a_shard_whose_receipt_was_damaged_is_written_again(text, plan, arrays, tmp_path):
    with pytest.raises(wb.ExportCancelled):
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 2))
    place = kept(tmp_path)[0].parent
    for receipt in place.glob("*.receipt.json"):
        lacking = json.loads(receipt.read_text())
        del lacking["crcs"]
        receipt.write_text(json.dumps(lacking) if text == "lost" else text)
    export(plan, tmp_path / "out")
    assert flat(wb.load_export(tmp_path / "out")).keys() == {name.replace("layers", "blocks") for name in arrays}
    assert not kept(tmp_path)


def test_a_link_where_shards_are_kept_is_refused_and_not_written_through(plan, tmp_path):
    with pytest.raises(wb.ExportCancelled):
        export(plan, tmp_path / "out", cancel=stop_after(tmp_path, 2))
    place = kept(tmp_path)[0].parent
    place.rename(tmp_path / "elsewhere")
    (tmp_path / "theirs").mkdir()
    place.symlink_to(tmp_path / "theirs")
    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out")
    assert caught.value.code == "kept-is-a-link"
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_folder_whose_name_no_system_takes_is_refused(plan, tmp_path):
    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / ("x" * 300))
    assert caught.value.code == "not-written"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
