"""Checkpoint as its users meet it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.make import pickles as p
from tests.make.safetensors import safetensors_file
from tests.make.zips import torch_zip
from workbench.checkpoint import Checkpoint, checkpoint_of, open_checkpoint
from workbench.core.source import MemorySource
from workbench.errors import OpenError, TensorError, UnknownKeyError, WorkbenchError

ONES = np.ones(64, "<f4").tobytes()
WEIGHT = p.tensor("0", 64, (4, 2, 2, 2), (8, 4, 2, 1))
BIAS = p.tensor("0", 64, (2,), (1,))


def checkpoint(root: bytes, name: str = "net.pt") -> Checkpoint:
    return checkpoint_of(MemorySource(torch_zip(p.pickle(root), {"0": ONES}), name))


def flat(**tensors: bytes) -> bytes:
    return p.ordered_dict(*((p.text(key.replace("__", ".")), value) for key, value in tensors.items()))


def nested() -> Checkpoint:
    return checkpoint(
        p.dict_of(
            (p.text("epoch"), p.number(3)),
            (p.text("optimizer"), p.dict_of((p.number(0), p.dict_of((p.text("m"), BIAS))))),
            (p.text("model"), flat(conv__weight=WEIGHT, conv__bias=BIAS)),
            (p.text("lone"), BIAS),
            (p.text("list"), p.list_of(BIAS)),
            (p.text("empty"), p.dict_of()),
        )
    )


def test_a_file_opens_as_a_mapping_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(torch_zip(p.pickle(flat(conv__weight=WEIGHT, conv__bias=BIAS)), {"0": ONES}))
    ckpt = open_checkpoint(path)
    assert (ckpt.name, ckpt.path, ckpt.size) == ("net.pt", str(path), path.stat().st_size)
    assert list(ckpt) == list(ckpt.keys()) == ["conv.weight", "conv.bias"]
    assert "conv.weight" in ckpt
    assert 3 not in ckpt
    assert ckpt["conv.weight"].shape == (4, 2, 2, 2)
    assert ckpt["conv.weight"].sum() == 32
    assert len(ckpt) == len(ckpt.tensors) == 2
    assert ckpt.nbytes == 128 + 8
    assert open_checkpoint(str(path)).fingerprint == ckpt.fingerprint


def test_a_file_that_changes_meanwhile_is_an_error_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(torch_zip(p.pickle(flat(w=BIAS)), {"0": ONES}))
    ckpt = open_checkpoint(path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(OpenError, match="changed"):
        ckpt["w"]


@pytest.mark.parametrize(
    ("root", "kind"),
    [
        (flat(w=BIAS), "flat state_dict, PyTorch zip"),
        (p.dict_of((p.text("model"), flat(w=BIAS))), "nested, PyTorch zip"),
        (p.module("Net", parameters=[("w", BIAS)]), "whole model `nets.Net`, PyTorch zip"),
        (p.dict_of((p.text("m"), p.module(parameters=[("w", BIAS)]))), "nested, with a whole model, PyTorch zip"),
        (p.list_of(BIAS), "list, PyTorch zip"),
        (BIAS, "one tensor, PyTorch zip"),
        (p.dict_of((p.text("a"), p.number(1))), "no tensors, PyTorch zip"),
    ],
)
def test_the_kind_says_in_words_what_was_saved(root: bytes, kind: str) -> None:
    assert checkpoint(root).kind == kind


def test_the_only_tensor_of_a_file_has_an_empty_key() -> None:
    assert checkpoint(BIAS)[""].tolist() == [1, 1]


def test_an_unknown_key_names_near_ones() -> None:
    ckpt = checkpoint(flat(conv1__weight=WEIGHT))
    with pytest.raises(KeyError, match=r"There is no tensor 'conv\.weight'\. Near it: 'conv1\.weight'"):
        ckpt["conv.weight"]
    with pytest.raises(UnknownKeyError):
        ckpt.tensor("x")


def test_two_tensors_with_one_joined_key_are_both_listed_and_not_guessed_between() -> None:
    ckpt = checkpoint(p.dict_of((p.text("a"), flat(b=BIAS)), (p.text("a.b"), WEIGHT)))
    assert [t.key for t in ckpt.tensors] == ["a.b", "a.b"]
    assert "same-key" in [finding.code for finding in ckpt.findings]
    with pytest.raises(TensorError, match=r"2 tensors have the key 'a\.b'"):
        ckpt["a.b"]


def test_top_level_keys_are_the_dicts_of_the_root_with_tensors_largest_first() -> None:
    found = [(each.key, each.n_tensors, each.nbytes) for each in nested().top_level_keys]
    assert found == [("model", 2, 136), ("optimizer", 1, 8)]


def test_a_flat_file_has_no_top_level_keys() -> None:
    assert checkpoint(flat(model__w=BIAS)).top_level_keys == ()
    assert checkpoint(p.module(children=[("conv", p.module(parameters=[("w", BIAS)]))])).top_level_keys == ()


def test_under_a_top_level_key_keys_lose_it() -> None:
    ckpt = nested()
    assert [key for key, _ in ckpt.under("model")] == ["conv.weight", "conv.bias"]
    assert [key for key, _ in ckpt.under("optimizer")] == ["0.m"]
    assert [key for key, _ in ckpt.under(None)] == list(ckpt)
    assert ckpt.under("model")[0][1] is ckpt.tensor("model.conv.weight")


@pytest.mark.parametrize("key", ["epoch", "lone", "empty", "list", "x"])
def test_under_anything_else_is_an_error_that_lists_the_candidates(key: str) -> None:
    with pytest.raises(WorkbenchError, match=r"'model' \(2 tensors\), 'optimizer' \(1 tensor\)") as caught:
        nested().under(key)
    assert caught.value.code == "top-level-key"
    assert ("There is no" in caught.value.title) == (key == "x")


def test_the_repr_is_a_title_and_aligned_rows() -> None:
    ckpt = checkpoint(flat(conv__weight=WEIGHT, b=BIAS))
    assert repr(ckpt) == (
        "net.pt: flat state_dict, PyTorch zip, 2 tensors, 136 B\n"
        "  conv.weight  4×2×2×2  float32  128 B\n"
        "  b            2        float32    8 B"
    )


def test_the_reprs_of_a_large_file_are_bounded() -> None:
    ckpt = checkpoint(flat(**{f"layer{i}": BIAS for i in range(500)}))
    assert len(repr(ckpt).splitlines()) == 22
    assert "480 more tensors" in repr(ckpt)
    assert ckpt._repr_html_().count("<tr>") == 21


def test_an_unreadable_tensor_is_marked_in_the_repr() -> None:
    ckpt = checkpoint(flat(w=p.tensor("9", 1, (1,), (1,))))
    assert repr(ckpt).splitlines()[1].endswith("4 B  unreadable")
    assert repr(ckpt).splitlines()[2] == "  1 finding in .findings"


def test_hostile_text_is_escaped_in_both_reprs() -> None:
    evil = "<img src=x onerror=alert(1)>\x1b[31m\u202e'\""
    ckpt = checkpoint(p.dict_of((p.text(evil), BIAS)), name="<b>net</b>.pt")
    assert "\x1b" not in repr(ckpt)
    html = ckpt._repr_html_()
    assert "<img" not in html
    assert "<b>net" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "\u202e" not in html


def test_the_frame_has_one_row_a_tensor() -> None:
    frame = nested().frame()
    assert list(frame.columns) == ["key", "shape", "dtype", "nbytes"]
    assert frame["key"].tolist()[1] == "model.conv.weight"
    assert frame["shape"].tolist()[1] == (4, 2, 2, 2)
    assert frame["nbytes"].sum() == 8 + 136 + 16


def test_a_safetensors_file_says_so() -> None:
    data = safetensors_file([("a.w", "BF16", (2,), b"1234")], {"format": "pt"})
    ckpt = checkpoint_of(MemorySource(data, "m.safetensors"))
    assert (ckpt.kind, ckpt.format, ckpt.metadata, ckpt.top_level_keys) == (
        "safetensors",
        "safetensors",
        {"format": "pt"},
        (),
    )
    assert repr(ckpt).splitlines()[0] == "m.safetensors: safetensors, 1 tensor, 4 B"


def test_a_checkpoint_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        nested().name = "x"  # type: ignore[misc]
