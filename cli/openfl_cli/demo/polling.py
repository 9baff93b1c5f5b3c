"""Runs the demo: nodes learn together until all have done their rounds, and one recommends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from openfl.core.errors import NotRunningError
from openfl_cli.ask import running_node
from openfl_cli.demo.crew import Crew, name_of
from openfl_cli.demo.deal import Shard
from openfl_cli.demo.outcome import NodeResult, ready, result_of
from openfl_cli.demo.picture import DemoView, Row
from openfl_cli.screen import draw_in_thread
from openfl_cli.threads import in_thread

SETTLE_SECONDS = 1.0
"""After the last round: time for the last contributions to reach everybody."""
KEPT_EVENTS = 12


@dataclass(frozen=True)
class Settings:
    """What the options of `demo` say. `top`: songs recommended at the end."""

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


class Demo:
    """One run. `on_picture` is called with each new view; it may block (in its own thread)."""

    def __init__(
        self,
        settings: Settings,
        homes: Sequence[Path],
        shards: Sequence[Shard],
        on_picture: Callable[[DemoView], None],
    ) -> None:
        self.settings = settings
        self.homes = homes
        self.shards = shards
        self.on_picture = on_picture
        self._crew = Crew(
            homes, self._options, self._draw, lambda event: event.level != "debug", KEPT_EVENTS
        )

    async def run(self) -> Ending:
        """ChildEnded when a node ends early. Whatever happens, no node is left afterwards."""
        async with self._crew.running():
            with trio.move_on_after(self.settings.timeout_seconds):
                await self._crew.until(self._are_ready)
                await trio.sleep(SETTLE_SECONDS)
            await self._crew.poll_all()
            results = tuple(
                result_of(name_of(number), shot)
                for number, shot in enumerate(self._crew.shots)
                if shot is not None
            )
            seconds = self._crew.seconds
            return Ending(results, await self._recommend(), seconds)

    def _options(self, number: int) -> list[str]:
        settings = self.settings
        return [
            *("--group", "demo", "--no-auto-switch"),
            *("--rounds", str(settings.rounds), "--interval", str(settings.interval_seconds)),
            # Whoever is done first stays, so that the others can go on learning from it.
            *("--set", "training.when_done=serve", "--set", "recommend.auto=false"),
            *("--set", f"data.split_seed={settings.seed}", "--set", "data.rating_scale=0.5-5"),
        ]

    def _are_ready(self) -> bool:
        shots = {name_of(number): shot for number, shot in enumerate(self._crew.shots)}
        return ready(shots, self.settings.nodes, self.settings.rounds)

    async def _draw(self) -> None:
        await draw_in_thread(partial(self.on_picture, self.picture()))

    def picture(self) -> DemoView:
        """The nodes as they last answered; one that has not answered yet has no snapshot."""
        rows = tuple(
            Row(name_of(number), len(shard.users), shard.ratings, shot)
            for number, (shard, shot) in enumerate(zip(self.shards, self._crew.shots, strict=True))
        )
        events = tuple((name_of(number), event) for number, event in self._crew.events)
        return DemoView(rows, self.settings.rounds, self._crew.seconds, events)

    async def _recommend(self) -> Mapping[str, Any] | None:
        """For the keenest listener of the first node; None when that node does not answer."""

        def ask() -> Mapping[str, Any]:
            answer: Mapping[str, Any] = running_node(
                self.homes[0],
                "recommend",
                user=self.shards[0].keenest,
                top=self.settings.top,
            )
            return answer

        try:
            return await in_thread(ask)
        except NotRunningError:
            return None
