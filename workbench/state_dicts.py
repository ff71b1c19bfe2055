"""Which state_dicts are in a file, which of them a person most likely means, and which are copies of one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

from workbench.core import sharing
from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict, Opaque, module_parts, table_entries

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = [
    "KNOWN_KEYS",
    "Candidate",
    "Copy",
    "StateDict",
    "candidates",
    "copies",
    "is_copy",
    "is_training_state",
    "likeliest_first",
    "state_dicts",
]

_PICKLED: Final = frozenset({"torch-zip", "torch-legacy", "torch-tar", "pickle", "torch-shards"})

KNOWN_KEYS: Final = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "model_state",
    "params",
    "params_ema",
    "generator",
    "netG",
    "g",
    "G",
    "encoder",
    "backbone",
    "student",
    "model_weights",
    "ema_state_dict",
    "state",
)
"""Top-level keys that programs give to weights, the usual ones first."""

_COPIES: Final = ("ema", "averaged", "shadow", "swa", "polyak")
_TRAINING: Final = (
    "optim", "scheduler", "scaler", "lr_sched", "amp", "loss", "callback", "rng", "grad", "loops", "momentum",
)  # fmt: skip
_LEAVES: Final = frozenset(
    [
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "momentum_buffer",
        "square_avg",
        "acc_delta",
        "step_size",
        "prev",
        "sum",
        "exp_inf",
    ]
)

_MAX_COMPARED: Final = 16
"""State_dicts of a file that are compared with each other."""

_Path = tuple[str | int, ...]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StateDict:
    """A place in a file that holds the weights of a model: `class_path` of a model saved whole, "" for a dict."""

    path: _Path
    class_path: str
    tensors: tuple[tuple[str, TensorRef], ...]

    @property
    def key(self) -> str:
        """The top-level key, "" for the file itself."""
        return ".".join(map(str, self.path))

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.nbytes for _, tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A top-level key with state_dicts at or below it; `copy_of` is the key it is an averaged copy of, or ""."""

    key: str
    n_tensors: int
    nbytes: int
    copy_of: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """A state_dict with the keys and shapes of one before it; `both` are the tensors of the two, by key below them.

    `n_tied` of these pairs are one tensor in the file.
    """

    first: StateDict
    other: StateDict
    both: dict[str, tuple[TensorRef, TensorRef]]
    n_tied: int


def state_dicts(checkpoint: Checkpoint) -> tuple[StateDict, ...]:
    """The whole models and state_dicts of a file, in file order; not what optimizers keep.

    A file that is no pickle has one, all of it. A dict around others counts where it has more tensors itself.
    """
    if checkpoint.format not in _PICKLED:
        return (StateDict((), "", checkpoint.under(None)),) if checkpoint.tensors else ()
    places = dict(_places(checkpoint.tree))
    below: dict[_Path, list[tuple[str, TensorRef]]] = {path: [] for path in places}
    depths = sorted({len(path) for path in places})
    for tensor in checkpoint.tensors:
        for depth in depths:
            found = below.get(tensor.path[:depth])
            if found is None or len(tensor.path) <= depth:
                continue
            if places[tensor.path[:depth]] or len(tensor.path) == depth + 1:
                found.append((".".join(map(str, tensor.path[depth:])), tensor))
                break
    all_found = [StateDict(path, places[path], tuple(tensors)) for path, tensors in below.items() if tensors]
    weighty = [each for each in all_found if any(tensor.shape for _, tensor in each.tensors)]
    return tuple(each for each in weighty if not _is_outdone(each, weighty)) or tuple(all_found[:1])


def candidates(checkpoint: Checkpoint) -> tuple[Candidate, ...]:
    """The top-level keys that may hold the weights, the likeliest first: not those of optimizers and the like."""
    return _once(checkpoint, "_candidates", _candidates)


def copies(checkpoint: Checkpoint) -> tuple[Copy, ...]:
    """The state_dicts that have the same keys and shapes as a likelier one: EMA and raw copies.

    One without the counters of the other is its copy too.
    """
    return _once(checkpoint, "_copies", _copies)


def _once(checkpoint: Checkpoint, name: str, make: Callable[[Checkpoint], _T]) -> _T:
    """What `make` says of a checkpoint, kept with it: diagnosis asks anew after each change of a mapping."""
    known = checkpoint.__dict__
    if name not in known:
        known[name] = make(checkpoint)
    return cast(_T, known[name])


