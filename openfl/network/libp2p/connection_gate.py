"""Who is let in before it has proved anything: bounds on visitors, by the address they come from.

A visitor is a connection that others opened. Without these bounds a single machine could take all
places of a node, or all its open files, at no cost: handshakes that never go on, or many
identities. Those we dial ourselves are not counted here: a part of all places is kept for them, so
that a node full of visitors can still choose whom it talks to.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

from openfl.network.libp2p.transport import Faults

MAX_HANDSHAKES = 32
"""Visitors that may be in their handshake at once."""
MAX_HANDSHAKES_PER_ADDRESS = 16


def origin_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)


class ConnectionGate:
    """Counts visitors. `max_connections`: all places, of which visitors get three quarters, and
    those of one address half."""

    def __init__(self, max_connections: int, faults: Faults) -> None:
        self.max_visitors = (3 * max_connections + 3) // 4
        self.max_per_address = (max_connections + 1) // 2
        self._faults = faults
        self._handshakes: Counter[str] = Counter()
        self._visitors: Counter[str] = Counter()

    def knock(self, host: str) -> Visit | None:
        """Before the handshake; None: close the socket at once. Else `Visit.end` must follow."""
        origin = origin_of(host)
        if (
            self._handshakes[origin] >= MAX_HANDSHAKES_PER_ADDRESS
            or self._handshakes.total() >= MAX_HANDSHAKES
        ):
            self._faults.count("connection-flood")
            return None
        if not self._has_place(origin):
            return None
        self._handshakes[origin] += 1
        return Visit(self, origin)

    def _has_place(self, origin: str) -> bool:
        if self._visitors[origin] >= self.max_per_address:
            self._faults.count("address-full")
            return False
        if self._visitors.total() >= self.max_visitors:
            self._faults.count("visitors-full")
            return False
        return True

    def _settle(self, origin: str) -> bool:
        if not self._has_place(origin):
            return False
        _take(self._handshakes, origin)
        self._visitors[origin] += 1
        return True

    def _end(self, origin: str, settled: bool) -> None:
        _take(self._visitors if settled else self._handshakes, origin)


class Visit:
    """One visitor, from its knock to its end."""

    def __init__(self, gate: ConnectionGate, origin: str) -> None:
        self._gate = gate
        self._origin = origin
        self._settled = False

    def settle(self) -> bool:
        """The handshake is done; False: others took the last place meanwhile, close it."""
        self._settled = self._gate._settle(self._origin)
        return self._settled

    def end(self) -> None:
        """The connection is closed; to be called once."""
        self._gate._end(self._origin, self._settled)


def _take(counter: Counter[str], origin: str) -> None:
    counter[origin] -= 1
    if counter[origin] <= 0:
        del counter[origin]
