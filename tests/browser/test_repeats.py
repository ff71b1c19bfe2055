"""Blocks told as one, and the one layer that is not like the others: found, read and cast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from playwright.sync_api import expect
from safetensors.numpy import save_file

import workbench as wb

if TYPE_CHECKING:
    from conftest import LabPage

BLOCK = {
    "input_layernorm": (8,),
    "mlp.down_proj": (8, 22),
    "mlp.gate_proj": (22, 8),
    "mlp.up_proj": (22, 8),
    "post_attention_layernorm": (8,),
    "self_attn.k_proj": (8, 8),
    "self_attn.o_proj": (8, 8),
    "self_attn.q_proj": (8, 8),
    "self_attn.v_proj": (8, 8),
}
ODD = "model.layers.17.self_attn.q_proj.weight"


def write(path: Path) -> None:
    """32 blocks in bfloat16, of which one has a tensor in float32."""
    tensors = {
        f"model.layers.{n}.{name}.weight": np.ones(shape, ml_dtypes.bfloat16)
        for n in range(32)
        for name, shape in BLOCK.items()
    }
    tensors["model.embed_tokens.weight"] = np.ones((64, 8), ml_dtypes.bfloat16)
    tensors["model.norm.weight"] = np.ones(8, ml_dtypes.bfloat16)
    tensors[ODD] = np.ones((8, 8), np.float32)
    save_file(tensors, path)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_one_layer_that_differs_is_found_by_its_chip_and_cast(lab: LabPage, theme) -> None:
    write(lab.server.root / "llama.safetensors")
    lab.notebook_on("llama.safetensors")
    lab.theme(theme)
    view = lab.workbench()
    expect(view.get_by_role("row", name="model.layers.{0..31}, ×32, one differs, group of 288 tensors")).to_be_visible()
    lab.picture(f"repeats-{theme}")

    view.get_by_role("button", name="Differs 1").click()
    odd = view.get_by_role("row", name=f"{ODD}, 8 by 8, float32, unchanged, dtype differs")
    expect(odd).to_be_visible()
    expect(view.get_by_role("row", name="float32 here, bfloat16 in the 31 others.")).to_be_visible()
    odd.click()
    lab.picture(f"differs-{theme}")

    view.get_by_role("tab", name="Findings").click()
    expect(view.get_by_text(f"{ODD} is float32, and bfloat16 in the 31 other blocks.")).to_be_visible()
    lab.picture(f"differs-finding-{theme}")
    view.get_by_role("button", name="Cast it to bfloat16", exact=True).click()
    expect(view.get_by_role("button", name="Differs 0")).to_be_visible()
    view.get_by_role("button", name="Undo: Cast it to bfloat16").click()
    expect(view.get_by_role("button", name="Differs 1")).to_be_visible()
    view.get_by_role("button", name="Cast it to bfloat16", exact=True).click()

    view.get_by_role("tab", name="Export").click()
    view.get_by_label("Folder", exact=True).fill(f"cast-{theme}")
    view.get_by_role("button", name="Export 7 files", exact=True).click()
    expect(view.get_by_text("wb.load_export").last).to_be_visible()
    written = wb.load_export(lab.server.root / f"cast-{theme}")
    assert str(written["model"]["layers"]["17"]["self_attn"]["q_proj"]["weight"].dtype) == "bfloat16"
    assert lab.errors == []


def test_f_shows_each_block_singly_and_folds_them_again(lab: LabPage) -> None:
    write(lab.server.root / "llama.safetensors")
    lab.notebook_on("llama.safetensors")
    view, keyboard = lab.workbench(), lab.page.keyboard
    fold = view.get_by_role("row", name="model.layers.{0..16, 18..31}, ×31 identical, group of 279 tensors")
    fold.click()
    keyboard.press("f")
    expect(view.get_by_role("row", name="model.layers.3, group of 9 tensors")).to_be_visible()
    expect(fold).to_be_hidden()
    view.get_by_role("row", name="model.layers.3, group of 9 tensors").click()
    keyboard.press("f")
    expect(fold).to_be_visible()

    # Delete on a fold skips the tensors of all its blocks.
    fold.click()
    keyboard.press("Delete")
    expect(view.get_by_role("button", name="Skipped 279")).to_be_visible()
    expect(view.locator("[data-equation]")).to_contain_text("290 in = 11 out + 279 skipped")
    assert lab.errors == []
