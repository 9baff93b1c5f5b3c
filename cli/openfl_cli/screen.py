"""The live screen: redraws a `NodeView` twice a second on the terminal's alternate screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from openfl.core.telemetry import NodeSnapshot
from openfl_cli.terminal import Keyboard, in_foreground, noticing_suspension, stop_this_process
from openfl_cli.threads import in_thread

# rich is imported by what draws: a node that prints lines does without.
if TYPE_CHECKING:
    from rich.console import Console

    from openfl_cli.view import NodeView

REDRAW_SECONDS = 0.5
FROZEN_SECONDS = 1.0


def terminal() -> Console:
    """A console that prints text as it is: markup in a group name stays text."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


class Screen:
    """The terminal's alternate screen, while this process is in the foreground.

    `up`: whether it is shown now. The keyboard is silenced from the first picture until the end of
    the `with` block, at which all is as it was.
    """

    def __init__(self) -> None:
        self.up = False
        self._keyboard = Keyboard()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._keyboard.restore()

    async def show(self, current: Callable[[], Awaitable[NodeSnapshot]]) -> None:
        """Draw what `current` gives, until cancelled. In the background nothing is drawn; Ctrl-Z
        gives the terminal back first, and after `fg` the picture is there again."""
        while True:
            while not in_foreground():  # noqa: ASYNC110 - nothing announces it
                await trio.sleep(REDRAW_SECONDS)
            with noticing_suspension() as suspended:
                self._keyboard.silence()
                await self._draw(current, suspended)
                self._keyboard.restore()
            if suspended.is_set():
                stop_this_process()

    async def _draw(
        self, current: Callable[[], Awaitable[NodeSnapshot]], suspended: trio.Event
    ) -> None:
        """Until `suspended`, or no longer in the foreground."""
        from rich.live import Live

        from openfl_cli.view import NodeView

        console = terminal()

        async def picture() -> NodeView:
            # The height is told here because rich's Live does not pass it on.
            return NodeView(await current(), height=console.height)

        first = await picture()
        self.up = True
        try:
            with Live(
                first,
                console=console,
                screen=True,
                auto_refresh=False,  # rich's own refresh is a thread; this task is the clock
                redirect_stdout=False,
                redirect_stderr=False,
            ) as live:
                while in_foreground():
                    await draw_in_thread(live.refresh)
                    with trio.move_on_after(REDRAW_SECONDS):
                        await suspended.wait()
                        return
                    live.update(await picture())
        finally:
            self.up = False


async def draw_in_thread(draw: Callable[[], None]) -> None:
    """Draw in a thread: a stopped terminal (Ctrl-S) blocks its writer, which must not be the node.

    When cancelled, a half-written picture is finished first, but a blocked one is not waited for.
    """
    with trio.CancelScope(deadline=trio.current_time() + FROZEN_SECONDS, shield=True):
        await in_thread(draw)


def print_frame(snapshot: NodeSnapshot, running: bool = True) -> None:
    """The last picture, left in the terminal's history."""
    from openfl_cli.view import NodeView

    terminal().print(NodeView(snapshot, running))
