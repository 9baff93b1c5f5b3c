"""One connection: HTTP/1.1 by h11, one request after the other, each answered by an ASGI
application.

Nothing else is offered, neither HTTP/2 nor WebSocket: whoever asks for them is answered in
HTTP/1.1, as the standard has it. An application is given, beside what ASGI has, `openfl.lasting` in
its scope: called, it lifts the bound on how long its answer may take, for streams.
"""

from __future__ import annotations

import json
import math
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import h11
import trio

from openfl.app.http.guard import App

RECEIVE_BYTES = 16 * 1024
MAX_UNREAD_BYTES = 64 * 1024
"""Of a body that nobody wants: read to its end, so that the answer is not lost. Beyond, it is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """idle: seconds until the head of a request must be here; answer: for an answer to be out;
    connection: for all that comes on one. head_bytes: of a request."""

    idle: float
    answer: float
    connection: float
    head_bytes: int


async def answer(app: App, stream: trio.abc.Stream, scheme: str, bounds: Bounds) -> None:
    """Answer what comes on `stream` until it is closed, or its time is over; the caller closes it.
    trio.BrokenResourceError and the like: the client went away."""
    with trio.move_on_after(bounds.connection) as scope:
        connection = _Connection(app, stream, scheme, bounds, scope)
        while await connection.one_request():
            pass


class _Connection:
    def __init__(
        self,
        app: App,
        stream: trio.abc.Stream,
        scheme: str,
        bounds: Bounds,
        scope: trio.CancelScope,
    ) -> None:
        self._app = app
        self._stream = stream
        self._scheme = scheme
        self._bounds = bounds
        self._scope = scope
        self._link = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.head_bytes)
        self._head: h11.Response | None = None
        """Of an answer, until the beginning of its body is there to go with it."""

    async def one_request(self) -> bool:
        """Whether another may follow."""
        try:
            request = None
            with trio.move_on_after(self._bounds.idle):
                request = await self._next_event()
            if not isinstance(request, h11.Request):
                return False
            if request.http_version not in (b"1.0", b"1.1"):
                await self._refuse(505)
                return False
            with trio.move_on_after(self._bounds.answer) as limit:
                await self._answered(request, limit)
                await self._rest_read()
            if limit.cancelled_caught or self._link.our_state is not h11.DONE:
                return False
            if self._link.their_state is not h11.DONE:
                return False
            self._link.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        return True

    async def _next_event(self) -> Any:
        while (event := self._link.next_event()) is h11.NEED_DATA:
            if self._link.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._link.receive_data(await self._stream.receive_some(RECEIVE_BYTES))
        return event

    async def _answered(self, request: h11.Request, limit: trio.CancelScope) -> None:
        path, _, query = request.target.partition(b"?")

        def lasting() -> None:
            limit.deadline = self._scope.deadline = math.inf

        scope = {
            "type": "http",
            "method": request.method.decode("ascii"),
            "scheme": self._scheme,
            "path": unquote(path.decode("ascii", errors="replace")),
            "query_string": query,
            "headers": list(request.headers),
            "openfl.lasting": lasting,
        }
        with_body = request.method != b"HEAD"

        async def send(message: MutableMapping[str, Any]) -> None:
            await self._send_message(message, with_body)

        await self._app(scope, self._receive, send)

    async def _receive(self) -> MutableMapping[str, Any]:
        event: Any = None
        try:
            with trio.move_on_after(self._bounds.idle):
                event = await self._next_event()
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def _send_message(self, message: MutableMapping[str, Any], with_body: bool) -> None:
        if message["type"] == "http.response.start":
            self._head = h11.Response(
                status_code=message["status"], headers=list(message["headers"])
            )
            return
        events: list[h11.Event] = []
        if self._head is not None:
            events.append(self._head)
            self._head = None
        if message.get("body") and with_body:
            events.append(h11.Data(data=message["body"]))
        if not message.get("more_body"):
            events.append(h11.EndOfMessage())
        await self._send(*events)

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.send_all(b"".join(self._link.send(event) or b"" for event in events))

    async def _rest_read(self) -> None:
        unread = 0
        while self._link.their_state is h11.SEND_BODY and unread <= MAX_UNREAD_BYTES:
            event = await self._next_event()
            if not isinstance(event, h11.Data):
                return
            unread += len(event.data)

    async def _refuse(self, status: int) -> None:
        if self._link.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = json.dumps({"error": "this is no request of HTTP/1.1"}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        headers.append(("connection", "close"))
        with trio.move_on_after(self._bounds.idle):
            await self._send(
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
