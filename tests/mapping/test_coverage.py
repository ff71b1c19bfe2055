"""Coverage against 121 loads that five versions of burn-store carried out, and what it says where none did."""

import json
import re

import pytest

import workbench as wb
from tests.make.named import checkpoint_named
from tests.make.safetensors import safetensors_file
from tests.oracles import corpus
from workbench.burn import reader_for
from workbench.mapping import Mapping, Rule
from workbench.mapping.coverage import Filter, coverage
from workbench.mapping.layout import Layout
from workbench.mapping.near import HintIndex, jaro
from workbench.target import Entry, Target

CRATES = ("0.19.1", "0.20.1", "0.21.0", "0.22.1", "0.23.0-pre.1")

BACKEND = {"dtype/f16 into float", "dtype/bf16 into float", "dtype/linear transposed float16"}
"""Loads that die in the ndarray backend, which has no such dtype; another backend carries them out."""

RAISES = {"top key/wrong", "top key/not a dict"}
"""The plan already says that there is no such top-level key, as the crates do when they open the file."""

NOT_TOLD = {("0.20.1", "dtype/u8 into int")}
"""burn 0.20 counts unsigned integers as no integers, 0.21 does: its table of facts knows signed and unsigned as one."""


def version_of(crate):
    return ".".join(crate.split("-")[0].split(".")[:2])


def burn_target(params):
    """A target as the program that made the recordings had it."""
    return Target(
        tuple(
            Entry(each["path"], tuple(each["shape"]), None, each.get("kind", "float"), tuple(each["stack"]))
            for each in params
        ),
        "recorded",
    )


def planned(folder, case, version):
    ckpt = wb.open(folder / case["file"])
    reader = reader_for(version, ckpt.format, "burn-store")
    options = {}
    if reader.can_switch_indices:  # The options of the case that this version has.
        options["reindex"] = case.get("map_indices_contiguous")
        options["keep_indices"] = case.get("keep", ()) if reader.keep_lists else ()
    mapping = Mapping(
        [Rule(*rule) for rule in case.get("rules", ())],
        burn=version,
        api="burn-store",
        top_level_key=case.get("top_level_key"),
        skip_enum_variants=case.get("skip_enum_variants"),
        layout=Layout(adapt=True if "from_adapter" in case else None),
        **options,
    )
    return mapping.plan(ckpt)


def covered(folder, case, version):
    only = None
    if ("regex" in case or "full_paths" in case) and not case.get("match_all"):
        only = Filter(tuple(case.get("regex", ())), tuple(case.get("full_paths", ())))
    return coverage(planned(folder, case, version), burn_target(case["params"]), only=only)


def lists(found):
    """The lists of a coverage under the names that Burn uses."""

    def asked(paths):
        return sorted(found.asked_for(path) for path in paths)

    return {
        "applied": asked(found.applied),
        "skipped": asked(found.skipped),
        "missing": asked(found.missing),
        "unused": list(found.burn_unused),
        "errors": asked(problem.path for problem in found.problems),
    }


def recorded_lists(result):
    return {
        "applied": sorted(result["applied"]),
        "skipped": sorted(result["skipped"]),
        "missing": sorted(each if isinstance(each, str) else each[0] for each in result["missing"]),
        "unused": sorted(result["unused"]),
        "errors": sorted(re.findall(r"for '([^']*)'", " ".join(result["errors"]))),
    }


COUNTS = {
    "applied": "Successfully applied",
    "skipped": r"Skipped \(filtered\)",
    "missing": "Missing in source",
    "unused": "Unused in target",
    "errors": "Errors",
}


@pytest.mark.parametrize("crate", CRATES)
def test_the_lists_are_those_of_the_real_load(crate):
    folder = corpus("golden/apply")
    cases = json.loads((folder / "cases.json").read_text())
    answers = json.loads((folder / f"{crate}.json").read_text())
    wrong = {}
    n_compared = 0
    for name, case in cases.items():
        answer = answers[name].get("result", {})
        if name in RAISES:
            with pytest.raises(wb.WorkbenchError):
                covered(folder, case, version_of(crate))
            assert "error" in answer
            continue
        if name in BACKEND or (crate, name) in NOT_TOLD:
            assert "abort" in answers[name] or "applied" in answer
            continue
        found = covered(folder, case, version_of(crate))
        ours = lists(found)
        text = str(answers[name].get("abort") or answer.get("panic") or answer.get("error") or "")
        n_compared += 1
        if "applied" in answer:
            theirs = recorded_lists(answer)
        elif "Loading Summary" in text:
            theirs = {key: int(re.search(rf"{words}: +(\d+)", text)[1]) for key, words in COUNTS.items()}
            ours = {key: len(value) for key, value in ours.items()}
        elif "Missing tensors: " in text:
            names = re.findall(r'"([^"]+)"', text.partition("Missing tensors: ")[2])
            theirs = sorted(name for name in names if not name.startswith("Struct:"))
            ours = ours["missing"]
        elif "path: " in text:
            theirs, ours = re.findall(r'path: "([^"]+)"', text), ours["errors"]
        elif "abort" in answers[name]:
            theirs, ours = "panic", "panic" if found.errors and "panic" in found.verdict else ours
        else:
            assert "Invalid regex pattern" in text
            theirs, ours = "panic", "panic" if "panics" in found.refused else ours
        if ours != theirs:
            wrong[name] = ours, theirs
    assert wrong == {}
    assert n_compared == len(cases) - len(RAISES) - len(BACKEND) - sum(each[0] == crate for each in NOT_TOLD)


