"""Reading and writing frames on libp2p streams, with bounds.

Defect small-reads: `StreamReader` reads what is there and keeps the rest.
"""

from __future__ import annotations

import struct
from typing import Any

import trio
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import IncompleteReadError, MessageTooLarge
from libp2p.network.stream.exceptions import StreamEOF

_LENGTH = struct.Struct(">I")
_READ_BYTES = 64 * 1024


def has_ended(error: Exception) -> bool:
    """Whether an error of a stream's handler says that the stream, or the connection, is broken or
    too slow; every other is a bug of ours."""
    return isinstance(error, trio.TooSlowError) or type(error).__module__.startswith("libp2p.")


class StreamReader:
    """Reads frames of one stream; what was read ahead is kept for the next."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._ended = False

    async def _more(self) -> bool:
        if self._ended:
            return False
        try:
            data = await self._stream.read(_READ_BYTES)
        except StreamEOF:
            data = b""
        if not data:
            self._ended = True
            return False
        self._buffer += data
        return True

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise IncompleteReadError(
                    "the stream ended inside a frame",
                    expected_bytes=count,
                    received_bytes=len(self._buffer),
                )
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def read_some(self, n: int | None = None) -> bytes:
        """At least one byte and at most `n`, what was read ahead first; empty at the end."""
        if n == 0 or (not self._buffer and not await self._more()):
            return b""
        taken = len(self._buffer) if n is None else n
        data = bytes(self._buffer[:taken])
        del self._buffer[:taken]
        return data

    async def read_varint_frame(self, max_bytes: int) -> bytes | None:
        """One frame with an unsigned-varint length (pubsub); None at a clean end of the stream.

        ParseError, MessageTooLarge, IncompleteReadError, or the stream's own errors.
        """
        length = shift = index = 0
        while True:
            while len(self._buffer) <= index:
                if not await self._more():
                    if index == 0:
                        return None
                    raise IncompleteReadError("the stream ended inside a length prefix")
            byte = self._buffer[index]
            length |= (byte & 0x7F) << shift
            index += 1
            shift += 7
            if byte < 0x80:
                break
            if index >= 5:
                raise ParseError("length prefix of more than 5 bytes")
        if length > max_bytes:
            raise MessageTooLarge(f"frame of {length} bytes, allowed are {max_bytes}")
        del self._buffer[:index]
        return await self._exactly(length)

    async def read_frame(self, max_bytes: int) -> bytes:
        """One frame with a 4-byte big-endian length (our requests and answers)."""
        (length,) = _LENGTH.unpack(await self._exactly(_LENGTH.size))
        if length > max_bytes:
            raise MessageTooLarge(f"frame of {length} bytes, allowed are {max_bytes}")
        return await self._exactly(length)


async def write_frame(stream: Any, payload: bytes) -> None:
    """Write one frame with a 4-byte big-endian length."""
    await stream.write(_LENGTH.pack(len(payload)) + payload)
