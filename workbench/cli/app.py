"""The command `workbench`: what may be typed. A command's own room is imported when it is called."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from workbench import __version__

_EXITS = "Exit codes: 0 done, 1 the answer is no (a collision, an error in the file), 2 it could not be asked."

_SIGINT, _SIGPIPE = 130, 141
"""What shells report of a program that was interrupted, or whose reader went away."""

_RULE = "--rule"

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


class Commands(TyperGroup):
    """The one place where a fault of a file, a pattern or a folder becomes a text on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from workbench.errors import CollisionError, WorkbenchError

        try:
            try:
                result = super().invoke(ctx)
            except typer.Exit:
                sys.stdout.flush()
                raise
            sys.stdout.flush()
            return result
        except WorkbenchError as error:
            from workbench.cli.output import print_error

            print_error(error)
            raise typer.Exit(1 if isinstance(error, CollisionError) else 2) from None
        except (BrokenPipeError, KeyboardInterrupt) as stop:
            from workbench.cli.output import drop_stdout

            drop_stdout()
            raise typer.Exit(_SIGINT if isinstance(stop, KeyboardInterrupt) else _SIGPIPE) from None


app = typer.Typer(
    name="workbench",
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class RuleCommand(TyperCommand):
    """A command with `--rule PATTERN REPLACEMENT`; both may begin with a dash.

    typer has no repeated option of two values, so each pair is packed into one value before it parses.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        packed: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                packed += [word, *rest]
                break
            if word != _RULE and not word.startswith(f"{_RULE}="):
                packed.append(word)
                continue
            values = [word.removeprefix(f"{_RULE}=")] if word != _RULE else []
            while rest and len(values) < 2:
                values.append(rest.pop(0))
            if len(values) < 2:
                raise typer.BadParameter("needs two values, PATTERN and REPLACEMENT.", ctx, param_hint=f"'{_RULE}'")
            packed.append(f"{_RULE}={json.dumps(values)}")
        return super().parse_args(ctx, packed)


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
        _RULE,
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
        help="Whether Burn reads the original file with these rules, or the file that export writes.",
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
    typer.Option("--verify/--no-verify", help="Open what was written again, and compare it. Unsaid: yes."),
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
    typer.Option("--precision", help="What a .mpk is for, Burn's recorder with f32 and i32, or f16 and i16."),
]


class Language(StrEnum):
    """What code can be printed in."""

    RUST = "rust"
    PYTHON = "python"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"workbench {__version__}")
        raise typer.Exit


@app.callback(epilog=f"Example: workbench inspect net.pt\n\n{_EXITS}")
def _workbench(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """See what is in a checkpoint, remap its keys, and export it, without torch.

    No code from a file is run, and tensors are read only when they are exported.
    """


@app.command(
    epilog="Examples:\n\n  workbench inspect net.pt\n\n  workbench inspect train.pt --top-level-key model --json"
)
def inspect(file: File, as_json: Json = False, top_level_key: TopLevelKey = None) -> None:
    """List the tensors of a file: key, shape, dtype, size. Exits with 1 where the file holds an error."""
    from workbench.cli import inspect as command

    raise typer.Exit(command.run(file, top_level_key=top_level_key, as_json=as_json))


@app.command(
    cls=RuleCommand,
    epilog="Examples:\n\n  workbench remap net.pt --rule '^conv\\.(.*)' '$1'\n\n"
    "  workbench remap net.pt --mapping out/mapping.json --no-reindex --json\n\n"
    "  workbench remap net.pt --target src/model.rs --suggest",
)
def remap(
    file: File,
    rule: Rules = None,
    mapping: MappingFile = None,
    top_level_key: TopLevelKey = None,
    include: Include = None,
    exclude: Exclude = None,
    reindex: Reindex = None,
    keep_index: KeepIndex = None,
    fold: Fold = None,
    cast: CastFloats = None,
    burn: Burn = None,
    api: Api = None,
    route: Route = None,
    target: TargetFile = None,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Propose rules towards the target (in JSON, its coverage is then that with them), or, without one, "
            "rules that take wrappers such as module. off.",
        ),
    ] = False,
    upto: Annotated[
        int | None, typer.Option("--upto", metavar="N", help="Stop after the first N rules, indices kept.")
    ] = None,
    trace: Annotated[
        str | None, typer.Option("--trace", metavar="KEY", help="Show the way of one key, rule by rule.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Print what burn-import's debug print would say.")] = False,
    code: Annotated[
        Language | None,
        typer.Option("--code", help="Print the code that loads the file like this."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the decisions as a mapping.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which key becomes which; the checkpoint is not touched.

    Exits with 1 where an error is found, such as two tensors that would get one name.
    """
    from workbench.cli import remap as command

    said = command.Decisions(
        _pairs(rule),
        mapping,
        top_level_key,
        reindex,
        burn,
        api,
        route,
        include or (),
        exclude or (),
        keep_index or (),
        fold,
        cast,
    )
    wanted = command.Wanted(as_json, upto, trace, debug, code, save, target, suggest)
    raise typer.Exit(command.run(file, said, wanted))


@app.command(
    cls=RuleCommand,
    short_help="Write mapping.json and the remapped weights as files.",
    epilog="Examples:\n\n  workbench export net.pt -o net.export --rule '^conv\\.(.*)' '$1'\n\n"
    "  workbench export net.pt -o net.export --format pt --format bpk --target src/model.rs\n\n"
    "  workbench export net.pt -o net.zip --mapping mapping.json --cast bfloat16\n\n"
    "  workbench export big.safetensors -o big --format safetensors --shards 5GB --workers 4",
)
def export(
    file: File,
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The folder, made if missing; or a FILE.zip.")
    ],
    rule: Rules = None,
    mapping: MappingFile = None,
    top_level_key: TopLevelKey = None,
    include: Include = None,
    exclude: Exclude = None,
    reindex: Reindex = None,
    keep_index: KeepIndex = None,
    fold: Fold = None,
    burn: Burn = None,
    api: Api = None,
    route: Route = None,
    cast: CastFloats = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="WORD",
            help="What to write; may be repeated: npz, safetensors, pt, bpk, mpk, npy (a folder), rust (a program that "
            "loads it, with Cargo.toml), python, report. Unsaid: npz, safetensors, rust, python, report.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--target", metavar="FILE", help="What the result is to fit: it tells the types of modules."),
    ] = None,
    ties: Annotated[
        Ties, typer.Option("--ties", help="Write tied tensors under each name, or once with the aliases noted.")
    ] = Ties.TWICE,
    shards: Annotated[
        str | None,
        typer.Option("--shards", metavar="SIZE", help="Split the .safetensors into files of at most SIZE, as 5GB."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Write the .safetensors by N processes, shard by shard."),
    ] = None,
    precision: Half = Precision.FULL,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export there; other files stay.")
    ] = False,
    verify: Verify = True,
    as_json: Json = False,
) -> None:
    """Write mapping.json, weight files and what loads them: all of them or none.

    Exits with 1 on a collision. Ctrl+C leaves everything as it was, and exits with 130.
    """
    from workbench.cli import export as command
    from workbench.cli.remap import Decisions

    said = Decisions(
        _pairs(rule),
        mapping,
        top_level_key,
        reindex,
        burn,
        api,
        route,
        include or (),
        exclude or (),
        keep_index or (),
        fold,
        cast,
    )
    wanted = command.Wanted(
        formats or (), target, ties.value, precision.value, shards, workers, overwrite, verify, as_json
    )
    raise typer.Exit(command.run(file, folder, said, wanted))


