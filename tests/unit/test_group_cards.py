"""`GroupCards`: who speaks, who stays silent, and what is not believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openfl.core.contribution import Charter, GroupCard
from openfl.network.base import Verdict
from openfl.switching.cards import LONGEST_CARD_SECONDS, GroupCards, say_the_same
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, RigSealer, peer

NOW = 1000.0
OTHER = replace(CHARTER, name="other")
NEWER = replace(CHARTER, name="newer", version=2)


class Node:
    """Somebody with a card of its own."""

    def __init__(self, number: int, members: int = 10, charter: Charter = CHARTER) -> None:
        self.sealer = RigSealer(peer(number))
        self.members, self.charter = members, charter
        self.cards = GroupCards(self.sealer, np.random.default_rng(number), self.card)
        self.cards.start(NOW)
        self.cards.known(NOW)

    def card(self, now: float) -> GroupCard:
        return GroupCard(self.charter, self.members, 5, None, None, None, self.sealer.peer_id, now)

    def speak(self, now: float) -> bytes:
        sealed = self.sealer.seal(wire.CARD_TYPE, wire.encode_card(self.card(now)))
        return wire.encode_directory(sealed)

    def hear(self, other: Node, now: float = NOW) -> Verdict:
        return self.cards.heard(other.sealer.peer_id, other.speak(now), now)

    def spoken_in(self, seconds: float, hearing: Node | None = None) -> int:
        """How often it speaks, hearing the other before each time it would."""
        spoken, end = 0, NOW + seconds
        while self.cards.next_wake < end:
            now = self.cards.next_wake
            if hearing is not None:
                self.hear(hearing, now - 0.01)
            spoken += self.cards.fire(now) is not None
        return spoken


def test_a_node_that_hears_nobody_speaks_ever_more_rarely() -> None:
    assert 4 <= Node(1).spoken_in(60) <= 7
    assert Node(1).spoken_in(660) <= 7 + 600 / LONGEST_CARD_SECONDS + 1


def test_a_node_that_hears_its_own_word_from_another_stays_silent() -> None:
    assert Node(1).spoken_in(600, hearing=Node(2, members=12)) == 0


def test_but_not_when_the_other_speaks_of_another_group() -> None:
    assert Node(1).spoken_in(600, hearing=Node(2, charter=OTHER)) > 10


def test_and_not_when_the_other_says_something_else_of_the_same() -> None:
    assert Node(1).spoken_in(600, hearing=Node(2, members=500)) > 10


def test_counts_that_differ_a_little_say_the_same() -> None:
    card = Node(1).card(NOW)
    for members, same in ((10, True), (11, True), (13, True), (14, False), (7, False), (8, True)):
        assert say_the_same(card, replace(card, members=members)) is same
    few = replace(card, members=1)
    assert say_the_same(few, replace(few, members=2))
    assert not say_the_same(few, replace(few, members=3))


def test_a_card_is_taken_in_once_and_from_its_author_alone() -> None:
    one, other, third = Node(1), Node(2, charter=OTHER), Node(3)
    assert one.hear(other) is Verdict.ACCEPT
    assert one.hear(other) is Verdict.IGNORE  # nothing new
    assert one.cards.heard(third.sealer.peer_id, other.speak(NOW + 1), NOW) is Verdict.REJECT
    assert {known.card.charter.name for known in one.cards.known(NOW)} == {"rig", "other"}


def test_who_asks_gets_the_cards_and_may_pass_them_on() -> None:
    one, other, third = Node(1), Node(2, charter=OTHER), Node(3)
    one.hear(other)
    answer = one.cards.answer(third.sealer.peer_id, wire.encode_groups_request(), NOW)
    third.cards.answered(answer, NOW)
    assert {known.card.issuer for known in third.cards.find("other", NOW)} == {peer(2)}


def test_a_group_that_was_left_is_no_longer_told_of() -> None:
    one = Node(1)
    one.charter = OTHER
    one.cards.forget_group(CHARTER.group_id)
    one.cards.changed(NOW)
    assert {known.card.charter.name for known in one.cards.known(NOW)} == {"other"}


def test_a_card_of_another_protocol_version_is_passed_over_and_the_others_are_kept() -> None:
    """Nobody is to blame for it: not who says it, and not who answers with it among others."""
    newer, other, asking = Node(2, charter=NEWER), Node(3, charter=OTHER), Node(1)
    assert asking.hear(newer) is Verdict.IGNORE
    cards = tuple((wire.decode_directory(node.speak(NOW)), 0) for node in (newer, other))
    asking.cards.answered(wire.encode_answer(wire.CardsAnswer(cards)), NOW)
    assert {k.card.charter.name for k in asking.cards.known(NOW)} == {CHARTER.name, OTHER.name}
    assert asking.cards.faults == {"card-version": 2}


def test_after_a_move_others_who_speak_of_the_new_group_keep_it_silent() -> None:
    """Though it has not told of that group itself yet."""
    one, other = Node(1), Node(2, charter=OTHER)
    one.charter = OTHER
    one.cards.changed(NOW)
    assert one.spoken_in(600, hearing=other) == 0