@pytest.mark.parametrize("crate", CRATES)
def test_complete_is_said_of_just_the_loads_that_succeed_with_everything(crate):
    folder = corpus("golden/apply")
    cases = json.loads((folder / "cases.json").read_text())
    answers = json.loads((folder / f"{crate}.json").read_text())
    for name, case in cases.items():
        if name in RAISES | BACKEND or (crate, name) in NOT_TOLD:
            continue
        answer = answers[name].get("result", {})
        whole = "applied" in answer and len(answer["applied"]) == len(case["params"])
        assert covered(folder, case, version_of(crate)).complete == whole, name


@pytest.mark.parametrize("crate", CRATES[1:])
def test_burns_own_suggestions_are_foretold(crate):
    folder = corpus("golden/apply")
    cases = json.loads((folder / "cases.json").read_text())
    answers = json.loads((folder / f"{crate}.json").read_text())
    n_hints = 0
    for name, case in cases.items():
        text = answers[name].get("result", {}).get("error", "")
        if "First 10 missing" not in text and "Missing Tensors" not in text:
            continue
        listed = text.partition("Missing Tensors")[2].partition("Unused Tensors")[0]
        theirs = re.findall(r"│    • (\S*)\n(?:│        Did you mean: '(.*?)'\?\n)?", listed)
        assert [(path, hint or "") for path, hint in covered(folder, case, version_of(crate)).burn_hints()] == theirs, (
            name
        )
        n_hints += sum(1 for _, hint in theirs if hint)
    assert n_hints > 10


# ---- without recordings -----------------------------------------------------------------------------


def checkpoint_of(tmp_path, shapes, dtype="F32", size=4):
    parts = []
    for key, shape in shapes.items():
        n = 1
        for length in shape:
            n *= length
        parts.append((key, dtype, shape, bytes(n * size)))
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors_file(parts))
    return wb.open(path)


def test_the_sum_is_one_sentence_and_the_percentage_is_rounded_down(tmp_path):
    ckpt = checkpoint_named(tmp_path, [f"a.{n}" for n in range(199)] + ["x", "y", "z"])
    target = Target.from_keys([f"a.{n}" for n in range(200)])
    found = Mapping(burn=None).plan(ckpt).coverage(target)
    assert found.summary == "199 of 200 parameters of the target filled (99 %); 3 tensors of the file unused"
    assert found.percent == 99
    assert not found.complete
    assert found.missing == ("a.199",)
    assert found.unused == ("x", "y", "z")


def test_a_target_without_parameters_is_not_100_percent(tmp_path):
    found = coverage(Mapping().plan(checkpoint_named(tmp_path, ["a"])), Target((), "nothing"))
    assert found.percent == 0
    assert found.unused == ("a",)


def test_a_wrong_shape_says_whether_a_transpose_fits(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"a": (2, 3), "b": (2, 3)})
    found = Mapping(burn=None).plan(ckpt).coverage(Target.from_keys({"a": [3, 2], "b": [3, 4]}))
    assert [(each.path, each.fits_after_transpose) for each in found.mismatched] == [("a", True), ("b", False)]
    assert found.mismatched[0].text == "the file has 2×3, the target 3×2; fits after transpose"


def test_another_dtype_of_the_same_kind_fills_and_is_told(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"a": (2,)}, "F16", 2)
    found = Mapping().plan(ckpt).coverage(Target.parse('{"a": {"shape": [2], "dtype": "float32"}}'))
    assert found.complete
    assert found.dtype_differs == (("a", "float16", "float32"),)


def test_a_parameter_of_another_kind_is_an_error_from_burn_0_20_on(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"a": (2,)}, "I64", 8)
    target = Target.parse('{"a": {"shape": [2], "dtype": "float32"}}')
    verdicts = {}
    for version in ("0.19", "0.21", "0.22"):
        found = Mapping(burn=version, api="burn-store").plan(ckpt).coverage(target)
        verdicts[version] = found.complete, "panic" in found.verdict
    assert verdicts == {"0.19": (True, False), "0.21": (False, True), "0.22": (False, False)}


RUST = """
#[derive(Module, Debug)]
pub struct Net<B: Backend> { fc: Linear<B>, norm: LayerNorm<B>, blocks: Vec<Conv2d<B>> }
"""


