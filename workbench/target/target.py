"""Target: the parameters that a model wants, and where they are known from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.burn import DEFAULT_VERSION, VERSIONS
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.core.text import count_text
from workbench.errors import NotACheckpointError, WorkbenchError, printable
from workbench.finding import Finding, Severity
from workbench.target import parsing, rust_source
from workbench.target.entries import Entry, kind_of, target_error, unskipped
from workbench.target.model import Node, Parts, parts
from workbench.target.record import Template
from workbench.target.rust_model import Resolver

if TYPE_CHECKING:
    import pandas as pd

_TEXTS: Final = (".json", ".csv", ".tsv", ".txt", ".list", ".md", ".log")


@dataclass(frozen=True, eq=False)
class Target:
    """The parameters of a model: what the keys of a checkpoint should become.

    `origin` says where they are known from. From Rust source the lengths of lists, the variants of enums and optional
    parts are open: entries then hold `*` for an index, and `expanded` gives those that fit a file. `open_lists` are
    the paths of such lists, `open_trees` those below which anything is accepted, `choices` the variants that
    `expanded` took, `absent` the optional parts that the file has nothing for. Of Rust source `root` is the struct, and
    `source` the text where that is one file.

    >>> Target.parse("conv1.weight [64, 3, 7, 7]").entries
    (Entry(path='conv1.weight', shape=(64, 3, 7, 7), dtype=None, kind=None, containers=(), optional=False, rank=4),)
    """

    entries: tuple[Entry, ...] = field(repr=False)
    origin: str
    open_lists: tuple[str, ...] = ()
    open_trees: tuple[str, ...] = ()
    choices: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    absent: tuple[str, ...] = field(default=(), repr=False)
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    _model: Node | None = field(default=None, repr=False)
    _source: tuple[rust_source.Source, str | None] | None = field(default=None, repr=False)
    _template: tuple[Node, str] | None = field(default=None, repr=False)
    root: str = field(default="", repr=False)
    source: str = field(default="", repr=False)

    # ---- from what is there -------------------------------------------------------------------------

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, root: str | None = None, burn: str | None = DEFAULT_VERSION
    ) -> Target:
        """The target in a file: Rust source (a folder too), JSON, CSV, a list of keys, or any checkpoint.

        What it is, is told by its content. `root` and `burn` are for Rust source. WorkbenchError where it is none.
        """
        where = Path(path)
        try:
            if os.path.isdir(where):
                has_rust = any(True for _ in rust_source.files(where))
                return cls.from_rust(where, root=root, burn=burn) if has_rust else cls.from_checkpoint(where)
        except ValueError:
            pass
        if where.suffix == ".rs":
            return cls.from_rust(where, root=root, burn=burn)
        if where.suffix.lower() not in _TEXTS or where.name.endswith(".index.json"):
            try:
                return cls.from_checkpoint(where)
            except NotACheckpointError as error:
                not_a_checkpoint: NotACheckpointError | None = error
        else:
            not_a_checkpoint = None
        text = _text_of(where)
        if text is None or (not_a_checkpoint is not None and not text.strip()):
            if not_a_checkpoint is not None:
                raise not_a_checkpoint
            return cls.from_checkpoint(where)
        try:
            made = cls.parse(text, root=root, burn=burn)
        except WorkbenchError as error:
            if not_a_checkpoint is not None:
                raise not_a_checkpoint from None
            raise _at(error, where) from None
        origin = where.name if made._model is None else f"{where.name}, {made.origin}"
        return Target(**{**vars(made), "origin": printable(origin, 120)})

    @classmethod
    def parse(cls, text: str, *, root: str | None = None, burn: str | None = DEFAULT_VERSION) -> Target:
        """The target in a text: Rust source, JSON, CSV, one key a line, or what Python prints for a state_dict."""
        if parsing.looks_like_rust(text):
            return cls.from_rust(text, root=root, burn=burn)
        entries = parsing.entries_in(text)
        return cls(entries, f"a list of {count_text(len(entries), 'key')}")

    @classmethod
    def from_keys(
        cls, keys: Iterable[str] | Mapping[str, Sequence[int] | None], *, origin: str = "keys given"
    ) -> Target:
        """The target with these keys; from a mapping also with their shapes."""
        pairs = keys.items() if isinstance(keys, Mapping) else ((key, None) for key in keys)
        made = (parsing.entry(key, None if shape is None else list(shape)) for key, shape in pairs)
        return cls(parsing.checked(made), origin)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint | str | os.PathLike[str], *, top_level_key: str | None = None
    ) -> Target:
        """The tensors of a checkpoint as a target, for instance one saved from the freshly made model.

        An .mpk of Burn tells the structs of the model too: `record`.
        """
        ckpt = checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)
        template = Template(ckpt.tree) if ckpt.format == "mpk" and top_level_key is None else None
        found: dict[str, Entry] = {}
        for key, tensor in ckpt.under(top_level_key):
            name, rank = tensor.dtype.name, len(tensor.shape)
            inside = () if template is None else template.containers(tensor.path)
            found[key] = Entry(key, tensor.shape, name, kind_of(name), inside, rank=rank)
        if not found:
            raise _at(target_error("This checkpoint holds no tensors.", code="no-keys"), Path(ckpt.path))
        written = ckpt.metadata.get("version", "")
        return cls(
            tuple(found.values()),
            printable(ckpt.name, 120),
            _template=None if template is None else (template.model(), written),
        )

    @classmethod
    def from_rust(
        cls, source: str | os.PathLike[str], *, root: str | None = None, burn: str | None = DEFAULT_VERSION
    ) -> Target:
        """The parameters of the `#[derive(Module)]` struct `root` of a text, a file or a folder of Rust source.

        Without `root`, of the one module that no other contains. Nothing is compiled: shapes are not known, ranks
        where a type tells them; types that are not in the source are findings, and open. WorkbenchError where there
        is no module, or several could be meant.
        """
        version = _known_version(burn)
        where = _path_of(source)
        text: str | None = ""
        try:
            if where is None:
                text = str(source)
                read = rust_source.read_text(text)
            elif os.path.isdir(where):
                read = rust_source.read_folder(where)
            else:
                text = _text_of(where)
                if text is None:
                    raise target_error(
                        "This is no text.", next_step="Choose a .rs file or a folder.", code="not-a-target"
                    )
                read = rust_source.read_text(text, where.name)
            resolver = Resolver(read, version)
            name, model = resolver.root(root)
            found = parts(model)
        except WorkbenchError as error:
            raise error if where is None else _at(error, where) from None
        root_name, name = name, printable(name, 80)
        findings = (*read.findings, *resolver.findings)
        if not found.entries and not found.trees:
            note = Finding("rust-no-parameters", Severity.WARNING, name, f"{name} has no parameters.")
            findings = (*findings, note)
        origin = f"{name} in {'Rust source' if where is None else printable(where.name, 80)}"
        made = _of_parts(found, origin, findings, model, (read, root))
        return replace(made, root=root_name, source=text or "")

    # ---- what it tells --------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the model may have more parameters, or other ones, than `entries` says."""
        return bool(self.open_lists or self.open_trees or self.absent or self.choices)

    def expanded(
        self, keys: Iterable[str], *, skip_enum_variants: bool = False, norms: frozenset[str] = frozenset()
    ) -> Target:
        """The target that fits `keys` best: lists as long as the keys have indices, of each enum one variant.

        `skip_enum_variants`: the keys do not hold the names of variants. `norms`: the modules whose gamma and beta
        may be called weight and bias. The same target where nothing is open.
        """
        if self._model is None:
            return self
        found = parts(self._model, keys, skip_enum_variants=skip_enum_variants, norms=norms)
        made = _of_parts(found, self.origin, self.findings, self._model, self._source)
        return replace(made, root=self.root, source=self.source)

    @cached_property
    def by_path(self) -> dict[str, Entry]:
        """The entries by path."""
        return {entry.path: entry for entry in self.entries}

    def type_of(self, module_path: str) -> str:
        """The type of the module at a path ("Linear"); "" where it is not known. Enum variants may be left out."""
        found = self._types.get(module_path)
        if found is None and self.open_lists:
            starred = ".".join("*" if part.isdecimal() else part for part in module_path.split("."))
            found = self._types.get(starred)
        return found or ""

    @cached_property
    def _types(self) -> dict[str, str]:
        types: dict[str, str] = {}
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for entry in self.entries:
            segments = entry.path.split(".")
            if len(segments) != len(entry.containers):
                continue
            family = ".".join(segments[:-1]), entry.containers
            if family in seen:
                continue
            seen.add(family)
            for n, container in enumerate(entry.containers):
                what, _, name = container.rpartition(":")
                if not name or what not in ("Struct", "Enum"):
                    continue
                types.setdefault(".".join(segments[:n]), name)
                if what == "Struct" and "Enum:" in "".join(entry.containers[:n]):
                    types[unskipped(".".join(segments[:n]), entry.containers[:n])] = name
        return types

    def record(self, burn: str) -> Node | None:
        """The MessagePack record that Burn `burn` has of the model, from the Rust source or the .mpk that this target
        was read from; None where it is from neither: the fields of the structs are not known then."""
        if self._source is not None:
            read, root = self._source
            return Resolver(read, burn).root(root)[1]
        return None if self._template is None else self._template[0]

    @property
    def record_version(self) -> str:
        """The version of Burn whose record an .mpk has; "" where `record` is not from one."""
        return "" if self._template is None else self._template[1]

    def frame(self) -> pd.DataFrame:
        """A pandas table: path, shape, dtype, kind, optional, type of the module."""
        import pandas as pd

        return pd.DataFrame(
            {
                "path": [entry.path for entry in self.entries],
                "shape": [entry.shape for entry in self.entries],
                "dtype": [entry.dtype for entry in self.entries],
                "kind": [entry.kind for entry in self.entries],
                "optional": [entry.optional for entry in self.entries],
                "module": [entry.module_type for entry in self.entries],
            }
        )

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        more = " or more" if self.is_open else ""
        return f"<Target from {self.origin}: {len(self.entries):,}{more} parameters>"


