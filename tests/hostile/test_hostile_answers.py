"""Attacks by answers: to who joins, to who misses something, to who looks for groups."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hostile_rig import Liar, Victim, lying_member, make_network, thrown_out
from test_hostile_gossip import body

from openfl.aggregation.replica import Completeness, Cursor
from openfl.app.open_node import open_node
from openfl.config import load_config
from openfl.core.contribution import Charter, GroupCard, PeerId
from openfl.core.errors import DecodeError
from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
from openfl.node import Node
from openfl.wire import messages as wire
from tests.process_rig import deal_homes
from tests.situation import within

Answer = Callable[[Liar, bytes], Awaitable[bytes]]


def page(items: Any = (), complete: Any = (), cursor: Cursor | None = None) -> bytes:
    return wire.encode_answer(wire.ItemsAnswer(tuple(items), tuple(complete), cursor, bytes(16)))


async def forged(liar: Liar, request: bytes) -> bytes:
    """Rows of another author: the envelope is true, the body was changed."""
    author = Libp2pSealer(generate_identity())
    envelope = bytearray(author.seal(wire.DELTA_TYPE, body(liar.charter)))
    envelope[-80] ^= 1
    return page([wire.AnswerItem("delta", bytes(envelope), 0)])


async def another_charter(liar: Liar, request: bytes) -> bytes:
    charter = Charter("other", "rating", liar.charter.tables, seed=99)
    sealed = liar.sealer.seal(wire.DELTA_TYPE, body(charter))
    return page([wire.AnswerItem("delta", sealed, 0)])


async def a_bomb(liar: Liar, request: bytes) -> bytes:
    return bytes(64 << 20)


async def junk(liar: Liar, request: bytes) -> bytes:
    return b"\xff" * 100


async def a_circle(liar: Liar, request: bytes) -> bytes:
    return page(cursor=Cursor(liar.peer_id, 1, 1))


async def forever(liar: Liar, request: bytes) -> bytes:
    try:
        number = wire.decode_snapshot_request(request).cursor
    except DecodeError:
        number = wire.decode_pull_request(request).cursor
    return page(cursor=Cursor(liar.peer_id, 1, 1 if number is None else number.seqno + 1))


async def a_lie_of_completeness(liar: Liar, request: bytes) -> bytes:
    return page(complete=[Completeness(liar.peer_id, 1, 0, 1 << 62, 0)])


async def dripping(liar: Liar, request: bytes) -> bytes:
    raise AssertionError("it writes by itself: `drip`")


async def drip(stream: Any) -> None:
    """A MiB, a byte at a time."""
    await stream.write(struct.pack(">I", 1 << 20))
    while True:
        await trio.sleep(0.2)
        await stream.write(b"\xa4")


async def another_delta(liar: Liar, request: bytes) -> bytes:
    """Signed by its author, but with other rows than the author announced."""
    return page(
        [wire.AnswerItem("delta", liar.sealer.seal(wire.DELTA_TYPE, body(liar.charter)), 0)]
    )


EVIL: dict[str, tuple[Answer, str]] = {
    "forged-rows": (forged, "bad-signature"),
    "another-charter": (another_charter, "invalid-contribution"),
    "a-bomb": (a_bomb, "answer-too-large"),
    "junk": (junk, "undecodable"),
    "a-circle": (a_circle, "invalid-contribution"),
    "endless-pages": (forever, "endless-answer"),
    "a-lie-of-completeness": (a_lie_of_completeness, ""),
    "a-drip": (dripping, "request-failed"),
}


@contextlib.asynccontextmanager
async def newcomer(home: Path, bootstrap: list[str]) -> AsyncIterator[Node]:
    settings = {
        "network.host": "127.0.0.1",
        "network.bootstrap": tuple(bootstrap),
        "data.ratings_file": str(home / "ratings.csv"),
        "training.interval_seconds": 0.3,
        "training.alone_rounds": 0,
        "gossip.heartbeat_seconds": 0.5,
    }
    async with open_node(load_config(None, {}, settings), home, lambda event: None) as node:
        yield node


@pytest.mark.parametrize(("answer", "fault"), EVIL.values(), ids=EVIL)
async def test_a_node_that_joins_through_a_liar_still_joins_and_learns(
    group: Victim, tmp_path: Path, answer: Answer, fault: str
) -> None:
    (home,) = deal_homes(tmp_path, "x", seed=8)
    async with (
        lying_member(group, answer) as (_, network),
        newcomer(home, [network.multiaddrs[0]]) as node,
    ):
        if answer is dripping:
            network._host.set_stream_handler(wire.SNAPSHOT_PROTOCOL, drip)
        with within():
            while node.snapshot().round < 2:  # noqa: ASYNC110
                await trio.sleep(0.05)
        status = node.snapshot()
        assert status.group_id == group.charters[0].group_id
        if fault:
            assert status.faults.get(fault, 0) >= 1, status.faults
        members = {m.peer_id for m in status.members if m.rows}
        assert members <= {node.network.peer_id}


PULLED: dict[str, tuple[Answer, str]] = {
    **{name: EVIL[name] for name in ("forged-rows", "another-charter", "a-bomb", "junk")},
    "endless-pages": EVIL["endless-pages"],
    "other-than-announced": (another_delta, "announced-otherwise"),
}


@pytest.mark.parametrize(("answer", "fault"), PULLED.values(), ids=PULLED)
async def test_whoever_answers_pulls_with_lies_is_counted_and_thrown_out(
    victim: Victim, answer: Answer, fault: str
) -> None:
    members = {m["peer_id"] for m in victim.status()["members"]}
    async with lying_member(victim, answer) as (liar, network):
        await network.connect(victim.address)
        with within():
            # What is said before the victim is known to listen comes later, out of order.
            while not network.connected(liar.topic):  # noqa: ASYNC110
                await trio.sleep(0.05)
            for seqno in range(1, 1 << 10):
                # Each asks for more than the last one: another pull.
                announce = wire.Announce(bytes(32), 1000, 1, seqno)
                await network.publish(liar.topic, wire.encode_gossip(announce))
                await trio.sleep(0.25)
                if await trio.to_thread.run_sync(victim.faults, fault):
                    break
        if fault == "bad-signature":
            for seqno in range(1 << 10, 1 << 11):
                announce = wire.Announce(bytes(32), 1000, 1, seqno)
                await network.publish(liar.topic, wire.encode_gossip(announce))
                await trio.sleep(0.25)
                if not network.peers():
                    break
            await thrown_out(network, victim)
    told = {m["peer_id"] for m in victim.status()["members"] if m["rows"]}
    assert told <= members | {liar.peer_id}


async def test_answers_of_liars_about_groups_do_not_keep_a_newcomer_out(
    group: Victim, tmp_path: Path
) -> None:
    """Junk, 64 MiB, a card altered on its way, and no answer, beside one honest member."""
    author = Libp2pSealer(generate_identity())
    card = GroupCard(group.charters[0], 9, 1, None, None, None, author.peer_id, 2e9)
    altered = bytearray(author.seal(wire.CARD_TYPE, wire.encode_card(card)))
    altered[-80] ^= 1
    forged_card = wire.encode_answer(wire.CardsAnswer(((bytes(altered), 0),)))
    (home,) = deal_homes(tmp_path, "y", seed=9)
    async with contextlib.AsyncExitStack() as stack:
        liars = []
        for lie in (b"\xff" * 40, bytes(64 << 20), forged_card, None):
            network = await stack.enter_async_context(make_network())

            async def tell(peer: PeerId, request: bytes, lie: bytes | None = lie) -> bytes:
                if lie is None:
                    await trio.sleep_forever()
                    raise AssertionError
                return lie

            network.set_handler(wire.GROUPS_PROTOCOL, tell)
            liars.append(network)
        addresses = [*(liar.multiaddrs[0] for liar in liars), group.node.address]
        node = await stack.enter_async_context(newcomer(home, addresses))
        with within():
            while node.snapshot().round < 1:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert node.snapshot().group_id == group.charters[0].group_id

        def counted() -> bool:
            faults = node.snapshot().faults
            penalties = {name for name in faults if name.startswith("penalized-")}
            return faults.get("answer-too-large", 0) >= 1 and len(penalties) >= 2

        with within():
            while not counted():
                await node.groups()  # asks again: what was late is not read
