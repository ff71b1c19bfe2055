"""The table of Burn's readers. Each fact was seen by running the crate of that version, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from workbench.burn.readers import Api, Reader

__all__ = ["APIS", "DEFAULT_VERSION", "VERSIONS", "apis_of", "reader_for"]

DEFAULT_VERSION: Final = "0.22"

APIS: Final[tuple[Api, ...]] = ("burn-import", "burn-store")

_CRATES: Final = {
    "0.18": "0.18.0",
    "0.19": "0.19.1",
    "0.20": "0.20.1",
    "0.21": "0.21.0",
    "0.22": "0.22.1",
    "0.23": "0.23.0-pre.1",
}

VERSIONS: Final = tuple(_CRATES)

_FLOATS: Final = frozenset({"float64", "float32", "float16", "bfloat16"})
_INTS: Final = frozenset({"int64", "int32", "int16", "int8", "uint8"})
_UINTS: Final = frozenset({"uint16", "uint32", "uint64"})
_SHELLS: Final = frozenset(
    {
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "float4_e2m1fn_x2",
        "bits8",
        "bits16",
        "bits1x8",
        "bits2x4",
        "bits4x2",
    }
)
_COMPLEX: Final = frozenset({"complex64", "complex128"})
_QUANTISED: Final = frozenset({"qint8", "quint8", "qint32", "quint4x2", "quint2x4"})
_OLD_PT: Final = _FLOATS | _INTS | {"bool"}
_NORMS: Final = frozenset({"BatchNorm", "LayerNorm", "GroupNorm"})

# Opcodes by the letters or numbers of Python's pickletools.
_CANDLE_OPCODES: Final = frozenset(b"cq r)R(XJtQKMNhjsu}db.]Gae".replace(b" ", b"")) | {0x80, 0x81, *range(0x85, 0x8A)}
_BURN_OPCODES: Final = _CANDLE_OPCODES | frozenset(b"UIl") | {0x8A, 0x94}
_ALL_OPCODES: Final = (
    _BURN_OPCODES | frozenset(b"FLSVgpP012TBC") | {0x8B, 0x8C, 0x8D, 0x8E, 0x8F, *range(0x90, 0x94), 0x95, 0x96}
)

# ---- burn-import: one reader tree for .pt and .safetensors ------------------------------------------

_IMPORT: Final = Reader(
    "",
    "burn-import",
    "",
    indices="nested",
    closes_gaps=True,
    has_debug_print=True,
    can_adapt=True,
    adapter_by_default=True,
    transposes_linear=True,
    renames_norms=_NORMS,
    norms_need_both=True,
    enums_by_structure=True,
    checks_shapes=False,
    kind_check="cast",
    bool_takes=_OLD_PT,
    keeps_dtype=False,
    reads_unneeded=True,
    converts=frozenset({"int64", "uint8"}),
)
_CANDLE: Final = replace(
    _IMPORT,
    store="PyTorchFileRecorder",
    parser="candle",
    checks_pickle=True,
    opcodes=_CANDLE_OPCODES,
    containers=("torch-zip",),
    has_top_level_key=True,
    walks="root",
    strides="refused",
    honours_offsets=False,
    reads=_FLOATS | {"int64", "uint8"},
    drops=frozenset({"int32", "int16", "int8", "bool", "complex32"}) | _UINTS | _COMPLEX | _SHELLS | _QUANTISED,
)
_IMPORT_SAFETENSORS: Final = replace(
    _IMPORT,
    store="SafetensorsFileRecorder",
    containers=("safetensors",),
    reads=_FLOATS | {"int64", "int32", "uint8", "uint16", "uint32"},
    refuses=frozenset({"bool", "int16", "int8", "uint64"}) | _SHELLS | _COMPLEX,
)

# ---- burn-store's reader of .pt, shared by burn-import 0.19 and 0.20 --------------------------------

_OLD_READER: Final[Mapping[str, object]] = {
    "parser": "burn-store",
    "checks_pickle": True,
    "opcodes": _BURN_OPCODES,
    "calls": frozenset(
        {
            "collections.OrderedDict",
            "torch._utils._rebuild_tensor_v2",
            "torch._utils._rebuild_parameter",
            "torch._tensor._rebuild_from_type_v2",
        }
    ),
    "fills_ordered_pairs": False,
    "legacy_protocols": (2,),
    "containers": ("torch-zip", "torch-legacy", "pickle"),
    "has_top_level_key": True,
    "walks": "dicts",
    "strides": "ignored",
    "reads_empty": False,
    "short_storage": "zeros",
    "legacy_is_zeros": True,
    "reads": _OLD_PT,
    "refuses": _UINTS | {"complex32"} | _SHELLS | _QUANTISED,
    "misreads": _COMPLEX,
}
_STORE: Final = Reader(
    "",
    "burn-store",
    "",
    indices="flat",
    can_switch_indices=True,
    can_adapt=True,
    transposes_linear=True,
    renames_norms=_NORMS,
    filters="module-path",
    filtered_counts_missing=True,
    bad_filter="dropped",
    has_allow_partial=True,
    kind_check="panic",
    lists_renamed_norms_unused=True,
)
_PT: Final = replace(
    _STORE,
    store="PytorchStore",
    closes_gaps=True,
    adapter_by_default=True,
    skips_enum_variants=True,
    **_OLD_READER,  # type: ignore[arg-type]
)
_ST: Final = replace(
    _STORE,
    store="SafetensorsStore",
    containers=("safetensors",),
    skips_enum_variants=False,
    reads=_FLOATS | _INTS | {"bool", "uint32", "uint64"},
    refuses=frozenset({"uint16"}) | _COMPLEX | _SHELLS,
)
_BPK: Final = replace(
    _STORE,
    store="BurnpackStore",
    containers=("burnpack",),
    indices="kept",
    can_switch_indices=False,
    survivor="greatest original name",
    can_adapt=False,
    reads=_FLOATS | _INTS | _UINTS | {"bool"},
)
_STORES: Final = (_PT, _ST, _BPK)

# What each version changed, from the version before it where no line says otherwise.
_V19: Final[Mapping[str, object]] = {
    "indices": "kept",
    "closes_gaps": False,
    "can_switch_indices": False,
    "renames_norms": frozenset(),
    "skips_enum_variants": None,
    "kind_check": "cast",
    "bool_takes": _OLD_PT,
    "keeps_dtype": False,
    "lists_renamed_norms_unused": False,
}
_V19_FILTERS: Final = {"PytorchStore": "original", "SafetensorsStore": "none", "BurnpackStore": "module-path"}
_FNUZ: Final = frozenset({"float8_e4m3fnuz", "float8_e5m2fnuz"})
_UNKNOWN_DTYPES: Final = {"0.19": _FNUZ | {"complex64"}, "0.20": _FNUZ, "0.21": _FNUZ}
_V21_PT: Final[Mapping[str, object]] = {
    "containers": ("torch-zip", "torch-legacy", "torch-tar", "pickle"),
    "legacy_is_zeros": False,
    "fills_ordered_pairs": True,
    "calls": _PT.calls | {"torch._utils._rebuild_tensor"} if _PT.calls else None,
    "misreads": frozenset(),
    "refuses": _PT.refuses | _COMPLEX,
}
_V22: Final[Mapping[str, object]] = {
    "dot_is_root": True,
    "renames_norms": _NORMS | {"RmsNorm"},
    "bad_filter": "panics",
    "kind_check": "error",
    "bool_takes": frozenset({"bool", "uint8", "uint32"}),
    "lists_renamed_norms_unused": False,
}
_V22_PT: Final[Mapping[str, object]] = {
    **_V21_PT,
    "parser": "pytorch-reader",
    "checks_pickle": False,
    "opcodes": _ALL_OPCODES,
    "calls": None,
    "legacy_protocols": (0, 1, 2, 3, 4, 5),
    "walks": "dicts-and-lists",
    "reads_modules": True,
    "strides": "honoured",
    "reads_empty": True,
    "big_endian": "refused",
    "short_storage": "error",
    "max_tensors": 28_100,
    "reads": _OLD_PT | _UINTS,
    "refuses": frozenset({"complex32"}) | _COMPLEX | _SHELLS | _QUANTISED,
}

_NO_ADAPTER: Final[Mapping[str, object]] = {"transposes_linear": False, "renames_norms": frozenset()}
_OLD_BPK: Final[Mapping[str, object]] = {"bool_spellings": frozenset({"text"}), "checks_extents": False}
_NEW_BPK: Final[Mapping[str, object]] = {"bool_spellings": frozenset({"map"}), "can_adapt": True}
_BPK_FACTS: Final[Mapping[str, Mapping[str, object]]] = {
    "0.19": {**_NO_ADAPTER, **_OLD_BPK, "pads": False},
    "0.20": {**_NO_ADAPTER, **_OLD_BPK},
    "0.21": {**_NEW_BPK, "checks_extents": False},
    "0.22": _NEW_BPK,
    "0.23": _NEW_BPK,
}

# Recorders of burn-core: the names of a record are the module's own, and nothing is renamed on the way.
_MPK: Final = Reader(
    "",
    "burn-import",
    "NamedMpkFileRecorder",
    containers=("mpk",),
    has_rules=False,
    survivor="none",
    kind_check="cast",
    checks_shapes=False,
    keeps_dtype=False,
    reads_unneeded=True,
    reads=_FLOATS | _INTS | _UINTS | {"bool"},
)


def _stores_of(version: str) -> list[Reader]:
    found = []
    for store in _STORES:
        facts: dict[str, object] = {}
        is_pt, is_bpk = store.store == "PytorchStore", store.store == "BurnpackStore"
        if version == "0.19":
            facts |= {**_V19, "filters": _V19_FILTERS[store.store]}
        if store.store == "SafetensorsStore" and version in _UNKNOWN_DTYPES:
            facts["unknown_dtypes"] = _UNKNOWN_DTYPES[version]
        if version == "0.21" and is_pt:
            facts |= _V21_PT
        if version in ("0.22", "0.23"):
            facts |= {**_V22, **(_V22_PT if is_pt else {}), "keep_lists": not is_bpk}
        if is_bpk:
            facts |= _BPK_FACTS[version]
        if version == "0.23":
            facts["filtered_counts_missing"] = False
        found.append(replace(store, **facts))  # type: ignore[arg-type]
    return found


def _recorders_of(version: str) -> list[Reader]:
    if version == "0.18":
        return [_CANDLE, _IMPORT_SAFETENSORS]
    old_reader = {**_OLD_READER, "refuses": _PT.refuses, "store": "PyTorchFileRecorder"}
    return [replace(_IMPORT, **old_reader), _IMPORT_SAFETENSORS]  # type: ignore[arg-type]


def apis_of(version: str) -> tuple[Api, ...]:
    """The ways in which Burn `version` loads a file, its first choice first. KeyError where it is not known."""
    if version not in _CRATES:
        raise KeyError(version)
    return {"0.18": APIS[:1], "0.19": APIS, "0.20": APIS}.get(version, APIS[1:])


def _table() -> dict[tuple[str, str, str], Reader]:
    found: dict[tuple[str, str, str], Reader] = {}
    for version, crate in _CRATES.items():
        for api in apis_of(version):
            rows = _recorders_of(version) if api == "burn-import" else _stores_of(version)
            if version <= "0.21":
                rows = [*rows, _MPK]
            for row in rows:
                made = replace(row, version=version, api=api, crate=crate)
                found |= {(version, api, container): made for container in made.containers}
    return found


_TABLE: Final = _table()


def reader_for(version: str, container: str, api: str | None = None) -> Reader:
    """The reader of Burn `version` for a `container` (a checkpoint's `format`).

    `api` None is burn-import up to 0.20, unless only burn-store takes the container. A reader without a store where
    none of that version takes it. KeyError for a version that is not in `VERSIONS`, or has no such API.
    """
    apis = apis_of(version)
    if api is not None and api not in apis:
        raise KeyError(api)
    chosen = [each for each in apis if api in (None, each)]
    for each in chosen:
        if (found := _TABLE.get((version, each, container))) is not None:
            return found
    nothing = Reader(version, chosen[0], "", crate=_CRATES[version])
    return replace(nothing, dot_is_root=version in ("0.22", "0.23"))
