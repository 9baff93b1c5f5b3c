"""Attacks by gossip: junk, forgeries, lies and floods on the group's topic and the directory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trio
from hostile_rig import (
    MOST_ROWS,
    Liar,
    Victim,
    attacker,
    mouth,
    offend,
    reset_or_ended,
    seen,
    signed,
)
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_uvarint

from openfl.aggregation.delta import Delta
from openfl.aggregation.quantize import QuantizedBlock
from openfl.core.contribution import Charter, GroupCard
from openfl.learning.rating.charter import ITEMS
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
from openfl.network.libp2p.gossip.queues import MAX_RPC_BYTES
from openfl.wire import cbor, tensors
from openfl.wire import messages as wire
from tests.situation import within


def rows(charter: Charter, keys: Any, value: int = 1, evidence: int = 1) -> QuantizedBlock:
    count, width = len(keys), charter.table(ITEMS).width
    return QuantizedBlock(
        ITEMS,
        "int8",
        np.array(keys, dtype=np.uint64),
        np.full((count, width), value, dtype=np.int8),
        np.full(count, 0.01, dtype=np.float16),
        np.full(count, evidence, dtype=np.uint32),
        np.ones(width, dtype=np.float32),
    )


def body(charter: Charter, seqno: int = 1, epoch: int = 1, **block: Any) -> bytes:
    blocks = (rows(charter, **{"keys": (1, 2, 3), **block}),)
    return wire.encode_delta(Delta(charter.group_id, epoch, seqno, 1, 10, None, blocks))


def changed(charter: Charter, **fields: Any) -> bytes:
    """A delta whose first block has other fields, whatever they are."""
    plain = cbor.decode(body(charter), 1 << 20, tensors.ARRAY_TAGS)
    plain["blocks"][0].update(fields)
    return cbor.encode(plain)


def twice(charter: Charter) -> bytes:
    """A delta with the same block two times."""
    plain = cbor.decode(body(charter), 1 << 20, tensors.ARRAY_TAGS)
    return cbor.encode({**plain, "blocks": plain["blocks"] * 2})


Lie = Callable[[Liar], bytes]
NAN = struct.pack("<f", float("nan"))
HUGE = struct.pack("<e", 60000)
INFINITY = struct.pack("<e", float("inf"))

LIES: dict[str, Lie] = {
    "nan-curvature": lambda m: changed(
        m.charter, curvature=cbor.Tagged(85, NAN * m.charter.table(ITEMS).width)
    ),
    "infinite-scale": lambda m: changed(m.charter, scales=cbor.Tagged(84, INFINITY * 3)),
    "evidence-of-four-billion": lambda m: changed(
        m.charter, evidence=cbor.Tagged(70, b"\xff\xff\xff\xff")
    ),
    "no-evidence": lambda m: changed(m.charter, evidence=cbor.Tagged(64, b"\0")),
    "equal-keys": lambda m: changed(
        m.charter, keys=bytes.fromhex("ffffffffffffffffff01") + b"\0\0"
    ),
    "keys-that-step-back": lambda m: changed(m.charter, keys=b"\x05" + b"\xff" * 9 + b"\x01\0"),
    "a-million-rows": lambda m: changed(m.charter, keys=bytes(400_000)),
    "more-columns": lambda m: changed(m.charter, curvature=cbor.Tagged(85, bytes(4 * 4096))),
    "one-table-twice": lambda m: twice(m.charter),
    "another-table": lambda m: changed(m.charter, table="nothing"),
    "another-group": lambda m: body(Charter("other", "rating", m.charter.tables, seed=9)),
    "huge-values": lambda m: changed(
        m.charter, scales=cbor.Tagged(84, struct.pack("<e", 60000) * 3)
    ),
    "cut-off": lambda m: body(m.charter)[:-3],
    "junk": lambda m: b"\xff" * 100,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_member_that_signs_lies_is_refused_and_thrown_out(victim: Victim, lie: Lie) -> None:
    liar = Liar(victim)
    async with attacker(victim, liar.identity) as network:
        said = await mouth(network, victim)
        await offend(network, victim, lambda: said.say(liar.delta_message(lie(liar))))
    assert victim.faults("gossip-rejected") >= 8
    assert liar.peer_id not in {m["peer_id"] for m in victim.status()["members"]}


async def test_a_million_tiny_rows_do_not_fit(victim: Victim) -> None:
    """Every delta is as it should be; together they are fifty times what the node keeps. (What an
    author may say in a second is a matter of the session: see its tests.)"""
    liar, count = Liar(victim), 10_000
    async with attacker(victim, liar.identity) as network:
        said = await mouth(network, victim)
        for seqno in range(1, 101):
            keys = range(seqno * count, (seqno + 1) * count)
            await said.say(liar.delta_message(body(liar.charter, seqno=seqno, keys=keys)))
        await seen(lambda: victim.faults("refused-max-rows") > 0, "a refusal")
        await said.say(liar.message(b"junk"))  # read after all of them
        await seen(lambda: victim.faults("gossip-rejected") > 0, "an end of it")
        assert rows_of(victim, liar) <= MOST_ROWS

        async def left() -> bool:
            # Ignored as long as its author has said too much.
            await said.say(liar.message(leave(liar)))
            return await trio.to_thread.run_sync(rows_of, victim, liar) == 0

        with within():
            while not await left():  # noqa: ASYNC110 (it asks another process)
                await trio.sleep(0.2)


def leave(member: Liar) -> bytes:
    plain = {"group": bytes.fromhex(member.charter.group_id), "epoch": 1}
    envelope = member.sealer.seal(wire.LEAVE_TYPE, cbor.encode(plain))
    return wire.encode_gossip(wire.LeaveNotice(envelope))


async def test_the_delta_of_another_is_not_taken_from_who_did_not_sign_it(victim: Victim) -> None:
    """Forged: one's own message around the envelope of another, as on replay."""
    author, forger = Liar(victim), Liar(victim)
    envelope = author.sealer.seal(wire.DELTA_TYPE, body(author.charter))
    payload = wire.encode_gossip(wire.InlineDelta(envelope))
    async with attacker(victim, forger.identity) as network:
        said = await mouth(network, victim)
        await offend(network, victim, lambda: said.say(forger.message(payload)))
    assert victim.faults("bad-signature") >= 8
    assert author.peer_id not in {m["peer_id"] for m in victim.status()["members"]}


