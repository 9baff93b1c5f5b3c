"""Connections between a real node and js-libp2p: who dials, what secures, what identify tells, and
what a lost connection or a restart leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from libp2p.host.ping import PingService
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError

from openfl.core.contribution import PeerId
from openfl.core.errors import RequestFailed
from openfl.network.libp2p.private_network import generate_network_key
from tests.interop.interop_rig import (
    ROWS,
    Live,
    address_of,
    deal_homes,
    join,
    meshed,
    running,
    until,
)
from tests.interop.js_rig import JsError, JsPeer, js_peer
from tests.libp2p.libp2p_rig import make_network
from tests.situation import within

OUR_PROTOCOLS = {
    "/ipfs/id/1.0.0",
    "/ipfs/ping/1.0.0",
    "/meshsub/1.1.0",
    "/openfl/kad/1.0.0",
    "/openfl/snapshot/1",
    "/openfl/pull/1",
    "/openfl/groups/1",
    "/openfl/peers/1",
}


@pytest.mark.parametrize("security", ["noise", "tls"])
@pytest.mark.parametrize("who", ["js", "we"])
async def test_one_dials_the_other_and_both_identify_and_ping(
    tmp_path: Path, who: str, security: str
) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with js_peer("dialler", security=[security]) as js, running(home) as live:
        if who == "js":
            assert await js.call("dial", address=live.address) == live.peer_id
        else:
            await live.network.connect(address_of(js))
        await until(lambda: js.peer_id in live.connected())
        await until(lambda: bool(js.told("peer:connect")))
        connection = await js.call("connection", peer=live.peer_id)
        assert connection == {
            "encryption": {"noise": "/noise", "tls": "/tls/1.0.0"}[security],
            "multiplexer": "/yamux/1.0.0",
            "direction": {"js": "outbound", "we": "inbound"}[who],
            "limited": False,
        }

        identified = await js.call("identify", peer=live.peer_id)
        assert identified["peer"] == live.peer_id
        assert set(identified["protocols"]) >= OUR_PROTOCOLS
        assert not {"/plaintext/2.0.0", "/secio/1.0.0"} & set(identified["protocols"])
        assert [f"{a}/p2p/{live.peer_id}" for a in identified["addresses"]] == [live.address]
        # That js listens where it says is known from identify alone when it dialled us.
        await until(lambda: address_of(js).multiaddrs[0] in live.network.peers()[0].multiaddrs)
        await until(lambda: "/openfl/kad/1.0.0" in protocols_of(js, live))

        assert await js.call("ping", peer=live.peer_id) < 5_000
        (rtt,) = await PingService(live.network._host).ping(ID.from_base58(js.peer_id))
        assert 0 <= rtt < 5_000  # whole milliseconds


def protocols_of(js: JsPeer, live: Live) -> list[str]:
    """What identify told us of js; empty before that."""
    try:
        told: list[str] = live.network._swarm.peerstore.get_protocols(ID.from_base58(js.peer_id))
        return told
    except PeerStoreError:
        return []


async def test_a_peer_that_offers_no_security_we_take_gets_no_connection(tmp_path: Path) -> None:
    async with js_peer("tls only", security=["tls"]) as js, make_network(tls=False) as network:
        with pytest.raises(JsError):
            await js.call("dial", address=network.multiaddrs[0])
        assert network.peers() == ()


async def test_in_a_private_network_js_with_our_key_file_is_a_member_and_others_get_nowhere(
    tmp_path: Path,
) -> None:
    (home,) = deal_homes(tmp_path, 1)
    keys = [tmp_path / name for name in ("ours", "another")]
    for key in keys:
        key.write_text(generate_network_key())
        key.chmod(0o600)
    async with running(home, network__psk_file=str(keys[0])) as live:
        async with js_peer("insider", psk=keys[0]) as js:
            await js.call("dial", address=live.address)
            await join(js, live)
            await exchange(js, live)
        async with js_peer("back", psk=keys[0]) as js:
            await live.network.connect(address_of(js))
            await join(js, live)
            await exchange(js, live)
        async with js_peer("keyless") as plain, js_peer("outsider", psk=keys[1]) as outsider:
            for js in (plain, outsider):
                with pytest.raises(JsError):
                    await js.call("dial", address=live.address)
                with pytest.raises(RequestFailed):
                    await live.network.connect(address_of(js))


async def test_gossip_flows_both_ways_again_after_every_drop_and_redial(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with js_peer("dropper") as js, running(home) as live:
        await js.call("dial", address=live.address)
        await join(js, live)
        for turn in range(4):
            await exchange(js, live)
            former = list(live.network._swarm.get_connections())
            assert former
            if turn % 2:
                await live.network.disconnect(PeerId(js.peer_id))
            else:
                await js.call("hang-up", peer=live.peer_id)
            # Not "no connection": a lookup of ours may have dialled js again already.
            await until(lambda old=former: all(connection.is_closed for connection in old))
            await until(lambda turn=turn: len(js.told("peer:disconnect")) > turn)
            if turn in (0, 1):
                await js.call("dial", address=live.address)
            else:
                await live.network.connect(address_of(js))
            await meshed(js, live)
        await exchange(js, live)


async def test_js_restarted_with_its_identity_is_heard_and_hears(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    # It is our bootstrap node, so we come back to it by ourselves.
    async with js_peer("phoenix") as js, running(home, [js.address]) as live:
        await join(js, live)
        await exchange(js, live)
        await js.kill()
        for _ in range(2):
            async with js_peer("phoenix", port=js.port) as reborn:
                assert reborn.address == js.address
                await connected(reborn)
                await join(reborn, live)
                await exchange(reborn, live)
            # This time it said goodbye.
            await until(lambda: not live.connected())
        assert live.members() == {live.peer_id, js.peer_id}


async def test_js_that_restarts_before_we_notice_takes_the_place_of_its_former_self(
    tmp_path: Path,
) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with running(home) as live, js_peer("twin") as js:
        await js.call("dial", address=live.address)
        await join(js, live)
        await exchange(js, live)
        # The first one still runs, as far as anyone can tell; so does its connection.
        async with js_peer("twin") as reborn:
            await reborn.call("dial", address=live.address)
            await join(reborn, live)
            await exchange(reborn, live)


async def exchange(js: JsPeer, live: Live) -> None:
    """Gossip of each reaches the other.

    js says it again, as a member's next round would: what it sends in the moment in which a
    connection takes the place of another may go down with the old one.
    """
    with within():
        heard = False
        while not heard:
            said = await js.call("publish", rows=ROWS)
            with trio.move_on_after(3):
                await until(lambda said=said: live.has(js.peer_id, said["epoch"], said["seqno"]))
                heard = True
    before = len(js.heard(author=live.peer_id))
    await until(lambda: len(js.heard(author=live.peer_id)) > before, "js hears")


async def connected(js: JsPeer) -> None:
    with within():
        while not await js.call("peers"):  # noqa: ASYNC110
            await trio.sleep(0.05)
