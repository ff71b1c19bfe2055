//! A model with a field of every kind, saved and loaded with the recorders of named MessagePack.

use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::nn::attention::*;
use burn::nn::conv::*;
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::loss::*;
use burn::nn::transformer::*;
use burn::nn::*;
use burn::record::{FullPrecisionSettings, HalfPrecisionSettings, NamedMpkFileRecorder, PrecisionSettings};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};
use burn_store::ModuleSnapshot;
use serde_json::{Map, Value, json};

use crate::serve::described;

#[derive(Module, Debug)]
pub struct Pair<B: Backend> {
    first: Conv2d<B>,
    second: Conv2d<B>,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Kind<B: Backend> {
    Plain(Conv2d<B>),
    Pair(Pair<B>),
}

#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    fc: Linear<B>,
    norm: LayerNorm<B>,
    drop: Dropout,
}

#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    blocks: Vec<Block<B>>,
    position: PositionalEncoding<B>,
    attention: MultiHeadAttention<B>,
}

#[derive(Module, Debug)]
pub struct Everything<B: Backend> {
    conv: Conv2d<B>,
    line: Conv1d<B>,
    up: ConvTranspose2d<B>,
    norm: BatchNorm<B>,
    group: GroupNorm<B>,
    rms: RmsNorm<B>,
    embed: Embedding<B>,
    encoder: Encoder<B>,
    kind: Kind<B>,
    other: Kind<B>,
    array: [Linear<B>; 2],
    tuple: (Linear<B>, LayerNorm<B>),
    head: Option<Linear<B>>,
    tail: Option<Linear<B>>,
    lstm: Lstm<B>,
    scale: Param<Tensor<B, 1>>,
    steps: Param<Tensor<B, 1, Int>>,
    mask: Param<Tensor<B, 1, Bool>>,
    plain: Tensor<B, 1>,
    size: [usize; 2],
    span: (usize, f64),
    name: String,
    relu: Relu,
}

impl<B: Backend> Everything<B> {
    fn new(device: &B::Device) -> Self {
        let conv = || Conv2dConfig::new([1, 2], [2, 2]).init(device);
        let linear = || LinearConfig::new(2, 2).init(device);
        let block = || Block {
            fc: LinearConfig::new(4, 3).init(device),
            norm: LayerNormConfig::new(3).init(device),
            drop: DropoutConfig::new(0.5).init(),
        };
        Self {
            conv: Conv2dConfig::new([1, 2], [2, 3]).with_bias(false).init(device),
            line: Conv1dConfig::new(2, 2, 3).init(device),
            up: ConvTranspose2dConfig::new([2, 3], [2, 2]).init(device),
            norm: BatchNormConfig::new(2).init(device),
            group: GroupNormConfig::new(1, 2).init(device),
            rms: RmsNormConfig::new(2).init(device),
            embed: EmbeddingConfig::new(5, 4).init(device),
            encoder: Encoder {
                blocks: (0..3).map(|_| block()).collect(),
                position: PositionalEncodingConfig::new(4).init(device),
                attention: MultiHeadAttentionConfig::new(4, 2).init(device),
            },
            kind: Kind::Plain(conv()),
            other: Kind::Pair(Pair { first: conv(), second: conv() }),
            array: [linear(), linear()],
            tuple: (linear(), LayerNormConfig::new(2).init(device)),
            head: Some(LinearConfig::new(2, 1).with_bias(false).init(device)),
            tail: None,
            lstm: LstmConfig::new(2, 3, true).init(device),
            scale: Param::from_tensor(Tensor::zeros([3], device)),
            steps: Param::initialized(Default::default(), Tensor::zeros([4], device)),
            mask: Param::initialized(Default::default(), Tensor::<B, 1, Int>::zeros([4], device).equal_elem(1)),
            plain: Tensor::zeros([2], device),
            size: [1, 2],
            span: (3, 0.5),
            name: "everything".to_string(),
            relu: Relu::new(),
        }
    }
}

