"""Access at the level of connections: the pre-shared key under the secure channel."""

from __future__ import annotations

import os
from typing import Any

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection

from openfl.network.libp2p.private_network import NONCE_BYTES, XSalsa20


class ProtectedStream(ReadWriteCloser):  # type: ignore[misc]
    """All bytes of a connection under the private network's key, the first ones included.

    Whoever lacks the key reads noise and says noise, so that even the protocols a node speaks stay
    unknown to it. Why not py-libp2p's own: see `openfl.network.libp2p.private_network`.
    """

    def __init__(self, stream: Any, key: bytes) -> None:
        self._stream = stream
        self._key = key
        self._reading: XSalsa20 | None = None
        self._writing: XSalsa20 | None = None
        self._write_lock = trio.Lock()

    async def write(self, data: bytes) -> None:
        """Encrypt and send; the nonce goes first."""
        async with self._write_lock:  # the position in the key stream is that on the wire
            head = b""
            if self._writing is None:
                head = os.urandom(NONCE_BYTES)
                self._writing = XSalsa20(self._key, head)
            await self._stream.write(head + self._writing.apply(data))

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes, decrypted; RawConnError when the connection ends inside the nonce."""
        if self._reading is None:
            nonce = b""
            while len(nonce) < NONCE_BYTES:
                more = await self._stream.read(NONCE_BYTES - len(nonce))
                if not more:
                    raise RawConnError("the connection ended inside the nonce")
                nonce += more
            self._reading = XSalsa20(self._key, nonce)
        return self._reading.apply(await self._stream.read(n))

    async def close(self) -> None:
        """Close the connection below."""
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """(IP address, port) of the other side."""
        address: tuple[str, int] | None = self._stream.get_remote_address()
        return address


def protect(raw: RawConnection, key: bytes | None) -> RawConnection:
    """`raw` under `key`; `raw` itself when the network is not private."""
    if key is None:
        return raw
    return RawConnection(
        ProtectedStream(raw.stream, key),
        raw.is_initiator,
        raw._connection_type,
        raw._actual_addresses,
    )
