"""Nodes that chance put into groups, and then let go: what `demo --communities` and `demo --people`
have in common.

Two acts. First every node is pinned to the group that chance put it in, and learns there: that is
"before". Then all are let go, and each looks for the group that serves its own data best. Nobody
tells them who belongs together; only the demo knows, to draw the picture and to judge.

Everything is counted in rounds of the slowest node, so that a busy machine makes the demo longer
and not different.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from openfl.core.telemetry import NodeEvent, NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.demo.crew import Crew
from openfl_cli.demo.tastes import Listeners
from openfl_cli.screen import draw_in_thread
from openfl_cli.text import count_of
from openfl_cli.threads import in_thread

GROUPS = ("red", "green", "blue", "gold")
KEPT_EVENTS = 30
LET_GO_SECONDS = 120.0
"""For a node to answer that it is free: it writes that to disk first, on a busy machine."""
SHOWN_KINDS = ("switched", "not-moved")
HELD_OUT = ("data.validation_fraction=0.2", "data.test_fraction=0.2")
"""Nodes of a demo have few ratings: enough of them to judge by."""

MayEnd = Callable[[Sequence[str], Sequence[float | None]], bool]
"""(group, test error) of each node -> whether they may count as settled there."""


@dataclass(frozen=True)
class ActSettings:
    """first_rounds: before the nodes are let go. calm_rounds: without a move, until the sorting
    counts as over. most_rounds: after they are let go, until the demo ends whatever they do
    (those who are sorted out by then are given the calm rounds, twice).
    node_settings: "section.key=value", the same for all. timeout_seconds: for a machine that comes
    to a standstill; 0: `patience`."""

    nodes: int
    groups: int
    first_rounds: int
    calm_rounds: int
    most_rounds: int
    seed: int
    node_settings: tuple[str, ...]
    interval_seconds: float = 1.0
    timeout_seconds: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds after which the demo gives up."""
        rounds = self.first_rounds + self.most_rounds
        return self.timeout_seconds or 60 + 10 * self.nodes + 4 * rounds * self.interval_seconds


@dataclass(frozen=True)
class Place:
    """Where a node was, and from when on, for the map. `seconds` since the demo began."""

    node: int
    group: str
    seconds: float


@dataclass(frozen=True)
class Decided:
    """One decision of a node, as `status --why` tells it; `seconds` since the demo began, `round`
    of that node."""

    node: int
    seconds: float
    round: int
    action: str
    text: str


@dataclass(frozen=True)
class ActView:
    """What the live picture shows. shots, before and shards by node; `act`: 1 or 2."""

    shots: Sequence[NodeSnapshot | None]
    before: Sequence[float | None]
    shards: Sequence[Listeners]
    act: int
    seconds: float
    events: Sequence[tuple[int, NodeEvent]]


@dataclass(frozen=True)
class ActsEnd:
    """The end. groups, before, after, moves by node; `sorted_seconds` and `sorted_rounds` (of the
    slowest node) from when they were let go until the last move; `rounds` until the end. calm:
    whether nobody was moving any more."""

    shards: Sequence[Listeners]
    first_groups: Sequence[str]
    groups: Sequence[str]
    before: Sequence[float | None]
    after: Sequence[float | None]
    moves: Sequence[int]
    places: Sequence[Place]
    decisions: Sequence[Decided]
    let_go_seconds: float
    sorted_seconds: float
    sorted_rounds: int
    rounds: int
    calm: bool
    seconds: float


def too_soon(end: ActsEnd) -> str:
    """What to say when the time was over before the nodes were let go."""
    return f"{end.seconds:.0f} s were over before all nodes had learned: give more with --timeout"


def still_moving(end: ActsEnd) -> str:
    """What to say when the end was not calm."""
    ago = count_of(end.rounds - end.sorted_rounds, "round")
    return f"the nodes are not at rest after {end.rounds} rounds: the last move was {ago} ago"


def random_groups(nodes: int, groups: int, seed: int) -> list[str]:
    """A group for each node, each drawn by itself: groups may differ in size, one may be empty, and
    nobody sees to it that those who belong together are anywhere many. The same seed gives the
    same."""
    chance = random.Random(seed)
    return [chance.choice(GROUPS[:groups]) for _ in range(nodes)]


def group_labels(shots: Sequence[NodeSnapshot | None]) -> list[str]:
    """What the group of each node is called; of several groups of one name, each with the beginning
    of its id. Empty for a node that has not answered yet."""
    ids: dict[str, set[str]] = {}
    for shot in shots:
        if shot is not None:
            ids.setdefault(shot.group_name, set()).add(str(shot.group_id))

    def label(shot: NodeSnapshot | None) -> str:
        if shot is None:
            return ""
        alike = len(ids[shot.group_name]) > 1
        return f"{shot.group_name} {shot.group_id[:4]}" if alike else shot.group_name

    return [label(shot) for shot in shots]


