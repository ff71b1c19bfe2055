"""What the Export panel asks: which files there would be and how large, whether they can be, and what was written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from workbench.errors import ExportError, printable
from workbench.exporting import DEFAULT_FORMATS, FORMATS, ExportResult, FixResult, PlannedFile, planned_files
from workbench.mapping import Plan
from workbench.mapping.casts import is_float
from workbench.widgets.foreseen import Foreseen, Options
from workbench.widgets.wire import Args
from workbench.writing.files import TEXTS
from workbench.writing.mpk_file import check_mpk

__all__ = ["blocked", "check", "choices", "collided", "exported", "fixed", "path_of", "planned"]

Facts = dict[str, object]

_MAX_LINES: Final = 200
_MAX_LEFT_OUT: Final = 20


def choices(plan: Plan) -> Facts:
    """What is chosen before the user says anything, and which options there are for this plan."""
    casts = {cast.dtype for cast in plan.mapping.casts if cast.pick is None and is_float(cast.from_dtype)}
    return {
        "folder": f"{printable(Path(plan.checkpoint.name).stem, 200)}.export",
        "formats": list(DEFAULT_FORMATS),
        "cast": casts.pop() if len(casts) == 1 else "several" if casts else "",
        "has_floats": any(is_float(name) for name, _, _ in plan.dtypes),
    }


def planned(plan: Plan, options: Options) -> list[tuple[str, int]]:
    """The files to come, and their bytes."""
    return [(file.name, file.nbytes or 0) for file in _planned(plan, options, options.formats)]


def check(plan: Plan, folder: Path, options: Options, foreseen: Foreseen | None) -> Facts:
    """The files of each format, why some cannot be, and what is in the way in `folder`. Touches nothing.

    `foreseen` is None where the plan is blocked, or still being looked through.
    """
    problems: dict[str, tuple[str, str]] = {}
    names: Sequence[str] | None = None
    if foreseen is not None:
        problems, names = foreseen
    else:
        try:
            check_mpk(plan.mapping.burn)
        except ExportError as error:
            problems["mpk"] = (error.title, f"{error.cause} {error.next_step}")
    lines: dict[str, dict[str, Any]] = {}
    for file in _planned(plan, options, (*FORMATS, *TEXTS)):
        line: dict[str, Any] = {"format": file.format, "names": [], "note": file.note, "problem": "", "why": ""}
        line["nbytes"] = file.nbytes
        if plan.collisions and file.nbytes is not None:
            line |= {"note": "", "nbytes": None}  # Nobody knows which of them would be in it.
        lines.setdefault(file.format, line)["names"].append(file.name)
    for format, (title, why) in problems.items():
        lines[format] |= {"problem": printable(title, 160), "why": printable(why.strip(), 600)}
    if "rust" not in lines:
        lines["rust"] = {"names": [TEXTS["rust"]], "problem": "The mapping is for no framework.", "why": ""}
        lines["rust"] |= {"format": "rust", "note": "", "nbytes": None}
    if names is None:
        asked = ("", *options.formats)
        names = [name for format, line in lines.items() if format in asked for name in line["names"]]
    chosen = [line for line in lines.values() if line["format"] in options.formats and not line["problem"]]
    is_packed = folder.suffix.lower() == ".zip"
    problem = ""
    if not chosen:
        problem = "Tick a file to write."
    elif os.path.exists(folder) and not is_packed and not os.path.isdir(folder):
        problem = "A file of this name is in the way."
    return {
        "files": list(lines.values()),
        "n_files": len(names),
        "nbytes": sum(line["nbytes"] or 0 for line in chosen),
        "n_replaced": sum(os.path.exists(path) for path in ([folder] if is_packed else [folder / n for n in names])),
        "n_tied": sum(len(group) - 1 for group in plan.checkpoint.ties),
        "problem": problem,
        "is_known": foreseen is not None or bool(plan.collisions),
    }


def _planned(plan: Plan, options: Options, formats: Sequence[str]) -> list[PlannedFile]:
    size = options.size_for(formats)
    return planned_files(plan, formats, ties=options.ties, precision=options.precision, shard_size=size)


def exported(done: ExportResult) -> Facts:
    """The result of an export."""
    folder = str(done.folder)
    return {
        "folder": printable(folder, 1_000),
        "paths": [printable(str(path), 1_000) for path in done.paths],
        "nbytes": done.nbytes,
        "code": f"wb.load_export({json.dumps(folder, ensure_ascii=printable(folder) != folder)})",
        "changes": [printable(line, 400) for line in done.changes[:_MAX_LINES]],
        "n_changes": len(done.changes),
    }


def fixed(done: FixResult) -> Facts:
    """The result of writing a state_dict alone."""
    return {
        "path": printable(str(done.path), 1_000),
        "n_tensors": len(done.state_dict.tensors),
        "nbytes": done.nbytes,
        "left_out": [printable(f"{key}: {why}", 300) for key, why in done.left_out[:_MAX_LEFT_OUT]],
    }


def path_of(args: Args, name: str) -> Path:
    """A path that was typed. `ExportError` where there is none."""
    text = args.text(name).strip()
    if not text or "\0" in text:
        raise ExportError(
            f"No {name} is named.", next_step=f"Type the {name} that is to be written.", code=f"no-{name}"
        )
    return Path(os.path.expanduser(text))


def collided(plan: Plan) -> list[str]:
    """The original keys to skip, so that the first claim of each name stands."""
    return [key for collision in plan.collisions if collision.kind == "same" for key in collision.originals[1:]]


def blocked(plan: Plan) -> Facts | None:
    """Why an export is refused, in the words of the screen; `skip` is the label of a repair that leaves tensors out."""
    if not plan.collisions:
        return None
    same = [collision for collision in plan.collisions if collision.kind == "same"]
    if same:
        n, others = len(same), collided(plan)
        many = "1 remapped key is" if n == 1 else f"{n:,} remapped keys are"
        twice = "twice" if len(others) == n else "more than once"
        first = same[0]
        named = f"{first.originals[0]} and {first.originals[1]}"
        if len(first.originals) > 2:
            named += f" and {len(first.originals) - 2:,} more"
        loses = (
            "one of its two tensors and lose the other" if twice == "twice" else "one of its tensors and lose the rest"
        )
        text = (
            f"{named} would both become {first.remapped}. Each name would keep {loses}; Burn picks by chance. "
            "Skip one side, or change a rule."
        )
        skip = f"Skip {others[0]}" if len(others) == 1 else f"Skip the {len(others):,} that come later in the file"
        return {
            "title": f"Export is blocked: {many} claimed {twice}.",
            "text": printable(text, 600),
            "skip": printable(skip, 120),
        }
    first = plan.collisions[0]
    n = len(plan.collisions)
    many = "1 key is a tensor and a group" if n == 1 else f"{n:,} keys are a tensor and a group"
    text = (
        f"{first.originals[0]} becomes {first.remapped}, and {first.originals[1]} would lie below it. "
        "No nested model can hold both: change a rule so that they part."
    )
    return {"title": f"Export is blocked: {many} at once.", "text": printable(text, 600), "skip": ""}
