"""Cards of groups over the network: `GroupCards` driven by trio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import trio

from openfl.core.contribution import GroupCard, GroupId, PeerId
from openfl.core.errors import RemoteError
from openfl.core.telemetry import DirectoryView
from openfl.network.base import GossipMessage, Network, Sealer, Verdict
from openfl.switching.cards import GroupCards
from openfl.switching.directory import Directory, KnownCard
from openfl.wire import messages as wire

ASK_SECONDS = 3.0
MAX_ASKED = 8
ISSUE_STEP_SECONDS = 0.001
TOPICS_SECONDS = 0.5


class GroupFinder:
    """`own_card(unix_now)` is our group's card as of now, or None when we are in no group."""

    def __init__(
        self,
        network: Network,
        sealer: Sealer,
        rng: np.random.Generator,
        unix_time: Callable[[], float],
        own_card: Callable[[float], GroupCard | None],
    ) -> None:
        self._network = network
        self._unix_time = unix_time
        self._issued_at = 0.0
        self.asked = DirectoryView()
        """What came of the last time that peers were asked."""
        self._subscribers: dict[str, frozenset[PeerId]] = {}
        self._topics_at = -float("inf")
        self._cards = GroupCards(
            sealer, rng, lambda now: own_card(self._next_issue()), network.penalize, self._at_hand
        )
        network.set_handler(wire.GROUPS_PROTOCOL, self._answer, wire.LIMITS.max_request_bytes)

    def _next_issue(self) -> float:
        # Later than the last one even when the clock was set back: others take only later cards.
        self._issued_at = max(self._unix_time(), self._issued_at + ISSUE_STEP_SECONDS)
        return self._issued_at

    @property
    def directory(self) -> Directory:
        """Everything known of groups, our own word included as of when it was last asked for."""
        return self._cards.directory

    @property
    def faults(self) -> Mapping[str, int]:
        """What was refused, by name."""
        return self._cards.faults

    async def run(self) -> None:
        """Take part in the directory topic until cancelled."""
        await self._network.subscribe(wire.DIRECTORY_TOPIC, self._on_card)
        self._cards.start(trio.current_time())
        while True:
            await trio.sleep_until(self._cards.next_wake)
            payload = self._cards.fire(trio.current_time())
            if payload is not None:
                await self._network.publish(wire.DIRECTORY_TOPIC, payload)

    def changed(self) -> None:
        """Our group's card has changed in a way others want to know soon."""
        self._cards.changed(trio.current_time())

    def known(self) -> tuple[KnownCard, ...]:
        """One card for each group, our own included."""
        return self._cards.known(trio.current_time())

    def find(self, reference: str) -> tuple[KnownCard, ...]:
        """Groups of this name, or whose id begins so."""
        return self._cards.find(reference, trio.current_time())

    def forget_group(self, group_id: GroupId) -> None:
        """Our own card of a group that we left says nothing any more."""
        self._cards.forget_group(group_id)

    async def ask(self, peers: tuple[PeerId, ...] | None = None) -> None:
        """Ask connected peers (or these) for the cards they know; see `asked`."""
        asked = peers or tuple(peer.peer_id for peer in self._network.peers())
        self.asked = DirectoryView(asked=min(MAX_ASKED, len(asked)))
        async with trio.open_nursery() as nursery:
            for peer in asked[:MAX_ASKED]:
                nursery.start_soon(self._ask_one, peer)

    async def _ask_one(self, peer: PeerId) -> None:
        with trio.move_on_after(ASK_SECONDS):
            try:
                payload = await self._network.request(
                    peer,
                    wire.GROUPS_PROTOCOL,
                    wire.encode_groups_request(),
                    wire.LIMITS.max_answer_bytes,
                )
            except RemoteError:
                return  # a peer that does not answer is no news
            try:
                gave = self._cards.answered(payload, trio.current_time())
            except RemoteError as error:
                self._network.penalize(peer, str(error))
                return
            kind = "answered" if gave else "refused"
            self.asked = replace(self.asked, **{kind: getattr(self.asked, kind) + 1})

    async def _answer(self, peer: PeerId, payload: bytes) -> bytes:
        return self._cards.answer(peer, payload, trio.current_time())

    def _at_hand(self, group_id: GroupId) -> frozenset[PeerId]:
        """Connected peers that subscribe to the group's topic, as of a moment ago: a directory asks
        for every group it knows."""
        now = trio.current_time()
        if now - self._topics_at > TOPICS_SECONDS:
            subscribers: dict[str, set[PeerId]] = {}
            for peer in self._network.peers():
                for topic in peer.topics:
                    subscribers.setdefault(topic, set()).add(peer.peer_id)
            self._subscribers = {topic: frozenset(found) for topic, found in subscribers.items()}
            self._topics_at = now
        return self._subscribers.get(wire.deltas_topic(group_id), frozenset())

    def _on_card(self, message: GossipMessage) -> Verdict:
        return self._cards.heard(
            message.author, message.payload, trio.current_time(), message.relayed_by
        )
