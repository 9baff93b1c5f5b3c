"""Circuits: connections that run inside a stream of a relay (libp2p circuit relay v2).

What dialler, dialled and relay share: reading and writing the protocol's messages, the stream that
stands for a socket, and telling such connections from direct ones. Specification: libp2p specs,
relay/circuit-v2.md. py-libp2p has an implementation of its own, of which only the protobuf
messages are used here; docs/reachability.md says why.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import DecodeError as ProtobufError
from libp2p.connection_types import ConnectionType
from libp2p.exceptions import ParseError
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IncompleteReadError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.exceptions import StreamError
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, StopMessage
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.network.libp2p.streams import StreamReader

HOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/hop"
STOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/stop"
MAX_MESSAGE_BYTES = 4096
"""As the specification bounds them."""

Message = TypeVar("Message", HopMessage, StopMessage)


async def read_message(reader: StreamReader, kind: type[Message]) -> Message:
    """One message; ParseError when it is malformed, IncompleteReadError when there is none."""
    frame = await reader.read_varint_frame(MAX_MESSAGE_BYTES)
    if frame is None:
        raise IncompleteReadError("the stream ended before a message")
    message = kind()
    try:
        message.ParseFromString(frame)
    except ProtobufError as error:
        raise ParseError("not a message of the relay protocol") from error
    return message


async def write_message(stream: Any, message: HopMessage | StopMessage) -> None:
    """Send one message of the relay protocol."""
    await stream.write(encode_varint_prefixed(message.SerializeToString()))


class CircuitStream(ReadWriteCloser):  # type: ignore[misc]
    """A relay's stream in the place of a socket. `reader` may hold bytes read ahead already."""

    def __init__(self, stream: Any, reader: StreamReader) -> None:
        self._stream = stream
        self._reader = reader

    async def write(self, data: bytes) -> None:
        """Send over the relay."""
        await self._stream.write(data)

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes, those read ahead first; empty at the end."""
        return await self._reader.read_some(n)

    async def close(self) -> None:
        """Close the circuit."""
        await self._stream.close()

    async def reset(self) -> None:
        """End the circuit at once."""
        await self._stream.reset()

    def get_remote_address(self) -> tuple[str, int] | None:
        """None: the relay's address is not the peer's."""
        return None


def circuit_connection(
    stream: Any, reader: StreamReader, initiator: bool, address: str
) -> RawConnection:
    """The raw connection to upgrade; `address` is the circuit's, ending in /p2p-circuit."""
    return RawConnection(
        CircuitStream(stream, reader),
        initiator,
        ConnectionType.RELAYED,
        [Multiaddr(address)],
    )


def is_relayed(connection: Any) -> bool:
    """Whether a (swarm or muxed) connection runs over a relay."""
    return bool(connection.get_connection_type() == ConnectionType.RELAYED)


STREAM_ERRORS = (ParseError, IncompleteReadError, StreamError, MuxedStreamError)
"""What reading and writing a relay's streams may raise, by the other side's fault or absence."""
