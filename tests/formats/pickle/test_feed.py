"""Reading a pickle by windows gives what reading it whole gives, errors included."""

from __future__ import annotations

import pickle

import pytest

from tests.formats.pickle.test_machine import no_storage, plain
from workbench.core.source import MemorySource
from workbench.core.tree import Dict
from workbench.errors import OpenError
from workbench.formats.pickle.feed import ByteRange, Feed, Window
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.rebuild import TreeBuilder

VALUE = {
    "mixed": [1, 2**80, -3, 3.5, None, True, "x" * 300, "é\n", b"q" * 200, (1,), (1, 2), (1, 2, 3, 4)],
    "many": {str(i): i * 1000 for i in range(300)},
    "set": {1, 2},
    "large": b"z" * 3000,
}


def machine(data: bytes, step: int, *, lazy: bool = False, begin: int = 0) -> Machine:
    feed = Feed(MemorySource(data), step=step, lazy=lazy)
    return Machine(b"", TreeBuilder(no_storage, "x"), begin=begin, feed=feed, name="n", entry="e")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("step", [1, 3, 50, 5000])
def test_windows_of_any_size_give_the_same_tree_and_end(protocol: int, step: int) -> None:
    data = pickle.dumps(VALUE, protocol)
    one = machine(b"front" + data + b"tail", step, begin=5)
    assert plain(one.run()) == plain(Machine(data, TreeBuilder(no_storage, "x")).run())
    assert one.end == 5 + len(data)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cut_anywhere_gives_the_same_error(protocol: int) -> None:
    data = pickle.dumps(VALUE, protocol)
    for cut in range(0, len(data), 7):
        with pytest.raises(OpenError) as whole:
            Machine(data[:cut], TreeBuilder(no_storage, "x"), name="n", entry="e").run()
        with pytest.raises(OpenError) as windows:
            machine(data[:cut], 11).run()
        assert str(windows.value) == str(whole.value)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_long_byte_strings_stay_where_they_are(protocol: int) -> None:
    data = pickle.dumps(VALUE, protocol)
    tree = machine(data, 64, lazy=True).run()
    assert isinstance(tree, Dict)
    left = tree["large"]
    assert isinstance(left, ByteRange)
    assert data[left.begin : left.begin + left.n] == VALUE["large"]


def test_a_byte_string_longer_than_the_file_is_an_error() -> None:
    for lazy in (False, True):
        with pytest.raises(OpenError, match="more than"):
            machine(b"\x80\x03B\xff\xff\xff\x7f" + bytes(2000) + b".", 64, lazy=lazy).run()


def test_a_window_gives_no_byte_of_its_neighbours() -> None:
    window = Window(MemorySource(b"abcdef"), 2, 3)
    assert window.read_exact(0, 3) == b"cde"
    for begin, n in ((-1, 2), (0, 4), (3, 1), (1, -1)):
        with pytest.raises(OpenError):
            window.read_exact(begin, n)
