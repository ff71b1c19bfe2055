"""A model in several .pt files: named and indexed as transformers does, each read by torch, ties kept."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import workbench as wb
from tests import oracles
from tests.writing.made import bits, checkpoint_of, flat, tree_of, values
from workbench.exporting import planned_files
from workbench.writing.workers import process_pool

SHARD = 8_000
"""Bytes of two of the tensors of `arrays`."""

INDEX = "pytorch_model.bin.index.json"
FILES = [*(f"pytorch_model-0000{n}-of-00004.bin" for n in range(1, 5)), INDEX]


@pytest.fixture
def arrays():
    return {f"layers.{n}.weight": values("float32", (100, 10), n) for n in range(8)}


@pytest.fixture
def plan(arrays, tmp_path):
    (tmp_path / "in").mkdir()
    return wb.Mapping([wb.Rule("^layers", "blocks")]).plan(checkpoint_of(tmp_path / "in" / "net.safetensors", arrays))


@pytest.fixture
def tied(tmp_path):
    """A plan of a file of torch's whose last tensor is its first, as in a language model."""
    torch = oracles.torch()
    torch.manual_seed(0)
    state = {"embed": torch.randn(100, 10), **{f"h.{n}": torch.randn(100, 10) for n in range(5)}}
    state["head"] = state["embed"]
    (tmp_path / "in").mkdir(exist_ok=True)
    torch.save(state, tmp_path / "in" / "tied.pt")
    return wb.Mapping().plan(wb.open(tmp_path / "in" / "tied.pt"))


def export(plan, folder, **options):
    return wb.export(plan, folder, **({"formats": ["pt"], "shard_size": SHARD} | options))


def torch_reads(folder: Path):
    """What torch finds in the shards that the index names, by key; each key must be where the index says."""
    torch = oracles.torch()
    where = json.loads((folder / INDEX).read_text())["weight_map"]
    shards = {name: torch.load(folder / name, weights_only=True) for name in sorted(set(where.values()))}
    assert {key: name for name, shard in shards.items() for key in shard} == where
    return {key: tensor for shard in shards.values() for key, tensor in shard.items()}


def renamed(arrays):
    return {name.replace("layers", "blocks"): bits(array) for name, array in arrays.items()}


def test_torch_reads_each_shard_and_the_index_says_where_every_tensor_is(plan, arrays, tmp_path):
    result = export(plan, tmp_path / "out")
    assert [path.name for path in result.paths] == ["mapping.json", *FILES]
    assert json.loads((tmp_path / "out" / INDEX).read_text())["metadata"] == {"total_size": 32_000}
    assert {key: bits(tensor.numpy()) for key, tensor in torch_reads(tmp_path / "out").items()} == renamed(arrays)


def test_no_shard_passes_the_size(plan, tmp_path):
    export(plan, tmp_path / "out", shard_size=12_000)
    torch = oracles.torch()
    sizes = [
        sum(tensor.nbytes for tensor in torch.load(path, weights_only=True).values())
        for path in sorted((tmp_path / "out").glob("*.bin"))
    ]
    assert sizes == [12_000, 12_000, 8_000]


@pytest.mark.parametrize("what", ["", *FILES[:1], INDEX])
def test_folder_index_and_any_shard_open_the_whole_set_without_a_finding(what, plan, arrays, tmp_path):
    export(plan, tmp_path / "out")
    again = wb.open(tmp_path / "out" / what)
    assert (again.format, again.findings) == ("torch-shards", ())
    assert {key: bits(again[key]) for key in again} == renamed(arrays)


def test_load_export_opens_it_from_a_folder_and_from_a_zip(plan, arrays, tmp_path):
    for out in ("out", "out.zip"):
        export(plan, tmp_path / out)
        found = flat(wb.load_export(tmp_path / out))
        assert {key: bits(array) for key, array in found.items()} == renamed(arrays)


def test_a_shard_that_was_changed_or_lost_is_refused(plan, tmp_path):
    export(plan, tmp_path / "out")
    shard = tmp_path / "out" / FILES[1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(wb.OpenError) as caught:
        wb.load_export(tmp_path / "out")
    assert caught.value.code == "export-changed"
    shard.unlink()
    with pytest.raises(wb.OpenError) as caught:
        wb.load_export(tmp_path / "out")
    assert caught.value.code == "export-incomplete"


def test_tied_tensors_lie_in_one_shard_as_one_storage(tied, tmp_path):
    export(tied, tmp_path / "out")
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    assert index["weight_map"]["head"] == index["weight_map"]["embed"] == "pytorch_model-00001-of-00003.bin"
    assert index["metadata"]["total_size"] == 6 * 4_000
    found = torch_reads(tmp_path / "out")
    assert found["head"].data_ptr() == found["embed"].data_ptr()
    assert list(found) == ["embed", "h.0", "head", "h.1", "h.2", "h.3", "h.4"]
    again = wb.open(tmp_path / "out")
    assert again.ties == (("embed", "head"),)
    assert again.findings == ()


def test_what_fits_into_one_shard_with_its_ties_is_one_file(tied, tmp_path):
    result = export(tied, tmp_path / "out", shard_size=6 * 4_000)
    assert [path.name for path in result.paths] == ["mapping.json", "model.pt"]
    planned = [file.name for file in planned_files(tied, ["pt"], shard_size=6 * 4_000)]
    assert planned == ["mapping.json", "model.pt"]


def test_the_files_to_come_name_the_index(plan):
    names = [file.name for file in planned_files(plan, ["safetensors", "pt"], shard_size=SHARD)]
    assert names == ["mapping.json", "model.safetensors.index.json", INDEX]


def test_both_formats_are_split_by_one_size_and_hold_the_same(plan, tmp_path):
    export(plan, tmp_path / "out", formats=["safetensors", "pt"])
    both = [wb.open(tmp_path / "out" / name) for name in ("model.safetensors.index.json", INDEX)]
    assert list(both[0]) == list(both[1])
    assert all(bits(both[0][key]) == bits(both[1][key]) for key in both[0])


def test_dtypes_that_numpy_has_not_come_back_from_shards(tmp_path):
    torch = oracles.torch()
    names = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "bool", "uint16", "float16", "int64")
    state = {name: torch.arange(12).remainder(2).to(getattr(torch, name)).reshape(3, 4) for name in names}
    state |= {"scalar": torch.tensor(2.0), "empty": torch.zeros(0, 3)}
    torch.save(state, tmp_path / "in.pt")
    export(wb.Mapping().plan(wb.open(tmp_path / "in.pt")), tmp_path / "out", shard_size=30)
    found = torch_reads(tmp_path / "out")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name].view(-1).view(torch.uint8), tensor.view(-1).view(torch.uint8))


