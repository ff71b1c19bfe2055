"""Mapping: all that the user decided, as one frozen value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import burn as burn_facts
from workbench.errors import MappingError, printable
from workbench.mapping import regex
from workbench.mapping.reindex import close_gaps
from workbench.mapping.rules import Rule

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.mapping.plan import Plan

_NO_FRAMEWORK = burn_facts.Reader("", closes_gaps=False, dot_is_root=True)


@dataclass(frozen=True, slots=True)
class Mapping:
    r"""How the keys of a checkpoint become the keys of the target.

    `rules` apply in order, each to the result of the last; disabled ones are left out. `top_level_key` names the
    dict inside the file whose tensors are meant. `reindex` closes the gaps in list indices after the rules: None
    does what the store of Burn `burn` does by itself (yes for PyTorch files, no for safetensors). `burn` is the
    version the names are for, None for no framework.

    >>> Mapping(rules=[Rule(r"conv\.(.*)", "$1")]).remap_keys(["conv.conv1.bias"])
    ['conv1.bias']
    """

    rules: tuple[Rule, ...] = ()
    _: KW_ONLY
    top_level_key: str | None = None
    reindex: bool | None = None
    burn: str | None = burn_facts.DEFAULT_VERSION

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        top_level_key: str | None = None,
        reindex: bool | None = None,
        burn: str | None = burn_facts.DEFAULT_VERSION,
    ) -> None:
        rules = tuple(rules)
        for number, rule in enumerate(rules, start=1):
            if not isinstance(rule, Rule):
                raise TypeError(f"Mapping: rule {number} must be a Rule, not {rule!r} ({type(rule).__name__})")
        if burn is not None and burn not in burn_facts.VERSIONS:
            raise MappingError(
                f"Burn version {printable(str(burn))!r} is not known to this mapping.",
                cause=f"Known are {', '.join(burn_facts.VERSIONS)}, and None for no framework.",
                next_step=f"Choose the nearest of them; {burn_facts.DEFAULT_VERSION} is the default.",
                code="burn-version",
            )
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "top_level_key", top_level_key)
        object.__setattr__(self, "reindex", reindex)
        object.__setattr__(self, "burn", burn)

    def reader(self, container: str) -> burn_facts.Reader:
        """The facts of the reader that will see the file; neutral ones where no framework is meant."""
        return _NO_FRAMEWORK if self.burn is None else burn_facts.reader_for(self.burn, container)

    def reindexes(self, container: str) -> bool:
        """Whether indices are closed up for a file of format `container` ("torch-zip", "safetensors")."""
        return self.reader(container).closes_gaps if self.reindex is None else self.reindex

    def remap_keys(self, keys: Sequence[str]) -> list[str]:
        """The names that `keys` get, in order; without a file, indices are closed up only where `reindex` is True."""
        column = regex.column(keys)
        for rule in self.rules:
            if rule.enabled:
                column = regex.replace_all(column, rule.pattern, rule.replacement)
        remapped: list[str] = column.to_list()
        if not self.reindex:
            return remapped
        return close_gaps(remapped, dot_is_root=self.reader("torch-zip").dot_is_root)

    def plan(self, checkpoint: Checkpoint) -> Plan:
        """This mapping applied to `checkpoint`. Raises where the top-level key is not in it."""
        from workbench.mapping.plan import Plan

        return Plan(self, checkpoint)

    def with_rules(self, rules: Iterable[Rule]) -> Mapping:
        """The same decisions with other rules."""
        return replace(self, rules=tuple(rules))

    def save(self, path: str | Path) -> None:
        """Write this mapping as JSON, whole or not at all."""
        from workbench.mapping import persist

        persist.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Mapping:
        """The mapping in a file written by `save` or by an export. Raises `MappingError`."""
        from workbench.mapping import persist

        return persist.load(Path(path))

    def to_json(self) -> dict[str, object]:
        """The decisions as plain JSON values (schema of mapping.json)."""
        from workbench.mapping import persist

        return persist.to_json(self)

    @classmethod
    def from_json(cls, data: object) -> Mapping:
        """The reverse of `to_json`. Raises `MappingError` naming the field that is wrong."""
        from workbench.mapping import persist

        return persist.from_json(data)

    def to_python(self, path: str | None = None) -> str:
        """Lines of Python that rebuild this mapping, and its plan on the checkpoint at `path`."""
        from workbench.mapping import persist

        return persist.to_python(self, path)
