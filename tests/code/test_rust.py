"""The text of generated Rust; that it compiles and does what the plan says is shown in test_compiled.py."""

import random
import tomllib

import numpy as np
import pytest

import workbench as wb
from tests.burn import made
from tests.make.named import checkpoint_named
from tests.oracles import torch
from workbench.burn import VERSIONS, apis_of
from workbench.code import cargo_toml, rust_code
from workbench.mapping import Cast, Layout, Mapping, Pick, Rule, Selection

KEYS = ["module.fc.0.weight", "module.fc.2.weight", "module.fc.2.bias"]


@pytest.fixture
def torch_file(tmp_path):
    return wb.open(made.write(tmp_path / "net.pt", made.parts(random.Random(1), KEYS), below="model"))


def code(ckpt, *rules, **options):
    return rust_code(Mapping([Rule(*rule) for rule in rules], **options).plan(ckpt))


def test_the_store_of_burn_0_22(torch_file):
    assert code(torch_file, (r"^module\.", ""), top_level_key="model") == (
        "// Burn 0.22, PytorchStore.\n"
        "use burn::store::{ModuleSnapshot, PytorchStore};\n\n"
        'let mut store = PytorchStore::from_file("net.pt")\n'
        '    .with_top_level_key("model")\n'
        '    .with_key_remapping("^module\\\\.", "");\n'
        "let result = model.load_from(&mut store)?;\n"
        'println!("{result}");\n'
    )


def test_the_recorder_of_burn_0_18(torch_file):
    assert code(torch_file, (r"^module\.", ""), top_level_key="model", burn="0.18") == (
        "// Burn 0.18, PyTorchFileRecorder.\n"
        "use burn::record::{FullPrecisionSettings, Recorder};\n"
        "use burn_import::pytorch::{LoadArgs, PyTorchFileRecorder};\n\n"
        'let arguments = LoadArgs::new("net.pt".into())\n'
        '    .with_top_level_key("model")\n'
        '    .with_key_remap("^module\\\\.", "");\n'
        "let record = PyTorchFileRecorder::<FullPrecisionSettings>::default().load(arguments, &device)?;\n"
        "let model = model.load_record(record);\n"
    )


@pytest.mark.parametrize("program", [True, False])
def test_the_result_of_burn_0_19_is_told_list_by_list_for_it_has_no_text_of_its_own(torch_file, program):
    for burn, is_told in (("0.19", True), ("0.20", False)):
        plan = Mapping(burn=burn, api="burn-store", top_level_key="model").plan(torch_file)
        text = rust_code(plan, program=program)
        assert ("result.missing, result.unused" in text, "{result}" in text) == (is_told, not is_told)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"casts": [Cast("float16")]}, "casts"),
        ({"layout": Layout(modules=[("fc", "Linear")])}, "marked by hand"),
        ({"layout": Layout(adapt=False)}, "always adapts"),
        ({"burn": "0.21", "reindex": True, "keep_indices": ["fc"]}, "renumbers all or none"),
        ({"burn": "0.20", "reindex": False}, "always closes gaps"),
        ({"burn": "0.19", "api": "burn-store", "reindex": True}, "never closes gaps"),
        ({"burn": "0.20", "selection": Selection(exclude=[Pick("node", "module")])}, "no filter"),
        ({"burn": "0.20", "skip_enum_variants": True}, "no switch"),
    ],
)
def test_what_the_version_cannot_say_is_said_in_a_comment(torch_file, options, said):
    text = code(torch_file, top_level_key="model", **options)
    gaps = text.partition("// NOT in this code, so export the file and load that instead:\n")[2]
    assert said in gaps.partition("\nuse ")[0]


def test_a_top_level_key_through_several_levels_is_not_passed_off_as_one(tmp_path):
    deep = torch()
    deep.save({"a": {"b": {"w": deep.ones(2)}}}, tmp_path / "net.pt")
    text = code(wb.open(tmp_path / "net.pt"), top_level_key="a.b")
    assert "takes one level" in text
    assert "with_top_level_key" not in text


