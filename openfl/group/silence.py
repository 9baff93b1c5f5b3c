"""`Silence`: members are connected, and nothing is heard of them.

All looks well then: there are peers, they are in the mesh, rounds go on. One cause is known: peers
send gossip to one connection of an identity only, the latest, so the other of two nodes with one
key hears nothing more. Requests still work, so it asks members for what its key has signed beyond
its own word; see `IdentityWatch`.
"""

from __future__ import annotations

from openfl.core.contribution import PeerId
from openfl.group import events as ev
from openfl.group.missing_deltas import MissingDeltas
from openfl.group.presence import Presence
from openfl.group.publisher import Publisher

KIND = "deaf"
OVER = "heard-again"
ASK_SECONDS = 10.0


class Silence:
    """`me`: this member. `patience_seconds`: within it every member that is there is heard of."""

    def __init__(
        self,
        me: PeerId,
        presence: Presence,
        publisher: Publisher,
        missing: MissingDeltas,
        patience_seconds: float,
    ) -> None:
        self._me = me
        self._presence = presence
        self._publisher = publisher
        self._missing = missing
        self._patience_seconds = patience_seconds
        self._connected_since: float | None = None
        self._patience = 1.0
        self._told = False
        self._next_ask = 0.0
        self._turns = 0

    def stretch(self, factor: float) -> None:
        """Wait `factor` times as long from now on: this node is loaded."""
        self._patience = factor

    def excuse(self, seconds: float) -> None:
        """This node listened to nobody for so long."""
        if self._connected_since is not None:
            self._connected_since += seconds

    def advance(self, reachable: frozenset[PeerId], now: float) -> list[ev.Effect]:
        """Compare who is connected with who is heard. `reachable`: members connected now. To be
        called every few seconds."""
        if not reachable:
            self._connected_since = None
        elif self._connected_since is None:
            self._connected_since = now
        if self._connected_since is None or self._presence.hears_others(now):
            was_told, self._told = self._told, False
            return [ev.Tell("info", OVER, "members are heard again")] if was_told else []
        if now - self._connected_since < self._patience_seconds * self._patience:
            return []
        if now >= self._next_ask:
            self._next_ask = now + ASK_SECONDS
            source = sorted(reachable)[self._turns % len(reachable)]
            self._turns += 1
            mine = self._publisher
            self._missing.notice(self._me, mine.epoch, mine.seqno + 1, source, now)
        if self._told:
            return []
        self._told = True
        members = "a member" if len(reachable) == 1 else f"{len(reachable)} members"
        text = (
            f"connected to {members} of the group, but nothing is heard, so this node learns alone"
            " in effect: is a copy of its home folder running elsewhere?"
        )
        return [ev.Tell("warning", KIND, text, {"members": len(reachable)})]
