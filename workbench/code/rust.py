"""A plan as Rust that loads the weights into a Burn model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from workbench.burn import Reader
from workbench.code.loading import Loading, loading_of

if TYPE_CHECKING:
    from workbench.mapping import Plan

__all__ = ["cargo_toml", "rust_code"]

_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*")
_FEATURES: Final = {"PytorchStore": "pytorch", "SafetensorsStore": "safetensors", "BurnpackStore": "burnpack"}
_RECORDERS: Final = {"PyTorchFileRecorder": "pytorch", "SafetensorsFileRecorder": "safetensors"}


def rust_code(
    plan: Plan, *, program: bool = False, model: str = "Net", container: str = "safetensors", partial: bool = False
) -> str:
    """Rust that loads the file as `plan` says, for its Burn version and API; where Burn cannot, comments say what.

    The lines expect a `model` (and a `device`, up to 0.20) in scope; `program` gives a whole main.rs instead, in
    which `model` names the type in your model.rs. Route "exported": code for the file of format `container` that we
    export, without rules. `partial` lets parameters stay as they are that the file lacks. Every text of the file or
    of a rule is an ASCII literal, none is in a comment. MappingError where the mapping is for no framework.
    """
    if not _PATH.fullmatch(model):
        raise ValueError(f"a type of Rust is needed for model, not {model!r}")
    loading = loading_of(plan, container)
    write = _recorder if loading.reader.api == "burn-import" else _store
    return _comments(loading) + write(loading, program, model, partial)


def cargo_toml(plan: Plan, *, container: str = "safetensors") -> str:
    """The Cargo.toml for the program of `rust_code`, with exact versions."""
    reader = loading_of(plan, container).reader
    lines = ["[package]", 'name = "load-weights"', 'version = "0.1.0"', 'edition = "2024"', "", "[dependencies]"]
    lines += [f"{name} = {value}" for name, value in _dependencies(reader)]
    return "\n".join(lines) + "\n"


def _dependencies(reader: Reader) -> list[tuple[str, str]]:
    exact = f'"={reader.crate}"'
    if _is_store_in_burn(reader):
        feature = {"BurnpackStore": "store"}.get(reader.store, _FEATURES[reader.store])
        found = [("burn", f'{{ version = {exact}, features = ["{feature}", "flex"] }}')]
        # From 9.1 on, archives whose first entry has a name of 30 bytes are refused.
        return [*found, ("zip", '"=9.0.4"')] if reader.store == "PytorchStore" else found
    burn = ("burn", f'{{ version = {exact}, features = ["ndarray"] }}')
    if reader.api == "burn-store":
        features = f'["std", "{_FEATURES[reader.store]}"]'
        return [burn, ("burn-store", f"{{ version = {exact}, default-features = false, features = {features} }}")]
    feature = _RECORDERS[reader.store]
    found = [
        burn,
        ("burn-import", f'{{ version = {exact}, default-features = false, features = ["{feature}"] }}'),
    ]
    if reader.version == "0.20":
        # Newer ones do not compile with these crates.
        found += [("zip", '"=7.2.0"')]
        found += [("candle-core", '"=0.9.1"')] if feature == "safetensors" else []
    return found


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
        return f'{use}\n{chain};\nlet result = model.load_from(&mut store)?;\nprintln!("{{result}}");\n'
    chain = _chain(f"    {reader.store}::from_file(path)", calls, "    ")
    device = "burn::tensor::Device::default()" if in_burn else "Default::default()"
    made = f"model::{model}::new(&device)" if in_burn else f"model::{model}::<burn::backend::NdArray>::new(&device)"
    return (
        f"mod model; // model.rs is yours: it defines the type that main makes\n\n{use}\n"
        f"/// The file at `path` as the mapping shows it.\n"
        f"pub fn store(path: &str) -> {reader.store} {{\n{chain}\n}}\n\n"
        "fn main() -> Result<(), Box<dyn std::error::Error>> {\n"
        f"    let device = {device};\n"
        f"    let mut model = {made};\n"
        f"    let result = model.load_from(&mut store({loading.file}))?;\n"
        '    println!("{result}");\n    Ok(())\n}\n'
    )


def _recorder(loading: Loading, program: bool, model: str, partial: bool) -> str:
    reader = loading.reader
    names = sorted({"LoadArgs", reader.store} | ({"AdapterType"} if loading.adapts else set()))
    use = (
        f"use burn::record::{{FullPrecisionSettings, Recorder}};\n"
        f"use burn_import::{_RECORDERS[reader.store]}::{{{', '.join(names)}}};\n"
    )
    recorder = f"{reader.store}::<FullPrecisionSettings>::default()"
    note = "// This API has no partial loads: what the file lacks is an error.\n" if partial else ""
    if not program:
        chain = _chain(f"let arguments = LoadArgs::new({loading.file}.into())", loading.calls, "")
        return (
            f"{note}{use}\n{chain};\nlet record = {recorder}.load(arguments, &device)?;\n"
            "let model = model.load_record(record);\n"
        )
    chain = _chain("    LoadArgs::new(path.into())", loading.calls, "    ")
    return (
        f"{note}mod model; // model.rs is yours: it defines the type that main makes\n\n"
        f"use burn::module::Module;\n{use}\n"
        f"/// The file at `path` as the mapping shows it.\n"
        f"pub fn arguments(path: &str) -> LoadArgs {{\n{chain}\n}}\n\n"
        "fn main() -> Result<(), Box<dyn std::error::Error>> {\n"
        "    let device = Default::default();\n"
        f"    let record = {recorder}.load(arguments({loading.file}), &device)?;\n"
        f"    let model = model::{model}::<burn::backend::NdArray>::new(&device).load_record(record);\n"
        '    println!("{model}");\n    Ok(())\n}\n'
    )
