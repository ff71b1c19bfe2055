"""`workbench lab [FILE]`: JupyterLab on a notebook that opens this file in the workbench."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.errors import OpenError, WorkbenchError, printable

# What our JupyterLab finds first: the kernel of this Python, the script that runs the first cell, and settings.
JUPYTER_FILES = Path(__file__).resolve().parents[1] / "_lab"

SUFFIX = ".workbench.ipynb"
EMPTY = "workbench.ipynb"
NAME_LIMIT = 100
NOTEBOOK_LIMIT = 50_000_000

_JUPYTER_FLAGS = frozenset(
    (
        "--no-browser",
        "--allow-root",
        "--debug",
        "--dev-mode",
        "--core-mode",
        "--expose-app-in-browser",
        "--show-config",
    )
)
"""Options of JupyterLab that take no value, so that what follows them may be our FILE."""


@dataclass(frozen=True, slots=True)
class Start:
    """What one start of JupyterLab shows."""

    root: Path
    notebook: Path
    run: str
    """Source of the first code cell if it may run by itself, else empty."""

    @property
    def url_path(self) -> str:
        """The notebook as JupyterLab names it: below the root, parts divided by slashes."""
        return self.notebook.relative_to(self.root).as_posix()


def run(file: Path | None, jupyter_args: Sequence[str] = ()) -> int:
    """Starts JupyterLab and returns its exit code when it ends.

    `jupyter_args` go to JupyterLab as they are. Raises WorkbenchError where the file cannot be found or the
    notebook not be made.
    """
    start = prepare(file, Path.cwd())
    argv = arguments(start, jupyter_args)
    shown = printable(str(start.notebook))
    if start.root != Path.cwd():
        print(f"The file browser of JupyterLab shows the file's own folder: {printable(str(start.root))}")
    print(f"Opening {shown} in JupyterLab. Press Ctrl-C here to stop it.", flush=True)
    for variable in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        before = os.environ.get(variable)
        os.environ[variable] = os.pathsep.join(part for part in (str(JUPYTER_FILES), before) if part)

    from jupyterlab.labapp import LabApp  # half a second that `workbench --help` need not wait for

    try:
        LabApp.launch_instance(argv)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def prepare(file: Path | None, folder: Path) -> Start:
    """The notebook to open for `file` as seen from `folder`; made if there is none yet, never changed."""
    if file is None:
        notebook = folder / EMPTY
        make_notebook(notebook, empty_notebook())
        return Start(folder, notebook, source_to_run(notebook))
    path = Path(os.path.abspath(folder / file))
    check_file(path)
    root = folder if is_shown_below(path, folder) else path.parent
    if path.suffix == ".ipynb":
        return Start(root, path, source_to_run(path))
    notebook = path.with_name(notebook_name(path.name))
    make_notebook(notebook, file_notebook(path.name))
    return Start(root, notebook, source_to_run(notebook))


def check_file(path: Path) -> None:
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as reason:
        raise OpenError(
            "This file cannot be looked at.", path=str(path), cause=f"{reason}.", code="file-unreadable"
        ) from None
    if is_folder:
        raise OpenError(
            "This is a folder, not a file.",
            path=str(path),
            next_step="Name one checkpoint in it, or go there and type `workbench lab` alone.",
            code="is-a-folder",
        )
    if not exists:
        raise OpenError(
            "There is no such file.",
            path=str(path),
            next_step="Check the name and the folder.",
            code="file-not-found",
        )


def is_shown_below(path: Path, folder: Path) -> bool:
    """Whether a file browser rooted in `folder` shows the folder of `path`: Jupyter hides dotted names."""
    if not path.is_relative_to(folder):
        return False
    return not any(part.startswith(".") for part in path.relative_to(folder).parts[:-1])


def notebook_name(name: str) -> str:
    """The notebook's name beside a file `name`: one that every file system, address and terminal takes.

    Where that loses something, a few digits of a hash keep two files from sharing one notebook.
    """
    plain = "".join(char if char.isalnum() or char in " ._-+=@" else "_" for char in name).lstrip(".")
    while len(os.fsencode(plain)) > NAME_LIMIT:
        plain = plain[:-1]
    if plain != name:
        digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        plain = f"{plain}-{digits}" if plain else digits
    return plain + SUFFIX


def python_string(text: str) -> str:
    """A Python literal of `text` on one line, in double quotes where that needs no escapes."""
    literal = repr(text)
    if literal.startswith("'") and '"' not in literal:
        return f'"{literal[1:-1]}"'
    return literal


def opening_source(name: str | None) -> str:
    """The cell that opens `name` from the notebook's own folder, or the empty workbench."""
    argument = "" if name is None else python_string(name)
    return f"import workbench as wb\n\nview = wb.Workbench({argument})\nview"