class TwoActs:
    """One run. shards, first_groups: of each node. on_picture: called with each new view; it may
    block (in its own thread)."""

    def __init__(
        self,
        settings: ActSettings,
        homes: Sequence[Path],
        shards: Sequence[Listeners],
        first_groups: Sequence[str],
        on_picture: Callable[[ActView], None],
        may_end: MayEnd = lambda groups, errors: True,
    ) -> None:
        self.settings = settings
        self.homes = homes
        self.shards = shards
        self.on_picture = on_picture
        self._may_end = may_end
        self._before: list[float | None] = [None] * settings.nodes
        self._first_groups = first_groups
        self._places: list[Place] = []
        self._decisions: list[Decided] = []
        self._let_go_seconds: float | None = None
        self._let_go_rounds = [0] * settings.nodes
        self._last_move_rounds = [0] * settings.nodes
        """The round of every node when the last move of any of them was seen."""
        self._crew = Crew(
            homes,
            self._options,
            self._draw,
            lambda event: event.kind in SHOWN_KINDS,
            KEPT_EVENTS,
            self._heard,
        )

    async def run(self) -> ActsEnd:
        """ChildEnded when a node ends early. Whatever happens, no node is left afterwards."""
        async with self._crew.running():
            with trio.move_on_after(self.settings.patience):
                await self._crew.until(self._have_learned)
                await self._let_go()
                await self._crew.until(self._is_over)
            await self._crew.poll_all()
            return self._end()

    def _options(self, number: int) -> list[str]:
        settings = self.settings
        options = [
            *("--group", self._first_groups[number], "--pin"),
            *("--interval", str(settings.interval_seconds)),
            # A demo is short: look around after every round.
            *("--set", "switching.look_probability=1", "--set", "recommend.auto=false"),
        ]
        for setting in settings.node_settings:
            options += ["--set", setting]
        return options

    async def _let_go(self) -> None:
        """End of the first act: note each node's error, and unpin them all."""
        self._before = self._errors()
        self._let_go_seconds = self._crew.seconds
        self._let_go_rounds = self._last_move_rounds = self._rounds()
        async with trio.open_nursery() as nursery:
            for home, group in zip(self.homes, self._first_groups, strict=True):
                switch = partial(running_node, home, "switch", LET_GO_SECONDS, group=group)
                nursery.start_soon(in_thread, switch)

    # --- following --------------------------------------------------------------------------------

    def _rounds(self) -> list[int]:
        return [0 if shot is None else shot.round for shot in self._crew.shots]

    def _since(self, rounds: Sequence[int]) -> int:
        """How many rounds the slowest node has done since then."""
        return min(now - then for now, then in zip(self._rounds(), rounds, strict=True))

    def _groups(self) -> list[str]:
        return group_labels(self._crew.shots)

    def _errors(self) -> list[float | None]:
        return [None if shot is None else shot.test for shot in self._crew.shots]

    def _have_learned(self) -> bool:
        return self._since([0] * self.settings.nodes) >= self.settings.first_rounds and all(
            shot is not None and shot.test is not None for shot in self._crew.shots
        )

    def _is_calm(self) -> bool:
        return (
            self._let_go_seconds is not None
            and self._since(self._last_move_rounds) >= self.settings.calm_rounds
        )

    def _is_over(self) -> bool:
        """Until they may end where they are the demo goes on, or until its rounds are done: when a
        group is founded, for one, is left to chance."""
        rounds, settings = self._since(self._let_go_rounds), self.settings
        if self._may_end(self._groups(), self._errors()):
            # Found at last: it is given the time to show that it holds.
            return self._is_calm() or rounds >= settings.most_rounds + 2 * settings.calm_rounds
        return rounds >= settings.most_rounds

    def _heard(self, number: int, before: NodeSnapshot | None, now: NodeSnapshot) -> None:
        seconds = self._crew.seconds
        # Until it has joined, a node tells the name it was given, and no id.
        if now.group_id and (before is None or before.group_id != now.group_id):
            self._places.append(Place(number, now.group_name, seconds))
            self._last_move_rounds = self._rounds()
        known = set() if before is None else {(d.time, d.text) for d in before.switching.decisions}
        self._decisions += [
            Decided(number, seconds, now.round, decision.action, decision.text)
            for decision in now.switching.decisions
            if (decision.time, decision.text) not in known
        ]

    async def _draw(self) -> None:
        await draw_in_thread(partial(self.on_picture, self.picture()))

    def picture(self) -> ActView:
        """The nodes as they last answered."""
        return ActView(
            tuple(self._crew.shots),
            tuple(self._before),
            self.shards,
            1 if self._let_go_seconds is None else 2,
            self._crew.seconds,
            tuple(self._crew.events),
        )

    def _end(self) -> ActsEnd:
        shots, seconds = self._crew.shots, self._crew.seconds
        let_go = seconds if self._let_go_seconds is None else self._let_go_seconds
        last = max((p.seconds for p in self._places), default=0.0)
        return ActsEnd(
            shards=self.shards,
            first_groups=tuple(self._first_groups),
            groups=tuple(self._groups()),
            before=tuple(self._before),
            after=tuple(self._errors()),
            # What was seen: a node's own count leaves out moves to a group that broke its promise.
            moves=tuple(
                sum(p.node == number for p in self._places) - 1 for number in range(len(shots))
            ),
            places=tuple(self._places),
            decisions=tuple(self._decisions),
            let_go_seconds=let_go,
            sorted_seconds=max(0.0, last - let_go),
            sorted_rounds=min(
                then - start
                for then, start in zip(self._last_move_rounds, self._let_go_rounds, strict=True)
            ),
            rounds=self._since(self._let_go_rounds),
            calm=self._is_calm(),
            seconds=seconds,
        )
