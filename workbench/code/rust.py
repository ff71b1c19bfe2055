"""A plan as Rust that loads the weights into a Burn model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from workbench.burn import Reader
from workbench.code.loading import Loading, loading_of

if TYPE_CHECKING:
    from workbench.mapping import Plan

__all__ = ["cargo_toml", "is_type", "manifest", "rust_code", "rust_text"]

_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*")
_FEATURES: Final = {"PytorchStore": "pytorch", "SafetensorsStore": "safetensors", "BurnpackStore": "burnpack"}
_MODEL: Final = """// model.rs is yours: it defines the type that main makes. Change that line where yours is made
// in another way.
mod model;
"""
_NO_PARTS: Final = "// This API has no partial loads: what the file lacks is an error.\n"
_RECORDERS: Final = {"PyTorchFileRecorder": "pytorch", "SafetensorsFileRecorder": "safetensors"}

_HELD_BACK: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("0.19", "SafetensorsFileRecorder"): {"candle-core": "0.9.1"},
    ("0.20", "SafetensorsFileRecorder"): {"zip": "7.2.0", "candle-core": "0.9.1"},
    ("0.20", "PyTorchFileRecorder"): {"zip": "7.2.0"},
    ("0.20", "PytorchStore"): {"zip": "7.2.0"},
    ("0.22", "PytorchStore"): {"zip": "9.0.4"},
    ("0.23", "PytorchStore"): {"zip": "9.0.4"},
}
"""Crates of which cargo would take versions that do not go with a reader of Burn.

