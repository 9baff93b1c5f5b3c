"""`HardenedYamux`: one connection, many streams (Yamux), against peers that do their worst.

Each override says which of the `defects` of py-libp2p it works around. Specification:
https://github.com/hashicorp/yamux/blob/master/spec.md.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakSet

import trio
from libp2p.connection_types import ConnectionType
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.exceptions import RawConnError
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    HEADER_SIZE,
    MAX_WINDOW_SIZE,
    TYPE_DATA,
    TYPE_GO_AWAY,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    Yamux,
)
from multiaddr import Multiaddr

from openfl.network.libp2p.muxed_stream import (
    FRAME_HEADER,
    HardenedYamuxStream,
    frame_header,
    reset_frame,
)
from openfl.network.libp2p.patience import comes
from openfl.network.libp2p.transport import Faults, shielded, take

log = logging.getLogger(__name__)

FRAME_WRITE_TIMEOUT_SECONDS = 10.0
FRAME_READ_TIMEOUT_SECONDS = 60.0
"""For the rest of a frame whose header has come."""
KEEPALIVE_INTERVAL_SECONDS = 5.0
"""After 20 s of silence at the latest a connection is given up. TCP tries ever less often: what was
silent for 13 s may otherwise stay so for 13 more after the network is back."""
KEEPALIVE_TIMEOUT_SECONDS = 15.0
MEASURE_INTERVAL_SECONDS = 60.0
"""How often the round trip is measured, by which a stream's window grows."""
MAX_BUFFERED_BYTES_PER_CONNECTION = 24 * 1024 * 1024
MAX_BUFFERED_BYTES = 96 * 1024 * 1024
"""Of all connections together: received, but not yet read by whoever handles the streams."""
COUNT_BUFFERED_EVERY_BYTES = 1024 * 1024


class _Ended(Exception):
    """Nothing more is to be read of this connection; the text says why, for the log."""