def test_a_target_of_rust_source_knows_what_the_adapter_does(tmp_path):
    shapes = {"fc.weight": (3, 2), "fc.bias": (3,), "norm.weight": (2,), "norm.bias": (2,)}
    shapes |= {
        f"blocks.{n}.{leaf}": shape for n in (0, 1) for leaf, shape in (("weight", (2, 1, 3, 3)), ("bias", (2,)))
    }
    ckpt = checkpoint_of(tmp_path, shapes)
    found = Mapping(layout=Layout(adapt=True)).plan(ckpt).coverage(Target.from_rust(RUST))
    assert found.complete
    assert not found.unused
    assert not found.assumed
    entries = found.target.entries
    assert {entries[n].path for n in found.renamed} == {"norm.gamma", "norm.beta"}
    assert {entries[n].path for n in found.transposed} == {"fc.weight"}
    assert found.summary.startswith("8 of at least 8 parameters")


def test_without_types_what_the_adapter_may_do_is_assumed_and_said(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"fc.weight": (3, 2), "norm.weight": (2,)})
    target = Target.from_keys({"fc.weight": [2, 3], "norm.gamma": [2]})
    found = Mapping(layout=Layout(adapt=True)).plan(ckpt).coverage(target)
    assert found.complete
    assert {found.target.entries[n].path for n in found.assumed} == {"fc.weight", "norm.gamma"}
    assert "if the modules of 2 parameters are what they seem" in found.verdict


def test_a_mark_of_the_user_settles_the_type(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"fc.weight": (3, 2)})
    target = Target.from_keys({"fc.weight": [3, 2]})
    marked = Mapping(layout=Layout(adapt=True, modules=(("fc", "Linear"),)))
    assert Mapping(layout=Layout(adapt=True)).plan(ckpt).coverage(target).complete
    assert [each.path for each in marked.plan(ckpt).coverage(target).mismatched] == ["fc.weight"]


def test_a_file_that_the_reader_refuses_fills_nothing(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"a": (2,), "b": (2,)}, "U16", 2)
    found = Mapping(burn="0.22").plan(ckpt).coverage(Target.from_keys(["a"]))
    assert found.refused
    assert not found.complete
    assert found.missing == ("a",)
    assert "refuses this file" in found.verdict


def test_did_you_mean_goes_by_shape_before_names(tmp_path):
    ckpt = checkpoint_of(
        tmp_path,
        {
            "encoder.0.output.LayerNorm.bias": (4,),
            "encoder.1.output.LayerNorm.bias": (4,),
            "encoder.0.output.dense.bias": (8,),
        },
    )
    target = Target.from_keys({"encoder.0.norm_2.beta": [4]})
    found = Mapping().plan(ckpt).coverage(target)
    near = found.did_you_mean("encoder.0.norm_2.beta")
    assert near.name == "encoder.0.output.LayerNorm.bias"
    assert near.fit == "same shape"
    assert near.n_alike == 0


def test_did_you_mean_counts_those_that_are_as_likely(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"a.x.weight": (4,), "a.y.weight": (4,)})
    near = Mapping().plan(ckpt).coverage(Target.from_keys({"a.z.weight": [4]})).did_you_mean("a.z.weight")
    assert near.n_alike == 1


def test_jaro_gives_the_published_values():
    # Examples of Winkler (1990) and of the article on Jaro-Winkler distance.
    assert round(jaro("MARTHA", "MARHTA"), 3) == 0.944
    assert round(jaro("DWAYNE", "DUANE"), 3) == 0.822
    assert round(jaro("DIXON", "DICKSONX"), 3) == 0.767
    assert jaro("abc", "xyz") == 0.0


def test_a_variant_name_in_the_middle_is_dropped_before_names_are_compared():
    assert HintIndex(["conv.weight", "conv.Bose.weight"]).of("conv.Base.weight") == "conv.weight"


def test_the_selection_skips_and_does_not_miss(tmp_path):
    from workbench.mapping.selection import Pick, Selection

    ckpt = checkpoint_named(tmp_path, ["a", "b"])
    found = Mapping(selection=Selection(exclude=(Pick("key", "b"),))).plan(ckpt).coverage(Target.from_keys(["a", "b"]))
    assert (found.applied, found.skipped, found.missing) == (("a",), ("b",), ())
    assert found.percent == 50


def test_an_export_has_the_layouts_of_the_target(tmp_path):
    ckpt = checkpoint_of(tmp_path, {"fc.weight": (3, 2), "fc.bias": (3,), "norm.weight": (2,), "norm.bias": (2,)})
    target = Target.from_rust(RUST.replace(", blocks: Vec<Conv2d<B>>", ""))
    mapping = Mapping(route="exported", layout=Layout(adapt=True))
    found = mapping.plan(ckpt, target).coverage()
    assert found.complete
    assert not found.unused
    assert {found.target.entries[n].path for n in found.transposed} == {"fc.weight"}
