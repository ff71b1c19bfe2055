"""TorchScript programs (torch.jit.save): their parameters and buffers under the names of state_dict().

`data.pkl` is the object of the program: attributes of a `__torch__` class hold parameters, buffers, children and
constants all alike. Which tensors are parameters and which are buffers, the lists `__parameters__` and `__buffers__`
of that class in `code/` say; the code is looked through for these lines and never run. A buffer is a buffer here
whether it was persistent or not: TorchScript does not keep that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from workbench.core.beside import Beside, beside_of
from workbench.core.tensor import TensorRef
from workbench.core.text import bytes_text, count_text
from workbench.core.tree import Dict, Opaque
from workbench.core.written import Written
from workbench.errors import printable
from workbench.finding import Finding, Severity
from workbench.formats.contents import Contents, findings_beside, fingerprint, table
from workbench.formats.pickle.global_node import Global
from workbench.formats.pickle.names import Effect, Kind
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_storages import CXX_STORAGES, Storages, byte_order, needed, run_pickle, text_of
from workbench.formats.zip_directory import ZipDirectory

__all__ = ["name", "plain_class", "read_zip"]

name: Final = "torchscript"

_MAX_CODE: Final = 64 << 20
_NEEDED: Final = Effect(Kind.NEEDED)
_TAGGED: Final = frozenset(
    f"torch.jit._pickle.{of}"
    for of in ("build_intlist", "build_floatlist", "build_boollist", "build_tensorlist", "restore_type_tag")
)
_LINE: Final = re.compile(
    rb"^(?:class (?:([^\s(:]{1,1000})(?:\((\w+)\))?:)?|  (__parameters__|__buffers__) = \[(.*)\])", re.MULTILINE
)
_TEXT: Final = re.compile(rb'\s*"((?:[^"\\]|\\.)*+)",?')
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))")
_MANGLED: Final = re.compile(r"___torch_mangle_[0-9]+")


def plain_class(class_path: str) -> str:
    """The class a program was made from.

    >>> plain_class("__torch__.torch.nn.modules.conv.___torch_mangle_3.Conv2d")
    'torch.nn.modules.conv.Conv2d'
    """
    parts = [part for part in class_path.split(".") if not _MANGLED.fullmatch(part)]
    return ".".join(parts[1:] if parts[0] == "__torch__" and len(parts) > 1 else parts)


class _ScriptBuilder(TreeBuilder):
    """Knows the names that only programs have: their own classes, the tags of typed lists, storages of newer dtypes."""

    def __init__(self, storages: Storages, entry: str) -> None:
        super().__init__(storages.resolve, entry)
        self._own: dict[str, Global] = {}

    def name(self, module: object, name: object, at: int) -> object:
        if type(module) is str and type(name) is str:
            path = f"{module}.{name}"
            if module == "__torch__" or module.startswith("__torch__.") or path in _TAGGED or path in CXX_STORAGES:
                known = self._own.get(path)
                if known is None:
                    known = self._own[path] = Global(path, _NEEDED)
                return known
        return super().name(module, name, at)

    def call(self, function: object, args: object, at: int, opcode: str, kwargs: object = None) -> object:
        if type(function) is Global and self._own.get(function.class_path) is function:
            function.n_called += 1
            if function.class_path not in _TAGGED:
                return Opaque(function.class_path, args, kwargs=kwargs)
            if type(args) is tuple and 1 <= len(args) <= 2 and opcode == "REDUCE":
                self.called(function, 0)
                return args[0]
        return super().call(function, args, at, opcode, kwargs)


def read_zip(directory: ZipDirectory, root: str) -> Contents:
    """Parameters and buffers of the program below `root`; its constants are listed beside them."""
    byteorder = byte_order(directory, root)
    findings = list(directory.findings)
    storages = Storages(directory, root, byteorder == "big")
    constants = Storages(directory, root, byteorder == "big", folder="constants/")
    trees: list[object] = []
    raw: list[bytes] = []
    names: dict[str, str] = {}
    written: Written | None = None
    for entry_name, of in (("data.pkl", storages), ("constants.pkl", constants)):
        if directory.find(f"{root}{entry_name}") is None:
            findings.append(
                Finding(
                    "no-data-pkl",
                    Severity.WARNING,
                    f"entry {printable(root, 80)}{entry_name}",
                    f"The record `{entry_name}` is missing: torch.jit.load refuses this file.",
                    "Fetch the file again.",
                )
            )
            trees.append(None)
            continue
        entry = needed(directory, f"{root}{entry_name}")
        raw.append(directory.read(entry))
        builder = _ScriptBuilder(of, entry.place)
        trees.append(run_pickle(directory, raw[-1], builder, entry))
        names |= builder.kinds()
        written = written or builder.written(directory.names[0])
        findings += builder.findings()
        findings += of.findings()
    tree, classes = _modules(trees[0], directory, root, findings)
    tensors = table(tree)
    beside, n_beside = beside_of(tree)
    findings += findings_beside(beside, n_beside)
    kept = _constants(trees[1])
    if kept:
        findings.append(_of_constants(kept, bool(tensors), root))
    metadata = {
        "root": root.rstrip("/"),
        "version": (text_of(directory, f"{root}version") or "").strip(),
        "byteorder": byteorder or "",
        "classes": f"{classes:,}" if classes else "",
        "constants": f"{count_text(len(kept), 'tensor')}, {bytes_text(sum(each.tensor.nbytes for each in kept))}"
        if kept
        else "",
        "traced": "yes" if directory.find(f"{root}traced_inputs.pkl") is not None else "",
    }
    return Contents(
        name,
        tree,
        tensors,
        tuple(findings),
        {key: value for key, value in metadata.items() if value},
        fingerprint(*raw, directory.raw),
        beside=(*beside, *kept),
        names=names,
        written=written or Written(),
    )


def _modules(tree: object, directory: ZipDirectory, root: str, findings: list[Finding]) -> tuple[object, int]:
    """The tree with each object of a `__torch__` class laid out as a saved module, and how many classes there are.

    Objects are changed in place, so that those shared stay shared. A class that the code does not tell of, or that is
    no module, keeps its attributes as they are, all its tensors counting as parameters.
    """
    code = _Code(directory, root)
    classes: set[str] = set()
    untold: list[str] = []
    seen = {id(tree)}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        children: list[object] = []
        if isinstance(node, Opaque):
            children = [node.state, node.args]
            if node.class_path.startswith("__torch__.") and isinstance(node.state, Dict):
                children = [value for _, value in node.state.pairs]
                classes.add(node.class_path)
                lists = code.lists(node.class_path)
                if lists is None:
                    untold.append(node.class_path)
                if lists is None or lists.is_module:
                    node.state = _as_module(node.state, lists, code)
                node.class_path = plain_class(node.class_path)
        elif isinstance(node, Dict):
            children = [value for _, value in node.pairs]
        elif isinstance(node, (list, tuple)):
            children = list(node)
        for child in children:
            if isinstance(child, (Opaque, Dict, list, tuple)) and id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
    if untold:
        names = ", ".join(f"`{printable(each, 100)}`" for each in list(dict.fromkeys(untold))[:3])
        text = (
            f"The program's code does not say which tensors of {names} are parameters; all of them are listed "
            f"as if they were{code.why}."
        )
        findings.append(Finding("no-parameter-lists", Severity.WARNING, f"entry {printable(root, 80)}code", text))
    return tree, len(classes)


@dataclass(frozen=True, slots=True)
class _Lists:
    """What the code says of one class."""

    is_module: bool
    parameters: frozenset[str] = frozenset()
    buffers: frozenset[str] = frozenset()


def _as_module(state: Dict, lists: _Lists | None, code: _Code) -> Dict:
    parameters: list[tuple[object, object]] = []
    buffers: list[tuple[object, object]] = []
    modules: list[tuple[object, object]] = []
    rest: list[tuple[object, object]] = []
    for key, value in state.pairs:
        if type(value) is not TensorRef:
            (modules if _is_module(value, code) else rest).append((key, value))
        elif lists is None or key in lists.parameters:
            parameters.append((key, value))
        else:
            (buffers if key in lists.buffers else rest).append((key, value))
    return Dict([("_parameters", Dict(parameters)), ("_buffers", Dict(buffers)), ("_modules", Dict(modules)), *rest])


def _is_module(node: object, code: _Code) -> bool:
    """Whether an object is a module; a shared one may have been laid out already."""
    if not isinstance(node, Opaque) or not isinstance(node.state, Dict):
        return False
    if not node.class_path.startswith("__torch__."):
        return "_modules" in node.state
    lists = code.lists(node.class_path)
    return lists is None or lists.is_module


class _Code:
    """The `__parameters__` and `__buffers__` lists of the classes in `code/`, file by file as they are asked for."""

    def __init__(self, directory: ZipDirectory, root: str) -> None:
        self._directory = directory
        self._root = root
        self._files: dict[str, dict[str, _Lists]] = {}
        self._read = 0
        self.why = ""

    def lists(self, class_path: str) -> _Lists | None:
        """The lists of a class, None when the code does not tell."""
        module, _, class_name = class_path.rpartition(".")
        known = self._files.get(module)
        if known is None:
            known = self._files[module] = self._scan(module)
        return known.get(class_name)

    def _scan(self, module: str) -> dict[str, _Lists]:
        entry_name = f"{self._root}code/{module.replace('.', '/')}.py"
        entry = self._directory.find(entry_name)
        if entry is None or self._directory.is_repeated(entry_name):
            return {}
        self._read += entry.size
        if self._read > _MAX_CODE:
            self.why = f" (its code is larger than {_MAX_CODE >> 20} MiB)"
            return {}
        found: dict[str, _Lists] = {}
        class_name = ""
        for match in _LINE.finditer(self._directory.read(entry)):
            if match[3] is None:
                class_name = (match[1] or b"").decode("utf-8", "replace")
                found[class_name] = _Lists(match[2] == b"Module")
            elif class_name:
                names, known = frozenset(_names(match[4])), found[class_name]
                is_parameters = match[3] == b"__parameters__"
                found[class_name] = replace(known, parameters=names) if is_parameters else replace(known, buffers=names)
        return found


def _names(raw: bytes) -> Iterator[str]:
    """The texts of a list, up to the first thing that is none."""
    at = 0
    while (match := _TEXT.match(raw, at)) is not None:
        yield _unquoted(match[1])
        at = match.end()


def _unquoted(raw: bytes) -> str:
    """A name as C++ quotes it: what is not printable ASCII as octal digits, byte by byte."""
    return _ESCAPE.sub(_unescape, raw).decode("utf-8", "replace") if b"\\" in raw else raw.decode("utf-8", "replace")


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)])
    if match[2]:
        return bytes([int(match[2], 8) & 0xFF])
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(match[3], match[3])


def _constants(tree: object) -> tuple[Beside, ...]:
    reason = "it is a constant of the program's code"
    return tuple(
        Beside(replace(tensor, key=f"CONSTANTS.c{tensor.key}", path=("CONSTANTS", f"c{tensor.key}")), reason)
        for tensor in table(tree)
    )


def _of_constants(kept: tuple[Beside, ...], has_tensors: bool, root: str) -> Finding:
    first = ", ".join(f"{each.tensor.key} {each.tensor.dtype.name} {list(each.tensor.shape)}" for each in kept[:4])
    more = ", .." if len(kept) > 4 else ""
    text = (
        f"The program's code uses {count_text(len(kept), 'constant tensor')} that no state_dict() names: {first}{more}."
    )
    if has_tensors:
        return Finding("script-constants", Severity.NOTE, f"entry {printable(root, 80)}constants.pkl", text)
    return Finding(
        "script-constants",
        Severity.WARNING,
        f"entry {printable(root, 80)}constants.pkl",
        f"{text} The program was frozen: its weights became constants without names.",
        "Get the program as it was before torch.jit.freeze, or its state_dict().",
    )
