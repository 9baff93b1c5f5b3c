"""Finding the members of a group, knowing nobody but a bootstrap address or remembered peers.

Three sources, because each alone fails when many nodes start at once: provider records of the group
in the DHT (a record is only where it was stored, and members that start together store it before
they know each other), the peers we are connected to that subscribe to the group's topic, and what
such peers tell about others (`/openfl/peers/1`, see `peer_exchange`).

Keys: provider records live for a day and cannot be withdrawn, so a group's key changes with the
hour. Members provide the key of the current hour at least every ten minutes, and look up that and,
early in an hour, the one before: whoever left fades within two hours. Every node also provides one
well-known key, by which it can be found knowing no group.

Works over any `Network`. Time is an argument: `now` tells unix seconds, for the hour only; waiting
uses trio's clock.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from openfl.core.contribution import GroupId, PeerId
from openfl.core.errors import RemoteError, RequestFailed
from openfl.discovery.missed_peers import MISSED_SECONDS, MissedPeers
from openfl.discovery.peer_exchange import PeerExchange
from openfl.discovery.retries import EARLY_RETRY_SECONDS, Retries
from openfl.network.base import Network, PeerAddress
from openfl.wire.names import KEY_SECONDS, NETWORK_KEY, deltas_topic, group_key

log = logging.getLogger(__name__)

MAX_REMEMBERED = 64
MAX_JOIN_DIALS = 32
"""Addresses tried at once when joining."""
MAX_CANDIDATES = 256
SEARCH_TIMEOUT_SECONDS = 8.0
CONNECT_TIMEOUT_SECONDS = 12.0
JOIN_GRACE_SECONDS = 1.5
"""How long joining waits for the others once somebody has answered: some will be off for good."""
FIRST_INTERVAL_SECONDS = 0.4
INTERVAL_GROWTH = 1.5
SATED_INTERVAL_GROWTH = 6.0
PREVIOUS_KEY_SECONDS = 1200
"""How far into an hour the key of the hour before is looked up as well."""
HUNGRY_INTERVAL_SECONDS = 15.0
"""Longest pause between searches while we have fewer members than we want."""
FULL_INTERVAL_SECONDS = 60.0
PROVIDE_INTERVAL_SECONDS = 600.0
EARLY_PROVIDES = 3
"""Provides in quick succession after the start, while the peers closest to the key still arrive."""
WATCH_SECONDS = 1.0
LEARN_SECONDS = 5.0
"""Until the addresses of the members that are here are looked at again."""
MAX_NEARBY = 64
"""Peers of the LAN that are kept in mind; of more, the newest."""
MAX_MISSED_DIALS = 4
"""Missed members tried at once: one that answers is enough to be one group again."""


@dataclass(frozen=True, slots=True)
class DialOutcome:
    """What came of one address; `reason` says why it failed."""

    peer: PeerAddress
    ok: bool
    reason: str = ""

    @property
    def address(self) -> str:
        """For people: the first multiaddr with the peer id, as it was given."""
        head = self.peer.multiaddrs[0] if self.peer.multiaddrs else ""
        return f"{head}/p2p/{self.peer.peer_id}"


@dataclass(frozen=True, slots=True)
class Absence:
    """Nobody is connected, and everybody who is known was dialled in vain. addresses: how many they
    are; bootstrap: whether they were given as such; causes: why they failed, in a few words each;
    next_try: on trio's clock."""

    addresses: int
    bootstrap: bool
    causes: tuple[str, ...]
    next_try: float


def no_answer(outcomes: Sequence[DialOutcome]) -> str:
    """The line for the owner when nobody could be reached: what was tried, and what came of it."""
    return "no bootstrap node answers: " + "; ".join(outcome.reason for outcome in outcomes)


