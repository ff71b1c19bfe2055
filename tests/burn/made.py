"""Keys, rules and files by seed, for questions to real Burn."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.make import pickles
from tests.make.burnpack import burnpack_file
from tests.make.safetensors import safetensors_file
from tests.make.zips import torch_records
from workbench.mapping import Rule

Part = tuple[str, str, tuple[int, ...], bytes]
"""Key, dtype as safetensors spells it, shape, bytes."""

DTYPES = {"F32": 4, "F64": 8, "I64": 8, "U8": 1}
_CLASSES = {"F32": "FloatStorage", "F64": "DoubleStorage", "I64": "LongStorage", "U8": "ByteStorage"}
_NAMES = ("encoder", "layers", "conv1", "norm", "fc", "bn", "module", "x", "Layer", "weight", "bias")
_NUMBERS = ("0", "1", "2", "5", "10", "12")
_ODD = ("01", "+2", "1a", "é", "a b", "", "18446744073709551616", '"q"')
_RULES = (
    (r"^module\.", ""),
    (r"^(.*)\.weight$", "$1.w"),
    (r"conv(\d)", "c$1"),
    (r"layers\.(\d+)\.", "blocks.${1}."),
    (r"\.(\d+)", "_$1"),
    (r"norm", "n.3"),
    (r"^encoder\.(.*)$", "$1"),
    (r"x*", "-"),
    (r"(?P<a>fc|bn)", "[$a]"),
    (r"weight$", "gamma"),
    (r"\b5\b", "7"),
    (r"(\w+)\.(\w+)$", "$2.$1"),
    (r"é", "\u00e9e"),
    (r"bias", "$$0$1b"),
)


def keys(seed: random.Random, n: int, *, odd: bool = False) -> list[str]:
    """At most `n` different keys, which look like those of models; `odd` also such that do not."""
    parts = _NAMES + _NUMBERS + (_ODD if odd else ())
    found = {".".join(seed.choice(parts) for _ in range(seed.randint(1, 5))) for _ in range(n)}
    return sorted(found, key=lambda key: (seed.random(), key))


def rules(seed: random.Random) -> list[Rule]:
    """Up to four rules."""
    return [Rule(*seed.choice(_RULES)) for _ in range(seed.randint(0, 4))]


def parts(seed: random.Random, names: Sequence[str], dtypes: Sequence[str] = ("F32",)) -> list[Part]:
    """A tensor with random bytes for each name, of one to four dimensions."""
    found: list[Part] = []
    for name in names:
        shape = tuple(seed.randint(1, 3) for _ in range(seed.randint(1, 4)))
        dtype = seed.choice(dtypes)
        n_bytes = DTYPES[dtype]
        for size in shape:
            n_bytes *= size
        found.append((name, dtype, shape, bytes(seed.randrange(64) for _ in range(n_bytes))))
    return found


def write(path: Path, made: Sequence[Part], *, below: str | None = None) -> Path:
    """`made` as the format that the suffix of `path` names; `below` a top-level key, for a PyTorch file."""
    if path.suffix == ".safetensors":
        path.write_bytes(safetensors_file(made))
    elif path.suffix == ".bpk":
        path.write_bytes(burnpack_file(made))
    else:
        root = pickles.dict_of(*((pickles.text(part[0]), _tensor(n, part)) for n, part in enumerate(made)))
        if below is not None:
            root = pickles.dict_of((pickles.text(below), root), (pickles.text("epoch"), pickles.number(3)))
        records = torch_records(pickles.pickle(root), {str(n): part[3] for n, part in enumerate(made)})
        with zipfile.ZipFile(path, "w") as archive:  # Burn checks the sums that `torch_zip` leaves out.
            for record in records:
                archive.writestr(record.name, record.data)
    return path


def _tensor(n: int, part: Part) -> bytes:
    _, dtype, shape, data = part
    strides = []
    step = 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    return pickles.tensor(str(n), len(data) // DTYPES[dtype], shape, strides, kind=_CLASSES[dtype])
