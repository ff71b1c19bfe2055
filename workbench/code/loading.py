"""What loading code of one Burn version has to say for a plan, and what it cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from workbench.burn import Reader, reader_for, sight
from workbench.code.literals import rust_literal
from workbench.errors import MappingError, printable
from workbench.mapping import regex
from workbench.mapping.reindex import reindexed

if TYPE_CHECKING:
    from workbench.mapping import Mapping, Plan
    from workbench.mapping.mapping import Route

__all__ = ["Loading", "loading_of"]

_NO_NAME: Final = "model"
_SUFFIXES: Final = {"safetensors": ".safetensors", "burnpack": ".bpk", "mpk": ".mpk"}
_IN_BURNS_LAYOUT: Final = ("burnpack", "mpk")
_MAX_PATHS: Final = 1_000
_TWINS: Final = {"weight": "gamma", "bias": "beta"}


@dataclass(frozen=True, slots=True)
class Loading:
    """The builder calls of `reader` that carry out a plan, without the call that makes the store.

    `gaps` are sentences, of our words alone, on what the plan holds and these calls do not: where there are any, the
    exported file is the one to load. `notes` are other things to know. `file` is the name of the file as a literal,
    `route` which of the two it is.
    """

    reader: Reader
    file: str
    calls: tuple[str, ...]
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    adapts: bool
    route: Route = "original"
    half: bool = False


def loading_of(plan: Plan, container: str, route: Route | None = None, *, half: bool = False) -> Loading:
    """How Burn loads the file of `plan` (route "exported": the file of format `container` that we export).

    `route` None is that of the mapping. Where Burn has no loader with rules for the original file, the exported one is
    meant, and the gaps say so. `half`: an exported record (.mpk) is one of half precision. MappingError where there is
    no framework, or Burn has no loader for `container`.
    """
    mapping = plan.mapping
    if mapping.burn is None:
        raise MappingError(
            "There is no loading code without a framework.",
            next_step="Choose a version of Burn for the mapping.",
            code="no-framework",
        )
    reader = mapping.reader(plan.checkpoint.format)
    if (route or mapping.route) == "exported":
        return _exported(plan, reader, container, (), half)
    if not reader.store or not reader.has_rules:
        gap = "Burn has no loader with rules for a file of this format."
        return _exported(plan, reader, container, (gap,), half)
    return _original(plan, reader)


def _original(plan: Plan, reader: Reader) -> Loading:
    mapping = plan.mapping
    calls: list[str] = []
    gaps: list[str] = []
    notes: list[str] = []
    if plan.folded:
        gaps.append("The parameters that are computed from parts: Burn computes none.")
        plan = plan.unfolded
    if mapping.top_level_key is not None:
        key = _literal(mapping.top_level_key)
        if not reader.has_top_level_key:
            gaps.append("The top-level key: this reader always begins at the root.")
        elif key is None or _is_path(plan, mapping.top_level_key):
            gaps.append("The top-level key is a path or no valid text, and this reader takes one level.")
        else:
            calls.append(f".with_top_level_key({key})")
    calls += _rule_calls(mapping, reader)
    calls += _index_calls(mapping, reader, plan.checkpoint.format, gaps)
    calls += _selection_calls(plan, reader, gaps, notes)
    calls += _enum_calls(mapping, reader, gaps)
    adapts = _adapter_call(mapping, reader, gaps, calls)
    if mapping.layout.modules:
        gaps.append("The module types marked by hand: Burn goes by the types in your model.")
    if mapping.casts:
        gaps.append("The casts to other dtypes.")
    gaps += _sight_gaps(plan, reader)
    if len(set(plan.remapped)) < len(plan.remapped):
        notes.append("Several tensors get one name: Burn loads one of them and says nothing of the others.")
    name = _file_name(plan.checkpoint.path)
    return Loading(reader, name, tuple(calls), tuple(gaps), tuple(notes), adapts)


def _sight_gaps(plan: Plan, reader: Reader) -> Iterator[str]:
    """What the reader makes of the file itself."""
    top_level_key = plan.mapping.top_level_key
    if top_level_key is not None and _is_path(plan, top_level_key):
        return
    found = sight(reader, plan.checkpoint, top_level_key)
    if found.refused:
        yield "The whole file: this reader refuses it."
    elif any(is_taken and one.state != "right" for one, is_taken in zip(found.seen, plan.selected, strict=True)):
        yield "Some tensors: this reader does not see them, or gets other values."


def _exported(plan: Plan, original: Reader, container: str, gaps: tuple[str, ...], half: bool) -> Loading:
    """Code for a file that has its final names: no rules, no renumbering, no filter."""
    mapping = plan.mapping
    assert mapping.burn is not None
    reader = reader_for(mapping.burn, container, mapping.api)
    if not reader.store:
        raise MappingError(
            f"Burn {mapping.burn} has no loader for a file of format {printable(container, 40)}.",
            next_step="Export to safetensors, which all of them read.",
            code="no-reader",
        )
    found, notes = list(gaps), ["This loads the exported file, in which the names are final."]
    calls: list[str] = []
    if reader.closes_gaps and reader.can_switch_indices:
        calls.append(".map_indices_contiguous(false)")
    elif reader.closes_gaps:
        names = regex.column(list(plan.remapped))
        closed = reindexed(names, nested=reader.indices == "nested", dot_is_root=reader.dot_is_root)
        if closed.to_list() != list(plan.remapped):
            found.append("Indices with gaps: this reader always closes them.")
    if reader.has_rules:
        calls += _enum_calls(mapping, reader, found)
    adapts = _adapter(_is_left_to_the_loader(plan, original, container, found), reader, found, calls)
    if reader.reads and not _dtypes(plan) <= reader.reads:
        found.append("Some tensors: this reader has no such dtype.")
    name = rust_literal(_NO_NAME + _SUFFIXES.get(container, ".pt"))
    return Loading(reader, name, tuple(calls), tuple(found), tuple(notes), adapts, "exported", half)


def _is_left_to_the_loader(plan: Plan, original: Reader, container: str, gaps: list[str]) -> bool:
    """Whether an exported file has PyTorch's layout and the loader has to adapt it."""
    mapping = plan.mapping
    if container not in _IN_BURNS_LAYOUT:
        # The export adapts where it is told to; else it is the loader's turn, if it would have been with the original.
        return False if mapping.layout.adapt else _adapts(mapping, original)
    if mapping.layout.adapt is False or plan.checkpoint.format in _IN_BURNS_LAYOUT:
        return False
    unknown = any(
        tensor.key.endswith("weight") and len(tensor.shape) in (1, 2) and not plan.knows_type(row)
        for row, tensor in enumerate(plan.tensors)
    )
    if unknown and plan.in_burn.layouts:
        gaps.append("The layout of modules whose type is not known: the file has some in that of PyTorch.")
    return unknown and not plan.in_burn.layouts


