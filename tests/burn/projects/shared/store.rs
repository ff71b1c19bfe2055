//! What burn-store answers, for every version with the same builder methods. `crate` says what differs: the types of
//! tensors, `Net` as a `Module`, and `tensors`.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::serve::{pairs, strings};
use crate::version::{
    ApplyResult, Bools, BurnpackStore, Device, Floats, Ints, Maps, ModuleSnapshot, ModuleStore, Param, ParamId,
    PyTorchToBurnAdapter, PytorchStore, SafetensorsStore, Tensor, Visits, described_data, keep_index, renamed, tensors,
};

macro_rules! parameters {
    ($($float:ident $int:ident $bool:ident $dims:literal),*) => {
        /// A parameter of any kind and number of dimensions.
        #[derive(Clone, Debug)]
        pub enum Parameter {
            $($float(Param<Floats<$dims>>), $int(Param<Ints<$dims>>), $bool(Param<Bools<$dims>>),)*
        }

        impl Parameter {
            fn zeros(kind: &str, shape: &[usize], device: &Device) -> Self {
                match (kind, shape.len()) {
                    $(("float", $dims) => Self::$float(Param::initialized(
                        ParamId::new(), Tensor::zeros(<[usize; $dims]>::try_from(shape).unwrap(), device))),
                    ("int", $dims) => Self::$int(Param::initialized(
                        ParamId::new(), Tensor::zeros(<[usize; $dims]>::try_from(shape).unwrap(), device))),
                    ("bool", $dims) => Self::$bool(Param::initialized(
                        ParamId::new(),
                        Ints::<$dims>::zeros(<[usize; $dims]>::try_from(shape).unwrap(), device).bool())),)*
                    _ => panic!("no {kind} parameter has {} dimensions", shape.len()),
                }
            }

            fn visit<V: Visits>(&self, visitor: &mut V) {
                match self {
                    $(Self::$float(param) => visitor.visit_float(param),
                    Self::$int(param) => visitor.visit_int(param),
                    Self::$bool(param) => visitor.visit_bool(param),)*
                }
            }

            fn map<M: Maps>(self, mapper: &mut M) -> Self {
                match self {
                    $(Self::$float(param) => Self::$float(mapper.map_float(param)),
                    Self::$int(param) => Self::$int(mapper.map_int(param)),
                    Self::$bool(param) => Self::$bool(mapper.map_bool(param)),)*
                }
            }

            fn described(&self) -> Value {
                described_data(match self {
                    $(Self::$float(param) => param.val().into_data(),
                    Self::$int(param) => param.val().into_data(),
                    Self::$bool(param) => param.val().into_data(),)*
                })
            }
        }
    };
}
parameters!(F1 I1 B1 1, F2 I2 B2 2, F3 I3 B3 3, F4 I4 B4 4, F5 I5 B5 5);

#[derive(Clone, Debug)]
pub struct Entry {
    /// Per segment of the path: its name, and the type that `derive(Module)` would pass with it.
    way: Vec<(String, String)>,
    parameter: Parameter,
}

/// A module that holds the parameters of a list, so that any model can be asked for.
#[derive(Clone, Debug)]
pub struct Net(Vec<Entry>);

