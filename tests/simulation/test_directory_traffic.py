"""What cards cost a node, when everybody hears every card but for 10 % that is lost: about the same
with two and with forty members a group. (Cards alone; benchmarks/switching.py has whole nodes.)"""

from __future__ import annotations

import heapq
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from openfl.core.contribution import GroupCard, PeerId
from openfl.simulation.sealing import StandInSealer
from openfl.switching.cards import GroupCards
from openfl.wire import messages as wire
from tests.group_rig import CHARTER

GROUPS = 5
MINUTES = 10.0
DELAY, LOSS = 0.1, 0.1


@pytest.fixture(autouse=True)
def _cards_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By all who hear them: this is about who speaks."""
    monkeypatch.setattr(wire, "decode_card", cache(wire.decode_card))


def bytes_heard_by_a_node(nodes: int, disagree: float = 0.0) -> float:
    """Cards heard in ten minutes, mean over nodes. disagree: by which part members of a group count
    themselves differently."""
    rng = np.random.default_rng([nodes, 1])
    everybody: list[GroupCards] = []
    peers: list[PeerId] = []
    for n in range(nodes):
        sealer = StandInSealer(0, n)
        charter = replace(CHARTER, name=f"group-{n % GROUPS}")
        members = round(nodes / GROUPS * (1 + disagree * float(rng.random())))

        def own(
            now: float, charter=charter, members=members, me: PeerId = sealer.peer_id
        ) -> GroupCard:
            return GroupCard(charter, members, 500, "rmse", 0.8, 0.9, me, now)

        cards = GroupCards(sealer, np.random.default_rng([nodes, n]), own)
        everybody.append(cards)
        peers.append(sealer.peer_id)
    wakes: list[tuple[float, int, bytes]] = []
    for n, cards in enumerate(everybody):
        start = float(rng.random())
        cards.start(start)
        cards.known(start)
        heapq.heappush(wakes, (cards.next_wake, n, b""))
    heard = 0
    while wakes and wakes[0][0] < 60 * MINUTES:
        now, n, arriving = heapq.heappop(wakes)
        if arriving:
            for other in np.flatnonzero(rng.random(nodes) >= LOSS).tolist():
                if other != n:
                    everybody[other].heard(peers[n], arriving, now)
                    heard += len(arriving)
            continue
        cards = everybody[n]
        payload = cards.fire(now) if now >= cards.next_wake else None
        if payload is not None:
            heapq.heappush(wakes, (now + DELAY, n, payload))
        heapq.heappush(wakes, (max(cards.next_wake, now + 0.05), n, b""))
    return heard / nodes


def test_what_a_node_hears_grows_with_groups_and_hardly_with_nodes() -> None:
    few, many = bytes_heard_by_a_node(10), bytes_heard_by_a_node(200)
    assert many < 2 * few


def test_small_differences_in_what_members_say_do_not_make_them_all_speak() -> None:
    assert bytes_heard_by_a_node(50, disagree=0.2) < 1.3 * bytes_heard_by_a_node(50)


def test_large_ones_do() -> None:
    assert bytes_heard_by_a_node(20, disagree=2.0) > 3 * bytes_heard_by_a_node(20)
