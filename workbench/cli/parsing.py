"""How the words of a command line become values, and how a fault becomes a text on stderr and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["RULE", "Command", "Commands", "RuleCommand", "examples", "rule_pairs"]

RULE: Final = "--rule"

_SIGINT, _SIGPIPE = 130, 141
"""What shells report of a program that was interrupted, or whose reader went away."""


class _PlainValues:
    """What makes the words of a command line texts and paths without pydantic.

    typer has it look at each value, also at those that were not given, and importing it takes longer than opening a
    file. typer still looks at flags, and at what is missing.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if "process_value" not in vars(param):
                param.process_value = _plain(param)
        return params


def _plain(param: Any) -> Callable[[Any, Any], Any]:
    kind, checked = param.type_descriptor.annotation, param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if value is None and not param.required:
            value = () if param.multiple else None
        elif kind in (str, Path) and isinstance(value, str):
            if kind is Path and not value:
                # A variable of a shell that is not set; Path would make the current folder of it.
                raise typer.BadParameter("is empty, and needs a path. The current folder is '.'.", ctx, param)
            value = kind(value)
        elif kind == list[str] and isinstance(value, (list, tuple)):
            value = list(value)
        elif kind is int:
            value = _number(ctx, param, value)
        elif isinstance(kind, type) and issubclass(kind, StrEnum):
            value = _choice(ctx, param, kind, value)
        else:
            return checked(ctx, value)
        return value if param.callback is None else param.callback(ctx, param, value)

    return process_value


def _number(ctx: Any, param: Any, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no whole number.", ctx, param) from None
    if param.min is not None and number < param.min:
        raise typer.BadParameter(f"{number} is too small: give {param.min} or more.", ctx, param)
    return number


def _choice(ctx: Any, param: Any, kind: type[StrEnum], value: object) -> StrEnum:
    try:
        return kind(str(value))
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not one of them: {', '.join(kind)}.", ctx, param) from None


class Commands(_PlainValues, TyperGroup):
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


class Command(_PlainValues, TyperCommand):
    """A command whose words become texts and paths by themselves."""


class RuleCommand(Command):
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
            if word != RULE and not word.startswith(f"{RULE}="):
                packed.append(word)
                continue
            values = [word.removeprefix(f"{RULE}=")] if word != RULE else []
            while rest and len(values) < 2:
                values.append(rest.pop(0))
            if len(values) < 2:
                raise typer.BadParameter("needs two values, PATTERN and REPLACEMENT.", ctx, param_hint=f"'{RULE}'")
            packed.append(f"{RULE}={json.dumps(values)}")
        return super().parse_args(ctx, packed)


def examples(*lines: str) -> str:
    """What stands below the help of a command; no line is broken, so that each can be copied."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def rule_pairs(packed: list[str] | None) -> list[tuple[str, str]]:
    """Pattern and replacement of each `--rule`, as `RuleCommand` packed them."""
    return [(pattern, replacement) for pattern, replacement in map(json.loads, packed or ())]
