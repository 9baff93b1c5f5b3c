"""The garbage collector rests while a node starts, and only then."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from openfl_cli import collector


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_it_goes_on_once_the_node_is_open() -> None:
    with collector.resting():
        assert not gc.isenabled()
        frozen = gc.get_freeze_count()
        collector.go_on()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    assert gc.isenabled()


def test_what_comes_later_is_collected() -> None:
    class Thing:
        me: Thing

    with collector.resting():
        collector.go_on()
    gc.collect()
    thing = Thing()
    thing.me = thing
    del thing
    assert gc.collect() > 0


def test_a_start_that_fails_leaves_it_on() -> None:
    with pytest.raises(RuntimeError), collector.resting():
        raise RuntimeError
    assert gc.isenabled()


def test_whoever_has_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    with collector.resting():
        pass
    assert not gc.isenabled()
