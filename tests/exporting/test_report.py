"""REPORT.md: what it says, and that no text of a file becomes anything but text in it."""

from __future__ import annotations

import re

import markdown_it
import numpy as np
import pytest

import workbench as wb
from tests.oracles import torch as load_torch
from tests.writing.made import HOSTILE_NAMES, checkpoint_of, values
from workbench.errors import printable
from workbench.exporting import export
from workbench.exporting.markdown import code, prose
from workbench.target import Target

EVIL = [
    *HOSTILE_NAMES,
    "a|b",
    "a\\|b",
    "`",
    "``x`",
    " `lead",
    "trail\\",
    "[link](http://evil.example)",
    "![pic](http://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "<http://evil.example>",
    "http://evil.example",
    "www.evil.example",
    "me@evil.example",
    "| --- |",
    "# head",
    "1. one",
    "```",
    "$x$ ~~y~~ **z** __w__",
    "&lt;b&gt;",
]
SAFE = {"heading", "paragraph", "inline", "bullet_list", "ordered_list", "list_item", "table", "thead", "tbody", "tr"}
SAFE |= {"th", "td", "text", "code_inline", "softbreak", "strong"}


def rendered(text):
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def kinds(tokens):
    for token in tokens:
        yield token.type.removesuffix("_open").removesuffix("_close")
        yield from kinds(token.children or ())


def cells(tokens):
    """The cells of all tables, as lists of the code spans or the text in each."""
    row = []
    for n, token in enumerate(tokens):
        if token.type == "td_open":
            children = tokens[n + 1].children
            row.append("".join(child.content for child in children))
        elif token.type == "tr_close" and row:
            yield row
            row = []


def report(plan, folder, **options):
    export(plan, folder, **options)
    return (folder / "REPORT.md").read_text("utf-8")


def test_a_hostile_text_is_text_in_every_place_of_the_report(tmp_path):
    names = {f"k{n}.{name}": values("float32", (2,), n) for n, name in enumerate(EVIL) if "\0" not in name}
    checkpoint = checkpoint_of(tmp_path / "[x](http:evil)`<b>.safetensors", names)
    rules = [wb.Rule("^zz", name, note=name) for name in EVIL]
    rules += [wb.Rule(re.escape(name).replace("\0", r"\x00") + "zz", "") for name in EVIL]
    picks = wb.Selection(exclude=[wb.Pick("key", name) for name in list(names)[::5]])
    target = Target.from_keys([f"t.{name}" for name in names], origin="<b>[me](http://evil)")
    plan = wb.Mapping(rules, selection=picks, reindex=False).plan(checkpoint, target)
    text = report(plan, tmp_path / "out", formats=["npz", "rust", "python", "report"])
    tokens = rendered(text)
    assert set(kinds(tokens)) <= SAFE
    assert all(line.isprintable() for line in text.split("\n"))
    shown = {tuple(row[:2]) for row in cells(tokens)}
    for row in plan.rows:
        if row.status != "skipped":
            assert (printable(row.original, 400), printable(row.remapped, 400)) in shown
        else:
            assert (printable(row.original, 400), row.reason) in shown


@pytest.mark.parametrize("text", EVIL)
def test_a_code_span_gives_the_text_back(text):
    (paragraph,) = [token for token in rendered(f"x {code(text)} y") if token.type == "inline"]
    spans = [child.content for child in paragraph.children if child.type == "code_inline"]
    assert spans == ([printable(text, 400)] if text else [])


@pytest.mark.parametrize("text", EVIL)
def test_prose_with_any_text_in_it_stays_one_paragraph_of_text(text):
    tokens = rendered(f"- {prose(f'The key `{text}` and {text} are odd.')}")
    assert set(kinds(tokens)) <= {"bullet_list", "list_item", "paragraph", "inline", "text", "code_inline"}


def test_the_report_says_where_it_is_from_what_was_done_and_what_was_left_out(tmp_path):
    table = {"net.fc.weight": np.ones((2, 3), np.float32), "net.fc.bias": np.ones(2, np.float32), "opt": np.int64(3)}
    checkpoint = checkpoint_of(tmp_path / "net.safetensors", table)
    mapping = wb.Mapping(
        [wb.Rule(r"^net\.", "", note="wrapper"), wb.Rule("off", "on", enabled=False)],
        selection=wb.Selection(exclude=[wb.Pick("key", "opt")]),
        layout=wb.Layout(modules=[("fc", "Linear")]),
        casts=[wb.Cast("float16", from_dtype="float32")],
    )
    plan = mapping.plan(checkpoint, Target.from_keys({"fc.weight": (3, 2), "fc.bias": (2,), "head": (1,)}))
    text = report(plan, tmp_path / "out", formats=["safetensors", "bpk", "rust", "report"])
    assert checkpoint.fingerprint in text
    assert r"1. `^net\.` → (empty), hits 2 keys. wrapper" in text
    assert "2. `off` → `on`, switched off." in text
    assert "| `net.fc.weight` | `fc.weight` | 2×3 | float32 | remapped | cast to float16; " in text
    assert "in model.bpk: transposed to 3×2" in text
    assert "| `opt` |" in text.partition("## Skipped")[2]
    assert "Missing (1): `head`" in text
    assert "`load.rs` loads `model.bpk`" in text
    assert "The casts to other dtypes." in text
    for finding in wb.diagnose(checkpoint, mapping, plan.target):
        assert finding.code in text


def test_what_the_loader_adapts_is_named_tensor_by_tensor(tmp_path):
    th = load_torch()
    th.save({f"{name}.{leaf}": th.ones(2, 2) for name in ("fc", "norm") for leaf in ("weight",)}, tmp_path / "net.pt")
    marks = wb.Layout(modules=[("fc", "Linear"), ("norm", "BatchNorm")])
    text = report(wb.Mapping(layout=marks).plan(wb.open(tmp_path / "net.pt")), tmp_path / "out")
    assert "| `fc.weight` | `fc.weight` | 2×2 | float32 | unchanged | transposed by Burn when it reads" in text
    assert "named `norm.gamma` by Burn when it reads the original" in text


def test_a_long_table_is_told_by_its_patterns(tmp_path):
    table = {f"layers.{n}.{leaf}": np.zeros(1, np.float32) for n in range(2_600) for leaf in ("weight", "bias")}
    plan = wb.Mapping([wb.Rule("layers", "blocks")], reindex=False).plan(
        checkpoint_of(tmp_path / "x.safetensors", table)
    )
    text = report(plan, tmp_path / "out", formats=["npz", "report"])
    assert "| 2,600 | `layers.*.weight` | `blocks.*.weight` | 1 | float32 | remapped |  |" in text
    assert "All 5,200 of them are in mapping.json" in text
    assert text.count("\n") < 200
