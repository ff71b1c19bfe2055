"""The example of Burn's guide, with a list and a norm: a net that was saved whole, and the Rust that is to have it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracles import torch

RULES = [(r"^conv\.(conv\d)", "$1")]

_STRUCT = """
#[derive(Module, Debug)]
pub struct Net{generic} {{
    conv1: Conv2d{backend},
    norm: BatchNorm{backend},
    layers: Vec<Linear{backend}>,
}}

impl{generic} Net{backend} {{
    pub fn new(device: &{device}) -> Self {{
        Self {{
            conv1: Conv2dConfig::new([1, 2], [3, 3]).init(device),
            norm: BatchNormConfig::new(2).init(device),
            layers: vec![LinearConfig::new(3, 3).init(device), LinearConfig::new(3, 2).init(device)],
        }}
    }}
}}

fn line{consts}(name: &str, tensor: Tensor<{tensor}>) -> String {{
    format!("value {{name}} {{:?}}\\n", tensor.into_data().convert::<f32>().to_vec::<f32>().unwrap())
}}

/// What is in a net, a parameter a line.
pub fn values{generic}(net: &Net{backend}) -> String {{
    let mut text = line("conv1.weight", net.conv1.weight.val());
    text += &line("conv1.bias", net.conv1.bias.as_ref().unwrap().val());
    text += &line("norm.gamma", net.norm.gamma.val());
    text += &line("norm.beta", net.norm.beta.val());
    text += &line("norm.running_mean", net.norm.running_mean.value());
    text += &line("norm.running_var", net.norm.running_var.value());
    for (n, layer) in net.layers.iter().enumerate() {{
        text += &line(&format!("layers.{{n}}.weight"), layer.weight.val());
        text += &line(&format!("layers.{{n}}.bias"), layer.bias.as_ref().unwrap().val());
    }}
    text
}}
"""
_USE = """use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
"""


def model_rs(burn: str) -> str:
    """model.rs for that version: the struct, how it is made, and what is in it."""
    if burn >= "0.22":
        words = {"generic": "", "backend": "", "device": "burn::tensor::Device"}
        words |= {"consts": "<const D: usize>", "tensor": "D"}
        return _USE + _STRUCT.format(**words)
    words = {"generic": "<B: Backend>", "backend": "<B>", "device": "B::Device"}
    words |= {"consts": "<B: Backend, const D: usize>", "tensor": "B, D"}
    return _USE + "use burn::tensor::backend::Backend;\n" + _STRUCT.format(**words)


def save_whole(path: Path) -> dict[str, np.ndarray[Any, Any]]:
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
    }
