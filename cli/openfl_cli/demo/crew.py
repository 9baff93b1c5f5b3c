"""`Crew`: the nodes of a demo: started, asked how they are, and ended whatever happens."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from openfl.core.errors import LearningError, NotRunningError
from openfl.core.telemetry import NodeEvent, NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.demo.children import Child, ended_together, start_child
from openfl_cli.threads import in_thread

POLL_SECONDS = 0.4
LISTEN_SECONDS = 60.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Heard = Callable[[int, NodeSnapshot | None, NodeSnapshot], None]
"""(number of the node, its snapshot before, its snapshot now)"""


class Crew:
    """options: of `openfl-node start` for the node of a number, beside where it listens and whom it
    knows. after_poll: awaited whenever all have been asked. wanted: events that are kept, at most
    `kept_events`."""

    def __init__(
        self,
        homes: Sequence[Path],
        options: Callable[[int], Sequence[str]],
        after_poll: Callable[[], Awaitable[None]],
        wanted: Callable[[NodeEvent], bool],
        kept_events: int,
        heard: Heard = lambda number, before, now: None,
    ) -> None:
        self.shots: list[NodeSnapshot | None] = [None] * len(homes)
        """The last snapshot of each node."""
        self.events: list[tuple[int, NodeEvent]] = []
        """(number of the node, event), oldest first."""
        self._homes = homes
        self._options = options
        self._after_poll = after_poll
        self._wanted = wanted
        self._kept_events = kept_events
        self._heard = heard
        self._children: list[Child] = []
        self._started = 0.0
        self._polled = trio.Event()
        """Set, and replaced by a new one, whenever all nodes have been asked."""

    @property
    def seconds(self) -> float:
        """Since the first was about to be started."""
        return trio.current_time() - self._started

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within the block all have been started, and are asked again and again. ChildEnded when a
        node ends early, KeyboardInterrupt when this process is told to end. Whatever happens, no
        node is left afterwards."""
        self._started = trio.current_time()
        with trio.open_signal_receiver(*ENDING_SIGNALS) as signals:
            async with ended_together(self._children), trio.open_nursery() as nursery:
                nursery.start_soon(_interrupt_on, signals)
                nursery.start_soon(self._watch)
                await self._start_all(nursery)
                yield
                nursery.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition()` holds; it is asked whenever all nodes have been."""
        while not condition():
            await self._polled.wait()

    async def poll_all(self) -> None:
        """Ask all nodes that are started, now."""
        async with trio.open_nursery() as nursery:
            for number, child in enumerate(list(self._children)):
                nursery.start_soon(self._poll, number, child)

    async def _start_all(self, nursery: trio.Nursery) -> None:
        """The first node, and when it listens all others, which are told of it and nobody else."""
        first = await self._start(nursery, 0, [])
        with trio.move_on_after(LISTEN_SECONDS):
            await first.listening.wait()
        if not first.listening.is_set():
            raise LearningError(f"{first.name} did not listen within {LISTEN_SECONDS:g} s")
        for number in range(1, len(self._homes)):
            await self._start(nursery, number, ["--bootstrap", first.multiaddrs[0]])

    async def _start(self, nursery: trio.Nursery, number: int, known: list[str]) -> Child:
        home = self._homes[number]
        own = ["--data", str(home / "ratings.csv"), "--listen", "/ip4/127.0.0.1/tcp/0"]
        options = [*own, *self._options(number), *known]
        child = await start_child(name_of(number), home, options)
        self._children.append(child)
        nursery.start_soon(child.follow)
        return child

    async def _watch(self) -> None:
        while True:
            await self.poll_all()
            self._polled.set()
            self._polled = trio.Event()
            await self._after_poll()
            await trio.sleep(POLL_SECONDS)

    async def _poll(self, number: int, child: Child) -> None:
        try:
            plain = await in_thread(partial(running_node, child.home, "snapshot"))
        except NotRunningError:
            return  # still starting; should it have ended, `follow` says so
        shot, before = NodeSnapshot.from_plain(plain), self.shots[number]
        self.shots[number] = shot
        self._heard(number, before, shot)
        known = set() if before is None else {(e.time, e.message) for e in before.events}
        fresh = [e for e in shot.events if (e.time, e.message) not in known and self._wanted(e)]
        self.events += [(number, event) for event in fresh]
        self.events.sort(key=lambda pair: pair[1].time)
        del self.events[: -self._kept_events]


def name_of(number: int) -> str:
    """What the node of a number (from 0) is called."""
    return f"node-{number + 1}"


async def _interrupt_on(signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        raise KeyboardInterrupt