def test_an_exported_file_is_neither_renamed_nor_renumbered_again(torch_file):
    text = code(torch_file, ("fc", "layers"), top_level_key="model", route="exported")
    assert "SafetensorsStore" in text
    assert "PyTorchToBurnAdapter" in text  # the layouts are still those of PyTorch
    assert "remapping" not in text
    plan = Mapping(top_level_key="model", route="exported", layout=Layout(adapt=True)).plan(torch_file)
    assert "PyTorchToBurnAdapter" not in rust_code(plan)  # the export adapted them
    assert ".map_indices_contiguous(false)" in rust_code(plan, container="torch-zip")


def test_a_selection_that_burn_can_test_by_the_same_pattern_stays_a_pattern(torch_file):
    picks = Selection(include=[Pick("regex", "bias$")])
    assert '.with_full_path("module.fc.1.bias")' in code(torch_file, top_level_key="model", selection=picks)
    both = Selection(include=[Pick("regex", r"^module\.fc\.2")])
    assert '.with_regex("^module\\\\.fc\\\\.2")' in code(
        torch_file, top_level_key="model", selection=both, reindex=False
    )


def test_a_selection_of_nothing_lets_nothing_through(torch_file):
    text = code(torch_file, top_level_key="model", selection=Selection(include=[Pick("key", "none")]))
    assert '.with_full_path("")' in text


def test_partial_loads_are_asked_for(torch_file):
    plan = Mapping(top_level_key="model").plan(torch_file)
    assert ".allow_partial(true)" in rust_code(plan, partial=True)
    assert ".allow_partial" not in rust_code(plan)


def test_collisions_are_said(tmp_path):
    assert "Several tensors get one name" in code(checkpoint_named(tmp_path, ["a", "b"]), (".", "x"))


@pytest.mark.parametrize("burn", VERSIONS)
def test_no_text_of_the_file_or_the_user_is_outside_of_a_literal(tmp_path, burn):
    evil = 'x"; std::process::exit(1); //*/\n\u202e\r'
    parts = made.parts(random.Random(1), [f"{evil}.weight"])
    ckpt = wb.open(made.write(tmp_path / f"{evil.replace('/', '')}.pt", parts, below=evil))
    for api in apis_of(burn):
        mapping = Mapping(
            [Rule(evil.replace("*", "[*]"), evil, note=evil)],
            burn=burn, api=api, top_level_key=evil, selection=Selection(include=[Pick("node", evil)]),
            keep_indices=[evil.replace("*", "[*]")], reindex=True, layout=Layout(modules=[(evil, evil)]),
        )  # fmt: skip
        for route in ("original", "exported"):
            plan = Mapping.from_json(mapping.to_json() | {"route": route}).plan(ckpt)
            for text in (rust_code(plan), rust_code(plan, program=True), cargo_toml(plan)):
                assert text.isascii()
                assert all(line.isprintable() for line in text.split("\n"))
                bare = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
                assert "process" not in bare


def test_the_model_must_be_the_name_of_a_type(torch_file):
    plan = Mapping(top_level_key="model").plan(torch_file)
    assert "model::deep::Net2::new" in rust_code(plan, program=True, model="deep::Net2")
    for name in ("", "a b", "x;y", "a::", "1a", "é"):
        with pytest.raises(ValueError, match="a type"):
            rust_code(plan, program=True, model=name)


def test_without_a_framework_there_is_no_loading_code(torch_file):
    with pytest.raises(wb.MappingError) as caught:
        code(torch_file, top_level_key="model", burn=None)
    assert caught.value.code == "no-framework"