def _copies(checkpoint: Checkpoint) -> tuple[Copy, ...]:
    found = likeliest_first(state_dicts(checkpoint))[:_MAX_COMPARED]
    named = [dict(each.tensors) for each in found] if len(found) > 1 else []
    pairs = []
    for n in range(1, len(found)):
        for before in range(n):
            mine, others = named[n], named[before]
            both = {key: (others[key], mine[key]) for key in mine if key in others}
            alike = len(both) >= min(len(mine), len(others)) and 2 * len(both) > max(len(mine), len(others))
            if alike and all(one.shape == other.shape for one, other in both.values()):
                pairs.append(Copy(found[before], found[n], both, _n_tied(both)))
                break
    return tuple(pairs)


def _n_tied(both: dict[str, tuple[TensorRef, TensorRef]]) -> int:
    groups = sharing.ties(tensor for pair in both.values() for tensor in pair)
    group_of = {id(tensor): n for n, group in enumerate(groups) for tensor in group}
    return sum(group_of.get(id(one), -1) == group_of.get(id(other), -2) for one, other in both.values())


def _candidates(checkpoint: Checkpoint) -> tuple[Candidate, ...]:
    if not checkpoint.top_level_keys:
        return ()
    tensors = checkpoint.tensors
    rows: dict[str, list[int]] = {}
    for row, tensor in enumerate(tensors):
        if len(tensor.path) > 1:
            rows.setdefault(str(tensor.path[0]), []).append(row)
    entries = [
        each
        for each in checkpoint.top_level_keys
        if not is_training_state(each.key) and not any(str(tensors[row].path[-1]) in _LEAVES for row in rows[each.key])
    ]
    holding = {str(each.path[0]) for each in state_dicts(checkpoint) if each.path} if entries else set()
    entries = [each for each in entries if each.key in holding] or entries
    kinds = {
        each.key: Counter((tensors[row].shape, tensors[row].dtype.name) for row in rows[each.key]) for each in entries
    }
    found = []
    for each in entries:
        of = ""
        if is_copy(each.key):
            # A copy has the same tensors, but perhaps not the counters.
            alike = [
                other
                for other in entries
                if not is_copy(other.key) and sum((kinds[each.key] & kinds[other.key]).values()) * 2 > other.n_tensors
            ]
            of = alike[0].key if alike else ""
        found.append(Candidate(each.key, each.n_tensors, each.nbytes, of))
    return tuple(sorted(found, key=lambda each: (bool(each.copy_of), _rank(each.key, each.n_tensors, each.nbytes))))


def likeliest_first(found: Iterable[StateDict]) -> list[StateDict]:
    """State_dicts in the order of `candidates`: copies and what training keeps after the others."""

    def rank(each: StateDict) -> tuple[bool, tuple[int, int, int]]:
        last = is_copy(each.key) or (bool(each.path) and is_training_state(str(each.path[0])))
        return last, _rank(each.key, len(each.tensors), each.nbytes)

    return sorted(found, key=rank)


def is_training_state(key: str) -> bool:
    """Whether a top-level key is by its name what training needs beside the weights."""
    low = key.lower()
    return any(low.startswith(word) or f"_{word}" in low for word in _TRAINING)


def is_copy(key: str) -> bool:
    """Whether a key is by its name an averaged copy of the weights."""
    low = key.lower()
    return any(word in low.replace("-", "_").replace(".", "_").split("_") for word in _COPIES)


def _rank(key: str, n_tensors: int, nbytes: int) -> tuple[int, int, int]:
    return -n_tensors, -nbytes, KNOWN_KEYS.index(key) if key in KNOWN_KEYS else len(KNOWN_KEYS)


def _places(tree: object) -> Iterator[tuple[_Path, str]]:
    """Path and class of what may be a state_dict: modules, and dicts with tensors of their own."""
    waiting: list[tuple[_Path, object]] = [((), tree)]
    seen: set[int] = set()
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Opaque) and module_parts(node) is not None:
            yield path, node.class_path
            continue
        if not isinstance(node, (Dict, Opaque, list, tuple)) or _is_optimizer(node):
            continue
        children = [(key, child) for key, child in table_entries(node) or () if isinstance(key, (str, int))]
        if not isinstance(node, (list, tuple)) and any(isinstance(child, TensorRef) for _, child in children):
            yield path, ""
        waiting += [((*path, key), child) for key, child in reversed(children) if not isinstance(child, TensorRef)]


def _is_optimizer(node: object) -> bool:
    return isinstance(node, Dict) and {"state", "param_groups"} <= {key for key, _ in node.pairs if type(key) is str}


def _is_outdone(each: StateDict, others: Sequence[StateDict]) -> bool:
    """Whether it is a dict with a few tensors around the one that is meant."""
    depth = len(each.path)
    return not each.class_path and any(
        len(other.path) > depth and other.path[:depth] == each.path and len(other.tensors) > len(each.tensors)
        for other in others
    )