def _dtypes(plan: Plan) -> set[str]:
    """Of what is exported."""
    rows = zip(plan.tensors, plan.selected.tolist(), strict=True)
    return {plan.casts.get(row, tensor.dtype.name) for row, (tensor, is_taken) in enumerate(rows) if is_taken}


def _rule_calls(mapping: Mapping, reader: Reader) -> Iterator[str]:
    name = {"burn-import": "with_key_remap"}.get(reader.api, "with_key_remapping")
    if reader.store == "BurnpackStore":
        name = "with_remap_pattern"
    for rule in mapping.rules:
        if rule.enabled:
            yield f".{name}({rust_literal(rule.pattern)}, {rust_literal(rule.replacement)})"


def _index_calls(mapping: Mapping, reader: Reader, container: str, gaps: list[str]) -> Iterator[str]:
    wanted = mapping.reindexes(container)
    if wanted != reader.closes_gaps:
        if reader.can_switch_indices:
            yield f".map_indices_contiguous({str(wanted).lower()})"
        else:
            gaps.append(f"Indices: this reader {'always' if reader.closes_gaps else 'never'} closes gaps.")
    if wanted and mapping.keep_indices:
        if reader.keep_lists:
            yield from (f".map_indices_contiguous_except({rust_literal(text)})" for text in mapping.keep_indices)
        else:
            gaps.append("The lists that keep their indices: this reader renumbers all or none.")


def _enum_calls(mapping: Mapping, reader: Reader, gaps: list[str]) -> Iterator[str]:
    wanted = mapping.skip_enum_variants
    if wanted is None or wanted == reader.skips_enum_variants:
        return
    if reader.skips_enum_variants is None:
        if wanted:
            gaps.append("Leaving out the names of enum variants: this reader has no switch for it.")
        return
    yield f".skip_enum_variants({str(wanted).lower()})"


