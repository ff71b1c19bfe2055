import numpy as np
import pytest

import workbench as wb
from tests import oracles
from tests.writing.made import checkpoint_of

TABLE = {
    "fc.weight": np.zeros((2, 3), np.float32),
    "fc.bias": np.zeros(2, np.float32),
    "conv.weight": np.zeros((2, 3, 1, 1), np.float32),
    "norm.weight": np.zeros(3, np.float32),
    "norm.bias": np.zeros(3, np.float32),
    "n": np.zeros(1, np.int64),
}
MARKS = (("fc", "Linear"), ("norm", "BatchNorm"))


def changed(plan):
    return {row.original: (row.layout, row.target_key) for row in plan.rows if row.layout}


@pytest.fixture
def ckpt(tmp_path):
    return checkpoint_of(tmp_path / "net.safetensors", TABLE)


def test_nothing_is_adapted_from_the_shape_alone(ckpt):
    assert changed(wb.Mapping(layout=wb.Layout(True)).plan(ckpt)) == {}


def test_marked_modules_are_adapted_where_the_reader_is_told_to(ckpt):
    told = wb.Mapping(layout=wb.Layout(True, MARKS)).plan(ckpt)
    assert changed(told) == {
        "fc.weight": ("transpose", "fc.weight"),
        "norm.weight": ("rename gamma/beta", "norm.gamma"),
        "norm.bias": ("rename gamma/beta", "norm.beta"),
    }
    assert changed(wb.Mapping(layout=wb.Layout(None, MARKS)).plan(ckpt)) == {}  # safetensors: only if asked to


def test_marks_are_paths_of_remapped_keys(ckpt):
    mapping = wb.Mapping([wb.Rule("^fc", "head")], layout=wb.Layout(True, (("head", "Linear"),)))
    assert changed(mapping.plan(ckpt)) == {"fc.weight": ("transpose", "head.weight")}


def test_the_types_of_a_target_are_used_and_a_mark_outranks_them(ckpt):
    entries = [
        wb_entry("fc.weight", "Struct:Net", "Struct:Linear"),
        wb_entry("norm.gamma", "Struct:Net", "Struct:BatchNorm"),
    ]
    target = target_of(entries)
    plan = wb.Mapping(layout=wb.Layout(True)).plan(ckpt, target)
    assert set(changed(plan)) == {"fc.weight", "norm.weight", "norm.bias"}
    marked = wb.Mapping(layout=wb.Layout(True, (("fc", "Mine"),))).plan(ckpt, target)
    assert set(changed(marked)) == {"norm.weight", "norm.bias"}


def wb_entry(path, *containers):
    from workbench.target import Entry

    return Entry(path, containers=containers)


def target_of(entries):
    from workbench.target import Target

    return Target(tuple(entries), "test")


def test_enum_variants_of_the_target_are_put_back_into_the_key(ckpt):
    target = target_of([wb_entry("fc.Base.weight", "Struct:Net", "Enum:Kind", "Struct:Linear")])
    plans = {skip: wb.Mapping(skip_enum_variants=skip).plan(ckpt, target) for skip in (None, True, False)}
    keys = {skip: plan.trace("fc.weight").final for skip, plan in plans.items()}
    assert keys == {None: "fc.weight", True: "fc.Base.weight", False: "fc.weight"}


def test_classes_in_a_whole_model_tell_types_by_themselves(tmp_path):
    torch = oracles.torch()
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.save(model, tmp_path / "model.pt")
    plan = wb.Mapping(reindex=False).plan(wb.open(tmp_path / "model.pt"))
    assert changed(plan) == {
        "0.weight": ("transpose", "0.weight"),
        "1.weight": ("rename gamma/beta", "1.gamma"),
        "1.bias": ("rename gamma/beta", "1.beta"),
    }


def test_burn_store_0_19_renames_no_norms(ckpt):
    mapping = wb.Mapping(burn="0.19", api="burn-store", layout=wb.Layout(True, MARKS))
    assert set(changed(mapping.plan(ckpt))) == {"fc.weight"}


def test_a_module_is_marked_once():
    with pytest.raises(wb.MappingError, match="marked twice"):
        wb.Layout(None, (("a", "Linear"), ("a", "BatchNorm")))
    assert wb.Layout(None, (("a", "Linear"),)).marked("a", "BatchNorm").modules == (("a", "BatchNorm"),)
    assert wb.Layout(None, (("a", "Linear"),)).marked("a", None).modules == ()


def test_casts_change_the_dtype_of_what_they_mean_the_later_first(ckpt):
    casts = [wb.Cast("float16"), wb.Cast("bfloat16", wb.Pick("node", "fc")), wb.Cast("int32", from_dtype="int64")]
    plan = wb.Mapping(casts=casts).plan(ckpt)
    assert {row.original: row.cast for row in plan.rows} == {
        "fc.weight": "bfloat16",
        "fc.bias": "bfloat16",
        "conv.weight": "float16",
        "norm.weight": "float16",
        "norm.bias": "float16",
        "n": "int32",
    }
    assert {row.cast for row in wb.Mapping(casts=[wb.Cast("float32", from_dtype="float32")]).plan(ckpt).rows} == {""}
