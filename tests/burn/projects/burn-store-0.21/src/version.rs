//! What is particular to burn-store 0.21: modules are generic over a backend, tensors travel as snapshots.

use burn::backend::NdArray;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
pub use burn::module::{Param, ParamId};
use burn::record::{PrecisionSettings, Record};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, TensorData};
pub use burn::tensor::Tensor;
use burn_store::{KeyRemapper, TensorSnapshot, map_indices_contiguous};
pub use burn_store::{
    ApplyResult, BurnpackStore, ModuleSnapshot, ModuleStore, PathFilter, PyTorchToBurnAdapter, PytorchStore,
    SafetensorsStore,
};
use serde_json::{Map, Value, json};

use crate::serve::described;
use crate::store::Net;

type B = NdArray;
pub type Device = <B as burn::tensor::backend::BackendTypes>::Device;
pub type Floats<const D: usize> = Tensor<B, D>;
pub type Ints<const D: usize> = Tensor<B, D, Int>;
pub type Bools<const D: usize> = Tensor<B, D, Bool>;

pub trait Visits: ModuleVisitor<B> {}
impl<V: ModuleVisitor<B>> Visits for V {}
pub trait Maps: ModuleMapper<B> {}
impl<M: ModuleMapper<B>> Maps for M {}

/// Modules need a record; stores do not use it.
pub struct NoRecord;

impl Record<B> for NoRecord {
    type Item<S: PrecisionSettings> = ();
    fn into_item<S: PrecisionSettings>(self) {}
    fn from_item<S: PrecisionSettings>((): (), _: &Device) -> Self {
        Self
    }
}

impl Module<B> for Net {
    type Record = NoRecord;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        devices
    }
    fn fork(self, _: &Device) -> Self {
        self
    }
    fn to_device(self, _: &Device) -> Self {
        self
    }
    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        self.walk(visitor);
    }
    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        self.mapped(mapper)
    }
    fn load_record(self, _: NoRecord) -> Self {
        self
    }
    fn into_record(self) -> NoRecord {
        NoRecord
    }
}

macro_rules! keep {
    ($store:expr, $pattern:expr) => {{
        let _ = ($store, $pattern);
        panic!("0.21 has no list of indices to keep")
    }};
}
pub(crate) use keep;

fn empty(name: &str) -> TensorSnapshot {
    let names = name.split('.').map(str::to_string).collect();
    TensorSnapshot::from_data(TensorData::new(Vec::<u8>::new(), [0]), names, Vec::new(), ParamId::new())
}

pub fn renamed(names: Vec<String>, rules: Vec<(String, String)>) -> Result<Vec<String>, String> {
    let remapper = KeyRemapper::from_patterns(rules).map_err(|error| error.to_string())?;
    let found = remapper.remap(names.iter().map(|name| empty(name)).collect());
    Ok(found.1.into_iter().map(|(new, _)| new).collect())
}

pub fn keep_index(names: Vec<String>, keep: Vec<String>) -> Vec<String> {
    assert!(keep.is_empty(), "0.21 has no list of indices to keep");
    let found = map_indices_contiguous(names.iter().map(|name| empty(name)).collect());
    found.1.into_iter().map(|(new, _)| new).collect()
}

pub fn described_data(data: TensorData) -> Value {
    let shape: Vec<usize> = data.shape.iter().copied().collect();
    described(&format!("{:?}", data.dtype), &shape, data.as_bytes())
}

pub fn tensors<S: ModuleStore>(store: &mut S) -> Result<Map<String, Value>, String> {
    let found = store.get_all_snapshots().map_err(|error| error.to_string())?;
    let one = |(name, tensor): (&String, &TensorSnapshot)| {
        let shape: Vec<usize> = tensor.shape.iter().copied().collect();
        let answer = match tensor.to_data() {
            Ok(data) => described(&format!("{:?}", tensor.dtype), &shape, data.as_bytes()),
            Err(error) => json!({"error": error.to_string()}),
        };
        (name.clone(), answer)
    };
    Ok(found.iter().map(one).collect())
}
