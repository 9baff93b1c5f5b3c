"""Runs the demo: starts the nodes, follows them through their control sockets, ends them."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from openfl.errors import LearningError, NotRunningError
from openfl.telemetry import NodeEvent, NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.demo.children import Child, ended_together, start_child
from openfl_cli.demo.deal import Hand
from openfl_cli.demo.outcome import NodeResult, ready, result_of
from openfl_cli.demo.picture import DemoView, Row
from openfl_cli.screen import draw_in_thread

POLL_SECONDS = 0.4
SETTLE_SECONDS = 1.0
"""After the last round: time for the last contributions to reach everybody."""
LISTEN_SECONDS = 60.0
KEPT_EVENTS = 12
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Settings:
    nodes: int
    rounds: int
    interval_seconds: float
    seed: int
    timeout_seconds: float
    top: int = 5


@dataclass(frozen=True)
class Ending:
    """What is left when the nodes have been ended."""

    results: tuple[NodeResult, ...]
    recommendations: Mapping[str, Any] | None
    seconds: float


@dataclass
class Demo:
    """One run. `on_picture` is called with each new view; it may block (in its own thread)."""

    settings: Settings
    homes: Sequence[Path]
    hands: Sequence[Hand]
    on_picture: Callable[[DemoView], None]
    _children: list[Child] = field(default_factory=list)
    _shots: dict[str, NodeSnapshot | None] = field(default_factory=dict)
    _events: list[tuple[str, NodeEvent]] = field(default_factory=list)
    _started: float = 0.0
    _polled: trio.Event = field(default_factory=trio.Event)
    """Set, and replaced by a new one, whenever all nodes have been asked."""

    async def run(self) -> Ending:
        """ChildEnded when a node ends early. Whatever happens, no node is left afterwards."""
        self._started = trio.current_time()
        self._shots = {f"node-{index + 1}": None for index in range(self.settings.nodes)}
        with trio.open_signal_receiver(*ENDING_SIGNALS) as signals:
            async with ended_together(self._children), trio.open_nursery() as nursery:
                nursery.start_soon(interrupt_on, signals)
                nursery.start_soon(self._watch)
                await self._start_all(nursery)
                with trio.move_on_after(self.settings.timeout_seconds):
                    await self._until_ready()
                    await trio.sleep(SETTLE_SECONDS)
                await self._poll_all()
                ending = await self._ending()
                nursery.cancel_scope.cancel()
        return ending

    async def _start_all(self, nursery: trio.Nursery) -> None:
        """The first node, and when it listens all others, which are told of it and nobody else."""
        first = await self._start(nursery, 0, [])
        with trio.move_on_after(LISTEN_SECONDS):
            await first.listening.wait()
        if not first.listening.is_set():
            raise LearningError(f"{first.name} did not listen within {LISTEN_SECONDS:g} s")
        for index in range(1, self.settings.nodes):
            await self._start(nursery, index, ["--bootstrap", first.multiaddrs[0]])

    async def _start(self, nursery: trio.Nursery, index: int, options: list[str]) -> Child:
        home, settings = self.homes[index], self.settings
        child = await start_child(
            f"node-{index + 1}",
            home,
            [
                *("--data", str(home / "ratings.csv"), "--group", "demo"),
                *("--listen", "/ip4/127.0.0.1/tcp/0"),
                *("--rounds", str(settings.rounds), "--interval", str(settings.interval_seconds)),
                # Whoever is done first stays, so that the others can go on learning from it.
                *("--set", "training.when_done=serve", "--set", "recommend.auto=false"),
                "--no-auto-switch",
                *("--set", f"data.split_seed={settings.seed}", "--set", "data.rating_scale=0.5-5"),
                *options,
            ],
        )
        self._children.append(child)
        nursery.start_soon(child.follow)
        return child

    async def _watch(self) -> None:
        while True:
            await self._poll_all()
            self._polled.set()
            self._polled = trio.Event()
            await draw_in_thread(partial(self.on_picture, self.picture()))
            await trio.sleep(POLL_SECONDS)

    async def _until_ready(self) -> None:
        while not ready(self._shots, self.settings.nodes, self.settings.rounds):
            await self._polled.wait()

    async def _poll_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for child in list(self._children):
                nursery.start_soon(self._poll, child)

    async def _poll(self, child: Child) -> None:
        try:
            plain = await trio.to_thread.run_sync(
                running_node, child.home, "snapshot", abandon_on_cancel=True
            )
        except NotRunningError:
            return  # still starting; should it have ended, `follow` says so
        shot = NodeSnapshot.from_plain(plain)
        before = self._shots[child.name]
        self._shots[child.name] = shot
        known = set() if before is None else {(e.time, e.message) for e in before.events}
        fresh = [e for e in shot.events if (e.time, e.message) not in known and e.level != "debug"]
        self._events += [(child.name, event) for event in fresh]
        self._events.sort(key=lambda pair: pair[1].time)
        del self._events[:-KEPT_EVENTS]

    def picture(self) -> DemoView:
        rows = tuple(
            Row(name, len(hand.users), hand.ratings, self._shots[name])
            for name, hand in zip(self._shots, self.hands, strict=True)
        )
        elapsed = trio.current_time() - self._started
        return DemoView(rows, self.settings.rounds, elapsed, tuple(self._events))

    async def _ending(self) -> Ending:
        results = tuple(
            result_of(name, shot) for name, shot in self._shots.items() if shot is not None
        )
        seconds = trio.current_time() - self._started
        return Ending(results, await self._recommend(), seconds)

    async def _recommend(self) -> Mapping[str, Any] | None:
        """For the keenest listener of the first node; None when that node does not answer."""

        def ask() -> Mapping[str, Any]:
            answer: Mapping[str, Any] = running_node(
                self.homes[0],
                "recommend",
                user=self.hands[0].keenest,
                top=self.settings.top,
            )
            return answer

        try:
            return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
        except NotRunningError:
            return None


async def interrupt_on(signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        raise KeyboardInterrupt
