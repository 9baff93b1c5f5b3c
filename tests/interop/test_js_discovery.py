"""Provider records: js-libp2p finds the members of a group in our DHT, and we find js there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from openfl.core.contribution import PeerId
from openfl.wire.names import NETWORK_KEY, group_key
from tests.interop.interop_rig import (
    Live,
    address_of,
    deal_homes,
    join,
    running,
    until,
)
from tests.interop.js_rig import JsError, JsPeer, js_peer
from tests.situation import within


async def test_js_finds_all_members_by_their_provider_records_and_can_dial_them(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, 3)
    async with (
        running(homes[0]) as one,
        running(homes[1], [one.address]) as two,
        running(homes[2], [one.address]) as three,
        # A client holds no records for others: what it finds it was told.
        js_peer("searcher", dht="client") as js,
    ):
        await js.call("dial", address=one.address)
        members = {live.peer_id: live.address for live in (one, two, three)}
        found = await found_by_js(js, one, set(members))
        for peer_id, address in members.items():
            assert address.removesuffix(f"/p2p/{peer_id}") in [
                a.removesuffix(f"/p2p/{peer_id}") for a in found[peer_id]
            ]
        assert await js.call("dial", address=two.address) == two.peer_id
        everyone = await js.call("find-providers", key=NETWORK_KEY.hex())
        assert set(everyone) >= set(members)
        assert await js.call("find-providers", key="00" * 32) == {}


async def test_we_find_the_record_that_js_provides_through_a_node_between(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        running(homes[0]) as between,
        js_peer("provider") as js,
        running(homes[1], [between.address]) as searcher,
    ):
        await js.call("dial", address=between.address)
        key = group_key(between.group_id, time.time())
        with within():
            while not await found_by_us(searcher, key, js):
                await js.call("provide", key=key.hex())
        # js subscribes to nothing, so that no topic gave it away.
        assert all(not p.topics for p in between.network.peers() if p.peer_id == js.peer_id)
        assert not await found_by_us(searcher, bytes(32), js)


async def test_we_find_a_record_that_only_js_keeps(tmp_path: Path) -> None:
    """js is the whole DHT between two nodes that know nobody else."""
    homes = deal_homes(tmp_path, 2)
    async with (
        js_peer("bootstrap") as js,
        running(homes[0], [js.address]) as one,
        running(homes[1], [js.address]) as two,
    ):
        await until(lambda: one.peer_id in two.connected() and two.peer_id in one.connected())
        assert js.peer_id in one.connected() & two.connected()


async def test_js_asks_us_for_members_and_we_ask_js(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    # js knows no DHT, and no node has the other's address but from it.
    async with (
        js_peer("go-between", dht=False) as js,
        running(homes[0], [js.address]) as one,
    ):
        await join(js, one)
        async with running(homes[1], [js.address]) as two:
            await until(lambda: two.peer_id in one.connected())
            assert one.peer_id in dict(js.told("told-peers")[-1]["peers"])
            members = [[two.peer_id, [two.address.removesuffix(f"/p2p/{two.peer_id}")]]]
            group = one.group_id
            with within():
                while await js.call("ask-peers", peer=one.peer_id, group=group) != members:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            assert await js.call("ask-peers", peer=one.peer_id, group="0" * 32) == []
            assert two.peer_id in dict(await js.call("ask-peers", peer=one.peer_id, group=None))
            with pytest.raises(JsError):
                await js.call("ask-peers", peer=one.peer_id, group="nobody")


async def found_by_js(js: JsPeer, live: Live, wanted: set[PeerId]) -> dict[str, list[str]]:
    """Asked until all are found: members publish their records some seconds after their start."""
    with within():
        while True:
            key = group_key(live.group_id, time.time())
            found: dict[str, list[str]] = await js.call("find-providers", key=key.hex())
            if wanted <= set(found):
                return found
            await trio.sleep(0.2)


async def found_by_us(live: Live, key: bytes, js: JsPeer) -> bool:
    wanted = address_of(js)
    return any(
        peer.peer_id == wanted.peer_id and set(wanted.multiaddrs) <= set(peer.multiaddrs)
        for peer in await live.network.find_providers(key)
    )
