"""Gossip reaches members that no mesh would: after a quick restart, back-off keeps meshes empty."""

from __future__ import annotations

import trio
import trio.testing
from libp2p_rig import TOPIC, Heard, id_of, make_network, meshed, until

from openfl.network.libp2p.network import Libp2pNetwork


def part(one: Libp2pNetwork, other: Libp2pNetwork) -> None:
    """As after a prune: neither may take the other into its mesh for a minute."""
    for near, far in ((one, other), (other, one)):
        near._gossip._add_back_off(id_of(far), TOPIC, False)
        near._gossip.mesh[TOPIC].discard(id_of(far))


async def test_members_that_may_not_mesh_yet_hear_each_other_at_once() -> None:
    async with make_network() as one, make_network() as other:
        heard = Heard()
        await one.subscribe(TOPIC, Heard())
        await other.subscribe(TOPIC, heard)
        await meshed(one, other)
        part(one, other)
        await one.publish(TOPIC, b"in the back-off")
        await until(lambda: heard.payloads == [b"in the back-off"])
        assert not one._gossip.mesh[TOPIC]
        assert not other._gossip.mesh[TOPIC]


async def test_a_message_to_a_thin_mesh_is_relayed_to_members_outside_it() -> None:
    async with make_network() as one, make_network() as middle, make_network() as far:
        heard = Heard()
        await one.subscribe(TOPIC, Heard())
        await middle.subscribe(TOPIC, Heard())
        await far.subscribe(TOPIC, heard)
        await meshed(one, middle)
        await meshed(middle, far)
        part(middle, far)
        await one.publish(TOPIC, b"through the middle")
        await until(lambda: heard.payloads == [b"through the middle"])


async def test_nothing_is_sent_to_a_peer_that_left_the_topic() -> None:
    async with make_network() as one, make_network() as other:
        await one.subscribe(TOPIC, Heard())
        await other.subscribe(TOPIC, Heard())
        await meshed(one, other)
        await other.unsubscribe(TOPIC)
        await until(lambda: all(TOPIC not in peer.topics for peer in one.peers()))
        await one.publish(TOPIC, b"to nobody")
        await trio.testing.wait_all_tasks_blocked()
        sent = one._gossip._lazy._recent.values()
        assert [recent.sent for recent in sent] == [{}]


async def test_own_messages_go_to_subscribers_beyond_a_full_mesh() -> None:
    async with make_network() as one:
        await one.subscribe(TOPIC, Heard())
        async with trio.open_nursery() as nursery:
            others = [make_network() for _ in range(5)]
            heard = Heard()

            async def live(other: Libp2pNetwork, task_status: object) -> None:
                async with other:
                    await other.subscribe(TOPIC, heard)
                    await meshed(one, other)
                    task_status.started()  # type: ignore[attr-defined]
                    await trio.sleep_forever()

            for other in others:
                await nursery.start(live, other)
            part(one, others[0])
            assert len(one._gossip.mesh[TOPIC]) >= one._gossip.degree_low
            await one.publish(TOPIC, b"to all")
            await until(lambda: heard.payloads == [b"to all"] * 5)
            nursery.cancel_scope.cancel()
