"""What comes out of `async with open_node(...)`: one exception, whoever raised it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from openfl.app.open_node import open_node
from openfl.config import load_config
from openfl.core.errors import GroupError, StateError, UserError
from openfl.core.telemetry import NodeEvent
from openfl.node import Node


class Mine(BaseException):
    """Not even an Exception."""


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Any]:
    data = tmp_path / "ratings.csv"
    data.write_text("user_id,song_id,rating\nann,one,4\nann,two,3\n")
    settings = {"data.ratings_file": str(data), "network.host": "127.0.0.1"}
    config = load_config(None, {}, {**settings, "training.interval_seconds": 0.2})

    def ready(tell: Callable[[NodeEvent], None] = lambda event: None) -> Any:
        return open_node(config, tmp_path / "home", tell)

    return ready


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], trio.Event]:
    """Have the node raise this as soon as the event is set."""

    def prepare(error: Exception) -> trio.Event:
        now = trio.Event()

        async def run(self: Node, **_: Any) -> None:
            await now.wait()
            raise error

        monkeypatch.setattr(Node, "run", run)
        return now

    return prepare


def errors() -> list[BaseException]:
    inner = ExceptionGroup("of the block's own nursery", [ValueError("a"), KeyError("b")])
    return [ValueError("mine"), GroupError("mine"), KeyboardInterrupt(), Mine(), inner]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
async def test_what_the_block_raises_comes_out_as_it_is(
    error: BaseException, opened: Callable[[], Any]
) -> None:
    cause = OSError("why")
    with pytest.raises(type(error)) as caught:
        async with opened():
            raise error from cause
    assert caught.value is error
    assert error.__cause__ is cause


async def test_a_user_error_of_the_node_comes_out_alone(
    opened: Callable[[], Any], fails: Callable[[Exception], trio.Event]
) -> None:
    error = GroupError("does not fit")
    now, ended = fails(error), []

    async def use() -> None:
        async with opened():
            now.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                ended.append("cancelled")
                raise

    with pytest.raises(GroupError) as caught:
        await use()
    assert caught.value is error
    assert ended == ["cancelled"]


async def test_so_it_does_with_tasks_of_the_block(
    opened: Callable[[], Any], fails: Callable[[Exception], trio.Event]
) -> None:
    error = GroupError("does not fit")
    now = fails(error)

    async def use() -> None:
        async with opened() as node, trio.open_nursery() as nursery:
            nursery.start_soon(node.wait_done)
            nursery.start_soon(trio.sleep_forever)
            now.set()

    with pytest.raises(GroupError) as caught:
        await use()
    assert caught.value is error


@pytest.mark.parametrize("kind", ["listening", "round"])
async def test_what_on_event_raises_comes_out_as_it_is(
    kind: str, opened: Callable[..., Any]
) -> None:
    mine = ValueError("mine")

    def tell(event: NodeEvent) -> None:
        if event.kind == kind:
            raise mine

    with pytest.raises(ValueError, match="mine") as caught:
        async with opened(tell):
            await trio.sleep_forever()
    assert caught.value is mine


async def test_both_come_out_when_the_block_fails_and_so_does_on_event(
    opened: Callable[..., Any],
) -> None:
    mine, of_block = ValueError("mine"), Mine()

    def tell(event: NodeEvent) -> None:
        if event.kind == "listening":
            raise mine

    async def use() -> None:
        async with opened(tell):
            try:
                await trio.sleep_forever()
            finally:
                raise of_block

    with pytest.raises(BaseExceptionGroup) as caught:
        await use()
    assert caught.value.exceptions == (of_block, mine)


async def test_both_come_out_when_the_node_fails_and_so_does_the_block(
    opened: Callable[[], Any], fails: Callable[[Exception], trio.Event]
) -> None:
    mine, error = ValueError("mine"), GroupError("does not fit")
    now = fails(error)

    async def use() -> None:
        async with opened():
            now.set()
            try:
                await trio.sleep_forever()
            finally:
                raise mine

    with pytest.raises(ExceptionGroup) as caught:
        await use()
    assert caught.value.exceptions == (mine, error)


async def test_an_error_while_closing_does_not_replace_that_of_the_block(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, error = ValueError("mine"), StateError("the disk is full")

    async def finish(self: Node) -> None:
        raise error

    monkeypatch.setattr(Node, "finish", finish)
    with pytest.raises(ExceptionGroup) as caught:
        async with opened():
            raise mine
    assert caught.value.exceptions == (mine, error)
    with pytest.raises(UserError) as alone:
        async with opened():
            pass
    assert alone.value is error


async def test_a_bug_in_the_node_stays_in_its_groups(
    opened: Callable[[], Any], fails: Callable[[Exception], trio.Event]
) -> None:
    now = fails(ZeroDivisionError())

    async def use() -> None:
        async with opened():
            now.set()
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await use()
    assert caught.group_contains(ZeroDivisionError)


async def test_cancelling_from_outside_ends_the_block_and_no_more(
    opened: Callable[[], Any],
) -> None:
    with trio.CancelScope() as scope:
        async with opened():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
