"""torch.save(model): names, order and bytes of state_dict(), and every tensor that it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.formats.test_torch_oracle import raw
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.checkpoint import open_checkpoint
from workbench.core.source import FileSource
from workbench.core.tree import Opaque

pytestmark = pytest.mark.filterwarnings("ignore")


def tied(nn: Any) -> Any:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    net.append(net[2])
    return net


def with_buffers(nn: Any) -> Any:
    import torch

    net = nn.Sequential(nn.Linear(2, 2))
    net.register_buffer("kept", torch.ones(3))
    net[0].register_buffer("temporary", torch.ones(4), persistent=False)
    net[0].register_buffer("nothing", None)
    net.register_parameter("absent", None)
    net.plain = torch.ones(5)
    net.many = [torch.ones(6), {"x": torch.ones(7)}]
    net.hidden = [nn.Linear(1, 1)]
    net.note = "text"
    return net


def used_spectral_norm(nn: Any) -> Any:
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 4)), nn.ReLU())


def compiled(nn: Any) -> Any:
    import torch

    return torch.compile(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))


def averaged(nn: Any) -> Any:
    import torch

    return torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2))


def parameter_list(nn: Any) -> Any:
    import torch

    return nn.ParameterList([torch.ones(2), torch.ones(3, 1)])


def parameter_dict(nn: Any) -> Any:
    import torch

    return nn.ParameterDict({"b": torch.ones(2), "a": torch.ones(3)})


KINDS: dict[str, Callable[[Any], Any]] = {
    "Linear": lambda nn: nn.Linear(3, 2),
    "Conv2d": lambda nn: nn.Conv2d(2, 4, 3, groups=2, bias=False),
    "ConvTranspose1d": lambda nn: nn.ConvTranspose1d(2, 3, 2),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(3),
    "BatchNorm without values": lambda nn: nn.BatchNorm1d(3, affine=False, track_running_stats=False),
    "InstanceNorm2d": lambda nn: nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
    "LayerNorm": lambda nn: nn.LayerNorm((2, 3)),
    "GroupNorm": lambda nn: nn.GroupNorm(2, 4),
    "PReLU": lambda nn: nn.PReLU(3),
    "LSTM": lambda nn: nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2),
    "GRU": lambda nn: nn.GRU(3, 4, bidirectional=True),
    "RNNCell": lambda nn: nn.RNNCell(3, 4),
    "MultiheadAttention": lambda nn: nn.MultiheadAttention(4, 2),
    "MultiheadAttention with kdim": lambda nn: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True),
    "TransformerEncoderLayer": lambda nn: nn.TransformerEncoderLayer(4, 2, 8),
    "Transformer": lambda nn: nn.Transformer(4, 2, 1, 1, 8),
    "Embedding": lambda nn: nn.Embedding(5, 3, padding_idx=0),
    "Bilinear": lambda nn: nn.Bilinear(2, 3, 4),
    "Sequential": lambda nn: nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 1))),
    "ModuleList": lambda nn: nn.ModuleList([nn.Linear(1, 2), nn.Linear(2, 3)]),
    "ModuleDict": lambda nn: nn.ModuleDict({"z": nn.Linear(1, 1), "a": nn.LayerNorm(2)}),
    "ParameterList": parameter_list,
    "ParameterDict": parameter_dict,
    "weight_norm, old": lambda nn: nn.utils.weight_norm(nn.Linear(3, 2)),
    "spectral_norm, old": used_spectral_norm,
    "DataParallel": lambda nn: nn.DataParallel(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))),
    "AveragedModel": averaged,
    "compiled": compiled,
    "compiled in DataParallel": lambda nn: nn.DataParallel(compiled(nn)),
    "tied weights": tied,
    "buffers and attributes": with_buffers,
    "double precision": lambda nn: nn.Linear(3, 2).double(),
    "half precision": lambda nn: nn.Conv1d(1, 2, 3).bfloat16(),
    "channels last": lambda nn: nn.Conv2d(3, 4, 3).to(memory_format=__import__("torch").channels_last),
    "without parameters": lambda nn: nn.Sequential(nn.ReLU(), nn.Dropout(0.5)),
}


def wrapped(kind: str, how: str) -> tuple[Any, str, dict[str, Any]]:
    """What is saved, the prefix of its names, and the state_dict."""
    torch = load_torch()
    torch.manual_seed(0)
    model = KINDS[kind](torch.nn)
    if how == "alone":
        return model, "", model.state_dict()
    return {"epoch": 3, "model": model, "log": [1.5]}, "model.", model.state_dict()


@pytest.mark.parametrize("how", ["alone", "under a key"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_model_reads_as_its_state_dict(tmp_path: Path, kind: str, how: str) -> None:
    torch = load_torch()
    saved, prefix, expected = wrapped(kind, how)
    path = tmp_path / "net.pt"
    torch.save(saved, path)
    ckpt = open_checkpoint(path)
    assert list(ckpt) == [prefix + key for key in expected]
    for key, tensor in expected.items():
        ref = ckpt.tensor(prefix + key)
        assert (ref.dtype.name, ref.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)), key
        assert ref.read().tobytes() == raw(torch, tensor), key


@pytest.mark.parametrize("kind", KINDS)
def test_no_tensor_of_the_file_is_lost(tmp_path: Path, kind: str) -> None:
    torch = load_torch()
    saved, _, _ = wrapped(kind, "alone")
    path = tmp_path / "net.pt"
    torch.save(saved, path)
    contents = formats.read(FileSource(path))
    listed = [*contents.tensors, *(each.tensor for each in contents.beside)]
    names = set(torch._C.PyTorchFileReader(str(path)).get_all_records())
    assert {ref.storage.id for ref in listed} == {name for name in names if name.startswith("data/")}


def beside(tmp_path: Path, saved: Any) -> dict[str, str]:
    load_torch().save(saved, tmp_path / "net.pt")
    contents = formats.read(FileSource(tmp_path / "net.pt"))
    notes = [finding.place for finding in contents.findings if finding.code == "tensors-in-object"]
    assert notes == [f"object {each.tensor.key}" for each in contents.beside]
    for each in contents.beside:
        assert each.tensor.read().shape == each.tensor.shape
    return {each.tensor.key: each.reason for each in contents.beside}


def test_what_a_state_dict_leaves_out_is_listed_with_its_object_path_and_why(tmp_path: Path) -> None:
    found = beside(tmp_path, {"net": with_buffers(load_torch().nn)})
    assert found == {
        "net.plain": "it is a plain attribute, neither parameter nor buffer",
        "net.many.0": "it lies inside the plain attribute `many` of a module",
        "net.many.1.x": "it lies inside the plain attribute `many` of a module",
        "net.hidden.0.weight": "it lies inside the plain attribute `hidden` of a module",
        "net.hidden.0.bias": "it lies inside the plain attribute `hidden` of a module",
        "net.0.temporary": "it is a non-persistent buffer, which state_dict() leaves out",
    }


def test_a_parameter_that_an_object_holds_again_is_not_listed_twice(tmp_path: Path) -> None:
    assert beside(tmp_path, load_torch().nn.LSTM(2, 3)) == {}


def test_the_stale_weight_of_an_old_weight_norm_is_named(tmp_path: Path) -> None:
    found = beside(tmp_path, load_torch().nn.utils.weight_norm(load_torch().nn.Linear(3, 2)))
    assert found == {"weight": "it is a plain attribute, neither parameter nor buffer"}


def test_hooks_that_could_rename_entries_are_mentioned(tmp_path: Path) -> None:
    torch = load_torch()
    torch.save(used_spectral_norm(torch.nn), tmp_path / "net.pt")
    contents = formats.read(FileSource(tmp_path / "net.pt"))
    (note,) = [finding for finding in contents.findings if finding.code == "state-dict-hooks"]
    assert "`torch.nn.modules.linear.Linear`" in note.text


def test_classes_and_settings_stay_in_the_tree(tmp_path: Path) -> None:
    torch = load_torch()
    torch.save(torch.nn.Conv2d(2, 4, 3, stride=2), tmp_path / "net.pt")
    tree = open_checkpoint(tmp_path / "net.pt").tree
    assert isinstance(tree, Opaque)
    assert tree.class_path == "torch.nn.modules.conv.Conv2d"
    assert (tree.state["in_channels"], tree.state["stride"]) == (2, (2, 2))  # type: ignore[index]


def test_a_parametrized_module_saved_as_its_state_dict_keeps_its_names(tmp_path: Path) -> None:
    torch = load_torch()
    net = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 4))
    with pytest.raises(RuntimeError):
        torch.save(net, tmp_path / "net.pt")
    torch.save(net.state_dict(), tmp_path / "net.pt")
    assert list(open_checkpoint(tmp_path / "net.pt")) == list(net.state_dict())
