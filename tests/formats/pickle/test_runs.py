"""Runs: entries taken by the pattern and the same taken opcode by opcode give one result, whatever the program."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from tests.fuzz.programs import spoil
from tests.make.zips import Record, make_zip
from tests.oracles import torch as load_torch
from workbench.checkpoint import checkpoint_of
from workbench.core.source import MemorySource
from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict, Opaque, Set, StorageNode
from workbench.errors import OpenError
from workbench.formats.pickle import runs
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_storages import Storages
from workbench.formats.zip_directory import read_directory


def described(node: object, around: tuple[int, ...] = ()) -> object:
    """All that a node says, its shared parts included."""
    if id(node) in around:
        return "again", len(around) - around.index(id(node))
    around = (*around, id(node)) if isinstance(node, (Dict, Opaque, Set, list, tuple)) and node != () else around
    if isinstance(node, TensorRef):
        fields = (node.key, node.path, node.dtype.name, node.shape, node.strides, node.offset, node.storage)
        return ("tensor", *fields, node.storage.source, node.byteswap, node.conj, node.neg, node.unreadable)
    if isinstance(node, StorageNode):
        return "storage", node.storage, node.dtype, node.numel, node.big_endian, node.problem
    if isinstance(node, Dict):
        pairs = [(described(key, around), described(value, around)) for key, value in node.pairs]
        return node.class_name, pairs, described(node.attributes, around), node.n_repeated
    if isinstance(node, Opaque):
        parts = (node.args, node.state, node.kwargs, node.pairs, node.items)
        return node.class_path, getattr(node, "n_called", 0), [described(part, around) for part in parts]
    if isinstance(node, Set):
        return node.class_name, [described(item, around) for item in node.items]
    if isinstance(node, (list, tuple)):
        return type(node).__name__, [described(item, around) for item in node]
    return type(node).__name__, node


class File:
    """A torch.save file in memory, whose data.pkl can be another one."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.data = zipped(files)
        self.root = next(iter(files)).partition("/")[0] + "/"
        self.pickle = files[self.root + "data.pkl"]
        self.source = MemorySource(self.data)
        self.directory = read_directory(self.source)


def result(file: File, *, with_runs: bool) -> tuple[Any, int]:
    """Everything one reading of data.pkl leads to, and how many tensors came by runs."""
    storages = Storages(file.directory, file.root, big_endian=False)
    builder = TreeBuilder(storages.resolve, "data.pkl", bulk=storages)
    taken = [0]

    def take(data: bytes, at: int, memo: dict[int, object]) -> tuple[runs.Run | None, int]:
        run, look_at = runs.take_run(data, at, memo, builder)
        taken[0] += len(run.items) // 2 if run is not None else 0
        return run, look_at

    machine = Machine(file.pickle, builder, name="net.pt", take_run=take if with_runs else None)
    try:
        tree: object = described(machine.run())
    except OpenError as error:
        tree = str(error), error.code
    n = len(machine._memo)
    # The state_dict itself is in the tree already, and in the memo as often as it was put there.
    whole = {id(value) for value in machine._memo.values() if isinstance(value, Dict) and len(value) > 20}
    memo = {slot: id(value) in whole or described(value) for slot, value in sorted(machine._memo.items())}
    counts = machine.end, machine.made, machine._n_opcodes, n
    found = builder.findings(), builder.kinds(), builder.dangers(), storages.findings()
    return (tree, memo, counts, found), taken[0]


def zipped(files: dict[str, bytes]) -> bytes:
    return make_zip([Record(name, data) for name, data in files.items()]).data


def records_of(value: object) -> dict[str, bytes]:
    """What torch.save writes."""
    file = io.BytesIO()
    load_torch().save(value, file)
    with zipfile.ZipFile(file) as made:
        return {name: made.read(name) for name in made.namelist()}


def many(make: Callable[[int], Any], n: int = 120) -> dict[str, Any]:
    return {f"layers.{i}.weight": make(i) for i in range(n)}