class HardenedYamux(Yamux):  # type: ignore[misc]
    """A multiplexed connection that no peer can crash, fill or leave hanging."""

    _rtt: float
    """Seconds; 0 until it was measured."""

    def __init__(
        self,
        *arguments: Any,
        faults: Faults,
        others: WeakSet[HardenedYamux] | None = None,
        **keywords: Any,
    ) -> None:
        """`others`: all open connections of this node; this one is added to them."""
        super().__init__(*arguments, **keywords)
        self.buffered = 0
        """Bytes received and not read, as of the last count."""
        self._faults = faults
        self.circuit: Multiaddr | None = None
        """The address of the circuit this connection runs over; None when it is direct."""
        self.punched = False
        """Made by hole punching: nobody can dial the address it goes to."""
        self._heard = 0
        """How often anything was received, as a sign of life; `_heard_at`: when, the last time."""
        self._uncounted = 0
        self._heard_at = trio.current_time()
        self._owed: list[bytes] = []
        """Frames that must be written, and wait for the next one that is."""
        self._ahead = b""
        """Read from the connection, not yet taken; `_taken` bytes of it are."""
        self._taken = 0
        self._all = others if others is not None else WeakSet()
        self._all.add(self)

    def get_connection_type(self) -> ConnectionType:
        """Defect connection-type."""
        return ConnectionType.DIRECT if self.circuit is None else ConnectionType.RELAYED

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The address of the circuit, or those of the connection."""
        if self.circuit is not None:
            return [self.circuit]
        addresses: list[Multiaddr] = super().get_transport_addresses()
        return addresses

    async def start(self) -> None:
        """Defect muxer-crash."""
        try:
            await super().start()
        except Exception as error:
            log.debug("connection to %s failed: %r", self.peer_id, error)
            self._faults.count("connection-crashed")
            await self._cleanup_on_error()

    # Sending

    async def _write_frame(self, data: bytes) -> None:
        # Defect cancelled-write. A frame is written whole or the connection is closed.
        await take(self._write_lock)
        try:
            data = self._collect_owed() + data
            if data:
                await self._write_whole(data)
        finally:
            self._write_lock.release()
        await trio.lowlevel.checkpoint_if_cancelled()

    def owe(self, frame: bytes) -> None:
        """Write `frame` before the next one, whoever writes that."""
        self._owed.append(frame)

    async def write_owed(self) -> None:
        """Write what is owed now, unless somebody else has done so."""
        if self._owed:
            await self._write_frame(b"")

    def _collect_owed(self) -> bytes:
        owed = b"".join(self._owed)
        self._owed.clear()
        return owed

    async def _write_whole(self, data: bytes) -> None:
        with trio.CancelScope(
            shield=True, deadline=trio.current_time() + FRAME_WRITE_TIMEOUT_SECONDS
        ) as scope:
            await self._send(data)
        if scope.cancelled_caught:
            with shielded(1):
                await self.secured_conn.close()
            raise RawConnError("the peer does not read")

    async def _send(self, data: bytes) -> None:
        try:
            await self.secured_conn.write(data)
        except BaseLibp2pError:
            raise
        except Exception as error:  # TLS, noise and trio each have their own
            raise RawConnError(f"the connection is broken: {error!r}") from error

    async def open_stream(self) -> HardenedYamuxStream:
        """A new stream; MuxedStreamError when the connection is closed."""
        await self.stream_backlog_semaphore.acquire()
        stream = HardenedYamuxStream(self.next_stream_id, self, True)
        try:
            if self.event_shutting_down.is_set():
                raise MuxedStreamError("the connection is shutting down")
            self.next_stream_id += 2
            stream._owns_backlog_slot = True
            self._list(stream)
            await self._write_frame(frame_header(TYPE_WINDOW_UPDATE, FLAG_SYN, stream.stream_id, 0))
            return stream
        except BaseException as error:
            if isinstance(error, trio.Cancelled):
                self.owe(reset_frame(stream.stream_id))  # the peer may know of it already
            stream.closed = stream._owns_backlog_slot = True
            self.stream_buffers.pop(stream.stream_id, None)
            self._finalize_stream_locked(stream, fully_closed=True)
            if isinstance(error, Exception) and not isinstance(error, MuxedStreamError):
                raise MuxedStreamError(f"the stream could not be opened: {error}") from error
            raise

    def _list(self, stream: HardenedYamuxStream) -> None:
        self.streams[stream.stream_id] = stream
        self.stream_buffers[stream.stream_id] = bytearray()
        self.stream_events[stream.stream_id] = trio.Event()

    # Receiving

    async def handle_incoming(self) -> None:
        """Read frames until the connection ends, then clean up. Defects frame-overhead and
        flags-beside-ack."""
        try:
            while not self.event_shutting_down.is_set():
                header = await self._exactly(HEADER_SIZE)
                _, kind, flags, stream_id, length = FRAME_HEADER.unpack(header)
                if kind == TYPE_DATA:
                    await self._take_data(flags, stream_id, length)
                elif kind == TYPE_WINDOW_UPDATE:
                    await self._take_flags(flags, stream_id, length, b"")
                elif kind == TYPE_PING:
                    await self._take_ping(flags, length)
                elif kind == TYPE_GO_AWAY:
                    raise _Ended(f"the peer said so, with code {length}")
                else:
                    self._faults.against(self.peer_id, "frame-malformed")
                    raise _Ended("a frame of no known kind")
        except (_Ended, BaseLibp2pError, trio.ClosedResourceError, trio.BrokenResourceError) as why:
            log.debug("connection to %s ended: %r", self.peer_id, why)
        await self._cleanup_on_error()

    async def _exactly(self, count: int) -> bytes:
        """So many bytes; `_Ended` when the connection ends before."""
        end = self._taken + count
        if end > len(self._ahead):
            pieces = [self._ahead[self._taken :]]
            missing = end - len(self._ahead)
            while missing > 0:
                piece = await self._receive()
                pieces.append(piece)
                missing -= len(piece)
            self._ahead, self._taken, end = b"".join(pieces), 0, count
        data = self._ahead[self._taken : end]
        self._taken = end
        return data

    async def _receive(self) -> bytes:
        try:
            piece: bytes = await self.secured_conn.read()
        except Exception as error:  # whatever was made of what a stranger sent
            raise _Ended(repr(error)) from error
        if not piece:
            raise _Ended("the connection was closed")
        self._heard += 1
        self._heard_at = trio.current_time()
        return piece

    async def _take_data(self, flags: int, stream_id: int, length: int) -> None:
        if length > MAX_WINDOW_SIZE:
            self._faults.against(self.peer_id, "frame-malformed")
            raise _Ended(f"a frame of {length} bytes")
        self._bound_what_is_buffered(length)
        if length <= len(self._ahead) - self._taken:
            body = await self._exactly(length)
        else:
            with trio.move_on_after(FRAME_READ_TIMEOUT_SECONDS) as waiting:
                body = await self._exactly(length)
            if waiting.cancelled_caught:
                raise _Ended("the rest of a frame does not come")
        await self._take_flags(flags, stream_id, 0, body)

    def _bound_what_is_buffered(self, length: int) -> None:
        # Defect window-ignored.
        self._uncounted += length
        if self._uncounted < COUNT_BUFFERED_EVERY_BYTES:
            return
        self._uncounted = 0
        self.buffered = length + sum(map(len, self.stream_buffers.values()))
        together = sum(c.buffered for c in self._all if not c.event_shutting_down.is_set())
        if self.buffered > MAX_BUFFERED_BYTES_PER_CONNECTION or (
            together > MAX_BUFFERED_BYTES and self.buffered > together // len(self._all)
        ):
            self.buffered = 0
            self._faults.against(self.peer_id, "window-exceeded")
            raise _Ended("the peer ignores flow control")

    async def _take_flags(self, flags: int, stream_id: int, increment: int, body: bytes) -> None:
        """What a frame with data or with room in its window says of its stream."""
        stream = self.streams.get(stream_id)
        opened = bool(flags & FLAG_SYN)
        if opened:
            if stream is not None:
                await self._write_frame(reset_frame(stream_id))
                return
            stream = HardenedYamuxStream(stream_id, self, False)
            self._list(stream)
        if stream is None:
            return  # it was given up here while this was on its way
        if increment:
            stream.open_window(increment)
        if body:
            stream.receive(body)
        if flags & FLAG_FIN:
            stream.recv_closed = True
            if stream.send_closed:
                stream.closed = True
        if flags & FLAG_RST:
            stream.reset_received = True
            stream.closed = True
        if body or flags & (FLAG_FIN | FLAG_RST):
            self.stream_events[stream_id].set()
        if stream.closed:
            self._finalize_stream_locked(stream, fully_closed=True)
        if opened:
            if not flags & FLAG_RST:
                await self._write_frame(frame_header(TYPE_WINDOW_UPDATE, FLAG_ACK, stream_id, 0))
            await self.new_stream_send_channel.send(stream)

    async def _take_ping(self, flags: int, number: int) -> None:
        if flags & FLAG_SYN:
            await self._write_frame(frame_header(TYPE_PING, FLAG_ACK, 0, number))
        elif flags & FLAG_ACK:
            seconds = trio.current_time() - self._ping_sent_time
            self._rtt = seconds if self._rtt == 0.0 else (self._rtt + seconds) / 2
            self._ping_event.set()

    async def _measure_rtt_loop(self) -> None:
        # Defect silent-peer. Whoever says anything is there: only a silent peer is asked.
        number = 0
        await trio.sleep(0.5)
        while not self.event_shutting_down.is_set():
            number += 1
            self._ping_id = number & 0xFFFFFFFF
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            try:
                await self._write_frame(frame_header(TYPE_PING, FLAG_SYN, 0, self._ping_id))
            except Exception:
                return  # the reader notices and cleans up
            # Between overloaded nodes the answer may wait behind much else, which is as good.
            answers = await comes(self._ping_event, KEEPALIVE_TIMEOUT_SECONDS, lambda: self._heard)
            if not answers and not self.event_shutting_down.is_set():
                self._faults.count("peer-silent")
                await self._cleanup_on_error()
                return
            await self._until_silent()

    async def _until_silent(self) -> None:
        """Return when the peer has said nothing for `KEEPALIVE_INTERVAL_SECONDS`, when the way to
        it is to be measured anew, or when the connection ends."""
        measure_at = trio.current_time() + MEASURE_INTERVAL_SECONDS
        while not self.event_shutting_down.is_set():
            ask_at = min(self._heard_at + KEEPALIVE_INTERVAL_SECONDS, measure_at)
            if trio.current_time() >= ask_at:
                return
            with trio.move_on_at(ask_at):
                await self.event_shutting_down.wait()
