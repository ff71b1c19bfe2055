"""What a format refuses is told before Export is pressed, of large checkpoints too, without holding up an answer."""

import asyncio
import logging

import pytest

import workbench as wb
from tests.make.named import checkpoint_named
from tests.widgets.asking import Asked
from workbench.exporting import bundle
from workbench.widgets import foreseen

PATIENCE = 60
MANY = 3_100
REFUSED = "layers.0.we\0ight"


@pytest.fixture
def large(tmp_path, page, monkeypatch):
    monkeypatch.setattr(foreseen, "_PAUSE", 0.01)
    names = [REFUSED, *(f"layers.{n}.weight" for n in range(1, MANY))]
    return Asked(wb.Workbench(checkpoint_named(tmp_path, names)), page)


def check(asked, folder, formats=("npz", "safetensors"), **options):
    return asked.ask("check_export", **({"folder": str(folder), "formats": list(formats)} | options))


def problems(answer):
    return {line["format"]: line["why"] for line in answer["files"] if line["problem"]}


async def known(asked, before):
    async with asyncio.timeout(PATIENCE):
        while asked.view.foreseen == before:
            await asyncio.sleep(0.001)


def test_what_a_format_refuses_of_many_tensors_is_told_before_export_is_pressed(large, tmp_path):
    async def run():
        first = check(large, tmp_path / "out")
        assert first["is_known"] is False
        assert "npz" not in problems(first)
        await known(large, 0)
        return check(large, tmp_path / "out")

    second = asyncio.run(run())
    assert second["is_known"] is True
    assert "NUL" in problems(second)["npz"]
    assert "safetensors" not in problems(second)
    assert second["n_files"] == 2


def test_another_folder_is_answered_at_once_and_another_choice_is_looked_through(large, tmp_path):
    async def run():
        check(large, tmp_path / "out")
        await known(large, 0)
        assert check(large, tmp_path / "elsewhere")["is_known"]
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "model-00002-of-00002.safetensors").touch()
        sharded = {"formats": ["safetensors"], "shard_size": "7 KB"}
        assert not check(large, tmp_path / "elsewhere", **sharded)["is_known"]
        await known(large, 1)
        assert check(large, tmp_path / "elsewhere", **sharded)["n_replaced"] == 1

    asyncio.run(run())


def test_after_an_edit_only_the_new_plan_is_told_of(large, tmp_path):
    async def run():
        check(large, tmp_path / "out")
        large.ask("add_rule", pattern="\\x00", replacement="", step="t")
        assert not check(large, tmp_path / "out")["is_known"]
        await known(large, 0)
        now = check(large, tmp_path / "out")
        assert now["is_known"]
        assert "npz" not in problems(now)

    asyncio.run(run())


def test_a_closed_view_tells_nothing_more(large, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(foreseen, "outline", lambda *args, **keys: looked.append(args) or ())

    async def run():
        check(large, tmp_path / "out")
        large.view.close()
        await asyncio.sleep(0.1)

    asyncio.run(run())
    assert not looked


def test_a_fault_of_ours_goes_to_the_log_and_the_page_is_answered(large, tmp_path, monkeypatch, caplog):
    logged = asyncio.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            logged.set()

    def broken(*args, **keys):
        raise KeyError("x")

    monkeypatch.setattr(foreseen, "outline", broken)
    handler = Handler()
    logging.getLogger(foreseen.__name__).addHandler(handler)

    async def run():
        check(large, tmp_path / "out")
        async with asyncio.timeout(PATIENCE):
            await logged.wait()
        assert check(large, tmp_path / "out")["files"]

    try:
        asyncio.run(run())
    finally:
        logging.getLogger(foreseen.__name__).removeHandler(handler)


def test_of_few_tensors_it_is_known_at_once(tmp_path, page):
    asked = Asked(wb.Workbench(checkpoint_named(tmp_path, [REFUSED, "b"])), page)
    answer = check(asked, tmp_path / "out")
    assert answer["is_known"]
    assert "NUL" in problems(answer)["npz"]


@pytest.mark.parametrize("n", [2, MANY])
def test_for_no_framework_no_version_of_burn_is_named(n, tmp_path, page):
    asked = Asked(wb.Workbench(checkpoint_named(tmp_path, [str(k) for k in range(n)]), wb.Mapping(burn=None)), page)

    async def run():
        return check(asked, tmp_path / "out")

    (line,) = [line for line in asyncio.run(run())["files"] if line["format"] == "mpk"]
    assert line["problem"] == "An .mpk is for one version of Burn, and none is chosen."
    assert "0.22" not in line["why"]


def test_what_is_told_is_what_the_export_says(large, tmp_path):
    answer = check(large, tmp_path / "out")
    with pytest.raises(wb.ExportError) as refused:
        bundle.export(large.view.plan, tmp_path / "out", formats=["npz"])
    assert refused.value.cause in problems(answer)["npz"]


@pytest.mark.parametrize("folder", ["~", "~nobody-has-this-name", "~nobody-has-this-name/out", "x" * 300, "x/" * 3000])
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_a_folder_half_typed_or_too_long_is_no_fault_of_the_workbench(tmp_path, page, monkeypatch, folder, ending):
    monkeypatch.chdir(tmp_path)
    asked = Asked(wb.Workbench(checkpoint_named(tmp_path, ["a", "b"])), page)
    answer = check(asked, folder + ending)
    assert (answer["n_files"], answer["problem"]) == (3, "")
