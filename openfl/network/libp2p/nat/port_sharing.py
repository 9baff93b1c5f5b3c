"""Dialling from the port that this node listens on, as hole punching needs.

A router maps what leaves from one port of ours to one port of its own. Only what leaves from the
port we listen on is therefore seen outside at the address others can be told.

The port stays ours alone as far as other nodes go: the listening socket is bound without
SO_REUSEPORT, so a second node on the port gets its error. The option is set on it only while the
other socket is bound, which Linux allows. Elsewhere nothing is dialled from there. What Linux
remembers: while such a socket is open, a program of the same user that asks for SO_REUSEPORT
itself gets a share of the port.
"""

from __future__ import annotations

import socket
import sys

import trio

AVAILABLE = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")


async def dial_from_port_of(
    listener: trio.SocketListener, host: str, port: int
) -> trio.SocketStream:
    """A connection to `host` (an IP address of the listener's family) from the listener's port.

    OSError when the system does not allow it, or nobody answers. When the other side dials this
    very port from that very port at the same time, both get the same one connection (RFC 9293,
    3.5, simultaneous open).
    """
    listening = listener.socket
    dialling = trio.socket.socket(listening.family, socket.SOCK_STREAM)
    try:
        # A node that starts again must not find its port taken by what is left of this.
        dialling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dialling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listening.family == socket.AF_INET6:
            dialling.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        name = listening.getsockname()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            await dialling.bind(name)
        finally:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        await dialling.connect((host, port))
        return trio.SocketStream(dialling)
    except BaseException:
        dialling.close()
        raise
