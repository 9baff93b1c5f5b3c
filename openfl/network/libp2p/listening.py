"""Taking the ports to listen on, before anything else of the network starts.

A port that cannot be had is the owner's to mend, so the error says what to do.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import trio
from multiaddr import Multiaddr

from openfl.core.errors import NetworkError
from openfl.network.libp2p.transport import describe_os_error

LISTEN_BACKLOG = 128

Bound = tuple[Multiaddr, list[trio.SocketListener]]
"""An address with the port that was taken, and what listens there."""


async def bind(addresses: Sequence[tuple[int, str, int]]) -> list[Bound]:
    """Listeners at each (IP version, host, port); port 0 takes a free one. NetworkError when any of
    them cannot be had; then none is kept."""
    bound: list[Bound] = []
    try:
        for version, host, port in addresses:
            listeners = list(await trio.open_tcp_listeners(port, host=host, backlog=LISTEN_BACKLOG))
            taken = listeners[0].socket.getsockname()[1]
            bound.append((Multiaddr(f"/ip{version}/{host}/tcp/{taken}"), listeners))
    except OSError as error:
        for _, listeners in bound:
            for listener in listeners:
                await listener.aclose()
        raise _listen_failed(f"/ip{version}/{host}/tcp/{port}", error) from error
    return bound


def _listen_failed(address: str, error: OSError) -> NetworkError:
    if error.errno == errno.EADDRINUSE:
        return NetworkError(
            f"cannot listen on {address}: the port is in use, perhaps by another node; "
            "stop it, or choose another port (0 takes a free one)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"cannot listen on {address}: this machine has no such address")
    if error.errno in (errno.EACCES, errno.EPERM):
        return NetworkError(
            f"cannot listen on {address}: not permitted (ports below 1024 need privileges)"
        )
    return NetworkError(f"cannot listen on {address}: {describe_os_error(error)}")