SHAPES = [(), (0,), (1,), (2, 3), (300,), (2, 1, 70000), (1, 2, 3, 4), (1, 1, 2, 1, 2), (5, 0, 2)]
DTYPES = ["float32", "float16", "bfloat16", "int64", "bool", "complex64", "uint8"]


def scalars_between(torch: Any) -> dict[str, Any]:
    return many(lambda i: torch.tensor(i) if i % 3 == 2 else torch.zeros(3))


def shared(torch: Any) -> dict[str, Any]:
    one = torch.arange(1000.0)
    return many(lambda i: one[i * 5 : i * 5 + 3])


def tied(torch: Any) -> dict[str, Any]:
    one = torch.zeros(4)
    return many(lambda i: one if i % 20 == 19 else torch.zeros(2))


def trained(torch: Any) -> object:
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(20)))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def conjugated(torch: Any) -> dict[str, Any]:
    return many(lambda i: torch.zeros(2, dtype=torch.complex64).conj() if i % 30 == 9 else torch.zeros(2))


KINDS: dict[str, tuple[Callable[[Any], object], int]] = {
    "one dtype": (lambda torch: many(lambda i: torch.zeros(4)), 80),
    "scalars between": (scalars_between, 80),
    "shapes": (lambda torch: many(lambda i: torch.zeros(SHAPES[i % len(SHAPES)])), 60),
    "dtypes": (lambda torch: many(lambda i: torch.zeros(2, 2, dtype=getattr(torch, DTYPES[i % 7]))), 80),
    "transposed": (lambda torch: many(lambda i: torch.zeros(2, 3).T if i % 2 else torch.zeros(1).expand(4)), 80),
    "views of one storage": (shared, 0),
    "ties now and then": (tied, 60),
    "names in other scripts": (lambda torch: {f"层{i}.ü": torch.zeros(1) for i in range(99)}, 60),
    "line ends in names": (lambda torch: {f"{i}" + "\n" * (i % 30 == 9): torch.zeros(1) for i in range(300)}, 200),
    "longer and longer names": (lambda torch: {"r" * i: torch.zeros(1) for i in range(300)}, 200),
    "nested": (lambda torch: {"epoch": 1, "a": scalars_between(torch), "b": scalars_between(torch)}, 200),
    "batches of a thousand": (lambda torch: many(lambda i: torch.zeros(1), 2500), 2400),
    "after many other values": (lambda torch: {f"k{i}": str(i) for i in range(200)} | shared(torch) | tied(torch), 60),
    "optimizer": (trained, 0),
    "a whole model": (lambda torch: torch.nn.Sequential(*(torch.nn.BatchNorm1d(3) for _ in range(30))), 0),
    "conjugated": (conjugated, 60),
    "ordered": (lambda torch: torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(50))).state_dict(), 60),
}  # fmt: skip


