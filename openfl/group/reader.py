"""`Reader`: what turns received bytes into checked values, for one group.

Reading is a pure function of the bytes and the charter. So it is a seam: a node reads every message
for itself; a simulation of many nodes in one process may read each message once and let all of
them share the (frozen) result.
"""

from __future__ import annotations

from typing import Protocol

from openfl.aggregation.delta import Delta
from openfl.core.contribution import Charter
from openfl.group.validation import validate_delta
from openfl.wire import messages as wire


class Reader(Protocol):
    """Each method raises a RemoteError for bytes that are not what they should be."""

    def gossip(self, payload: bytes) -> wire.GossipPayload:
        """A message on the group's topic."""
        ...

    def delta(self, body: bytes) -> Delta:
        """The body of a delta, not yet compared with the charter."""
        ...

    def validate(self, delta: Delta, charter: Charter) -> None:
        """Nothing, when the delta keeps to the charter."""
        ...


class StrictReader:
    """Reads everything anew: what a node does."""

    def gossip(self, payload: bytes) -> wire.GossipPayload:
        """A message on the group's topic; DecodeError."""
        return wire.decode_gossip(payload)

    def delta(self, body: bytes) -> Delta:
        """The body of a delta; DecodeError."""
        return wire.decode_delta(body)

    def validate(self, delta: Delta, charter: Charter) -> None:
        """InvalidContribution when the delta breaks the charter."""
        validate_delta(delta, charter)
