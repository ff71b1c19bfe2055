"""`workbench convert`: a file of weights as another kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.cli.progress import check_precision, work
from workbench.core.text import bytes_text, count_text
from workbench.exporting.converting import ConvertResult, convert
from workbench.writing.progress import Cancel, Report

if TYPE_CHECKING:
    from workbench.writing.mpk_file import Precision

_SHOWN: Final = 50
_MORE: Final = " such lines (--json has them all)"


def run(
    file: Path,
    out: Path,
    *,
    top_level_key: str | None,
    burn: str | None,
    target: Path | None,
    precision: Precision,
    shards: str | None,
    overwrite: bool,
    verify: bool,
    as_json: bool,
) -> int:
    """Write `out`, and say what is in it and what is not as in the source."""
    check_precision(precision, out.suffix.lower() == ".mpk")
    checkpoint = open_checkpoint(file)

    def write(report: Report | None, cancel: Cancel) -> ConvertResult:
        return convert(
            checkpoint,
            out,
            top_level_key=top_level_key,
            burn=burn,
            target=target,
            precision=precision,
            shard_size=shards,
            overwrite=overwrite,
            verify=verify,
            progress=report,
            cancel=cancel,
        )

    return work(write, _print_json if as_json else _print, quiet=as_json)


def _print(result: ConvertResult) -> None:
    lines = Printer()
    lines.line(str(result.path))
    lines.line(f"{count_text(result.n_tensors, 'tensor')}, {bytes_text(result.nbytes)} written")
    if not result.n_tensors:
        lines.line("No tensor is left: the file holds none.", "yellow")
    lines.first(result.changes, _SHOWN, _MORE)
    lines.first([f"left out: {key}: {why}" for key, why in result.left_out], _SHOWN, _MORE, "yellow")


def _print_json(result: ConvertResult) -> None:
    print_json(
        {
            "path": str(result.path),
            "nbytes": result.nbytes,
            "n_tensors": result.n_tensors,
            "changes": list(result.changes),
            "left_out": [{"key": key, "reason": why} for key, why in result.left_out],
        }
    )
