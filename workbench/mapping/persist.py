"""A mapping as JSON and as Python. mapping.json of an export holds the same fields and more (exporting/)."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TypeVar, cast

from workbench import burn
from workbench.errors import MappingError, RuleError, printable
from workbench.mapping.mapping import Mapping
from workbench.mapping.rules import Rule

SCHEMA = "checkpoint-workbench/mapping"
VERSION = 1

_MAX_BYTES = 256 * 1024 * 1024
_T = TypeVar("_T")


def to_json(mapping: Mapping) -> dict[str, object]:
    """The fields every mapping.json begins with."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "burn": None if mapping.burn is None else {"version": mapping.burn},
        "top_level_key": mapping.top_level_key,
        "rules": [
            {"pattern": rule.pattern, "replacement": rule.replacement, "enabled": rule.enabled}
            for rule in mapping.rules
        ],
        "reindex": mapping.reindex,
    }


def from_json(data: object, *, path: str | None = None) -> Mapping:
    """The mapping in `data`; fields beyond the mapping's own (rows, files, …) are what an export adds."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise MappingError(
            "This is not a mapping of the workbench.",
            path=path,
            cause=f'A mapping is a JSON object whose "schema" is "{SCHEMA}".',
            next_step="Choose a mapping.json that an export or Mapping.save wrote.",
            code="not-a-mapping",
        )
    if data.get("version") != VERSION:
        raise MappingError(
            f"This mapping has schema version {printable(str(data.get('version')), 40)}; version {VERSION} is known.",
            path=path,
            next_step="Open it with the workbench that wrote it, or a newer one.",
            code="mapping-version",
        )
    rules = []
    for number, item in enumerate(_field(data, "rules", list, path), start=1):
        place = f"rule {number}"
        if not isinstance(item, dict):
            raise _wrong(place, "a JSON object", item, path)
        try:
            rules.append(
                Rule(
                    _field(item, "pattern", str, path, place),
                    _field(item, "replacement", str, path, place),
                    _field(item, "enabled", bool, path, place),
                )
            )
        except RuleError as error:
            raise MappingError(
                f"The pattern of rule {number} is not a regex: {error.reason}.",
                path=path,
                place=place,
                cause=error.text,
                next_step="Correct the pattern in the file.",
                code="mapping-pattern",
            ) from error
    version = data.get("burn")
    if version is not None:
        version = _field(_field(data, "burn", dict, path), "version", str, path, "burn")
    for name, kind in (("top_level_key", str), ("reindex", bool)):
        if data.get(name) is not None:
            _field(data, name, kind, path)
    try:
        return Mapping(rules, top_level_key=data.get("top_level_key"), reindex=data.get("reindex"), burn=version)
    except MappingError as error:
        error.path = path
        raise


def load(path: Path) -> Mapping:
    """Read `path`; every fault is a `MappingError` that names it."""
    return from_json(read_json(path), path=str(path))


def read_json(path: Path) -> object:
    """The JSON in `path`, bounded in size; a `MappingError` says why it can't be had."""
    try:
        if not path.is_file():
            raise OSError("it is not a file" if path.exists() else "there is no such file")
        if path.stat().st_size > _MAX_BYTES:
            raise OSError(f"it is larger than {_MAX_BYTES:,} bytes")
        return cast(object, json.loads(path.read_bytes().decode("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        broken = not isinstance(error, OSError)
        raise MappingError(
            "This is not JSON." if broken else "The mapping cannot be read.",
            path=str(path),
            cause=printable(getattr(error, "strerror", None) or str(error), 200),
            next_step="Choose a mapping.json that an export or Mapping.save wrote.",
            code="mapping-not-json" if broken else "mapping-unreadable",
        ) from None


def save(mapping: Mapping, path: Path) -> None:
    """Write to a temporary file beside `path`, then put it in place."""
    text = json.dumps(to_json(mapping), indent=2, ensure_ascii=True) + "\n"
    try:
        descriptor, name = tempfile.mkstemp(prefix=".mapping-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise MappingError(
            "The mapping cannot be written.",
            path=str(path),
            cause=f"{error.strerror or error}. Nothing was changed.",
            next_step="Choose another folder or free some space.",
            code="mapping-not-written",
        ) from None


def to_python(mapping: Mapping, path: str | None) -> str:
    """Lines for a notebook cell; every text of the user or of the file is a literal."""
    arguments = []
    if mapping.rules:
        arguments.append("    rules=[")
        for rule in mapping.rules:
            off = "" if rule.enabled else ", enabled=False"
            arguments.append(f"        wb.Rule({literal(rule.pattern)}, {literal(rule.replacement)}{off}),")
        arguments.append("    ],")
    if mapping.top_level_key is not None:
        arguments.append(f"    top_level_key={literal(mapping.top_level_key)},")
    if mapping.reindex is not None:
        arguments.append(f"    reindex={mapping.reindex},")
    if mapping.burn != burn.DEFAULT_VERSION:
        arguments.append(f"    burn={mapping.burn!r},")
    lines = ["import workbench as wb", ""]
    lines += ["mapping = wb.Mapping(", *arguments, ")"] if arguments else ["mapping = wb.Mapping()"]
    if path is not None:
        lines.append(f"plan = mapping.plan(wb.open({literal(path)}))")
    return "\n".join(lines) + "\n"


def literal(text: str) -> str:
    """`text` as a Python literal: raw where that reads better and means the same, plain ASCII escapes otherwise."""
    raw_is_exact = "\\" in text and '"' not in text and text.isprintable() and not text.endswith("\\")
    if raw_is_exact and text.isascii():
        return f'r"{text}"'
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return ascii(text) if not text.isprintable() else repr(text)


def _field(data: dict[str, object], name: str, kind: type[_T], path: str | None, place: str = "") -> _T:
    value = data.get(name)
    if not isinstance(value, kind):
        raise _wrong(f"{place}, {name}" if place else name, _KINDS[kind], value, path)
    return value


_KINDS: dict[type, str] = {str: "a text", bool: "true or false", list: "a list", dict: "a JSON object"}


def _wrong(place: str, expected: str, value: object, path: str | None) -> MappingError:
    return MappingError(
        f'"{place}" should be {expected}, not {printable(json.dumps(value, default=str), 60)}.',
        path=path,
        place=place,
        next_step="Correct the file, or write it again with Mapping.save.",
        code="mapping-field",
    )
