"""A real JupyterLab, started by `workbench lab` itself, and a real Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.oracles import unavailable

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_BROWSER = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 300
STEP_SECONDS = 90
VIEWPORT = {"width": 1400, "height": 900}
COMMAND = "from workbench.cli.app import main; main()"
PAGES = count(1)
PASSED = pytest.StashKey[bool]()

OPEN_ALONE = """async (path) => {
    const { commands, shell } = window.jupyterapp;
    const opened = await commands.execute("docmanager:open", { path, factory: "Notebook" });
    await opened.context.ready;
    await opened.sessionContext.ready;
    [...shell.widgets("main")].filter((widget) => widget !== opened).forEach((widget) => widget.dispose());
}"""

# Without asking whether to save: what a test typed goes with it.
CLOSE_ALL = """async () => {
    const { shell } = window.jupyterapp;
    shell.mode = "multiple-document";
    const code = "from ipywidgets import Widget; Widget.close_all(); get_ipython().reset(new_session=True)";
    for (const widget of [...shell.widgets("main")]) {
        const kernel = widget.sessionContext?.session?.kernel;
        const reply = await kernel?.requestExecute({ code, silent: true, store_history: false }).done;
        if (kernel && reply.content.status !== "ok") throw new Error(JSON.stringify(reply.content));
        widget.dispose();
    }
    shell.expandLeft();
    localStorage.clear();
}"""

expect.set_options(timeout=STEP_SECONDS * 1000)


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab. It serves a copy of the samples and notebooks: tests may write there."""

    url: str
    token: str
    root: Path
    kept: list[str] = field(default_factory=list)
    """The session whose kernel runs one notebook after the other; none before the first."""

    def api(self, path: str, method: str = "GET", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode("utf-8")
        request = urllib.request.Request(
            f"{self.url}{path}", data, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = answer.read()
        return json.loads(said) if said else None

    def give_kernel(self, notebook: str, of_its_own: bool) -> None:
        """A kernel for a notebook that is not open yet: of its own, or the kept one."""
        session = {"path": notebook, "name": notebook, "type": "notebook"}
        if self.kept and not of_its_own:
            self.api(f"api/sessions/{self.kept[0]}", "PATCH", session)
            return
        made = self.api("api/sessions", "POST", session | {"kernel": {"name": "python3"}})
        if not of_its_own:
            self.kept.append(made["id"])

    def stop_kernels(self, but_the_kept: bool = False) -> None:
        for session in self.api("api/sessions"):
            if but_the_kept and session["id"] in self.kept:
                self.api(f"api/sessions/{session['id']}", "PATCH", {"path": "kept"})
            else:
                self.api(f"api/sessions/{session['id']}", "DELETE")
        if not but_the_kept:
            self.kept.clear()


@dataclass
class LabPage:
    """One browser page on the server, with a JupyterLab workspace of its own."""

    page: Page
    server: LabServer
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._note_dialog)

    def _note_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def open_empty(self) -> None:
        """JupyterLab with nothing open, for `notebook_on`."""
        self.page.goto(f"{self.server.url}lab/workspaces/{new_workspace()}?token={self.server.token}")
        self._wait_for_lab()
        self.theme("light")  # a theme is a setting on the server: that of a test that failed would stay

    def open_start(self) -> None:
        """What the launcher opens in the user's browser."""
        self.page.goto(f"{self.server.url}?token={self.server.token}")
        self._wait_for_lab()

    def open_notebook(self, name: str) -> None:
        """Loads the page on a notebook below the root; returns when its kernel is idle."""
        where = f"lab/workspaces/{new_workspace()}/tree/{name}"
        self.page.goto(f"{self.server.url}{where}?token={self.server.token}")
        self._wait_for_lab()
        self.page.locator(".jp-NotebookPanel:visible").wait_for()
        self._wait_for_kernel()

    def notebook_on(self, file: str | None) -> None:
        """A notebook of two lines that shows `file` (None: the empty state) in the workbench; opened and run."""
        shown = json.dumps(file) if file else ""
        self.notebook_of(f"import workbench as wb\n\nwb.Workbench({shown})", (file or "nothing").partition(".")[0])

    def notebook_of(self, source: str, name: str, own_kernel: bool = False) -> None:
        """Opens a notebook of one cell beside nothing else, runs it and waits for its workbench.

        `own_kernel` is for what changes the kernel's code. All others follow each other in one kernel, where
        nothing is left of the one before but the imported modules.
        """
        cell = {
            "cell_type": "code",
            "id": "show",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}
        (self.server.root / f"{name}.ipynb").write_text(json.dumps(notebook), "utf-8")
        self.server.give_kernel(f"{name}.ipynb", own_kernel)
        self.page.evaluate(OPEN_ALONE, f"{name}.ipynb")
        self.page.locator(".jp-NotebookPanel:visible").wait_for()
        self._wait_for_kernel()
        self.run_all()
        self.workbench().wait_for()

    def leave(self) -> None:
        """Closes everything and takes back what a test may have changed of JupyterLab and the browser."""
        self.page.evaluate(CLOSE_ALL)
        self.server.stop_kernels(but_the_kept=True)
        self.page.emulate_media(forced_colors="none")
        self.page.set_viewport_size(VIEWPORT)
        self.page.mouse.move(0, 0)
        self.theme("light")
        expect(self.page.locator(".jp-Dialog, .jp-NotebookPanel, .jp-LinkedOutputView, .wb-root")).to_have_count(0)
        self.errors.clear()
        self.dialogs.clear()

    def picture(self, name: str) -> None:
        """Keeps what is to be seen, where WORKBENCH_PICTURES names a folder for it."""
        if folder := os.environ.get("WORKBENCH_PICTURES"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled")

    def run_all(self) -> None:
        """Runs every cell and waits for the last one."""
        self.command("notebook:run-all-cells")
        self._wait_for_kernel()

    def command(self, name: str, **args: Any) -> None:
        """A command of JupyterLab's own, awaited."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, args])

    def setting(self, plugin: str, name: str) -> Any:
        """The default of one of JupyterLab's settings, as this server hands it out."""
        schema = self.server.api(f"lab/api/settings/{plugin}")["schema"]
        return schema["properties"][name]["default"]

    def workbench(self) -> Locator:
        """The workbenches in the notebook on top."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-OutputArea-output .wb-root")

    def toasts(self) -> Locator:
        return self.page.locator(".Toastify__toast")

    def n_executed(self) -> int:
        """How many cells the kernel on top has run. Asks twice: what was on its way at first is counted then."""
        return self.page.evaluate(
            """async () => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const ask = () => kernel.requestExecute({code: "", silent: true, store_history: false}).done;
                await ask();
                return (await ask()).content.execution_count;
            }"""
        )

    def theme(self, which: Literal["light", "dark"]) -> None:
        name = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[which]
        self.command("apputils:change-theme", theme=name)
        light = "true" if which == "light" else "false"
        self.page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")

    def _wait_for_lab(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp !== undefined")
        self.page.evaluate("() => window.jupyterapp.restored.then(() => true)")

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            """() => {
                const kernel = window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;
                return kernel && kernel.connectionStatus === "connected" && kernel.status === "idle";
            }"""
        )


def new_workspace() -> str:
    return f"page{os.getpid()}-{next(PAGES)}"


def find_browser() -> str | None:
    found = [path for path in map(shutil.which, BROWSERS) if path]
    return found[0] if found else (MAC_BROWSER if Path(MAC_BROWSER).exists() else None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        unavailable(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """`workbench lab net_prefixed.pt`, with nothing of the user's own Jupyter settings."""
    root = tmp_path_factory.mktemp("lab")
    private = tmp_path_factory.mktemp("jupyter")
    for sample in (REPOSITORY / "workbench" / "samples").glob("net*.*"):
        shutil.copy(sample, root)
    for notebook in (REPOSITORY / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, root)
    # What lies beside a downloaded checkpoint is never imported in place of an installed module.
    (root / "numpy.py").write_text("raise ImportError('the numpy.py beside the checkpoint was imported')", "utf-8")
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {name: str(private / folder) for name, folder in folders.items()}
    command = [sys.executable, "-P", "-c", COMMAND, "lab", "net_prefixed.pt"]
    command += ["--no-browser", "--port=0", "--LabApp.expose_app_in_browser=True"]
    log = private / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield wait_for_server(process, private / "runtime", root, log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_server(process: subprocess.Popen[bytes], runtime: Path, root: Path, log: Path) -> LabServer:
    """Polls until the server has written where it is and answers there."""
    end, pause = time.monotonic() + START_SECONDS, threading.Event()
    while time.monotonic() < end and process.poll() is None:
        try:
            said = json.loads((runtime / f"jpserver-{process.pid}.json").read_text("utf-8"))
            server = LabServer(said["url"].replace("localhost", "127.0.0.1"), said["token"], root)
            server.api("api/status")
            return server
        except (OSError, ValueError, urllib.error.URLError):
            pause.wait(0.1)
    tail = log.read_text("utf-8", "replace")[-3000:]
    pytest.fail(f"JupyterLab did not start (exit code {process.poll()}):\n{tail}", pytrace=False)


def new_page(browser: Browser, server: LabServer) -> LabPage:
    context = browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(STEP_SECONDS * 1000)
    return LabPage(context.new_page(), server)


@pytest.fixture
def new_lab(chromium: Browser, lab_server: LabServer) -> Iterator[LabPage]:
    """A browser that has not been here before, for the tests of how JupyterLab comes up."""
    lab = new_page(chromium, lab_server)
    yield lab
    lab.page.context.close()
    lab_server.stop_kernels()


@pytest.fixture(scope="session")
def open_lab() -> Iterator[list[LabPage]]:
    """The JupyterLab that one test leaves to the next; none before the first and after a failure."""
    labs: list[LabPage] = []
    yield labs
    for lab in labs:
        lab.page.context.close()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest, chromium: Browser, lab_server: LabServer, open_lab: list[LabPage]
) -> Iterator[LabPage]:
    """A JupyterLab with nothing open and no kernel in use. Loading it takes longer than most tests."""
    if open_lab:
        lab = open_lab.pop()
    else:
        lab = new_page(chromium, lab_server)
        lab.open_empty()
    yield lab
    try:
        if request.node.stash.get(PASSED, False):
            lab.leave()
            open_lab.append(lab)
    finally:
        if not open_lab:
            lab.page.context.close()
            lab_server.stop_kernels()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report
