"""Deltas between real nodes and js-libp2p members, directly and through a stranger between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.core.contribution import PeerId
from openfl.network.base import GossipMessage
from openfl.wire import messages as wire
from tests.interop.interop_rig import (
    NOWHERE,
    ROWS,
    Live,
    deal_homes,
    join,
    meshed,
    overhear,
    running,
    until,
)
from tests.interop.js_rig import JsPeer, js_peer
from tests.vectors.make import DELTAS, float32_be

ITEMS = "items"


@asynccontextmanager
async def pair(folder: Path, **settings: Any) -> AsyncIterator[tuple[Live, JsPeer]]:
    """A node and a js member of its group, connected."""
    (home,) = deal_homes(folder, 1)
    async with running(home, **settings) as live, js_peer("member") as js:
        await js.call("dial", address=live.address)
        await join(js, live)
        yield live, js


# --- what js hears --------------------------------------------------------------------------------


async def test_js_verifies_and_merges_our_deltas_to_the_same_replica_and_model(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path, training__rounds=8, training__wait_for_members=2) as (live, js):
        # Makes it two, and rounds begin. Else, on a busy machine, all are over before js is here.
        await js.call("heartbeat")
        await js.call("snapshot", peer=live.peer_id)
        await until(lambda: live.node.snapshot().phase == "done")
        last = live.replica.version_of(live.peer_id)
        await until(lambda: bool(js.heard(author=live.peer_id, seqno=last.seqno)))
        heard = js.heard(author=live.peer_id)
        assert {event["verdict"] for event in heard} <= {"accept", "ignore"}
        assert all(event["fit"]["metric"] == "rmse" for event in heard if event["fit"])
        state = await js.call("replica")
        assert state["digest"] == live.digest
        assert state["members"] == {
            live.peer_id: {
                "epoch": last.epoch if last.epoch < 2**53 else str(last.epoch),
                "complete": last.seqno,
                "rows": live.replica.register_count,
            }
        }
        for table in live.charter.tables:
            theirs = await js.call("model", table=table.name)
            view = live.replica.view()
            keys = view.keys(table.name)
            assert [int(row["key"]) for row in theirs] == keys.tolist()
            rows = view.rows(table.name, keys)
            assert [row["values_float32_be"] for row in theirs] == [
                [float32_be(value) for value in row] for row in rows
            ]


async def test_js_hears_our_heartbeats_and_that_replicas_agree(tmp_path: Path) -> None:
    async with pair(tmp_path, training__rounds=2) as (live, js):
        await js.call("snapshot", peer=live.peer_id)
        await until(lambda: live.node.snapshot().phase == "done")
        await until(lambda: bool(js.heard("heartbeat", replica=live.digest, members=1)))
        assert (await js.call("replica"))["digest"] == live.digest


async def test_js_pulls_a_delta_of_ours_that_is_only_announced(tmp_path: Path) -> None:
    async with pair(tmp_path, gossip__inline_limit_bytes=1024) as (live, js):
        await until(lambda: bool(js.heard("announce", author=live.peer_id)))
        await until(lambda: any(event["right"] for event in js.told("pulled")))
        assert not js.told("pull-failed")
        assert live.peer_id in (await js.call("replica"))["members"]


# --- what we hear ---------------------------------------------------------------------------------


async def test_a_delta_made_by_js_is_merged_by_all_members_and_seen_in_their_status(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        running(homes[0]) as near,
        running(homes[1], [near.address]) as far,
        js_peer("author", only=[near.peer_id]) as js,
    ):
        await js.call("dial", address=near.address)
        await join(js, near)
        said = await js.call("publish", rows=ROWS)
        assert said["kind"] == "delta"
        for live in (near, far):
            await until(lambda live=live: live.has(js.peer_id, said["epoch"], said["seqno"]))
            rows = live.replica.member_rows(PeerId(js.peer_id), ITEMS)
            assert rows.keys.tolist() == [7]
            assert rows.values.tolist() == [[code * 0.0078125 for code in ROWS[0][1]]]
            assert rows.evidence.tolist() == [3]
            await until(lambda live=live: len(live.node.snapshot().members) == 3)
            (member,) = [m for m in live.node.snapshot().members if m.peer_id == js.peer_id]
            assert (member.rows, member.left_out) == (1, "")
        assert js.peer_id not in far.connected()
        # The row is in the model: nobody else has evidence on it.
        prior = near.charter.table(ITEMS)
        expected = [
            3 * value / (3 + prior.prior[c] + 3 * prior.prior_per_evidence[c])
            for c, value in enumerate(rows.values[0])
        ]
        model = near.replica.view().rows(ITEMS, np.array([7], dtype=np.uint64))
        assert model[0] == pytest.approx(expected, rel=1e-6)


async def test_a_large_delta_of_js_is_announced_and_pulled(tmp_path: Path) -> None:
    async with pair(tmp_path) as (live, js):
        rows = [[str(key), *ROWS[0][1:]] for key in range(7000)]
        said = await js.call("publish", rows=rows)
        assert said["kind"] == "announce"
        await until(lambda: live.has(js.peer_id, said["epoch"], said["seqno"]))
        assert len(live.replica.member_rows(PeerId(js.peer_id), ITEMS).keys) == 7000


async def test_a_heartbeat_of_js_shows_what_we_lack_and_we_pull_it(tmp_path: Path) -> None:
    async with pair(tmp_path) as (live, js):
        said = await js.call("publish", rows=ROWS, quiet=True)
        assert not live.has(js.peer_id, said["epoch"], said["seqno"])
        await js.call("heartbeat")
        await until(lambda: live.has(js.peer_id, said["epoch"], said["seqno"]))


async def test_a_leave_of_js_withdraws_its_rows_and_ours_withdraws_ours(tmp_path: Path) -> None:
    async with pair(tmp_path) as (live, js):
        said = await js.call("publish", rows=ROWS)
        await until(lambda: live.has(js.peer_id, said["epoch"], said["seqno"]))
        await js.call("snapshot", peer=live.peer_id)
        await js.call("leave")
        await until(lambda: live.members() == {live.peer_id})
        live.node.request_stop(leave=True)
        await live.node.finish()
        await until(lambda: bool(js.heard("leave", author=live.peer_id, changed=True)))
        assert (await js.call("replica"))["members"] == {}


GOOD = {"rows": ROWS}
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a broken signature": (GOOD, {"flip": True}),
    "a signature for another domain": (GOOD, {"domain": "elsewhere"}),
    "a payload of another type": (GOOD, {"type": "/openfl/leave/1"}),
    "a value out of bounds": ({"rows": [["7", [127] * 9, 1000.0, 3]]}, {}),
    "evidence for nothing": ({"rows": [["7", *ROWS[0][1:3], 0]]}, {}),
    "an unknown table": (
        {"rows": [["0", [3.5], None, 3]], "table": "mean", "as": "nobody"},
        {},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_delta_of_js_with_one_thing_wrong_is_refused_and_held_against_it(
    tmp_path: Path, name: str
) -> None:
    making, sealing = REFUSED[name]
    async with pair(tmp_path) as (live, js):
        assert "gossip-rejected" not in live.faults()
        body = await js.call("body", **making)
        await js.call("publish-body", body=body, **sealing)
        await refused_but_not_for_good(live, js, lost=1)


async def test_a_delta_of_another_group_is_refused(tmp_path: Path) -> None:
    async with pair(tmp_path) as (live, js):
        body = wire.encode_delta(DELTAS["one row"])
        await js.call("publish-body", body=body.hex())
        await refused_but_not_for_good(live, js, lost=0)


async def test_our_own_delta_published_by_js_is_refused(tmp_path: Path) -> None:
    async with pair(tmp_path) as (live, js):
        await js.call("snapshot", peer=live.peer_id)
        await js.call("publish-copy", author=live.peer_id)
        await refused_but_not_for_good(live, js, lost=0)


@pytest.mark.parametrize(
    "payload", ["a1617465", "a26174656c65617665617465", "bf6174ff", "00"], ids=str
)
async def test_a_message_that_is_not_strict_cbor_is_refused(tmp_path: Path, payload: str) -> None:
    async with pair(tmp_path) as (live, js):
        await js.call("publish-bytes", payload=payload)
        await refused_but_not_for_good(live, js, lost=0)


async def refused_but_not_for_good(live: Live, js: JsPeer, lost: int) -> None:
    """One message was rejected, and a good one after it is merged. `lost`: seqnos that the bad one
    took, so that the good one comes after a gap."""
    said = await js.call("publish", rows=ROWS)
    assert said["seqno"] == lost + 1
    await until(lambda: live.has(js.peer_id, said["epoch"], said["seqno"]))
    assert live.faults().get("gossip-rejected") == 1
    if lost:
        assert not live.has(js.peer_id, said["epoch"], 1)
    (state,) = [m for m in live.replica.members() if m.peer_id == js.peer_id]
    assert state.rows == 1


# --- through a stranger ---------------------------------------------------------------------------


async def test_two_of_our_nodes_learn_together_through_js_alone(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        js_peer("between") as js,
        running(homes[0], [js.address], network__announce=NOWHERE) as one,
    ):
        await join(js, one)
        async with running(homes[1], [js.address], network__announce=NOWHERE) as two:
            assert two.group_id == one.group_id
            await meshed(js, one, two)
            for near, far in ((one, two), (two, one)):
                messages = overhear(near)
                await until(lambda m=messages, far=far: relayed(m, far.peer_id, js))
                await until(lambda near=near: near.members() >= {one.peer_id, two.peer_id})
            assert one.connected() == two.connected() == {js.peer_id}
            # js said nothing of its own, and is no member.
            assert one.members() == two.members() == {one.peer_id, two.peer_id}
            assert {e["verdict"] for e in js.heard()} <= {"accept", "ignore"}


async def test_two_js_members_hear_each_other_through_our_node_alone(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with (
        running(home) as live,
        js_peer("left", only=[live.peer_id]) as left,
        js_peer("right", only=[live.peer_id]) as right,
    ):
        for js in (left, right):
            await js.call("dial", address=live.address)
            await join(js, live)
        for sender, hearer in ((left, right), (right, left)):
            for _ in range(3):
                said = await sender.call("publish", rows=ROWS)
                await until(
                    lambda h=hearer, s=sender, said=said: bool(
                        h.heard(
                            author=s.peer_id,
                            forwarder=live.peer_id,
                            seqno=said["seqno"],
                            digest=said["digest"],
                            verdict="accept",
                        )
                    )
                )
            # What we refuse, we do not relay.
            body = await sender.call("body", rows=[["7", [127] * 9, 1000.0, 3]])
            await sender.call("publish-body", body=body)
            await sender.call("publish", rows=ROWS)
            await until(lambda h=hearer, s=sender: len(h.heard(author=s.peer_id)) == 4)
            assert await hearer.call("peers") == [live.peer_id]
        assert live.members() == {live.peer_id, left.peer_id, right.peer_id}


def relayed(messages: list[GossipMessage], author: str, js: JsPeer) -> bool:
    """A delta of that author came, by the hand of js."""
    return any(
        m.author == author
        and m.relayed_by == js.peer_id
        and isinstance(wire.decode_gossip(m.payload), wire.InlineDelta)
        for m in messages
    )