candle-core 0.9.2 has more dtypes than burn-import matches. In zip 7.4 `data_start` is an Option, which burn-store 0.20
does not expect, and burn-import 0.20 needs that. zip 9.1 refuses archives whose first entry has a name of 30 bytes.
"""


def rust_code(
    plan: Plan, *, program: bool = False, model: str = "Net", container: str = "safetensors", partial: bool = False
) -> str:
    """Rust that loads the file as `plan` says, for its Burn version and API; where Burn cannot, comments say what.

    The lines expect a `model` (and a `device`, up to 0.20) in scope; `program` gives a whole main.rs instead, in
    which `model` names the type in your model.rs, and which takes the path of the file as its argument. Route
    "exported": code for the file of format `container` that we export, without rules. `partial` lets parameters stay as
    they are that the file lacks. Every text of the file or of a rule is an ASCII literal, none is in a comment.
    MappingError where the mapping is for no framework.
    """
    return rust_text(loading_of(plan, container), program=program, model=model, partial=partial)


def rust_text(loading: Loading, *, program: bool = False, model: str = "Net", partial: bool = False) -> str:
    """The same, of what is to be said already."""
    if not is_type(model):
        raise ValueError(f"a type of Rust is needed for model, not {model!r}")
    write = _store
    if loading.reader.store == "NamedMpkFileRecorder":
        write = _record
    elif loading.reader.api == "burn-import":
        write = _recorder
    return _comments(loading) + write(loading, program, model, partial)


def is_type(name: str) -> bool:
    """Whether a text is the path of a type, such as "Net" or "deep::Net"."""
    return _PATH.fullmatch(name) is not None


def cargo_toml(plan: Plan, *, container: str = "safetensors") -> str:
    """The Cargo.toml for the program of `rust_code`, as load.rs beside it, with exact versions."""
    return manifest(loading_of(plan, container))


def manifest(loading: Loading) -> str:
    """The same, of what is to be said already."""
    lines = ["[package]", 'name = "load-weights"', 'version = "0.1.0"', 'edition = "2024"', "publish = false", ""]
    lines += ["[[bin]]", 'name = "load"', 'path = "load.rs"', "", "[dependencies]"]
    lines += [f"{name} = {value}" for name, value in _dependencies(loading.reader)]
    # A bundle inside of a project is no part of that.
    return "\n".join([*lines, "", "[workspace]"]) + "\n"


def _dependencies(reader: Reader) -> list[tuple[str, str]]:
    exact = f'"={reader.crate}"'
    held = [(name, f'"={version}"') for name, version in _HELD_BACK.get((reader.version, reader.store), {}).items()]
    if _is_store_in_burn(reader):
        feature = {"BurnpackStore": "store"}.get(reader.store, _FEATURES[reader.store])
        return [("burn", f'{{ version = {exact}, features = ["{feature}", "flex"] }}'), *held]
    burn = ("burn", f'{{ version = {exact}, features = ["ndarray"] }}')
    if reader.store == "NamedMpkFileRecorder":
        return [burn]
    feature = _RECORDERS[reader.store] if reader.api == "burn-import" else _FEATURES[reader.store]
    features = f'["{feature}"]' if reader.api == "burn-import" else f'["std", "{feature}"]'
    crate = (reader.api, f"{{ version = {exact}, default-features = false, features = {features} }}")
    return [burn, crate, *held]


def _is_store_in_burn(reader: Reader) -> bool:
    """Stores are a part of `burn` itself, and models are no longer generic over a backend."""
    return reader.api == "burn-store" and reader.version not in ("0.19", "0.20", "0.21")


def _comments(loading: Loading) -> str:
    lines = [f"// Burn {loading.reader.version}, {loading.reader.store or loading.reader.api}."]
    lines += [f"// {note}" for note in loading.notes]
    if loading.gaps:
        lines.append("// NOT in this code, so export the file and load that instead:")
        lines += [f"// - {gap}" for gap in loading.gaps]
    return "\n".join(lines) + "\n"


def _chain(start: str, calls: tuple[str, ...], indent: str) -> str:
    return "".join([start, *(f"\n{indent}    {call}" for call in calls)])


def _store(loading: Loading, program: bool, model: str, partial: bool) -> str:
    reader = loading.reader
    in_burn = _is_store_in_burn(reader)
    calls = loading.calls
    if partial and ".allow_partial(true)" not in calls:
        calls = (*calls, ".allow_partial(true)")
    names = sorted({"ModuleSnapshot", reader.store} | ({"PyTorchToBurnAdapter"} if loading.adapts else set()))
    use = f"use {'burn::store' if in_burn else 'burn_store'}::{{{', '.join(names)}}};\n"
    if not program:
        chain = _chain(f"let mut store = {reader.store}::from_file({loading.file})", calls, "")
        return f"{use}\n{chain};\nlet result = model.load_from(&mut store)?;\n{_said(reader, '')}"
    chain = _chain(f"    {reader.store}::from_file(path)", calls, "    ")
    device = "burn::tensor::Device::default()" if in_burn else "Default::default()"
    backend = "" if in_burn else "::<burn::backend::NdArray>"
    return (
        f"{_MODEL}\n{use}\n"
        f"/// The file at `path` as the mapping shows it.\n"
        f"pub fn store(path: &str) -> {reader.store} {{\n{chain}\n}}\n\n"
        f"{_main(loading)}"
        f"    let device = {device};\n"
        f"    let mut model = model::{model}{backend}::new(&device);\n"
        "    let result = model.load_from(&mut store(&path))?;\n"
        f"{_said(reader, '    ')}    Ok(())\n}}\n"
    )


def _said(reader: Reader, indent: str) -> str:
    """How the result of a load is printed."""
    if reader.version != "0.19":
        return f'{indent}println!("{{result}}");\n'
    # This one has no text of its own.
    return (
        f"{indent}println!(\n"
        f'{indent}    "applied {{}}, skipped {{}}, missing {{:?}}, unused {{:?}}",\n'
        f"{indent}    result.applied.len(), result.skipped.len(), result.missing, result.unused,\n"
        f"{indent});\n"
    )


def _recorder(loading: Loading, program: bool, model: str, partial: bool) -> str:
    reader = loading.reader
    names = sorted({"LoadArgs", reader.store} | ({"AdapterType"} if loading.adapts else set()))
    use = (
        f"use burn::record::{{FullPrecisionSettings, Recorder}};\n"
        f"use burn_import::{_RECORDERS[reader.store]}::{{{', '.join(names)}}};\n"
    )
    recorder = f"{reader.store}::<FullPrecisionSettings>::default()"
    note = _NO_PARTS if partial else ""
    if not program:
        chain = _chain(f"let arguments = LoadArgs::new({loading.file}.into())", loading.calls, "")
        return (
            f"{note}{use}\n{chain};\nlet record = {recorder}.load(arguments, &device)?;\n"
            "let model = model.load_record(record);\n"
        )
    chain = _chain("    LoadArgs::new(path.into())", loading.calls, "    ")
    return (
        f"{note}{_MODEL}\nuse burn::module::Module;\n{use}\n"
        f"/// The file at `path` as the mapping shows it.\n"
        f"pub fn arguments(path: &str) -> LoadArgs {{\n{chain}\n}}\n\n"
        f"{_main(loading)}{_loaded(f'{recorder}.load(arguments(&path), &device)', model)}"
    )


def _record(loading: Loading, program: bool, model: str, partial: bool) -> str:
    """A record of Burn's own, which has the names and the layout of the module."""
    settings = "HalfPrecisionSettings" if loading.half else "FullPrecisionSettings"
    use = f"use burn::record::{{{settings}, NamedMpkFileRecorder, Recorder}};\n"
    recorder = f"NamedMpkFileRecorder::<{settings}>::default()"
    note = _NO_PARTS if partial else ""
    if not program:
        return (
            f"{note}{use}\nlet record = {recorder}.load({loading.file}.into(), &device)?;\n"
            "let model = model.load_record(record);\n"
        )
    loaded = _loaded(f"{recorder}.load(path.into(), &device)", model)
    return f"{note}{_MODEL}\nuse burn::module::Module;\n{use}\n{_main(loading)}{loaded}"


def _main(loading: Loading) -> str:
    what = "original" if loading.route == "original" else "exported"
    return (
        f"/// The path of the {what} file is the argument; without one it is looked for where this runs.\n"
        "fn main() -> Result<(), Box<dyn std::error::Error>> {\n"
        f"    let path = std::env::args().nth(1).unwrap_or_else(|| {loading.file}.to_string());\n"
    )


def _loaded(record: str, model: str) -> str:
    return (
        "    let device = Default::default();\n"
        f"    let record = {record}?;\n"
        f"    let model = model::{model}::<burn::backend::NdArray>::new(&device).load_record(record);\n"
        '    println!("{model}");\n    Ok(())\n}\n'
    )