def test_every_way_gives_the_same_bytes(plan, tied, tmp_path):
    for one in (plan, tied):
        made = tmp_path / one.checkpoint.name
        export(one, made / "alone")
        export(one, made / "again")
        with ThreadPoolExecutor(2) as pool:
            export(one, made / "threads", executor=pool)
        assert tree_of(made / "alone") == tree_of(made / "again") == tree_of(made / "threads")


def test_processes_write_the_shards(tied, tmp_path):
    export(tied, tmp_path / "alone")
    with process_pool(2) as pool:
        export(tied, tmp_path / "out", executor=pool)
    assert tree_of(tmp_path / "out") == tree_of(tmp_path / "alone")


def test_an_export_that_was_cancelled_goes_on_where_it_was(tied, tmp_path):
    def finished():
        return sorted(tmp_path.glob(".workbench_shards-*/*.bin"))

    with pytest.raises(wb.ExportCancelled) as caught:
        export(tied, tmp_path / "out", cancel=lambda: len(finished()) >= 2)
    assert "2 shards are finished, of 3" in str(caught.value)
    assert not (tmp_path / "out").exists()
    before = {path.name: path.stat().st_ino for path in finished()}
    export(tied, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).stat().st_ino for name in before} == before
    assert torch_reads(tmp_path / "out")["head"].shape == (100, 10)
    assert not finished()


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "pytorch_model-00001-of-00009.bin", INDEX])
def test_no_file_is_left_beside_that_loaders_might_take_for_the_model(name, plan, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"of another model")
    with pytest.raises(wb.ExportError) as caught:
        export(plan, tmp_path / "out", shard_size=None if name != "model.pt" else SHARD)
    assert caught.value.code == "other-shards"
    assert tree_of(tmp_path / "out") == {name: b"of another model"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "net.v1.pt", "net.pth"])
def test_convert_names_the_shards_by_the_file(name, tied, tmp_path):
    torch = oracles.torch()
    done = wb.convert(tied.checkpoint, tmp_path / "new" / name, shard_size="8kB")
    stem, dot, ending = name.rpartition(".")
    shards = [f"{stem}-0000{n}-of-00003{dot}{ending}" for n in (1, 2, 3)]
    assert done.path == tmp_path / "new" / f"{name}.index.json"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([*shards, f"{name}.index.json"])
    assert done.nbytes == sum(path.stat().st_size for path in (tmp_path / "new").iterdir())
    first = torch.load(tmp_path / "new" / shards[0], weights_only=True)
    assert first["head"].data_ptr() == first["embed"].data_ptr()
    for what in ("", shards[1], f"{name}.index.json"):
        again = wb.open(tmp_path / "new" / what)
        assert again.findings == ()
        assert {key: bits(again[key]) for key in again} == {key: bits(tied.checkpoint[key]) for key in tied.checkpoint}


def test_convert_into_shards_goes_on_where_it_was(tied, tmp_path):
    def finished():
        return sorted(tmp_path.glob(".workbench_shards-*/*.pt"))

    with pytest.raises(wb.ExportCancelled):
        wb.convert(tied.checkpoint, tmp_path / "net.pt", shard_size=SHARD, cancel=lambda: bool(finished()))
    before = {path.name: path.stat().st_ino for path in finished()}
    assert before
    wb.convert(tied.checkpoint, tmp_path / "net.pt", shard_size=SHARD)
    assert {name: (tmp_path / name).stat().st_ino for name in before} == before
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "in"


def test_convert_of_what_fits_is_one_file(tied, tmp_path):
    done = wb.convert(tied.checkpoint, tmp_path / "net.pt", shard_size="1MB")
    assert (done.path, wb.open(done.path).ties) == (tmp_path / "net.pt", (("embed", "head"),))


def test_convert_refuses_shards_beside_the_whole_and_in_other_formats(tied, tmp_path):
    wb.convert(tied.checkpoint, tmp_path / "net.pt")
    before = tree_of(tmp_path)
    for out, code in (("net.pt", "other-shards"), ("net.npz", "no-format-in-shards"), ("npy", "no-format-in-shards")):
        with pytest.raises(wb.ExportError) as caught:
            wb.convert(tied.checkpoint, tmp_path / out, shard_size=SHARD, overwrite=True)
        assert caught.value.code == code
    assert tree_of(tmp_path) == before
