"""Programs written by `rust_code`, all of one Burn version in one binary that answers questions about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.burn import oracle

_MODEL = {
    "burn-store-0.22": """
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;

#[derive(Module, Debug)]
pub struct Net {
    fc: Linear,
}

impl Net {
    pub fn new(device: &Device) -> Self {
        Self { fc: LinearConfig::new(3, 2).init(device) }
    }
}
""",
    "": """
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;

#[derive(Module, Debug)]
pub struct Net<B: Backend> {
    fc: Linear<B>,
}

impl<B: Backend> Net<B> {
    pub fn new(device: &B::Device) -> Self {
        Self { fc: LinearConfig::new(3, 2).init(device) }
    }
}
""",
}

_STORE = """
#[path = "../../../../shared/serve.rs"]
mod serve;
#[path = "../../../../shared/store.rs"]
mod store;
#[path = "../../version.rs"]
mod version;
{modules}

fn main() {{
    serve::serve(|question| {{
        let path = question["file"].as_str().unwrap_or_default();
        match (question["ask"].as_str().unwrap(), question["program"].as_u64().unwrap_or_default()) {{
            ("literals", _) => serde_json::json!(LITERALS),
{arms}
            _ => serde_json::Value::Null,
        }}
    }});
}}

const LITERALS: &[&str] = &[
{literals}
];
"""

_STORE_ARMS = """            ("read", {n}) => store::read(p{n}::store(path), question),
            ("load", {n}) => store::load(p{n}::store(path), question),
            ("main", {n}) => serde_json::json!(p{n}::main().map_err(|error| error.to_string())),"""

_IMPORT = """
#[path = "../../../../shared/serve.rs"]
mod serve;
{modules}

use burn::record::{{FullPrecisionSettings, Recorder}};
use burn_store::ModuleStore;
type Record = model::NetRecord<burn::backend::NdArray>;
#[path = "model.rs"]
mod model;

fn main() {{
    serve::serve(|question| {{
        let path = question["file"].as_str().unwrap_or_default();
        match (question["ask"].as_str().unwrap(), question["program"].as_u64().unwrap_or_default()) {{
{arms}
            _ => serde_json::Value::Null,
        }}
    }});
}}
"""

_RECORDER_ARMS = """            ("read", {n}) => {{
                let args = p{n}::arguments(path).with_debug_print();
                let recorder = burn_import::{crate}::{recorder}::<FullPrecisionSettings>::default();
                let found: Result<Record, _> = recorder.load(args, &Default::default());
                serde_json::json!(found.map(|_| ()).map_err(|error| error.to_string()))
            }}
            ("main", {n}) => serde_json::json!(p{n}::main().map_err(|error| error.to_string())),"""

_KEYS_ARMS = """            ("keys", {n}) => {{
                serde_json::json!(p{n}::store(path).keys().map_err(|error| error.to_string()))
            }}"""


def compiled(project: str, programs: Sequence[str], literals: Sequence[str] = ()) -> Path:
    """The binary in which program `n` of `programs` answers questions with "program": n."""
    arms, files = [], {f"{project}/src/bin/generated/model.rs": _MODEL.get(project, _MODEL[""])}
    for n, text in enumerate(programs):
        files[f"{project}/src/bin/generated/p{n}.rs"] = text.replace("\nfn main()", "\npub fn main()")
        if project != "burn-import-0.20":
            arms.append(_STORE_ARMS.format(n=n))
        elif "burn_import" not in text:
            arms.append(_KEYS_ARMS.format(n=n))
        else:
            kind = (
                ("pytorch", "PyTorchFileRecorder") if "PyTorch" in text else ("safetensors", "SafetensorsFileRecorder")
            )
            arms.append(_RECORDER_ARMS.format(n=n, crate=kind[0], recorder=kind[1]))
    modules = "\n".join(f'#[path = "p{n}.rs"]\nmod p{n};' for n in range(len(programs)))
    frame = _IMPORT if project == "burn-import-0.20" else _STORE
    text = frame.format(modules=modules, arms="\n".join(arms), literals="".join(f"    {text},\n" for text in literals))
    files[f"{project}/src/bin/generated/main.rs"] = text
    return oracle.build(project, files, "generated")
