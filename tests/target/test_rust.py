"""Targets from Rust source, against the parameters that the real crates found in the same modules."""

import json
import re

import pytest

import workbench as wb
from tests.oracles import corpus
from workbench.target import Target


def struct(fields, name="Net", before=""):
    return f"use burn::nn::*;\n{before}\n#[derive(Module, Debug)]\npub struct {name}<B: Backend> {{ {fields} }}\n"


def paths(target):
    return [entry.path for entry in target.entries]


# ---- Burn's own modules ------------------------------------------------------------------------------

ZOO = """
#[derive(Module, Debug)]
enum Kind<B: Backend> { Base(conv::Conv2d<B>), Wide(Vec<conv::Conv2d<B>>) }

#[derive(Module, Debug)]
struct Zoo<B: Backend> {
    raw: Param<Tensor<B, 2>>,
    ints: Param<Tensor<B, 1, Int>>,
    bools: Param<Tensor<B, 1, Bool>>,
    list: Vec<Linear<B>>,
    nested: Vec<Vec<Linear<B>>>,
    kind: Kind<B>,
    kinds: Vec<Kind<B>>,
    maybe: Option<Linear<B>>,
    pair: (Linear<B>, Linear<B>),
    array: [Linear<B>; 2],
}
"""


@pytest.mark.parametrize(
    ("crate", "versions"), [("0.19.1", ("0.19",)), ("0.21.0", ("0.20", "0.21", "0.22"))], ids=["0.19.1", "0.21.0"]
)
def test_burns_own_modules_have_the_parameters_that_burn_finds_in_them(crate, versions):
    recorded = json.loads((corpus("golden/apply") / f"modules-{crate}.json").read_text())
    for version in versions:
        for title, params in recorded.items():
            name = title.partition(",")[0]
            source = ZOO if name == "Zoo" else struct(f"m: {name}<B>")
            target = Target.from_rust(source, burn=version)
            assert not [each for each in target.findings if each.code != "rust-no-parameters"], name
            before = "" if name == "Zoo" else "m."
            found = target.expanded([before + each["path"] for each in params])
            cut = 0 if name == "Zoo" else 1
            assert [
                (entry.path[len(before) :], entry.kind, entry.rank, [c.split(":")[-1] for c in entry.containers[cut:]])
                for entry in found.entries
            ] == [
                (each["path"], each["kind"], len(each["shape"]), [c.split(":")[-1] for c in each["stack"]])
                for each in params
            ], (version, title)


def test_container_types_are_spelled_as_the_derive_does():
    recorded = json.loads((corpus("golden/apply") / "modules-0.21.0.json").read_text())["Zoo"]
    found = Target.from_rust(ZOO).expanded([each["path"] for each in recorded])
    assert [list(entry.containers) for entry in found.entries] == [each["stack"] for each in recorded]


def recorded_modules():
    """The source of the modules behind the recorded files; what their macro makes is written out."""
    source = (corpus("golden/import") / "modules.rs").read_text()
    head, _, body = source.partition("modules! { $\n")
    made = []
    for name, fields in re.findall(r"^    (\w+) \{(.*?)\} ?\n? *\|m, d\|", body, re.MULTILINE | re.DOTALL):
        kept = [f"{field}: {kind}" for field, kind in re.findall(r"(\w+): ([^={}]+?) = ", f" {fields}") if kind]
        made.append(f"#[derive(Module, Debug)]\npub struct {name}<B: Backend> {{ {', '.join(kept)} }}\n")
    return re.sub(r"macro_rules! modules \{.*?\n\}\n", "", head, flags=re.DOTALL) + "\n".join(made)


@pytest.mark.parametrize("crate", ["0.18.0", "0.19.1", "0.20.1", "0.21.0"])
def test_source_and_saved_record_of_one_model_have_the_same_keys(crate):
    folder = corpus("golden/import/mpk")
    source = recorded_modules()
    records = json.loads((folder / f"{crate}.json").read_text())
    compared = set()
    for file, record in records.items():
        if not file.endswith(".mpk") or "ok" not in record or not (folder / file).exists():
            continue
        saved = wb.open(folder / file)
        # Tuples are numbered in a record in every version.
        target = Target.from_rust(source, root=record["module"], burn="0.20")
        found = target.expanded(saved)
        assert sorted(paths(found)) == sorted(saved), file
        for entry in found.entries:
            tensor = saved.tensor(entry.path)
            assert entry.rank == len(tensor.shape), (file, entry.path)
            assert entry.kind in ("float", "int", "bool")
        compared.add(record["module"])
    assert len(compared) >= 15, compared


# ---- Rust ----------------------------------------------------------------------------------------------


def test_constants_and_skipped_fields_hold_no_parameters():
    source = struct(
        "fc: Linear<B>, n: usize, rate: Option<f64>, name: String, pair: [usize; 2], plain: Tensor<B, 1>, "
        "drop: Dropout, pool: MaxPool2d, note: Ignored<Anything>, none: PhantomData<B>, #[module(skip)] odd: Unknown"
    )
    target = Target.from_rust(source)
    assert paths(target) == ["fc.weight", "fc.bias"]
    assert not target.findings


