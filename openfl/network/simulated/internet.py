"""`SimulatedInternet`: all simulated peers, the links between them, and what can go wrong there.

Latency, loss, duplication, reordering and bandwidth are seeded (`link`). It runs on trio, in real
time or, in no time, under `trio.testing.MockClock(autojump_threshold=0)`. Same seed, same run:
events happen in the order of their times, one after another in one task; `seed_trio` removes the
chance that is left in the order in which trio wakes tasks.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from itertools import count
from types import TracebackType
from typing import Any

import trio

from openfl.core.contribution import PeerId
from openfl.network.base import PeerAddress
from openfl.network.simulated.answer import leave_nursery
from openfl.network.simulated.link import Link, LinkSettings
from openfl.network.simulated.network import Provider, SimulatedNetwork

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def simulated_peer_id(name: str) -> PeerId:
    """A peer id in the form of real ones, for a simulated peer that signs nothing."""
    digits = random.Random(f"peer/{name}")
    return PeerId("12D3KooW" + "".join(digits.choice(_BASE58) for _ in range(44)))


def seed_trio(seed: int) -> None:
    """Make the order in which trio wakes tasks a function of `seed`, in this process.

    trio shuffles the tasks that become runnable at one moment, on purpose; the switch for tests is
    private (Hypothesis's trio plugin uses it too).
    """
    run: Any = trio._core._run  # type: ignore[attr-defined]
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)


class SimulatedInternet:
    """All simulated peers and what lies between them. Enter it with `async with`."""

    def __init__(self, seed: int = 0, settings: LinkSettings | None = None) -> None:
        self.seed = seed
        self.settings = settings or LinkSettings()
        self._links: dict[tuple[PeerId, PeerId], Link] = {}
        self._networks: dict[PeerId, SimulatedNetwork] = {}
        self._providers: dict[bytes, dict[PeerId, Provider]] = {}
        self._sides: dict[PeerId, int] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._wake = trio.Event()
        self._addresses = count(1)

    async def __aenter__(self) -> SimulatedInternet:
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self._nursery.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._nursery.cancel_scope.cancel()
        await leave_nursery(self._nursery_manager, kind, error, traceback)

    def network(self, peer_id: PeerId, max_peers: int = 64) -> SimulatedNetwork:
        """A new peer, to be entered with `async with`; the id may be that of one that is gone."""
        return SimulatedNetwork(self, peer_id, f"/memory/{next(self._addresses)}", max_peers)

    # Faults

    def partition(self, *sides: Iterable[PeerId]) -> None:
        """Cut every connection between different sides; peers of no side form one side."""
        self._sides = {peer: n for n, side in enumerate(sides, start=1) for peer in side}
        for network in list(self._networks.values()):
            for other in list(network._connected):
                if not self._reachable(network.peer_id, other):
                    self._disconnect(network.peer_id, other)

    def heal(self) -> None:
        """End a partition; whoever lost a connection has to make it again."""
        self._sides = {}

    def crash(self, peer_id: PeerId) -> None:
        """A peer is gone without a word: its connections break, its provider records stay."""
        network = self._networks.pop(peer_id)
        network._alive = False
        for other in list(network._connected):
            self._disconnect(peer_id, other)

    # For the networks

    def schedule(self, at: float, event: Callable[[], None]) -> None:
        """Call `event` at the time `at`, on trio's clock."""
        heapq.heappush(self._events, (at, next(self._order), event))
        self._wake.set()

    def link(self, sender: PeerId, receiver: PeerId) -> Link:
        """The link in one direction; made when it is first asked for."""
        key = (sender, receiver)
        if key not in self._links:
            self._links[key] = Link(self.settings, f"{self.seed}/{sender}/{receiver}")
        return self._links[key]

    async def _run(self) -> None:
        while True:
            now = trio.current_time()
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[2]()
            self._wake = trio.Event()
            pause = self._events[0][0] - now if self._events else float("inf")
            with trio.move_on_after(pause):
                await self._wake.wait()

    def _reachable(self, one: PeerId, other: PeerId) -> bool:
        return self._sides.get(one, 0) == self._sides.get(other, 0)

    def _connect(self, one: SimulatedNetwork, other: SimulatedNetwork) -> None:
        for near, far in ((one, other), (other, one)):
            near._connected[far.peer_id] = set()
            near._known[far.peer_id] = PeerAddress(far.peer_id, (far.address,))
        for near, far in ((one, other), (other, one)):
            for topic in near._topics:
                near._announce(far.peer_id, topic, True)

    def _disconnect(self, one: PeerId, other: PeerId) -> None:
        for near, far in ((one, other), (other, one)):
            network = self._networks.get(near)
            if network is not None:
                network._lost(far)
