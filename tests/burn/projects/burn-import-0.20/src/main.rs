//! burn-import 0.20: renaming and its tree of lists and maps are public, loads need a compiled model.

mod record;
#[path = "../../shared/serve.rs"]
mod serve;

use std::collections::HashMap;
use std::path::PathBuf;

use burn::backend::NdArray;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::record::serde::data::{NestedValue, Serializable, remap, unflatten};
use burn::record::serde::error::Error;
use burn::record::serde::ser::Serializer;
use burn::record::{FullPrecisionSettings, PrecisionSettings, Recorder, RecorderError};
use burn::tensor::backend::Backend;
use burn_import::pytorch::{LoadArgs, PyTorchFileRecorder};
use burn_import::safetensors::{LoadArgs as SafetensorsArgs, SafetensorsFileRecorder};
use burn_store::ModuleSnapshot;
use burn_store::pytorch::PytorchReader;
use regex::Regex;
use serde_json::{Map, Value, json};
use serve::{described, pairs, strings};

type B = NdArray;

fn main() {
    serve::serve(answer);
}

fn answer(question: &Value) -> Value {
    match question["ask"].as_str() {
        Some("remap") => remapped(question),
        Some("read") => read(question),
        Some("load") => load(question),
        Some("save" | "load record") => record::record::<B>(question),
        _ => json!({"error": "no such question"}),
    }
}

/// A tensor that is only its old name.
#[derive(Clone)]
struct Name(String);

impl Serializable for Name {
    fn serialize<PS: PrecisionSettings>(&self, _: Serializer) -> Result<NestedValue, Error> {
        Ok(NestedValue::String(self.0.clone()))
    }
}

fn remapped(question: &Value) -> Value {
    let rules: Result<Vec<(Regex, String)>, _> = pairs(&question["rules"])
        .into_iter()
        .map(|(pattern, replacement)| Regex::new(&pattern).map(|regex| (regex, replacement)))
        .collect();
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let keys = strings(&question["keys"]);
    let tensors = keys.iter().map(|key| (key.clone(), Name(key.clone()))).collect();
    let (tensors, renamed): (HashMap<String, Name>, _) = remap(tensors, rules);
    let new: HashMap<String, String> = renamed.into_iter().map(|(new, old)| (old, new)).collect();
    let names: Vec<&String> = keys.iter().map(|key| &new[key]).collect();
    if question["reindex"] != json!(true) {
        return json!({"names": names});
    }
    let mut places = HashMap::new();
    match unflatten::<FullPrecisionSettings, _>(tensors) {
        Ok(tree) => note(&tree, String::new(), &mut places),
        Err(error) => return json!({"error": error.to_string()}),
    }
    json!({"names": keys.iter().map(|key| places.get(key)).collect::<Vec<_>>()})
}

/// Where in the tree each old name ended up.
fn note(tree: &NestedValue, path: String, places: &mut HashMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match tree {
        NestedValue::Map(items) => items.iter().for_each(|(name, item)| note(item, below(name), places)),
        NestedValue::Vec(items) => {
            items.iter().enumerate().for_each(|(index, item)| note(item, below(&index.to_string()), places));
        }
        NestedValue::String(old) => {
            places.insert(old.clone(), path);
        }
        _ => {}
    }
}

fn read(question: &Value) -> Value {
    let file = question["file"].as_str().expect("a file");
    let reader = match question["top_level_key"].as_str() {
        Some(key) => PytorchReader::with_top_level_key(file, key),
        None => PytorchReader::new(file),
    };
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let mut found = Map::new();
    for (name, tensor) in reader.into_tensors() {
        let answer = match tensor.to_data() {
            Ok(data) => described(&format!("{:?}", tensor.dtype), &tensor.shape, data.as_bytes()),
            Err(error) => json!({"error": error.to_string()}),
        };
        found.insert(name, answer);
    }
    json!({"tensors": found})
}

#[derive(Module, Debug)]
struct Net<B: Backend> {
    conv1: Conv2d<B>,
    norm1: BatchNorm<B>,
    layers: Vec<Linear<B>>,
    fc: Option<Linear<B>>,
}

impl<B: Backend> Net<B> {
    fn new(n_layers: usize, device: &B::Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([1, 2], [2, 2]).init(device),
            norm1: BatchNormConfig::new(2).init(device),
            layers: (0..n_layers).map(|_| LinearConfig::new(2, 2).init(device)).collect(),
            fc: Some(LinearConfig::new(3, 2).init(device)),
        }
    }
}

fn load(question: &Value) -> Value {
    let device = Default::default();
    let file = PathBuf::from(question["file"].as_str().expect("a file"));
    let record: Result<NetRecord<B>, RecorderError> = match question["store"].as_str() {
        Some("SafetensorsFileRecorder") => {
            let mut args = SafetensorsArgs::new(file);
            for (pattern, replacement) in pairs(&question["rules"]) {
                args = args.with_key_remap(&pattern, &replacement);
            }
            if question["debug"] == json!(true) {
                args = args.with_debug_print();
            }
            SafetensorsFileRecorder::<FullPrecisionSettings>::default().load(args, &device)
        }
        _ => {
            let mut args = LoadArgs::new(file);
            for (pattern, replacement) in pairs(&question["rules"]) {
                args = args.with_key_remap(&pattern, &replacement);
            }
            if let Some(key) = question["top_level_key"].as_str() {
                args = args.with_top_level_key(key);
            }
            if question["debug"] == json!(true) {
                args = args.with_debug_print();
            }
            PyTorchFileRecorder::<FullPrecisionSettings>::default().load(args, &device)
        }
    };
    let record = match record {
        Ok(record) => record,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let n_layers = question["layers"].as_u64().unwrap_or(2) as usize;
    let net = Net::<B>::new(n_layers, &device).load_record(record);
    let mut params = Map::new();
    for tensor in net.collect(None, None, false) {
        let data = tensor.to_data().expect("data of a parameter");
        params.insert(tensor.full_path(), described(&format!("{:?}", tensor.dtype), &tensor.shape, data.as_bytes()));
    }
    json!({"params": params})
}
