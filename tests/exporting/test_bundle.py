"""An export, and what comes back from it."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.writing.made import (
    ALL_DTYPES,
    HOSTILE_NAMES,
    bits,
    checkpoint_of,
    flat,
    safetensors_bytes,
    torch_zip,
    tree_of,
    values,
)
from workbench.exporting import planned_files

SAMPLES = Path(wb.__file__).parent / "samples"
WEIGHTS = ["model.npz", "model.safetensors"]
TEXTS = ["load.rs", "Cargo.toml", "load.py", "REPORT.md"]
FILES = ["mapping.json", *WEIGHTS, *TEXTS]


@pytest.fixture
def net():
    return wb.open(SAMPLES / "net.pt")


def plan_of(checkpoint, *rules, **decided) -> wb.Plan:
    return wb.Mapping([wb.Rule(*rule) for rule in rules], **decided).plan(checkpoint)


def test_an_export_holds_the_values_under_their_new_names(net, tmp_path):
    plan = plan_of(net, ("^conv", "c"))
    assert any(row.original != row.remapped for row in plan.rows)
    result = wb.export(plan, tmp_path / "out")
    expected = {row.remapped: bits(row.tensor.read()) for row in plan.rows}
    assert [path.name for path in result.paths] == FILES
    assert result.nbytes == sum(path.stat().st_size for path in result.paths)
    with np.load(tmp_path / "out" / "model.npz", allow_pickle=False) as npz:
        assert {name: bits(npz[name]) for name in npz.files} == expected
    loaded = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert {name: bits(array) for name, array in loaded.items()} == expected
    nested = wb.load_export(tmp_path / "out")
    assert {name: bits(array) for name, array in flat(nested).items()} == expected


def test_load_export_nests_names_by_their_dots(net, tmp_path):
    wb.export(plan_of(net), tmp_path / "out")
    nested = wb.load_export(tmp_path / "out")
    key = next(iter(net.keys()))
    level = nested
    for segment in key.split("."):
        level = level[segment]
    assert bits(level) == bits(net[key])


def test_the_exported_safetensors_opens_as_a_checkpoint_again(net, tmp_path):
    wb.export(plan_of(net), tmp_path / "out")
    again = wb.open(tmp_path / "out" / "model.safetensors")
    assert {key: bits(again[key]) for key in again} == {key: bits(net[key]) for key in net}
    assert again.metadata == {"format": "pt"}
    assert not again.findings


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.lists(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=4),
            min_size=1,
            max_size=3,
        ).map(".".join),
        st.builds(
            values, st.sampled_from(ALL_DTYPES), st.lists(st.integers(0, 3), max_size=3).map(tuple), st.integers(0, 99)
        ),
        max_size=6,
    )
)
def test_every_value_comes_back_bit_for_bit(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("roundtrip")
    plan = plan_of(checkpoint_of(folder / "net.safetensors", table), reindex=False)
    if plan.collisions:
        with pytest.raises(wb.CollisionError):
            wb.export(plan, folder / "out")
        assert not (folder / "out").exists()
        return
    wb.export(plan, folder / "out")
    back = flat(wb.load_export(folder / "out"))
    assert {name: bits(array) for name, array in back.items()} == {name: bits(array) for name, array in table.items()}


def test_every_dtype_and_every_hostile_name_comes_back_bit_for_bit(tmp_path):
    table = {f"dtype.{dtype}": values(dtype, (3, 2), n) for n, dtype in enumerate(ALL_DTYPES)}
    table |= {name: values("bfloat16", (1,), n) for n, name in enumerate(HOSTILE_NAMES) if name}
    checkpoint = checkpoint_of(tmp_path / "net.safetensors", table)
    before = tree_of(tmp_path)
    wb.export(plan_of(checkpoint), tmp_path / "out")
    after = tree_of(tmp_path)
    assert sorted(after.keys() - before.keys()) == sorted(["out", *(f"out/{name}" for name in FILES)])
    back = flat(wb.load_export(tmp_path / "out"))
    assert {name: bits(array) for name, array in back.items()} == {name: bits(array) for name, array in table.items()}


def test_arrays_that_come_back_can_be_written_to(net, tmp_path):
    wb.export(plan_of(net), tmp_path / "out")
    assert all(array.flags.writeable for array in flat(wb.load_export(tmp_path / "out")).values())


def test_mapping_json_says_what_was_done(net, tmp_path):
    plan = plan_of(net, ("^conv", "c"))
    wb.export(plan, tmp_path / "out")
    said = json.loads((tmp_path / "out" / "mapping.json").read_text("ascii"))
    assert list(said) == [
        "schema", "version", "source", "burn", "route", "top_level_key", "selection", "rules", "reindex",
        "keep_indices", "skip_enum_variants", "layout", "casts", "fold", "reader", "reindexed", "ties", "rows", "files",
    ]  # fmt: skip
    assert said["schema"] == "checkpoint-workbench/mapping"
    assert said["source"] == {
        "name": "net.pt",
        "size": net.size,
        "format": "torch-zip",
        "fingerprint": net.fingerprint,
    }
    assert (said["burn"], said["reader"]) == ({"version": "0.22", "api": None}, "PytorchStore")
    assert said["rules"] == [{"pattern": "^conv", "replacement": "c", "enabled": True}]
    assert (said["reindex"], said["reindexed"], said["top_level_key"]) == (None, True, None)
    assert said["rows"] == [
        {
            "original": row.original,
            "remapped": row.remapped,
            "shape": list(row.tensor.shape),
            "dtype": row.tensor.dtype.name,
            "status": str(row.status),
        }
        for row in plan.rows
    ]
    assert [file["name"] for file in said["files"]] == FILES[1:]


def test_mapping_json_gives_the_mapping_back(net, tmp_path):
    mapping = wb.Mapping([wb.Rule("a", "b", enabled=False), wb.Rule("^conv", "c")], reindex=False, burn="0.21")
    wb.export(mapping.plan(net), tmp_path / "out")
    assert wb.Mapping.load(tmp_path / "out" / "mapping.json") == mapping


def test_mapping_json_names_the_dtypes_that_npz_lacks(tmp_path):
    table = {"a": values("bfloat16", (2,)), "b": values("float8_e5m2", (2,)), "c": values("float32", (2,))}
    wb.export(plan_of(checkpoint_of(tmp_path / "net.safetensors", table)), tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "mapping.json").read_text())["rows"]
    assert {row["original"]: row.get("npz_dtype") for row in rows} == {"a": "uint16", "b": "uint8", "c": None}


def test_an_export_of_the_same_plan_has_the_same_bytes(net, tmp_path):
    wb.export(plan_of(net), tmp_path / "one")
    wb.export(plan_of(wb.open(SAMPLES / "net.pt")), tmp_path / "two")
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two")


def test_an_unreadable_tensor_is_listed_and_not_exported(tmp_path):
    path = torch_zip(
        tmp_path / "net.pt", {"good": ("FloatStorage", 2, b"\0" * 8), "bad": ("FloatStorage", 9, b"\0" * 8)}
    )
    plan = plan_of(wb.open(path))
    wb.export(plan, tmp_path / "out")
    rows = {row["original"]: row for row in json.loads((tmp_path / "out" / "mapping.json").read_text())["rows"]}
    assert rows["bad"]["status"] == "skipped"
    assert rows["bad"]["reason"]
    assert list(wb.load_export(tmp_path / "out")) == ["good"]
    assert [(file.name, file.nbytes, file.note) for file in planned_files(plan, ["npz", "safetensors"])] == [
        ("mapping.json", None, "2 rows"),
        ("model.npz", 8, "8 B of tensors"),
        ("model.safetensors", 8, "8 B of tensors"),
    ]


def test_a_plan_without_tensors_exports_empty_files(tmp_path):
    wb.export(plan_of(checkpoint_of(tmp_path / "net.safetensors", {})), tmp_path / "out")
    assert wb.load_export(tmp_path / "out") == {}


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_export_refuses_while_two_keys_collide(net, tmp_path):
    plan = plan_of(net, ("^.*$", "same"))
    with pytest.raises(wb.CollisionError, match="one remapped key is claimed more than once") as caught:
        wb.export(plan, tmp_path / "deep" / "out")
    assert "'same' comes from" in str(caught.value)
    assert tree_of(tmp_path) == {}


def test_export_refuses_a_name_that_other_names_lie_below(tmp_path):
    table = {"a": values("float32", (1,)), "a.b": values("float32", (1,))}
    plan = plan_of(checkpoint_of(tmp_path / "net.safetensors", table))
    with pytest.raises(wb.CollisionError, match="'a' is the name of a tensor"):
        wb.export(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_refuses_complex128_before_anything_is_written(tmp_path):
    path = torch_zip(
        tmp_path / "net.pt", {"ok": ("FloatStorage", 1, b"\0" * 4), "c": ("ComplexDoubleStorage", 1, b"\0" * 16)}
    )
    before = tree_of(tmp_path)
    with pytest.raises(wb.ExportError, match=r"'c' \(complex128\): safetensors has no such dtype"):
        wb.export(plan_of(wb.open(path)), tmp_path / "out")
    assert tree_of(tmp_path) == before


def test_export_over_an_earlier_one_needs_to_be_asked_for(net, tmp_path):
    wb.export(plan_of(net), tmp_path)
    before = tree_of(tmp_path)
    with pytest.raises(wb.ExportError, match="exist already"):
        wb.export(plan_of(net, ("conv", "c")), tmp_path)
    assert tree_of(tmp_path) == before
    wb.export(plan_of(net, ("conv", "c")), tmp_path, overwrite=True)
    assert tree_of(tmp_path) != before
    wb.load_export(tmp_path)


def test_export_never_writes_over_the_checkpoint_it_reads(tmp_path):
    table = {"w": values("float32", (4,))}
    checkpoint = checkpoint_of(tmp_path / "model.safetensors", table)
    with pytest.raises(wb.ExportError, match="the checkpoint itself"):
        wb.export(plan_of(checkpoint), tmp_path, overwrite=True)
    assert tree_of(tmp_path) == {"model.safetensors": safetensors_bytes(table)}


def test_a_checkpoint_that_was_cut_meanwhile_leaves_the_earlier_export(tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint = checkpoint_of(path, {"a": values("float32", (4,)), "b": values("float32", (4000,))})
    plan = plan_of(checkpoint)
    wb.export(plan, tmp_path / "out")
    before = tree_of(tmp_path / "out")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8000)
    with pytest.raises(wb.WorkbenchError):
        wb.export(plan, tmp_path / "out", overwrite=True)
    assert tree_of(tmp_path / "out") == before


LIMITED = """
import resource, sys
import workbench as wb
plan = wb.Mapping().plan(wb.open(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    wb.export(plan, sys.argv[2], overwrite=True)
except wb.ExportError as error:
    print(error)
"""


@pytest.mark.parametrize("is_earlier", [False, True])
def test_a_system_that_stops_the_writing_changes_nothing(tmp_path, is_earlier):
    path = tmp_path / "net.safetensors"
    checkpoint = checkpoint_of(path, {"a": values("float32", (4,)), "b": values("float32", (20_000,))})
    if is_earlier:
        wb.export(plan_of(checkpoint), tmp_path / "out")
    before = tree_of(tmp_path)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(wb.__file__).parents[1],
    )
    assert "Nothing was changed." in done.stdout
    assert "[not-written]" in done.stdout
    assert tree_of(tmp_path) == before


# ---- what load_export refuses ----------------------------------------------------------------------------------------


@pytest.fixture
def exported(net, tmp_path):
    wb.export(plan_of(net), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["mapping.json", *WEIGHTS])
def test_load_export_names_a_file_that_is_missing(exported, name):
    (exported / name).unlink()
    with pytest.raises(wb.WorkbenchError, match=name):
        wb.load_export(exported)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("change", ["flip", "cut", "grow"])
def test_load_export_refuses_a_file_that_is_not_the_one_exported(exported, name, change):
    data = bytearray((exported / name).read_bytes())
    if change == "flip":
        data[len(data) // 2] ^= 1
    elif change == "cut":
        del data[-1:]
    else:
        data += b"\0"
    (exported / name).write_bytes(data)
    with pytest.raises(wb.OpenError, match=f"{name}: This file is not the one that was exported"):
        wb.load_export(exported)


def test_load_export_refuses_the_weights_of_another_export(exported, net, tmp_path):
    wb.export(plan_of(net, ("conv", "c")), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.npz", exported / "model.npz")
    with pytest.raises(wb.OpenError, match="not the one that was exported"):
        wb.load_export(exported)


def change_row(**fields):
    return lambda said: said["rows"][0].update(fields)


@pytest.mark.parametrize(
    "tamper",
    [
        change_row(shape=[2**62, 2**62]),
        change_row(shape=[-1]),
        change_row(shape=[1.0]),
        change_row(shape=[True]),
        change_row(shape="3"),
        change_row(shape=[1] * 70),
        change_row(shape=[0, 2**62]),
        change_row(dtype="float64"),
        change_row(dtype="bfloat16"),
        change_row(dtype="bfloat16", npz_dtype="uint16"),
        change_row(dtype="object"),
        change_row(dtype=7),
        change_row(remapped="elsewhere"),
        change_row(remapped=None),
        change_row(status="skipped"),
        change_row(npz_dtype="uint8"),
        lambda said: said["rows"].pop(),
        lambda said: said["rows"].append(said["rows"][0]),
        lambda said: said["rows"].append("row"),
        lambda said: said.pop("rows"),
        lambda said: said.update(rows={}),
        lambda said: said.pop("files"),
        lambda said: said["files"].clear(),
        lambda said: said["files"].append(said["files"][0]),
        lambda said: said["files"][0].update(name="../out/model.npz"),
        lambda said: said["files"][0].update(blake3="0" * 64),
        lambda said: said["files"][0].update(blake3=None),
        lambda said: said["files"][0].update(nbytes="many"),
        lambda said: said.update(schema="other"),
        lambda said: said.update(version=3),
        change_row(written={}),
        change_row(written="w"),
        change_row(written={"name": "elsewhere", "shape": [1], "dtype": "float32"}),
        lambda said: said.update(rules=[{"pattern": "(", "replacement": "", "enabled": True}]),
    ],
)
def test_load_export_refuses_a_mapping_that_does_not_fit(exported, tamper):
    said = json.loads((exported / "mapping.json").read_text())
    tamper(said)
    (exported / "mapping.json").write_text(json.dumps(said))
    with pytest.raises((wb.MappingError, wb.OpenError)):
        wb.load_export(exported)


def test_an_empty_name_is_not_taken_for_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = wb.Mapping().plan(checkpoint_of(tmp_path / "x.safetensors", {"w": values("int8", (2,))}))
    with pytest.raises(wb.ExportError, match="needs the name of a folder"):
        wb.export(plan, "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff", "[" * 100_000])
def test_load_export_refuses_what_is_no_mapping(exported, text):
    (exported / "mapping.json").write_text(text, "latin-1")
    with pytest.raises(wb.MappingError):
        wb.load_export(exported)


def test_load_export_of_a_folder_that_is_no_export_says_so(tmp_path):
    with pytest.raises(wb.MappingError, match=r"mapping\.json"):
        wb.load_export(tmp_path)


def test_load_export_never_allocates_what_a_mapping_only_claims(exported):
    import zipfile

    with zipfile.ZipFile(exported / "model.npz", "w") as archive:
        archive.writestr("huge.npy", b"\x93NUMPY")
    data = (exported / "model.npz").read_bytes()
    said = json.loads((exported / "mapping.json").read_text())
    said["rows"] = [
        {"original": "huge", "remapped": "huge", "shape": [2**40], "dtype": "float32", "status": "unchanged"}
    ]
    said["files"][0] |= {"nbytes": len(data), "blake3": blake3(data).hexdigest()}
    (exported / "mapping.json").write_text(json.dumps(said))
    with pytest.raises(wb.OpenError, match="has not the size that mapping"):
        wb.load_export(exported)


def test_load_export_reads_an_object_array_as_nothing_but_an_error(exported):

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (exported / "ran",))

    np.savez(exported / "model.npz", w=np.array([Bomb()], object))
    data = (exported / "model.npz").read_bytes()
    said = json.loads((exported / "mapping.json").read_text())
    said["rows"] = [{"original": "w", "remapped": "w", "shape": [1], "dtype": "int64", "status": "unchanged"}]
    said["files"][0] |= {"nbytes": len(data), "blake3": blake3(data).hexdigest()}
    (exported / "mapping.json").write_text(json.dumps(said))
    with pytest.raises(wb.OpenError):
        wb.load_export(exported)
    assert not (exported / "ran").exists()


def test_planned_files_say_how_much_would_be_written(net):
    n_bytes = sum(tensor.nbytes for tensor in net.tensors)
    assert n_bytes < 1000
    found = {file.name: file for file in planned_files(plan_of(net))}
    assert list(found) == FILES
    assert (found["mapping.json"].format, found["mapping.json"].note) == ("", f"{len(net.tensors)} rows")
    assert [(found[name].format, found[name].nbytes) for name in WEIGHTS] == [
        ("npz", n_bytes),
        ("safetensors", n_bytes),
    ]
    assert {found[name].nbytes for name in TEXTS} == {None}
    assert all(file.is_default for file in found.values())


def test_planned_sizes_know_of_casts_precision_and_ties(net):
    n_bytes = sum(tensor.nbytes for tensor in net.tensors)
    half = plan_of(net, casts=[wb.Cast("float16", from_dtype="float32")])
    assert planned_files(half, ["pt"])[1].nbytes == n_bytes // 2
    assert planned_files(plan_of(net), ["mpk"], precision="half")[1].nbytes == n_bytes // 2
    assert not any(file.is_default for file in planned_files(plan_of(net), ["pt", "bpk"])[1:])
    assert [file.name for file in planned_files(plan_of(net, burn=None), ["rust", "python"])] == [
        "mapping.json",
        "load.py",
    ]


def test_no_shard_is_written_over(tmp_path):
    save_file = safetensors.numpy.save_file
    folder = tmp_path / "shards"
    folder.mkdir()
    save_file({"a": np.ones(2, np.float32)}, folder / "model.safetensors")
    save_file({"b": np.ones(2, np.float32)}, folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    before = (folder / "model.safetensors").read_bytes()
    plan = wb.Mapping().plan(wb.open(folder))
    with pytest.raises(wb.ExportError, match="never writes over its source"):
        wb.export(plan, folder, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() == before


def test_on_the_exported_route_layouts_and_casts_are_in_the_files(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    table = {"fc.weight": weight, "norm.weight": np.ones(3, np.float32)}
    ckpt = checkpoint_of(tmp_path / "net.safetensors", table)
    mapping = wb.Mapping(
        route="exported",
        layout=wb.Layout(True, (("fc", "Linear"), ("norm", "LayerNorm"))),
        casts=[wb.Cast("float64", wb.Pick("node", "fc"))],
    )
    wb.export(mapping.plan(ckpt), tmp_path / "out")
    loaded = wb.load_export(tmp_path / "out")
    np.testing.assert_array_equal(loaded["fc"]["weight"], weight.T)
    assert loaded["fc"]["weight"].dtype == np.float64
    assert list(loaded["norm"]) == ["gamma"]
    written = wb.open(tmp_path / "out" / "model.safetensors")
    assert {key: (t.shape, t.dtype.name) for key, t in zip(written, written.tensors, strict=True)} == {
        "fc.weight": ((3, 2), "float64"),
        "norm.gamma": ((3,), "float32"),
    }


def test_on_the_original_route_layouts_are_left_to_burn(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    ckpt = checkpoint_of(tmp_path / "net.safetensors", {"fc.weight": weight})
    plan = wb.Mapping(layout=wb.Layout(True, (("fc", "Linear"),))).plan(ckpt)
    assert plan.rows[0].layout == "transpose"
    wb.export(plan, tmp_path / "out")
    np.testing.assert_array_equal(wb.load_export(tmp_path / "out")["fc"]["weight"], weight)


@pytest.mark.parametrize(
    ("values", "dtype"), [([1e30], "float16"), ([300.0], "uint8"), ([0.5], "int32"), ([np.nan], "int8")]
)
def test_a_cast_that_loses_a_value_is_refused_and_writes_nothing(tmp_path, values, dtype):
    ckpt = checkpoint_of(tmp_path / "net.safetensors", {"w": np.array(values, np.float32)})
    with pytest.raises(wb.ExportError, match=f"'w' has values that {dtype} cannot hold"):
        wb.export(wb.Mapping(casts=[wb.Cast(dtype)]).plan(ckpt), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_mapping_of_an_export_replays_to_the_same_bytes(net, tmp_path):
    mapping = wb.Mapping(
        [wb.Rule("^conv", "c", note="short")],
        route="exported",
        selection=wb.Selection(exclude=(wb.Pick("regex", "2"),)),
        layout=wb.Layout(True, (("c1", "LayerNorm"),)),
        casts=[wb.Cast("float16")],
    )
    wb.export(mapping.plan(net), tmp_path / "one")
    again = wb.Mapping.load(tmp_path / "one" / "mapping.json")
    assert again == mapping
    wb.export(again.plan(wb.open(SAMPLES / "net.pt")), tmp_path / "two")
    for name in ("mapping.json", "model.npz", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_load_export_takes_files_of_all_frameworks_before_those_of_burn(tmp_path):
    ckpt = checkpoint_of(tmp_path / "net.safetensors", {"norm.weight": np.arange(3, dtype=np.float32)})
    plan = wb.Mapping(layout=wb.Layout(modules=(("norm", "LayerNorm"),))).plan(ckpt)
    for formats in (["npy"], ["npy", "bpk"]):
        wb.export(plan, tmp_path / "-".join(formats), formats=formats)
        assert list(wb.load_export(tmp_path / "-".join(formats))["norm"]) == ["weight"]
    wb.export(plan, tmp_path / "bpk", formats=["bpk"])
    assert list(wb.load_export(tmp_path / "bpk")["norm"]) == ["gamma"]
