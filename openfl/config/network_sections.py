"""Settings of the network: peers, and what travels between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.config.settings import setting
from openfl.config.text_checks import (
    address_problem,
    multiaddr_problem,
    peer_id_problem,
    peer_multiaddr_problem,
)

MAX_PUBLISH_BYTES = 900_000
"""Largest gossip message: js-libp2p and py-libp2p drop a connection over larger frames."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Where this node listens, and how it finds and keeps its peers."""

    host: str = setting(
        "0.0.0.0",
        "Address to listen on. 127.0.0.1 keeps the node on this machine.",
        allowed="an IPv4 or IPv6 address",
        check_text=address_problem,
    )
    port: int = setting(
        0,
        "TCP port to listen on. 0 picks a free port at the first start and keeps it.",
        minimum=0,
        maximum=65535,
    )
    listen: tuple[str, ...] = setting(
        (),
        "Multiaddrs to listen on, instead of `host` and `port`.",
        allowed="multiaddrs, such as /ip4/0.0.0.0/tcp/4001",
        check_text=multiaddr_problem,
    )
    bootstrap: tuple[str, ...] = setting(
        (),
        "Nodes to join the network through. Any one running node is enough; the others are found"
        " from there, and remembered for the next start.",
        allowed="multiaddrs that end in /p2p/PEER_ID",
        check_text=peer_multiaddr_problem,
    )
    bootstrap_timeout_seconds: float = setting(
        0.0,
        "How long to wait for the first of the `bootstrap` nodes before the node ends with exit"
        " code 5, for scripts that want the failure. 0 waits as long as it takes: the node learns"
        " alone meanwhile, and joins when one appears.",
        unit="seconds",
        minimum=0,
        maximum=30 * 86_400,
    )
    announce: tuple[str, ...] = setting(
        (),
        "Multiaddrs to tell others instead of the ones listened on, for a node behind a router"
        " that forwards a port.",
        allowed="multiaddrs",
        check_text=multiaddr_problem,
    )
    tls: bool = setting(
        True, "Also offer TLS beside Noise to secure connections. Noise is always offered."
    )
    max_peers: int = setting(
        64, "Most connections to keep open.", unit="peers", minimum=1, maximum=10_000
    )
    dial_members: int = setting(
        6,
        "How many members of the group to connect to before publishing. Must not exceed"
        " `max_peers`.",
        unit="peers",
        minimum=1,
        maximum=64,
    )
    reachability: Literal["auto", "public", "private"] = setting(  # type: ignore[assignment]
        "auto",
        "Whether others can dial this node. auto asks the peers it meets to try; private takes it"
        " that they cannot, and looks for a relay at once; public never uses one.",
        choices=("auto", "public", "private"),
    )
    relay: bool = setting(
        False,
        "Let nodes that cannot be dialled be reached through this one, which should be reachable"
        " itself. Bounded: 64 nodes, 128 connections of 256 MiB and 2 hours each.",
    )
    hole_punching: bool = setting(
        True,
        "Try to turn connections over a relay into direct ones, where both routers allow it.",
    )
    mdns: bool = setting(
        False,
        "Find nodes on the same LAN by multicast DNS, and be found: no address needs to be given.",
    )
    upnp: bool = setting(
        False,
        "Ask the router, by UPnP, to forward a port to this node, so that others can dial it.",
    )
    psk_file: str = setting(
        "",
        "Key file of a private network (make one with `openfl-node network-key`): only nodes that"
        " have it can connect. Readable by its owner only. Empty: an open network.",
        allowed="a path",
        path=True,
    )
    allow_peers: tuple[str, ...] = setting(
        (),
        "The only peers to have connections with. Empty: any.",
        allowed="peer ids",
        check_text=peer_id_problem,
    )
    deny_peers: tuple[str, ...] = setting(
        (),
        "Peers to have no connection with, whatever `allow_peers` says.",
        allowed="peer ids",
        check_text=peer_id_problem,
    )


@dataclass(frozen=True, slots=True)
class GossipConfig:
    """How contributions travel, and how much of others' is kept."""

    inline_limit_bytes: int = setting(
        65_536,
        "Contributions up to this size travel in the gossip message; larger ones are announced"
        " and fetched once.",
        unit="bytes",
        minimum=1_024,
        maximum=MAX_PUBLISH_BYTES,
    )
    heartbeat_seconds: float = setting(
        2.0,
        "Time between two heartbeats, by which members notice what they missed.",
        unit="seconds",
        minimum=0.1,
        maximum=3_600,
    )
    member_ttl_seconds: float = setting(
        604_800.0,
        "A member not heard of for this long is taken out of the model: a week, because people"
        " switch their machines off and come back. At least three times `heartbeat_seconds`.",
        unit="seconds",
        minimum=1,
        maximum=30 * 86_400,
    )
    row_fraction: float = setting(
        0.5,
        "Part of the songs sent each round: the ones that changed most.",
        unit="fraction",
        minimum=0,
        above_minimum=True,
        maximum=1,
    )
    refresh_fraction: float = setting(
        0.1,
        "Part of the songs sent each round because they were not sent for longest.",
        unit="fraction",
        minimum=0,
        maximum=1,
    )
    target_publishers: int = setting(
        48,
        "About how many members publish in each round. In a larger group they take turns, so that"
        " what a node receives does not grow with the group. 0: all publish every round.",
        unit="members",
        minimum=0,
        maximum=65_536,
    )
    max_members: int = setting(
        4_096,
        "Most members whose contributions are kept. More are refused and counted.",
        unit="members",
        minimum=2,
        maximum=65_536,  # aggregation.fixed_point.MEMBER_CAP
    )
    max_rows: int = setting(
        2_000_000,
        "Most rows kept, over all members.",
        unit="rows",
        minimum=1_000,
        maximum=1_000_000_000,
    )
    max_bytes: int = setting(
        512 * 1024 * 1024,
        "Most memory for kept contributions.",
        unit="bytes",
        minimum=1024 * 1024,
        maximum=1 << 40,
    )
