"""Listeners of a node's events: each hears all, none holds the node up, each is told what it
missed."""

from __future__ import annotations

import gc
import logging

import pytest
import trio
import trio.testing

from openfl.app.event_logging import log_event
from openfl.core.event_backlog import Backlog
from openfl.core.telemetry import NodeEvent
from openfl.node.listeners import EventListeners, EventStream


def event(number: int) -> NodeEvent:
    return NodeEvent(float(number), "info", "round", f"round {number}", {"round": number})


async def rounds_of(stream: EventStream) -> list[int]:
    return [told.data["round"] async for told in stream]


async def test_every_listener_hears_all_from_when_it_began_until_the_end() -> None:
    owner: list[NodeEvent] = []
    listeners = EventListeners(owner.append)
    first = EventStream(listeners)
    listeners.tell(event(1))
    second = EventStream(listeners)
    listeners.tell(event(2))
    listeners.end()
    listeners.tell(event(3))  # of closing: for the owner alone
    assert await rounds_of(first) == [1, 2]
    assert await rounds_of(second) == [2]
    assert [told.data["round"] for told in owner] == [1, 2, 3]
    assert await rounds_of(EventStream(listeners)) == []


async def test_who_waits_is_woken_by_an_event_and_by_the_end() -> None:
    listeners = EventListeners(lambda told: None)
    stream, heard = EventStream(listeners), []

    async def listen() -> None:
        heard.append(await rounds_of(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        listeners.tell(event(1))
        await trio.testing.wait_all_tasks_blocked()
        listeners.end()
    assert heard == [[1]]


async def test_two_tasks_that_share_a_stream_share_its_events() -> None:
    listeners = EventListeners(lambda told: None)
    stream, heard = EventStream(listeners), []

    async def listen() -> None:
        heard.extend(await rounds_of(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(listen)
        for number in range(6):
            listeners.tell(event(number))
            if number % 2:
                await trio.testing.wait_all_tasks_blocked()
        listeners.end()
    assert sorted(heard) == [*range(6)]


async def test_a_slow_listener_loses_the_oldest_and_is_told_how_many() -> None:
    listeners = EventListeners(lambda told: None)
    slow, quick = EventStream(listeners, kept=2), EventStream(listeners)
    for number in range(5):
        listeners.tell(event(number))
    missed = await anext(slow)
    assert (missed.kind, missed.level, missed.data) == ("events-missed", "warning", {"missed": 3})
    assert missed.time == 2.0, "of the last one that was dropped"
    assert (await anext(slow)).data == {"round": 3}
    listeners.tell(event(5))
    listeners.end()
    assert await rounds_of(slow) == [4, 5]
    assert await rounds_of(quick) == [*range(6)]


async def test_a_listener_that_is_dropped_is_kept_nowhere() -> None:
    listeners = EventListeners(lambda told: None)
    kept, dropped = EventStream(listeners), EventStream(listeners)
    del dropped
    gc.collect()
    listeners.tell(event(1))
    assert [ref() for ref in listeners._listeners] == [kept]


def test_a_backlog_keeps_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Backlog(0)
    backlog = Backlog(1)
    backlog.put(event(1))
    backlog.put(event(2))
    assert len(backlog) == 2, "the one that is kept, and what is to be told of the other"
    assert [backlog.take().kind, backlog.take().data] == ["events-missed", {"round": 2}]
    with pytest.raises(IndexError):
        backlog.take()


def test_without_an_owner_events_go_to_the_log_at_their_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = NodeEvent(1.0, "warning", "deaf", "nothing is heard of \x1b[31mEve", {"members": 1})
    with caplog.at_level(logging.WARNING, "openfl.events"):
        log_event(told)
        log_event(event(1))
    (record,) = caplog.records
    assert record.getMessage() == "nothing is heard of \ufffd[31mEve"
    assert (record.levelname, record.node_event) == ("WARNING", told)
