"""Whole OpenFL nodes on loopback, for tests that bring them together with js-libp2p peers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openfl.aggregation.replica import Replica
from openfl.app.open_node import open_node
from openfl.config import load_config
from openfl.core.contribution import Charter, GroupId, PeerId
from openfl.core.telemetry import NodeEvent
from openfl.network.base import GossipMessage, PeerAddress, Verdict
from openfl.network.libp2p.addresses import parse_peer_multiaddr
from openfl.network.libp2p.network import Libp2pNetwork
from openfl.node import Node
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.interop.js_rig import JsPeer
from tests.patience import PATIENCE_SECONDS
from tests.situation import until_seen, within

NOWHERE = ("/ip4/127.0.0.1/tcp/1",)
"""Announced by nodes that others must not find a way to."""


@dataclass
class Live:
    """A node that runs."""

    home: Path
    node: Node
    events: list[NodeEvent] = field(default_factory=list)

    @property
    def network(self) -> Libp2pNetwork:
        network = self.node.network
        assert isinstance(network, Libp2pNetwork)
        return network

    @property
    def peer_id(self) -> PeerId:
        return self.network.peer_id

    @property
    def address(self) -> str:
        return self.network.multiaddrs[0]

    @property
    def replica(self) -> Replica:
        return self.node._current_group.current.session.replica

    @property
    def charter(self) -> Charter:
        return self.replica.charter

    @property
    def group_id(self) -> GroupId:
        return self.charter.group_id

    @property
    def digest(self) -> str:
        return self.replica.digest().hex()

    def connected(self) -> set[str]:
        return {peer.peer_id for peer in self.network.peers()}

    def members(self) -> set[str]:
        """Whose rows its replica holds."""
        return {state.peer_id for state in self.replica.members()}

    def faults(self) -> dict[str, int]:
        return dict(self.network.statistics().faults)

    def passed_over(self) -> dict[str, int]:
        """What its session did not take in, by reason."""
        return dict(self.node._current_group.current.session.faults)

    def has(self, author: str, epoch: int, seqno: int) -> bool:
        return self.replica.has_heard(PeerId(author), epoch, seqno)


def deal_homes(folder: Path, count: int) -> list[Path]:
    """Homes, each with its own part of the sample ratings."""
    homes = [folder / f"home-{n}" for n in range(count)]
    for home in homes:
        home.mkdir()
    deal(sample_folder(), homes, seed=5)
    return homes


@asynccontextmanager
async def running(
    home: Path, bootstrap: Sequence[str] = (), **settings: Any
) -> AsyncIterator[Live]:
    """A node that has joined its group."""
    config = load_config(
        None,
        {},
        {
            "network.host": "127.0.0.1",
            "network.bootstrap": tuple(bootstrap),
            "data.ratings_file": str(home / "ratings.csv"),
            "training.interval_seconds": 0.5,
            "training.alone_rounds": 0,
            "gossip.heartbeat_seconds": 0.5,
            **{name.replace("__", "."): value for name, value in settings.items()},
        },
    )
    events: list[NodeEvent] = []
    async with open_node(config, home, events.append) as node:
        live = Live(home, node, events)
        await until(lambda: node.snapshot().phase not in ("starting", "joining"))
        yield live


async def until(condition: Callable[[], bool], what: str = "") -> None:
    await until_seen(condition, what)


def address_of(js: JsPeer) -> PeerAddress:
    return parse_peer_multiaddr(js.address)


async def charter_from(js: JsPeer, live: Live) -> str:
    """The charter of the node's group in hex, as the js peer read it off the node's signed card."""
    with within(PATIENCE_SECONDS):
        while True:
            for card in await js.call("groups", peer=live.peer_id):
                if card["charter"]["group_id"] == live.group_id:
                    charter: str = card["charter_hex"]
                    return charter
            await trio.sleep(0.1)


async def join(js: JsPeer, live: Live, invitation: bytes = b"") -> None:
    """Make the js peer, already connected, a member of the node's group that is in its mesh."""
    charter = await charter_from(js, live)
    shown = {"invitation": invitation.hex()} if invitation else {}
    assert await js.call("join", charter=charter, **shown) == live.group_id
    await meshed(js, live)


async def meshed(js: JsPeer, *lives: Live) -> None:
    """Wait until both sides know that the other subscribes."""
    for live in lives:
        await until(lambda live=live: js.peer_id in subscribers(live), "the node knows its peer")
        with within(PATIENCE_SECONDS):
            while live.peer_id not in (await js.call("mesh"))["subscribers"]:  # noqa: ASYNC110
                await trio.sleep(0.05)


def subscribers(live: Live) -> set[str]:
    topic = f"/openfl/1/{live.group_id}/deltas"
    return {peer.peer_id for peer in live.network.peers() if topic in peer.topics}


def overhear(live: Live) -> list[GossipMessage]:
    """All messages that reach the node's group from now on."""
    topic = f"/openfl/1/{live.group_id}/deltas"
    messages: list[GossipMessage] = []
    handler = live.network._handlers[topic]

    def keep(message: GossipMessage) -> Verdict:
        messages.append(message)
        return handler(message)

    live.network._handlers[topic] = keep
    return messages


ROWS: list[Any] = [["7", [10, 20, 30, 5, 5, 5, 5, 5, 5], 0.0078125, 3]]
"""One row in the form of js/peer.js: key, codes, scale, evidence."""
