//! Models of one kind of field each, as a user writes them.

#[derive(Module, Debug)]
pub struct Net<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
}

#[derive(Module, Debug)]
pub struct Net1d<B: Backend> {
    conv1: Conv1d<B>,
    conv2: Conv1d<B>,
}

#[derive(Module, Debug)]
pub struct LinearNet<B: Backend> {
    fc1: Linear<B>,
    fc2: Linear<B>,
}

#[derive(Module, Debug)]
pub struct BatchNormNet<B: Backend> {
    norm1: BatchNorm<B, 2>,
}

#[derive(Module, Debug)]
pub struct LayerNormNet<B: Backend> {
    norm: LayerNorm<B>,
}

#[derive(Module, Debug)]
pub struct InstanceNormNet<B: Backend> {
    norm: InstanceNorm<B>,
}

#[derive(Module, Debug)]
pub struct EmbeddingNet<B: Backend> {
    embed: Embedding<B>,
}

#[derive(Module, Debug)]
pub struct ConvTransposeNet<B: Backend> {
    up1: ConvTranspose1d<B>,
    up2: ConvTranspose2d<B>,
}

#[derive(Module, Debug)]
pub struct Layers<B: Backend> {
    layers: Vec<Linear<B>>,
}

#[derive(Module, Debug)]
pub struct Guide<B: Backend> {
    model: Layers<B>,
}

#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    conv_block: Vec<Conv2d<B>>,
}

#[derive(Module, Debug)]
pub struct Blocks<B: Backend> {
    layers: Vec<Block<B>>,
}

#[derive(Module, Debug)]
pub struct NestedVec<B: Backend> {
    feature: Blocks<B>,
}

#[derive(Module, Debug)]
pub struct DwsConv<B: Backend> {
    dconv: Conv2d<B>,
    pconv: Conv2d<B>,
}

#[derive(Module, Debug)]
pub enum ConvKind<B: Backend> {
    DwsConv(DwsConv<B>),
    Conv(Conv2d<B>),
}

#[derive(Module, Debug)]
pub struct EnumNet<B: Backend> {
    conv: ConvKind<B>,
}

#[derive(Module, Debug)]
pub struct EnumNetDws<B: Backend> {
    conv: ConvKind<B>,
}

#[derive(Module, Debug)]
pub struct BoolNet<B: Backend> {
    buffer: Param<Tensor<B, 1, Bool>>,
}

#[derive(Module, Debug)]
pub struct IntNet<B: Backend> {
    buffer: Param<Tensor<B, 1, Int>>,
}

#[derive(Module, Debug)]
pub struct Ints<B: Backend> {
    i64: Param<Tensor<B, 1, Int>>,
    u8: Param<Tensor<B, 1, Int>>,
}

#[derive(Module, Debug)]
pub struct Floats<B: Backend> {
    f64: Param<Tensor<B, 1>>,
    f32: Param<Tensor<B, 1>>,
    f16: Param<Tensor<B, 1>>,
    bf16: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
pub struct OptionNet<B: Backend> {
    a: Option<Linear<B>>,
    b: Option<Param<Tensor<B, 1>>>,
    c: Linear<B>,
}

#[derive(Module, Debug)]
pub struct NoneNet<B: Backend> {
    a: Option<Linear<B>>,
    b: Option<Param<Tensor<B, 1>>>,
    c: Linear<B>,
}

#[derive(Module, Debug)]
pub struct TupleNet<B: Backend> {
    pair: (Linear<B>, Linear<B>),
}

#[derive(Module, Debug)]
pub struct ArrayNet<B: Backend> {
    pair: [Linear<B>; 2],
}

#[derive(Module, Debug)]
pub struct Inner<B: Backend> {
    fc: Linear<B>,
    scale: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
pub struct Middle<B: Backend> {
    inner: Inner<B>,
}

#[derive(Module, Debug)]
pub struct Nested<B: Backend> {
    middle: Middle<B>,
    head: Linear<B>,
}

#[derive(Module, Debug)]
pub struct Constants<B: Backend> {
    fc: Linear<B>,
    size: usize,
    rate: f64,
    on: bool,
    name: String,
    pair: [usize; 2],
    note: Ignored<PaddingConfig2d>,
    none: PhantomData<B>,
    drop: Dropout,
    pool: pool::MaxPool2d,
    relu: Relu,
    plain: Tensor<B, 1>,
}

#[derive(Module, Debug)]
pub struct Recurrent<B: Backend> {
    lstm: Lstm<B>,
}

#[derive(Module, Debug)]
pub struct GroupNormNet<B: Backend> {
    norm: GroupNorm<B>,
}

#[derive(Module, Debug)]
pub struct RmsNormNet<B: Backend> {
    norm: RmsNorm<B>,
}

#[derive(Module, Debug)]
pub struct PReluNet<B: Backend> {
    act: PRelu<B>,
}

#[derive(Module, Debug)]
pub struct GroupConvNet<B: Backend> {
    conv: Conv2d<B>,
    conv3: Conv3d<B>,
}

#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    attn: attention::MultiHeadAttention<B>,
}

#[derive(Module, Debug)]
pub struct MaybeBoth<B: Backend> {
    a: Option<Linear<B>>,
    b: Option<Linear<B>>,
}

#[derive(Module, Debug)]
pub enum Loose<B: Backend> {
    Any(MaybeBoth<B>),
    Linear(Linear<B>),
}

#[derive(Module, Debug)]
pub struct LooseNet<B: Backend> {
    head: Loose<B>,
}

#[derive(Module, Debug)]
pub enum ByRank<B: Backend> {
    One(Conv1d<B>),
    Two(Conv2d<B>),
}

#[derive(Module, Debug)]
pub struct ByRankNet<B: Backend> {
    conv: ByRank<B>,
}

#[derive(Module, Debug)]
pub struct ConvBn<B: Backend> {
    conv: Conv2d<B>,
    bn: BatchNorm<B, 2>,
}

#[derive(Module, Debug)]
pub struct Chained<B: Backend> {
    conv: Conv2d<B>,
    bn: BatchNorm<B, 2>,
    layer: Vec<ConvBn<B>>,
}
