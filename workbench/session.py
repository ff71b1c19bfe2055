"""Session: one open checkpoint and one mapping, observable. The only thing in the workbench that changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import traitlets

from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import WorkbenchError
from workbench.mapping import Mapping, Plan, Rule

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
        mapping = self._mapping if keep_mapping else Mapping(burn=self._mapping.burn)
        try:
            plan = mapping.plan(checkpoint)
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
        rules[index] = Rule(old.pattern, old.replacement, enabled)
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

    def choose_top_level_key(self, key: str | None) -> None:
        """Take the tensors below `key` only; None for the whole file. Raises `WorkbenchError` for an unknown key."""
        mapping = self._mapping
        self.change(
            Mapping(mapping.rules, top_level_key=key, reindex=mapping.reindex, burn=mapping.burn),
            "choice of the top-level key",
        )

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
