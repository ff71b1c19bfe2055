//! What is particular to burn-store 0.22: devices choose the backend, tensors travel as those of burn-pack.

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
pub use burn::module::{Param, ParamId};
use burn::store::burn_pack::Tensor as PackTensor;
use burn::store::{KeyRemapper, map_indices_contiguous_except};
pub use burn::store::{
    ApplyResult, BurnpackStore, ModuleSnapshot, ModuleStore, PathFilter, PyTorchToBurnAdapter, PytorchStore,
    SafetensorsStore,
};
use burn::tensor::{Bool, Bytes, DType, Int, TensorData};
pub use burn::tensor::{Device, Tensor};
use serde_json::{Map, Value, json};

use crate::serve::described;
use crate::store::Net;

pub type Floats<const D: usize> = Tensor<D>;
pub type Ints<const D: usize> = Tensor<D, Int>;
pub type Bools<const D: usize> = Tensor<D, Bool>;

pub trait Visits: ModuleVisitor {}
impl<V: ModuleVisitor> Visits for V {}
pub trait Maps: ModuleMapper {}
impl<M: ModuleMapper> Maps for M {}

impl Module for Net {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }
    fn fork(self, _: &Device) -> Self {
        self
    }
    fn to_device(self, _: &Device) -> Self {
        self
    }
    fn train(self) -> Self {
        self
    }
    fn valid(&self) -> Self {
        self.clone()
    }
    fn materialize(self) -> Self {
        self
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.walk(visitor);
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.mapped(mapper)
    }
}

macro_rules! keep {
    ($store:expr, $pattern:expr) => {
        $store.map_indices_contiguous_except($pattern)
    };
}
pub(crate) use keep;

fn empty(name: &str) -> PackTensor {
    PackTensor::new(name.to_string(), DType::U8, vec![0], None, Bytes::from_bytes_vec(Vec::new()))
}

pub fn renamed(names: Vec<String>, rules: Vec<(String, String)>) -> Result<Vec<String>, String> {
    let remapper = KeyRemapper::from_patterns(rules).map_err(|error| error.to_string())?;
    let found = remapper.remap(names.iter().map(|name| empty(name)).collect());
    Ok(found.1.into_iter().map(|(new, _)| new).collect())
}

pub fn keep_index(names: Vec<String>, keep: Vec<String>) -> Vec<String> {
    let kept = PathFilter::new().with_regexes(keep);
    let tensors = names.iter().map(|name| empty(name)).collect();
    let found = map_indices_contiguous_except(tensors, |prefix| kept.matches(prefix));
    found.1.into_iter().map(|(new, _)| new).collect()
}

pub fn described_data(data: TensorData) -> Value {
    let shape: Vec<usize> = data.shape().iter().copied().collect();
    described(&format!("{:?}", data.dtype()), &shape, data.as_bytes())
}

pub fn tensors<S: ModuleStore>(store: &mut S) -> Result<Map<String, Value>, String> {
    let found = store.get_all_tensors().map_err(|error| error.to_string())?;
    let one = |(name, tensor): (&String, &PackTensor)| {
        let shape: Vec<usize> = tensor.shape.iter().copied().collect();
        let answer = match tensor.to_bytes() {
            Ok(bytes) => described(&format!("{:?}", tensor.dtype), &shape, &bytes),
            Err(error) => json!({"error": error.to_string()}),
        };
        (name.clone(), answer)
    };
    Ok(found.iter().map(one).collect())
}
