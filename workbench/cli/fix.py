"""`workbench fix`: the state_dict of a file, as a file that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer
from workbench.core.text import bytes_text, count_text, listed_text
from workbench.exporting.fixing import fix

_SHOWN: Final = 20


def run(file: Path, out: Path, *, top_level_key: str | None, fold: bool, overwrite: bool, verify: bool) -> int:
    """Write `out`, and say what is in it and what is not."""
    result = fix(open_checkpoint(file), out, top_level_key=top_level_key, fold=fold, overwrite=overwrite, verify=verify)
    lines = Printer()
    taken = result.state_dict
    what = f"the whole model `{taken.class_path}`" if taken.class_path else "the file"
    where = f", under `{taken.key}`" if taken.key else ""
    n_lost = sum(why.startswith("it cannot be read") for _, why in result.left_out)
    lines.line(str(result.path))
    n = count_text(len(taken.tensors) - n_lost, "tensor")
    lines.line(f"state_dict of {what}{where}: {n}, {bytes_text(result.nbytes)} written")
    _list(lines, [f"alias: {name} is {first}" for name, first in result.aliases])
    _list(lines, [f"folded: {name} from {listed_text(parts)}" for name, parts in result.folded])
    _list(lines, [f"not folded: {name}: {why}" for name, why in result.not_folded], "yellow")
    if fold and not result.folded and not result.not_folded:
        lines.line("nothing to fold: no weight is stored in parts")
    _list(lines, [f"left out: {key}: {why}" for key, why in result.left_out], "yellow")
    return 0


def _list(lines: Printer, found: list[str], style: str = "") -> None:
    for text in found[:_SHOWN]:
        lines.line(text, style)
    if len(found) > _SHOWN:
        lines.line(f"… {len(found) - _SHOWN:,} more", style)
