"""js-libp2p and `openfl-node start` in processes of their own: what the owner of a node sees."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.interop.interop_rig import ROWS, deal_homes
from tests.interop.js_rig import JsPeer, js_peer
from tests.process_rig import RunningNode, ending
from tests.situation import within

pytestmark = pytest.mark.slow


async def test_a_js_member_is_counted_by_the_commands_of_two_nodes(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    nodes = [RunningNode(homes[0])]
    with ending(nodes):
        address = await trio.to_thread.run_sync(lambda: nodes[0].address)
        nodes.append(RunningNode(homes[1], "--bootstrap", address))
        for node in nodes:
            await trio.to_thread.run_sync(partial(node.wait_for, "joined"))
        async with js_peer("third") as js:
            first = await js.call("dial", address=address)
            charter = await charter_of(js, first)
            await js.call("join", charter=charter)
            with within():
                while first not in (await js.call("mesh"))["subscribers"]:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            rows_before = [(await ask(node, "status"))["model_rows"] for node in nodes]
            # Said again with every round, for the nodes may not know yet that it subscribes.
            with within():
                while True:
                    await js.call("publish", rows=ROWS)
                    states = [await ask(node, "status") for node in nodes]
                    if all(state["members"] == 3 for state in states):
                        break
                    await trio.sleep(0.3)
            for state, before in zip(states, rows_before, strict=True):
                assert state["model_rows"] >= before + 1
            assert js.peer_id in {peer["peer_id"] for peer in await ask(nodes[0], "peers")}
            await js.call("snapshot", peer=first)
            assert len((await js.call("replica"))["members"]) == 3


async def ask(node: RunningNode, command: str) -> Any:
    return await trio.to_thread.run_sync(partial(node.ask, command))


async def charter_of(js: JsPeer, peer: str) -> str:
    with within():
        while True:
            for card in await js.call("groups", peer=peer):
                charter: str = card["charter_hex"]
                return charter
            await trio.sleep(0.1)