async def test_a_message_with_a_forged_signature_counts_against_who_sends_it(
    victim: Victim,
) -> None:
    async with attacker(victim) as network:
        said = await mouth(network, victim)

        async def forge() -> None:
            message = signed(generate_identity(), victim.topic, b"x")
            message.signature = bytes(64)
            await said.say(message)

        await offend(network, victim, forge)
    assert victim.faults("gossip-bad-signature") >= 8


async def test_replays_and_jumps_change_nothing_twice(victim: Victim) -> None:
    member = Liar(victim)
    first = member.delta_message(body(member.charter))
    jump = member.delta_message(body(member.charter, seqno=(1 << 63) - 1, keys=(7,)))
    back = member.delta_message(body(member.charter, seqno=5, epoch=1, keys=(8,)))
    again = member.message(first.data)
    async with attacker(victim, member.identity) as network:
        said = await mouth(network, victim)
        await said.say(first, jump, back)
        await seen(lambda: rows_of(victim, member) == 5, "five rows")
        for _ in range(30):
            await said.say(first, jump, again)
        # Read in order: what is rejected last has all others before it.
        await said.say(member.message(b"junk"))
        await seen(lambda: victim.faults("gossip-rejected") == 1, "the first marker")
        assert rows_of(victim, member) == 5
        await said.say(member.message(leave(member)))
        await seen(lambda: rows_of(victim, member) == 0, "no rows")
        await said.say(member.message(first.data), member.message(b"junk"))
        await seen(lambda: victim.faults("gossip-rejected") == 2, "the second marker")
        assert rows_of(victim, member) == 0


def rows_of(victim: Victim, member: Liar) -> int:
    found = {m["peer_id"]: m["rows"] for m in victim.status()["members"]}
    return int(found.get(member.peer_id, 0))


async def test_a_thousand_messages_a_second_are_slowed_and_their_author_thrown_out(
    victim: Victim,
) -> None:
    before, memory = victim.status()["deltas_merged"], victim.rss_mib()
    liar = Liar(victim)
    payload = wire.encode_gossip(wire.Heartbeat(1, 0, 0, 0, None, 0, (), bytes(16)))
    async with attacker(victim, liar.identity) as network:
        said = await mouth(network, victim)

        async def a_thousand() -> None:
            """In twenty frames, which are made before: no machine is too slow for that."""
            messages = [liar.message(payload) for _ in range(1000)]
            for first in range(0, 1000, 50):
                await said.say(*messages[first : first + 50])

        await offend(network, victim, a_thousand)
    assert victim.faults("gossip-rate") >= 8
    assert victim.rss_mib() - memory < 40
    await seen(lambda: victim.status()["deltas_merged"] > before, "honest deltas meanwhile")


async def test_a_flood_by_made_up_authors_is_read_no_faster_than_one_peer_may_speak(
    victim: Victim,
) -> None:
    """Each identity keeps to the rate of an author; what bounds them is the one that relays."""
    liars = [Liar(victim) for _ in range(40)]
    payload = wire.encode_gossip(wire.Heartbeat(1, 0, 0, 0, None, 0, (), bytes(16)))
    messages = [liar.message(payload) for liar in liars for _ in range(40)]
    async with attacker(victim) as network:
        said = await mouth(network, victim)
        # In one frame: what is said at once, however slowly it is read.
        await said.say(*messages)
        await seen(lambda: victim.faults("gossip-throttled") > 0, "the brake")


