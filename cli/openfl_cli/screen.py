"""The live screen: redraws a `NodeView` twice a second on the terminal's alternate screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from rich.console import Console
from rich.live import Live

from openfl.telemetry import NodeSnapshot
from openfl_cli.view import NodeView

REDRAW_SECONDS = 0.5
FROZEN_SECONDS = 1.0


def terminal() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


async def show(current: Callable[[], Awaitable[NodeSnapshot]]) -> None:
    """Draw what `current` gives, until cancelled; the terminal is put back as it was."""
    console = terminal()

    async def picture() -> NodeView:
        # The height is told here because rich's Live does not pass it on.
        return NodeView(await current(), height=console.height)

    with Live(
        await picture(),
        console=console,
        screen=True,
        auto_refresh=False,  # rich's own refresh is a thread; this task is the clock
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        while True:
            await draw_in_thread(live.refresh)
            await trio.sleep(REDRAW_SECONDS)
            live.update(await picture())


async def draw_in_thread(draw: Callable[[], None]) -> None:
    """Draw in a thread: a stopped terminal (Ctrl-S) blocks its writer, which must not be the node.

    When cancelled, a picture half written is finished first, but a blocked one is not waited for.
    """
    with trio.move_on_after(FROZEN_SECONDS, shield=True):
        await trio.to_thread.run_sync(draw, abandon_on_cancel=True)


def print_frame(snapshot: NodeSnapshot, running: bool = True) -> None:
    """The last picture, left in the terminal's history."""
    terminal().print(NodeView(snapshot, running))
