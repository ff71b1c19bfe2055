"""The programs of a bundle: load.rs with its Cargo.toml, and load.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workbench.code import loading, python, rust
from workbench.errors import MappingError

if TYPE_CHECKING:
    from workbench.code.loading import Loading
    from workbench.mapping import Plan
    from workbench.writing.files import Part

__all__ = ["PYTHON", "RUST", "Program", "program_of", "python_texts"]

RUST: Final = ("load.rs", "Cargo.toml", "model.rs")
PYTHON: Final = "load.py"

_CONTAINERS: Final = {"bpk": "burnpack", "safetensors": "safetensors", "pt": "torch-zip", "mpk": "mpk"}
"""The weight formats that Burn reads, the best one first, by the word for a checkpoint's format."""


@dataclass(frozen=True, slots=True)
class Program:
    """What load.rs loads: the `loading` of it, and the `file` it is, as the bundle names it ("": the original file).

    `texts` are the files by name. `why` says in a sentence why there is no program, or why it loads another file than
    the route of the mapping says; "" where there is nothing to say.
    """

    loading: Loading | None
    file: str
    texts: dict[str, str]
    why: str = ""


def program_of(plan: Plan, parts: Sequence[Part], *, half: bool = False) -> Program:
    """The Rust program for `plan`, that reads the original file with the rules, or one of the weight files `parts`."""
    if plan.mapping.burn is None:
        return Program(None, "", {}, "There is no load.rs: the mapping is for no framework.")
    gaps: tuple[str, ...] = ()
    original = None
    if plan.mapping.route == "original":
        reader = plan.mapping.reader(plan.checkpoint.format)
        if reader.store and reader.has_rules:
            original = loading.loading_of(plan, "", "original")
            gaps = original.gaps
        else:
            gaps = ("Burn has no loader with rules for a file of this format.",)
        if not gaps:
            return _program(plan, original, "", "")
    exported = _best(plan, parts, half)
    if exported is not None:
        why = f"load.rs loads the exported file, for the original one would need more than Burn can: {_listed(gaps)}"
        return _program(plan, exported[0], exported[1], why if gaps else "")
    if original is not None:
        return _program(
            plan, original, "", f"load.rs says what it lacks, for no exported file is there: {_listed(gaps)}"
        )
    why = f"There is no load.rs: Burn {plan.mapping.burn} reads none of the weight files."
    return Program(None, "", {}, why)


def python_texts(parts: Sequence[Part]) -> tuple[dict[str, str], str]:
    """load.py by its name, and "" or why there is none."""
    if any(part.format in ("npz", "safetensors", "npy") for part in parts):
        return {PYTHON: python.loader_text()}, ""
    return {}, "There is no load.py: numpy reads none of the weight files."


def _best(plan: Plan, parts: Sequence[Part], half: bool) -> tuple[Loading, str] | None:
    """How the weight file is loaded that this Burn reads with the fewest things left to say, and its name."""
    by_format = {part.format: part for part in parts}
    found = []
    for format, container in _CONTAINERS.items():
        part = by_format.get(format)
        # No reader of Burn takes several files.
        if part is None or len(part.names) > 1:
            continue
        try:
            found.append((loading.loading_of(plan, container, "exported", half=half), part.names[-1]))
        except MappingError:
            continue
    return min(found, key=lambda each: len(each[0].gaps), default=None)


def _program(plan: Plan, found: Loading | None, file: str, why: str) -> Program:
    assert found is not None
    target = plan.target
    root = target.root if target is not None else ""
    model = root if root and rust.is_type(root) else "Net"
    texts = {"load.rs": rust.rust_text(found, program=True, model=model), "Cargo.toml": rust.manifest(found)}
    if target is not None and target.source:
        texts["model.rs"] = target.source
    return Program(found, file, texts, why)


def _listed(gaps: Sequence[str]) -> str:
    return " ".join(f"({n}) {gap}" for n, gap in enumerate(gaps, start=1))