async def test_gossip_that_is_no_gossip_costs_the_stream(victim: Victim) -> None:
    async with attacker(victim) as network:
        for junk in (b"\xff" * 6, b"\x0a\xff\xff\xff\xff\x0f", rpc_with_strange_topic()):
            said = await mouth(network, victim)
            await said.frame(junk)
            await reset_or_ended(said.stream)
    assert victim.faults("gossip-malformed") >= 3


async def test_gossip_frames_that_are_never_completed_fill_no_memory(victim: Victim) -> None:
    """Each of 100 streams holds back the last byte of a frame; others are read meanwhile."""
    memory = victim.rss_mib()
    async with attacker(victim) as network:
        begun = encode_uvarint(MAX_RPC_BYTES) + bytes(MAX_RPC_BYTES - 1)
        streams = []
        for _ in range(100):
            streams.append((await mouth(network, victim)).stream)
            await streams[-1].write(begun)
        await reset_or_ended(streams[0])
        await seen(lambda: victim.faults("gossip-streams") >= 90, "the count")
        assert victim.rss_mib() - memory < 40
        await streams[-1].close_write()
        await seen(lambda: victim.faults("gossip-cut-off") > 0, "a frame that was cut off")


def rpc_with_strange_topic() -> bytes:
    return rpc_pb2.RPC(
        subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="x" * 5000)]
    ).SerializeToString()


async def test_control_messages_without_end_are_bounded(victim: Victim) -> None:
    """60 MiB of topics that nobody has heard of, each with a back-off to be kept; and ids."""
    memory = victim.rss_mib()
    ids = rpc_pb2.RPC()
    for number in range(2000):
        ids.control.ihave.add(topicID=victim.topic, messageIDs=[b"%d" % number] * 10)
        ids.control.iwant.add(messageIDs=[b"%d" % number] * 10)
    async with attacker(victim) as network:
        said = await mouth(network, victim)
        await said.frame(ids.SerializeToString())
        for frame in range(60):
            topics = rpc_pb2.RPC()
            for number in range(4500):
                topics.control.prune.add(topicID=f"{frame} {number}".ljust(200), backoff=1 << 40)
            await said.frame(topics.SerializeToString())
        # Read in order: who hears of a fault in the last frame has read all before it.
        await said.frame(b"\xff" * 6)
        await seen(lambda: victim.faults("gossip-malformed") > 0, "an end of it")
    assert victim.rss_mib() - memory < 40


async def test_cards_of_junk_and_cards_of_others_are_refused(victim: Victim) -> None:
    author = Libp2pSealer(generate_identity())
    card = GroupCard(victim.charters[0], 10**9, 1, "rmse", 0.0, 0.0, author.peer_id, 2e9)
    sealed = author.seal(wire.CARD_TYPE, wire.encode_card(card))
    altered = sealed.replace(victim.charters[0].name.encode(), b"x" * len(victim.charters[0].name))
    assert altered != sealed
    for lie in (b"\xff" * 40, wire.encode_directory(sealed), wire.encode_directory(altered)):
        identity = generate_identity()
        async with attacker(victim, identity) as network:
            said = await mouth(network, victim)

            async def tell(lie: bytes = lie, identity: bytes = identity, said: Any = said) -> None:
                await said.say(signed(identity, wire.DIRECTORY_TOPIC, lie))

            await offend(network, victim, tell)
    assert victim.faults("gossip-rejected") >= 24


async def test_a_flood_of_cards_neither_fills_the_directory_nor_hides_the_group(
    victim: Victim,
) -> None:
    async with attacker(victim) as network:
        said = await mouth(network, victim)
        for issuer in range(12):
            identity = generate_identity()
            sealer = Libp2pSealer(identity)
            for number in range(60):
                charter = Charter(f"fake {issuer}/{number}", "rating", victim.charters[0].tables)
                card = GroupCard(charter, 10**9, 1, "rmse", 0.0, 0.0, sealer.peer_id, 1e9 + number)
                envelope = sealer.seal(wire.CARD_TYPE, wire.encode_card(card))
                message = signed(identity, wire.DIRECTORY_TOPIC, wire.encode_directory(envelope))
                await said.say(message)
        await said.frame(b"\xff" * 6)  # read after all of them
        await seen(lambda: victim.faults("gossip-malformed") > 0, "an end of it")
        answer = wire.decode_cards_answer(
            await network.request(
                victim.address.peer_id,
                wire.GROUPS_PROTOCOL,
                wire.encode_groups_request(),
                wire.LIMITS.max_answer_bytes,
            )
        )
    assert isinstance(answer, wire.CardsAnswer)
    known = [
        wire.decode_card(sealer.open(wire.CARD_TYPE, c[0])[1], sealer.peer_id) for c in answer.cards
    ]
    assert victim.charters[0].name in {card.charter.name for card in known}
    fakes = [card for card in known if card.charter.name.startswith("fake")]
    assert 0 < len(fakes) <= 12 * 16
    assert victim.faults("card-rate") > 0
