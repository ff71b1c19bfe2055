"""Work that takes its time: the kernel answers meanwhile, one is told how far it is, and it can be stopped."""

import asyncio
import threading

import pytest

import workbench as wb
from tests.make.named import checkpoint_named
from tests.widgets.asking import NET, Asked
from workbench.errors import ExportCancelled, ExportError
from workbench.widgets.jobs import Files, Jobs
from workbench.writing.progress import Progress

PATIENCE = 60


class Told(list):
    """All that a job said, and a way to wait for some of it."""

    def __call__(self, facts):
        self.append(facts)

    async def until(self, wanted):
        async with asyncio.timeout(PATIENCE):
            while not (self and wanted(self[-1])):
                await asyncio.sleep(0)
        return self[-1]


def progress(file, step, done, total=400):
    return Progress(file, step, done, total, None)


def test_progress_arrives_while_the_loop_does_other_things():
    may_end = threading.Event()

    def work(report, cancel):
        report(progress("a", "write", 0, 100))
        report(progress("a", "write", 60, 100))
        assert may_end.wait(PATIENCE)
        return {"written": 1}

    async def run():
        told = Told()
        number = Jobs(told).start("export", "net.pt", [("a", 100)], work)
        now = await told.until(lambda job: job["percent"] == 60)
        assert (now["id"], now["state"], now["name"], now["file"]) == (number, "running", "net.pt", "a")
        assert now["files"] == [{"name": "a", "state": "writing", "percent": 60}]
        may_end.set()
        ended = await told.until(lambda job: job["state"] != "running")
        assert (ended["state"], ended["result"]) == ("done", {"written": 1})

    asyncio.run(run())


def test_a_job_stops_when_it_is_asked_to():
    def work(report, cancel):
        report(progress("a", "write", 1))
        while not cancel():
            threading.Event().wait(0.001)
        raise ExportCancelled("The export was cancelled.", code="cancelled")

    async def run():
        told = Told()
        jobs = Jobs(told)
        number = jobs.start("export", "net.pt", [("a", 100)], work)
        assert not jobs.cancel(number + 1)
        assert jobs.cancel(number)
        assert told[-1]["stopping"] is True
        ended = await told.until(lambda job: job["state"] != "running")
        assert (ended["state"], ended["error"]["code"]) == ("cancelled", "cancelled")
        assert not jobs.cancel(number)

    asyncio.run(run())


def test_a_second_job_is_refused_and_the_first_goes_on():
    may_end = threading.Event()

    async def run():
        told = Told()
        jobs = Jobs(told)
        jobs.start("export", "net.pt", [], lambda report, cancel: {"waited": may_end.wait(PATIENCE)})
        with pytest.raises(ExportError) as refused:
            jobs.start("fix", "net.pt", [], lambda report, cancel: {})
        assert refused.value.code == "job-running"
        may_end.set()
        assert (await told.until(lambda job: job["state"] != "running"))["result"] == {"waited": True}
        jobs.start("fix", "net.pt", [], lambda report, cancel: {})
        assert (await told.until(lambda job: job["state"] != "running"))["id"] == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "code"),
    [(ExportError("The disk is full.", path="out", code="disk-full"), "disk-full"), (KeyError("x"), "bug")],
)
def test_an_error_is_the_end_of_the_job_and_tells_what_it_is(error, code):
    def work(report, cancel):
        raise error

    async def run():
        told = Told()
        Jobs(told).start("export", "net.pt", [], work)
        ended = await told.until(lambda job: job["state"] != "running")
        assert (ended["state"], ended["error"]["code"]) == ("failed", code)
        assert ended["error"]["title"]

    asyncio.run(run())


def test_closing_stops_what_runs_and_waits_for_it():
    cleaned = threading.Event()

    def work(report, cancel):
        while not cancel():
            threading.Event().wait(0.001)
        cleaned.set()
        raise ExportCancelled("The export was cancelled.", code="cancelled")

    async def run():
        jobs = Jobs(Told())
        jobs.start("export", "net.pt", [], work)
        jobs.close()
        assert cleaned.is_set()

    asyncio.run(run())