@app.command(
    short_help="Write a file of weights as another kind of file.",
    epilog="Examples:\n\n  workbench convert net.pt net.safetensors\n\n"
    "  workbench convert net.pt net.mpk --burn 0.20 --target src/model.rs\n\n  workbench convert model.bpk arrays",
)
def convert(
    file: File,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="What to write; its ending says the format: .safetensors, .npz, .pt, .pth, .bin, .bpk, .mpk, "
            "or none for a folder of .npy files.",
        ),
    ],
    top_level_key: TopLevelKey = None,
    burn: Burn = None,
    target: Annotated[
        Path | None,
        typer.Option("--target", metavar="FILE", help="What tells the types of modules, for .bpk and .mpk."),
    ] = None,
    precision: Half = Precision.FULL,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
    verify: Verify = True,
    as_json: Json = False,
) -> None:
    """Write the tensors of a file as another kind of file, and nothing else.

    Keys stay as they are; a .bpk or .mpk has Burn's names and layout where they are known. Each change is printed.
    Ctrl+C leaves everything as it was, and exits with 130.
    """
    from workbench.burn import DEFAULT_VERSION
    from workbench.cli import convert as command

    raise typer.Exit(
        command.run(
            file,
            out,
            top_level_key=top_level_key,
            burn=DEFAULT_VERSION if burn is None else None if burn == "none" else burn,
            target=target,
            precision=precision.value,
            overwrite=overwrite,
            verify=verify,
            as_json=as_json,
        )
    )


