"""A mapping as JSON and as Python. mapping.json of an export holds the same fields and more (exporting/)."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from workbench.errors import MappingError, RuleError, printable
from workbench.mapping.casts import Cast
from workbench.mapping.layout import Layout
from workbench.mapping.mapping import Mapping
from workbench.mapping.rules import Rule
from workbench.mapping.selection import Pick, Selection

SCHEMA = "checkpoint-workbench/mapping"
VERSION = 2

_MAX_BYTES = 256 * 1024 * 1024
_T = TypeVar("_T")


def to_json(mapping: Mapping) -> dict[str, object]:
    """The fields every mapping.json begins with."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "burn": None if mapping.burn is None else {"version": mapping.burn, "api": mapping.api},
        "route": mapping.route,
        "top_level_key": mapping.top_level_key,
        "selection": {
            "include": [_pick_json(pick) for pick in mapping.selection.include],
            "exclude": [_pick_json(pick) for pick in mapping.selection.exclude],
        },
        "rules": [_rule_json(rule) for rule in mapping.rules],
        "reindex": mapping.reindex,
        "keep_indices": list(mapping.keep_indices),
        "skip_enum_variants": mapping.skip_enum_variants,
        "layout": {"adapt": mapping.layout.adapt, "modules": dict(mapping.layout.modules)},
        "casts": [
            {
                "dtype": cast.dtype,
                "from_dtype": cast.from_dtype,
                "pick": None if cast.pick is None else _pick_json(cast.pick),
            }
            for cast in mapping.casts
        ],
        "fold": mapping.fold,
    }


