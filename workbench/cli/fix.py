"""`workbench fix`: the state_dict of a file, as a file that loads."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.cli.progress import work
from workbench.core.text import bytes_text, count_text, listed_text
from workbench.exporting.fixing import FixResult, fix
from workbench.writing.progress import Cancel, Report

_SHOWN: Final = 20


def run(
    file: Path,
    out: Path,
    *,
    top_level_key: str | None,
    fold: bool,
    overwrite: bool,
    verify: bool,
    as_json: bool = False,
) -> int:
    """Write `out`, and say what is in it and what is not."""
    checkpoint = open_checkpoint(file)

    def write(report: Report | None, cancel: Cancel) -> FixResult:
        return fix(
            checkpoint,
            out,
            top_level_key=top_level_key,
            fold=fold,
            overwrite=overwrite,
            verify=verify,
            progress=report,
            cancel=cancel,
        )

    return work(write, _print_json if as_json else partial(_print, fold=fold), quiet=as_json)


def _print(result: FixResult, fold: bool) -> None:
    lines = Printer()
    taken = result.state_dict
    what = f"the whole model `{taken.class_path}`" if taken.class_path else "the file"
    where = f", under `{taken.key}`" if taken.key else ""
    n_lost = sum(why.startswith("it cannot be read") for _, why in result.left_out)
    lines.line(str(result.path))
    n = count_text(len(taken.tensors) - n_lost, "tensor")
    lines.line(f"state_dict of {what}{where}: {n}, {bytes_text(result.nbytes)} written")
    if len(taken.tensors) == n_lost:
        lines.line("No tensor is left: the file holds none.", "yellow")
    lines.first([f"alias: {name} is {first}" for name, first in result.aliases], _SHOWN, "")
    lines.first([f"folded: {name} from {listed_text(parts)}" for name, parts in result.folded], _SHOWN, "")
    lines.first([f"not folded: {name}: {why}" for name, why in result.not_folded], _SHOWN, "", "yellow")
    if fold and not result.folded and not result.not_folded:
        lines.line("nothing to fold: no weight is stored in parts")
    lines.first([f"left out: {key}: {why}" for key, why in result.left_out], _SHOWN, "", "yellow")


def _print_json(result: FixResult) -> None:
    taken = result.state_dict
    n_lost = sum(why.startswith("it cannot be read") for _, why in result.left_out)
    print_json(
        {
            "path": str(result.path),
            "nbytes": result.nbytes,
            "n_tensors": len(taken.tensors) - n_lost,
            "top_level_key": taken.key or None,
            "class": taken.class_path or None,
            "aliases": [{"key": name, "same_as": first} for name, first in result.aliases],
            "folded": [{"key": name, "from": list(parts)} for name, parts in result.folded],
            "not_folded": [{"key": name, "reason": why} for name, why in result.not_folded],
            "left_out": [{"key": key, "reason": why} for key, why in result.left_out],
        }
    )
