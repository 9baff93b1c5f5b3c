"""A machine that gets another address: what it was connected from is gone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from libp2p_rig import address_of, answers, make_network, until

from openfl.network.libp2p.addresses import interface_addresses
from openfl.network.libp2p.nat import roaming as libp2p_roaming
from openfl.network.libp2p.nat.roaming import lost_addresses


def test_an_address_of_no_interface_is_lost_and_those_of_this_machine_are_not() -> None:
    mine = set(interface_addresses())
    assert lost_addresses({"192.0.2.1", "2001:db8::1", "fe80::1%eth0", *mine}) == {
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1%eth0",
    }


def test_all_of_loopback_is_here_and_so_is_an_ipv4_address_as_ipv6_sockets_see_it() -> None:
    assert lost_addresses({"127.0.0.9", "::1", "::ffff:127.0.0.1"}) == set()
    assert lost_addresses({"::ffff:192.0.2.1"}) == {"::ffff:192.0.2.1"}


@pytest.mark.parametrize("lost", [True, False])
async def test_a_connection_from_a_lost_address_ends_and_the_peer_can_be_dialled_anew(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    looked, to_lose = 0, set[str]()

    def gone(in_use: Iterable[str]) -> set[str]:
        nonlocal looked
        looked += 1
        found = to_lose & set(in_use)
        to_lose.difference_update(found)
        return found

    monkeypatch.setattr(libp2p_roaming, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(libp2p_roaming, "lost_addresses", gone)
    async with make_network() as a, make_network() as b:
        await b.connect(address_of(a))
        looked = 0
        to_lose |= {"127.0.0.1"} if lost else {"192.0.2.1"}
        await until(lambda: looked >= 4)
        losses = [network.statistics().faults.get("address-lost", 0) for network in (a, b)]
        assert sum(losses) == (1 if lost else 0)
        if lost:
            await until(lambda: not (a.peers() or b.peers()))
            await b.connect(address_of(a))
        assert await answers(a, b)