def from_json(data: object, *, path: str | None = None) -> Mapping:
    """The mapping in `data`; fields beyond the mapping's own (rows, files, …) are what an export adds.

    Version 1, which knew less, is read too.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise MappingError(
            "This is not a mapping of the workbench.",
            path=path,
            cause=f'A mapping is a JSON object whose "schema" is "{SCHEMA}".',
            next_step="Choose a mapping.json that an export or Mapping.save wrote.",
            code="not-a-mapping",
        )
    version = data.get("version")
    if type(version) is not int or version not in (1, VERSION):
        raise MappingError(
            f"This mapping has schema version {printable(str(version), 40)}; versions 1 and {VERSION} are known.",
            path=path,
            next_step="Open it with the workbench that wrote it, or a newer one.",
            code="mapping-version",
        )
    try:
        return _mapping(_Object(data, "", path), version)
    except MappingError as error:
        if error.path is None:
            error.path = path
        raise


def _mapping(data: _Object, version: int) -> Mapping:
    rules = [_rule(item, version) for item in data.children("rules", "rule")]
    burn_ = data.child_or_none("burn")
    known: dict[str, Any] = {
        "burn": None if burn_ is None else burn_.get("version", str),
        "top_level_key": data.get_or_none("top_level_key", str),
        "reindex": data.get_or_none("reindex", bool),
    }
    if version == 1:  # what it calls the API of Burn is the name of a store, which follows from the rest
        return Mapping(rules, **known)
    selection, layout = data.child("selection"), data.child("layout")
    modules = layout.child("modules")
    return Mapping(
        rules,
        **known,
        api=None if burn_ is None else burn_.get_or_none("api", str),
        route=data.get("route", str),  # type: ignore[arg-type]  # Mapping looks at it
        selection=Selection(
            tuple(_pick(item) for item in selection.children("include", "include")),
            tuple(_pick(item) for item in selection.children("exclude", "exclude")),
        ),
        keep_indices=data.texts("keep_indices"),
        skip_enum_variants=data.get_or_none("skip_enum_variants", bool),
        layout=Layout(
            layout.get_or_none("adapt", bool), tuple((name, modules.get(name, str)) for name in modules.fields)
        ),
        casts=[
            Cast(
                item.get("dtype", str),
                None if (pick := item.child_or_none("pick")) is None else _pick(pick),
                item.get_or_none("from_dtype", str),
            )
            for item in data.children("casts", "cast")
        ],
        fold=data.get_or_none("fold", bool) or False,
    )


def _rule(item: _Object, version: int) -> Rule:
    try:
        return Rule(
            item.get("pattern", str),
            item.get("replacement", str),
            item.get("enabled", bool),
            (item.get_or_none("note", str) or "") if version > 1 else "",
        )
    except RuleError as error:
        raise MappingError(
            f"The pattern of {item.place} is not a regex: {error.reason}.",
            place=item.place,
            cause=error.text,
            next_step="Correct the pattern in the file.",
            code="mapping-pattern",
        ) from error


def _rule_json(rule: Rule) -> dict[str, object]:
    facts = {"pattern": rule.pattern, "replacement": rule.replacement, "enabled": rule.enabled}
    return facts | {"note": rule.note} if rule.note else facts


def _pick(item: _Object) -> Pick:
    return Pick(item.get("kind", str), item.get("text", str))  # type: ignore[arg-type]  # Pick looks at it


def _pick_json(pick: Pick) -> dict[str, object]:
    return {"kind": pick.kind, "text": pick.text}


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
        return parse(path.read_bytes(), path)
    except OSError as error:
        raise _unreadable(path, error) from None


def parse(raw: bytes, path: Path) -> object:
    """The JSON in `raw`, which was read from `path`. Raises `MappingError` where it is none."""
    try:
        if len(raw) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES:,} bytes")
        return cast(object, json.loads(raw.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> MappingError:
    broken = not isinstance(error, OSError)
    words = printable(getattr(error, "strerror", None) or str(error), 200)
    if isinstance(error, UnicodeDecodeError):
        words = f"byte {error.start:,} is not UTF-8 text"
    return MappingError(
        "This is not JSON." if broken else "The mapping cannot be read.",
        path=str(path),
        cause=f"{words[:1].upper()}{words[1:]}.",
        next_step="Choose a mapping.json that an export or Mapping.save wrote.",
        code="mapping-not-json" if broken else "mapping-unreadable",
    )


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
            note = f", note={literal(rule.note)}" if rule.note else ""
            arguments.append(f"        wb.Rule({literal(rule.pattern)}, {literal(rule.replacement)}{off}{note}),")
        arguments.append("    ],")
    plain = Mapping()
    for name, value in (
        ("burn", None if mapping.burn is None else literal(mapping.burn)),
        ("api", None if mapping.api is None else literal(mapping.api)),
        ("route", literal(mapping.route)),
        ("top_level_key", None if mapping.top_level_key is None else literal(mapping.top_level_key)),
        ("selection", _selection_python(mapping.selection)),
        ("reindex", mapping.reindex),
        ("keep_indices", _list(literal(pattern) for pattern in mapping.keep_indices)),
        ("skip_enum_variants", mapping.skip_enum_variants),
        ("layout", _layout_python(mapping.layout)),
        ("casts", _list(map(_cast_python, mapping.casts))),
        ("fold", mapping.fold),
    ):
        if getattr(mapping, name) != getattr(plain, name):
            arguments.append(f"    {name}={value},")
    lines = ["import workbench as wb", ""]
    lines += ["mapping = wb.Mapping(", *arguments, ")"] if arguments else ["mapping = wb.Mapping()"]
    if path is not None:
        lines.append(f"plan = mapping.plan(wb.open({literal(path)}))")
    return "\n".join(lines) + "\n"


def _selection_python(selection: Selection) -> str:
    picks = ((name, getattr(selection, name)) for name in ("include", "exclude"))
    said = (f"{name}={_tuple(map(_pick_python, chosen))}" for name, chosen in picks if chosen)
    return f"wb.Selection({', '.join(said)})"


def _layout_python(layout: Layout) -> str:
    modules = _tuple(f"({literal(path)}, {literal(kind)})" for path, kind in layout.modules)
    return f"wb.Layout({layout.adapt}, {modules})" if layout.modules else f"wb.Layout({layout.adapt})"


def _cast_python(cast: Cast) -> str:
    pick = "" if cast.pick is None else f", {_pick_python(cast.pick)}"
    only = "" if cast.from_dtype is None else f", from_dtype={literal(cast.from_dtype)}"
    return f"wb.Cast({literal(cast.dtype)}{pick}{only})"


def _pick_python(pick: Pick) -> str:
    return f"wb.Pick({literal(pick.kind)}, {literal(pick.text)})"


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def _tuple(items: Iterable[str]) -> str:
    return f"({''.join(f'{item}, ' for item in items).rstrip()})"


def literal(text: str) -> str:
    """`text` as a Python literal: raw where that reads better and means the same, plain ASCII escapes otherwise."""
    raw_is_exact = "\\" in text and '"' not in text and text.isprintable() and not text.endswith("\\")
    if raw_is_exact and text.isascii():
        return f'r"{text}"'
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return ascii(text) if not text.isprintable() else repr(text)


_KINDS: dict[type, str] = {str: "a text", bool: "true or false", list: "a list", dict: "a JSON object"}


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object whose fields are asked for by kind; `place` is where it stands."""

    fields: dict[str, object]
    place: str
    path: str | None

    def get(self, name: str, kind: type[_T]) -> _T:
        value = self.fields.get(name)
        if not isinstance(value, kind):
            raise self._wrong(self._at(name), _KINDS[kind], value)
        return value

    def get_or_none(self, name: str, kind: type[_T]) -> _T | None:
        return None if self.fields.get(name) is None else self.get(name, kind)

    def child(self, name: str) -> _Object:
        return _Object(self.get(name, dict), self._at(name), self.path)

    def child_or_none(self, name: str) -> _Object | None:
        return None if self.fields.get(name) is None else self.child(name)

    def children(self, name: str, each: str) -> list[_Object]:
        """The objects in a list; `each` is what one is called, by number."""
        found = []
        for number, item in enumerate(self.get(name, list), start=1):
            place = self._at(f"{each} {number}")
            if not isinstance(item, dict):
                raise self._wrong(place, "a JSON object", item)
            found.append(_Object(item, place, self.path))
        return found

    def texts(self, name: str) -> list[str]:
        items = self.get(name, list)
        for number, item in enumerate(items, start=1):
            if not isinstance(item, str):
                raise self._wrong(f"{self._at(name)} {number}", "a text", item)
        return items

    def _at(self, name: str) -> str:
        return f"{self.place}, {printable(name, 80)}" if self.place else name

    def _wrong(self, place: str, expected: str, value: object) -> MappingError:
        return MappingError(
            f'"{place}" should be {expected}, not {printable(json.dumps(value, default=str), 60)}.',
            path=self.path,
            place=place,
            next_step="Correct the file, or write it again with Mapping.save.",
            code="mapping-field",
        )
