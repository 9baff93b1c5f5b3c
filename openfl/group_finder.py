"""Cards of groups over the network: publish our own, take in others', ask peers for theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import trio

from openfl.contribution import GroupCard, GroupId, PeerId
from openfl.errors import InvalidSignature, RemoteError
from openfl.group.directory import Directory, KnownCard
from openfl.group.rate import RateLimiter
from openfl.group.trickle import Trickle
from openfl.network.base import GossipMessage, Network, Sealer, Verdict
from openfl.wire import messages as wire

ASK_SECONDS = 3.0
MAX_ASKED = 8
SHORTEST_CARD_SECONDS = 2.0
LONGEST_CARD_SECONDS = 60.0
OWN_CARD_SECONDS = 1.0
"""How long a card once signed is handed out before a new one is made."""


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
        self.directory = Directory()
        self.faults: Counter[str] = Counter()
        """What was refused, by name."""
        self._network = network
        self._sealer = sealer
        self._unix_time = unix_time
        self._own_card = own_card
        self._rate = RateLimiter(per_second=5.0, burst=50.0)
        # One other card of our group that says what ours would is enough.
        self._trickle = Trickle(SHORTEST_CARD_SECONDS, LONGEST_CARD_SECONDS, 1, rng)
        self._own: KnownCard | None = None
        network.set_handler(wire.GROUPS_PROTOCOL, self._answer, wire.LIMITS.max_request_bytes)

    async def run(self) -> None:
        """Take part in the directory topic until cancelled."""
        await self._network.subscribe(wire.DIRECTORY_TOPIC, self._on_card)
        self._trickle.start(trio.current_time())
        while True:
            await trio.sleep_until(self._trickle.next_wake)
            if self._trickle.fire(trio.current_time()):
                own = self._refresh_own()
                if own is not None:
                    await self._network.publish(
                        wire.DIRECTORY_TOPIC, wire.encode_directory(own.envelope)
                    )

    def changed(self) -> None:
        """Our group's card has changed in a way others want to know soon."""
        self._own = None
        self._trickle.reset(trio.current_time())

    def known(self) -> tuple[KnownCard, ...]:
        """The freshest card of each group, our own included."""
        self._refresh_own()
        return self.directory.freshest(trio.current_time())

    def find(self, reference: str) -> tuple[KnownCard, ...]:
        """Groups of this name, or whose id begins so."""
        self._refresh_own()
        return self.directory.find(reference, trio.current_time())

    async def ask(self, peers: tuple[PeerId, ...] | None = None) -> None:
        """Ask connected peers (or these) for the cards they know."""
        asked = peers or tuple(peer.peer_id for peer in self._network.peers())
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
                answer = wire.decode_cards_answer(payload)
                if isinstance(answer, wire.CardsAnswer):
                    for envelope, age in answer.cards:
                        self._take_in(envelope, age)
            except RemoteError as error:
                self._network.penalize(peer, str(error))

    async def _answer(self, peer: PeerId, payload: bytes) -> bytes:
        wire.decode_groups_request(payload)
        if not self._rate.allow(peer, trio.current_time()):
            return wire.encode_answer(wire.Refusal("busy", "too many requests"))
        now = trio.current_time()
        cards: list[tuple[bytes, int]] = []
        free = wire.LIMITS.max_page_bytes
        for known in sorted(self.known(), key=lambda known: known.age(now)):
            free -= len(known.envelope) + 16
            if free < 0 or len(cards) >= wire.LIMITS.max_cards:
                break
            cards.append((known.envelope, wire.age_to_wire(known.age(now))))
        return wire.encode_answer(wire.CardsAnswer(tuple(cards)))

    def _on_card(self, message: GossipMessage) -> Verdict:
        if not self._rate.allow(message.author, trio.current_time()):
            self.faults["card-rate"] += 1
            if message.relayed_by == message.author:
                self._network.penalize(message.author, "card-rate")
            return Verdict.IGNORE
        try:
            envelope = wire.decode_directory(message.payload)
            card, news = self._take_in(envelope, 0.0, message.author)
        except wire.UnknownVersion:
            return Verdict.IGNORE
        except RemoteError:
            return Verdict.REJECT
        own = self._own
        if own is not None and card.charter.group_id == own.card.charter.group_id:
            if card.members == own.card.members:
                self._trickle.hear_consistent()
            else:
                self._trickle.reset(trio.current_time())
        return Verdict.ACCEPT if news else Verdict.IGNORE

    def _take_in(
        self, envelope: bytes, age: float, author: PeerId | None = None
    ) -> tuple[GroupCard, bool]:
        issuer, body = self._sealer.open(wire.CARD_TYPE, envelope)
        if author is not None and issuer != author:
            raise InvalidSignature("a card signed by one peer was published by another")
        card = wire.decode_card(body, issuer)
        if issuer == self._sealer.peer_id:
            return card, False  # an earlier word of ours
        return card, self.directory.add(card, envelope, trio.current_time(), age)

    def _refresh_own(self) -> KnownCard | None:
        now = trio.current_time()
        card = self._own_card(self._unix_time())
        if card is None:
            self._own = None
            return None
        own = self._own
        if (
            own is None
            or own.card.charter.group_id != card.charter.group_id
            or own.age(now) > OWN_CARD_SECONDS
        ):
            envelope = self._sealer.seal(wire.CARD_TYPE, wire.encode_card(card))
            self._own = KnownCard(card, envelope, now)
            self.directory.add(card, envelope, now)
        return self._own

    def forget_group(self, group_id: GroupId) -> None:
        """Our own card of a group that we left says nothing any more."""
        self.directory.forget(group_id, self._sealer.peer_id)
