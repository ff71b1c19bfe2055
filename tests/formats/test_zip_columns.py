"""Very many headers checked at once say what each of them says when it is looked at alone."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.make.zips import Record, make_zip
from workbench.core.source import MemorySource
from workbench.errors import OpenError
from workbench.formats import zip_directory
from workbench.formats.zip_columns import NOWHERE
from workbench.formats.zip_directory import ZipDirectory, read_directory


def lie(random: Random) -> dict[str, Any]:
    field = random.choice(("signature", "flags", "method", "crc", "packed", "size", "name", "extra"))
    values: dict[str, tuple[Any, ...]] = {
        "signature": (b"PK\x03\x05", b"\0\0\0\0"),
        "name": ("other", "", "x" * 300, b"\xff\n"),
        "extra": (b"FB\x02\x00\0\0", b"\0" * 60, b"\0" * 5000),
        "method": (0, 8, 12),
        "flags": (0, 8, 0x800, 1, 0x2000),
    }
    return {field: random.choice(values.get(field, (0, 1, 5, 2**31, 2**32 - 1)))}


def make(seed: int, *, size: int = 40, lies: bool = True) -> MemorySource:
    random = Random(seed)
    records = []
    for i in range(400):
        name = random.choice((f"net/data/{i}", f"net/Data/{i // 2}", f"net/é{i}")) if lies else f"net/data/{i}"
        record = Record(name, random.randbytes(random.randrange(size)), deflate=random.random() < 0.05, align=64)
        if lies and random.random() < 0.1:
            record.local = lie(random)
        records.append(record)
    return MemorySource(make_zip(records).data, "net.pt")


def alone(directory: ZipDirectory) -> dict[str, tuple[int, int]]:
    """Begin and size of the entries that have nothing odd about them, each by itself."""
    found = {}
    for entry in directory.entries:
        if entry.method or entry.packed != entry.size or directory.is_repeated(entry.name):
            continue
        try:
            begin, differs = directory.data_begin(entry)
        except OpenError:
            continue
        if not differs:
            found[entry.name] = begin, entry.size
    return found


def plain(directory: ZipDirectory) -> dict[str, tuple[int, int]]:
    """Begin and size of those that are plain when all are looked at together."""
    begins, sizes = directory.plain
    rows = zip(directory.names, begins.tolist(), sizes.tolist(), strict=True)
    return {name: (begin, size) for name, begin, size in rows if (begin, size) != (NOWHERE, NOWHERE)}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [40, 20_000])
def test_the_plain_entries_are_those_without_anything_odd(seed: int, size: int) -> None:
    directory = read_directory(make(seed, size=size))
    assert 100 < len(plain(directory)) < 400
    assert plain(directory) == alone(directory)


@pytest.mark.parametrize("lies", [True, False])
def test_a_directory_reads_the_same_all_at_once_and_entry_by_entry(lies: bool, monkeypatch: Any) -> None:
    source = make(1, lies=lies)
    quick = read_directory(source)
    monkeypatch.setattr(zip_directory, "quick_columns", lambda *_: None)
    slow = read_directory(source)
    assert quick.entries == slow.entries
    assert all(type(number) is int for entry in quick.entries for number in entry[1:])
    assert [quick.find(name.upper()) for name in quick.names] == [slow.find(name.upper()) for name in slow.names]
    assert [quick.is_repeated(name) for name in quick.names] == [slow.is_repeated(name) for name in slow.names]


def test_headers_far_apart_are_read_one_by_one() -> None:
    source = MemorySource(make_zip([Record(f"net/data/{i}", bytes(50_000)) for i in range(300)]).data)
    directory = read_directory(source)
    before = source.bytes_read
    assert len(plain(directory)) == 300
    assert source.bytes_read - before < 300 * 100


def test_a_header_that_cannot_be_read_leaves_the_others() -> None:
    class Torn(MemorySource):
        def read_exact(self, begin: int, n: int) -> bytes:
            if torn and begin <= torn[0] < begin + n:
                raise OpenError("The file cannot be read.", code="read-failed")
            return super().read_exact(begin, n)

    torn: list[int] = []
    data = make_zip([Record(f"net/data/{i}", bytes(50_000)) for i in range(300)]).data
    directory = read_directory(Torn(data))
    torn.append(directory.entries[7].header_offset)
    assert set(directory.names) - set(plain(directory)) == {"net/data/7"}


@pytest.mark.parametrize("root", ["net", "Net", "NÉT"])
def test_the_number_of_an_entry_is_found_by_exactly_its_name(root: str) -> None:
    names = [f"{root}/data/{i}" for i in (3, 1, 2, 1)] + [f"{root}/Data/7"]
    directory = read_directory(MemorySource(make_zip([Record(name, b"1") for name in names]).data, "net.pt"))
    asked = [f"{root}/data/1", f"{root}/data/3", f"{root}/data/7", f"{root}/Data/7", f"{root.swapcase()}/data/3", ""]
    assert directory.rows(asked).tolist() == [3, 0, -1, 4, -1, -1]
