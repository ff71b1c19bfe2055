"""Reader: what one store or recorder of one Burn version does with a file, as facts."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal

__all__ = ["NO_FRAMEWORK", "Api", "Reader"]

Api = Literal["burn-import", "burn-store"]


@dataclass(frozen=True, slots=True)
class Reader:
    """How `store` of one Burn version names, reads and applies the tensors of a file.

    `store` is "" where no reader of that version takes the container: such a file is for `export` first.
    """

    version: str
    api: Api | Literal[""]
    store: str
    _: KW_ONLY
    crate: str = ""
    """The exact version of the crate in which these facts were seen."""
    containers: tuple[str, ...] = ()
    """What it takes, as `Checkpoint.format` names it."""

    # ---- names ------------------------------------------------------------------------------------
    has_rules: bool = True
    """Whether it can rename keys."""
    has_top_level_key: bool = False
    """Whether it can be told to read below one key of the root; one level, exactly that key."""
    indices: Literal["kept", "nested", "flat"] = "kept"
    """nested: a tree of lists and maps (burn-import). flat: ``map_indices_contiguous`` on the joined keys."""
    closes_gaps: bool = False
    """It renumbers list indices by itself."""
    can_switch_indices: bool = False
    """Closing gaps can be turned on and off."""
    keep_lists: bool = False
    """It has ``map_indices_contiguous_except``."""
    dot_is_root: bool = False
    """A name that starts with a dot counts its first index together with the indices at the root (burn-store 0.22.1
    joins the prefix of both to the empty text; 0.21.0 keeps ``.`` and the empty text apart)."""
    survivor: Literal["arbitrary", "greatest original name", "none"] = "arbitrary"
    """Which of several tensors with one name is left."""
    has_debug_print: bool = False
    """It has ``with_debug_print``."""

    # ---- what the module makes of it --------------------------------------------------------------
    can_adapt: bool = False
    """A PyTorch adapter exists for it: transposes Linear weights and renames norms as below."""
    adapter_by_default: bool = False
    transposes_linear: bool = False
    renames_norms: frozenset[str] = frozenset()
    """Module types whose weight and bias the adapter takes for gamma and beta."""
    norms_need_both: bool = False
    """It panics for a norm, or a Linear, that lacks the weight or (norms) the bias in the file."""
    skips_enum_variants: bool | None = None
    """Its default for leaving the names of enum variants out; None where there is no such switch."""
    enums_by_structure: bool = False
    """It takes the first enum variant that fits, not the one the module was made with."""
    filters: Literal["none", "original", "module-path"] = "none"
    """Which names its filter tests."""
    filtered_counts_missing: bool = False
    """A filtered-out parameter that is absent from the file makes the load fail all the same."""
    bad_filter: Literal["", "dropped", "panics"] = ""
    """What becomes of a filter pattern that does not compile."""
    has_allow_partial: bool = False
    """It has ``allow_partial`` and gives lists of applied, missing and unused; without, unknown keys are ignored."""
    checks_shapes: bool = True
    kind_check: Literal["panic", "error", "cast"] = "error"
    """A tensor of another kind (float, int, bool) than the parameter's."""
    bool_takes: frozenset[str] = frozenset({"bool"})
    """Dtypes that fit a bool parameter."""
    keeps_dtype: bool = True
    """The parameter takes the dtype of the file; else it is converted to the recorder's or backend's."""
    lists_renamed_norms_unused: bool = False

    # ---- pickles ----------------------------------------------------------------------------------
    parser: Literal["", "candle", "burn-store", "pytorch-reader"] = ""
    """Whose reader of pickles it uses, which decides what files it refuses and in what words."""
    opcodes: frozenset[int] = frozenset()
    """The opcodes it knows; another refuses the file."""
    calls: frozenset[str] | None = None
    """Names that may be called in the file; another refuses it. None where calls are kept as text."""
    fills_ordered_pairs: bool = True
    """An OrderedDict that Python 2 wrote has its entries."""
    legacy_protocols: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """Pickle protocols in which a PyTorch stream before 1.6 is known as such."""

    # ---- reading ----------------------------------------------------------------------------------
    walks: Literal["root", "dicts", "dicts-and-lists"] = "dicts"
    """Where tensors are looked for."""
    reads_modules: bool = False
    """The state_dict of a module saved whole is found."""
    reads_unneeded: bool = False
    """Every tensor of the file is read, also those the module has no place for."""
    strides: Literal["honoured", "ignored", "refused"] = "honoured"
    honours_offsets: bool = True
    """Views that do not begin at their storage's beginning are right."""
    reads_empty: bool = True
    """Tensors without elements can be read."""
    big_endian: Literal["ignored", "refused"] = "ignored"
    short_storage: Literal["zeros", "error"] = "error"
    """A storage that is missing or cut off."""
    legacy_is_zeros: bool = False
    """Every tensor of a PyTorch stream before 1.6 is read as zeros."""
    checks_pickle: bool = False
    """It refuses a zip whose pickle has a wrong checksum, or none."""
    max_tensors: int | None = None
    """About how many two-dimensional tensors a PyTorch file may hold."""
    bool_spellings: frozenset[str] = frozenset({"text", "map"})
    """How a burnpack may write the dtype bool (see `Written`)."""
    pads: bool = True
    """It expects the data of a burnpack at a multiple of 256 bytes."""
    checks_extents: bool = True
    """It refuses a burnpack that is shorter than its metadata say, or whose tensors do not fit their bytes."""
    reads: frozenset[str] = frozenset()
    """Dtypes that are read as they are."""
    refuses: frozenset[str] = frozenset()
    """Dtypes one tensor of which makes it refuse the whole file."""
    unknown_dtypes: frozenset[str] = frozenset()
    """Those of them that its JSON parser does not know, which it says in other words."""
    drops: frozenset[str] = frozenset()
    """Dtypes whose tensors are left out; a line on stderr at most says so."""
    misreads: frozenset[str] = frozenset()
    """Dtypes that are read as float32 of the same shape: wrong values."""
    converts: frozenset[str] = frozenset()
    """Dtypes that become another one, by value; what does not fit panics."""

    @property
    def honours_strides(self) -> bool:
        """Whether a tensor that is not contiguous gets its values."""
        return self.strides == "honoured"

    @property
    def name(self) -> str:
        """For messages: "Burn 0.22 (PytorchStore)"."""
        return f"Burn {self.version} ({self.store or self.api})" if self.version else "no framework"


NO_FRAMEWORK: Final = Reader("", "", "", has_top_level_key=True, can_switch_indices=True, dot_is_root=True)
"""Facts for a mapping that is meant for no framework: nothing happens by itself."""
