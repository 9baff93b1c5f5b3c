"""What a running node answers about itself when something does not work: `reach` and `ping`, on its
control socket only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from openfl.app.control_socket import CommandHandler
from openfl.app.doctor.pinging import round_trip
from openfl.app.doctor.whom import merged, whom
from openfl.core.contribution import PeerId
from openfl.core.errors import RequestFailed
from openfl.core.reach import SeenView
from openfl.discovery.discovery import Discovery
from openfl.node import Node

if TYPE_CHECKING:
    from openfl.network.libp2p.network import Libp2pNetwork

MAX_ASKED = 4
"""Peers that are asked where they see this node."""
SEEN_SECONDS = 3.0


def with_diagnosis(
    commands: CommandHandler, node: Node, network: Libp2pNetwork, discovery: Discovery
) -> CommandHandler:
    """`commands`, and these two."""

    async def handle(command: str, arguments: Mapping[str, Any]) -> Any:
        match command:
            case "reach":
                view = network.diagnosis.view(network.listening).to_plain()
                seen = await seen_by_some(network)
                return {
                    **view,
                    "seen": [each.to_plain() for each in seen],
                    "clocks": node.clocks(),
                }
            case "ping":
                peer = whom(str(arguments.get("peer", "")), _known(node, network, discovery))
                return (await round_trip(network, peer)).to_plain()
            case _:
                return await commands(command, arguments)

    return handle


async def seen_by_some(network: Libp2pNetwork) -> list[SeenView]:
    """What some connected peers say, direct ones first."""
    peers = sorted(network.peers(), key=lambda peer: (peer.relayed, peer.peer_id))[:MAX_ASKED]
    seen: dict[PeerId, SeenView] = {}

    async def ask(peer_id: PeerId) -> None:
        with trio.move_on_after(SEEN_SECONDS):
            try:
                seen[peer_id] = await network.diagnosis.seen_by(peer_id)
            except RequestFailed:
                return  # it has gone, or says nothing: others may

    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(ask, peer.peer_id)
    return [seen[peer.peer_id] for peer in peers if peer.peer_id in seen]


def _known(
    node: Node, network: Libp2pNetwork, discovery: Discovery
) -> dict[PeerId, tuple[str, ...]]:
    return merged(
        ((peer.peer_id, peer.multiaddrs) for peer in network.peers()),
        ((peer.peer_id, peer.multiaddrs) for peer in discovery.remembered()),
        ((member.peer_id, ()) for member in node.snapshot().members if not member.me),
    )
