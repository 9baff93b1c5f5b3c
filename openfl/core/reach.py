"""`ReachView`: who can reach a node and how, as its network knows it at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from openfl.core.contribution import PeerId


@dataclass(frozen=True, slots=True)
class VoteView:
    """What a peer found when it tried to dial this node (AutoNAT); `age_seconds` ago."""

    peer_id: PeerId
    reached: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class SeenView:
    """Where a peer sees this node, and what the peer says it speaks."""

    peer_id: PeerId
    seen_at: str
    """A multiaddr; empty when the peer does not tell."""
    agent: str
    protocols: tuple[str, ...]
    """Those of OpenFL alone (`/openfl/...`)."""

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "protocols": list(self.protocols)}


@dataclass(frozen=True, slots=True)
class ReachView:
    """`listening`: multiaddrs of the sockets; `multiaddrs`: what others are told. `private`:
    whether nobody can dial it; None while that is not known. `circuits`: its addresses at relays.
    `forwarded`: addresses of a router that forwards to it. `seen`: of some peers that were asked.
    """

    listening: tuple[str, ...]
    multiaddrs: tuple[str, ...]
    mode: str
    """`network.reachability`."""
    private: bool | None
    votes: tuple[VoteView, ...]
    circuits: tuple[str, ...]
    forwarded: tuple[str, ...]
    seen: tuple[SeenView, ...] = ()
    clocks: Mapping[str, float] = field(default_factory=dict)
    """Peer id -> seconds by which its clock is ahead of this node's, as what it signed tells."""

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ReachView:
        """What `to_plain` made. KeyError, TypeError or ValueError when it is none."""
        values = dict(plain)
        for name in ("listening", "multiaddrs", "circuits", "forwarded"):
            values[name] = tuple(map(str, values[name]))
        values["votes"] = tuple(VoteView(**vote) for vote in values["votes"])
        values["seen"] = tuple(
            SeenView(**{**seen, "protocols": tuple(seen["protocols"])}) for seen in values["seen"]
        )
        return cls(**values)
