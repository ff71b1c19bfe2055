"""The fields of a record: from Rust source, and from a record that Burn wrote."""

from __future__ import annotations

import pytest

import workbench as wb
from tests.oracles import corpus
from workbench.core.tree import Dict
from workbench.target import Target
from workbench.target.model import Choice, Module, Nothing, TupleOf, Unsettled
from workbench.target.record import Template, fit

WHOLE = """
    #[derive(Module)]
    pub struct Net<B: Backend> {
        conv: Conv2d<B>,
        #[module(skip)]
        table: Vec<usize>,
        pairs: [(usize, f64); 2],
        drops: Vec<Dropout>,
        position: PositionalEncoding<B>,
        maybe: Option<PositionalEncoding<B>>,
    }
"""


def fields_of(node):
    return dict(node.fields)


@pytest.mark.parametrize("version", ["0.18", "0.19", "0.20", "0.21"])
def test_fields_of_a_struct_stand_in_the_order_of_the_source_with_what_a_constant_is(version):
    target = Target.from_rust(WHOLE)
    record = target.record(version)
    fields = fields_of(record)
    assert list(fields) == ["conv", "table", "pairs", "drops", "position", "maybe"]
    assert list(fields_of(fields["conv"])) == [
        *("weight", "bias", "stride", "kernel_size", "dilation", "groups", "padding")
    ]
    has_arrays = version != "0.21"
    pair = Nothing((None, None) if has_arrays else None)
    assert fields_of(fields["conv"])["stride"] == pair
    assert fields["table"] == Nothing()
    assert fields["pairs"] == (Nothing(((None, None), (None, None))) if has_arrays else Nothing())
    assert isinstance(fields["drops"].record, Unsettled) == has_arrays
    assert fields["position"] == Nothing({"sinusoids": None, "max_sequence_size": None, "max_timescale": None})
    assert fields["maybe"] == Nothing()
    assert target.record_version == ""


def test_the_version_of_the_record_is_asked_for_and_not_that_of_the_target():
    target = Target.from_rust("#[derive(Module)] struct Net<B: Backend> { norm: LayerNorm<B> }", burn="0.22")
    optional = {v: type(fields_of(fields_of(target.record(v))["norm"])["beta"]).__name__ for v in ("0.19", "0.20")}
    assert optional == {"0.19": "Parameter", "0.20": "Maybe"}


def test_a_target_that_was_fitted_to_a_file_still_tells_its_record():
    target = Target.from_rust("#[derive(Module)] struct Net<B: Backend> { layers: Vec<Linear<B>> }")
    assert target.expanded(["layers.0.weight"]).record("0.20").name == "Net"


def test_names_alone_tell_no_record():
    assert Target.from_keys(["w"]).record("0.20") is None


def test_a_record_of_burn_tells_its_fields_version_and_the_types_of_modules():
    folder = corpus("golden/import/mpk") / "0.20.1"
    for name, path, kind in [
        ("linear-full", "fc1", "Linear"),
        ("batch_norm-full", "norm1", "BatchNorm"),
        ("layer_norm-full", "norm", "LayerNorm"),
        ("instance_norm-full", "norm", "InstanceNorm"),
        ("net-full", "conv1", "Conv2d"),
        ("conv1d-full", "conv1", "Conv1d"),
        ("conv_transpose-full", "up2", "ConvTranspose2d"),
        ("enum_depthwise-full", "conv.DwsConv.dconv", "Conv2d"),
        ("vec-full", "model.layers.1", "Linear"),
        ("embedding-full", "embed", ""),
        ("bool-full", "", ""),
    ]:
        target = Target.open(folder / f"{name}.mpk")
        assert target.type_of(path) == kind, name
        assert target.record_version == "0.20.1"
        assert len(target.entries) == len(wb.open(folder / f"{name}.mpk").tensors)
        assert isinstance(target.record("0.20"), Module)


def test_lists_enums_and_constants_of_a_template_are_kept():
    folder = corpus("golden/import/mpk") / "0.20.1"
    enum = fields_of(Target.open(folder / "enum_plain-full.mpk").record("0.20"))["conv"]
    assert isinstance(enum, Choice)
    assert [name for name, _ in enum.variants] == ["Conv"]
    layers = fields_of(fields_of(Target.open(folder / "vec-full.mpk").record("0.20"))["model"])["layers"]
    assert isinstance(layers, TupleOf)
    assert len(layers.items) == 3
    assert fields_of(Target.open(folder / "constants-full.mpk").record("0.20"))["pair"] == Nothing((None, None))


def test_a_template_that_nests_without_end_has_an_end():
    tree: object = None
    for _ in range(5000):
        tree = Dict([("x", [tree])])
    assert fit(Template(tree).model(), {}).unsettled or fit(Template(tree).model(), {}).tree is None
    assert fit(Template([None] * 100_000).model(), {}).tree == [None] * 100_000


@pytest.mark.parametrize("key", ["fc.weight.", "fc.weight..x", "fc.weight.x"])
def test_a_name_that_goes_on_below_a_parameter_is_not_that_parameter(key):
    record = Target.from_rust("#[derive(Module)] struct Net<B: Backend> { fc: Linear<B> }").record("0.20")
    found = fit(record, {key: (3,), "fc.bias": (3,)})
    assert [path for path, _ in found.missing] == ["fc.weight"]
    assert [leaf.key for leaf in found.leaves] == ["fc.bias"]


@pytest.mark.parametrize("index", ["100001", "9" * 30, "9" * 5000])
def test_an_index_too_large_for_a_list_is_said_to_be_unsettled(index):
    record = Target.from_rust("#[derive(Module)] struct Net<B: Backend> { layers: Vec<Linear<B>> }").record("0.20")
    found = fit(record, {f"layers.{index}.weight": (3, 2)})
    ((path, what),) = found.unsettled
    assert path == "layers"
    assert "elements" in what
