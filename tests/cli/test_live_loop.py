"""The loop of the live view, with stand-ins for the node and for the terminal."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from cli_fakes import OTHER_GROUP, FakeNode, make_snapshot

from openfl.core.telemetry import GroupView, NodeSnapshot
from openfl_cli.live import loop
from openfl_cli.live.loop import LiveView
from openfl_cli.screen import terminal
from tests.patience import PATIENCE_SECONDS
from tests.situation import until_seen, within


class Keys:
    """A terminal that nobody sees; `type` is what a person does."""

    def __init__(self) -> None:
        self._typed, self._to_read = trio.open_memory_channel[bytes](100)

    def type(self, text: str) -> None:
        self._typed.send_nowait(text.encode())

    def size(self) -> tuple[int, int]:
        return 80, 24

    async def write(self, text: str) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    async def read(self, most: int) -> bytes:
        return await self._to_read.receive()


class SlowNode(FakeNode):
    """Its moves take until `go_on` is set."""

    def __init__(self) -> None:
        super().__init__(None, print)
        self.asked, self.go_on = trio.Event(), trio.Event()
        self.moved = False

    async def switch(self, reference: str, pin: bool = False) -> GroupView:
        self.asked.set()
        await self.go_on.wait()
        self.moved = True
        return OTHER_GROUP


class Handle(loop.Handle):
    def __init__(self, node: FakeNode) -> None:
        self._node = node

    async def snapshot(self) -> NodeSnapshot:
        return make_snapshot()

    async def groups(self, ask: bool) -> tuple[GroupView, ...]:
        return self._node.known_groups()

    async def switch(self, group_id: str) -> GroupView:
        return await self._node.switch(group_id)


@pytest.fixture(autouse=True)
def foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "in_foreground", lambda: True)


def live_view(node: FakeNode, keys: Any, orders: trio.Nursery) -> LiveView:
    return LiveView(Handle(node), keys, terminal(), True, orders)


async def test_a_move_that_was_ordered_goes_on_while_the_view_is_suspended() -> None:
    node, keys = SlowNode(), Keys()
    async with trio.open_nursery() as orders:
        view = live_view(node, keys, orders)
        await view.look()
        suspended = trio.Event()
        async with trio.open_nursery() as shown:
            shown.start_soon(view.run, suspended)
            with within(PATIENCE_SECONDS, "the move is ordered"):
                while not node.asked.is_set():  # the groups may not be there yet
                    keys.type("\x1b")
                    await trio.sleep(0.1)
                    keys.type("gj\rsy")
                    await trio.sleep(0.1)
            suspended.set()
        node.go_on.set()
        await until_seen(lambda: node.moved, "the move is over")
        orders.cancel_scope.cancel()


async def test_many_letters_at_once_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = itertools.count()
    picture = loop.draw

    def counted(*arguments: Any) -> Any:
        next(drawn)
        return picture(*arguments)

    monkeypatch.setattr(loop, "draw", counted)
    node, keys = SlowNode(), Keys()
    letters = "abcdefghij" * 25
    async with trio.open_nursery() as nursery:
        view = live_view(node, keys, nursery)
        await view.look()
        nursery.start_soon(view.run, trio.Event())
        for text in ("/", letters, letters, "\r", "e" * 250):
            keys.type(text)
        keys.type("p")
        await until_seen(lambda: view._state.paused, "all is typed")
        nursery.cancel_scope.cancel()
    # Each key had a picture of its own; now those have that follow on a change.
    assert next(drawn) < 250