def _adapts(mapping: Mapping, reader: Reader) -> bool:
    return reader.adapter_by_default if mapping.layout.adapt is None else mapping.layout.adapt


def _adapter_call(mapping: Mapping, reader: Reader, gaps: list[str], calls: list[str]) -> bool:
    return _adapter(_adapts(mapping, reader), reader, gaps, calls)


def _adapter(wanted: bool, reader: Reader, gaps: list[str], calls: list[str]) -> bool:
    """Whether the code names an adapter; the call goes to `calls`."""
    if wanted == reader.adapter_by_default:
        return False
    if reader.store in ("SafetensorsStore", "BurnpackStore") and wanted and reader.can_adapt:
        calls.append(".with_from_adapter(PyTorchToBurnAdapter)")
        return True
    if reader.store == "SafetensorsFileRecorder" and not wanted:
        calls.append(".with_adapter_type(AdapterType::NoAdapter)")
        return True
    verb = "cannot adapt" if wanted else "always adapts"
    gaps.append(f"Layouts: this reader {verb} PyTorch's to Burn's.")
    return False


# ---- the selection as a filter --------------------------------------------------------------------


def _selection_calls(plan: Plan, reader: Reader, gaps: list[str], notes: list[str]) -> Iterator[str]:
    selection = plan.mapping.selection
    if not selection:
        return
    if reader.filters == "none":
        gaps.append("The selection: this reader has no filter that works on loading.")
        return
    taken = plan.selected.tolist()
    names: list[tuple[str, ...]]
    if reader.filters == "original":
        names = [(key,) for key in plan.originals]
        notes.append("Parameters that the filter leaves out count as missing, so the load has to be partial.")
        yield ".allow_partial(true)"
    else:
        renames = bool(reader.renames_norms) and _adapts(plan.mapping, reader)
        names = [_twins(row.target_key) if renames else (row.target_key,) for row in plan.rows]
    kept = {name for row, chosen in enumerate(taken) if chosen for name in names[row] if _literal(name) is not None}
    dropped = {
        name for row, chosen in enumerate(taken) if not chosen for name in names[row] if _literal(name) is not None
    }
    patterns = [pick.text for pick in selection.include if pick.kind == "regex"]
    if len(patterns) == len(selection.include) and not selection.exclude and _picks_the_same(patterns, kept, dropped):
        yield from (f".with_regex({rust_literal(pattern)})" for pattern in patterns)
        return
    if kept & dropped:
        firsts = {names[row][0] for row, chosen in enumerate(taken) if chosen}
        kept = {name for name in kept if name not in dropped or name in firsts}
        if kept & dropped:
            gaps.append("The selection: names that are taken and names that are not become the same.")
    if len(kept) > _MAX_PATHS:
        gaps.append(f"The selection: its {len(kept):,} names are too many to write out, and no pattern means the same.")
        return
    # An empty filter would let everything through.
    yield from (f".with_full_path({rust_literal(name)})" for name in sorted(kept) or [""])


def _twins(key: str) -> tuple[str, ...]:
    """The names that a parameter may have in the model: a norm's are others than in the file."""
    module, dot, leaf = key.rpartition(".")
    return (key, f"{module}{dot}{_TWINS[leaf]}") if leaf in _TWINS else (key,)


def _picks_the_same(patterns: list[str], kept: set[str], dropped: set[str]) -> bool:
    def hit(names: set[str]) -> Iterable[bool]:
        ordered = sorted(names)
        column = regex.column(ordered)
        masks = [regex.hits(column, pattern) for pattern in patterns]
        return (any(mask[n] for mask in masks) for n in range(len(ordered)))

    return all(hit(kept)) and not any(hit(dropped))


# ---- texts of the file ----------------------------------------------------------------------------


def _is_path(plan: Plan, key: str) -> bool:
    """Whether a top-level key goes through several levels; an entry with exactly that name is one level."""
    return "." in key and all(found.key != key for found in plan.checkpoint.top_level_keys)


def _literal(text: str) -> str | None:
    try:
        return rust_literal(text)
    except ValueError:
        return None


def _file_name(path: str | None) -> str:
    """The base name of the file as a literal; a plain one where there is none that Rust can hold."""
    name = PurePath(path).name if path else ""
    literal = _literal(re.sub(r"[\x00/]", "", name)) if name else None
    return literal or rust_literal(f"{_NO_NAME}.pt")
