"""`openfl-node demo --communities`: nodes put into groups at random sort themselves out.

Two acts. First every node is pinned to the group that chance put it in, and learns there: that is
"before". Then all are let go, and each looks for the group that serves its own data best. Nobody
tells them who is of which community; only the demo knows, to draw the picture and to judge.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from openfl.errors import LearningError, NotRunningError
from openfl.telemetry import NodeEvent, NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.demo.children import Child, ended_together, start_child
from openfl_cli.demo.polling import ENDING_SIGNALS, LISTEN_SECONDS, POLL_SECONDS, interrupt_on
from openfl_cli.demo.tastes import Listeners
from openfl_cli.screen import draw_in_thread
from openfl_cli.text import change_percent

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
    """Where a node is, when, for the map. `seconds` since the demo began."""

    node: int
    group: str
    seconds: float


@dataclass(frozen=True)
class CommunityView:
    """What the live picture shows. shots, before and hands by node; `act`: 1 or 2."""

    shots: Sequence[NodeSnapshot | None]
    before: Sequence[float | None]
    hands: Sequence[Listeners]
    act: int
    seconds: float
    events: Sequence[tuple[int, NodeEvent]]


@dataclass(frozen=True)
class Sorted:
    """The end. groups, before, after, moves by node; `sorted_seconds` after they were let go."""

    hands: Sequence[Listeners]
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
        return purity([hand.community for hand in self.hands], self.groups)


def purity(communities: Sequence[int], groups: Sequence[str]) -> float:
    """The part of the nodes that are of their group's most frequent community."""
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
            found.append(f"node-{number + 1} is not better than before")
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
                "node": f"node-{number + 1}",
                "community": hand.community,
                "first_group": end.first_groups[number],
                "group": end.groups[number],
                "moves": end.moves[number],
                "rmse_before": end.before[number],
                "rmse_after": end.after[number],
                "change_percent": change_percent(end.after[number], end.before[number]),
            }
            for number, hand in enumerate(end.hands)
        ],
        "places": [
            {"node": f"node-{p.node + 1}", "group": p.group, "seconds": round(p.seconds, 2)}
            for p in end.places
        ],
    }


