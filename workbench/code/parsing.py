"""Rules out of pasted Rust: the chain of builder calls that loads weights, as people have it in their code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import tree_sitter
import tree_sitter_rust

from workbench.code.literals import text_of_literal
from workbench.errors import MappingError, RuleError, printable
from workbench.mapping import Rule

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["Call", "ParsedCode", "rules_from_code"]

MAX_TEXT: Final = 4 << 20
_SHOWN: Final = 120
_RULES: Final = frozenset({"with_key_remap", "with_key_remapping", "with_remap_pattern", "add_pattern"})
_TEXTS: Final = frozenset(
    {"with_top_level_key", "with_regex", "with_full_path", "map_indices_contiguous_except", "with_from_adapter"}
)
_LISTS: Final = frozenset({"with_regexes", "with_full_paths", "from_patterns", "from_pattern_iter"})
_FLAGS: Final = frozenset({"map_indices_contiguous", "skip_enum_variants", "allow_partial", "validate"})
_OTHERS: Final = frozenset(
    {"with_debug_print", "with_adapter_type", "filter", "with_filter", "remap", "with_predicate", "with_predicates"}
    | {"match_all", "from_compiled_patterns"}
)
_STORES: Final = frozenset({"PytorchStore", "SafetensorsStore", "BurnpackStore"})
_SAME_TEXT: Final = frozenset({"to_string", "into", "to_owned", "as_str", "as_ref", "clone"})
_MAKES_TEXT: Final = frozenset({"String::from", "Some"})
_CALLS: Final = _RULES | _TEXTS | _LISTS | _FLAGS | _OTHERS


@dataclass(frozen=True, slots=True)
class Call:
    """A call that concerns the mapping but did not become a part of it: where it stands, its source and why."""

    line: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class ParsedCode:
    """What a piece of loading code says about a mapping, in the order of the source.

    None, or nothing in a tuple: the code does not say. `include` are the patterns and `paths` the exact names of its
    filter, which Burn tests on the names in the model. What is in `not_understood` is in none of the others.
    """

    rules: tuple[Rule, ...] = ()
    api: str | None = None
    top_level_key: str | None = None
    reindex: bool | None = None
    keep_indices: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    skip_enum_variants: bool | None = None
    adapt: bool | None = None
    allow_partial: bool | None = None
    debug: bool = False
    not_understood: tuple[Call, ...] = ()


def rules_from_code(text: str) -> ParsedCode:
    """The rules and options of the builder calls in `text`: a whole file, a statement, or only the calls.

    Literals are decoded exactly; constants and variables count where the text gives them one literal. What is
    computed, or no regex, is listed in `not_understood`. MappingError where there is no such call at all.

    >>> rules_from_code('.with_key_remap("conv\\\\\\\\.(.*)", "$1")').rules
    (Rule(pattern='conv\\\\.(.*)', replacement='$1'),)
    """
    if len(text) > MAX_TEXT:
        raise _error(f"This text has {len(text):,} characters; code that loads weights has fewer than {MAX_TEXT:,}.")
    source = _complete(text).encode("utf-8", "replace")
    root = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language())).parse(source).root_node
    reading = _Reading(source)
    calls = list(_calls(root, reading))
    reading.note_names(root)
    for name, node, arguments in calls:
        reading.take(name, node, arguments)
    if not calls:
        raise _error("There is no call of with_key_remap, with_key_remapping or the like in this text.")
    return reading.result()


def _complete(text: str) -> str:
    """A chain that begins with a dot hangs on something; only the line numbers have to stay."""
    bare = text.lstrip()
    while bare.startswith(("//", "/*")):
        end = bare.find("\n") + 1 if bare.startswith("//") else bare.find("*/") + 2
        if end < 2:
            break
        bare = bare[end:].lstrip()
    at = len(text) - len(bare)
    return f"{text[:at]}x{bare}" if bare.startswith(".") else text


def _error(title: str) -> MappingError:
    return MappingError(title, next_step="Paste the Rust code that loads the weights.", code="no-rules-in-code")


def _walk(root: Node) -> Iterator[Node]:
    """Every node, what is inside before what it is inside of, in source order otherwise; without recursion."""
    pending: list[tuple[Node, bool]] = [(root, False)]
    while pending:
        node, is_open = pending.pop()
        if is_open:
            yield node
            continue
        pending.append((node, True))
        pending += [(child, False) for child in reversed(node.named_children)]


def _calls(root: Node, reading: _Reading) -> Iterator[tuple[str, Node, list[Node]]]:
    """Calls that concern a mapping, with the arguments. `a.b(1).c(2)` gives b before c."""
    for node in _walk(root):
        if node.type != "call_expression":
            continue
        function, given = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or given is None:
            continue
        is_path = function.type == "scoped_identifier"
        named = function.child_by_field_name("name" if is_path else "field")
        if is_path:
            reading.note_store(node, reading.text(function).split("::"))
        if named is not None and (name := reading.text(named)) in _CALLS:
            arguments = [child for child in given.named_children if "comment" not in child.type]
            yield name, node, arguments


class _Reading:
    """What was read so far."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._names: dict[str, str | None] = {}
        self._rules: list[Rule] = []
        self._lists: dict[str, list[str]] = {"keep": [], "include": [], "paths": []}
        self._flags: dict[str, bool] = {}
        self._key: str | None = None
        self._api: str | None = None
        self._missed: list[Call] = []

    def result(self) -> ParsedCode:
        flags = self._flags
        return ParsedCode(
            tuple(self._rules),
            self._api,
            self._key,
            flags.get("map_indices_contiguous"),
            tuple(self._lists["keep"]),
            tuple(self._lists["include"]),
            tuple(self._lists["paths"]),
            flags.get("skip_enum_variants"),
            flags.get("adapt"),
            flags.get("allow_partial"),
            flags.get("debug", False),
            tuple(self._missed),
        )

    def text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def note_store(self, node: Node, path: list[str]) -> None:
        """Which API it is; a second store among the calls is said, for rules have one order."""
        if path[-1] not in ("new", "from_file", "from_bytes", "from"):
            return
        store = path[-2]
        if store != "LoadArgs" and store not in _STORES:
            return
        if self._api is not None:
            why = "another load begins here, and its calls stand together with those before it"
            self._missed.append(Call(node.start_point[0] + 1, f"{store}::{path[-1]}", why))
        self._api = "burn-import" if store == "LoadArgs" else "burn-store"

    def note_names(self, root: Node) -> None:
        """Constants and variables that are one literal; a name that is given twice, or changes, is none."""
        for node in _walk(root):
            if node.type in ("const_item", "static_item", "let_declaration"):
                name = node.child_by_field_name("name") or node.child_by_field_name("pattern")
                value = node.child_by_field_name("value")
                is_fixed = value is not None and all(child.type != "mutable_specifier" for child in node.children)
                if name is not None and name.type == "identifier":
                    is_first = self.text(name) not in self._names and is_fixed
                    self._names[self.text(name)] = self._string(value, follow=False) if is_first and value else None
                elif name is not None:
                    self._note_bound(name)
            elif node.type in ("parameter", "for_expression", "match_arm", "let_condition"):
                bound = node.child_by_field_name("pattern")
                if bound is not None:
                    self._note_bound(bound)
            elif node.type == "closure_parameters":
                self._note_bound(node)

    def _note_bound(self, pattern: Node) -> None:
        for node in _walk(pattern):
            if node.type == "identifier":
                self._names[self.text(node)] = None

    def take(self, name: str, node: Node, arguments: list[Node]) -> None:
        why = self._taken(name, arguments)
        if why:
            field = node.child_by_field_name("arguments")
            shown = f"{name}{self.text(field) if field else ''}"
            place = field or node
            self._missed.append(Call(place.start_point[0] + 1, printable(shown, _SHOWN), why))

    def _taken(self, name: str, arguments: list[Node]) -> str:
        """Takes the call up; says why it cannot."""
        if name in _RULES:
            return self._rule(arguments)
        if name in _FLAGS:
            word = self.text(arguments[0]) if len(arguments) == 1 else ""
            if word not in ("true", "false"):
                return "neither true nor false stands in it"
            self._flags[name] = word == "true"
            return "" if name != "validate" else "a mapping does not say whether Burn validates"
        if name in _LISTS:
            return self._list(name, arguments)
        if name == "with_debug_print":
            self._flags["debug"] = True
            return ""
        if name in ("with_from_adapter", "with_adapter_type"):
            return self._adapter(arguments)
        if name in _TEXTS:
            return self._one_text(name, arguments)
        inside = arguments[0] if len(arguments) == 1 else None
        is_inline = name in ("filter", "with_filter", "remap") and inside is not None and "call" in inside.type
        return "" if is_inline else "it is not made of texts"

    def _rule(self, arguments: list[Node]) -> str:
        texts = [self._string(argument) for argument in arguments]
        if len(texts) != 2 or texts[0] is None or texts[1] is None:
            return "its two arguments are not both string literals"
        return self._add_rule(texts[0], texts[1])

    def _add_rule(self, pattern: str, replacement: str) -> str:
        try:
            self._rules.append(Rule(pattern, replacement))
        except RuleError as error:
            return f"its pattern is no regex: {error.reason}"
        return ""

    def _one_text(self, name: str, arguments: list[Node]) -> str:
        text = self._string(arguments[0]) if len(arguments) == 1 else None
        if text is None:
            return "its argument is not a string literal"
        if name == "with_top_level_key":
            self._key = text
        else:
            place = {"with_regex": "include", "with_full_path": "paths"}.get(name, "keep")
            self._lists[place].append(text)
        return ""

    def _adapter(self, arguments: list[Node]) -> str:
        word = self.text(arguments[0]).rpartition("::")[2] if len(arguments) == 1 else ""
        known = {"PyTorchToBurnAdapter": True, "PyTorch": True, "NoAdapter": False, "IdentityAdapter": False}
        if word not in known:
            return "it is an adapter that a mapping does not know"
        self._flags["adapt"] = known[word]
        return ""

    def _list(self, name: str, arguments: list[Node]) -> str:
        items = _items(arguments[0]) if len(arguments) == 1 else None
        if items is None:
            return "its argument is not a list that is written out"
        if name in ("with_regexes", "with_full_paths"):
            texts = [self._string(item) for item in items]
            if None in texts:
                return "not every item is a string literal"
            place = "include" if name == "with_regexes" else "paths"
            self._lists[place] += [text for text in texts if text is not None]
            return ""
        pairs = [[self._string(part) for part in _items(item) or ()] for item in items]
        if any(len(pair) != 2 or None in pair for pair in pairs):
            return "not every item is a pair of string literals"
        whys = [self._add_rule(pair[0] or "", pair[1] or "") for pair in pairs]
        return next((why for why in whys if why), "")

    def _string(self, node: Node, *, follow: bool = True) -> str | None:
        """The text that an argument certainly is."""
        while True:
            if node.type in ("string_literal", "raw_string_literal"):
                return text_of_literal(self.text(node))
            if node.type == "identifier":
                return self._names.get(self.text(node)) if follow else None
            inner: Node | None = None
            if node.type in ("reference_expression", "parenthesized_expression"):
                inner = node.child_by_field_name("value") or next(iter(node.named_children), None)
            elif node.type == "call_expression":
                inner = self._unwrapped(node)
            if inner is None:
                return None
            node = inner

    def _unwrapped(self, call: Node) -> Node | None:
        function, given = call.child_by_field_name("function"), call.child_by_field_name("arguments")
        if function is None or given is None:
            return None
        field = function.child_by_field_name("field")
        if field is not None and self.text(field) in _SAME_TEXT and not given.named_children:
            return function.child_by_field_name("value")
        if self.text(function) in _MAKES_TEXT and len(given.named_children) == 1:
            return given.named_children[0]
        return None


def _items(node: Node) -> list[Node] | None:
    """What stands in an array, a tuple or ``vec![..]``; inside a macro only literals and brackets can be told."""
    while node.type == "reference_expression" and (inner := node.child_by_field_name("value")) is not None:
        node = inner
    if node.type == "macro_invocation":
        trees = [child for child in node.named_children if child.type == "token_tree"]
        return _plain(trees[0]) if len(trees) == 1 else None
    if node.type == "token_tree":
        return _plain(node)
    if node.type in ("array_expression", "tuple_expression"):
        return [child for child in node.named_children if "comment" not in child.type]
    return None


def _plain(tree: Node) -> list[Node] | None:
    """The items of a token tree of literals, or of brackets, with nothing but commas between them."""
    found = [child for child in tree.children[1:-1] if "comment" not in child.type]
    items, commas = found[::2], found[1::2]
    wanted = ("string_literal", "raw_string_literal", "token_tree")
    if any(item.type not in wanted for item in items) or any(comma.type != "," for comma in commas):
        return None
    return items
