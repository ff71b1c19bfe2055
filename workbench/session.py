"""Session: one open checkpoint and one mapping, observable. The only thing in the workbench that changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import traitlets

from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.diagnosis import Explanation, explain, findings_of
from workbench.errors import WorkbenchError
from workbench.finding import Finding, Repair
from workbench.mapping import Cast, Layout, Mapping, Pick, Plan, Route, Rule, Selection
from workbench.mapping.casts import float_casts
from workbench.mapping.renaming import renamed
from workbench.mapping.repairs import repaired
from workbench.target import Target

_MAX_UNDO = 500


@dataclass(frozen=True, slots=True)
class Step:
    """One undoable change: the mapping before it, and what it is called."""

    mapping: Mapping
    label: str
    typing: str = ""


class Session(traitlets.HasTraits):
    """What all views of one workbench share. `revision` grows with each new state; observe it to follow.

    `checkpoint` and `plan` are None while nothing is open; `error` then says why, if a file was asked for.
    """

    revision = traitlets.Int(0)

    def __init__(self, source: str | Path | Checkpoint | None = None, mapping: Mapping | None = None) -> None:
        super().__init__()
        self.path: str | None = None
        self.checkpoint: Checkpoint | None = None
        self.error: WorkbenchError | None = None
        self.plan: Plan | None = None
        self.plan_number = 0
        self._found: tuple[Plan, tuple[Finding, ...]] | None = None
        self.target: Target | None = None
        self._mapping = mapping if mapping is not None else Mapping()
        self._undo: list[Step] = []
        self._redo: list[Step] = []
        if isinstance(source, Checkpoint):
            self.path = source.path
            self._show(source, keep_mapping=mapping is not None)
        elif source is not None:
            self.open(source, keep_mapping=mapping is not None)

    @property
    def mapping(self) -> Mapping:
        """The current mapping. Setting it is one undoable step."""
        return self._mapping

    @mapping.setter
    def mapping(self, mapping: Mapping) -> None:
        self.change(mapping, "change of the mapping")

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that diagnosis finds in the file, for the chosen Burn, in the rules and towards the target."""
        plan = self.plan
        if plan is None:
            return ()
        if self._found is None or self._found[0] is not plan:
            self._found = (plan, findings_of(plan))
        return self._found[1]

    def keep_findings(self, plan: Plan, findings: tuple[Finding, ...]) -> None:
        """Take what was found elsewhere, on a thread, for `plan`, if that is still the current one."""
        if plan is self.plan:
            self._found = (plan, findings)

    def explain(self, text: str) -> Explanation:
        """What an error text of another program means for the open file and its mapping."""
        return explain(text, plan=self.plan)

    # ---- files ------------------------------------------------------------------------------------

    def open(self, path: str | Path, *, keep_mapping: bool = False) -> None:
        """Open another file. A bad one leaves `error` set and no checkpoint; it never raises `WorkbenchError`.

        The mapping starts anew unless `keep_mapping`; then the top-level key is dropped where the file lacks it.
        """
        self.path = str(path)
        try:
            checkpoint = open_checkpoint(path)
        except WorkbenchError as error:
            self.checkpoint, self.plan, self.error = None, None, error
            self.revision += 1
            return
        self._show(checkpoint, keep_mapping=keep_mapping)

    def _show(self, checkpoint: Checkpoint, *, keep_mapping: bool) -> None:
        old = self._mapping
        mapping = old if keep_mapping else Mapping(burn=old.burn, api=old.api, route=old.route)
        try:
            plan = mapping.plan(checkpoint, self.target)
        except WorkbenchError as error:
            self.checkpoint, self.plan, self.error = None, None, error
        else:
            self.checkpoint, self.plan, self.error = checkpoint, plan, None
            self._mapping = mapping
            self.plan_number += 1
        self._undo.clear()
        self._redo.clear()
        self.revision += 1

    # ---- the mapping ------------------------------------------------------------------------------

    def change(self, mapping: Mapping, label: str, *, typing: str = "") -> None:
        """Make `mapping` the current one, as a step called `label`.

        Steps in a row with the same non-empty `typing` are one step for undo. Raises, and changes nothing, where
        the mapping does not fit the checkpoint.
        """
        if mapping == self._mapping:
            return
        last = self._undo[-1] if self._undo else None
        before = self._mapping
        self._use(mapping)
        if not (typing and last is not None and last.typing == typing and not self._redo):
            self._undo.append(Step(before, label, typing))
            del self._undo[:-_MAX_UNDO]
        self._redo.clear()
        self.revision += 1

    @property
    def undo_label(self) -> str | None:
        """What `undo` would take back; None where there is nothing."""
        return self._undo[-1].label if self._undo else None

    @property
    def redo_label(self) -> str | None:
        """What `redo` would do again; None where there is nothing."""
        return self._redo[-1].label if self._redo else None

    def undo(self) -> str | None:
        """Take the last step back; its label, or None where there is none."""
        return self._travel(self._undo, self._redo)

    def redo(self) -> str | None:
        """Do the last undone step again; its label, or None where there is none."""
        return self._travel(self._redo, self._undo)

    def add_rule(self, rule: Rule, *, typing: str = "") -> int:
        """Append a rule; its index."""
        self.change(self._mapping.with_rules([*self._mapping.rules, rule]), "new rule", typing=typing)
        return len(self._mapping.rules) - 1

    def edit_rule(self, index: int, rule: Rule, *, typing: str = "") -> None:
        """Put `rule` in the place of rule `index`. Raises IndexError."""
        rules = list(self._mapping.rules)
        rules[self._index(index)] = rule
        self.change(self._mapping.with_rules(rules), f"edit of rule {index + 1}", typing=typing)

    def toggle_rule(self, index: int, enabled: bool) -> None:
        """Switch rule `index` on or off. Raises IndexError."""
        rules = list(self._mapping.rules)
        old = rules[self._index(index)]
        rules[index] = replace(old, enabled=enabled)
        self.change(self._mapping.with_rules(rules), f"switch of rule {index + 1}")

    def move_rule(self, index: int, to: int) -> None:
        """Move rule `index` so that it stands at `to`. Raises IndexError."""
        rules = list(self._mapping.rules)
        rules.insert(self._index(to), rules.pop(self._index(index)))
        self.change(self._mapping.with_rules(rules), f"move of rule {index + 1}")

    def delete_rule(self, index: int) -> None:
        """Take rule `index` out. Raises IndexError."""
        rules = list(self._mapping.rules)
        del rules[self._index(index)]
        self.change(self._mapping.with_rules(rules), f"removal of rule {index + 1}")

    # ---- the other decisions ----------------------------------------------------------------------

    def choose_top_level_key(self, key: str | None) -> None:
        """Take the tensors below `key` only; None for the whole file. Raises `WorkbenchError` for an unknown key."""
        self._set("choice of the top-level key", top_level_key=key)

    def choose_burn(self, version: str | None, api: str | None = None) -> None:
        """The Burn, and which of its APIs, that the names are for; None for no framework. Raises `MappingError`."""
        self._set("choice of Burn", burn=version, api=api)

    def choose_route(self, route: Route) -> None:
        """Whether Burn reads the "original" file or the "exported" one."""
        self._set("choice of the route", route=route)

    def set_selection(self, selection: Selection) -> None:
        """Take other tensors."""
        self._set("selection", selection=selection)

    def skip_keys(self, keys: Iterable[str]) -> None:
        """Leave out the tensors with these keys, as they stand below the top-level key."""
        selection = self._mapping.selection
        known = {pick.text for pick in selection.exclude if pick.kind == "key"}
        picks = [Pick("key", key) for key in dict.fromkeys(keys) if key not in known]
        self._set("skip", selection=replace(selection, exclude=(*selection.exclude, *picks)))

    def unskip_keys(self, keys: Iterable[str]) -> None:
        """Take tensors again that `skip_keys` left out; what a regex or a node leaves out stays so."""
        wanted, selection = set(keys), self._mapping.selection
        kept = tuple(pick for pick in selection.exclude if pick.kind != "key" or pick.text not in wanted)
        self._set("end of a skip", selection=replace(selection, exclude=kept))

    def rename_key(self, key: str, name: str) -> None:
        """Give the tensor with that original key a name, by a rule for it alone.

        Raises `MappingError` where no rule does only that, and `UnknownKeyError`.
        """
        if self.plan is not None:
            self.change(renamed(self.plan, key, name), "new name of a key")

    def set_reindex(self, reindex: bool | None) -> None:
        """Close the gaps in list indices, or keep them; None does what the reader does by itself."""
        self._set("choice of indices", reindex=reindex)

    def set_keep_indices(self, patterns: Iterable[str]) -> None:
        """The lists that keep their indices, by regexes on what stands before the number. Raises `MappingError`."""
        self._set("lists that keep their indices", keep_indices=tuple(patterns))

    def set_skip_enum_variants(self, skip: bool | None) -> None:
        """Whether names of enum variants are left out of the model's paths; None does what the reader does."""
        self._set("choice of enum variants", skip_enum_variants=skip)

    def set_adapt(self, adapt: bool | None) -> None:
        """Whether layouts are adapted; None does what the reader does by itself."""
        self._set("choice of the adapter", layout=Layout(adapt, self._mapping.layout.modules))

    def mark_module(self, path: str, kind: str | None) -> None:
        """Say of which type the module at `path` (in remapped keys) is; None takes that back."""
        self._set("type of a module", layout=self._mapping.layout.marked(path, kind))

    def set_cast(self, dtype: str | None, pick: Pick | None = None, from_dtype: str | None = None) -> None:
        """Cast tensors, in place of an earlier cast of the same ones; None takes it back. Raises `MappingError`."""
        kept = [cast for cast in self._mapping.casts if (cast.pick, cast.from_dtype) != (pick, from_dtype)]
        new = [] if dtype is None else [Cast(dtype, pick, from_dtype)]
        self._set("cast", casts=(*kept, *new))

    def cast_floats(self, dtype: str | None) -> None:
        """Cast all floats of this plan, in place of earlier casts of a dtype; None takes it back."""
        names = [] if self.plan is None else [name for name, _, _ in self.plan.dtypes]
        self._set("cast of all floats", casts=float_casts(self._mapping.casts, dtype, names))

    def set_fold(self, fold: bool) -> None:
        """Whether weights that are stored in parts (weight_norm, spectral_norm, pruning) become plain ones.

        With it Burn is to read the exported file, for only that has them.
        """
        self.change(self._mapping.with_fold(fold), "folding")

    def repair(self, repair: Repair) -> None:
        """Carry out the repair of a finding, as one step with its label. Raises where it does not fit any more."""
        self.change(repaired(self._mapping, repair), repair.label)

    def choose_target(self, target: Target | None) -> None:
        """What the result is to fit. No decision of the mapping, so no step for undo."""
        self.target = target
        if self.plan is not None:
            self.plan = self.plan.with_target(target)
            self.plan_number += 1
        self.revision += 1

    def _set(self, label: str, **changes: object) -> None:
        self.change(replace(self._mapping, **changes), label)  # type: ignore[arg-type]

    def _use(self, mapping: Mapping) -> None:
        if self.plan is not None:
            self.plan = self.plan.update(mapping)
            self.plan_number += 1
        self._mapping = mapping

    def _travel(self, source: list[Step], other: list[Step]) -> str | None:
        if not source:
            return None
        step = source[-1]
        before = self._mapping
        self._use(step.mapping)
        source.pop()
        other.append(Step(before, step.label))
        self.revision += 1
        return step.label

    def _index(self, index: int) -> int:
        if not 0 <= index < len(self._mapping.rules):
            raise IndexError(f"there is no rule {index + 1}: the mapping has {len(self._mapping.rules)}")
        return index
