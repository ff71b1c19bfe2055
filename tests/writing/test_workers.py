"""Shards written by the workers of an executor: threads, processes, a Dask cluster."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from tests import oracles
from tests.writing.made import bits, checkpoint_of, safetensors_bytes, tensor_of, tree_of, values
from workbench.checkpoint import checkpoint_of as opened
from workbench.core.source import MemorySource
from workbench.writing import shards, workers
from workbench.writing.files import weight_file
from workbench.writing.items import Item
from workbench.writing.progress import Meter

N = 8
SHARD = 8_000


@contextmanager
def dask() -> Iterator[Executor]:
    """One Dask worker in a process of its own, on this machine."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        oracles.unavailable("distributed is not installed")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


POOLS: dict[str, Callable[[], Any]] = {
    "threads": lambda: ThreadPoolExecutor(2),
    "our processes": lambda: workers.process_pool(2),
    "forked processes": lambda: ProcessPoolExecutor(2, multiprocessing.get_context("fork")),
    "dask": dask,
}


@pytest.fixture
def arrays():
    return {f"layers.{n}.weight": values("float32", (100, 10), n) for n in range(N)}


@pytest.fixture
def plan(arrays, tmp_path):
    (tmp_path / "in").mkdir()
    return wb.Mapping([wb.Rule("^layers", "blocks")]).plan(checkpoint_of(tmp_path / "in" / "net.safetensors", arrays))


def export(plan, folder, **options):
    return wb.export(plan, folder, formats=["safetensors"], shard_size=SHARD, **options)


def marks(paths) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def receipts(place: Path) -> list[Path]:
    return list(place.glob(".workbench_shards-*/*.receipt.json"))


def finished(place: Path) -> list[Path]:
    return [path.with_name(path.name.removesuffix(".receipt.json")) for path in receipts(place)]


