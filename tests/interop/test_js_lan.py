"""js-libp2p and `openfl-node start --mdns` on one LAN, told nothing of each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.interop.interop_rig import deal_homes
from tests.interop.js_rig import JsPeer, js_peer
from tests.netns.lan_rig import address, inside, lan, why_not
from tests.process_rig import RunningNode, ending
from tests.situation import within

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=REASON or "")]
APART_SECONDS = 15.0
"""js-libp2p asks every ten seconds."""


@asynccontextmanager
async def on_one_lan(folder: Path, *options: str) -> AsyncIterator[tuple[RunningNode, JsPeer]]:
    """A node with these options on one machine, a js peer with mDNS on another."""
    nodes: list[RunningNode] = []
    with lan(2) as (here, there), ending(nodes):
        (home,) = deal_homes(folder, 1)
        at = "/ip4/0.0.0.0/tcp/4001"
        nodes.append(RunningNode(home, *options, inside=inside(here), listen=at))
        await trio.to_thread.run_sync(nodes[0].wait_for, "listening")
        # At all addresses, so that it tells some that are no use to anybody else.
        async with js_peer("neighbour", host="0.0.0.0", mdns=True, inside=inside(there)) as js:
            yield nodes[0], js


def peers_of(node: RunningNode) -> dict[str, list[str]]:
    return {peer["peer_id"]: peer["multiaddrs"] for peer in node.ask("peers")}


async def test_js_and_we_find_each_other_by_mdns(tmp_path: Path) -> None:
    async with on_one_lan(tmp_path, "--mdns") as (node, js):
        me = (await trio.to_thread.run_sync(node.ask, "id"))["peer_id"]
        with within():
            while not (found := [e for e in js.told("mdns") if e["peer"] == me]):  # noqa: ASYNC110
                await trio.sleep(0.1)
            # We dial whom we hear of; js leaves that to its owner.
            while js.peer_id not in await trio.to_thread.run_sync(peers_of, node):  # noqa: ASYNC110
                await trio.sleep(0.2)
        assert f"/ip4/{address(0)}/tcp/4001" in found[0]["addresses"]
        assert (await js.call("connection", peer=me))["direction"] == "inbound"
        await js.call("hang-up", peer=me)
        assert await js.call("dial", address=f"{found[0]['addresses'][0]}/p2p/{me}") == me
        assert not node.find("mdns-failed")


async def test_without_mdns_neither_hears_of_the_other(tmp_path: Path) -> None:
    async with on_one_lan(tmp_path) as (node, js):
        await trio.sleep(APART_SECONDS)
        assert await trio.to_thread.run_sync(peers_of, node) == {}
        assert js.told("mdns") == []
        assert await js.call("peers") == []