def is_opening_source(source: str) -> bool:
    """Whether a cell does what `opening_source` writes and nothing else, whatever file it names.

    Only such a cell ever runs by itself, so that a notebook from elsewhere gains nothing by its name.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    match tree.body:
        case [
            ast.Import(names=[ast.alias(name="workbench", asname="wb")]),
            ast.Assign(
                targets=[ast.Name(id="view")],
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="wb"), attr="Workbench"), args=args, keywords=[]),
            ),
            ast.Expr(value=ast.Name(id="view")),
        ]:
            return all(isinstance(arg, ast.Constant) and isinstance(arg.value, str) for arg in args)
        case _:
            return False


def source_to_run(notebook: Path) -> str:
    """Source of the first code cell if it is an opening cell, else empty: then nothing runs by itself."""
    try:
        if not notebook.is_file() or notebook.stat().st_size > NOTEBOOK_LIMIT:
            return ""
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        lines = next(cell["source"] for cell in cells if cell["cell_type"] == "code")
        source = lines if isinstance(lines, str) else "".join(lines)
    except (OSError, ValueError, LookupError, TypeError, StopIteration, RecursionError):
        return ""  # JupyterLab says what is wrong with this notebook, on the screen where the user looks
    return source if is_opening_source(source) else ""


def file_notebook(name: str) -> dict[str, Any]:
    return notebook_of(
        ("markdown", "# Checkpoint workbench\n\nRun the next cell (Shift+Enter) if it is still empty below it."),
        ("code", opening_source(name)),
        ("code", ""),
    )


def empty_notebook() -> dict[str, Any]:
    return notebook_of(
        (
            "markdown",
            "# Checkpoint workbench\n\n"
            "Run the next cell (Shift+Enter) if it is still empty below it. It starts with no file; put one in with"
            ' `wb.Workbench("net.pt")`.',
        ),
        ("code", opening_source(None)),
        ("markdown", "No checkpoint at hand? This opens one of the small samples that come with the package."),
        (
            "code",
            "from importlib.resources import files\n\n"
            'wb.Workbench(str(files("workbench") / "samples" / "net_prefixed.pt"))',
        ),
    )


def notebook_of(*cells: tuple[str, str]) -> dict[str, Any]:
    """A notebook without outputs. It names its kernel: without one JupyterLab asks in a dialog."""
    made: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(cells, start=1):
        cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}}
        cell["source"] = source.splitlines(keepends=True)
        made.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def make_notebook(path: Path, notebook: dict[str, Any]) -> None:
    """Writes the notebook unless something of that name is there, which is then left as it is."""
    data = (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
            file.write(data)
    except FileExistsError:
        return
    except OSError as reason:
        raise WorkbenchError(
            "The notebook for this file cannot be made.",
            path=str(path),
            cause=f"The folder does not take it: {reason.strerror or reason}.",
            next_step="Copy the checkpoint to a folder of your own and start there.",
            code="folder-not-writable",
        ) from None


def arguments(start: Start, jupyter_args: Sequence[str]) -> list[str]:
    """The command line of JupyterLab; what the user says replaces what we would say."""
    ours = {
        "--ServerApp.root_dir": str(start.root),
        "--LabApp.default_url": "/lab/tree/" + quote(start.url_path, errors="surrogateescape"),
    }
    if start.run:
        page = {"workbenchRun": {"path": start.url_path, "source": start.run}}
        ours["--ServerApp.tornado_settings"] = repr({"page_config_data": page})
    given = {arg.split("=", 1)[0] for arg in jupyter_args}
    argv = [f"{name}={value}" for name, value in ours.items() if name not in given]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in given:
        argv.append("--allow-root")  # in a container there is often nobody else
    return [*argv, *jupyter_args]


def split_arguments(args: list[str]) -> tuple[Path | None, list[str]]:
    """FILE, the first word that is neither an option nor an option's value, and all other words in order."""
    for n, word in enumerate(args):
        before = args[n - 1] if n else ""
        is_value = before.startswith("-") and "=" not in before and before not in _JUPYTER_FLAGS
        if not word.startswith("-") and not is_value:
            return Path(word), args[:n] + args[n + 1 :]
    return None, list(args)