def saved(kind: str) -> dict[str, bytes]:
    return records_of(KINDS[kind][0](load_torch()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_torch_gives_the_same_with_and_without_runs(kind: str) -> None:
    file = File(saved(kind))
    whole, n = result(file, with_runs=True)
    assert whole == result(file, with_runs=False)[0]
    assert n >= KINDS[kind][1]


def small_storages(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same file with storages that are too short, too long, empty or absent here and there."""
    changed = {}
    for i, (name, data) in enumerate(files.items()):
        if "/data/" in name and i % 7 == 3:
            if i % 4:
                changed[name] = {1: b"", 2: data[:-1], 3: data + b"more"}[i % 4]
        else:
            changed[name] = data
    return changed


def test_storages_that_lie_give_the_same_findings() -> None:
    file = File(small_storages(saved("scalars between")))
    whole, n = result(file, with_runs=True)
    assert whole == result(file, with_runs=False)[0]
    assert n > 60
    assert "torch.load refuses that" in str(whole)


def changes(data: bytes, random: Random) -> Iterator[bytes]:
    """Programs near this one: any byte, an operand of the kinds that runs check, an opcode, or two of these at once."""
    operands = [i for i, op in enumerate(data) if op in b"hrXKMJ(tQRq"]
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 2))):
            at = random.choice(operands)
            choice = random.randrange(5)
            if choice == 0:
                changed[at + 1] = random.choice((0, 1, 2, 3, 4, 5, 6, 10, 255, changed[at + 1] ^ 1))
            elif choice == 1:
                changed[at] = random.choice(b"hrXKMJ(tQRq)\x85\x86\x89\x88N0")
            elif choice == 2:
                changed[at + 1 : at + 5] = struct.pack("<I", random.choice((0, 3, 5, 200, 300, 2**31, 2**32 - 1)))
            elif choice == 3:
                other = random.choice(operands)
                n = random.randrange(1, 60)
                changed[at : at + n] = data[other : other + n]
            else:
                del changed[at : at + random.randrange(1, 6)]
        yield bytes(changed)
    for _ in range(100):
        yield spoil(random, data)


@pytest.mark.parametrize("seed", range(4))
def test_a_program_near_one_of_torch_gives_the_same_with_and_without_runs(seed: int) -> None:
    random = Random(seed)
    names = ("one dtype", "scalars between", "shapes", "ties now and then")
    file, n_taken, n_opened = File(saved(names[seed])), 0, 0
    for data in changes(file.pickle, random):
        file.pickle = data
        whole, n = result(file, with_runs=True)
        expected, _ = result(file, with_runs=False)
        assert whole == expected, data
        n_taken += n > 0
        n_opened += whole[0][0] == "dict"
    assert n_taken > 150
    assert n_opened > 30


def test_what_runs_put_into_the_memo_can_be_read_and_put_anew() -> None:
    file = File(saved("scalars between"))
    data = file.pickle
    assert data.endswith(b"u.")
    later = b"".join(b"j" + struct.pack("<I", slot) for slot in range(2, 400, 3))
    anew = b"".join(b"K\x07r" + struct.pack("<I", slot) + b"0j" + struct.pack("<I", slot) for slot in range(280, 300))
    memoized = b"K\x09\x94h\x01\x94"
    file.pickle = data[:-1] + b"(" + later + anew + memoized + b"t\x86."
    whole, n = result(file, with_runs=True)
    assert whole == result(file, with_runs=False)[0]
    assert n > 20


def test_a_memo_number_that_no_run_put_is_an_error_still() -> None:
    file = File(saved("scalars between"))
    data = file.pickle
    file.pickle = data[:-1] + b"j" + struct.pack("<I", 100_000) + b"\x86."
    whole, n = result(file, with_runs=True)
    assert whole == result(file, with_runs=False)[0]
    assert "the memo holds nothing under that number" in str(whole)
    assert n > 20


def test_a_long_text_full_of_false_ends_costs_no_more_than_its_length() -> None:
    """Each `r....h.((h.h.X` in a key could be the end of it: were all of them tried, this would take hours."""
    text = (b"rAAAAhA((hAhAX" * 20_000)[: 240 << 10]
    program = b"\x80\x02X" + struct.pack("<I", len(text)) + text + b"r\x01\x00\x00\x00h\x01((."
    for cut in (len(text), 14):
        data = b"X" + struct.pack("<I", cut) + text
        assert runs.take_run(data, 0, {}, TreeBuilder(lambda pid: None, "x")) == (None, 0)
    with pytest.raises(OpenError):
        Machine(program, TreeBuilder(lambda pid: None, "x"), name="net.pt").run()


def test_opening_a_large_file_takes_its_tensors_by_runs(monkeypatch: Any) -> None:
    torch = load_torch()
    files = records_of(many(lambda i: torch.full((1,), float(i)), 3000))
    made: list[int] = []
    take = runs.take_run

    def counted(*args: Any) -> Any:
        run, look_at = take(*args)
        made.append(len(run.items) // 2 if run is not None else 0)
        return run, look_at

    monkeypatch.setattr("workbench.formats.pickle.rebuild.take_run", counted)
    opened = checkpoint_of(MemorySource(zipped(files), "many.pt"))
    assert list(opened) == [f"layers.{i}.weight" for i in range(3000)]
    assert [float(opened[key][0]) for key in list(opened)[::499]] == [float(i) for i in range(0, 3000, 499)]
    assert sum(made) > 2900
