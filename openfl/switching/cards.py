"""`GroupCards`: what a node says and hears about groups, as a pure state machine.

Cards go out on the directory topic by a Trickle timer: a node stays silent when another member of
its group has just said what it would say, so traffic grows with groups, not with nodes. "The same"
is meant loosely: members never agree to the head on how many they are, and a card is a hint.

Sans-IO like the session. The driver publishes what `fire` returns at `next_wake`, hands in what is
heard, and carries requests and answers (see `openfl.node.group_finder`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import numpy as np

from openfl.core.contribution import GroupCard, GroupId, PeerId
from openfl.core.errors import InvalidSignature, RemoteError
from openfl.core.rate_limit import RateLimiter
from openfl.group.session import GroupSession
from openfl.group.trickle import Trickle
from openfl.network.base import Sealer, Verdict
from openfl.switching.directory import Directory, KnownCard, nobody_at_hand
from openfl.wire import messages as wire

SHORTEST_CARD_SECONDS = 2.0
LONGEST_CARD_SECONDS = 60.0
OWN_CARD_SECONDS = 1.0
"""How long a card once signed is handed out before a new one is made."""
SAME_SIZE = 0.25
"""Counts of members that differ by less than this part (or by one) say the same."""

REMEMBERED_INTERVALS = 1.5
"""A card of another member that says what ours would keeps us silent for so many intervals. In five
groups with 10 % loss a node of 200 then hears 1.5 times as much as one of 10; without, 2.3 times.
Cards are still renewed well within their time to live."""


def session_card(session: GroupSession, now: float, unix_now: float) -> GroupCard | None:
    """What this member tells of its group; None while it is joining and knows nothing itself."""
    if session.phase == "joining":
        return None
    best, median = session.fits(now)
    metric = session.validation.metric if session.validation is not None else None
    return GroupCard(
        charter=session.charter,
        members=len(session.members(now)),
        rows=session.replica.model_rows,
        fit_metric=None if best is None else metric,
        fit_best=best,
        fit_median=median,
        issuer=session.me,
        issued_at=unix_now,
    )


def nobody(peer: PeerId, reason: str) -> None:
    """Blames nobody."""


_PASSED_OVER: Mapping[type[RemoteError], str] = {
    wire.UnknownVersion: "card-version",
    wire.UnclearName: "card-name",
}
"""Cards that are counted and not listed: whoever issues or relays them is not to blame."""


class GroupCards:
    """`own_card(now)` is our group's card as of now, or None when we are in no group.
    `blame(peer, reason)`: told of a peer that broke the rules itself. `at_hand(group)`: connected
    peers that subscribe to the group's topic. `read(body, issuer)`: what decodes cards; when
    many nodes are simulated, it may decode each once for all."""

    def __init__(
        self,
        sealer: Sealer,
        rng: np.random.Generator,
        own_card: Callable[[float], GroupCard | None],
        blame: Callable[[PeerId, str], None] = nobody,
        at_hand: Callable[[GroupId], Collection[PeerId]] = nobody_at_hand,
        read: Callable[[bytes, PeerId], GroupCard] | None = None,
    ) -> None:
        self.directory = Directory(me=sealer.peer_id, at_hand=at_hand)
        self.faults: Counter[str] = Counter()
        """What was refused, by name."""
        self._blame = blame
        self._read = read
        self._sealer = sealer
        self._own_card = own_card
        self._rate = RateLimiter(per_second=5.0, burst=50.0)
        # One other card of our group that says what ours would is enough.
        self._trickle = Trickle(SHORTEST_CARD_SECONDS, LONGEST_CARD_SECONDS, 1, rng)
        self._own: KnownCard | None = None
        self._agreed_at = -math.inf
        """When another member last said what we would say."""

    # --- our own word -----------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin; to be called once."""
        self._trickle.start(now)

    @property
    def next_wake(self) -> float:
        """When `fire` wants to be called next."""
        return self._trickle.next_wake

    def fire(self, now: float) -> bytes | None:
        """What to publish on the directory topic now, if anything. At `next_wake` or later."""
        # Trickle counts what is heard within its interval. Members' intervals begin at different
        # moments, and each card is lost to some of them: in large groups there would always be
        # some who have not heard one since theirs began. So the time before it counts too.
        interval = self._trickle.interval
        if not self._trickle.fire(now) or now - self._agreed_at < REMEMBERED_INTERVALS * interval:
            return None
        own = self._refresh_own(now)
        return None if own is None else wire.encode_directory(own.envelope)

    def changed(self, now: float) -> None:
        """Our group's card has changed in a way others want to know soon."""
        self._own = None
        self._agreed_at = -math.inf
        self._trickle.reset(now)

    def forget_group(self, group_id: GroupId) -> None:
        """Our own card of a group that we left says nothing any more."""
        self.directory.forget(group_id, self._sealer.peer_id)

    # --- what is known ----------------------------------------------------------------------------

    def known(self, now: float) -> tuple[KnownCard, ...]:
        """One card for each group, our own included; see `Directory.listed`."""
        self._refresh_own(now)
        return self.directory.listed(now)

    def find(self, reference: str, now: float) -> tuple[KnownCard, ...]:
        """Groups of this name, or whose id begins so."""
        self._refresh_own(now)
        return self.directory.find(reference, now)

    # --- what is heard ----------------------------------------------------------------------------

    def heard(
        self, author: PeerId, payload: bytes, now: float, relayed_by: PeerId | None = None
    ) -> Verdict:
        """A message on the directory topic; `author` is its verified pubsub signer. Too many of
        them are blamed on the author when nobody is between us."""
        if not self._rate.allow(author, now):
            self.faults["card-rate"] += 1
            if relayed_by == author:
                self._blame(author, "card-rate")
            return Verdict.IGNORE
        try:
            envelope = wire.decode_directory(payload)
            card, news = self._take_in(envelope, 0.0, now, author)
        except (wire.UnknownVersion, wire.UnclearName) as error:
            self.faults[_PASSED_OVER[type(error)]] += 1
            return Verdict.IGNORE
        except RemoteError:
            return Verdict.REJECT
        # After a move our word of the new group has not been made yet, and others may have said it.
        own = self._own if self._own is not None else self._refresh_own(now)
        if own is not None and card.charter.group_id == own.card.charter.group_id:
            if say_the_same(card, own.card):
                self._trickle.hear_consistent()
                self._agreed_at = now
            else:
                self._trickle.reset(now)
        return Verdict.ACCEPT if news else Verdict.IGNORE

    def answer(self, peer: PeerId, payload: bytes, now: float) -> bytes:
        """The answer to a peer that asks which groups we know; RemoteError when it is malformed."""
        wire.decode_groups_request(payload)
        if not self._rate.allow(peer, now):
            return wire.encode_answer(wire.Refusal("busy", "too many requests"))
        cards: list[tuple[bytes, int]] = []
        free = wire.LIMITS.max_page_bytes
        self._refresh_own(now)
        for known in self.directory.by_worth(now):
            free -= len(known.envelope) + 16
            if free < 0 or len(cards) >= wire.LIMITS.max_cards:
                break
            cards.append((known.envelope, wire.age_to_wire(known.age(now))))
        return wire.encode_answer(wire.CardsAnswer(tuple(cards)))

    def answered(self, payload: bytes, now: float) -> bool:
        """A peer's answer to our question; False: it refused. RemoteError when it breaks the
        protocol."""
        answer = wire.decode_cards_answer(payload)
        if isinstance(answer, wire.CardsAnswer):
            for envelope, age in answer.cards:
                try:
                    self._take_in(envelope, age, now)
                except (wire.UnknownVersion, wire.UnclearName) as error:
                    self.faults[_PASSED_OVER[type(error)]] += 1
        return isinstance(answer, wire.CardsAnswer)

    def _take_in(
        self, envelope: bytes, age: float, now: float, author: PeerId | None = None
    ) -> tuple[GroupCard, bool]:
        issuer, body = self._sealer.open(wire.CARD_TYPE, envelope)
        if author is not None and issuer != author:
            raise InvalidSignature("a card signed by one peer was published by another")
        card = (self._read or wire.decode_card)(body, issuer)
        if issuer == self._sealer.peer_id:
            return card, False  # an earlier word of ours
        return card, self.directory.add(card, envelope, now, age)

    def _refresh_own(self, now: float) -> KnownCard | None:
        card = self._own_card(now)
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


def say_the_same(one: GroupCard, other: GroupCard) -> bool:
    """Whether two members' cards of their group tell a reader the same."""
    most = max(one.members, other.members)
    return abs(one.members - other.members) <= max(1.0, SAME_SIZE * most)