/// Burn's own modules that `Everything` lacks.
#[derive(Module, Debug)]
pub struct Others<B: Backend> {
    conv3: Conv3d<B>,
    deform: DeformConv2d<B>,
    up1: ConvTranspose1d<B>,
    up3: ConvTranspose3d<B>,
    instance: InstanceNorm<B>,
    prelu: PRelu<B>,
    swiglu: SwiGlu<B>,
    gru: Gru<B>,
    both: BiLstm<B>,
    cross: CrossAttention<B>,
    encoder: TransformerEncoder<B>,
    decoder: TransformerDecoder<B>,
    rotary: RotaryEncoding<B>,
    entropy: CrossEntropyLoss<B>,
    binary: BinaryCrossEntropyLoss<B>,
    mse: MseLoss,
    pool: pool::AdaptiveAvgPool2d,
    gelu: Gelu,
}

impl<B: Backend> Others<B> {
    fn new(device: &B::Device) -> Self {
        Self {
            conv3: Conv3dConfig::new([1, 2], [1, 2, 2]).init(device),
            deform: DeformConv2dConfig::new([2, 2], [2, 2]).init(device),
            up1: ConvTranspose1dConfig::new([1, 2], 2).init(device),
            up3: ConvTranspose3dConfig::new([1, 2], [1, 2, 2]).init(device),
            instance: InstanceNormConfig::new(2).init(device),
            prelu: PReluConfig::new().init(device),
            swiglu: SwiGluConfig::new(2, 3).init(device),
            gru: GruConfig::new(2, 3, true).init(device),
            both: BiLstmConfig::new(2, 3, true).init(device),
            cross: CrossAttentionConfig::new(4, 4, 2, 2, 2).init(device),
            encoder: TransformerEncoderConfig::new(4, 6, 2, 2).init(device),
            decoder: TransformerDecoderConfig::new(4, 6, 2, 1).init(device),
            rotary: RotaryEncodingConfig::new(4, 4).init(device),
            entropy: CrossEntropyLossConfig::new().init(device),
            binary: BinaryCrossEntropyLossConfig::new().init(device),
            mse: MseLoss::new(),
            pool: pool::AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            gelu: Gelu::new(),
        }
    }
}

/// Saves a model as it is made, or loads `Everything` and tells all parameters.
pub fn record<B: Backend>(question: &Value) -> Value {
    match question["precision"].as_str() {
        Some("half") => with::<B, HalfPrecisionSettings>(question),
        _ => with::<B, FullPrecisionSettings>(question),
    }
}

fn with<B: Backend, S: PrecisionSettings>(question: &Value) -> Value {
    let device = Default::default();
    let file = PathBuf::from(question["file"].as_str().expect("a file"));
    let recorder = NamedMpkFileRecorder::<S>::default();
    if question["module"] == json!("Others") {
        return match Others::<B>::new(&device).save_file(file, &recorder) {
            Ok(()) => json!({"saved": "Others"}),
            Err(error) => json!({"error": error.to_string()}),
        };
    }
    let model = Everything::<B>::new(&device);
    let model = if question["ask"] == json!("save") {
        match model.clone().save_file(file, &recorder) {
            Ok(()) => model,
            Err(error) => return json!({"error": error.to_string()}),
        }
    } else {
        match model.load_file(file, &recorder, &device) {
            Ok(model) => model,
            Err(error) => return json!({"error": error.to_string()}),
        }
    };
    let mut params = Map::new();
    for tensor in model.collect(None, None, false) {
        let data = tensor.to_data().expect("data of a parameter");
        params.insert(tensor.full_path(), described(&format!("{:?}", tensor.dtype), &tensor.shape, data.as_bytes()));
    }
    json!({"params": params, "head": model.head.is_some(), "tail": model.tail.is_some()})
}