def test_each_file_is_told_of_from_waiting_to_written():
    files = Files([("a", 100), ("b", 100), ("c", 0)])
    seen = []
    for now in [
        progress("a", "write", 0),
        progress("a", "write", 60),
        progress("a", "verify", 100),
        progress("a", "verify", 130),
        progress("b", "write", 200),
        progress("b", "write", 300),
        progress("c", "write", 300),
    ]:
        files.note(now)
        facts = files.facts()
        seen.append((facts["done"], [(each["state"], each["percent"]) for each in facts["files"][:2]]))
    assert seen == [
        (0, [("writing", 0), ("waiting", 0)]),
        (60, [("writing", 60), ("waiting", 0)]),
        (0, [("checking", 0), ("waiting", 0)]),
        (30, [("checking", 30), ("waiting", 0)]),
        (100, [("written", 100), ("writing", 0)]),
        (200, [("written", 100), ("writing", 100)]),
        (200, [("written", 100), ("written", 100)]),
    ]
    assert files.facts()["total"] == 200


def test_of_very_many_files_those_at_hand_are_told():
    files = Files([(f"{n}.npy", 10) for n in range(1_000)])
    files.note(progress("500.npy", "write", 5_000))
    facts = files.facts()
    assert len(facts["files"]) <= 30
    assert "500.npy" in [each["name"] for each in facts["files"]]
    assert "more file" in facts["more"]


# ---- the questions of the page ---------------------------------------------------------------------------------


def export(asked, folder, formats=("npz", "safetensors"), **options):
    question = {"folder": str(folder), "formats": list(formats), "overwrite": False} | options
    number = asked.ask("export", **question)["job"]
    assert asked.view.job["id"] == number
    return asked.view.job


def check(asked, folder, formats=("npz", "safetensors"), **options):
    return asked.ask("check_export", **({"folder": str(folder), "formats": list(formats)} | options))


