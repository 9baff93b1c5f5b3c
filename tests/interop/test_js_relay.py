"""Circuit relay v2 with js-libp2p in each part: as the relay, as who dials, as who is dialled."""

from __future__ import annotations

from pathlib import Path

import pytest
from libp2p.peer.id import ID

from openfl.core.errors import RequestFailed
from openfl.network.libp2p.envelope import open_envelope
from openfl.network.libp2p.nat.circuit import is_relayed
from openfl.wire import messages as wire
from tests.interop.interop_rig import (
    NOWHERE,
    ROWS,
    Live,
    address_of,
    deal_homes,
    join,
    running,
    until,
)
from tests.interop.js_rig import JsError, js_peer

HIDDEN = {"network__reachability": "private", "network__announce": NOWHERE}
"""Settings of a node that can be dialled over a relay only."""


async def test_two_js_peers_that_cannot_be_dialled_meet_over_our_relay(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with (
        running(home, network__relay=True) as relay,
        js_peer("host", via=relay.address) as host,
        js_peer("visitor", via=relay.address) as visitor,
    ):
        assert host.address == f"{relay.address}/p2p-circuit/p2p/{host.peer_id}"
        assert await visitor.call("dial", address=host.address) == host.peer_id
        assert await visitor.call("connection", peer=host.peer_id) == {
            "encryption": "/noise",
            "multiplexer": "/yamux/1.0.0",
            "direction": "outbound",
            "limited": True,
        }
        assert await visitor.call("ping", peer=host.peer_id) < 5_000
        assert await host.call("ping", peer=visitor.peer_id) < 5_000
        for js in (host, visitor):
            await join(js, relay)
        # What only the host has comes over the circuit, and the relay is none the wiser.
        rows = [[str(key), *ROWS[0][1:]] for key in range(5000)]
        said = await host.call("publish", rows=rows, quiet=True)
        assert (await visitor.call("snapshot", peer=host.peer_id))["deltas"] >= 1
        assert (await visitor.call("replica"))["members"][host.peer_id]["rows"] == 5000
        assert not relay.has(host.peer_id, said["epoch"], said["seqno"])
        # js opens one for each request and drops it when it finds that it has one already.
        assert relay.faults()["relay-circuits"] >= 1


async def test_a_node_that_is_no_relay_gives_js_no_place(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with running(home) as live:
        refused = pytest.RaisesExc(JsError, match=r"could not negotiate .*/relay/0\.2\.0/hop")
        with pytest.RaisesGroup(refused, flatten_subgroups=True):
            async with js_peer("homeless", via=live.address):
                pass
        assert "relay-circuits" not in live.faults()


async def test_we_dial_js_over_our_relay_and_merge_what_only_it_has(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        running(homes[0], network__relay=True) as relay,
        js_peer("host", via=relay.address, dht=False) as js,
        running(homes[1], [relay.address]) as live,
    ):
        await join(js, relay)
        said = await js.call("publish", rows=ROWS, quiet=True)
        await live.network.connect(address_of(js))
        assert over_a_relay(live, js.peer_id)
        asked = wire.encode_snapshot_request(wire.SnapshotRequest(live.group_id, {}, 1 << 20))
        answer = wire.decode_items_answer(
            await live.network.request(js.peer_id, wire.SNAPSHOT_PROTOCOL, asked)
        )
        assert isinstance(answer, wire.ItemsAnswer)
        authors = {open_envelope(wire.DELTA_TYPE, item.envelope)[0] for item in answer.items}
        assert js.peer_id in authors
        # A heartbeat is enough for us to pull it ourselves.
        assert not live.has(js.peer_id, said["epoch"], said["seqno"])
        await js.call("heartbeat")
        await until(lambda: live.has(js.peer_id, said["epoch"], said["seqno"]))


async def test_js_dials_a_hidden_node_over_our_relay_and_has_its_replica(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        running(homes[0], network__relay=True) as relay,
        running(homes[1], [relay.address], training__rounds=3, **HIDDEN) as hidden,
        js_peer("visitor", dht=False) as js,
    ):
        await placed(hidden)
        assert await js.call("dial", address=circuit_of(hidden)) == hidden.peer_id
        assert (await js.call("connection", peer=hidden.peer_id))["limited"]
        assert await js.call("ping", peer=hidden.peer_id) < 5_000
        assert over_a_relay(hidden, js.peer_id)
        await join(js, hidden)
        said = await js.call("publish", rows=ROWS)
        await until(lambda: hidden.has(js.peer_id, said["epoch"], said["seqno"]))
        assert (await js.call("snapshot", peer=hidden.peer_id))["deltas"] >= 2
        assert hidden.peer_id in (await js.call("replica"))["members"]


async def test_two_hidden_nodes_learn_together_over_a_relay_of_js(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        js_peer("relay", relay=True) as js,
        running(homes[0], [js.address], **HIDDEN) as one,
    ):
        await placed(one)
        async with running(homes[1], [js.address], **HIDDEN) as two:
            await until(lambda: one.peer_id in two.connected())
            assert over_a_relay(two, one.peer_id)
            for live in (one, two):
                await until(lambda live=live: live.members() == {one.peer_id, two.peer_id})
            # js is no member, so that all of it came over the circuit.
            assert one.group_id == two.group_id


async def test_a_circuit_that_js_ended_at_its_limit_is_opened_anew_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        js_peer("miser", relay=200_000) as js,
        running(homes[0], [js.address], **HIDDEN) as one,
    ):
        await placed(one)
        async with running(homes[1], [js.address], **HIDDEN) as two:
            await until(lambda: two.members() == {one.peer_id, two.peer_id})
            with pytest.raises(RequestFailed):
                await ask_many_times(two, one)
            # They go on where they were.
            for near, far in ((one, two), (two, one)):
                heard = near.replica.version_of(far.peer_id)
                await until(lambda n=near, f=far, h=heard: n.replica.version_of(f.peer_id) > h)
                assert near.replica.version_of(far.peer_id).epoch == heard.epoch


async def ask_many_times(live: Live, other: Live) -> None:
    """Some megabytes in all."""
    asked = wire.encode_snapshot_request(wire.SnapshotRequest(other.group_id, {}, 1 << 20))
    for _ in range(200):
        await live.network.request(other.peer_id, wire.SNAPSHOT_PROTOCOL, asked)


async def placed(live: Live) -> None:
    await until(lambda: any("/p2p-circuit" in address for address in live.network.multiaddrs))


def circuit_of(live: Live) -> str:
    return next(address for address in live.network.multiaddrs if "/p2p-circuit" in address)


def over_a_relay(live: Live, peer: str) -> bool:
    """Whether all connections with the peer are circuits."""
    connections = live.network._swarm.connections[ID.from_base58(peer)]
    return bool(connections) and all(is_relayed(c.muxed_conn) for c in connections)
