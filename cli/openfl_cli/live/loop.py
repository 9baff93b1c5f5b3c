"""`LiveView`: shows a node on a terminal and heeds its keys, on trio.

One task draws, whenever something has changed; the others tell it: what is typed, a new size, a new
snapshot twice a second, the groups, what became of an order.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import trio
from rich.console import Console

from openfl.core.errors import NotRunningError, OpenFLError, UserError
from openfl.core.telemetry import GroupView, NodeSnapshot
from openfl_cli.group_words import fit_for_me
from openfl_cli.live.frame import Painter, changes
from openfl_cli.live.handle import Handle
from openfl_cli.live.keys import Key, parse
from openfl_cli.live.news import NewsDesk
from openfl_cli.live.picture import Picture, Scene, draw
from openfl_cli.live.state import Order, Sight, ViewState, press
from openfl_cli.terminal import Tty, in_foreground
from openfl_cli.text import clean

REFRESH_SECONDS = 0.5
ESCAPE_SECONDS = 0.05
"""So long after an ESC the rest of a key may come; later it is the key Esc."""
LEAST_DRAW_SECONDS = 0.03
"""Between two pictures, however fast keys and sizes change."""
READ_BYTES = 256
GROUPS_SECONDS = 5.0
ASK_GROUPS_SECONDS = 10.0
"""Peers are asked for groups no more often, and only while the groups are looked at."""


class LiveView:
    """See the module's text. What its viewer has chosen outlives a suspension, and so does what
    was ordered of the node: it is carried out in `orders`, a nursery of the owner of the view."""

    def __init__(
        self, handle: Handle, tty: Tty, console: Console, ends_node: bool, orders: trio.Nursery
    ) -> None:
        self._handle = handle
        self._orders = orders
        self._tty = tty
        self._painter = Painter(console)
        self._ascii_only = console.options.ascii_only
        self._ends_node = ends_node
        self._state = ViewState()
        self._scene: Scene | None = None
        self._drawn: tuple[Scene | None, ViewState, tuple[int, int]] | None = None
        self._news = NewsDesk()
        self._sight = Sight()
        self._shown: tuple[str | None, ...] | None = None
        self._size = self._drawn_size = (0, 0)
        self._changed = trio.Event()
        self._groups_wanted = trio.Event()
        self._asked_at = -ASK_GROUPS_SECONDS
        self._left = False
        self.last: NodeSnapshot | None = None
        """How the node was when last asked."""

    async def look(self) -> None:
        """Ask how the node is. NotRunningError."""
        self.last = shot = await self._handle.snapshot()
        news = self._news.heard(shot)
        scene = self._scene or Scene(shot, ends_node=self._ends_node)
        if not self._state.paused:
            self._scene = replace(scene, shot=shot, news=news)

    async def run(self, suspended: trio.Event) -> bool:
        """Show it until its viewer leaves (True), or until `suspended`, stopped and let go on, or
        no longer in the foreground (False). NotRunningError: the node is no more. `look` must have
        been called."""
        self._shown = None
        self._left = False
        gone: list[NotRunningError] = []
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            nursery.start_soon(self._draw_changes)
            nursery.start_soon(self._listen, nursery)
            nursery.start_soon(self._watch_terminal, scope)
            nursery.start_soon(self._follow_groups)
            nursery.start_soon(self._follow, gone, scope)
            await suspended.wait()
            scope.cancel()
        if gone:
            raise gone[0]
        return self._left

    # --- drawing ----------------------------------------------------------------------------------

    def _picture(self) -> Picture:
        assert self._scene is not None, "look was called"
        width, height = self._size = self._tty.size()
        picture = draw(self._scene, self._state, width, height, self._ascii_only)
        self._sight = picture.sight
        self._drawn = (self._scene, self._state, self._size)
        return picture

    async def _draw_changes(self) -> None:
        while True:
            self._changed = trio.Event()
            picture = self._picture()
            if self._size != self._drawn_size:
                self._shown, self._drawn_size = None, self._size
            rows = self._painter.encode(picture.lines, self._size[0])
            text = changes(self._shown, rows)
            whole = not text or await self._tty.write(text)
            # What was cut short says nothing of what is on the screen now.
            self._shown = rows if whole else None
            await trio.sleep(LEAST_DRAW_SECONDS)
            await self._changed.wait()

    def _tell(self, **changes_of_state: str) -> None:
        self._state = replace(self._state, **changes_of_state)  # type: ignore[arg-type]
        self._changed.set()

    async def _watch_terminal(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT) as signals:
            async for number in signals:
                if number == signal.SIGCONT:
                    # It was stopped without being asked (SIGSTOP): the terminal was the shell's
                    # meanwhile, and has to be taken anew.
                    scope.cancel()
                self._shown = None
                self._changed.set()

    # --- what is shown ----------------------------------------------------------------------------

    async def _follow(self, gone: list[NotRunningError], scope: trio.CancelScope) -> None:
        while in_foreground():
            try:
                await self.look()
            except NotRunningError as error:
                gone.append(error)
                break
            self._changed.set()
            await trio.sleep(REFRESH_SECONDS)
        scope.cancel()

    async def _follow_groups(self) -> None:
        while True:
            self._groups_wanted = trio.Event()
            now = time.monotonic()
            looked_at = self._state.focus == "groups" and self._state.zoomed
            ask = looked_at and now - self._asked_at >= ASK_GROUPS_SECONDS
            if ask:
                self._asked_at = now
            if not self._state.paused:
                # It may be in none yet, or be just ending, which is told elsewhere.
                with contextlib.suppress(UserError):
                    self._know(await self._handle.groups(ask))
            with trio.move_on_after(GROUPS_SECONDS):
                await self._groups_wanted.wait()

    def _know(self, groups: tuple[GroupView, ...]) -> None:
        if self._scene is not None:
            self._scene = replace(self._scene, groups=groups)
            self._changed.set()

    # --- keys and what they order -----------------------------------------------------------------

    async def _listen(self, nursery: trio.Nursery) -> None:
        rest = b""
        while True:
            typed = None
            with trio.move_on_after(ESCAPE_SECONDS if rest else float("inf")):
                typed = await self._tty.read(READ_BYTES)
            if typed == b"":
                return  # the terminal is gone
            keys, rest = parse(rest + (typed or b""), ended=typed is None)
            for key in keys:
                await self._press(key, nursery)
            if keys:
                self._changed.set()

    def _look_ahead(self) -> None:
        """Have `_sight` be what would be seen now, which the next key is for."""
        if self._state.typing is not None:
            return  # of a letter of a filter nothing depends on it
        scene, state, size = self._drawn or (None, None, None)
        if scene is not self._scene or state != self._state or size != self._tty.size():
            self._picture()

    async def _press(self, key: Key, nursery: trio.Nursery) -> None:
        await trio.lowlevel.checkpoint()  # many keys at once do not hold up the node
        self._look_ahead()
        self._state, order = press(self._state, key, self._sight)
        if order is not None:
            await self._obey(order, nursery)

    async def _obey(self, order: Order, nursery: trio.Nursery) -> None:
        match order.kind:
            case "leave":
                self._left = True
                nursery.cancel_scope.cancel()
            case "stop":
                self._tell(busy="stopping")
                self._orders.start_soon(self._stop)
            case "redraw":
                self._shown = None
            case "groups":
                self._groups_wanted.set()
            case "copy":
                copied = base64.b64encode(order.text.encode()).decode()
                await self._tty.write(f"\x1b]52;c;{copied}\x07")
            case "try":
                work = partial(self._handle.try_group, order.group_id)
                self._orders.start_soon(self._work, f"trying {order.group_name}", work, _tried)
            case "switch":
                work = partial(self._handle.switch, order.group_id)
                self._orders.start_soon(
                    self._work, f"switching to {order.group_name}", work, _switched
                )

    async def _stop(self) -> None:
        try:
            await self._handle.stop()
        except UserError as error:
            self._tell(busy="", said=clean(str(error)))

    async def _work(
        self,
        what: str,
        work: Callable[[], Awaitable[GroupView]],
        said: Callable[[GroupView], str],
    ) -> None:
        self._tell(busy=what)
        try:
            answer = said(await work())
        except OpenFLError as error:
            answer = clean(str(error))
        finally:
            self._state = replace(self._state, busy="")
        self._tell(said=answer)
        self._groups_wanted.set()


def _tried(group: GroupView) -> str:
    return f"{clean(group.name, 40)}: {fit_for_me(group)}"


def _switched(group: GroupView) -> str:
    return f"now in group {clean(group.name, 40)}"
