"""`HardenedYamuxStream`: one stream of a Yamux connection, and how much its peer may send on it.

Specification: https://github.com/hashicorp/yamux/blob/master/spec.md.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_RST,
    HEADER_SIZE,
    MAX_WINDOW_SIZE,
    TYPE_DATA,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    YamuxStream,
)

FRAME_HEADER = struct.Struct(YAMUX_HEADER_FORMAT)
MAX_FRAME_BYTES = MAX_PLAINTEXT_LENGTH - HEADER_SIZE
"""Of data in one frame, so that frame and header fit one Noise message."""
WINDOW_WAIT_SECONDS = 15.0
"""How long a peer may leave what was sent to it unread before a write fails."""
SAME_EPOCH_ROUND_TRIPS = 4
"""A window that is used up faster than this is too small for the way (as in go-yamux)."""


def frame_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The 12 bytes that begin a frame of version 0."""
    return FRAME_HEADER.pack(0, kind, flags, stream_id, length)


def reset_frame(stream_id: int) -> bytes:
    """The frame that breaks a stream off."""
    return frame_header(TYPE_WINDOW_UPDATE, FLAG_RST, stream_id, 0)


class HardenedYamuxStream(YamuxStream):  # type: ignore[misc]
    """A stream that tells its peer of room in its window only when there is much.

    `recv_window` is what the peer may still send, as it was told; `target_recv_window` what it may
    have under way and unread here at most.
    """

    send_window: int
    recv_window: int
    target_recv_window: int

    def __init__(self, stream_id: int, conn: Any, is_initiator: bool) -> None:
        self._closed = False
        self._room = trio.Event()
        super().__init__(stream_id, conn, is_initiator)
        self.epoch_start = trio.current_time()

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent or received any more, whoever ended it."""
        return self._closed

    @closed.setter
    def closed(self, value: bool) -> None:
        self._closed = value
        if value:
            self._room.set()  # whoever waits to write learns that it is in vain

    # Sending

    def open_window(self, increment: int) -> None:
        """The peer has room for so many bytes more."""
        self.send_window += increment
        if self.send_window > 0:
            self._room.set()

    async def write(self, data: bytes) -> None:
        """Send all of it, as the peer has room; MuxedStreamError when it has none for too long, or
        the stream is closed. Defect full-frames."""
        if self.send_closed:
            raise MuxedStreamError("the stream is closed for sending")
        rest = memoryview(data)
        while rest:
            if self.send_window <= 0:
                await self._wait_for_room()
            if self.send_closed or self.closed:
                raise MuxedStreamError("the stream was closed while it was written to")
            part = rest[: min(self.send_window, MAX_FRAME_BYTES)]
            if not part:
                continue  # somebody else has used the room
            self.send_window -= len(part)
            header = frame_header(TYPE_DATA, 0, self.stream_id, len(part))
            await self.conn._write_frame(header + part)
            rest = rest[len(part) :]

    async def _wait_for_room(self) -> None:
        with trio.move_on_after(WINDOW_WAIT_SECONDS) as waiting:
            while self.send_window <= 0 and not self.closed:
                if self._room.is_set():
                    self._room = trio.Event()
                await self._room.wait()
        if waiting.cancelled_caught:
            raise MuxedStreamError("the peer does not read what is sent to it")

    # Receiving

    async def read(self, n: int | None = -1) -> bytes:
        """At least one byte and at most `n` (all there is: None or -1); MuxedStreamEOF when there
        will be none, MuxedStreamReset when the peer broke it off.

        Defect window-updates. As in hashicorp/yamux, go-yamux and js-libp2p, the peer is told of
        room when that is half of the window.
        """
        conn = self.conn
        waited = False
        while not (buffer := conn.stream_buffers.get(self.stream_id)):
            if self.reset_received:
                raise MuxedStreamReset("the stream was reset")
            if buffer is None or self.recv_closed or conn.event_shutting_down.is_set():
                raise MuxedStreamEOF("the stream is closed for receiving")
            await conn.stream_events[self.stream_id].wait()
            waited = True
            if self.stream_id in conn.stream_events:
                conn.stream_events[self.stream_id] = trio.Event()
        if self.reset_received and not self.recv_closed:
            raise MuxedStreamReset("the stream was reset")
        # Before anything is taken: who is cancelled here loses nothing.
        wanted = len(buffer) if n is None or n < 0 else min(n, len(buffer))
        increment = self.room_to_tell(len(buffer) - wanted)
        if increment:
            await self._tell_room(increment)
        elif not waited:
            await trio.lowlevel.checkpoint()
        data = bytes(buffer[:wanted])
        del buffer[:wanted]
        if self.closed and not buffer:
            conn._finalize_stream_locked(self, fully_closed=True)
        return data

    def room_to_tell(self, unread: int) -> int:
        """By how many bytes the peer's window is to be opened now, when `unread` bytes stay here; 0
        while that is not worth a frame. It is taken for told.

        A window that was used up within a few round trips is doubled, as in go-yamux.
        """
        if self.recv_closed:
            return 0
        room: int = self.target_recv_window - self.recv_window - unread
        if room < self.target_recv_window // 2:
            return 0
        now = trio.current_time()
        if now - self.epoch_start < SAME_EPOCH_ROUND_TRIPS * self._effective_rtt():
            larger = min(2 * self.target_recv_window, MAX_WINDOW_SIZE)
            room += larger - self.target_recv_window
            self.target_recv_window = larger
        self.epoch_start = now
        self.recv_window += room
        return room

    async def _tell_room(self, increment: int) -> None:
        frame = frame_header(TYPE_WINDOW_UPDATE, 0, self.stream_id, increment)
        with contextlib.suppress(BaseLibp2pError):
            # What has arrived can be read though the connection is gone.
            await self.conn._write_frame(frame)

    def receive(self, body: bytes) -> None:
        """Keep what arrived for whoever reads."""
        self.conn.stream_buffers[self.stream_id].extend(body)
        self.recv_window = max(0, self.recv_window - len(body))

    # Ending

    async def reset(self) -> None:
        """Break the stream off. The peer learns of it with the next frame that is written, if not
        at once. Defect reset-lost."""
        if not self.closed:
            self.closed = self.send_closed = self.recv_closed = self.reset_received = True
            event = self.conn.stream_events.get(self.stream_id)
            self.conn.stream_buffers.pop(self.stream_id, None)
            self.conn.owe(reset_frame(self.stream_id))
            if event is not None:
                event.set()
        self.conn._finalize_stream_locked(self, fully_closed=True)
        with contextlib.suppress(BaseLibp2pError):
            await self.conn.write_owed()