impl Net {
    fn of(params: &Value, device: &Device) -> Self {
        let entry = |item: &Value| {
            let path = item["path"].as_str().expect("a path");
            let types = strings(&item["stack"]);
            let names: Vec<String> = path.split('.').map(str::to_string).collect();
            assert_eq!(names.len(), types.len(), "{path} needs one type per segment");
            let shape: Vec<usize> =
                item["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            let parameter = Parameter::zeros(item["kind"].as_str().unwrap_or("float"), &shape, device);
            Entry { way: names.into_iter().zip(types).collect(), parameter }
        };
        Self(params.as_array().expect("params").iter().map(entry).collect())
    }

    pub fn walk<V: Visits>(&self, visitor: &mut V) {
        for entry in &self.0 {
            entry.way.iter().for_each(|(name, kind)| visitor.enter_module(name, kind));
            entry.parameter.visit(visitor);
            entry.way.iter().rev().for_each(|(name, kind)| visitor.exit_module(name, kind));
        }
    }

    pub fn mapped<M: Maps>(self, mapper: &mut M) -> Self {
        let mut entries = Vec::new();
        for entry in self.0 {
            entry.way.iter().for_each(|(name, kind)| mapper.enter_module(name, kind));
            let parameter = entry.parameter.map(mapper);
            entry.way.iter().rev().for_each(|(name, kind)| mapper.exit_module(name, kind));
            entries.push(Entry { way: entry.way, parameter });
        }
        Self(entries)
    }

    fn described(&self) -> Value {
        let named = |entry: &Entry| {
            let names: Vec<&str> = entry.way.iter().map(|(name, _)| name.as_str()).collect();
            (names.join("."), entry.parameter.described())
        };
        self.0.iter().map(named).collect::<Map<String, Value>>().into()
    }
}

macro_rules! with_store {
    ($question:expr, $task:ident) => {
        match $question["store"].as_str() {
            Some("PytorchStore") => $task(pytorch($question), $question),
            Some("SafetensorsStore") => $task(safetensors($question), $question),
            Some("BurnpackStore") => $task(burnpack($question), $question),
            _ => json!({"error": "no such store"}),
        }
    };
}

pub fn answer(question: &Value) -> Value {
    match question["ask"].as_str() {
        Some("remap") => remapped(question),
        Some("read") => with_store!(question, read),
        Some("load") => with_store!(question, load),
        _ => json!({"error": "no such question"}),
    }
}

fn remapped(question: &Value) -> Value {
    let names = match renamed(strings(&question["keys"]), pairs(&question["rules"])) {
        Ok(names) => names,
        Err(reason) => return json!({"error": reason}),
    };
    if question["reindex"] != json!(true) {
        return json!({"names": names});
    }
    json!({"names": keep_index(names, strings(&question["keep"]))})
}

/// The tensors of a store.
pub fn read<S: ModuleStore>(mut store: S, _: &Value) -> Value {
    tensors(&mut store).map_or_else(|reason| json!({"error": reason}), |found| json!({"tensors": found}))
}

/// A load into the module that the question describes.
pub fn load<S: ModuleStore>(mut store: S, question: &Value) -> Value {
    let mut net = Net::of(&question["params"], &Device::default());
    match net.load_from(&mut store) {
        Ok(result) => json!({"result": listed(&result), "params": net.described()}),
        Err(reason) => json!({"error": reason.to_string(), "params": net.described()}),
    }
}

fn listed(result: &ApplyResult) -> Value {
    let missing: Vec<&str> = result.missing.iter().map(|(path, _)| path.as_str()).collect();
    let errors: Vec<String> = result.errors.iter().map(ToString::to_string).collect();
    json!({"applied": result.applied, "skipped": result.skipped, "missing": missing, "unused": result.unused,
        "errors": errors})
}

/// The options that PytorchStore and SafetensorsStore share.
macro_rules! with_options {
    ($store:expr, $question:expr) => {{
        let mut store = $store;
        for (pattern, replacement) in pairs(&$question["rules"]) {
            store = store.with_key_remapping(pattern, replacement);
        }
        for pattern in strings(&$question["regex"]) {
            store = store.with_regex(pattern);
        }
        for path in strings(&$question["full_paths"]) {
            store = store.with_full_path(path);
        }
        if let Some(wanted) = $question["reindex"].as_bool() {
            store = store.map_indices_contiguous(wanted);
        }
        for pattern in strings(&$question["keep"]) {
            store = crate::version::keep!(store, pattern);
        }
        if let Some(wanted) = $question["skip_enum_variants"].as_bool() {
            store = store.skip_enum_variants(wanted);
        }
        if let Some(wanted) = $question["allow_partial"].as_bool() {
            store = store.allow_partial(wanted);
        }
        if let Some(wanted) = $question["validate"].as_bool() {
            store = store.validate(wanted);
        }
        store
    }};
}

fn pytorch(question: &Value) -> PytorchStore {
    let store = with_options!(PytorchStore::from_file(file(question)), question);
    match question["top_level_key"].as_str() {
        Some(key) => store.with_top_level_key(key),
        None => store,
    }
}

fn safetensors(question: &Value) -> SafetensorsStore {
    let store = with_options!(SafetensorsStore::from_file(file(question)), question);
    if adapts(question) { store.with_from_adapter(PyTorchToBurnAdapter) } else { store }
}

fn burnpack(question: &Value) -> BurnpackStore {
    let mut store = BurnpackStore::from_file(file(question));
    for (pattern, replacement) in pairs(&question["rules"]) {
        store = store.with_remap_pattern(pattern, replacement);
    }
    for pattern in strings(&question["regex"]) {
        store = store.with_regex(&pattern);
    }
    for path in strings(&question["full_paths"]) {
        store = store.with_full_path(path);
    }
    if adapts(question) {
        store = store.with_from_adapter(PyTorchToBurnAdapter);
    }
    let flag = |name: &str, usual: bool| question[name].as_bool().unwrap_or(usual);
    store.allow_partial(flag("allow_partial", false)).validate(flag("validate", true))
}

fn file(question: &Value) -> &Path {
    Path::new(question["file"].as_str().expect("a file"))
}

fn adapts(question: &Value) -> bool {
    question["adapter"] == json!(true)
}
