"""Peers of earlier runs, kept in the home folder so that a restart needs no bootstrap node."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openfl.core.atomic_files import atomic_write, read_own, reason
from openfl.core.errors import StateError
from openfl.storage.state_files import StateRead, set_aside

MAX_REMEMBERED_PEERS = 256
MAX_REMEMBERED_ADDRESSES = 8
_MAX_PEERS_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RememberedPeer:
    """A peer we were connected to. `multiaddrs` as in `PeerAddress`; `seen_at`: unix seconds."""

    peer_id: str
    multiaddrs: tuple[str, ...]
    seen_at: float


@dataclass(frozen=True, slots=True)
class RememberedPeers:
    """Peers to try first at the next start, most recently seen first, at most 256."""

    peers: tuple[RememberedPeer, ...] = ()

    def with_seen(self, peer_id: str, multiaddrs: tuple[str, ...], now: float) -> RememberedPeers:
        """These peers with `peer_id` seen `now`. New addresses go before the known ones; a peer
        without any address is not remembered."""
        known = next((peer.multiaddrs for peer in self.peers if peer.peer_id == peer_id), ())
        addresses = tuple(dict.fromkeys((*multiaddrs, *known)))[:MAX_REMEMBERED_ADDRESSES]
        if not addresses:
            return self
        others = (peer for peer in self.peers if peer.peer_id != peer_id)
        ordered = sorted(
            (RememberedPeer(peer_id, addresses, now), *others), key=lambda peer: -peer.seen_at
        )
        return RememberedPeers(tuple(ordered[:MAX_REMEMBERED_PEERS]))

    def without(self, peer_id: str) -> RememberedPeers:
        """These peers without `peer_id` (it turned out to be gone for good, or to be us)."""
        return RememberedPeers(tuple(peer for peer in self.peers if peer.peer_id != peer_id))

    def save(self, path: Path) -> None:
        """Write peers.json; StateError when that is impossible."""
        plain = {
            "version": 1,
            "peers": [
                {
                    "peer_id": peer.peer_id,
                    "multiaddrs": list(peer.multiaddrs),
                    "seen_at": peer.seen_at,
                }
                for peer in self.peers
            ],
        }
        atomic_write(path, (json.dumps(plain, indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path, now: float) -> tuple[RememberedPeers, StateRead]:
        """(peers, how it went). A damaged file is moved aside as by `read_state`: see `problem`."""
        try:
            data = read_own(path, _MAX_PEERS_FILE_BYTES)
        except FileNotFoundError:
            return cls(), StateRead()
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {reason(error)}") from error
        peers = cls._decoded(data)
        if peers is None:
            return cls(), set_aside(path, "corrupt", "is not a list of remembered peers", now)
        return peers, StateRead(content=True, version=1)

    @classmethod
    def peek(cls, path: Path) -> RememberedPeers | None:
        """The peers that `load` would find, none when there is no file; None when it is damaged,
        and it stays where it is. OSError when it cannot be read."""
        try:
            return cls._decoded(read_own(path, _MAX_PEERS_FILE_BYTES))
        except FileNotFoundError:
            return cls()

    @classmethod
    def _decoded(cls, data: bytes) -> RememberedPeers | None:
        """None when it is no list of peers."""
        try:
            if len(data) > _MAX_PEERS_FILE_BYTES:
                raise ValueError("too large")
            peers = tuple(_peer_from_plain(plain) for plain in json.loads(data)["peers"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        newest_first = sorted(peers, key=lambda peer: -peer.seen_at)
        return cls(tuple(newest_first[:MAX_REMEMBERED_PEERS]))


def _peer_from_plain(plain: Any) -> RememberedPeer:
    """ValueError, KeyError, TypeError or OverflowError when `plain` is not a remembered peer."""
    peer_id, addresses, seen_at = plain["peer_id"], plain["multiaddrs"], plain["seen_at"]
    if not isinstance(peer_id, str) or not isinstance(addresses, list):
        raise TypeError("not a remembered peer")
    if not all(isinstance(address, str) for address in addresses):
        raise TypeError("not a list of multiaddrs")
    if isinstance(seen_at, bool) or not isinstance(seen_at, int | float):
        raise TypeError("not a time")
    if not math.isfinite(seen_at):
        raise TypeError("not a time")
    return RememberedPeer(peer_id, tuple(addresses[:MAX_REMEMBERED_ADDRESSES]), float(seen_at))
