"""Inventory: one walk over the tree of a file, for all that a reader of pickles could stumble over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict, Opaque, Set, StorageNode, module_parts, table_entries

__all__ = ["Inventory", "Stumble", "inventory", "kind_of"]


@dataclass(frozen=True, slots=True)
class Stumble:
    """One thing met: what it is, a name or type to quote, and when it came, children before what holds them."""

    what: str
    detail: str
    at: int


@dataclass(slots=True)
class Inventory:
    """The first of each kind of thing, and what copying the file's values costs a reader that copies.

    `copied_nodes` and `copied_bytes` count one copy for each time a value goes into the memo or comes out of it, as
    pytorch-reader does, for a file as torch writes it.
    """

    first: dict[str, Stumble] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    n_objects: int = 0
    holds_modules: bool = False
    copied_nodes: int = 0
    copied_bytes: int = 0

    def note(self, what: str, detail: str, at: int) -> None:
        """Keep the first of its kind."""
        if what not in self.first:
            self.first[what] = Stumble(what, detail, at)


def kind_of(node: object) -> str:
    """The Python type of a value, as a reader in Rust names it."""
    if type(node) is TensorRef:
        return "torch.Tensor"
    if type(node) is StorageNode:
        return "torch.TypedStorage"
    if isinstance(node, Dict):
        return "dict"
    if isinstance(node, Set):
        return "list"
    if isinstance(node, Opaque):
        return node.class_path
    if node is None:
        return "None"
    if type(node) is bytes:
        return "object"
    return type(node).__name__


def inventory(tree: object) -> Inventory:
    """Everything a file holds, each node once, children first."""
    found = Inventory()
    held: dict[int, bool] = {}
    sizes: dict[int, int] = {}
    order = 0
    stack: list[tuple[object, bool]] = [(tree, False)]
    while stack:
        node, is_done = stack.pop()
        kind = type(node)
        if kind is TensorRef:
            _tensors(found, [node], held, order)  # type: ignore[list-item]
            order += 1
            continue
        if kind is str:
            _text(found, node, order)  # type: ignore[arg-type]
            continue
        if kind not in _CONTAINERS:
            continue
        if not is_done:
            if id(node) in held:
                found.copied_nodes += sizes.get(id(node), 1) if _is_whole_again(node) else 1
                continue
            held[id(node)] = False
            stack.append((node, True))
            children = [child for child in _children(node) if type(child) in _ENTERED]
            if kind is Dict:
                _keys(found, node, order)  # type: ignore[arg-type]
            if set(map(type, children)) == {TensorRef}:
                _tensors(found, children, held, order)  # type: ignore[arg-type]
            else:
                children.reverse()
                stack.extend((child, False) for child in children)
            continue
        order += 1
        _leave(found, node, held, sizes, order)
    return found


_ENOUGH = 1 << 40
_CONTAINERS = frozenset({Dict, Opaque, list, tuple, Set})
_ENTERED = _CONTAINERS | {TensorRef, str}


def _is_whole_again(node: object) -> bool:
    """Whether what is taken from the memo has its entries."""
    return isinstance(node, (tuple, Opaque)) or (isinstance(node, Dict) and node.attributes is not None)


def _children(node: object) -> Iterator[object]:
    if isinstance(node, Dict):
        for _, value in node.pairs:
            yield value
        yield node.attributes
    elif isinstance(node, Opaque):
        yield node.args
        yield node.kwargs
        if node.pairs is not None:
            yield node.pairs
        yield from node.items or ()
        yield node.state
    elif isinstance(node, Set):
        yield from node.items
    elif isinstance(node, (list, tuple)):
        yield from node


def _tensors(found: Inventory, tensors: list[TensorRef], held: dict[int, bool], order: int) -> None:
    fresh = {id(tensor): tensor for tensor in tensors if id(tensor) not in held}
    held.update(dict.fromkeys(fresh, True))
    for name in dict.fromkeys(tensor.dtype.name for tensor in fresh.values()):
        found.dtypes.setdefault(name, order)
    found.copied_nodes += len(tensors) - len(fresh)
    # The call, storage, shape and strides of each, as torch writes them; its key is counted with the dict.
    for rank, n in Counter(len(tensor.shape) for tensor in fresh.values()).items():
        found.copied_nodes += n * (23 + 4 * rank if rank else 21)
    found.copied_bytes += 40 * len(fresh)


def _text(found: Inventory, text: str, order: int) -> None:
    found.copied_nodes += 1
    found.copied_bytes += len(text) if text.isascii() else _encoded(found, text, order)


def _encoded(found: Inventory, text: str, order: int) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        found.note("bad-text", "", order)
        return len(text)


def _keys(found: Inventory, node: Dict, order: int) -> None:
    n = len(node)
    keys = list(node)
    if set(map(type, keys)) == {str} and (joined := "".join(keys)).isascii():  # type: ignore[arg-type]
        found.copied_nodes += n
        found.copied_bytes += len(joined)
        return
    for key in keys:
        kind = type(key)
        if kind is str:
            _text(found, key, order)  # type: ignore[arg-type]
        elif kind is int:
            if n == 1 or (node.class_name != "dict" and n % 1000 == 1):
                found.note("lone-int-key", str(key), order)
        else:
            found.note("odd-key", kind_of(key), order)
            found.note("first-odd-key-is-alone" if n == 1 else "first-odd-key-is-one-of-many", _debug(key), order)


def _debug(key: object) -> str:
    """A key as Rust's Debug prints the value that burn-store makes of it."""
    if key is None:
        return "None"
    if type(key) is bool:
        return f"Bool({str(key).lower()})"
    if type(key) is float:
        return f"Float({key!r})"
    if type(key) is tuple and all(type(item) is int for item in key):
        return f"Tuple([{', '.join(f'Int({item})' for item in key)}])"
    return ""


