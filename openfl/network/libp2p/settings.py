"""`Libp2pSettings`: what a `Libp2pNetwork` is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from openfl.network.access_list import AccessList


@dataclass(frozen=True, slots=True)
class Libp2pSettings:
    """What a `Libp2pNetwork` needs to know.

    `start_seqno` numbers our gossip messages; it must exceed that of every earlier run of this
    identity, or peers ignore us as a repetition: give `time.time_ns()`.
    """

    identity: bytes
    """The private key, as from `envelope.load_or_create_identity`."""
    start_seqno: int
    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/0",)
    """Multiaddrs to listen on; port 0 takes a free one. Empty: dial only."""
    announce: tuple[str, ...] = ()
    """Multiaddrs told to others instead of those we listen on (behind port forwarding)."""
    tls: bool = True
    """Offer TLS 1.3 beside Noise."""
    max_peers: int = 64
    network_key: bytes | None = None
    """Of a private network, as from `private_network.load_network_key`; None: anybody connects."""
    reachability: Literal["auto", "public", "private"] = "auto"
    """private: others cannot dial this node, so it has itself relayed; auto: find out."""
    relay: bool = False
    """Let peers that cannot be dialled be reached through this node."""
    hole_punching: bool = True
    """Try to get from relayed connections to direct ones."""
    access: AccessList = field(default_factory=AccessList)