@pytest.mark.parametrize("pool", POOLS)
def test_workers_write_what_this_process_writes(pool, plan, tmp_path):
    export(plan, tmp_path / "here")
    said = []
    with POOLS[pool]() as executor:
        export(plan, tmp_path / "there", executor=executor, progress=said.append)
    assert tree_of(tmp_path / "there") == tree_of(tmp_path / "here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "in", "there"]
    assert said[-1].done == said[-1].total == 2 * N * 4_000


@pytest.mark.parametrize("pool", POOLS)
def test_an_export_by_workers_that_was_cancelled_goes_on_where_it_was(pool, plan, arrays, tmp_path):
    with POOLS[pool]() as executor, pytest.raises(wb.ExportCancelled) as caught:
        export(plan, tmp_path / "out", executor=executor, cancel=lambda: len(receipts(tmp_path)) >= 2)
    assert "the same export, run again, goes on from there" in str(caught.value)
    assert not (tmp_path / "out").exists()
    before = marks(finished(tmp_path))
    assert len(before) >= 2
    with POOLS[pool]() as executor:
        export(plan, tmp_path / "out", executor=executor)
    after = marks((tmp_path / "out").glob("model-*"))
    assert {name: after[name] for name in before} == before
    again = wb.open(tmp_path / "out")
    assert {key: bits(again[key]) for key in again} == {
        name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_cluster_that_dies_half_way_is_told_and_another_one_goes_on(plan, tmp_path):
    class Dies(Executor):
        """Writes two shards, then breaks as a pool does whose process was killed."""

        def submit(self, fn, /, *args, **kwargs):
            future: Future[Any] = Future()
            if len(receipts(tmp_path)) < 2:
                future.set_result(fn(*args, **kwargs))
            else:
                future.set_exception(RuntimeError("the worker went away"))
            return future

    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out", executor=Dies())
    assert caught.value.code == "worker-failed"
    assert "the worker went away" in str(caught.value)
    assert "2 shards are finished, of 4" in str(caught.value)
    before = marks(finished(tmp_path))
    with dask() as executor:
        export(plan, tmp_path / "out", executor=executor)
    after = marks((tmp_path / "out").glob("model-*"))
    assert len(before) == 2
    assert {name: after[name] for name in before} == before


def test_a_disk_that_is_full_half_way_is_told_and_nothing_is_lost(plan, tmp_path):
    class Fills(Executor):
        """Writes one shard, then has no space for another."""

        def submit(self, fn, /, *args, **kwargs):
            future: Future[Any] = Future()
            if not receipts(tmp_path):
                future.set_result(fn(*args, **kwargs))
            else:
                future.set_exception(OSError(errno.ENOSPC, "No space left on device"))
            return future

    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out", executor=Fills())
    assert caught.value.code == "disk-full"
    (kept,) = tmp_path.glob(".workbench_shards-*")
    assert "1 shard is finished, of 4: the same export, run again, goes on from there." in str(caught.value)
    assert f"Till then it lies in {kept}." in str(caught.value)
    export(plan, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


KILLED = """
import sys
from pathlib import Path
import workbench as wb
from workbench.writing import workers

if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])

    def report(progress):
        if len(list(out.parent.glob(".workbench_shards-*/*.receipt.json"))) >= 2:
            print(*(child.pid for child in __import__("multiprocessing").active_children()), flush=True)
            sys.stdin.read()

    plan = wb.Mapping().plan(wb.open(source))
    with workers.process_pool(2) as pool:
        wb.export(plan, out, formats=["safetensors"], shard_size=8_000, executor=pool, progress=report)
"""


def test_an_export_with_a_pool_that_was_killed_goes_on_and_its_processes_end(arrays, tmp_path):
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "net.safetensors"
    checkpoint_of(source, arrays)
    script = tmp_path / "in" / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(source), str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(Path(wb.__file__).parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        children = [int(pid) for pid in process.stdout.readline().split()]
        assert len(children) == 2
        process.kill()
        process.stdout.read()  # The pipe is closed by the last process that has it.
    before = marks(finished(tmp_path))
    assert len(before) >= 2
    export(wb.Mapping().plan(wb.open(source)), tmp_path / "out")
    after = marks((tmp_path / "out").glob("model-*"))
    assert {name: after[name] for name in before} == before


def task_of(plan, folder: Path) -> workers.Task:
    items = [Item(row.remapped, row.tensor) for row in plan.rows]
    with ThreadPoolExecutor(1) as pool:
        part = shards.sharded("safetensors", plan, items, folder / "out", size=SHARD, executor=pool)
    assert isinstance(part, shards.Shards)
    (folder / "kept").mkdir()
    return replace(part.tasks[1], folder=str(folder / "kept"), stop="stop")


def test_a_task_is_small_and_made_of_plain_data(plan, tmp_path):
    task = task_of(plan, tmp_path)
    assert len(pickle.dumps(task)) < 1_000
    assert pickle.loads(pickle.dumps(task)) == task
    assert task.source == str(tmp_path / "in" / "net.safetensors")
    assert task.items == (("blocks.2.weight", 2, False, ""), ("blocks.3.weight", 3, False, ""))


def test_a_worker_with_another_file_under_the_path_refuses(plan, arrays, tmp_path):
    task = task_of(plan, tmp_path)
    checkpoint_of(Path(task.source), {f"other.{name}": array for name, array in arrays.items()})
    with pytest.raises(wb.ExportError) as caught:
        workers.write_shard(task)
    assert caught.value.code == "changed"
    Path(task.source).unlink()
    with pytest.raises(wb.ExportError) as caught:
        workers.write_shard(task)
    assert caught.value.code == "worker-cannot-open"
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_worker_that_does_not_see_the_folder_says_so(plan, tmp_path):
    task = replace(task_of(plan, tmp_path), folder=str(tmp_path / "elsewhere"))
    with pytest.raises(wb.ExportError) as caught:
        workers.write_shard(task)
    assert caught.value.code == "worker-sees-no-folder"


def test_a_worker_stops_when_the_work_is_called_off(plan, tmp_path):
    task = task_of(plan, tmp_path)
    (tmp_path / "kept" / "stop").touch()
    with pytest.raises(wb.ExportCancelled):
        workers.write_shard(task)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["stop"]


def test_an_error_of_a_worker_process_arrives_whole(tmp_path):
    arrays = {"a": np.ones((4,), np.float32), "b": np.full((4,), 1e30, np.float32)}
    plan = wb.Mapping(casts=[wb.Cast("float16")]).plan(checkpoint_of(tmp_path / "net.safetensors", arrays))
    with workers.process_pool(1) as pool, pytest.raises(wb.ExportError) as caught:
        wb.export(plan, tmp_path / "out", formats=["safetensors"], shard_size=8, executor=pool)
    assert caught.value.code == "cast-does-not-fit"
    assert "'b'" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_casts_are_made_by_workers_too(tmp_path):
    arrays = {f"t{n}": np.arange(100, dtype=np.float32) + n for n in range(4)}
    plan = wb.Mapping(casts=[wb.Cast("float16")]).plan(checkpoint_of(tmp_path / "net.safetensors", arrays))
    with workers.process_pool(1) as pool:
        wb.export(plan, tmp_path / "out", formats=["safetensors"], shard_size=200, executor=pool)
    again = wb.open(tmp_path / "out")
    assert {key: bits(again[key]) for key in again} == {
        name: bits(array.astype(np.float16)) for name, array in arrays.items()
    }


def test_tensors_that_are_computed_are_computed_by_the_workers(tmp_path):
    arrays = {
        f"{n}.{name}": np.random.default_rng(n).normal(size=shape).astype(np.float32)
        for n in range(3)
        for name, shape in (("weight_g", (8, 1)), ("weight_v", (8, 5)), ("bias", (8,)))
    }
    plan = wb.Mapping(fold=True).plan(checkpoint_of(tmp_path / "net.safetensors", arrays))
    export = {"formats": ["safetensors"], "shard_size": 200}
    wb.export(plan, tmp_path / "here", **export)
    with workers.process_pool(1) as pool:
        wb.export(plan, tmp_path / "there", executor=pool, **export)
    assert tree_of(tmp_path / "there") == tree_of(tmp_path / "here")
    assert "0.weight" in wb.open(tmp_path / "there")
    forked = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with forked as pool, pytest.raises(wb.ExportError) as caught:
        wb.export(plan, tmp_path / "forked", executor=pool, **export)
    assert caught.value.code == "forked-worker"


def test_a_checkpoint_that_is_in_memory_only_has_no_workers(tmp_path):
    arrays = {f"t{n}": values("float32", (4,), n) for n in range(2)}
    plan = wb.Mapping().plan(opened(MemorySource(safetensors_bytes(arrays))))
    with ThreadPoolExecutor(1) as pool, pytest.raises(wb.ExportError) as caught:
        wb.export(plan, tmp_path / "out", formats=["safetensors"], executor=pool)
    assert caught.value.code == "source-in-memory"
    wb.export(plan, tmp_path / "out", formats=["safetensors"], shard_size=16)
    assert len(wb.open(tmp_path / "out")) == 2


def test_a_pool_that_is_shut_is_an_error_that_says_so(plan, tmp_path):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out", executor=pool)
    assert caught.value.code == "worker-failed"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_one_file_below_the_size_is_written_by_a_worker(plan, tmp_path):
    with workers.process_pool(1) as pool:
        wb.export(plan, tmp_path / "there", formats=["safetensors"], executor=pool)
    wb.export(plan, tmp_path / "here", formats=["safetensors"])
    assert tree_of(tmp_path / "there") == tree_of(tmp_path / "here")


def test_each_tensor_of_a_shard_is_verified(tmp_path):
    item = Item("a", tensor_of("a", values("float32", (4,))))

    class Torn(Meter):
        """The disk changes a byte between writing and reading."""

        def begin(self, file, step):
            if step == "verify":
                (path,) = tmp_path.glob("part-*/one")
                data = bytearray(path.read_bytes())
                data[-1] ^= 1
                path.write_bytes(data)

    file = weight_file("safetensors", [item], name="one")
    with pytest.raises(wb.ExportError) as caught:
        workers.write_items(tmp_path, file, "", verify=True, meter=Torn())
    assert caught.value.code == "not-verified"
    assert list(tmp_path.iterdir()) == []