@pytest.mark.parametrize("burn", VERSIONS)
def test_the_manifest_names_exact_versions_and_what_the_program_uses(torch_file, burn):
    for api in apis_of(burn):
        plan = Mapping(top_level_key="model", burn=burn, api=api).plan(torch_file)
        manifest = tomllib.loads(cargo_toml(plan))
        text = rust_code(plan, program=True)
        used = {"burn_import": "burn-import", "burn_store": "burn-store"}
        assert all((f"use {name}::" in text) == (crate in manifest["dependencies"]) for name, crate in used.items())
        for wanted in manifest["dependencies"].values():
            assert (wanted if isinstance(wanted, str) else wanted["version"]).startswith("=")


@pytest.mark.parametrize(
    ("burn", "api", "container", "held"),
    [
        # burn-import has a match on the dtypes of candle-core, which are more in 0.9.2.
        ("0.18", None, "safetensors", {}),
        ("0.19", None, "safetensors", {"candle-core": "=0.9.1"}),
        ("0.20", None, "safetensors", {"candle-core": "=0.9.1", "zip": "=7.2.0"}),
        # burn-store 0.20 does not compile with zip 7.4, neither alone nor below burn-import.
        ("0.19", None, "torch-zip", {}),
        ("0.19", "burn-store", "torch-zip", {}),
        ("0.20", None, "torch-zip", {"zip": "=7.2.0"}),
        ("0.20", "burn-store", "torch-zip", {"zip": "=7.2.0"}),
        ("0.20", "burn-store", "safetensors", {}),
        # zip 9.1 refuses archives whose first entry has a name of 30 bytes.
        ("0.21", None, "torch-zip", {}),
        ("0.22", None, "torch-zip", {"zip": "=9.0.4"}),
        ("0.23", None, "torch-zip", {"zip": "=9.0.4"}),
    ],
)
def test_crates_whose_newer_versions_break_burn_are_held_back(torch_file, burn, api, container, held):
    plan = Mapping(top_level_key="model", burn=burn, api=api, route="exported").plan(torch_file)
    found = tomllib.loads(cargo_toml(plan, container=container))["dependencies"]
    assert {name: version for name, version in found.items() if not name.startswith("burn")} == held


@pytest.mark.parametrize("burn", VERSIONS)
def test_a_file_that_the_version_has_no_loader_for_gives_code_for_the_exported_one(tmp_path, burn):
    np.savez(tmp_path / "net.npz", **{"fc.weight": np.zeros((2, 3), np.float32)})
    for api in apis_of(burn):
        plan = Mapping([Rule("fc", "x")], burn=burn, api=api).plan(wb.open(tmp_path / "net.npz"))
        text = rust_code(plan)
        assert "NOT in this code" in text
        assert "model.safetensors" in text
        assert "remap" not in text
        assert tomllib.loads(cargo_toml(plan))
        with pytest.raises(wb.MappingError) as caught:
            rust_code(plan, container="npz")
        assert caught.value.code == "no-reader"


def test_a_file_that_the_reader_refuses_or_misreads_is_said(tmp_path):
    net = torch()
    net.save(net.nn.Linear(2, 2), tmp_path / "whole.pt")
    whole = wb.open(tmp_path / "whole.pt")
    assert "refuses it" in code(whole, burn="0.21")
    assert "refuses it" not in code(whole, burn="0.22")
    net.save({"w": net.ones(2, 3).T, "v": net.ones(2)}, tmp_path / "strided.pt")
    strided = wb.open(tmp_path / "strided.pt")
    assert "gets other values" in code(strided, burn="0.21")
    assert "gets other values" not in code(strided, burn="0.22")
    only = Selection(include=[Pick("key", "v")])
    assert "gets other values" not in code(strided, burn="0.21", selection=only)


def test_a_selection_of_very_many_names_is_not_written_out(tmp_path):
    ckpt = checkpoint_named(tmp_path, [f"a.{n}.weight" for n in range(2_000)] + ["b"])
    text = code(ckpt, selection=Selection(exclude=[Pick("key", "b")]))
    assert "too many to write out" in text
    assert "with_full_path" not in text
