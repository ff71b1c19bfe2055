"""What Rust source declares: structs, enums, aliases and imports, read from its syntax tree. Nothing is compiled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import tree_sitter_rust
from tree_sitter import Language, Node, Parser

from workbench.errors import printable
from workbench.finding import Finding, Severity
from workbench.target.entries import target_error

__all__ = ["Declaration", "Member", "Scope", "Source", "TypeName", "files", "read_folder", "read_text"]

_LANGUAGE: Final = Language(tree_sitter_rust.language())

MAX_BYTES: Final = 16 << 20
MAX_FILES: Final = 2_000
_MAX_FOLDERS: Final = 20_000
_MAX_TYPE_DEPTH: Final = 48
_MAX_MOD_DEPTH: Final = 64

Scope = tuple[str, ...]
"""The path of a `mod`, from the crate's root."""


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as it is written: its path and arguments; `name` is "[]" for an array, "()" for a tuple, "?" for others.

    `length` is what stands behind the semicolon of an array.
    """

    path: tuple[str, ...]
    arguments: tuple[TypeName, ...] = ()
    length: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path[-1]

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.arguments))
        if self.name == "[]":
            return f"[{inside}; {self.length}]"
        if self.name == "()":
            return f"({inside})"
        return "::".join(self.path) + (f"<{inside}>" if inside else "")


@dataclass(frozen=True, slots=True)
class Member:
    """A field or a variant; None for a variant without content. `skipped`: marked as no part of the module."""

    name: str
    type: TypeName | None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """A struct, an enum or an alias ("type": one member without a name)."""

    kind: str
    name: str
    scope: Scope
    parameters: tuple[str, ...]
    members: tuple[Member, ...]
    is_module: bool
    place: str


@dataclass
class Source:
    """All that was found, in order."""

    declarations: list[Declaration] = field(default_factory=list)
    imports: dict[Scope, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """By scope: the local name and the path behind it."""
    globs: dict[Scope, list[tuple[str, ...]]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    """Integer constants by name."""
    findings: list[Finding] = field(default_factory=list)
    n_macros: int = 0


def read_text(text: str, name: str = "") -> Source:
    """The declarations of one file."""
    source = Source()
    if len(text) > MAX_BYTES:
        raise _too_big()
    _read(source, text.encode("utf-8", "replace"), (), name)
    return source


def read_folder(folder: Path) -> Source:
    """The declarations of all .rs files below `folder`; `src/a/b.rs` is the module a::b. Links are not followed."""
    source = Source()
    total = 0
    for n_files, path in enumerate(files(folder), start=1):
        try:
            total += path.stat().st_size
            if total > MAX_BYTES or n_files > MAX_FILES:
                raise _too_big()
            raw = path.read_bytes()
        except OSError as error:
            place = printable(str(path), 200)
            raise target_error(
                "A source file cannot be read.", place=place, cause=str(error.strerror), code="cannot-read"
            ) from None
        inside = path.relative_to(folder)
        parts = [part for part in inside.with_suffix("").parts if part not in ("src", "mod", "lib", "main")]
        _read(source, raw, tuple(parts), str(inside))
    return source


def files(folder: Path) -> Iterator[Path]:
    """The .rs files below a folder, in order; `target` and hidden folders are left out."""
    for n_folders, (here, folders, names) in enumerate(os.walk(folder)):
        if n_folders > _MAX_FOLDERS:
            raise _too_big()
        folders[:] = sorted(name for name in folders if name != "target" and not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if name.endswith(".rs") and path.is_file() and not path.is_symlink():
                yield path


def _too_big() -> Exception:
    return target_error(
        "There is too much Rust source.",
        cause=f"At most {MAX_FILES:,} files and {MAX_BYTES >> 20} MB are read.",
        next_step="Choose the folder or file of the model itself.",
        code="source-too-big",
    )


# ---- one file ---------------------------------------------------------------------------------------


def _read(source: Source, raw: bytes, scope: Scope, name: str) -> None:
    tree = Parser(_LANGUAGE).parse(raw)
    root = tree.root_node
    if root.has_error:
        line = _first_error(root)
        place = printable(f"{name}, line {line}" if name else f"line {line}", 200)
        text = f"Rust's grammar is broken there; what could be read around it was used ({place})."
        source.findings.append(Finding("rust-syntax", Severity.WARNING, place, text))
    pending: list[tuple[Node, Scope]] = [(root, scope)]
    while pending:
        node, scope = pending.pop(0)
        attributes: list[str] = []
        for child in node.named_children:
            if child.type == "attribute_item":
                attributes.append(_text(child))
                continue
            if child.type in ("line_comment", "block_comment"):
                continue
            if child.type == "mod_item" and len(scope) < _MAX_MOD_DEPTH:
                body = child.child_by_field_name("body")
                if body is not None and not any("cfg(test)" in text for text in attributes):
                    pending.append((body, (*scope, _named(child, "name"))))
            else:
                _item(source, child, scope, attributes, name)
            attributes = []


def _item(source: Source, node: Node, scope: Scope, attributes: list[str], file: str) -> None:
    place = f"{file}:{node.start_point[0] + 1}" if file else f"line {node.start_point[0] + 1}"
    is_module = any(_derives_module(text) for text in attributes)
    members: tuple[Member, ...]
    match node.type:
        case "struct_item":
            kind, members = "struct", _fields(node.child_by_field_name("body"))
        case "enum_item":
            kind, members = "enum", _variants(node.child_by_field_name("body"))
        case "type_item":
            kind, members = "type", (Member("", _type(node.child_by_field_name("type"))),)
        case "use_declaration":
            argument = node.child_by_field_name("argument")
            if argument is not None:
                for path, local in _uses(argument, (), 0):
                    if local == "*":
                        source.globs.setdefault(scope, []).append(path)
                    else:
                        source.imports.setdefault(scope, {})[local] = path
            return
        case "const_item":
            value = node.child_by_field_name("value")
            digits = _text(value).replace("_", "").removesuffix("usize") if value is not None else ""
            if digits.isdecimal() and len(digits) < 10:
                source.numbers[_named(node, "name")] = int(digits)
            return
        case "macro_invocation":
            source.n_macros += 1
            return
        case "expression_statement" if node.named_child_count and node.named_children[0].type == "macro_invocation":
            source.n_macros += 1
            return
        case _:
            return
    declaration = Declaration(
        kind,
        _named(node, "name"),
        scope,
        _parameters(node),
        members,
        is_module or kind == "type",
        printable(place, 200),
    )
    source.declarations.append(declaration)


def _derives_module(attribute: str) -> bool:
    inside = attribute.partition("derive")[2].partition("(")[2].partition(")")[0]
    return any(part.strip().rpartition("::")[2] == "Module" for part in inside.split(","))


def _fields(body: Node | None) -> tuple[Member, ...]:
    if body is None:
        return ()
    found: list[Member] = []
    attributes: list[str] = []
    for child in body.named_children:
        if child.type == "attribute_item":
            attributes.append(_text(child))
        elif child.type == "field_declaration":
            kind = _type(child.child_by_field_name("type"))
            found.append(Member(_named(child, "name").removeprefix("r#"), kind, _is_skipped(attributes)))
            attributes = []
        elif body.type == "ordered_field_declaration_list" and child.type not in (
            "visibility_modifier", "line_comment", "block_comment",
        ):  # fmt: skip
            found.append(Member(str(len(found)), _type(child), _is_skipped(attributes)))
            attributes = []
    return tuple(found)


def _is_skipped(attributes: list[str]) -> bool:
    """`#[module(skip)]`, and whatever else takes a field out of the module."""
    for text in attributes:
        inside = text.partition("module")[2].partition("(")[2].partition(")")[0]
        if any(word.strip() in ("skip", "constant", "ignore") for word in inside.split(",")):
            return True
    return False


def _variants(body: Node | None) -> tuple[Member, ...]:
    found = []
    for child in body.named_children if body is not None else ():
        if child.type != "enum_variant":
            continue
        fields = _fields(child.child_by_field_name("body"))
        content: TypeName | None = None
        if len(fields) == 1:
            content = fields[0].type
        elif fields:
            content = TypeName(("()",), tuple(each.type or TypeName(("?",)) for each in fields))
        found.append(Member(_named(child, "name"), content))
    return tuple(found)


def _parameters(node: Node) -> tuple[str, ...]:
    """The names of generic type parameters; a const one is `const N`, a lifetime is left out."""
    listed = node.child_by_field_name("type_parameters")
    found: list[str] = []
    for child in listed.named_children if listed is not None else ():
        if child.type == "type_identifier":
            found.append(_text(child))
        elif child.type in ("type_parameter", "constrained_type_parameter", "optional_type_parameter"):
            name = child.child_by_field_name("name") or child.child_by_field_name("left")
            if name is not None and name.type != "lifetime":
                found.append(_text(name))
        elif child.type == "const_parameter":
            found.append(f"const {_named(child, 'name')}")
    return tuple(found)


def _uses(node: Node, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each path that a `use` brings in, with its local name; "*" for a glob."""
    if depth > _MAX_TYPE_DEPTH:
        return
    match node.type:
        case "use_list":
            for child in node.named_children:
                yield from _uses(child, path, depth + 1)
        case "scoped_use_list":
            outer, inner = node.child_by_field_name("path"), node.child_by_field_name("list")
            if inner is not None:
                yield from _uses(inner, (*path, *_path(outer)), depth + 1)
        case "use_as_clause":
            target, alias = node.child_by_field_name("path"), node.child_by_field_name("alias")
            if alias is not None:
                yield (*path, *_path(target)), _text(alias)
        case "use_wildcard":
            yield (*path, *(_path(node.named_children[0]) if node.named_child_count else ())), "*"
        case "self":
            if path:
                yield path, path[-1]
        case _:
            whole = (*path, *_path(node))
            if whole:
                yield whole, whole[-1]


