"""TorchScript programs, exported programs and torch.packages, built record by record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.make import pickles as p
from tests.make.zips import Record


def quoted(name: str) -> str:
    """A name as TorchScript's code spells it: what is not printable ASCII in octal, byte by byte."""
    plain = {chr(byte): chr(byte) for byte in range(32, 127)} | {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(plain.get(chr(byte), f"\\{byte:03o}") for byte in name.encode()) + '"'


def script_class(
    name: str, parameters: Sequence[str] = (), buffers: Sequence[str] = (), base: str | None = "Module"
) -> str:
    """A class of the code: its two lists, and a method that looks like more of them."""

    def listed(names: Sequence[str]) -> str:
        return "[" + "".join(f"{quoted(each)}, " for each in names) + "]"

    return (
        f"class {name}{f'({base})' if base else ''}:\n"
        f"  __parameters__ = {listed(parameters)}\n  __buffers__ = {listed(buffers)}\n  training : bool\n"
        "  def forward(self) -> Tensor:\n    __parameters__ = []\n    return torch.ones([2])\n"
    )


def script_object(class_path: str, attributes: Sequence[tuple[str, bytes]]) -> bytes:
    module, _, name = class_path.rpartition(".")
    return p.instance(module, name, p.dict_of(*((p.text(key), value) for key, value in attributes)))


def script_records(
    root_object: bytes,
    code: Mapping[str, str],
    storages: Mapping[str, bytes],
    *,
    constants: Sequence[bytes] = (),
    constant_storages: Mapping[str, bytes] | None = None,
    byteorder: str = "little",
) -> list[Record]:
    """The records of a torch.jit.save file; ``code`` maps `a/b.py` to its text."""
    return [
        *(Record(f"net/data/{key}", raw, align=64) for key, raw in storages.items()),
        Record("net/data.pkl", p.pickle(root_object)),
        *(Record(f"net/code/{path}", text.encode(), deflate=True) for path, text in code.items()),
        *(Record(f"net/constants/{key}", raw, align=64) for key, raw in (constant_storages or {}).items()),
        Record("net/constants.pkl", p.pickle(p.tuple_of(*constants))),
        Record("net/version", b"3\n"),
        Record("net/byteorder", byteorder.encode()),
    ]


def weight_entry(
    path_name: str, dtype: int, sizes: Sequence[int], strides: Sequence[int], offset: int = 0, **other: Any
) -> dict[str, Any]:
    """One name of a `model_weights_config.json`."""
    return {
        "path_name": path_name,
        "is_param": True,
        "use_pickle": False,
        "tensor_meta": {
            "dtype": dtype,
            "sizes": [{"as_int": n} for n in sizes],
            "requires_grad": False,
            "device": {"type": "cpu", "index": None},
            "strides": [{"as_int": n} for n in strides],
            "storage_offset": {"as_int": offset},
            "layout": 7,
        },
    } | other


def pt2_records(
    config: Mapping[str, Any] | bytes,
    weights: Mapping[str, bytes],
    *,
    model: str = "model",
    constants: Mapping[str, Any] | None = None,
    byteorder: str = "little",
) -> list[Record]:
    """The records of a torch.export.save file without its program."""
    raw = config if isinstance(config, bytes) else json.dumps({"config": config}).encode()
    return [
        *(Record(f"net/data/weights/{name}", data, align=64) for name, data in weights.items()),
        Record(f"net/data/weights/{model}_weights_config.json", raw),
        Record(f"net/data/constants/{model}_constants_config.json", json.dumps({"config": constants or {}}).encode()),
        Record("net/archive_format", b"pt2"),
        Record("net/archive_version", b"0"),
        Record("net/byteorder", byteorder.encode()),
    ]


def packaged_tensor(key: int, numel: int, shape: Sequence[int], strides: Sequence[int], kind: str) -> bytes:
    """A tensor of a torch.package, whose storages are numbered."""
    pid = p.tuple_of(p.text("storage"), p.name("torch", kind), p.number(key), p.text("cpu"), p.number(numel)) + b"Q"
    return p.call(
        p.name("torch._utils", "_rebuild_tensor_v2"),
        pid,
        p.number(0),
        p.numbers(shape),
        p.numbers(strides),
        p.boolean(False),
        p.ordered_dict(),
    )


def package_records(
    pickles: Mapping[str, bytes], storages: Mapping[int, bytes], *, code: Mapping[str, str] | None = None
) -> list[Record]:
    """The records of a torch.package."""
    return [
        *(Record(f"net/.data/{key}.storage", raw, align=64) for key, raw in storages.items()),
        *(Record(f"net/{name}", p.pickle(root, 3)) for name, root in pickles.items()),
        *(Record(f"net/{name}", text.encode()) for name, text in (code or {}).items()),
        Record("net/.data/extern_modules", b"torch\ncollections\n"),
        Record("net/.data/python_version", b"3.11.7"),
        Record("net/.data/version", b"6"),
        Record("net/byteorder", b"little"),
    ]
