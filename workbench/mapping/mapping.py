"""Mapping: all that the user decided, as one frozen value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from workbench import burn as burn_facts
from workbench.errors import MappingError, RuleError, printable
from workbench.mapping import regex
from workbench.mapping.casts import Cast
from workbench.mapping.layout import Layout
from workbench.mapping.reindex import reindexed
from workbench.mapping.rules import Rule
from workbench.mapping.selection import Selection

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.mapping.plan import Plan
    from workbench.target import Target

__all__ = ["Mapping", "Route"]

Route = Literal["original", "exported"]

_EVERYTHING: Final = Selection()
_UNMARKED: Final = Layout()


@dataclass(frozen=True, slots=True, repr=False)
class Mapping:
    r"""How the keys of a checkpoint become the keys of the target.

    `rules` apply in order, each to the result of the last; disabled ones are left out. `burn` is the version the
    names are for, None for no framework; `api` is "burn-import" or "burn-store", None for the one that the version
    offers first. `route` is "original" where Burn reads the original file with these rules, "exported" where it reads
    the file that we export.

    `top_level_key` names the dict inside the file whose tensors are meant ("a.b" is a path). `selection` is decided
    on keys as they stand in the file. `reindex` closes the gaps in list indices after the rules: None does what the
    reader of that Burn does by itself; lists whose prefix a regex of `keep_indices` matches keep theirs.
    `fold` makes plain weights of those that are stored as the parts of a weight_norm, a spectral_norm or a pruning.
    `skip_enum_variants`, like `layout.adapt`, is what the reader is told to do; None leaves it alone.

    >>> Mapping(rules=[Rule(r"conv\.(.*)", "$1")]).remap_keys(["conv.conv1.bias"])
    ['conv1.bias']
    """

    rules: tuple[Rule, ...] = ()
    _: KW_ONLY
    burn: str | None = burn_facts.DEFAULT_VERSION
    api: str | None = None
    route: Route = "original"
    top_level_key: str | None = None
    selection: Selection = _EVERYTHING
    reindex: bool | None = None
    keep_indices: tuple[str, ...] = ()
    skip_enum_variants: bool | None = None
    layout: Layout = _UNMARKED
    casts: tuple[Cast, ...] = ()
    fold: bool = False

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        burn: str | None = burn_facts.DEFAULT_VERSION,
        api: str | None = None,
        route: Route = "original",
        top_level_key: str | None = None,
        selection: Selection = _EVERYTHING,
        reindex: bool | None = None,
        keep_indices: Iterable[str] = (),
        skip_enum_variants: bool | None = None,
        layout: Layout = _UNMARKED,
        casts: Iterable[Cast] = (),
        fold: bool = False,
    ) -> None:
        rules = tuple(rules)
        for number, rule in enumerate(rules, start=1):
            if not isinstance(rule, Rule):
                raise TypeError(f"Mapping: rule {number} must be a Rule, not {rule!r} ({type(rule).__name__})")
        _check_burn(burn, api)
        if route not in get_args(Route):
            raise MappingError(
                f"The route is original or exported, not {printable(repr(route), 40)}.",
                next_step="Choose one of them.",
                code="route",
            )
        for name, value, kind in (("selection", selection, Selection), ("layout", layout, Layout)):
            if not isinstance(value, kind):
                raise TypeError(f"Mapping: {name} must be a {kind.__name__}, not {value!r} ({type(value).__name__})")
        if not isinstance(fold, bool):
            raise TypeError(f"Mapping: fold must be bool, not {fold!r} ({type(fold).__name__})")
        if isinstance(keep_indices, str):
            raise TypeError("Mapping: keep_indices must be several patterns, not one text")
        keep_indices, casts = tuple(keep_indices), tuple(casts)
        for pattern in keep_indices:
            _check_keep(pattern)
        for cast in casts:
            if not isinstance(cast, Cast):
                raise TypeError(f"Mapping: casts must hold Casts, not {cast!r} ({type(cast).__name__})")
        values = locals()
        for field in fields(Mapping):
            if field.name != "_":
                object.__setattr__(self, field.name, values[field.name])

    def __repr__(self) -> str:
        said = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Mapping({', '.join(said)})"

    def reader(self, container: str) -> burn_facts.Reader:
        """The facts of Burn's reader for a file of format `container` ("torch-zip", "safetensors").

        On both routes it is the reader of the original file. Neutral facts where no framework is meant.
        """
        return burn_facts.NO_FRAMEWORK if self.burn is None else burn_facts.reader_for(self.burn, container, self.api)

    def reindexes(self, container: str) -> bool:
        """Whether indices are closed up for a file of format `container`."""
        return self.reader(container).closes_gaps if self.reindex is None else self.reindex

    def close_gaps(self, keys: regex.Keys, container: str) -> regex.Keys:
        """`keys` with their indices closed up as the reader for `container` does; the same column where none moves."""
        reader = self.reader(container)
        return reindexed(
            keys, nested=reader.indices == "nested", dot_is_root=reader.dot_is_root, keep=self.keep_indices
        )

    def remap_keys(self, keys: Sequence[str]) -> list[str]:
        """The names that `keys` get, in order, as for a PyTorch file.

        Without a file, indices are closed up only where `reindex` is True.
        """
        column = regex.column(keys)
        for rule in self.rules:
            if rule.enabled:
                column = regex.replace_all(column, rule.pattern, rule.replacement)
        remapped: list[str] = (self.close_gaps(column, "torch-zip") if self.reindex else column).to_list()
        return remapped

    def plan(self, checkpoint: Checkpoint, target: Target | None = None) -> Plan:
        """This mapping applied to `checkpoint`, to fit `target`. Raises where the top-level key is not in it."""
        from workbench.mapping.plan import Plan

        return Plan(self, checkpoint, target)

    def with_rules(self, rules: Iterable[Rule]) -> Mapping:
        """The same decisions with other rules."""
        return replace(self, rules=tuple(rules))

    def with_fold(self, fold: bool) -> Mapping:
        """The same decisions with folding or without; with it, Burn reads the exported file: no reader computes."""
        route: Route = "exported" if fold and self.burn is not None else self.route
        return replace(self, fold=fold, route=route)

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


def _check_burn(burn: str | None, api: str | None) -> None:
    if burn is not None and burn not in burn_facts.VERSIONS:
        raise MappingError(
            f"Burn version {printable(str(burn))!r} is not known to this mapping.",
            cause=f"Known are {', '.join(burn_facts.VERSIONS)}, and None for no framework.",
            next_step=f"Choose the nearest of them; {burn_facts.DEFAULT_VERSION} is the default.",
            code="burn-version",
        )
    apis = () if burn is None else burn_facts.apis_of(burn)
    if api is not None and api not in apis:
        raise MappingError(
            f"Burn {burn} has no API {printable(str(api), 40)!r}." if burn else "Without Burn there is no API.",
            cause=f"It has {' and '.join(apis)}." if apis else "",
            next_step="Leave the API out, or choose the version that has it.",
            code="burn-api",
        )


def _check_keep(pattern: str) -> None:
    if not isinstance(pattern, str):
        raise TypeError(f"Mapping: keep_indices must hold texts, not {pattern!r} ({type(pattern).__name__})")
    try:
        regex.check_pattern(pattern)
    except RuleError as error:
        raise MappingError(
            f"/{printable(pattern, 80)}/ of the lists that keep their indices is not a regex: {error.reason}.",
            next_step="Correct the pattern.",
            code="keep-pattern",
        ) from error