def _leave(found: Inventory, node: object, held: dict[int, bool], sizes: dict[int, int], order: int) -> None:
    holds = _holds
    if isinstance(node, Dict):
        held[id(node)] = any(holds(value, held) for _, value in node.pairs)
        found.copied_nodes += 1  # Copied before its entries come, and whole once its attributes are set.
        size = _size((value for _, value in node.pairs), sizes)
        if isinstance(node.attributes, Dict):
            size += sizes.get(id(node.attributes), 1) - 1
        if node.attributes is not None:
            found.copied_nodes += size
            if not isinstance(node.attributes, Dict) and holds(node.attributes, held):
                found.note("dict-with-tensors", "dict with tensor-bearing state", order)
        sizes[id(node)] = size
        if node.class_name not in ("dict", "OrderedDict") and len(node):
            found.note("filled", "SetItem" if len(node) == 1 else "SetItems", order)
            found.note("filled-class", f"collections.{node.class_name}", order)
    elif isinstance(node, Opaque):
        _leave_object(found, node, held, sizes, order)
    elif isinstance(node, (Set, list, tuple)):
        items = node.items if isinstance(node, Set) else node
        held[id(node)] = any(holds(item, held) for item in items)
        sizes[id(node)] = size = _size(items, sizes)
        # A tuple is copied whole, but for the empty one; a list before its items come.
        if isinstance(node, tuple):
            found.copied_nodes += size if node else 0
        else:
            found.copied_nodes += 1


def _size(children: Iterable[object], sizes: dict[int, int]) -> int:
    """Values in a container, itself among them; a shared one counts each time, up to what no reader copies."""
    get = sizes.get
    return min(1 + sum(get(id(child), 1) for child in children), _ENOUGH)


def _leave_object(found: Inventory, node: Opaque, held: dict[int, bool], sizes: dict[int, int], order: int) -> None:
    parts = module_parts(node)
    is_module = parts is not None and parts[1] is not None and type(node.state) is Dict
    if node.args is None and node.state is None and node.pairs is None and node.items is None:
        return  # A bare name.
    found.n_objects += 1
    found.copied_nodes += 1
    if _holds(node.args, held) or _holds(node.kwargs, held):
        found.note("object-with-tensors", node.class_path, order)
    for filling, one, many in ((node.pairs, "SetItem", "SetItems"), (node.items, "Append", "Appends")):
        if filling is not None and len(filling):
            found.note("filled", one if len(filling) == 1 else many, order)
            found.note("filled-class", node.class_path, order)
    if is_module:
        found.holds_modules = True
        children = [child for _, child in table_entries(node) or ()]
        held[id(node)] = any(_holds(child, held) for child in children)
        sizes[id(node)] = _size(children, sizes)
        found.copied_nodes += sizes[id(node)]
    elif _holds(node.state, held):
        found.note("object-with-tensors", node.class_path, order)


def _holds(node: object, held: dict[int, bool]) -> bool:
    """Whether a node carries tensor data, by what was found below it."""
    kind = type(node)
    if kind is TensorRef:
        return node.storage.source is not None  # type: ignore[attr-defined]
    return kind is StorageNode or held.get(id(node), False)
