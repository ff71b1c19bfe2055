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
from collections.abc import Iterator
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
COMMAND = "from workbench.cli.app import main; main()"
PAGES = count(1)

expect.set_options(timeout=STEP_SECONDS * 1000)


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab. It serves a copy of the samples and notebooks: tests may write there."""

    url: str
    token: str
    root: Path

    def api(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def stop_kernels(self) -> None:
        for session in self.api("api/sessions"):
            self.api(f"api/sessions/{session['id']}", "DELETE")


@dataclass
class LabPage:
    """One browser page on the server, with an empty JupyterLab workspace of its own."""

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

    def open_start(self) -> None:
        """What the launcher opens in the user's browser."""
        self.page.goto(f"{self.server.url}?token={self.server.token}")
        self._wait_for_lab()

    def open_notebook(self, name: str) -> None:
        """Opens a notebook below the root; returns when its kernel is idle."""
        where = f"lab/workspaces/page{os.getpid()}-{next(PAGES)}/tree/{name}"
        self.page.goto(f"{self.server.url}{where}?token={self.server.token}")
        self._wait_for_lab()
        self.page.locator(".jp-NotebookPanel:visible").wait_for()
        self._wait_for_kernel()

    def notebook_on(self, file: str | None) -> None:
        """Opens a notebook of two lines that shows `file` (None: the empty state) in the workbench, and runs it."""
        name = f"{(file or 'nothing').partition('.')[0]}.ipynb"
        source = f"import workbench as wb\n\nwb.Workbench({json.dumps(file) if file else ''})"
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
        (self.server.root / name).write_text(json.dumps(notebook), "utf-8")
        self.open_notebook(name)
        self.theme("light")
        self.run_all()
        self.workbench().wait_for()

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


@pytest.fixture
def lab(chromium: Browser, lab_server: LabServer) -> Iterator[LabPage]:
    """A fresh page; its kernels are shut down afterwards."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(STEP_SECONDS * 1000)
    yield LabPage(context.new_page(), lab_server)
    context.close()
    lab_server.stop_kernels()