def test_an_export_is_a_job_whose_result_names_files_and_the_line_that_loads_them(asked, tmp_path):
    job = export(asked, tmp_path / "out")
    assert job["state"] == "done"
    done = job["result"]
    assert {path.rpartition("/")[2] for path in done["paths"]} == {"mapping.json", "model.npz", "model.safetensors"}
    assert done["nbytes"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    names = {"wb": wb}
    exec(f"model = {done['code']}", names)
    assert set(names["model"]["conv"]) == {"conv1", "conv2"}


def test_a_collision_blocks_the_export_and_skipping_one_side_unblocks_it(asked, tmp_path):
    asked.ask("add_rule", pattern=r"conv[12]\.", replacement="", step="t")
    blocked = asked.view.summary["blocked"]
    assert blocked["title"] == "Export is blocked: 1 remapped key is claimed twice."
    assert blocked["skip"] == "Skip conv.conv2.weight"
    job = export(asked, tmp_path / "out")
    assert job["state"] == "failed"
    assert "conv.weight" in job["error"]["title"] + job["error"]["cause"]
    assert not (tmp_path / "out").exists()
    assert asked.ask("skip_collided") == {"n": 1}
    assert asked.view.summary["blocked"] is None
    assert export(asked, tmp_path / "out")["state"] == "done"
    assert set(wb.load_export(tmp_path / "out")["conv"]) == {"bias", "weight"}
    asked.ask("undo")
    assert asked.view.summary["blocked"] == blocked


def test_the_folder_is_looked_at_before_the_export(asked, tmp_path):
    folder = tmp_path / "out"
    before = check(asked, folder)
    assert (before["n_files"], before["n_replaced"], before["problem"]) == (3, 0, "")
    export(asked, folder)
    assert check(asked, folder)["n_replaced"] == 3
    assert check(asked, folder, ["npz"])["n_replaced"] == 2
    again = export(asked, folder)
    assert (again["state"], again["error"]["code"]) == ("failed", "files-exist")
    assert export(asked, folder, overwrite=True)["state"] == "done"
    assert check(asked, folder / "model.npz")["problem"]


def test_the_size_of_each_file_is_known_before_and_follows_a_cast(asked, tmp_path):
    def sizes():
        return {line["format"]: line["nbytes"] for line in check(asked, tmp_path / "out")["files"]}

    assert sizes()["safetensors"] == 12
    asked.ask("cast_floats", dtype="float16")
    assert sizes()["safetensors"] == 6
    assert asked.view.summary["export"]["cast"] == "float16"
    job = export(asked, tmp_path / "out")
    assert job["result"]["n_changes"] == 3
    assert "cast from float32 to float16" in job["result"]["changes"][0]
    assert {str(array.dtype) for array in wb.load_export(tmp_path / "out")["conv"]["conv1"].values()} == {"float16"}
    asked.ask("undo")
    assert asked.view.summary["export"]["cast"] == ""
    assert sizes()["safetensors"] == 12


def test_a_cast_of_all_floats_leaves_integers_and_is_taken_back_by_none(page, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    save_file(
        {"a": np.ones(2, np.float32), "b": np.ones(2, np.float16), "n": np.arange(2)}, tmp_path / "mixed.safetensors"
    )
    asked = Asked(wb.Workbench(tmp_path / "mixed.safetensors"), page)

    def casts():
        return {row.original: row.cast for row in asked.view.plan.rows}

    asked.ask("cast_floats", dtype="bfloat16")
    assert casts() == {"a": "bfloat16", "b": "bfloat16", "n": ""}
    asked.ask("cast_floats", dtype="float32")
    assert casts() == {"a": "", "b": "float32", "n": ""}
    asked.ask("cast_floats", dtype=None)
    assert asked.view.mapping == wb.Mapping()


def test_the_state_dict_of_a_finding_is_written_by_a_job_too(asked, tmp_path):
    out = tmp_path / "clean.safetensors"
    asked.ask("fix", path=str(out), top_level_key=None, overwrite=False)
    assert asked.view.job["state"] == "done"
    assert asked.view.job["result"]["n_tensors"] == 3
    assert list(wb.open(out)) == NET
    asked.ask("fix", path=str(out), top_level_key=None, overwrite=False)
    assert asked.view.job["error"]["code"] == "files-exist"


def test_questions_are_answered_while_an_export_runs_and_another_file_may_be_opened(asked, tmp_path, monkeypatch):
    import workbench.writing.progress as module

    at_work, may_go_on = threading.Event(), threading.Event()
    original = module.Meter.begin

    def held(meter, *args):
        at_work.set()
        assert may_go_on.wait(PATIENCE)
        original(meter, *args)

    monkeypatch.setattr(module.Meter, "begin", held)
    checkpoint_named(tmp_path, ["other"], "other.safetensors")

    async def run():
        asked.ask("export", folder=str(tmp_path / "out"), formats=["npz"], overwrite=False)
        await asyncio.to_thread(at_work.wait, PATIENCE)
        refused = asked.reply("export", folder=str(tmp_path / "two"), formats=["npz"], overwrite=False)
        assert refused["error"]["code"] == "job-running"
        asked.ask("add_rule", pattern="conv", replacement="c", step="t")
        asked.ask("open", path=str(tmp_path / "other.safetensors"))
        assert (asked.view.job["state"], asked.view.job["name"]) == ("running", "named.safetensors")
        may_go_on.set()
        async with asyncio.timeout(PATIENCE):
            while asked.view.job["state"] == "running":
                await asyncio.sleep(0)

    asyncio.run(run())
    assert asked.view.job["state"] == "done"
    assert set(wb.load_export(tmp_path / "out")["conv"]) == {"conv1", "conv2"}
