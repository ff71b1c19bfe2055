"""Our .mpk beside those that the real crates wrote of the same model."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.oracles import corpus
from tests.writing.made import bits, checkpoint_of, tensor_of, values
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import dtype_named
from workbench.core.tree import Dict
from workbench.errors import ExportError
from workbench.exporting import export
from workbench.formats.msgpack import walk
from workbench.target import Target
from workbench.target.record import Leaf, Template
from workbench.writing.items import Item
from workbench.writing.mpk_file import mpk_id, mpk_record, write_mpk

RUST = (Path(__file__).parent / "modules.rs").read_text()
RELEASES = {"0.18": "0.18.0", "0.19": "0.19.1", "0.20": "0.20.1", "0.21": "0.21.0"}
MODULES = {
    "net": "Net",
    "linear": "LinearNet",
    "batch_norm": "BatchNormNet",
    "layer_norm": "LayerNormNet",
    "instance_norm": "InstanceNormNet",
    "conv1d": "Net1d",
    "conv_transpose": "ConvTransposeNet",
    "embedding": "EmbeddingNet",
    "vec": "Guide",
    "nested_vec": "NestedVec",
    "nested": "Nested",
    "enum_plain": "EnumNet",
    "enum_depthwise": "EnumNetDws",
    "options": "OptionNet",
    "options_none": "NoneNet",
    "constants": "Constants",
    "bool": "BoolNet",
    "int": "IntNet",
    "int_small": "IntNet",
    "ints": "Ints",
    "floats": "Floats",
    "tuple": "TupleNet",
    "array": "ArrayNet",
}


def ids_in(data: bytes) -> dict[str, str]:
    """The id of each parameter of a file, by its path."""
    found = {}

    def look(node, path):
        if isinstance(node, Dict) and "param" in node:
            found[".".join(path)] = node["id"]
        elif isinstance(node, Dict):
            for name, inner in node.items():
                look(inner, (*path, name))
        elif isinstance(node, list):
            for n, inner in enumerate(node):
                look(inner, (*path, str(n)))

    look(walk(MemorySource(data, "x"), lambda node: node)[0]["item"], ())
    return found


def written(record, **options) -> bytes:
    file = io.BytesIO()
    write_mpk(record, file, **options)
    return file.getvalue()


def items_of(checkpoint):
    return [Item(tensor.key, tensor) for tensor in checkpoint.tensors]


def rust(root, text=RUST, burn="0.22"):
    return Target.from_rust(text, root=root, burn=burn)


def cases(version):
    folder = corpus("golden/import/mpk") / RELEASES[version]
    return [path for path in sorted(folder.glob("*.mpk")) if not path.stem.endswith("-double")]


@pytest.mark.parametrize("source", ["rust", "template"])
@pytest.mark.parametrize("version", RELEASES)
def test_the_bytes_are_those_that_the_crates_write_of_the_same_model(version, source):
    compared = set()
    for path in cases(version):
        name, precision = path.stem.rsplit("-", 1)
        ckpt = wb.open(path)
        target = rust(MODULES[name]) if source == "rust" else Target.open(path)
        shuffled = items_of(ckpt)[::-1]
        record = mpk_record(shuffled, target, version=version, precision=precision)
        theirs = path.read_bytes()
        assert written(record, ids=ids_in(theirs).get) == theirs, path.name
        assert not record.unused
        compared.add(name)
    assert set(MODULES) == compared


def parameters_of(node, path=()):
    """Path to shape of all parameters of a record as the crates tell it."""
    if isinstance(node, dict) and "param" in node:
        return {".".join(path): tuple(node["param"]["shape"])}
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return {key: shape for name, each in inner for key, shape in parameters_of(each, (*path, str(name))).items()}


def without_tensors(node):
    """A record with a text in place of each parameter; fields in order."""
    if isinstance(node, Leaf) or (isinstance(node, dict) and "param" in node):
        return "P"
    if isinstance(node, dict):
        return [(name, without_tensors(each)) for name, each in node.items()]
    return [without_tensors(each) for each in node] if isinstance(node, list) else node


@pytest.mark.parametrize("version", ["0.18", "0.19", "0.20"])
def test_the_fields_are_those_of_records_that_the_crates_hold_in_memory(version):
    folder = corpus("golden/import/load")
    module_of = {case["name"]: case["module"] for case in json.loads((folder / "cases.json").read_text())}
    compared = set()
    for name, outcome in json.loads((folder / f"{RELEASES[version]}.json").read_text()).items():
        module = module_of[name]
        trees = [one["ok"] for one in outcome["record"] if "ok" in one]
        if not trees or f"struct {module}<" not in RUST:
            continue
        tree = trees[0]
        items = [item(path, np.zeros(shape, "float32")) for path, shape in parameters_of(tree).items()]
        record = mpk_record(items, rust(module), version=version)
        assert without_tensors(record.tree) == without_tensors(tree), name
        compared.add(module)
    assert {"LooseNet", "ByRankNet", "Chained", "GroupNormNet", "PReluNet", "EnumNet", "Constants"} <= compared


# ---- the file -----------------------------------------------------------------------------------------


def item(name, array, **options):
    return Item(name, tensor_of(name, array), **options)


def float_items(names, shape=(2,)):
    return [item(name, values("float32", shape, n)) for n, name in enumerate(names)]


@pytest.mark.parametrize(
    ("dtype", "full", "half"),
    [
        ("float64", "float32", "float16"),
        ("float32", "float32", "float16"),
        ("bfloat16", "float32", "float16"),
        ("float8_e4m3fn", "float32", "float16"),
        ("int64", "int32", "int16"),
        ("uint8", "int32", "int16"),
        ("bool", "bool", "bool"),
    ],
)
def test_values_get_the_dtypes_of_the_recorder_and_that_is_said(tmp_path, dtype, full, half):
    array = np.array([0, 1, 1, 0, 1]).astype(dtype_named(dtype).numpy)
    kind = {"int64": ", Int", "uint8": ", Int", "bool": ", Bool"}.get(dtype, "")
    target = rust(None, f"#[derive(Module)] struct Net<B: Backend> {{ w: Param<Tensor<B, 1{kind}>> }}")
    for precision, wanted in [("full", full), ("half", half)]:
        record = mpk_record([item("w", array)], target, version="0.20", precision=precision)
        path = tmp_path / f"{precision}.mpk"
        path.write_bytes(written(record))
        back = wb.open(path)["w"]
        assert (back.dtype.name, back.tolist()) == (wanted, array.astype(wanted).tolist())
        assert record.notes == (() if wanted == dtype else (f"w: cast from {dtype} to {wanted}",))


def test_a_cast_of_the_plan_outranks_the_precision(tmp_path):
    target = rust(None, "#[derive(Module)] struct Net<B: Backend> { w: Param<Tensor<B, 1>> }")
    array = np.array([1.5, 2.0], "float32")
    record = mpk_record([item("w", array, cast="bfloat16")], target, version="0.20", precision="full")
    (tmp_path / "x.mpk").write_bytes(written(record))
    assert wb.open(tmp_path / "x.mpk")["w"].dtype.name == "bfloat16"


@pytest.mark.parametrize(
    ("precision", "value"), [("full", 1 << 31), ("full", -(1 << 31) - 1), ("half", 32768), ("half", -70000)]
)
def test_an_integer_out_of_range_is_refused_by_name_and_not_wrapped(precision, value):
    record = mpk_record([item("buffer", np.array([1, value]))], rust("IntNet"), version="0.20", precision=precision)
    with pytest.raises(ExportError, match=r"'buffer' has values that int\d\d cannot hold.*Burn stores int") as caught:
        written(record)
    assert caught.value.code == "cast-does-not-fit"


def test_a_record_of_many_fields_elements_and_long_names_is_read_back(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(0,), (), (3,), (70,), (5, 300), (70_000,)]
    fields = [f"field_{n}_{'x' * (n % 300)}" for n in range(400)]
    rust_fields = "".join(f"{name}: Param<Tensor<B, {len(shapes[n % 6])}>>, " for n, name in enumerate(fields))
    rust_fields += "list: Vec<Param<Tensor<B, 1>>>, n: [usize; 70_000]"
    text = f"#[derive(Module)] struct Net<B: Backend> {{ {rust_fields} }}"
    arrays = {name: rng.random(shapes[n % 6]).astype("float32") for n, name in enumerate(fields)}
    arrays |= {f"list.{n}": rng.random(2).astype("float32") for n in range(300)}
    path = tmp_path / "net.mpk"
    path.write_bytes(written(mpk_record([item(*pair) for pair in arrays.items()], rust(None, text), version="0.20")))
    back = wb.open(path)
    assert list(back) == list(arrays)
    assert {key: bits(back[key]) for key in back} == {key: bits(array) for key, array in arrays.items()}


def test_ids_are_of_the_name_alone_differ_and_are_spelt_as_burn_does():
    ids = [mpk_id(f"layers.{n}.weight") for n in range(2000)]
    assert len(set(ids)) == 2000
    assert all(re.fullmatch("[0-9a-v]{12}[02468acegikmoqsu]", each) for each in ids)
    assert ids[7] == mpk_id("layers.7.weight")


def test_the_same_items_in_another_order_give_the_same_bytes():
    items = float_items(["fc1.bias", "fc2.bias"], (3,)) + float_items(["fc1.weight", "fc2.weight"], (2, 3))
    ours = [written(mpk_record(each, rust("LinearNet"), version="0.20")) for each in (items, items[::-1])]
    assert ours[0] == ours[1]


# ---- what the record is known from --------------------------------------------------------------------


def test_an_lstm_has_its_activations_from_0_20_on():
    gates = ["input_gate", "forget_gate", "output_gate", "cell_gate"]
    names = [f"lstm.{gate}.{side}_transform" for gate in gates for side in ("input", "hidden")]
    items = float_items([f"{name}.weight" for name in names], (2, 3))
    old = mpk_record(items, rust("Recurrent"), version="0.19")
    new = mpk_record(items, rust("Recurrent"), version="0.20")
    assert list(old.tree["lstm"]) == [*gates, "d_hidden"]
    assert list(new.tree["lstm"])[5:] == [
        *("batch_first", "reverse", "clip", "input_forget"),
        *("gate_activation", "cell_activation", "hidden_activation"),
    ]
    assert new.tree["lstm"]["gate_activation"] == {"Sigmoid": None}
    assert any(note.startswith("lstm.gate_activation: written as Sigmoid") for note in new.notes)
    assert not any("activation" in note for note in old.notes)


def test_the_fields_of_a_constant_field_follow_the_version():
    fields = "w: Param<Tensor<B, 1>>, n: [usize; 3], t: (usize, f64), d: Dropout"
    text = f"#[derive(Module)] struct Net<B: Backend> {{ {fields} }}"
    trees = {v: mpk_record(float_items(["w"]), rust(None, text), version=v).tree for v in RELEASES}
    assert all(trees[v]["n"] == [None] * 3 and trees[v]["t"] == [None] * 2 for v in ("0.18", "0.19", "0.20"))
    assert (trees["0.21"]["n"], trees["0.21"]["t"], trees["0.21"]["d"]) == (None, None, None)


def test_the_source_is_its_own_template_where_no_target_is_given(tmp_path):
    arrays = {"w": np.arange(3, dtype="float32"), "list.0": np.ones(2, "float32"), "list.1": np.ones(2, "float32")}
    fields = "list: Vec<Param<Tensor<B, 1>>>, w: Param<Tensor<B, 1>>, n: [usize; 2]"
    text = f"#[derive(Module)] struct Net<B: Backend> {{ {fields} }}"
    path = tmp_path / "net.mpk"
    path.write_bytes(written(mpk_record([item(*pair) for pair in arrays.items()], rust(None, text), version="0.20")))
    for version in RELEASES:
        result = export(wb.Mapping(burn=version).plan(wb.open(path)), tmp_path / version, formats=["mpk"])
        assert result.changes == ()
        back = wb.open(tmp_path / version / "model.mpk")
        assert list(back) == ["list.0", "list.1", "w"]
        assert back.metadata["version"] == RELEASES[version]
    assert (tmp_path / "0.20" / "model.mpk").read_bytes() == path.read_bytes()


def test_a_template_tells_which_modules_are_linear_and_which_are_norms(tmp_path):
    text = "#[derive(Module)] struct Net<B: Backend> { fc: Linear<B>, norm: LayerNorm<B>, embed: Embedding<B> }"
    new = [item("fc.weight", np.zeros((2, 3), "float32")), item("fc.bias", np.zeros(3, "float32"))]
    new += [*float_items(["norm.gamma", "norm.beta"]), item("embed.weight", np.zeros((2, 3), "float32"))]
    (tmp_path / "new.mpk").write_bytes(written(mpk_record(new, rust(None, text), version="0.20")))
    target = Target.open(tmp_path / "new.mpk")
    assert [target.type_of(path) for path in ("fc", "norm", "embed")] == ["Linear", "LayerNorm", ""]
    theirs = {"fc.weight": np.arange(6, dtype="float32").reshape(3, 2), "fc.bias": np.ones(3, "float32")}
    theirs |= {f"norm.{leaf}": np.full(2, 7, "float32") for leaf in ("weight", "bias")}
    theirs |= {"embed.weight": np.arange(6, dtype="float32").reshape(2, 3)}
    plan = wb.Mapping(burn="0.20").plan(checkpoint_of(tmp_path / "net.safetensors", theirs), target)
    result = export(plan, tmp_path / "out", formats=["mpk"])
    back = wb.open(tmp_path / "out" / "model.mpk")
    assert back["fc.weight"].tolist() == theirs["fc.weight"].T.tolist()
    assert back["embed.weight"].tolist() == theirs["embed.weight"].tolist()
    assert back["norm.gamma"].tolist() == [7, 7]
    assert "model.mpk: fc.weight: transposed" in result.changes


def refused(items, target, version="0.20"):
    with pytest.raises(ExportError) as caught:
        mpk_record(items, target, version=version)
    assert caught.value.next_step
    return caught.value


def test_without_the_structs_the_next_step_asks_for_them():
    for target in (None, Target.from_keys(["w"]), Target.parse("w [2]")):
        error = refused(float_items(["w"]), target)
        assert error.code == "mpk-no-structs"
        assert "Rust source of the model" in error.next_step
        assert "an .mpk that Burn 0.20 wrote" in error.next_step


@pytest.mark.parametrize("version", ["0.22", "0.23"])
def test_a_burn_without_records_is_refused_with_two_ways_out(version):
    error = refused(float_items(["w"]), rust("FloatNet", "#[derive(Module)] struct FloatNet<B> {}"), version)
    assert error.code == "no-mpk"
    assert "0.21 or older" in error.next_step
    assert "bpk" in error.next_step


def test_fields_without_a_tensor_are_named_with_their_struct_and_what_is_left_over():
    error = refused(float_items(["module.fc1.weight", "fc1.bias", "fc2.weight"]), rust("LinearNet"))
    assert error.code == "mpk-missing"
    assert "'fc1.weight' of Linear" in error.cause
    assert "'module.fc1.weight'" in error.cause
    assert "fc2.bias" not in error.cause


def test_an_empty_list_is_missing_only_where_tensors_are_left_over():
    text = "#[derive(Module)] struct Net<B: Backend> { layers: Vec<Linear<B>>, w: Param<Tensor<B, 1>> }"
    record = mpk_record(float_items(["w"]), rust(None, text), version="0.20")
    assert record.tree["layers"] == []
    assert any(note == "layers: no tensor has a name below it, so it is an empty list" for note in record.notes)
    record = mpk_record(float_items(["w", "norm.num_batches_tracked"]), rust(None, text), version="0.20")
    assert record.tree["layers"] == []
    error = refused(float_items(["w", "blocks.0.weight"]), rust(None, text))
    assert "'layers.0'" in error.cause


def test_a_gap_in_a_list_is_missing():
    items = [each for n in (0, 2) for each in float_items([f"model.layers.{n}.weight"], (2, 2))]
    assert "'model.layers.1.weight'" in refused(items, rust("Guide")).cause


def test_another_rank_than_the_source_has_and_another_shape_than_the_template_has_are_named(tmp_path):
    items = float_items(["fc1.weight"], (2, 3, 1)) + float_items(["fc2.weight"], (2, 2))
    error = refused(items, rust("LinearNet"))
    assert (error.code, "'fc1.weight' is [2, 3, 1], the model has 2 dimensions" in error.cause) == ("mpk-shape", True)
    good = float_items(["fc1.weight"], (2, 3)) + float_items(["fc2.weight"], (2, 2))
    (tmp_path / "new.mpk").write_bytes(written(mpk_record(good, rust("LinearNet"), version="0.20")))
    other = float_items(["fc1.weight"], (3, 2)) + float_items(["fc2.weight"], (2, 2))
    error = refused(other, Target.open(tmp_path / "new.mpk"))
    assert "'fc1.weight' is [3, 2], the model has [2, 3]" in error.cause


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("x: Foreign<B>", "the type Foreign<B>"),
        ("x: Vec<Dropout>", "the length of a Vec without parameters"),
        ("x: Vec<usize>", "the length of a Vec without parameters"),
        ("x: [usize; UNKNOWN]", "the length of an array without parameters"),
        ("x: [Linear<B>; UNKNOWN]", "the length of the array"),
        ("x: Act<B>", "which variant of Act it is (Relu, Tanh, Own)"),
        ("x: Activation<B>", "which variant of Activation it is (PRelu, SwiGlu)"),
        ("x: Twin<B>", "which variant of Twin it is (A, B)"),
    ],
)
def test_what_the_source_does_not_tell_is_asked_for_by_field(field, said):
    text = f"""
        #[derive(Module)] struct Net<B: Backend> {{ {field}, w: Param<Tensor<B, 1>> }}
        #[derive(Module)] enum Act<B: Backend> {{ Relu(Relu), Tanh(Tanh), Own(Linear<B>) }}
        #[derive(Module)] enum Twin<B: Backend> {{ A(Linear<B>), B(Linear<B>) }}
    """
    items = [*float_items(["w"]), *(float_items(["x.weight"], (2, 2)) if "Twin" in field else [])]
    error = refused(items, rust("Net", text))
    assert error.code == "mpk-open-record"
    assert f"'x': {said}" in error.cause
    assert ".mpk that Burn 0.20 wrote" in error.next_step


def test_in_0_21_a_field_of_a_foreign_type_without_backend_is_nil():
    text = "#[derive(Module)] struct Net<B: Backend> { w: Param<Tensor<B, 1>>, c: Foreign, d: Vec<usize> }"
    assert mpk_record(float_items(["w"]), rust(None, text), version="0.21").tree["c"] is None
    assert "the type Foreign" in refused(float_items(["w"]), rust(None, text)).cause


def test_a_struct_without_backend_is_not_a_module_of_these_versions():
    text = "#[derive(Module)] struct Net { fc: Linear, n: usize }"
    error = refused([*float_items(["fc.weight"], (2, 2)), *float_items(["fc.bias"])], rust(None, text))
    assert "not generic over a backend" in error.cause


def test_a_template_of_0_21_does_not_tell_the_arrays_that_0_20_asks_for(tmp_path):
    items = float_items(["conv1.weight", "conv2.weight"], (2, 2, 2, 2))
    (tmp_path / "new.mpk").write_bytes(written(mpk_record(items, rust("Net"), version="0.21")))
    error = refused(items, Target.open(tmp_path / "new.mpk"))
    assert (error.code, "arrays of constants" in error.cause) == ("mpk-other-version", True)
    assert mpk_record(items, Target.open(tmp_path / "new.mpk"), version="0.21").items


def test_a_template_of_0_19_with_an_lstm_does_not_do_for_0_20(tmp_path):
    gates = ["input_gate", "forget_gate", "output_gate", "cell_gate"]
    names = [f"lstm.{gate}.{side}_transform.weight" for gate in gates for side in ("input", "hidden")]
    items = float_items(names, (2, 3))
    (tmp_path / "old.mpk").write_bytes(written(mpk_record(items, rust("Recurrent"), version="0.19")))
    assert "activations of an Lstm" in refused(items, Target.open(tmp_path / "old.mpk")).cause
    assert mpk_record(items, Target.open(tmp_path / "old.mpk"), version="0.18").items


def test_tensors_without_a_field_and_options_without_a_tensor_are_said():
    items = float_items(["c.weight"], (2, 2)) + float_items(["c.bias", "norm.num_batches_tracked"])
    record = mpk_record(items, rust("OptionNet"), version="0.20")
    assert [each.name for each in record.unused] == ["norm.num_batches_tracked"]
    said = "\n".join(record.notes)
    assert "norm.num_batches_tracked: not written" in said
    assert "a: no tensor has this name, so it is None" in said
    assert "b: no tensor has this name" in said


@pytest.mark.parametrize("dtype", ["complex64", "float8_e8m0fnu"])
def test_a_dtype_that_burn_lacks_is_refused_by_name(dtype):
    target = rust(None, "#[derive(Module)] struct Net<B: Backend> { w: Param<Tensor<B, 1>> }")
    if dtype == "complex64":
        assert "'w' (complex64): Burn has no such dtype" in refused([item("w", values(dtype, (2,)))], target).cause
    else:
        assert mpk_record([item("w", values(dtype, (2,)))], target, version="0.20").items[0].cast == "float32"


def test_hostile_names_and_depths_end_in_an_error_or_a_file():
    deep = Target.from_rust(
        "#[derive(Module)] struct Net<B: Backend> { next: Option<Box<Net<B>>>, w: Param<Tensor<B, 1>> }", root="Net"
    )
    names = [".".join(["next"] * n + ["w"]) for n in range(400)]
    assert refused(float_items(names), deep).code == "mpk-open-record"
    assert mpk_record(float_items(names[:20]), deep, version="0.20").items
    error = refused(float_items(["model.layers.99999999999.weight"], (2, 2)), rust("Guide"))
    assert "100,000,000,000 elements" in error.cause


# ---- as one of the files of an export -----------------------------------------------------------------


def linear_plan(tmp_path, burn="0.20", **more):
    arrays = {f"fc{n}.weight": values("float32", (3, 2), n) for n in (1, 2)}
    arrays |= {"fc1.bias": values("float32", (3,), 3), "steps": np.array([1 << 40])} | more
    ckpt = checkpoint_of(tmp_path / "net.safetensors", arrays)
    return arrays, wb.Mapping(burn=burn).plan(ckpt, rust("LinearNet"))


def test_an_export_with_a_record_is_loaded_again_without_what_has_no_field(tmp_path):
    arrays, plan = linear_plan(tmp_path)
    result = export(plan, tmp_path / "out", formats=["mpk"])
    assert {path.name for path in result.paths} == {"mapping.json", "model.mpk"}
    back = wb.load_export(tmp_path / "out")
    assert bits(back["fc1"]["weight"]) == bits(arrays["fc1.weight"].T)
    assert bits(back["fc1"]["bias"]) == bits(arrays["fc1.bias"])
    assert set(back) == {"fc1", "fc2"}
    assert "model.mpk: steps: not written, since the model has no such field" in result.changes


def test_half_precision_is_said_in_the_file_and_in_the_changes(tmp_path):
    ones = {"fc1.weight": np.ones((3, 2), "float32"), "fc2.weight": np.ones((3, 2), "float32")}
    _, plan = linear_plan(tmp_path, **ones, **{"fc1.bias": np.array([1.0, 2.0, 70000.0], "float32")})
    with pytest.raises(ExportError, match=r"'fc1.bias' has values that float16 cannot hold.*choose full precision"):
        export(plan, tmp_path / "out", formats=["mpk"], precision="half")
    assert not (tmp_path / "out").exists()
    _, plan = linear_plan(tmp_path, **ones, **{"fc1.bias": np.ones(3, "float32")})
    result = export(plan, tmp_path / "out", formats=["mpk"], precision="half")
    back = wb.open(tmp_path / "out" / "model.mpk")
    assert {tensor.dtype.name for tensor in back.tensors} == {"float16"}
    assert (back.metadata["settings"], back.metadata["int"]) == ("HalfPrecisionSettings", "i16")
    assert "model.mpk: fc1.bias: cast from float32 to float16" in result.changes


@pytest.mark.parametrize("format", ["mpk", "bpk"])
def test_a_source_in_burns_layout_is_not_turned_again(tmp_path, format):
    _, plan = linear_plan(tmp_path)
    export(plan, tmp_path / "burn", formats=["mpk"])
    source = wb.open(tmp_path / "burn" / "model.mpk")
    again = wb.Mapping(burn="0.20").plan(source, rust("LinearNet"))
    result = export(again, tmp_path / "again", formats=[format])
    back = wb.open(tmp_path / "again" / f"model.{format}")
    assert {key: bits(back[key]) for key in back} == {key: bits(source[key]) for key in source}
    assert not any("transposed" in line for line in result.changes)


def test_an_export_that_needs_structs_and_has_none_changes_nothing(tmp_path):
    _, plan = linear_plan(tmp_path)
    bare = wb.Mapping(burn="0.20").plan(plan.checkpoint)
    with pytest.raises(ExportError, match="The structs of the model are not known"):
        export(bare, tmp_path / "out", formats=["npz", "mpk"])
    assert not (tmp_path / "out").exists()


# ---- any model ----------------------------------------------------------------------------------------


@st.composite
def models(draw):
    """Rust source, a record of it as nested lists and dicts (None: nil, an array: a parameter)."""
    declared: list[str] = []

    def of_type(depth):
        kinds = ["param", "size", "pair"] + (["struct", "vec", "array", "tuple", "option", "enum"] if depth else [])
        kind = draw(st.sampled_from(kinds))
        if kind in ("vec", "array", "option"):
            return kind, struct(depth - 1), draw(st.integers(1, 3))
        if kind == "tuple":
            return kind, [struct(depth - 1), struct(depth - 1)], 0
        if kind == "enum":
            variants = [struct(depth - 1) for _ in range(draw(st.integers(1, 3)))]
            name = f"E{len(declared)}"
            inside = ", ".join(f"V{n}({text(each)})" for n, each in enumerate(variants))
            declared.append(f"#[derive(Module)] pub enum {name}<B: Backend> {{ {inside} }}")
            return kind, variants, name
        return struct(depth - 1) if kind == "struct" else (kind, None, draw(st.integers(0, 3)))

    def struct(depth):
        # The first field of each makes sure that what is there has a tensor.
        fields = [("param", None, draw(st.integers(0, 3)))]
        fields += [of_type(max(depth, 0)) for _ in range(draw(st.integers(0, 3)))]
        name = f"S{len(declared)}"
        inside = ", ".join(f"f{n}: {text(each)}" for n, each in enumerate(fields))
        declared.append(f"#[derive(Module)] pub struct {name}<B: Backend> {{ {inside} }}")
        return "struct", fields, name

    def text(kind):
        what, of, n = kind
        return {
            "param": lambda: f"Param<Tensor<B, {n}>>",
            "size": lambda: "usize",
            "pair": lambda: "[f64; 2]",
            "struct": lambda: f"{n}<B>",
            "enum": lambda: f"{n}<B>",
            "vec": lambda: f"Vec<{text(of)}>",
            "array": lambda: f"[{text(of)}; {n}]",
            "option": lambda: f"Option<{text(of)}>",
            "tuple": lambda: f"({', '.join(map(text, of))})",
        }[what]()

    def value(kind):
        what, of, n = kind
        if what == "param":
            shape = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
            return np.full(shape, draw(st.integers(-9, 9)), "float32")
        if what in ("struct", "tuple"):
            inside = [value(each) for each in of]
            return inside if what == "tuple" else {f"f{n}": each for n, each in enumerate(inside)}
        if what == "enum":
            which = draw(st.integers(0, len(of) - 1))
            return {f"V{which}": value(of[which])}
        if what in ("vec", "array"):
            return [value(of) for _ in range(n)]
        if what == "option":
            return value(of) if draw(st.booleans()) else None
        return [None, None] if what == "pair" else None

    root = struct(draw(st.integers(0, 3)))
    return root[2], "\n".join(declared), value(root)


def leaves(node, path=()):
    if isinstance(node, np.ndarray):
        yield ".".join(path), node
    elif isinstance(node, (dict, list)):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(inner, (*path, str(name)))


def unpacked(node, data):
    """A record as the file has it, each parameter as an array."""
    if isinstance(node, Dict) and "param" in node:
        inner = node["param"]
        raw = data[inner["bytes"].begin :][: inner["bytes"].nbytes]
        return np.frombuffer(raw, "float32").reshape(inner["shape"])
    if isinstance(node, Dict):
        return {name: unpacked(each, data) for name, each in node.items()}
    return [unpacked(each, data) for each in node] if isinstance(node, list) else node


def told(node):
    """A text by which two records are compared, order of fields included."""
    if isinstance(node, np.ndarray):
        return f"P{bits(node)}"
    if isinstance(node, dict):
        return f"{{{', '.join(f'{name}: {told(each)}' for name, each in node.items())}}}"
    return f"[{', '.join(map(told, node))}]" if isinstance(node, list) else str(node)


@settings(deadline=None, max_examples=150)
@given(models(), st.randoms(use_true_random=False), st.booleans())
def test_any_model_is_written_as_its_structs_say(model, random, from_template):
    root, text, tree = model
    items = [item(*pair) for pair in leaves(tree)]
    random.shuffle(items)
    target = rust(root, text)
    data = written(mpk_record(items, target, version="0.20"))
    if from_template:
        again = formats.read(MemorySource(data, "new.mpk"))
        template = Target(target.entries, "new.mpk", _template=(Template(again.tree).model(), "0.20.1"))
        assert written(mpk_record(items, template, version="0.20")) == data
    record = walk(MemorySource(data, "x"), lambda node: node)[0]["item"]
    assert told(unpacked(record, data)) == told(tree)
