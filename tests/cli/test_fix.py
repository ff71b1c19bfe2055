"""`workbench fix`: the state_dict that torch would give, in files that torch and safetensors load."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch

import workbench as wb
from tests.cli.test_commands import fault, workbench
from tests.formats.test_whole_models import KINDS
from tests.oracles import torch as load_torch

pytestmark = pytest.mark.filterwarnings("ignore")


def shared_block(nn: Any) -> Any:
    block = nn.Linear(3, 3)
    return nn.ModuleDict({"first": block, "second": nn.ModuleDict({"inner": block, "own": nn.Linear(3, 2)})})


def dotted_looking(nn: Any) -> Any:
    return nn.ModuleDict({"layer_1": nn.Linear(2, 2), "0": nn.ModuleDict({"weight": nn.Linear(1, 1)}), "é": nn.PReLU()})


def deep(nn: Any) -> Any:
    net = nn.Linear(2, 2)
    for _ in range(100):
        net = nn.Sequential(net)
    return net


def pruned(nn: Any) -> Any:
    import torch.nn.utils.prune as prune

    net = nn.Sequential(nn.Linear(4, 4))
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    return net


MORE: dict[str, Callable[[Any], Any]] = {
    "shared modules": shared_block,
    "names that look dotted": dotted_looking,
    "a hundred levels": deep,
    "pruning": pruned,
}
TREES = KINDS | MORE


def raw(tensor: Any) -> bytes:
    th = load_torch()
    return tensor.detach().contiguous().reshape(-1).view(th.uint8).numpy().tobytes() if tensor.numel() else b""


def facts(state: Any) -> dict[str, tuple[Any, ...]]:
    return {name: (tensor.dtype, tuple(tensor.shape), raw(tensor)) for name, tensor in state.items()}


def aliases(state: Any) -> set[frozenset[str]]:
    """Names that are one tensor in memory."""
    same: dict[tuple[Any, ...], set[str]] = {}
    for name, tensor in state.items():
        if tensor.numel():
            same.setdefault((tensor.data_ptr(), tuple(tensor.shape), tensor.stride()), set()).add(name)
    return {frozenset(names) for names in same.values() if len(names) > 1}


def fixed(path: Path, out: Path, **options: Any) -> Any:
    from workbench.exporting import fix

    return fix(wb.open(path), out, **options)


@pytest.mark.parametrize("kind", TREES)
def test_the_state_dict_of_a_whole_model_is_the_one_that_torch_gives(kind, tmp_path):
    th = load_torch()
    th.manual_seed(0)
    model = TREES[kind](th.nn)
    expected = model.state_dict()
    th.save(model, tmp_path / "whole.pt")
    if not expected:
        with pytest.raises(wb.ExportError, match="There is no state_dict in this file"):
            fixed(tmp_path / "whole.pt", tmp_path / "out.pt")
        return
    fixed(tmp_path / "whole.pt", tmp_path / "out.pt")
    loaded = th.load(tmp_path / "out.pt", weights_only=True)
    assert list(loaded) == list(expected)
    assert facts(loaded) == facts(expected)
    assert aliases(loaded) == aliases(expected)
    fixed(tmp_path / "whole.pt", tmp_path / "out.safetensors")
    assert facts(safetensors.torch.load_file(tmp_path / "out.safetensors")) == facts(expected)
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:
        recorded = json.loads(file.metadata().get("aliases", "{}"))
    assert {name for group in aliases(expected) for name in group} == {*recorded, *recorded.values()}
    assert all(any({name, first} <= group for group in aliases(expected)) for name, first in recorded.items())


def test_a_model_that_torch_saves_only_by_state_dict_is_found_in_its_checkpoint(tmp_path):
    th = load_torch()
    net = th.nn.utils.parametrizations.weight_norm(th.nn.Linear(3, 2))
    optimizer = th.optim.Adam(net.parameters())
    net(th.ones(1, 3)).sum().backward()
    optimizer.step()
    th.save({"epoch": 3, "net": net.state_dict(), "opt": optimizer.state_dict()}, tmp_path / "train.pt")
    result = fixed(tmp_path / "train.pt", tmp_path / "out.pt")
    assert result.state_dict.key == "net"
    loaded = th.load(tmp_path / "out.pt", weights_only=True)
    assert list(loaded) == ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
    assert facts(loaded) == facts(net.state_dict())
    assert {key.split(".")[0] for key, _ in result.left_out} == {"opt"}
    net.load_state_dict(loaded)


@pytest.fixture
def two(tmp_path):
    th = load_torch()
    path = tmp_path / "two.pt"
    whole = th.nn.Linear(2, 3)
    th.save({"epoch": 1, "model": whole, "ema": th.nn.Linear(2, 3).state_dict()}, path)
    return path, whole.state_dict()


def test_the_command_writes_the_file_and_says_what_is_in_it(tmp_path):
    th = load_torch()
    net = th.nn.Sequential(th.nn.Linear(2, 2), th.nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.register_buffer("temporary", th.ones(2), persistent=False)
    th.save({"model": net, "epoch": 3}, tmp_path / "whole.pt")
    said = workbench("fix", tmp_path / "whole.pt", "-o", tmp_path / "out.safetensors").stdout
    assert "the whole model `torch.nn.modules.container.Sequential`, under `model`: 4 tensors" in said
    assert "alias: 1.weight is 0.weight" in said
    assert "left out: model.temporary: it is a non-persistent buffer" in said
    assert facts(safetensors.torch.load_file(tmp_path / "out.safetensors")) == facts(net.state_dict())


def test_several_state_dicts_ask_for_a_key_and_list_them(two, tmp_path):
    path, expected = two
    said = fault("fix", path, "-o", tmp_path / "out.pt")
    assert "There are 2 state_dicts in this file" in said
    assert "'model' (whole model `torch.nn.modules.linear.Linear`, 2 tensors, 36 B)" in said
    assert "'ema' (2 tensors, 36 B)" in said
    assert "--top-level-key" in said
    assert not (tmp_path / "out.pt").exists()
    workbench("fix", path, "-o", tmp_path / "out.pt", "--top-level-key", "model")
    assert facts(load_torch().load(tmp_path / "out.pt", weights_only=True)) == facts(expected)


def test_a_key_that_is_not_there_is_named(two, tmp_path):
    assert "'nothing'" in fault("fix", two[0], "-o", tmp_path / "out.pt", "--top-level-key", "nothing")


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_source_is_never_written_over_also_through_a_link(two, tmp_path, link):
    path, _ = two
    before = path.read_bytes()
    link(path, tmp_path / "other.pt")
    for out in (path, tmp_path / "other.pt"):
        said = fault("fix", path, "-o", out, "--top-level-key", "ema", "--overwrite")
        assert "the checkpoint itself" in said
    assert path.read_bytes() == before


def test_an_earlier_file_stays_unless_told(two, tmp_path):
    out = tmp_path / "out.pt"
    out.write_bytes(b"mine")
    assert "exists already" in fault("fix", two[0], "-o", out, "--top-level-key", "ema")
    assert out.read_bytes() == b"mine"
    workbench("fix", two[0], "-o", out, "--top-level-key", "ema", "--overwrite")
    assert len(load_torch().load(out, weights_only=True)) == 2


def test_another_ending_is_refused(two, tmp_path):
    assert ".safetensors or .pt" in fault("fix", two[0], "-o", tmp_path / "out.txt", "--top-level-key", "ema")


def test_a_tensor_that_cannot_be_read_is_listed(tmp_path):
    th = load_torch()
    with th.no_grad():
        quantised = th.quantize_per_tensor(th.ones(2), 0.1, 0, th.qint8)
    th.save({"w": th.ones(2), "q": quantised}, tmp_path / "net.pt")
    result = fixed(tmp_path / "net.pt", tmp_path / "out.pt")
    assert [key for key, why in result.left_out if why.startswith("it cannot be read")] == ["q"]
    assert list(th.load(tmp_path / "out.pt", weights_only=True)) == ["w"]


def test_json_says_what_the_lines_say(tmp_path):
    torch = load_torch()
    weight = torch.ones(2, 3)
    torch.save({"state_dict": {"a": weight, "b": weight}, "ema": {"a": torch.zeros(2)}}, tmp_path / "train.pt")
    words = ("fix", tmp_path / "train.pt", "-o", tmp_path / "out.pt", "--top-level-key", "state_dict", "--json")
    facts = json.loads(workbench(*words).stdout)
    assert facts["path"] == str(tmp_path / "out.pt")
    assert facts["nbytes"] == (tmp_path / "out.pt").stat().st_size
    assert (facts["n_tensors"], facts["top_level_key"], facts["class"]) == (2, "state_dict", None)
    assert facts["aliases"] == [{"key": "b", "same_as": "a"}]
    assert [each["key"] for each in facts["left_out"]] == ["ema.a"]
