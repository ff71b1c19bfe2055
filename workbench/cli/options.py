"""The options that several commands share, each with its help: what a command takes is a list of these."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.parsing import RULE

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A checkpoint (.pt, .pth, .safetensors, …), or the folder or index of a sharded one."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TopLevelKey = Annotated[
    str | None,
    typer.Option("--top-level-key", metavar="KEY", help="Only the tensors of this dict inside the file."),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        RULE,
        metavar="PATTERN REPLACEMENT",
        help="Replace each match of a regex (Rust syntax) in the keys; $1 is its first group. May be repeated: "
        "rules apply in order.",
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option("--mapping", metavar="FILE", help="Begin with the decisions of a mapping.json; --rule adds to them."),
]
Reindex = Annotated[
    bool | None,
    typer.Option(
        "--reindex/--no-reindex",
        help="Close gaps in list indices (0, 2, 4 become 0, 1, 2), or keep them. Unsaid: what Burn does by itself, "
        "yes for PyTorch files and no for safetensors.",
        show_default=False,
    ),
]
TargetFile = Annotated[
    Path | None,
    typer.Option(
        "--target",
        metavar="FILE",
        help="What the result is to fit: Rust source of a Burn model, another checkpoint, JSON, CSV or a list.",
    ),
]
Burn = Annotated[
    str | None,
    typer.Option(
        "--burn",
        metavar="VERSION",
        help="The Burn version the names are for, or none for no framework. Unsaid: 0.22.",
        show_default=False,
    ),
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        metavar="API",
        help="burn-import or burn-store, where that version has both. Unsaid: the one it offers first.",
        show_default=False,
    ),
]
Route = Annotated[
    str | None,
    typer.Option(
        "--route",
        metavar="original|exported",
        help="Whether Burn reads the original file with these rules, or the file that export writes. Unsaid: the "
        "original, or with --fold the other.",
        show_default=False,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="REGEX", help="Take only tensors whose key in the file matches. Repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="REGEX", help="Leave out tensors whose key in the file matches. Repeatable."),
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify/--no-verify", help="Open what was written again, and compare it. Unsaid: yes.", show_default=False
    ),
]
Fold = Annotated[
    bool | None,
    typer.Option(
        "--fold/--no-fold",
        help="Make plain weights of those stored as the parts of a weight_norm, spectral_norm or pruning. Unsaid: no.",
        show_default=False,
    ),
]
KeepIndex = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-index",
        metavar="REGEX",
        help="Lists that keep their indices: the regex is looked for in what stands before the number. Repeatable.",
    ),
]
CastFloats = Annotated[
    str | None,
    typer.Option(
        "--cast",
        metavar="DTYPE",
        help="Give all floats this dtype: float32, float16, bfloat16 or another one.",
        show_default=False,
    ),
]


class Ties(StrEnum):
    """How often a tensor of several names is written."""

    TWICE = "twice"
    ONCE = "once"


class Precision(StrEnum):
    """What floats and integers become in a .mpk."""

    FULL = "full"
    HALF = "half"


Half = Annotated[
    Precision,
    typer.Option("--precision", help="Which of Burn's recorders a .mpk is for: f32 and i32, or f16 and i16."),
]


class Language(StrEnum):
    """What code can be printed in."""

    RUST = "rust"
    PYTHON = "python"


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")]
TypesFile = Annotated[
    Path | None,
    typer.Option(
        "--target",
        metavar="FILE",
        help="What tells the types of modules, for .bpk and .mpk: as for remap --target.",
    ),
]