def test_a_parameter_tells_rank_and_kind_with_and_without_a_backend():
    old = Target.from_rust(struct("a: Param<Tensor<B, 3>>, b: Param<Tensor<B, 1, Int>>, c: Param<Tensor<B, 2, Bool>>"))
    new = Target.from_rust("#[derive(Module)] struct N { a: Param<Tensor<3>>, b: Param<Tensor<1, Int>>, "
                           "c: Param<Tensor<2, Bool>> }")  # fmt: skip
    for target in (old, new):
        assert [(e.rank, e.kind) for e in target.entries] == [(3, "float"), (1, "int"), (2, "bool")]


def test_names_are_found_through_imports_aliases_and_modules():
    source = """
    use burn::nn::{Linear as Dense, conv::{Conv2d, Conv1d}};
    use crate::parts::Head as Top;
    type Pair<B> = (Dense<B>, Conv1d<B>);
    mod parts {
        use super::*;
        #[derive(Module, Debug)] pub struct Head<B: Backend> { out: Dense2<B> }
        #[derive(Module, Debug)] pub struct Dense2<B: Backend> { w: Param<Tensor<B, 2>> }
        #[derive(Module, Debug)] pub struct Linear<B: Backend> { own: Param<Tensor<B, 1>> }
    }
    #[derive(Module, Debug)]
    struct Net<B: Backend> { top: Top<B>, pair: Pair<B>, own: parts::Linear<B>, far: crate::parts::Dense2<B>,
                             boxed: Box<Conv2d<B>> }
    """
    assert paths(Target.from_rust(source)) == [
        "top.out.w",
        "pair.0.weight",
        "pair.0.bias",
        "pair.1.weight",
        "pair.1.bias",
        "own.own",
        "far.w",
        "boxed.weight",
        "boxed.bias",
    ]


def test_generic_parameters_stand_for_what_they_are_given():
    source = """
    #[derive(Module)]
    struct Wrap<B: Backend, M: Module<B>, const N: usize> { inner: M, all: [M; N], w: Param<Tensor<B, N>> }
    #[derive(Module)] struct Net<B: Backend> { a: Wrap<B, Linear<B>, 2>, b: Wrap<B, Wrap<B, PRelu<B>, 1>, 1> }
    """
    target = Target.from_rust(source)
    assert [path for path in paths(target) if "bias" not in path] == [
        "a.inner.weight",
        "a.all.0.weight",
        "a.all.1.weight",
        "a.w",
        "b.inner.inner.alpha",
        "b.inner.all.0.alpha",
        "b.inner.w",
        "b.all.0.inner.alpha",
        "b.all.0.all.0.alpha",
        "b.all.0.w",
        "b.w",
    ]
    assert target.by_path["a.w"].rank == 2


def test_the_folder_of_a_crate_is_read_whole(tmp_path):
    (tmp_path / "src" / "layers").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old.rs").write_text(struct("never: Linear<B>", "Old"))
    (tmp_path / "src" / "model.rs").write_text(
        "use crate::layers::block::Block;\n" + struct("blocks: Vec<Block<B>>, fc: Linear<B>")
    )
    (tmp_path / "src" / "layers" / "mod.rs").write_text("pub mod block;\n")
    (tmp_path / "src" / "layers" / "block.rs").write_text(struct("a: Linear<B>", "Block"))
    for target in (Target.open(tmp_path), Target.from_rust(tmp_path), Target.from_rust(str(tmp_path), root="Net")):
        assert paths(target) == ["blocks.*.a.weight", "blocks.*.a.bias", "fc.weight", "fc.bias"]
        assert target.open_lists == ("blocks",)
    only = Target.open(tmp_path / "src" / "layers" / "block.rs")
    assert paths(only) == ["a.weight", "a.bias"]


def test_a_list_is_as_long_as_the_keys_have_indices_and_never_empty():
    target = Target.from_rust(struct("layers: Vec<PRelu<B>>"))
    assert paths(target.expanded(["layers.0.alpha", "layers.1.alpha", "x"])) == ["layers.0.alpha", "layers.1.alpha"]
    assert paths(target.expanded(["other.0.alpha"])) == ["layers.0.alpha"]
    assert target.is_open


def test_an_enum_is_the_variant_that_the_keys_fit():
    source = struct(
        "act: Kind<B>", before="#[derive(Module)] enum Kind<B: Backend> { None, A(PRelu<B>), L(Linear<B>), S(Size) }\n"
        "#[derive(Clone)] enum Size { Small, Large }"
    )  # fmt: skip
    target = Target.from_rust(source)
    assert paths(target.expanded(["act.L.weight"])) == ["act.L.weight"]
    assert dict(target.expanded(["act.L.weight"]).choices) == {"act": "L"}
    assert paths(target.expanded(["act.alpha"], skip_enum_variants=True)) == ["act.A.alpha"]
    assert paths(target.expanded(["other"])) == []


