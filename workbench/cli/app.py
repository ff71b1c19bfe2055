"""The command `workbench`: what may be typed. A command's own room is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench import __version__
from workbench.cli.options import (
    Api,
    Burn,
    CastFloats,
    Exclude,
    File,
    Fold,
    Half,
    Include,
    Json,
    KeepIndex,
    Language,
    MappingFile,
    Overwrite,
    Precision,
    Reindex,
    Route,
    Rules,
    TargetFile,
    Ties,
    TopLevelKey,
    TypesFile,
    Verify,
)
from workbench.cli.parsing import Command, Commands, RuleCommand, examples, rule_pairs

_EXITS = (
    "Exit codes: 0 done, 1 the answer is no (a collision, an error in the file), 2 it could not be asked, "
    "130 stopped by Ctrl+C."
)

app = typer.Typer(
    name="workbench",
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    cls=Command,
    epilog=examples(
        "workbench inspect net.pt",
        "workbench inspect train.pt --top-level-key model --json",
    ),
)
def inspect(file: File, as_json: Json = False, top_level_key: TopLevelKey = None) -> None:
    """List the tensors of a file: key, shape, dtype, size. Exits with 1 where the file holds an error."""
    from workbench.cli import inspect as command

    raise typer.Exit(command.run(file, top_level_key=top_level_key, as_json=as_json))


@app.command(
    cls=RuleCommand,
    epilog=examples(
        "workbench remap net.pt --rule '^conv\\.(.*)' '$1'",
        "workbench remap net.pt --mapping out/mapping.json --no-reindex --json",
        "workbench remap net.pt --target src/model.rs --suggest",
    ),
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
        rule_pairs(rule),
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
    epilog=examples(
        "workbench export net.pt -o net.export --rule '^conv\\.(.*)' '$1'",
        "workbench export net.pt -o net.export --format pt --format bpk --target src/model.rs",
        "workbench export net.pt -o net.zip --mapping mapping.json --cast bfloat16",
        "workbench export big.safetensors -o big --format safetensors --shards 5GB --workers 4",
    ),
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
    target: TargetFile = None,
    ties: Annotated[
        Ties, typer.Option("--ties", help="Write tied tensors under each name, or once with the aliases noted.")
    ] = Ties.TWICE,
    shards: Annotated[
        str | None,
        typer.Option(
            "--shards", metavar="SIZE", help="Split .safetensors and .pt into files of at most SIZE: 5GB, 500MB."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Write .safetensors and .pt by N processes, shard by shard. Unsaid: by this one alone.",
        ),
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
        rule_pairs(rule),
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
    cls=Command,
    short_help="Write a file of weights as another kind of file.",
    epilog=examples(
        "workbench convert net.pt net.safetensors",
        "workbench convert net.pt net.mpk --burn 0.20 --target src/model.rs",
        "workbench convert model.bpk arrays",
        "workbench convert net.safetensors pytorch_model.bin --shards 5GB",
    ),
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
    target: TypesFile = None,
    precision: Half = Precision.FULL,
    shards: Annotated[
        str | None,
        typer.Option(
            "--shards", metavar="SIZE", help="Split it into files of at most SIZE, with an index: 5GB, 500MB."
        ),
    ] = None,
    overwrite: Overwrite = False,
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
            shards=shards,
            overwrite=overwrite,
            verify=verify,
            as_json=as_json,
        )
    )


@app.command(
    cls=Command,
    short_help="Write the state_dict of a file as a file that loads.",
    epilog=examples(
        "workbench fix whole_model.pt -o weights.safetensors",
        "workbench fix train.ckpt -o weights.pt --top-level-key state_dict --fold",
    ),
)
def fix(
    file: File,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The file to write: .safetensors or .pt.")],
    top_level_key: TopLevelKey = None,
    fold: Fold = None,
    overwrite: Overwrite = False,
    verify: Verify = True,
    as_json: Json = False,
) -> None:
    """Write the state_dict of a model that was saved whole, or the only one in the file, without torch.

    Where there are several, choose one by --top-level-key. Ctrl+C leaves everything as it was, and exits with 130.
    """
    from workbench.cli import fix as command

    raise typer.Exit(
        command.run(
            file,
            out,
            top_level_key=top_level_key,
            fold=bool(fold),
            overwrite=overwrite,
            verify=verify,
            as_json=as_json,
        )
    )


@app.command(
    cls=Command,
    short_help="Say what is wrong with a file, or what an error about it means.",
    epilog=examples(
        "workbench diagnose net.pt",
        "workbench diagnose net.pt --burn 0.21 --deep",
        "cargo run 2>&1 | workbench diagnose net.pt --error -",
    ),
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
    mapping: Annotated[
        Path | None, typer.Option("--mapping", metavar="FILE", help="Judge it with the decisions of a mapping.json.")
    ] = None,
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
    cls=Command,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[FILE] [JUPYTER OPTIONS]",
    epilog=examples(
        "workbench lab net.pt",
        "workbench lab net.pt --no-browser --port 8899",
    ),
)
def lab(ctx: typer.Context) -> None:
    """Open JupyterLab with the workbench on FILE. Other options go to JupyterLab as they are."""
    from workbench.cli import lab as command

    file, rest = command.split_arguments(ctx.args)
    raise typer.Exit(command.run(file, rest))


def main() -> None:
    """Run the command line and exit."""
    app(prog_name="workbench")