@app.command(
    short_help="Write the state_dict of a file as a file that loads.",
    epilog="Examples:\n\n  workbench fix whole_model.pt -o weights.safetensors\n\n"
    "  workbench fix train.ckpt -o weights.pt --top-level-key state_dict --fold",
)
def fix(
    file: File,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The file to write: .safetensors or .pt.")],
    top_level_key: TopLevelKey = None,
    fold: Fold = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
    verify: Verify = True,
) -> None:
    """Write the state_dict of a model that was saved whole, or the only one in the file, without torch.

    Where there are several, choose one by --top-level-key.
    """
    from workbench.cli import fix as command

    raise typer.Exit(
        command.run(file, out, top_level_key=top_level_key, fold=bool(fold), overwrite=overwrite, verify=verify)
    )


@app.command(
    short_help="Say what is wrong with a file, or what an error about it means.",
    epilog="Examples:\n\n  workbench diagnose net.pt\n\n  workbench diagnose net.pt --burn 0.21 --deep\n\n"
    "  cargo run 2>&1 | workbench diagnose net.pt --error -",
)
def diagnose(
    file: File,
    error: Annotated[
        str | None,
        typer.Option(
            "--error",
            metavar="TEXT",
            help="The error text of Burn, PyTorch or safetensors to explain; - reads it from standard input.",
        ),
    ] = None,
    burn: Burn = None,
    mapping: MappingFile = None,
    target: TargetFile = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the values too: NaN, infinity, tensors of zeros or of one number.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a file in plain words, and what takes it away.

    Exits with 1 where a finding is an error. No code from the file is run.
    """
    from workbench.cli import diagnose as command

    raise typer.Exit(
        command.run(file, error=error, burn=burn, mapping=mapping, target=target, deep=deep, as_json=as_json)
    )


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[FILE] [JUPYTER OPTIONS]",
    epilog="Examples:\n\n  workbench lab net.pt\n\n  workbench lab net.pt --no-browser --port 8899",
)
def lab(ctx: typer.Context) -> None:
    """Open JupyterLab with the workbench on FILE. Other options go to JupyterLab as they are."""
    from workbench.cli import lab as command

    file, rest = split_lab_arguments(ctx.args)
    raise typer.Exit(command.run(file, rest))


def split_lab_arguments(args: list[str]) -> tuple[Path | None, list[str]]:
    """FILE, the first word that is neither an option nor an option's value, and all other words in order."""
    for n, word in enumerate(args):
        before = args[n - 1] if n else ""
        is_value = before.startswith("-") and "=" not in before and before not in _JUPYTER_FLAGS
        if not word.startswith("-") and not is_value:
            return Path(word), args[:n] + args[n + 1 :]
    return None, list(args)


def _pairs(packed: list[str] | None) -> list[tuple[str, str]]:
    return [(pattern, replacement) for pattern, replacement in map(json.loads, packed or ())]


def main() -> None:
    """Run the command line and exit."""
    app(prog_name="workbench")