def _of_parts(
    found: Parts,
    origin: str,
    findings: tuple[Finding, ...],
    model: Node,
    source: tuple[rust_source.Source, str | None] | None,
) -> Target:
    return Target(
        tuple(found.entries),
        origin,
        tuple(dict.fromkeys(found.lists)),
        tuple(found.trees),
        tuple(found.choices.items()),
        tuple(found.absent),
        findings,
        model,
        source,
    )


def _known_version(burn: str | None) -> str:
    version = DEFAULT_VERSION if burn is None else burn
    if version not in VERSIONS:
        raise target_error(
            f"Burn version {printable(str(burn), 40)!r} is not known.",
            cause=f"Known are {', '.join(VERSIONS)}.",
            code="burn-version",
        )
    return version


def _path_of(source: str | os.PathLike[str]) -> Path | None:
    """A path, or None for what is source text itself."""
    if not isinstance(source, str):
        return Path(source)
    if "\n" in source or "{" in source or ";" in source or not source.strip():
        return None
    return Path(source)


def _text_of(path: Path) -> str | None:
    """The text of a file; None where it is binary or none at all. WorkbenchError where it cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None  # To open a named pipe is to wait for who writes into it.
        if status.st_size > parsing.MAX_TEXT:
            with path.open("rb") as file:
                head = file.read(4096)
            if b"\0" in head:
                return None
            error = target_error(
                "This text is too long for a list of keys.",
                cause=f"At most {parsing.MAX_TEXT >> 20} MB are read.",
                code="target-too-big",
            )
            raise _at(error, path)
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            words = "Check the spelling and the folder."
            raise _at(target_error("There is no such file.", next_step=words, code="no-such-file"), path) from None
        cause = getattr(error, "strerror", None) or str(error)
        raise _at(target_error("The file cannot be opened.", cause=f"{cause}.", code="cannot-open"), path) from None
    if b"\0" in raw:
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _at(error: WorkbenchError, path: Path) -> WorkbenchError:
    if error.path is None:
        error.path = str(path)
    return error