def test_the_names_of_pytorch_choose_a_variant_too_where_the_adapter_renames():
    source = struct("n: Norm<B>", before="#[derive(Module)] enum Norm<B> { Layer(LayerNorm<B>), Rms(RmsNorm<B>) }")
    found = Target.from_rust(source).expanded(
        ["n.weight", "n.bias"], skip_enum_variants=True, norms=frozenset({"LayerNorm", "RmsNorm"})
    )
    assert paths(found) == ["n.Layer.gamma", "n.Layer.beta"]


def test_optional_parts_are_there_where_the_keys_have_them():
    target = Target.from_rust(struct("a: Option<Linear<B>>, b: Linear<B>"))
    assert all(entry.optional for entry in target.entries if entry.path.startswith("a."))
    found = target.expanded(["b.weight"])
    assert paths(found) == ["b.weight"]
    assert set(found.absent) == {"a", "b.bias"}
    assert paths(target.expanded(["a.bias"])) == ["a.weight", "a.bias", "b.weight"]


def test_an_unknown_type_is_told_and_accepts_what_lies_below_it():
    target = Target.from_rust(struct("x: Mystery<B>, fc: Linear<B>"))
    assert [finding.code for finding in target.findings] == ["rust-unknown-type"]
    assert "Mystery<B>" in target.findings[0].text
    assert target.open_trees == ("x",)
    assert paths(target.expanded(["x.a.b", "x.c", "fc.weight"])) == ["x.a.b", "x.c", "fc.weight"]


def test_a_struct_that_contains_itself_ends_where_the_keys_do():
    target = Target.from_rust(struct("w: Param<Tensor<B, 1>>, below: Vec<Net<B>>, next: Option<Box<Net<B>>>"))
    assert paths(target)[0] == "w"
    assert target.open_trees
    found = target.expanded(["w", "below.0.w", "below.0.below.0.w", "next.w"])
    assert sorted(paths(found)) == ["below.0.below.0.w", "below.0.w", "next.w", "w"]


def test_the_root_is_the_module_that_no_other_contains():
    source = struct("fc: Linear<B>", "Inner") + struct("inner: Inner<B>", "Net") + "struct Plain { a: usize }"
    assert Target.from_rust(source).origin == "Net in Rust source"
    assert paths(Target.from_rust(source, root="Inner")) == ["fc.weight", "fc.bias"]


def test_several_roots_are_an_error_that_lists_them():
    source = struct("a: Linear<B>", "One") + struct("b: Linear<B>", "Two")
    with pytest.raises(wb.WorkbenchError, match="One, Two") as error:
        Target.from_rust(source)
    assert error.value.code == "several-roots"
    with pytest.raises(wb.WorkbenchError, match="One, Two") as error:
        Target.from_rust(source, root="Three")
    assert error.value.code == "no-such-root"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("struct Plain { a: usize }", "no-module"),
        (struct("a: [Linear<B>; 99999999]"), "target-too-big"),
        (struct("a: [[Linear<B>; 9999]; 9999]"), "target-too-big"),
        (struct("g: G<u8>", before="#[derive(Module)] struct G<T> { a: G<(T, T)>, b: G<(T, T)> }"), "target-too-big"),
        ("".join(struct(f"a: L{n + 1}<B>, b: L{n + 1}<B>", f"L{n}") for n in range(40)) + struct("w: PRelu<B>", "L40"),
         "target-too-big"),
    ],
    ids=["no module", "long array", "arrays of arrays", "growing types", "doubling"],
)  # fmt: skip
def test_bad_or_hostile_source_is_refused_with_a_code(source, code):
    with pytest.raises(wb.WorkbenchError) as error:
        Target.from_rust(source)
    assert error.value.code == code


@pytest.mark.parametrize(
    "source",
    [
        struct("a: " + "Vec<" * 20_000 + "Linear<B>" + ">" * 20_000),
        "mod a { " * 5_000 + struct("a: Linear<B>") + "}" * 5_000,
        "type A = B; type B = A;" + struct("a: A"),
        "use a::{" * 3_000 + "b" + "}" * 3_000 + ";" + struct("a: Linear<B>"),
        struct("a: Linear<B>, b: \x1b[31m<<<>>, c: PRelu<B>"),
    ],
    ids=["deep type", "deep modules", "alias of itself", "deep use", "broken"],
)
def test_odd_source_gives_a_target_or_an_error_of_ours(source):
    try:
        target = Target.from_rust(source)
    except wb.WorkbenchError:
        return
    assert target.expanded(["a.weight"]).entries is not None


def test_broken_source_is_told_with_its_line():
    target = Target.from_rust(struct("fc: Linear<B>") + "\nfn broken( {\n")
    assert paths(target) == ["fc.weight", "fc.bias"]
    assert [finding.code for finding in target.findings] == ["rust-syntax"]
    assert "line" in target.findings[0].place


def test_the_type_of_a_module_is_known_by_its_path():
    target = Target.from_rust(ZOO)
    assert target.type_of("") == "Zoo"
    assert target.type_of("maybe") == "Linear"
    assert target.type_of("list.7") == "Linear"
    assert target.type_of("kind.Base") == "Conv2d"
    assert target.type_of("kind") in ("Kind", "Conv2d")
    assert target.type_of("nowhere") == ""
