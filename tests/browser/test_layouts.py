"""The layouts by width, and the pictures in docs/: WORKBENCH_PICTURES=docs writes them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from conftest import LabPage


def type_the_rule(lab: LabPage, view: Locator) -> None:
    view.get_by_role("row").nth(1).click()
    lab.page.keyboard.press("n")
    lab.page.keyboard.type(r"conv\.(.*)")
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.type("$1")
    expect(view.get_by_text("(prefix removed)")).to_be_visible()
    expect(view.get_by_text("First hit")).to_be_visible()


def box(view: Locator, region: str) -> dict[str, float]:
    found = view.locator(f"[data-region={region}]").locator("visible=true").bounding_box()
    assert found is not None
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_a_tab_of_its_own_rules_and_export_stand_right_of_the_table(lab: LabPage, theme) -> None:
    lab.notebook_on("net_prefixed.pt")
    lab.theme(theme)
    lab.page.locator(".jp-OutputArea-output .wb-root").first.click(position={"x": 300, "y": 20})
    lab.command("notebook:create-output-view")
    lab.page.evaluate(
        "() => { const shell = window.jupyterapp.shell; shell.collapseLeft(); shell.mode = 'single-document'; }"
    )
    view = lab.page.locator(".jp-LinkedOutputView .wb-root")
    expect(view).to_be_visible()
    expect(view).to_have_attribute("data-layout", "two")
    type_the_rule(lab, view)
    table, rules, panel = (box(view, region) for region in ("table", "rules", "panel"))
    assert table["x"] + table["width"] <= rules["x"] + 1
    assert abs(rules["x"] - panel["x"]) <= 1
    assert rules["y"] + rules["height"] <= panel["y"] + 8
    lab.picture(f"workbench-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_a_notebook_cell_the_table_stands_above_rules_and_export(lab: LabPage, theme) -> None:
    lab.notebook_on("net_prefixed.pt")
    lab.theme(theme)
    view = lab.workbench()
    expect(view).to_have_attribute("data-layout", "stack")
    type_the_rule(lab, view)
    table, rules, panel = (box(view, region) for region in ("table", "rules", "panel"))
    assert table["y"] + table["height"] <= rules["y"] + 8
    assert rules["x"] + rules["width"] <= panel["x"] + 8
    lab.picture(f"workbench-cell-{theme}")


def test_a_narrow_view_puts_rules_and_export_behind_tabs(lab: LabPage) -> None:
    lab.page.set_viewport_size({"width": 980, "height": 800})
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    expect(view).to_have_attribute("data-layout", "narrow")
    view.get_by_role("tab", name="Export").click()
    expect(view.get_by_role("button", name="Export 7 files", exact=True)).to_be_visible()
    lab.picture("narrow")


def test_a_wide_view_has_three_columns(lab: LabPage) -> None:
    lab.page.set_viewport_size({"width": 2100, "height": 1000})
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    expect(view).to_have_attribute("data-layout", "three")
    table, rules, panel = (box(view, region) for region in ("table", "rules", "panel"))
    assert table["x"] < rules["x"] < panel["x"]
    assert abs(rules["y"] - panel["y"]) <= 1
    lab.picture("wide")


def test_a_collision_and_a_faulty_pattern_show_beside_what_they_concern(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    view.get_by_role("row").nth(1).click()
    lab.page.keyboard.press("n")
    lab.page.keyboard.type(r"conv\d")
    expect(view.get_by_text("Export is blocked: 1 remapped key is claimed twice.")).to_be_visible()
    lab.picture("collision")
    lab.page.keyboard.type("(")
    expect(view.get_by_text("unclosed group")).to_be_visible()
    lab.picture("pattern-error")


def test_a_file_that_is_cut_off_says_where_and_what_to_do(lab: LabPage) -> None:
    (lab.server.root / "broken.pt").write_bytes((lab.server.root / "net.pt").read_bytes()[:900])
    lab.notebook_on("broken.pt")
    expect(lab.workbench().get_by_role("alert")).to_contain_text("broken.pt")
    lab.picture("broken")


@pytest.mark.parametrize("width", [2060, 2100, 1400, 1120, 760])
def test_no_chip_and_no_figure_of_the_header_is_cut_at_any_width(lab: LabPage, width: int) -> None:
    lab.page.set_viewport_size({"width": width, "height": 900})
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    cut = """(inner, [outer]) => {
        const [a, b] = [inner.getBoundingClientRect(), inner.closest(outer).getBoundingClientRect()];
        return a.left < b.left - 0.5 || a.right > b.right + 0.5 || a.top < b.top - 0.5 || a.bottom > b.bottom + 0.5;
    }"""
    chips = view.get_by_role("toolbar", name="Filter by status").get_by_role("button").all()
    assert len(chips) == 7
    assert [chip.inner_text() for chip in chips if chip.evaluate(cut, [".wb-chips"])] == []
    assert not view.locator(".wb-header .wb-amount").evaluate(cut, [".wb-facts"])