class Discovery:
    """Connects a node to its network and to the members of its group, and keeps it connected.

    `dial_members`: stop dialling when connected to that many members (others may dial us).
    """

    def __init__(
        self,
        network: Network,
        *,
        bootstrap: Sequence[PeerAddress] = (),
        remembered: Sequence[PeerAddress] = (),
        now: Callable[[], float],
        rng: random.Random,
        dial_members: int = 6,
    ) -> None:
        self._network = network
        # One list is often given to all nodes alike; nobody waits for itself.
        self._bootstrap = tuple(p for p in bootstrap if p.peer_id != network.peer_id)
        self._now = now
        self._rng = rng
        self._dial_members = dial_members
        self._known: dict[PeerId, PeerAddress] = {}
        self._nearby: dict[PeerId, PeerAddress] = {}
        self._retries = Retries((p.peer_id for p in self._bootstrap), rng)
        self._somebody = trio.Event()
        """Set once a dial has led to a connection."""
        self._alone_since: float | None = None
        self._missed = MissedPeers({peer.peer_id for peer in self._bootstrap})
        self._exchange = PeerExchange(network, lambda group_id: self.members(group_id))
        for peer in [*self._bootstrap, *remembered]:
            self._learn(peer)

    @property
    def bootstrap(self) -> tuple[PeerAddress, ...]:
        """The peers to join the network through, without this one."""
        return self._bootstrap

    def absence(self) -> Absence | None:
        """Whom this node waits for; None as long as anybody is connected, or nobody is known."""
        if self._network.connected():
            return None
        awaited = self._bootstrap or tuple(self._known.values())
        tried = [self._retries.failure(p.peer_id) for p in awaited]
        failures = [failure for failure in tried if failure is not None]
        if not failures:
            return None
        causes = tuple(dict.fromkeys(failure.cause for failure in failures))
        next_try = min(failure.until for failure in failures)
        return Absence(len(awaited), bool(self._bootstrap), causes, next_try)

    def unanswered(self) -> tuple[str, ...]:
        """For people: each bootstrap address, and what came of dialling it."""
        tried = [(p, self._retries.failure(p.peer_id)) for p in self._bootstrap]
        return tuple(
            f"{DialOutcome(peer, False).address}: "
            + ("no answer yet" if failure is None else failure.cause)
            for peer, failure in tried
        )

    def met_nearby(self, peer: PeerAddress) -> None:
        """A peer of the LAN says that it is there; dialled as long as there are too few others."""
        self._nearby.pop(peer.peer_id, None)
        self._nearby[peer.peer_id] = peer
        while len(self._nearby) > MAX_NEARBY:
            del self._nearby[next(iter(self._nearby))]

    async def join(self) -> tuple[DialOutcome, ...]:
        """Dial bootstrap and remembered peers side by side and say what came of each.

        Nothing is raised when all fail: `run` keeps trying. Empty when there was nobody to dial.
        """
        targets = list(self._bootstrap)
        others = [*self._nearby.values(), *self._known.values()]
        targets += [peer for peer in others if peer not in targets]
        del targets[MAX_JOIN_DIALS:]
        outcomes: list[DialOutcome] = []
        async with trio.open_nursery() as nursery:

            async def dial(peer: PeerAddress) -> None:
                await self._dial_one(peer, outcomes)
                if outcomes[-1].ok:
                    grace = trio.current_time() + JOIN_GRACE_SECONDS
                    nursery.cancel_scope.deadline = min(nursery.cancel_scope.deadline, grace)

            for peer in targets:
                nursery.start_soon(dial, peer)
        tried = {outcome.peer.peer_id for outcome in outcomes}
        silent = [peer for peer in targets if peer.peer_id not in tried]
        outcomes += [DialOutcome(p, False, f"no answer from {p.peer_id} yet") for p in silent]
        return tuple(outcomes)

    async def run(
        self,
        group_id: GroupId,
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep this node connected to the members of a group, until cancelled.

        Started once the first search is over, whatever it found.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_connected, group_id)
            await self._search_and_dial(group_id)
            task_status.started()
            nursery.start_soon(self._keep_provided, group_id)
            await self._keep_searching(group_id)

    async def find_members(self, group_id: GroupId) -> tuple[PeerAddress, ...]:
        """Members as the DHT and connected peers know them now; not dialled, never ourselves."""
        found: dict[PeerId, PeerAddress] = {}
        now = self._now()
        keys = [group_key(group_id, now)]
        if now % KEY_SECONDS < PREVIOUS_KEY_SECONDS:
            keys.append(group_key(group_id, now - KEY_SECONDS))
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(self._look_up, key, found)
            nursery.start_soon(self._ask_peers, group_id, found)
        return tuple(found.values())

    async def find_peers(self) -> tuple[PeerAddress, ...]:
        """Any nodes of the network, of whatever group; not dialled, never ourselves."""
        found: dict[PeerId, PeerAddress] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_up, NETWORK_KEY, found)
            nursery.start_soon(self._ask_peers, None, found)
        return tuple(found.values())

    def members(self, group_id: GroupId | None) -> frozenset[PeerId]:
        """Connected peers that subscribe to the group's topic; None: all connected peers."""
        topic = None if group_id is None else deltas_topic(group_id)
        return self._network.connected(topic)

    def remembered(self) -> tuple[PeerAddress, ...]:
        """Peers worth dialling after a restart, most useful first: connected ones, then others."""
        connected = [
            PeerAddress(peer.peer_id, peer.multiaddrs)
            for peer in self._network.peers()
            if peer.multiaddrs
        ]
        for peer in connected:
            self._learn(peer)
        names = {peer.peer_id for peer in connected}
        others = [
            peer
            for peer in self._known.values()
            if peer.peer_id not in names and peer.multiaddrs and self._failure_count(peer) < 4
        ]
        others.sort(key=self._failure_count)
        return tuple([*connected, *others][:MAX_REMEMBERED])

    # Searching

    async def _keep_searching(self, group_id: GroupId) -> None:
        interval = FIRST_INTERVAL_SECONDS
        while True:
            met = self._somebody.is_set()
            with trio.move_on_after(interval * self._rng.uniform(0.7, 1.3)):
                if met:
                    await trio.sleep_forever()
                await self._somebody.wait()
            if self._somebody.is_set() and not met:
                interval = FIRST_INTERVAL_SECONDS  # until now there was nobody to ask
            await self._search_and_dial(group_id)
            enough = len(self.members(group_id)) >= self._dial_members
            if enough:
                interval = min(FULL_INTERVAL_SECONDS, interval * SATED_INTERVAL_GROWTH)
            else:
                interval = min(HUNGRY_INTERVAL_SECONDS, interval * INTERVAL_GROWTH)

    async def _search_and_dial(self, group_id: GroupId) -> None:
        found = [p for p in await self.find_members(group_id) if p.multiaddrs]
        connected = self.members(None)
        wanted = self._dial_members - len(self.members(group_id))
        strangers = [p for p in found if p.peer_id not in connected and self._may_dial(p)]
        self._rng.shuffle(strangers)
        # One more than wanted, for some will be gone.
        await self._dial(strangers[: max(0, wanted + 1)] if wanted > 0 else [])

    async def _look_up(self, key: bytes, found: dict[PeerId, PeerAddress]) -> None:
        with trio.move_on_after(SEARCH_TIMEOUT_SECONDS):
            self._collect(await self._network.find_providers(key), found)

    async def _ask_peers(self, group_id: GroupId | None, found: dict[PeerId, PeerAddress]) -> None:
        # Members know most about their group; a bootstrap node may know it without being one.
        asked = sorted(self.members(group_id)) or sorted(self.members(None))
        others = sorted(self.members(None).difference(asked))
        self._rng.shuffle(asked)
        self._rng.shuffle(others)
        async with trio.open_nursery() as nursery:
            for peer_id in [*asked[:3], *others[:2]]:
                nursery.start_soon(self._ask, peer_id, group_id, found)

    async def _ask(
        self, peer_id: PeerId, group_id: GroupId | None, found: dict[PeerId, PeerAddress]
    ) -> None:
        with trio.move_on_after(SEARCH_TIMEOUT_SECONDS):
            try:
                self._collect(await self._exchange.ask(peer_id, group_id), found)
            except RemoteError as error:
                log.debug("peer exchange with %s: %s", peer_id, error)

    def _collect(self, peers: Iterable[PeerAddress], found: dict[PeerId, PeerAddress]) -> None:
        for peer in peers:
            if peer.peer_id != self._network.peer_id:
                earlier = found.get(peer.peer_id, PeerAddress(peer.peer_id))
                merged = dict.fromkeys([*earlier.multiaddrs, *peer.multiaddrs])
                found[peer.peer_id] = PeerAddress(peer.peer_id, tuple(merged))

    # Being found

    async def _keep_provided(self, group_id: GroupId) -> None:
        """Only after the first search: what we announced ourselves must not satisfy it."""
        times = 0
        while True:
            hour = int(self._now() // KEY_SECONDS)
            await self._provide(group_key(group_id, self._now()))
            await self._provide(NETWORK_KEY)
            times += 1
            pause = 2.0 * times if times <= EARLY_PROVIDES else PROVIDE_INTERVAL_SECONDS
            with trio.move_on_after(pause * self._rng.uniform(0.7, 1.3)):
                while int(self._now() // KEY_SECONDS) == hour:  # noqa: ASYNC110 (a clock)
                    await trio.sleep(5.0)

    async def _provide(self, key: bytes) -> None:
        with trio.move_on_after(SEARCH_TIMEOUT_SECONDS):
            await self._network.provide(key)

    # Dialling

    async def _keep_connected(self, group_id: GroupId) -> None:
        """Redial bootstrap peers and missed members with back-off, however many others are here;
        and, when we are alone, everyone we remember."""
        learned: frozenset[PeerId] = frozenset()
        learn_again = 0.0
        while True:
            early = self._retries.is_early(trio.current_time())
            pause = EARLY_RETRY_SECONDS if early else WATCH_SECONDS
            await trio.sleep(pause * self._rng.uniform(0.7, 1.3))
            connected, members = self.members(None), self.members(group_id)
            now = trio.current_time()
            self._missed.look(connected, members, now)
            if connected:
                self._alone_since = None
                self._retries.connected()
            elif self._alone_since is None:
                self._alone_since = now
            if members != learned or now >= learn_again:
                learned, learn_again = members, now + LEARN_SECONDS
                for peer in self._network.peers():
                    if peer.peer_id in members:
                        self._learn(PeerAddress(peer.peer_id, peer.multiaddrs))
            if connected:
                targets = [*self._bootstrap, *self._missed_members()]
            else:
                targets = list(self._known.values())
            if len(connected) < self._dial_members:
                targets += self._nearby.values()
            await self._dial(
                [p for p in targets if p.peer_id not in connected and self._may_dial(p)][
                    :MAX_JOIN_DIALS
                ]
            )

    def _missed_members(self) -> list[PeerAddress]:
        """Some that may be dialled; first those that failed least often, in random order."""
        names = self._missed.missed(trio.current_time()) - {p.peer_id for p in self._bootstrap}
        found = [p for p in self._known.values() if p.peer_id in names and self._may_dial(p)]
        self._rng.shuffle(found)
        found.sort(key=self._failure_count)
        return found[:MAX_MISSED_DIALS]

    async def _dial(self, peers: Iterable[PeerAddress]) -> list[DialOutcome]:
        outcomes: list[DialOutcome] = []
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(self._dial_one, peer, outcomes)
        return outcomes

    async def _dial_one(self, peer: PeerAddress, outcomes: list[DialOutcome]) -> None:
        reason = cause = "no answer in time"
        with trio.move_on_after(CONNECT_TIMEOUT_SECONDS):
            try:
                await self._network.connect(peer)
                reason = ""
            except RequestFailed as error:
                reason, cause = str(error), error.cause
            except RemoteError as error:
                reason = cause = str(error)
        if reason:
            now = trio.current_time()
            self._retries.failed(peer.peer_id, cause, self._is_missed(peer, now), now)
        else:
            self._retries.succeeded(peer.peer_id)
            self._somebody.set()
            self._learn(peer)
        outcomes.append(DialOutcome(peer, not reason, reason))

    def _is_missed(self, peer: PeerAddress, now: float) -> bool:
        """Whether it may be back any moment. To whoever is alone, that is everybody."""
        alone = self._alone_since is not None and now - self._alone_since <= MISSED_SECONDS
        return alone or peer.peer_id in self._missed.missed(now)

    def _may_dial(self, peer: PeerAddress) -> bool:
        return self._retries.is_due(peer.peer_id, trio.current_time())

    def _failure_count(self, peer: PeerAddress) -> int:
        return self._retries.times(peer.peer_id)

    def _learn(self, peer: PeerAddress) -> None:
        if peer.peer_id == self._network.peer_id or not peer.multiaddrs:
            return
        self._known.pop(peer.peer_id, None)
        self._known[peer.peer_id] = peer
        while len(self._known) > MAX_CANDIDATES:
            del self._known[next(iter(self._known))]
