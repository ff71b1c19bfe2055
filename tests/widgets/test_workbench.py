"""The kernel's side of the screen, asked as the page asks."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import workbench as wb
from tests.make.named import checkpoint_named
from tests.widgets.asking import NET, Asked


def test_a_typed_rule_changes_mapping_plan_and_rows(asked):
    asked.ask("add_rule", pattern=r"conv\.(.*)", replacement="$1", step="t")
    assert asked.view.mapping.rules == (wb.Rule(r"conv\.(.*)", "$1"),)
    assert [row.remapped for row in asked.view.plan.rows] == ["conv1.bias", "conv1.weight", "conv2.weight"]
    rows = asked.ask("rows", **{"from": 0, "to": 40})
    assert rows["version"] == asked.view.table["version"]
    assert [row["remapped"] for row in rows["rows"] if row["kind"] == "tensor"] == [
        "conv1.bias",
        "conv1.weight",
        "conv2.weight",
    ]
    assert asked.view.rules[0]["n_keys"] == 3


def test_traits_of_an_answer_are_sent_before_it(asked):
    before = len(asked.page.sent)
    asked.ask("add_rule", pattern="a", replacement="b", step="t")
    methods = [message["method"] for message in asked.page.sent[before:]]
    assert methods.count("custom") == 1
    assert methods[-1] == "custom"
    assert "update" in methods


def test_an_invalid_pattern_is_answered_with_its_place_and_changes_nothing(asked):
    revision = asked.view.revision
    error = asked.reply("add_rule", pattern=r"a\.(b", replacement="", step="t")["error"]
    assert (error["code"], error["title"], error["column"]) == ("pattern", "unclosed group", 3)
    assert (asked.view.revision, asked.view.mapping) == (revision, wb.Mapping())


def test_groups_and_the_first_hit_are_told_for_a_rule(asked):
    asked.ask("add_rule", pattern=r"conv\.(conv\d)", replacement="$1", step="t")
    told = asked.ask("groups", index=0)
    assert (told["n_keys"], told["n_hits"]) == (3, 3)
    assert told["groups"] == [{"name": "$1", "values": ["conv1", "conv2"], "n_values": 2}]
    assert "".join(text for text, _ in told["first_hit"]["before"]) == "conv.conv1.bias"
    assert "".join(text for text, _ in told["first_hit"]["after"]) == "conv1.bias"


def test_copied_python_rebuilds_the_mapping(asked):
    asked.ask("add_rule", pattern=r"conv\.", replacement='"', step="t")
    names = {}
    exec(asked.ask("code", language="python")["text"], names)
    assert names["mapping"] == asked.view.mapping
    assert [row.remapped for row in names["plan"].rows] == [row.remapped for row in asked.view.plan.rows]


def test_the_equation_adds_up_in_every_state(asked):
    for pattern in ["conv", r"conv[12]\.", "nothing"]:
        asked.ask("add_rule", pattern=pattern, replacement="", step=pattern)
        e = asked.view.summary["equation"]
        assert e["found"] == e["out"] + e["skipped"] + e["collision"] + e["outside"] == 3


def test_no_argument_shows_the_empty_state_and_a_file_can_be_opened(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint_named(tmp_path, NET, "here.safetensors")
    asked = Asked(wb.Workbench(), page)
    assert asked.view.summary["state"] == "empty"
    assert [entry["path"] for entry in asked.view.summary["folder"]] == ["here.safetensors"]
    asked.ask("open", path="here.safetensors")
    assert asked.view.summary["state"] == "open"
    assert asked.view.checkpoint.name == "here.safetensors"


def test_a_bad_file_shows_file_place_cause_and_next_step(page, tmp_path):
    path = tmp_path / "bad.pt"
    path.write_bytes(b"<!DOCTYPE html><html></html>")
    view = wb.Workbench(path)
    assert view.summary["state"] == "error"
    error = view.summary["error"]
    assert "bad.pt" in error["file"]
    assert error["title"]
    assert error["next"]
    assert (view.plan, view.rules, view.table["total"]) == (None, [], 0)


@pytest.mark.parametrize(
    ("question", "args"),
    [
        ("rows", {}),
        ("rows", {"from": "x", "to": 3}),
        ("rows", {"from": True, "to": 3}),
        ("edit_rule", {"index": 7, "pattern": "a", "replacement": "", "step": ""}),
        ("view", {"chip": "loud"}),
        ("set_top_level_key", {"key": "nope"}),
        ("export", {"folder": " "}),
        ("groups", {"index": -1}),
        ("no_such_question", {}),
        ("__init__", {}),
    ],
)
def test_a_wrong_question_gets_one_error_and_changes_nothing(asked, question, args):
    before = asked.view.mapping
    assert asked.reply(question, **args)["error"]["title"]
    assert asked.view.mapping == before


@pytest.mark.parametrize("content", [None, [], "x", {}, {"ask": "rows"}, {"id": None}, {"id": [1]}])
def test_what_is_no_question_is_left_alone(asked, content):
    before = len(asked.page.sent)
    asked.view._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
    assert len(asked.page.sent) == before


def test_two_views_of_one_session_show_the_same(page, tmp_path):
    session = wb.Session(checkpoint_named(tmp_path, NET))
    one, other = wb.Workbench(session), wb.Workbench(session)
    Asked(one, page).ask("add_rule", pattern="conv1", replacement="c", step="t")
    assert other.rules == one.rules
    assert other.plan is one.plan


def test_a_closed_view_follows_no_more(page, tmp_path):
    session = wb.Session(checkpoint_named(tmp_path, NET))
    view = wb.Workbench(session)
    view.close()
    revision = view.revision
    session.add_rule(wb.Rule("a", "b"))
    assert view.revision == revision


def test_at_most_200_rows_are_sent(page, tmp_path):
    asked = Asked(wb.Workbench(checkpoint_named(tmp_path, [f"k{n}" for n in range(500)])), page)
    asked.ask("view", arrangement="flat")
    answer = asked.ask("rows", **{"from": 100, "to": 10**9})
    assert (answer["total"], len(answer["rows"]), answer["rows"][0]["i"]) == (500, 200, 100)


def test_a_saved_notebook_shows_names_as_text(page, tmp_path):
    ckpt = checkpoint_named(tmp_path, ["<img src=x onerror=alert(1)>"])
    html = wb.Workbench(ckpt)._repr_mimebundle_()[0]["text/html"]
    assert "<img" not in html
    assert "&lt;img" in html


def test_repeated_blocks_are_shown_singly_and_skipped_as_one(tmp_path, page):
    keys = [f"layers.{n}.{name}" for n in range(4) for name in ("bias", "weight")]
    asked = Asked(wb.Workbench(checkpoint_named(tmp_path, keys)), page)
    fold = asked.ask("rows", **{"from": 0, "to": 40})["rows"][0]
    assert (fold["key"], fold["tag"]) == ("layers.{0..3}", "×4")
    assert asked.ask("repeat", id=fold["id"]) == {"repeats": True}
    singly = asked.ask("rows", **{"from": 0, "to": 40})["rows"]
    assert [row["key"] for row in singly if row["depth"] == 1] == [f"layers.{n}" for n in range(4)]
    asked.ask("repeat", id=singly[1]["id"])
    assert asked.ask("skip", ids=[fold["id"]]) == {"n": 8, "taken_back": False}
    assert asked.view.plan.n_out == 0
    assert asked.ask("inspect", id=fold["id"])["key"] == "layers.{0..3}"


def test_a_line_without_repeats_says_so(asked):
    (first, *_) = asked.ask("rows", **{"from": 0, "to": 40})["rows"]
    assert asked.ask("repeat", id=first["id"]) == {"repeats": False}


def test_a_file_that_is_replaced_is_told_with_the_next_answer_and_opened_again_under_the_same_rules(tmp_path, page):
    path = tmp_path / "net.safetensors"
    save_file({key: np.ones(2, np.float32) for key in NET}, path)
    asked = Asked(wb.Workbench(path), page)
    asked.ask("add_rule", pattern=r"^conv\.", replacement="", step="1")
    assert asked.view.changed == {}
    save_file({"conv.new": np.ones(2, np.float32)}, tmp_path / "other.safetensors")
    (tmp_path / "other.safetensors").replace(path)
    assert asked.view.changed == {}
    asked.ask("rows", **{"from": 0, "to": 5})
    assert asked.view.changed["name"] == path.name
    assert asked.view.changed["when"] != ""
    assert asked.view.summary["n_tensors"] == 3

    asked.ask("open_again")
    assert asked.view.changed == {}
    assert asked.view.plan.remapped == ["new"]


def test_a_change_that_is_kept_out_is_not_told_again_but_the_next_one_is(tmp_path, page):
    path = tmp_path / "net.safetensors"
    save_file({key: np.ones(2, np.float32) for key in NET}, path)
    asked = Asked(wb.Workbench(path), page)
    path.write_bytes(b"one")
    asked.ask("rows", **{"from": 0, "to": 5})
    assert asked.view.changed["when"]
    asked.ask("keep_shown")
    assert asked.view.changed == {}
    asked.ask("rows", **{"from": 0, "to": 5})
    assert asked.view.changed == {}
    path.unlink()
    asked.ask("rows", **{"from": 0, "to": 5})
    assert (asked.view.changed["name"], asked.view.changed["when"]) == (path.name, "")


def test_files_of_the_folder_that_are_not_listed_are_counted(tmp_path, page, monkeypatch):
    for n in range(103):
        (tmp_path / f"{n:03}.pt").touch()
    monkeypatch.chdir(tmp_path)
    summary = wb.Workbench().summary
    assert [file["path"] for file in summary["folder"]] == [f"{n:03}.pt" for n in range(100)]
    assert summary["folder_more"].startswith("and 3 more")


def test_a_list_of_keys_pasted_as_one_long_line_is_a_target(asked):
    asked.ask("use_target", text=json.dumps({f"layers.{n}.weight": [2, 3] for n in range(400)}))
    assert [entry.path for entry in asked.view.plan.target.entries[:2]] == ["layers.0.weight", "layers.1.weight"]


@pytest.mark.parametrize("text", ["~nobody-has-this-name/model.rs", "x" * 300 + ".rs", "x/" * 3000 + "keys.json"])
def test_a_target_that_is_nowhere_is_said_so(asked, text):
    assert asked.reply("use_target", text=text)["error"]["code"] in ("no-such-file", "cannot-open")
