"""Makes the sample checkpoints that ship in `workbench/samples`: python tests/samples/make_samples.py [FOLDER].

The same torch version writes the same bytes each time; `test_samples.py` holds it to that.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

SAMPLES = Path(__file__).resolve().parents[2] / "workbench" / "samples"


class Net(nn.Module):
    """Two convolutions, the second without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, (2, 2))
        self.conv2 = nn.Conv2d(2, 2, (2, 2), bias=False)


class Wrapped(nn.Module):
    """The same two convolutions, one module deeper."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Net()


def make(folder: Path) -> list[Path]:
    torch.manual_seed(2)
    folder.mkdir(parents=True, exist_ok=True)
    net, wrapped = Net(), Wrapped()
    gaps = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    config = OrderedDict(n_features=4, hidden=[8, 8], learning_rate=0.001, name="net")
    files = {
        "net.pt": net.state_dict(),
        "net_nested.pt": {"epoch": 3, "my_state_dict": net.state_dict(), "config": config},
        "net_prefixed.pt": wrapped.state_dict(),
        "sequential_gaps.pt": gaps.state_dict(),
        "whole_model.pt": nn.Sequential(OrderedDict(conv1=net.conv1, conv2=net.conv2)),
    }
    for name, value in files.items():
        torch.save(value, folder / name)
    save_file(net.state_dict(), folder / "net.safetensors", metadata={"format": "pt"})
    return [*(folder / name for name in files), folder / "net.safetensors"]


if __name__ == "__main__":
    for path in make(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES):
        print(f"{path.stat().st_size:>6} bytes  {path}")
