"""The garbage collector while a file is opened."""

from __future__ import annotations

import gc

from workbench.core import collector


def test_nothing_is_collected_inside_and_the_collector_goes_on_afterwards() -> None:
    with collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_the_user_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        n = gc.get_freeze_count()
        with collector.paused():
            made = [[each] for each in range(n)]
        # Frozen objects may be freed meanwhile, one by one; none is thawed, and none of the new ones is frozen.
        assert n // 2 < gc.get_freeze_count() <= n
        assert len(made) == n
    finally:
        gc.unfreeze()


def test_cycles_made_inside_are_found_by_the_next_full_collection() -> None:
    class Node:
        pass

    gone = []
    with collector.paused():
        node = Node()
        node.me = node  # type: ignore[attr-defined]
        node.last_words = type("Words", (), {"__del__": lambda self: gone.append(1)})()  # type: ignore[attr-defined]
        del node
    gc.collect()
    assert gone == [1]
