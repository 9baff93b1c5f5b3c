"""`openfl-node demo --communities`: nodes put into groups at random sort themselves out.

Two acts. First every node is pinned to the group that chance put it in, and learns there: that is
"before". Then all are let go, and each looks for the group that serves its own data best. Nobody
tells them who is of which community; only the demo knows, to draw the picture and to judge.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from openfl.core.telemetry import NodeEvent, NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.demo.crew import Crew, name_of
from openfl_cli.demo.tastes import Listeners
from openfl_cli.screen import draw_in_thread
from openfl_cli.text import change_percent
from openfl_cli.threads import in_thread

GROUPS = ("red", "green", "blue", "gold")
KEPT_EVENTS = 30
DRAWS = 200
SHOWN_KINDS = ("switched", "not-moved")


@dataclass(frozen=True)
class CommunitySettings:
    """calm_rounds: without a move, until the sorting counts as over."""

    nodes: int = 9
    communities: int = 3
    first_rounds: int = 8
    calm_rounds: int = 8
    interval_seconds: float = 1.0
    seed: int = 1
    timeout_seconds: float = 170.0


@dataclass(frozen=True)
class Place:
    """Where a node was, and from when on, for the map. `seconds` since the demo began."""

    node: int
    group: str
    seconds: float


@dataclass(frozen=True)
class CommunityView:
    """What the live picture shows. shots, before and shards by node; `act`: 1 or 2."""

    shots: Sequence[NodeSnapshot | None]
    before: Sequence[float | None]
    shards: Sequence[Listeners]
    act: int
    seconds: float
    events: Sequence[tuple[int, NodeEvent]]


@dataclass(frozen=True)
class Sorted:
    """The end. groups, before, after, moves by node; `sorted_seconds` after they were let go."""

    shards: Sequence[Listeners]
    first_groups: Sequence[str]
    groups: Sequence[str]
    before: Sequence[float | None]
    after: Sequence[float | None]
    moves: Sequence[int]
    places: Sequence[Place]
    let_go_seconds: float
    sorted_seconds: float
    seconds: float

    @property
    def purity(self) -> float:
        """Of the groups at the end; 1.0 when no group is mixed."""
        return purity([shard.community for shard in self.shards], self.groups)


def purity(communities: Sequence[int], groups: Sequence[str]) -> float:
    """The fraction of nodes that belong to the most frequent community of their group."""
    members: dict[str, Counter[int]] = {}
    for community, group in zip(communities, groups, strict=True):
        members.setdefault(group, Counter())[community] += 1
    return sum(max(counts.values()) for counts in members.values()) / len(groups)


def problems(end: Sorted, communities: int) -> list[str]:
    """Why the nodes did not sort themselves out, a line each; empty when they did."""
    found = []
    if end.purity < 1:
        found.append(f"communities are mixed: purity {end.purity:.2f}")
    if len(set(end.groups)) != communities:
        found.append(f"{communities} communities are in {len(set(end.groups))} groups")
    for number, (before, after) in enumerate(zip(end.before, end.after, strict=True)):
        if before is None or after is None or after >= before:
            found.append(f"{name_of(number)} is not better than before")
    return found


def as_json(end: Sorted, failures: Sequence[str]) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    return {
        "sorted_out": not failures,
        "problems": list(failures),
        "purity": end.purity,
        "seconds": round(end.seconds, 2),
        "seconds_to_sort": round(end.sorted_seconds, 2),
        "nodes": [
            {
                "node": name_of(number),
                "community": shard.community,
                "first_group": end.first_groups[number],
                "group": end.groups[number],
                "moves": end.moves[number],
                "rmse_before": end.before[number],
                "rmse_after": end.after[number],
                "change_percent": change_percent(end.after[number], end.before[number]),
            }
            for number, shard in enumerate(end.shards)
        ],
        "places": [
            {"node": name_of(p.node), "group": p.group, "seconds": round(p.seconds, 2)}
            for p in end.places
        ],
    }


def random_groups(settings: CommunitySettings, tastes: Sequence[int]) -> list[str]:
    """A group for each node, as equal in size as can be; the same seed gives the same.

    The best of many draws. A community that happens to be all together would have nothing to find,
    and one that is nowhere the largest part of a group would have to found its own, which takes
    longer than a demo should.
    """
    groups = [GROUPS[n % settings.communities] for n in range(settings.nodes)]
    chance = random.Random(settings.seed)
    draws = [chance.sample(groups, len(groups)) for _ in range(DRAWS)]
    return max(draws, key=lambda drawn: _fitness(tastes, drawn))


def _fitness(tastes: Sequence[int], groups: Sequence[str]) -> tuple[bool, int]:
    """Whether no community is all together, and how many are the largest part of a group."""
    places: dict[int, set[str]] = {}
    largest = set()
    for taste, group in zip(tastes, groups, strict=True):
        places.setdefault(taste, set()).add(group)
    for group in set(groups):
        counts = Counter(t for t, g in zip(tastes, groups, strict=True) if g == group)
        (first, most), *others = counts.most_common()
        if all(count < most for _, count in others):
            largest.add(first)
    return all(len(found) > 1 for found in places.values()), len(largest)


class CommunityDemo:
    """One run. `on_picture` is called with each new view; it may block (in its own thread)."""

    def __init__(
        self,
        settings: CommunitySettings,
        homes: Sequence[Path],
        shards: Sequence[Listeners],
        on_picture: Callable[[CommunityView], None],
    ) -> None:
        self.settings = settings
        self.homes = homes
        self.shards = shards
        self.on_picture = on_picture
        self._before: list[float | None] = [None] * settings.nodes
        self._groups = random_groups(settings, [shard.community for shard in shards])
        self._places: list[Place] = []
        self._let_go_seconds: float | None = None
        self._crew = Crew(
            homes,
            self._options,
            self._draw,
            lambda event: event.kind in SHOWN_KINDS,
            KEPT_EVENTS,
            self._heard,
        )

    async def run(self) -> Sorted:
        """ChildEnded when a node ends early. Whatever happens, no node is left afterwards."""
        async with self._crew.running():
            with trio.move_on_after(self.settings.timeout_seconds):
                await self._crew.until(self._have_learned)
                await self._let_go()
                await self._crew.until(self._are_calm)
            return self._end()

    def _options(self, number: int) -> list[str]:
        settings = self.settings
        return [
            *("--group", self._groups[number], "--pin"),
            *("--interval", str(settings.interval_seconds)),
            *("--set", f"data.split_seed={settings.seed}", "--set", "data.rating_scale=0.5-5"),
            *("--set", "data.validation_fraction=0.2", "--set", "data.test_fraction=0.2"),
            # A demo is short: look around after every round.
            *("--set", "switching.look_probability=1", "--set", "recommend.auto=false"),
        ]

    async def _let_go(self) -> None:
        """End of the first act: note each node's error, and unpin them all."""
        self._before = [None if shot is None else shot.test for shot in self._crew.shots]
        self._let_go_seconds = self._crew.seconds
        async with trio.open_nursery() as nursery:
            for home, group in zip(self.homes, self._groups, strict=True):
                switch = partial(running_node, home, "switch", 20.0, group=group)
                nursery.start_soon(in_thread, switch)

    # --- following --------------------------------------------------------------------------------

    def _have_learned(self) -> bool:
        rounds = self.settings.first_rounds
        return all(
            s is not None and s.round >= rounds and s.test is not None for s in self._crew.shots
        )

    def _are_calm(self) -> bool:
        """Every community has a group of its own, and nobody has moved for some rounds. Until then
        the demo goes on, or until its time is over: when a group is founded, for one, is left to
        chance."""
        groups = ["" if shot is None else shot.group_name for shot in self._crew.shots]
        tastes = [shard.community for shard in self.shards]
        if purity(tastes, groups) < 1 or len(set(groups)) != self.settings.communities:
            return False
        now = self._crew.seconds
        since = now - max(p.seconds for p in self._places)
        free = now - (self._let_go_seconds if self._let_go_seconds is not None else now)
        return min(since, free) > self.settings.calm_rounds * self.settings.interval_seconds

    def _heard(self, number: int, before: NodeSnapshot | None, now: NodeSnapshot) -> None:
        # Until it has joined, a node tells the name it was given, and no id.
        if now.group_id and (before is None or before.group_id != now.group_id):
            self._places.append(Place(number, now.group_name, self._crew.seconds))

    async def _draw(self) -> None:
        await draw_in_thread(partial(self.on_picture, self.picture()))

    def picture(self) -> CommunityView:
        """The nodes as they last answered."""
        return CommunityView(
            tuple(self._crew.shots),
            tuple(self._before),
            self.shards,
            1 if self._let_go_seconds is None else 2,
            self._crew.seconds,
            tuple(self._crew.events),
        )

    def _end(self) -> Sorted:
        shots, seconds = self._crew.shots, self._crew.seconds
        let_go = seconds if self._let_go_seconds is None else self._let_go_seconds
        last = max((p.seconds for p in self._places), default=0.0)
        return Sorted(
            shards=self.shards,
            first_groups=tuple(self._groups),
            groups=tuple("" if s is None else s.group_name for s in shots),
            before=tuple(self._before),
            after=tuple(None if s is None else s.test for s in shots),
            # What was seen: a node's own count leaves out moves to a group that broke its promise.
            moves=tuple(
                sum(p.node == number for p in self._places) - 1 for number in range(len(shots))
            ),
            places=tuple(self._places),
            let_go_seconds=let_go,
            sorted_seconds=max(0.0, last - let_go),
            seconds=seconds,
        )
