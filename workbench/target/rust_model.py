"""From declarations to the model they describe: names are looked up as Rust does, but without compiling."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from workbench.core.text import count_text
from workbench.errors import printable
from workbench.finding import Finding, Severity
from workbench.target import burn_modules
from workbench.target.entries import Kind, target_error
from workbench.target.model import (
    Assumed,
    Choice,
    ListOf,
    Maybe,
    Module,
    Node,
    Nothing,
    OpenType,
    Parameter,
    TupleOf,
    Unsettled,
)
from workbench.target.rust_source import Declaration, Member, Scope, Source, TypeName

__all__ = ["Resolver"]

_BURN: Final = re.compile(r"burn(_\w+)?")
_KINDS: Final[dict[str, Kind]] = {"Int": "int", "Bool": "bool", "Float": "float"}
_LISTED: Final = 12
_MAX_ALIASES: Final = 32
_MAX_LENGTH: Final = 100_000
_WITHOUT_BACKENDS: Final = "0.22"
"""From this version on modules are not generic over a backend."""

Bindings = dict[str, "tuple[TypeName, _Place]"]
"""What the generic parameters of a struct stand for."""


class _Place:
    """Where a type is written: in which module, and with which generic parameters bound."""

    __slots__ = ("bound", "scope")

    def __init__(self, scope: Scope, bound: Bindings) -> None:
        self.scope = scope
        self.bound = bound


class Resolver:
    """The models that a source declares, for one version of Burn. `findings` grows while types are looked up."""

    def __init__(self, source: Source, burn: str) -> None:
        self.source = source
        self.burn = burn
        self.findings: list[Finding] = []
        self._noted: set[str] = set()
        self._own = burn_modules.declarations(burn)
        self._by_name: dict[str, list[Declaration]] = {}
        for declaration in source.declarations:
            self._by_name.setdefault(declaration.name, []).append(declaration)
        self._made: dict[tuple[object, ...], Node] = {}
        self._places: list[_Place] = []
        self._made_own: dict[str, Node] = {}

    # ---- the root -----------------------------------------------------------------------------------

    def root(self, name: str | None) -> tuple[str, Node]:
        """The module called `name`, or the one that no other contains. WorkbenchError where it is not one."""
        modules = [each for each in self.source.declarations if each.is_module and each.kind != "type"]
        if not modules:
            hint = " Structs that a macro makes cannot be seen." if self.source.n_macros else ""
            raise target_error(
                "There is no `#[derive(Module)]` struct in this Rust source.",
                cause=(f"{count_text(len(self.source.declarations), 'other type')} found." + hint),
                next_step="Choose the file or folder in which the model is declared.",
                code="no-module",
            )
        if name is not None:
            wanted = tuple(name.split("::"))
            found = [each for each in modules if (*each.scope, each.name)[-len(wanted) :] == wanted]
        else:
            contained = {part for each in modules for part in self._contained(each)}
            found = [each for each in modules if id(each) not in contained]
            if len(found) != 1:
                structs = [each for each in found or modules if each.kind == "struct"]
                found = structs or found or modules
        if len(found) == 1:
            return found[0].name, self._declared(found[0], {})
        listed = found or modules
        names = [printable("::".join((*each.scope, each.name)), 80) for each in listed[:_LISTED]]
        more = f" and {len(listed) - len(names):,} more" if len(listed) > len(names) else ""
        if name is None:
            title, code = f"{len(listed):,} modules could be the model.", "several-roots"
        elif found:
            title, code = f"{len(found):,} modules are called {printable(name, 80)!r}.", "several-roots"
        else:
            title, code = f"There is no module {printable(name, 80)!r} in this Rust source.", "no-such-root"
        raise target_error(
            title,
            cause=f"They are {', '.join(names)}{more}." if found else f"There are {', '.join(names)}{more}.",
            next_step="Name the one that is meant as root.",
            code=code,
        )

    def _contained(self, declaration: Declaration) -> Iterable[int]:
        """The declarations that a module's fields name, itself left out."""
        place = _Place(declaration.scope, {})
        pending = [member.type for member in declaration.members if member.type is not None and not member.skipped]
        seen: set[int] = set()
        while pending:
            kind = pending.pop()
            pending += kind.arguments
            found = self._find(kind.path, place)
            if isinstance(found, Declaration) and found is not declaration and id(found) not in seen:
                seen.add(id(found))
                yield id(found)
                if found.kind == "type":
                    pending += [member.type for member in found.members if member.type is not None]

    # ---- types ----------------------------------------------------------------------------------------

    def node(self, kind: TypeName, place: _Place, depth: int = 0) -> Node:
        """What a type as written at `place` holds."""
        name, arguments = kind.name, kind.arguments
        if depth > _MAX_ALIASES:
            return self._unknown(kind, place)
        if len(kind.path) == 1:
            if name == "[]":
                return self._array(kind, place, depth)
            if name == "()":
                items = tuple(self.node(each, place, depth + 1) for each in arguments)
                return _simple(TupleOf(items, self.burn != "0.19"), items)
            if name in place.bound:
                argument, where = place.bound[name]
                return self.node(argument, where, depth + 1)
        found = self._find(kind.path, place)
        if isinstance(found, Declaration):
            bound = self._bind(found, arguments, place)
            if found.kind == "type" and found.members[0].type is not None:
                return self.node(found.members[0].type, _Place(found.scope, bound), depth + 1)
            return self._declared(found, bound)
        name = found
        first = arguments[0] if arguments else None
        if name in ("Param", "RunningState") and first is not None:
            return self._parameter(first, place)
        if name in ("Option", "Box", "Vec") and first is not None:
            inner = self.node(first, place, depth + 1)
            if name == "Box":
                return inner
            if isinstance(inner, Nothing):
                return Nothing() if name == "Option" else Nothing(Unsettled("the length of a Vec without parameters"))
            return Maybe(inner) if name == "Option" else ListOf(inner)
        if name in self._own:
            return self._builtin(name)
        if name in burn_modules.CONSTANTS:
            return Nothing()
        return self._unknown(kind, place)

    def _array(self, kind: TypeName, place: _Place, depth: int) -> Node:
        inner = self.node(kind.arguments[0], place, depth + 1)
        what = "Vec" if self.burn == "0.19" else "Array"
        length = kind.length.strip()
        if length in place.bound:
            length = str(place.bound[length][0])
        digits = length.replace("_", "").removesuffix("usize")
        n = int(digits) if digits.isdecimal() and len(digits) < 10 else self.source.numbers.get(length.split("::")[-1])
        if n is not None and n > _MAX_LENGTH:
            raise target_error(
                f"An array of modules has {n:,} elements.",
                cause=f"{_MAX_LENGTH:,} are followed.",
                next_step="Choose another root.",
                code="target-too-big",
            )
        if isinstance(inner, Nothing):
            return Nothing(Unsettled("the length of an array without parameters") if n is None else (inner.record,) * n)
        return ListOf(inner, what, n)

    def _parameter(self, kind: TypeName, place: _Place) -> Parameter:
        """Of `Tensor<B, 2>`, `Tensor<B, 1, Int>`, `Tensor<2>`: rank and kind; None where they are not literal."""
        for _ in range(_MAX_ALIASES):
            if len(kind.path) == 1 and kind.name in place.bound:
                kind, place = place.bound[kind.name]
                continue
            found = self._find(kind.path, place)
            if isinstance(found, str):
                if found != "Tensor":
                    return Parameter(None, None)
                break
            if found.kind != "type" or found.members[0].type is None:
                return Parameter(None, None)
            kind, place = found.members[0].type, _Place(found.scope, self._bind(found, kind.arguments, place))
        rank: int | None = None
        what: Kind = "float"
        for argument in kind.arguments:
            text = argument.name
            if len(argument.path) == 1 and text in place.bound:
                text = place.bound[text][0].name
            if text.isdecimal() and len(text) < 4:
                rank = int(text)
            elif text in _KINDS:
                what = _KINDS[text]
            elif text in self.source.numbers:
                rank = self.source.numbers[text]
        return Parameter(rank, what)

    def _declared(self, declaration: Declaration, bound: Bindings) -> Node:
        if not declaration.is_module:
            if declaration.kind == "enum" and all(member.type is None for member in declaration.members):
                return Nothing()  # A setting.
            return self._unknown(TypeName((declaration.name,)), _Place(declaration.scope, {}))
        key = (
            id(declaration),
            *((name, kind, self._environment(kind, place)) for name, (kind, place) in bound.items()),
        )
        if key not in self._made:
            place = _Place(declaration.scope, bound)

            def make() -> tuple[tuple[str, Node], ...]:
                return tuple((each.name, self._member(each, declaration, place)) for each in declaration.members)

            kind = Module if declaration.kind == "struct" else Choice
            is_constant = self.burn < _WITHOUT_BACKENDS and "B" not in declaration.parameters
            self._made[key] = kind(declaration.name, make, is_constant=is_constant)
        return self._made[key]

    def _environment(self, kind: TypeName, place: _Place) -> object:
        """What tells a type as written at one place from the same words at another."""
        if _words(kind).isdisjoint(place.bound):
            return place.scope
        self._places.append(place)  # Its id must stay its own.
        return id(place)

    def _member(self, member: Member, declaration: Declaration, place: _Place) -> Node:
        if member.type is None or member.skipped:
            return Nothing()
        if self.burn == "0.21" and declaration.kind == "struct" and "B" in declaration.parameters:
            # The derive of this version goes by the words alone.
            words = _words(member.type)
            if words.isdisjoint(declaration.parameters):
                return Nothing()
        return self.node(member.type, place)

    def _bind(self, declaration: Declaration, arguments: tuple[TypeName, ...], place: _Place) -> Bindings:
        names = [name.removeprefix("const ") for name in declaration.parameters]
        bound: Bindings = {}
        for name, argument in zip(names, arguments, strict=False):
            if len(argument.path) == 1 and argument.name in place.bound:
                bound[name] = place.bound[argument.name]
            else:
                bound[name] = argument, place
        return bound

    def _builtin(self, name: str) -> Node:
        if name not in self._made_own:
            kind, fields = self._own[name]

            def make() -> tuple[tuple[str, Node], ...]:
                return tuple((field, self._builtin_field(text)) for field, text in fields)

            if kind == "enum":
                self._made_own[name] = Choice(name, make)
            elif any(text and text[0] not in "[=" for _, text in fields):
                self._made_own[name] = Module(name, make)
            else:
                self._made_own[name] = Nothing({field: None for field, _ in fields} or None)
        return self._made_own[name]

    def _builtin_field(self, text: str) -> Node:
        if text.startswith("="):
            return Nothing(Assumed(text[1:]))
        if not text or text[0] == "[":
            return Nothing((None,) * int(text[1:-1]) if text and self.burn < "0.21" else None)
        bare = text.rstrip("?[]")
        inner: Node = Parameter(int(bare)) if bare.isdecimal() else self._builtin(bare)
        return Maybe(inner) if text.endswith("?") else ListOf(inner) if text.endswith("[]") else inner

    def _unknown(self, kind: TypeName, place: _Place) -> OpenType:
        shown = printable(str(kind), 80)
        if shown not in self._noted:
            self._noted.add(shown)
            if len(self._noted) <= _LISTED:
                where = printable("::".join(place.scope), 80) or "the crate's root"
                text = f"The type {shown} (used in {where}) is not in this source; whatever lies below it is accepted."
                self.findings.append(Finding("rust-unknown-type", Severity.WARNING, shown, text))
        return OpenType(shown)

    # ---- names ----------------------------------------------------------------------------------------

    def _find(self, path: tuple[str, ...], place: _Place) -> Declaration | str:
        """The declaration that a path means at a place; for Burn's own, std's and what is not there, its last name."""
        imports = self.source.imports.get(place.scope, {})
        name = path[0]
        candidates = self._by_name.get(name, []) if len(path) == 1 else []
        for each in candidates:
            if each.scope == place.scope:
                return each
        if len(path) > 1 or name in imports:
            whole = (*imports.get(name, (name,)), *path[1:])
            return whole[-1] if _BURN.fullmatch(whole[0]) else self._at(whole, place.scope) or whole[-1]
        if not candidates:
            return name
        globs = self.source.globs.get(place.scope, [])
        for glob in globs:
            if not _BURN.fullmatch(glob[0]) and (found := self._at((*glob, name), place.scope)) is not None:
                return found
        if name in self._own and (place.scope or any(_BURN.fullmatch(glob[0]) for glob in globs)):
            return name
        near = max(candidates, key=lambda each: _common(each.scope, place.scope))
        if len(candidates) > 1 and (shown := printable(name, 80)) not in self._noted:
            self._noted.add(shown)
            text = f"{len(candidates):,} types are called {shown}; the nearest one is taken ({near.place})."
            self.findings.append(Finding("rust-ambiguous-type", Severity.WARNING, shown, text))
        return near

    def _at(self, path: tuple[str, ...], scope: Scope) -> Declaration | None:
        """The declaration at a path that may begin with crate, self or super, and may go through re-exports."""
        parts, name = list(path[:-1]), path[-1]
        base: Scope = ()
        exact = bool(parts) and parts[0] in ("crate", "self", "super")
        if exact and parts[0] != "crate":
            base = scope
        while parts and parts[0] in ("crate", "self", "super"):
            if parts[0] == "super":
                base = base[:-1]
            parts.pop(0)
        wanted = (*base, *parts)
        candidates = self._by_name.get(name, [])
        for each in candidates:
            if each.scope == wanted:
                return each
        below = [each for each in candidates if each.scope[len(each.scope) - len(parts) :] == tuple(parts)]
        if below:
            return max(below, key=lambda each: _common(each.scope, wanted))
        return candidates[0] if len(candidates) == 1 and exact else None


def _simple(node: Node, items: tuple[Node, ...]) -> Node:
    constants = tuple(item.record for item in items if isinstance(item, Nothing))
    return Nothing(constants or None) if len(constants) == len(items) else node


def _words(kind: TypeName) -> set[str]:
    """All names in a type as it is written."""
    found: set[str] = set()
    pending = [kind]
    while pending:
        inside = pending.pop()
        found.update(inside.path)
        pending += inside.arguments
    return found


def _common(one: Scope, other: Scope) -> int:
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n
