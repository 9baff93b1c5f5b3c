"""The terminal's alternate screen, on which the live view of a node is drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from openfl.core.errors import NotRunningError
from openfl.core.telemetry import NodeSnapshot
from openfl_cli.terminal import (
    FROZEN_SECONDS,
    Keyboard,
    Tty,
    in_foreground,
    noticing_suspension,
    restoring_at_quit,
    stop_this_process,
)
from openfl_cli.threads import in_thread

# rich is imported by what draws: a node that prints lines does without.
if TYPE_CHECKING:
    from rich.console import Console

    from openfl_cli.live.handle import Handle
    from openfl_cli.live.loop import LiveView

FOREGROUND_SECONDS = 0.5
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?1000h\x1b[?1006h\x1b[?2004h"
"""The alternate screen, no cursor, the mouse wheel, pastes marked as such."""
LEAVE = "\x1b[?2026l\x1b[?2004l\x1b[?1006l\x1b[?1000l\x1b[0m\x1b[?25h\x1b[?1049l"


def terminal() -> Console:
    """A console that prints text as it is: markup in a group name stays text."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


class Screen:
    """The terminal's alternate screen, while this process is in the foreground.

    `up`: whether it is shown now. The keyboard is the view's from the first picture until the end
    of the `with` block, at which all is as it was. `last`: how the node was when last asked.
    """

    def __init__(self) -> None:
        self.up = False
        self.last: NodeSnapshot | None = None
        self._keyboard = Keyboard()
        self._tty: Tty | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._restore()

    async def show(self, handle: Handle, ends_node: bool) -> None:
        """Show the node, until its viewer leaves the view or this is cancelled. NotRunningError:
        the node is no more. In the background nothing is drawn; Ctrl-Z gives the terminal back
        first, and after `fg` the view is there again, as it was.

        ends_node: leaving the view is asking the node to stop.
        """
        from openfl_cli.live.loop import LiveView

        gone: NotRunningError | None = None
        tty = Tty()
        try:
            async with trio.open_nursery() as orders:
                view = LiveView(handle, tty, terminal(), ends_node, orders)
                try:
                    await self._show(view, tty)
                except NotRunningError as error:
                    gone = error
                finally:
                    self.last = view.last
                orders.cancel_scope.cancel()
        finally:
            tty.close()
        if gone is not None:
            raise gone

    async def _show(self, view: LiveView, tty: Tty) -> None:
        while True:
            while not in_foreground():  # noqa: ASYNC110 - nothing announces it
                await trio.sleep(FOREGROUND_SECONDS)
            await view.look()
            with noticing_suspension() as suspended:
                with self._shown(tty), restoring_at_quit(self._restore):
                    left = await view.run(suspended)
                self._keyboard.restore()
            if left:
                return
            if suspended.is_set():
                stop_this_process()

    @contextlib.contextmanager
    def _shown(self, tty: Tty) -> Iterator[None]:
        self._keyboard.silence(by_key=True)
        self._tty, self.up = tty, True
        tty.write_now(ENTER)
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        tty, self._tty, self.up = self._tty, None, False
        if tty is not None:
            tty.write_now(LEAVE)

    def _restore(self) -> None:
        self._give_back()
        self._keyboard.restore()


async def draw_in_thread(draw: Callable[[], None]) -> None:
    """Draw in a thread: a stopped terminal (Ctrl-S) blocks its writer, which must not be the node.

    When cancelled, a half-written picture is finished first, but a blocked one is not waited for.
    """
    with trio.CancelScope(deadline=trio.current_time() + FROZEN_SECONDS, shield=True):
        await in_thread(draw)


def print_frame(snapshot: NodeSnapshot, running: bool = True) -> None:
    """The last picture, left in the terminal's history, with the addresses whole."""
    from openfl_cli.view import NodeView

    terminal().print(NodeView(snapshot, running), crop=False)
