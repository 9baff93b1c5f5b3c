"""`RequestResponse`: one question and one answer a stream, between peers that trust nothing.

Sizes and times are bounded on both sides. Whoever answers too much, or asks what is refused, is at
fault; a stream that breaks is nobody's fault.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import trio
from libp2p.io.exceptions import MessageTooLarge
from libp2p.peer.id import ID

from openfl.core.contribution import PeerId
from openfl.core.errors import RemoteError, RequestFailed
from openfl.network.base import RequestHandler
from openfl.network.libp2p.streams import StreamReader, has_ended, write_frame
from openfl.network.libp2p.swarm import HardenedHost
from openfl.network.libp2p.transport import Faults, shielded

log = logging.getLogger(__name__)

REQUEST_READ_SECONDS = 10.0
ANSWER_WRITE_SECONDS = 20.0
REQUEST_WAIT_SECONDS = 30.0
CLOSE_SECONDS = 1.0
MAX_REQUESTS_PER_PEER = 8
"""Requests of one peer that are read and answered at once; others wait, unread. Members open half
as many."""


class _ConnectionLost(RequestFailed):
    """The connection that carried the question was closed before there was an answer.
    `closed` is set when nobody will choose it any more."""

    def __init__(self, text: str, closed: trio.Event) -> None:
        super().__init__(text)
        self.closed = closed


class RequestResponse:
    """Handlers may be set before there is a host; they answer once it is attached."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._host: HardenedHost | None = None
        self._handlers: dict[str, tuple[RequestHandler, int]] = {}
        self._asking: Counter[ID] = Counter()
        self._turns: dict[ID, trio.Semaphore] = {}

    def attach(self, host: HardenedHost) -> None:
        """Ask and answer through `host` from now on."""
        self._host = host
        for protocol in self._handlers:
            self._serve(host, protocol)

    def serve(self, protocol: str, handler: RequestHandler, max_request_bytes: int) -> None:
        """Let `handler` answer what peers ask by `protocol`."""
        self._handlers[protocol] = (handler, max_request_bytes)
        if self._host is not None:
            self._serve(self._host, protocol)

    async def ask(
        self, peer_id: ID, protocol: str, payload: bytes, max_response_bytes: int
    ) -> bytes:
        """The peer's answer. RequestFailed when there is none, or it is too large.

        A question changes nothing at the peer. So it is put once more when its connection is lost
        and there is another: peers that dial each other at once have two.
        """
        try:
            return await self._ask_once(peer_id, protocol, payload, max_response_bytes)
        except _ConnectionLost as error:
            with trio.move_on_after(CLOSE_SECONDS):
                await error.closed.wait()
            if self._require_host().get_network().newest_connection(peer_id) is None:
                raise
            log.debug("%s: asked again over another connection", error)
            self._faults.count("request-asked-again")
            return await self._ask_once(peer_id, protocol, payload, max_response_bytes)

    async def _ask_once(
        self, peer_id: ID, protocol: str, payload: bytes, max_response_bytes: int
    ) -> bytes:
        async with self._request_stream(peer_id, protocol) as stream:
            await write_frame(stream, payload)
            await stream.close_write()
            answer = await StreamReader(stream).read_frame(max_response_bytes)
            await stream.close()
            return answer

    @contextlib.asynccontextmanager
    async def _request_stream(self, peer_id: ID, protocol: str) -> AsyncIterator[Any]:
        """A stream that is reset when the block fails; its errors become RequestFailed, and
        `_ConnectionLost` when not the stream alone ended."""
        stream: Any = None
        try:
            stream = await self._require_host().open_stream(peer_id, [protocol])
            yield stream
        except BaseException as error:
            if stream is not None:
                with shielded(1), contextlib.suppress(Exception):
                    await stream.reset()
            if isinstance(error, Exception):
                why = str(error) or type(error).__name__
                if "not supported" in str(error.__cause__):
                    why = "it does not speak this protocol"
                elif isinstance(error, MessageTooLarge):
                    self._faults.against(peer_id, "answer-too-large")
                    why = f"the answer is too large: {why}"
                text = f"{protocol} of {peer_id}: {why}"
                if stream is not None and stream.muxed_conn.event_shutting_down.is_set():
                    raise _ConnectionLost(text, stream.muxed_conn.event_closed) from error
                raise RequestFailed(text) from error
            raise

    def _serve(self, host: HardenedHost, protocol: str) -> None:
        async def serve(stream: Any) -> None:
            peer_id = stream.muxed_conn.peer_id
            self._asking[peer_id] += 1
            turn = self._turns.setdefault(peer_id, trio.Semaphore(MAX_REQUESTS_PER_PEER))
            try:
                with trio.fail_after(REQUEST_WAIT_SECONDS):
                    await turn.acquire()
                try:
                    await self._answer(protocol, stream)
                finally:
                    turn.release()
            finally:
                self._asking[peer_id] -= 1
                if not self._asking[peer_id]:
                    del self._asking[peer_id], self._turns[peer_id]

        host.set_stream_handler(protocol, serve)

    async def _answer(self, protocol: str, stream: Any) -> None:
        handler, max_request_bytes = self._handlers[protocol]
        peer_id = stream.muxed_conn.peer_id
        try:
            with trio.fail_after(REQUEST_READ_SECONDS):
                payload = await StreamReader(stream).read_frame(max_request_bytes)
            answer = await handler(PeerId(str(peer_id)), payload)
            with trio.fail_after(ANSWER_WRITE_SECONDS):
                await write_frame(stream, answer)
                await stream.close()
            return
        except MessageTooLarge:
            self._faults.against(peer_id, "request-too-large")
        except RemoteError as error:
            log.debug("%s of %s refused: %s", protocol, peer_id, error)
            self._faults.against(peer_id, "request-refused")
        except Exception as error:
            if has_ended(error):
                log.debug("%s of %s: %r", protocol, peer_id, error)
                self._faults.count("request-broken")
            else:
                log.exception("the handler of %s failed", protocol)
                self._faults.count("request-handler-bug")
        with shielded(1), contextlib.suppress(Exception):
            await stream.reset()

    def _require_host(self) -> HardenedHost:
        if self._host is None:
            raise RuntimeError("the network has not started")
        return self._host
