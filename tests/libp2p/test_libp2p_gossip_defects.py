"""Regression tests of the gossip that stands on py-libp2p's pubsub, which has many defects.

Each fails without its workaround; openfl/network/libp2p/defects says which is for which defect.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p_rig import (
    GOSSIP,
    TOPIC,
    Heard,
    address_of,
    answers,
    id_of,
    make_network,
    meshed,
    send_raw_gossip,
    until,
)

from openfl.network.libp2p.envelope import generate_identity
from openfl.network.libp2p.gossip import seen as libp2p_seen
from openfl.network.libp2p.gossip.queues import MAX_QUEUED_BYTES, MAX_RPC_BYTES, BoundedRpcQueue
from openfl.network.libp2p.gossip.seen import SeenMessages
from openfl.network.libp2p.logs import quieten_logging
from openfl.network.libp2p.transport import Faults


def message(**changes: Any) -> rpc_pb2.Message:
    fields = {
        "from_id": b"\x12\x20" + hashlib.sha256(b"somebody").digest(),
        "seqno": bytes(8),
        "topicIDs": [TOPIC],
        "data": b"data",
        "signature": b"s" * 64,
        **changes,
    }
    return rpc_pb2.Message(**fields)


# gossip-interleaved-writes


async def test_large_messages_written_by_several_tasks_do_not_interleave() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, heard)
        await meshed(a, b)
        await a.publish(TOPIC, b"warm up")
        await until(lambda: len(heard.payloads) == 1)
        stream = a._pubsub.peers[id_of(b)]
        payloads = [bytes([n]) * 700_000 for n in range(4)]
        written: list[rpc_pb2.RPC] = []

        # What the queue's task, the flush and the replay do at once when a peer joins.
        def keep(peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
            written.append(rpc)

        a._gossip.send_rpc = keep
        for payload in payloads:
            await a.publish(TOPIC, payload)
        async with trio.open_nursery() as nursery:
            for rpc in written:
                nursery.start_soon(a._pubsub.write_msg, stream, rpc)
        await until(lambda: len(heard.payloads) == 5)
        assert sorted(heard.payloads[1:]) == payloads
        assert "gossip-malformed" not in b.statistics().faults


# gossip-undecodable-frame


@pytest.mark.parametrize(
    "junk",
    [b"\xff\xff\xff\xff\xff\xff", b"\x12\x7f\x01", bytes(1000), b"\x0a\x03\x12\x01\xff"],
    ids=["no-tag", "truncated", "zeros", "not-text"],
)
async def test_junk_on_a_gossip_stream_costs_the_sender_that_stream_only(junk: bytes) -> None:
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, Heard())
        await attacker.subscribe(TOPIC, Heard())
        await meshed(attacker, victim)
        await send_raw_gossip(attacker, victim, junk)
        await until(lambda: victim.statistics().faults.get("gossip-malformed") == 1)
        assert await answers(victim, attacker)


async def test_an_endless_length_prefix_ends_the_stream() -> None:
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, Heard())
        await attacker.subscribe(TOPIC, Heard())
        await meshed(attacker, victim)
        stream = await attacker._host.open_stream(id_of(victim), [GOSSIP])
        await stream.write(b"\xff" * 16)
        await until(lambda: victim.statistics().faults.get("gossip-malformed") == 1)
        assert await answers(victim, attacker)


async def test_a_frame_above_the_limit_ends_the_stream_before_it_is_read() -> None:
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, Heard())
        await attacker.subscribe(TOPIC, Heard())
        await meshed(attacker, victim)
        stream = await attacker._host.open_stream(id_of(victim), [GOSSIP])
        too_long = MAX_RPC_BYTES + 1
        prefix = bytes([too_long & 0x7F | 0x80, too_long >> 7 & 0x7F | 0x80, too_long >> 14])
        await stream.write(prefix)
        await until(lambda: victim.statistics().faults.get("gossip-malformed") == 1)
        assert await answers(victim, attacker)


# gossip-undecodable-key


@pytest.mark.parametrize(
    "changes",
    [
        {"key": b"no key"},
        {"key": b"\x08\x09\x12\x00"},
        {"key": b""},
        {"signature": b""},
        {"from_id": b"x"},
    ],
    ids=["undecodable", "unknown-type", "none", "unsigned", "no-peer-id"],
)
async def test_a_message_that_cannot_be_verified_is_dropped_and_counted(
    changes: dict[str, bytes],
) -> None:
    heard = Heard()
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, heard)
        await attacker.subscribe(TOPIC, Heard())
        await meshed(attacker, victim)
        rpc = rpc_pb2.RPC(publish=[message(**changes)])
        await send_raw_gossip(attacker, victim, rpc.SerializeToString())
        await until(lambda: victim.statistics().faults.get("gossip-bad-signature") == 1)
        assert heard.payloads == []
        assert await answers(victim, attacker)


@pytest.mark.parametrize(
    "changes",
    [{"topicIDs": [TOPIC, "other"]}, {"seqno": b"123"}, {"seqno": b""}, {"from_id": b""}],
    ids=["two-topics", "short-seqno", "no-seqno", "no-author"],
)
async def test_a_message_of_another_form_is_malformed(changes: dict[str, Any]) -> None:
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, Heard())
        await attacker.subscribe(TOPIC, Heard())
        await meshed(attacker, victim)
        rpc = rpc_pb2.RPC(publish=[message(**changes)])
        await send_raw_gossip(attacker, victim, rpc.SerializeToString())
        await until(lambda: victim.statistics().faults.get("gossip-malformed") == 1)


@pytest.mark.parametrize("field", ["data", "seqno", "topicIDs", "from_id"])
async def test_a_signed_message_that_was_changed_on_the_way_is_refused(field: str) -> None:
    heard = Heard()
    async with make_network() as author, make_network() as relay, make_network() as victim:
        captured: list[rpc_pb2.RPC] = []
        await author.subscribe(TOPIC, Heard())
        await author._pubsub.subscribe(TOPIC)
        original = author._gossip.publish

        async def capture(forwarder: ID, msg: rpc_pb2.Message) -> None:
            captured.append(rpc_pb2.RPC(publish=[msg]))
            await original(forwarder, msg)

        author._gossip.publish = capture
        await author.publish(TOPIC, b"signed")
        await victim.subscribe(TOPIC, heard)
        await relay.subscribe(TOPIC, Heard())
        await meshed(relay, victim)
        rpc = captured[0]
        changed = rpc_pb2.RPC()
        changed.CopyFrom(rpc)
        if field == "topicIDs":
            await victim.subscribe(TOPIC + "2", heard)
            changed.publish[0].topicIDs[0] = TOPIC + "2"
        elif field == "from_id":
            changed.publish[0].from_id = id_of(relay).to_bytes()
        else:
            setattr(changed.publish[0], field, b"changed!")
        await send_raw_gossip(relay, victim, changed.SerializeToString())
        await until(lambda: victim.statistics().faults.get("gossip-bad-signature") == 1)
        await send_raw_gossip(relay, victim, rpc.SerializeToString())
        await until(lambda: heard.payloads == [b"signed"])


# handler-crash is in test_libp2p_connection_defects


# gossip-stale-stream, gossip-forgotten-subscriptions


async def test_a_peer_that_restarts_before_we_noticed_hears_us_again() -> None:
    identity = generate_identity()
    first, second = Heard(), Heard()
    async with make_network() as a, make_network(identity) as b:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, first)
        await meshed(a, b)
        # b's old connection stays open, as after a power cut; its successor dials us.
        async with make_network(identity) as successor:
            await successor.subscribe(TOPIC, second)
            await meshed(successor, a)

            def moved() -> bool:
                stream = a._pubsub.peers.get(id_of(b))
                newest = a._swarm.newest_connection(id_of(b))
                return stream is not None and stream.swarm_conn is newest

            await until(moved)
            await a.publish(TOPIC, b"welcome back")
            await until(lambda: second.payloads == [b"welcome back"])


async def test_subscriptions_survive_the_loss_of_a_gossip_stream() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, heard)
        await meshed(a, b)
        for number in range(3):
            former = a._pubsub.peers[id_of(b)]
            await former.reset()
            await a.publish(TOPIC, b"%d" % number)  # notices that the stream is gone
            await until(lambda: a._pubsub.peers.get(id_of(b)) not in (None, former))  # noqa: B023
            assert TOPIC in a.peers()[0].topics
            await a.publish(TOPIC, b"after %d" % number)
            await until(lambda: b"after %d" % number in heard.payloads)  # noqa: B023


async def test_topics_of_a_former_life_are_forgotten_when_a_peer_comes_back() -> None:
    identity = generate_identity()
    async with make_network() as a:
        await a.subscribe(TOPIC, Heard())
        async with make_network(identity) as b:
            await b.subscribe(TOPIC, Heard())
            await meshed(a, b)
            async with make_network(identity) as successor:
                await successor.subscribe("another", Heard())
                await successor.connect(address_of(a))
                await until(lambda: a.peers()[0].topics == frozenset({"another"}))


async def test_a_topic_joined_while_a_stream_is_being_opened_is_announced() -> None:
    async with make_network() as a, make_network() as b, trio.open_nursery() as nursery:
        original = a._pubsub.get_hello_packet

        def hello_and_then_a_subscription() -> rpc_pb2.RPC:
            packet = original()
            if "late" not in a._handlers:
                nursery.start_soon(a.subscribe, "late", Heard())
            return packet

        a._pubsub.get_hello_packet = hello_and_then_a_subscription
        await a.connect(address_of(b))
        await until(lambda: bool(b.peers()) and "late" in b.peers()[0].topics)


# Messages that were lost silently


async def test_a_burst_of_messages_arrives_complete() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, heard)
        await meshed(a, b)
        for number in range(200):  # the original queues 32 and forwards 10 a second
            await a.publish(TOPIC, b"%d" % number)
        await until(lambda: len(heard.payloads) == 200)


async def test_a_forwarder_may_relay_more_than_ten_messages_a_second() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b, make_network() as c:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, Heard())
        await c.subscribe(TOPIC, heard)
        await meshed(a, b)
        await meshed(b, c)
        for number in range(40):
            await a.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.005)
        await until(lambda: len(heard.payloads) == 40)


async def test_a_full_queue_refuses_and_counts() -> None:
    faults = Faults()
    queue = BoundedRpcQueue(faults)
    large = rpc_pb2.RPC(publish=[message(data=bytes(900_000))])
    taken = 0
    while queue.push(large):
        taken += 1
    assert taken == MAX_QUEUED_BYTES // large.ByteSize()
    assert faults.counts["gossip-queue-full"] == 1
    assert await queue.pop() is not None
    assert queue.push(large)


async def test_a_restarted_author_is_heard_when_its_sequence_numbers_go_on() -> None:
    identity, heard = generate_identity(), Heard()
    async with make_network() as a:
        await a.subscribe(TOPIC, heard)
        for life, start in enumerate((1_000, 2_000)):
            async with make_network(identity, start_seqno=start) as b:
                await b.subscribe(TOPIC, Heard())
                await meshed(b, a)
                for number in range(5):
                    await b.publish(TOPIC, b"%d/%d" % (life, number))
                await until(lambda: len(heard.payloads) == 5 * (life + 1))  # noqa: B023
            await until(lambda: not a.peers())


async def test_a_restarted_author_that_repeats_its_sequence_numbers_is_not_heard() -> None:
    identity, heard = generate_identity(), Heard()
    async with make_network() as a:
        await a.subscribe(TOPIC, heard)
        for life in range(2):
            async with make_network(identity, start_seqno=1_000) as b:
                await b.subscribe(TOPIC, Heard())
                await meshed(b, a)
                for number in range(5):
                    await b.publish(TOPIC, b"%d/%d" % (life, number))
                await b.publish(TOPIC, b"end %d" % life)
                if life == 0:
                    await until(lambda: b"end 0" in heard.payloads)
                else:
                    b._pubsub.counter = 2_000  # numbers that nobody has seen
                    await b.publish(TOPIC, b"heard again")
                    await until(lambda: b"heard again" in heard.payloads)
            await until(lambda: not a.peers())
        assert heard.payloads == [*(b"0/%d" % n for n in range(5)), b"end 0", b"heard again"]


async def test_large_messages_are_not_kept_to_detect_equivocation() -> None:
    async with make_network() as a:
        for number in range(20):
            sent = message(seqno=number.to_bytes(8, "big"), data=bytes(500_000))
            assert a._gossip._check_equivocation(sent)
        assert not a._gossip.equivocation_detection
        assert all(len(digest) == 32 for digest in a._gossip._digests.values())
        assert not a._gossip._check_equivocation(message(data=b"another"))


async def test_the_heartbeat_survives_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    async with make_network() as a, make_network() as b:
        original, beats = a._gossip.mesh_heartbeat, []

        def fails_once() -> Any:
            beats.append(1)
            if len(beats) == 1:
                raise KeyError("a bug")
            return original()

        a._gossip.mesh_heartbeat = fails_once
        with caplog.at_level(logging.CRITICAL):
            await until(lambda: len(beats) >= 2)
        assert a.statistics().faults["gossip-heartbeat-crashed"] == 1
        await b.connect(address_of(a))
        assert await answers(a, b)


async def test_control_messages_go_to_the_peer_they_are_meant_for() -> None:
    async with make_network() as a:
        one, other = (ID(bytes([n]) * 34) for n in (1, 2))
        sent: dict[ID, rpc_pb2.ControlMessage] = {}

        async def record(control: rpc_pb2.ControlMessage, to_peer: ID) -> None:
            sent[to_peer] = control

        a._gossip.emit_control_message = record
        await a._gossip._emit_control_msgs(
            {one: ["x"], other: ["y"]}, {}, {one: {"x": [b"1"]}, other: {"y": [b"2"]}}
        )
        assert [graft.topicID for graft in sent[other].graft] == ["y"]
        assert [ihave.topicID for ihave in sent[other].ihave] == ["y"]


async def test_an_iwant_that_repeats_itself_is_answered_once() -> None:
    async with make_network() as a:
        await a.subscribe(TOPIC, Heard())
        await a.publish(TOPIC, bytes(1000))
        (cached,) = a._gossip.mcache.msgs.values()
        sent: list[rpc_pb2.RPC] = []
        a._gossip.send_rpc = lambda peer, rpc, priority=False: sent.append(rpc)
        wanted = rpc_pb2.ControlIWant(messageIDs=[cached.from_id + cached.seqno] * 5000)
        await a._gossip.handle_iwant(wanted, ID(b"x" * 34))
        assert [len(rpc.publish) for rpc in sent] == [1]


async def test_made_up_topics_in_a_prune_are_not_remembered() -> None:
    async with make_network() as a:
        await a.subscribe(TOPIC, Heard())
        for number in range(100):
            prune = rpc_pb2.ControlPrune(topicID=f"made up {number}", backoff=2**40)
            await a._gossip.handle_prune(prune, ID(b"x" * 34))
        await a._gossip.handle_prune(rpc_pb2.ControlPrune(topicID=TOPIC), ID(b"x" * 34))
        assert list(a._gossip.back_off) == [TOPIC]


async def test_a_peer_cannot_subscribe_to_thousands_of_topics() -> None:
    async with make_network() as attacker, make_network() as victim:
        await attacker.connect(address_of(victim))
        many = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{n}") for n in range(3000)]
        rpc = rpc_pb2.RPC(subscriptions=many)
        await send_raw_gossip(attacker, victim, rpc.SerializeToString())
        await until(lambda: bool(victim.statistics().faults))
        assert len(victim._pubsub.peer_topics) <= 64


def test_seen_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(libp2p_seen, "MAX_SEEN", 3)
        seen = SeenMessages()
        assert [seen.add(bytes([n])) for n in (1, 2, 3, 1, 4)] == [True, True, True, False, True]
        assert not seen.has(b"\x01")  # the oldest made room
        assert seen.has(b"\x04")

    trio.run(scenario)


async def test_seen_messages_expire(autojump_clock: Any) -> None:
    seen = SeenMessages()
    seen.add(b"x")
    await trio.sleep(119)
    assert seen.has(b"x")
    await trio.sleep(2)
    assert not seen.has(b"x")


# The log


def test_the_log_of_libp2p_reaches_neither_the_terminal_nor_the_root_logger(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    quieten_logging()
    with caplog.at_level(logging.DEBUG, logger="openfl.network.libp2p.logs"):
        logging.getLogger("libp2p.kad_dht").warning(
            "Failed to read DHT message from stream: %s", ""
        )
        logging.getLogger("libp2p.kad_dht").warning("something of interest")
        from libp2p.network.connection import swarm_connection

        swarm_connection.logging.warning("Error closing muxed connection")
    assert capfd.readouterr().err == ""
    ours = [r for r in caplog.records if r.name.startswith("openfl")]
    assert [r.levelname for r in ours] == ["DEBUG", "DEBUG"]
    assert "something of interest" in ours[0].getMessage()
