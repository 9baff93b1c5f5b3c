"""A wall clock that is set to another day while a node runs."""

from __future__ import annotations

import time

import pytest
from libp2p.peer.id import ID
from libp2p_rig import TOPIC, address_of, id_of, make_network, until

from openfl.network.libp2p.envelope import generate_identity
from openfl.network.libp2p.nat.reachability import (
    LONGEST_PLACE_SECONDS,
    RENEW_FRACTION,
    SHORTEST_PLACE_SECONDS,
    renew_after,
)

DAY = 86_400.0
ANYBODY = ID.from_base58("12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n")


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + seconds)


async def test_after_the_clock_is_set_back_a_pause_before_the_mesh_is_no_longer_than_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with make_network() as a:
        a._gossip._add_back_off(ANYBODY, TOPIC, False, 60)
        set_clock(monkeypatch, -DAY)
        assert a._gossip._check_back_off(ANYBODY, TOPIC)
        steady = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: steady() + 61)
        assert not a._gossip._check_back_off(ANYBODY, TOPIC)


async def test_a_peer_that_comes_again_after_the_clock_is_set_back_is_met_where_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = generate_identity()
    async with make_network() as a, make_network(identity) as b:
        await b.connect(address_of(a))
        await until(lambda: bool(a.peers()))
        first = a._swarm.newest_connection(id_of(b))
        set_clock(monkeypatch, -DAY)
        async with make_network(identity) as again:
            await again.connect(address_of(a))
            await until(lambda: len(a._swarm.get_connections(id_of(b))) == 2)
            assert a._swarm.newest_connection(id_of(b)) is not first


def test_a_place_at_a_relay_is_renewed_in_time_even_when_the_two_clocks_differ() -> None:
    now = 1_700_000_000.0
    assert renew_after(int(now) + 1800, now) == RENEW_FRACTION * 1800
    assert renew_after(int(now + DAY), now) == RENEW_FRACTION * LONGEST_PLACE_SECONDS
    assert renew_after(int(now - DAY), now) == RENEW_FRACTION * SHORTEST_PLACE_SECONDS
