"""Burn's own modules and their parameters, by version. Seen by running the crates, but for those marked read."""

from __future__ import annotations

from typing import Final

__all__ = ["CONSTANTS", "declarations"]

# One module a row: its fields, each `name:type`. A type is a module, a number (a parameter of that rank), and may end
# in `?` (Option) or `[]` (Vec). Fields that hold no parameter are left out.
_STRUCTS: Final = {
    "Linear": "weight:2 bias:1?",
    "Conv1d": "weight:3 bias:1?",
    "Conv2d": "weight:4 bias:1?",
    "Conv3d": "weight:5 bias:1?",
    "ConvTranspose1d": "weight:3 bias:1?",
    "ConvTranspose2d": "weight:4 bias:1?",
    "ConvTranspose3d": "weight:5 bias:1?",
    "DeformConv2d": "weight:4 bias:1?",
    "Embedding": "weight:2",
    "BatchNorm": "gamma:1 beta:1 running_mean:1 running_var:1",
    "LayerNorm": "gamma:1 beta:1?",
    "GroupNorm": "gamma:1? beta:1?",
    "InstanceNorm": "gamma:1? beta:1?",
    "RmsNorm": "gamma:1",
    "PRelu": "alpha:1",
    "SwiGlu": "linear_inner:Linear linear_outer:Linear",
    "MultiHeadAttention": "query:Linear key:Linear value:Linear output:Linear",
    "PositionWiseFeedForward": "linear_inner:Linear linear_outer:Linear",
    "TransformerEncoder": "layers:TransformerEncoderLayer[]",
    "TransformerEncoderLayer": "mha:MultiHeadAttention pwff:PositionWiseFeedForward norm_1:LayerNorm norm_2:LayerNorm",
    "TransformerDecoder": "layers:TransformerDecoderLayer[]",
    "TransformerDecoderLayer": "cross_attn:MultiHeadAttention self_attn:MultiHeadAttention "
    "pwff:PositionWiseFeedForward norm_1:LayerNorm norm_2:LayerNorm norm_3:LayerNorm",
    "GateController": "input_transform:Linear hidden_transform:Linear",
    "Lstm": "input_gate:GateController forget_gate:GateController output_gate:GateController cell_gate:GateController",
    "BiLstm": "forward:Lstm reverse:Lstm",
    "Gru": "update_gate:GateController reset_gate:GateController new_gate:GateController",
}

# Read in the source only.
_READ: Final = {
    "BiGru": "forward:Gru reverse:Gru",
    "Rnn": "gate:GateController",
    "BiRnn": "forward:Rnn reverse:Rnn",
    "CrossAttention": "query:Linear key:Linear value:Linear output:Linear",
}

# Enums of 0.20 on, read; variants without parameters are one `-`.
_ENUMS: Final = {
    "Activation": "PRelu:PRelu SwiGlu:SwiGlu -",
    "Normalization": "Batch:BatchNorm Group:GroupNorm Instance:InstanceNorm Layer:LayerNorm Rms:RmsNorm -",
}

_WITHOUT_PARAMETERS: Final = """
    Dropout GaussianNoise Relu Gelu LeakyRelu Sigmoid LogSigmoid Tanh HardSigmoid HardSwish Softplus Softsign Softmax
    LogSoftmax Elu Celu Selu Silu Mish GLU Identity ThresholdedRelu HardShrink SoftShrink Shrink
    MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LpPool1d LpPool2d
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
    Unfold4d Fold4d Interpolate1d Interpolate2d PixelShuffle PixelUnshuffle LocalResponseNorm
    PositionalEncoding RotaryEncoding CosineSimilarity PairwiseDistance
    CrossEntropyLoss BinaryCrossEntropyLoss MseLoss HuberLoss SmoothL1Loss PoissonNllLoss KLDivLoss CosineEmbeddingLoss
"""

CONSTANTS: Final = frozenset(
    {
        *("usize", "u8", "u16", "u32", "u64", "u128", "isize", "i8", "i16", "i32", "i64", "i128"),
        *("f16", "f32", "f64", "bool", "char", "str", "String", "PhantomData", "Ignored", "Tensor", "Device"),
        *("PaddingConfig1d", "PaddingConfig2d", "PaddingConfig3d", "InterpolateMode", "Initializer"),
        *("RnnState", "LstmState"),
    }
)
"""Types of fields that hold no parameter: a plain tensor too is not loaded."""


def declarations(version: str) -> dict[str, tuple[str, tuple[tuple[str, str], ...]]]:
    """By name: "struct" or "enum", and the name and type of each field or variant."""
    found: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {}
    for name, text in (_STRUCTS | _READ).items():
        found[name] = "struct", _fields(text)
    if version == "0.23":
        kind, fields = found["PositionWiseFeedForward"]
        found["PositionWiseFeedForward"] = kind, (*fields, ("activation", "Activation"))
    for name in _WITHOUT_PARAMETERS.split():
        found[name] = "struct", ()
    if version not in ("0.18", "0.19"):
        for name, text in _ENUMS.items():
            found[name] = "enum", _fields(text)
    return found


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [field.partition(":") for field in text.split()]
    return tuple((name, kind) for name, _, kind in pairs)
