"""The example of Burn's guide, with more in it: a net that was saved whole, and the Rust that is to have it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracles import torch
from workbench.mapping import Rule

PREFIX = [Rule(r"^conv\.(conv\d)", "$1")]
INDICES = [Rule(r"^layers\.2\.", "layers.1.")]
"""For a reader that closes no gaps."""
NORMS = [Rule(r"^norm\.weight$", "norm.gamma"), Rule(r"^norm\.bias$", "norm.beta")]
"""For a reader that renames none."""

_STRUCT = """use burn::module::{{Module, Param}};
use burn::nn::conv::{{Conv2d, Conv2dConfig}};
use burn::nn::{{BatchNorm, BatchNormConfig, Linear, LinearConfig}};
use burn::tensor::{{{bool_}Int, Tensor, TensorData}};
{use_}
#[derive(Module, Debug)]
pub struct Net{generic} {{
    conv1: Conv2d{backend},
    norm: BatchNorm{norm},
    layers: Vec<Linear{backend}>,
    steps: Param<Tensor<{tensor}1, Int>>,{mask}
}}

impl{generic} Net{backend} {{
    pub fn new(device: &{device}) -> Self {{
        Self {{
            conv1: Conv2dConfig::new([1, 2], [3, 3]).init(device),
            norm: BatchNormConfig::new(2).init(device),
            layers: vec![LinearConfig::new(3, 3).init(device), LinearConfig::new(3, 2).init(device)],
            steps: Param::initialized(Default::default(), Tensor::zeros([3], device)),{new_mask}
        }}
    }}
}}

fn line(name: &str, data: TensorData) -> String {{
    format!("value {{name}} {{:?}}\\n", data.convert::<f32>().to_vec::<f32>().unwrap())
}}

/// What is in a net, a parameter a line.
pub fn values{generic}(net: &Net{backend}) -> String {{
    let mut text = line("conv1.weight", net.conv1.weight.val().into_data());
    text += &line("conv1.bias", net.conv1.bias.as_ref().unwrap().val().into_data());
    text += &line("norm.gamma", net.norm.gamma.val().into_data());
    text += &line("norm.beta", net.norm.beta.val().into_data());
    text += &line("norm.running_mean", net.norm.running_mean.value().into_data());
    text += &line("norm.running_var", net.norm.running_var.value().into_data());
    for (n, layer) in net.layers.iter().enumerate() {{
        text += &line(&format!("layers.{{n}}.weight"), layer.weight.val().into_data());
        text += &line(&format!("layers.{{n}}.bias"), layer.bias.as_ref().unwrap().val().into_data());
    }}
    text += &line("steps", net.steps.val().into_data());{mask_value}
    text
}}
"""
_MASK = {
    "bool_": "Bool, ",
    "mask": "\n    mask: Param<Tensor<{tensor}1, Bool>>,",
    "new_mask": "\n            mask: Param::initialized("
    "Default::default(), Tensor::<{tensor}1, Int>::zeros([3], device).equal_elem(1)),",
    "mask_value": '\n    text += &line("mask", net.mask.val().into_data());',
}


def model_rs(burn: str, *, mask: bool) -> str:
    """model.rs for that version: the struct, how it is made, and what is in it."""
    words = {"generic": "<B: Backend>", "backend": "<B>", "device": "B::Device", "tensor": "B, "}
    words["use_"] = "use burn::tensor::backend::Backend;\n"
    if burn >= "0.22":
        words = {"generic": "", "backend": "", "device": "burn::tensor::Device", "tensor": "", "use_": ""}
    words["norm"] = "<B, 2>" if burn == "0.18" else words["backend"]
    parts = {name: text.replace("{tensor}", words["tensor"]) if mask else "" for name, text in _MASK.items()}
    return _STRUCT.format(**words, **parts)


def save_whole(path: Path, *, mask: bool) -> dict[str, np.ndarray[Any, Any]]:
    """The mistake: the model itself is saved. What a Burn model holds when it is loaded right, by path."""
    th = torch()
    th.manual_seed(7)
    nn = th.nn
    net = nn.Sequential(
        OrderedDict(
            conv=nn.Sequential(OrderedDict(conv1=nn.Conv2d(1, 2, 3))),
            norm=nn.BatchNorm2d(2),
            layers=nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)),
        )
    )
    net.register_buffer("steps", th.tensor([3, -30_000, 5]))
    if mask:
        net.register_buffer("mask", th.tensor([True, False, True]))
    state = net.state_dict()
    for name in ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        state[name].copy_(th.rand(2) + 1)
    th.save(net, path)
    found = {key: value.numpy() for key, value in state.items()}
    return {
        "conv1.weight": found["conv.conv1.weight"],
        "conv1.bias": found["conv.conv1.bias"],
        "norm.gamma": found["norm.weight"],
        "norm.beta": found["norm.bias"],
        "norm.running_mean": found["norm.running_mean"],
        "norm.running_var": found["norm.running_var"],
        "layers.0.weight": found["layers.0.weight"].T,
        "layers.0.bias": found["layers.0.bias"],
        "layers.1.weight": found["layers.2.weight"].T,
        "layers.1.bias": found["layers.2.bias"],
        "steps": found["steps"],
        **({"mask": found["mask"]} if mask else {}),
    }


def save_below(source: Path, path: Path, key: str) -> Path:
    """`path`, where the object of `source` is written once more as one entry of a training state."""
    th = torch()
    th.save({key: th.load(source), "epoch": 3}, path)
    return path
