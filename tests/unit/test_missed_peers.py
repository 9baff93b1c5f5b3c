"""Who is missed, and for how long."""

from __future__ import annotations

from openfl.core.contribution import PeerId
from openfl.discovery.missed_peers import MAX_MISSED, MISSED_SECONDS, MissedPeers

A, B, BOOT = PeerId("a"), PeerId("b"), PeerId("boot")


def test_a_member_that_was_here_is_missed_and_a_passer_by_is_not() -> None:
    peers = MissedPeers(set())
    peers.look({A, B}, {A}, 0.0)
    assert peers.missed(0.0) == set()
    peers.look(set(), set(), 1.0)
    assert peers.missed(1.0) == {A}


def test_a_member_that_left_the_group_before_it_went_is_not_missed() -> None:
    peers = MissedPeers(set())
    peers.look({A}, {A}, 0.0)
    peers.look({A}, set(), 1.0)
    peers.look(set(), set(), 2.0)
    assert peers.missed(2.0) == set()


def test_whoever_is_back_is_not_missed() -> None:
    peers = MissedPeers(set())
    peers.look({A}, {A}, 0.0)
    peers.look(set(), set(), 1.0)
    peers.look({A}, set(), 2.0)
    assert peers.missed(2.0) == set()


def test_nobody_is_missed_for_longer_than_an_hour_from_when_it_went() -> None:
    peers = MissedPeers(set())
    peers.look({A}, {A}, 0.0)
    for now in (1.0, MISSED_SECONDS / 2, MISSED_SECONDS + 1.0):
        peers.look(set(), set(), now)
        assert peers.missed(now) == {A}
    peers.look(set(), set(), MISSED_SECONDS + 2.0)
    assert peers.missed(MISSED_SECONDS + 2.0) == set()


def test_a_bootstrap_peer_is_missed_before_it_was_ever_here_and_its_hour_starts_once() -> None:
    peers = MissedPeers({BOOT})
    peers.look(set(), set(), 0.0)
    assert peers.missed(0.0) == {BOOT}
    peers.look(set(), set(), MISSED_SECONDS + 1.0)
    assert peers.missed(MISSED_SECONDS + 1.0) == set()
    peers.look({BOOT}, set(), MISSED_SECONDS + 2.0)
    peers.look(set(), set(), MISSED_SECONDS + 3.0)
    assert peers.missed(MISSED_SECONDS + 3.0) == {BOOT}


def test_beyond_the_bound_those_gone_longest_are_given_up() -> None:
    peers = MissedPeers(set())
    many = [PeerId(f"{n:03}") for n in range(MAX_MISSED + 2)]
    peers.look(set(many), set(many), 0.0)
    peers.look(set(many[2:]), set(many[2:]), 1.0)
    peers.look(set(), set(), 2.0)
    assert peers.missed(2.0) == set(many[2:])
