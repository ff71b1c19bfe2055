"""Burn's own modules and their fields, by version. Seen by running the crates, but for those marked read.

The constants among the fields, and the order of all, are those of 0.18.0, 0.19.1, 0.20.1 and 0.21.0.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CONSTANTS", "declarations"]

# One module a row: its fields in order, each `name:type`. A type is a module, a number (a parameter of that rank),
# `[n]` (an array of n constants), `=Name` (an enum of constants, and the variant it has unless another is chosen) or
# nothing (a constant), and may end in `?` (Option) or `[]` (Vec).
_GATES: Final = (
    "input_gate:GateController forget_gate:GateController output_gate:GateController cell_gate:GateController"
)
_STRUCTS: Final = {
    "Linear": "weight:2 bias:1?",
    "Conv1d": "weight:3 bias:1? stride kernel_size dilation groups padding",
    "Conv2d": "weight:4 bias:1? stride:[2] kernel_size:[2] dilation:[2] groups padding",
    "Conv3d": "weight:5 bias:1? stride:[3] kernel_size:[3] dilation:[3] groups padding",
    "ConvTranspose1d": "weight:3 bias:1? stride kernel_size dilation groups padding padding_out channels:[2]",
    "ConvTranspose2d": "weight:4 bias:1? stride:[2] kernel_size:[2] dilation:[2] groups padding:[2] padding_out:[2] "
    "channels:[2]",
    "ConvTranspose3d": "weight:5 bias:1? stride:[3] kernel_size:[3] dilation:[3] groups padding:[3] padding_out:[3] "
    "channels:[2]",
    "DeformConv2d": "weight:4 bias:1? stride:[2] kernel_size:[2] dilation:[2] weight_groups offset_groups padding",
    "Embedding": "weight:2",
    "BatchNorm": "gamma:1 beta:1 running_mean:1 running_var:1 momentum epsilon",
    "LayerNorm": "gamma:1 beta:1? epsilon",
    "GroupNorm": "gamma:1? beta:1? num_groups num_channels epsilon affine",
    "InstanceNorm": "gamma:1? beta:1? num_channels epsilon affine",
    "RmsNorm": "gamma:1 epsilon",
    "PRelu": "alpha:1 alpha_value",
    "SwiGlu": "linear_inner:Linear linear_outer:Linear",
    "MultiHeadAttention": "query:Linear key:Linear value:Linear output:Linear dropout activation d_model n_heads d_k "
    "min_float quiet_softmax",
    "PositionWiseFeedForward": "linear_inner:Linear linear_outer:Linear dropout activation",
    "TransformerEncoder": "layers:TransformerEncoderLayer[] d_model d_ff n_heads n_layers dropout norm_first "
    "quiet_softmax",
    "TransformerEncoderLayer": "mha:MultiHeadAttention pwff:PositionWiseFeedForward norm_1:LayerNorm norm_2:LayerNorm "
    "dropout norm_first",
    "TransformerDecoder": "layers:TransformerDecoderLayer[] d_model d_ff n_heads n_layers dropout norm_first "
    "quiet_softmax",
    "TransformerDecoderLayer": "cross_attn:MultiHeadAttention self_attn:MultiHeadAttention "
    "pwff:PositionWiseFeedForward norm_1:LayerNorm norm_2:LayerNorm norm_3:LayerNorm dropout norm_first",
    "GateController": "input_transform:Linear hidden_transform:Linear",
    "Lstm": f"{_GATES} d_hidden batch_first reverse clip input_forget gate_activation:=Sigmoid cell_activation:=Tanh "
    "hidden_activation:=Tanh",
    "BiLstm": "forward:Lstm reverse:Lstm d_hidden batch_first",
    "Gru": "update_gate:GateController reset_gate:GateController new_gate:GateController d_hidden reset_after "
    "gate_activation:=Sigmoid hidden_activation:=Tanh clip",
    "PositionalEncoding": "sinusoids max_sequence_size max_timescale",
    "RotaryEncoding": "freq_complex theta start_offset",
    "CrossEntropyLoss": "pad_tokens weights smoothing logits",
    "BinaryCrossEntropyLoss": "weights smoothing logits",
}

# Read in the source only.
_READ: Final = {
    "BiGru": "forward:Gru reverse:Gru d_hidden batch_first",
    "Rnn": "gate:GateController d_hidden batch_first reverse clip hidden_activation:=Tanh",
    "BiRnn": "forward:Rnn reverse:Rnn d_hidden batch_first",
    "CrossAttention": "query:Linear key:Linear value:Linear output:Linear dropout n_heads n_heads_kv d_head scale "
    "min_float quiet_softmax",
}

# What they were before a version.
_BEFORE: Final = {
    "0.20": {
        "LayerNorm": "gamma:1 beta:1 epsilon",
        "Lstm": f"{_GATES} d_hidden",
        "BiLstm": "forward:Lstm reverse:Lstm d_hidden",
    },
    "0.21": {
        "Gru": "update_gate:GateController reset_gate:GateController new_gate:GateController d_hidden reset_after",
        "PositionWiseFeedForward": "linear_inner:Linear linear_outer:Linear dropout gelu",
    },
}

# Enums, read; those variants without parameters are one `-`.
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
    CosineSimilarity PairwiseDistance LpLoss CTCLoss RNNTLoss
    MseLoss HuberLoss SmoothL1Loss PoissonNllLoss KLDivLoss CosineEmbeddingLoss
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
    for later, rows in reversed(_BEFORE.items()):
        if version < later:
            found |= {name: ("struct", _fields(text)) for name, text in rows.items()}
    if version == "0.23":
        kind, fields = found["PositionWiseFeedForward"]
        found["PositionWiseFeedForward"] = kind, (*fields[:-1], ("activation", "Activation"))
    for name in _WITHOUT_PARAMETERS.split():
        found[name] = "struct", ()
    if version != "0.18":
        for name, text in _ENUMS.items():
            found[name] = "enum", _fields(text)
    return found


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [field.partition(":") for field in text.split()]
    return tuple((name, kind) for name, _, kind in pairs)