def _type(node: Node | None, depth: int = 0) -> TypeName:
    if node is None or depth > _MAX_TYPE_DEPTH:
        return TypeName(("?",))
    match node.type:
        case "type_identifier" | "primitive_type" | "identifier" | "scoped_type_identifier" | "scoped_identifier":
            return TypeName(_path(node) or ("?",))
        case "generic_type":
            arguments = node.child_by_field_name("type_arguments")
            inside = arguments.named_children if arguments is not None else []
            skipped = ("lifetime", "type_binding", "line_comment", "block_comment")
            made = tuple(_type(child, depth + 1) for child in inside if child.type not in skipped)
            return TypeName(_path(node.child_by_field_name("type")) or ("?",), made)
        case "array_type":
            length = node.child_by_field_name("length")
            element = _type(node.child_by_field_name("element"), depth + 1)
            return TypeName(("[]",), (element,), _text(length) if length is not None else "")
        case "tuple_type":
            return TypeName(("()",), tuple(_type(child, depth + 1) for child in node.named_children))
        case "unit_type":
            return TypeName(("()",))
        case "integer_literal" | "boolean_literal":
            return TypeName((_text(node),))
        case _:
            return TypeName(("?", _text(node)[:80]))


def _path(node: Node | None) -> tuple[str, ...]:
    found: list[str] = []
    while node is not None:
        if node.type in ("scoped_identifier", "scoped_type_identifier"):
            found.append(_named(node, "name"))
            node = node.child_by_field_name("path")
        elif node.type == "generic_type":
            node = node.child_by_field_name("type")
        else:
            found.append(_text(node))
            break
    return tuple(reversed(found))


def _first_error(root: Node) -> int:
    node = root
    while True:
        child = next((child for child in node.children if child.has_error or child.is_missing or child.is_error), None)
        if child is None or node.is_error:
            return int(node.start_point[0]) + 1
        node = child


def _named(node: Node, name: str) -> str:
    found = node.child_by_field_name(name)
    return _text(found) if found is not None else ""


def _text(node: Node) -> str:
    return node.text.decode("utf-8", "replace") if node.text is not None else ""