def random_groups(settings: CommunitySettings, tastes: Sequence[int]) -> list[str]:
    """A group for each node, as equal in size as can be; the same seed gives the same.

    Drawn again, while that can be, as long as a whole community is together by chance, for it would
    have nothing to find, or one is nowhere the largest part of a group, for it would have to found
    one, which takes longer than a demo should.
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


@dataclass
class CommunityDemo:
    """One run. `on_picture` is called with each new view; it may block (in its own thread)."""

    settings: CommunitySettings
    homes: Sequence[Path]
    hands: Sequence[Listeners]
    on_picture: Callable[[CommunityView], None]
    _children: list[Child] = field(default_factory=list)
    _events: list[tuple[int, NodeEvent]] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _let_go_at: float | None = None
    _sorted_at: float = 0.0
    _started: float = 0.0

    def __post_init__(self) -> None:
        count = self.settings.nodes
        self._shots: list[NodeSnapshot | None] = [None] * count
        self._before: list[float | None] = [None] * count
        self._groups = random_groups(self.settings, [hand.community for hand in self.hands])
        self._polled = trio.Event()

    async def run(self) -> Sorted:
        """ChildEnded when a node ends early. Whatever happens, no node is left afterwards."""
        self._started = trio.current_time()
        with trio.open_signal_receiver(*ENDING_SIGNALS) as signals:
            async with ended_together(self._children), trio.open_nursery() as nursery:
                nursery.start_soon(interrupt_on, signals)
                nursery.start_soon(self._watch)
                await self._start_all(nursery)
                with trio.move_on_after(self.settings.timeout_seconds):
                    await self._until(self._have_learned)
                    await self._let_go()
                    await self._until(self._are_calm)
                end = self._end()
                nursery.cancel_scope.cancel()
        return end

    async def _start_all(self, nursery: trio.Nursery) -> None:
        first = await self._start(nursery, 0, [])
        with trio.move_on_after(LISTEN_SECONDS):
            await first.listening.wait()
        if not first.listening.is_set():
            raise LearningError(f"{first.name} did not listen within {LISTEN_SECONDS:g} s")
        for number in range(1, self.settings.nodes):
            await self._start(nursery, number, ["--bootstrap", first.multiaddrs[0]])

    async def _start(self, nursery: trio.Nursery, number: int, options: list[str]) -> Child:
        home, settings = self.homes[number], self.settings
        child = await start_child(
            f"node-{number + 1}",
            home,
            [
                *("--data", str(home / "ratings.csv"), "--group", self._groups[number], "--pin"),
                *("--listen", "/ip4/127.0.0.1/tcp/0"),
                *("--interval", str(settings.interval_seconds)),
                *("--set", f"data.split_seed={settings.seed}", "--set", "data.rating_scale=0.5-5"),
                *("--set", "data.validation_fraction=0.2", "--set", "data.test_fraction=0.2"),
                # A demo is short: look around after every round.
                *("--set", "switching.look_probability=1", "--set", "recommend.auto=false"),
                *options,
            ],
        )
        self._children.append(child)
        nursery.start_soon(child.follow)
        return child

    async def _let_go(self) -> None:
        """End of the first act: what it came to, and the pins out."""
        self._before = [None if shot is None else shot.test for shot in self._shots]
        self._let_go_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for child, group in zip(self._children, self._groups, strict=True):
                nursery.start_soon(
                    partial(
                        trio.to_thread.run_sync,
                        partial(running_node, child.home, "switch", 20.0, group=group),
                        abandon_on_cancel=True,
                    )
                )

    # --- following --------------------------------------------------------------------------------

    def _have_learned(self) -> bool:
        rounds = self.settings.first_rounds
        return all(s is not None and s.round >= rounds and s.test is not None for s in self._shots)

    def _are_calm(self) -> bool:
        """Everybody is among its like, and nobody has moved for some rounds. While it is not so,
        the demo goes on until its time is over: founding a group, for one, is left to chance."""
        groups = ["" if shot is None else shot.group_name for shot in self._shots]
        tastes = [hand.community for hand in self.hands]
        if purity(tastes, groups) < 1 or len(set(groups)) != self.settings.communities:
            return False
        since = trio.current_time() - self._started - max(p.seconds for p in self._places)
        let_go = self._let_go_at if self._let_go_at is not None else trio.current_time()
        free = trio.current_time() - let_go
        return min(since, free) > self.settings.calm_rounds * self.settings.interval_seconds

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._polled.wait()

    async def _watch(self) -> None:
        while True:
            async with trio.open_nursery() as nursery:
                for number, child in enumerate(list(self._children)):
                    nursery.start_soon(self._poll, number, child)
            self._polled.set()
            self._polled = trio.Event()
            await draw_in_thread(partial(self.on_picture, self.picture()))
            await trio.sleep(POLL_SECONDS)

    async def _poll(self, number: int, child: Child) -> None:
        try:
            plain: Mapping[str, Any] = await trio.to_thread.run_sync(
                running_node, child.home, "snapshot", abandon_on_cancel=True
            )
        except NotRunningError:
            return  # still starting; should it have ended, `follow` says so
        shot, before = NodeSnapshot.from_plain(plain), self._shots[number]
        self._shots[number] = shot
        # Until it has joined, a node tells the name it was given, and no id.
        if shot.group_id and (before is None or before.group_id != shot.group_id):
            self._places.append(Place(number, shot.group_name, trio.current_time() - self._started))
        known = set() if before is None else {(e.time, e.message) for e in before.events}
        fresh = [e for e in shot.events if (e.time, e.message) not in known]
        self._events += [(number, e) for e in fresh if e.kind in SHOWN_KINDS]
        self._events.sort(key=lambda pair: pair[1].time)
        del self._events[:-KEPT_EVENTS]

    def picture(self) -> CommunityView:
        return CommunityView(
            tuple(self._shots),
            tuple(self._before),
            self.hands,
            1 if self._let_go_at is None else 2,
            trio.current_time() - self._started,
            tuple(self._events),
        )

    def _end(self) -> Sorted:
        shots, seconds = self._shots, trio.current_time() - self._started
        let_go = seconds if self._let_go_at is None else self._let_go_at - self._started
        last = max((p.seconds for p in self._places), default=0.0)
        return Sorted(
            hands=self.hands,
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
