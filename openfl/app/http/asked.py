"""A request and an answer, as far as what is asked here needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from openfl.app.http.guard import Receive, Scope, Send


class ClientGone(Exception):
    """Whoever asked is not there for the answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One that `Guard` has let through. parameters: in the order in which they came; one may come
    more than once."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    authorization: str
    receive: Receive
    scope: Scope

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        """What an ASGI server hands over."""
        given = [v for name, v in scope["headers"] if bytes(name).lower() == b"authorization"]
        query = bytes(scope["query_string"]).decode("latin-1")
        return cls(
            scope["method"],
            scope["path"],
            tuple(parse_qsl(query, keep_blank_values=True)),
            bytes(given[0]).decode("latin-1") if len(given) == 1 else "",
            receive,
            scope,
        )

    async def body(self) -> bytes:
        """All of it; `Guard` has seen how long it is. ClientGone: it does not come."""
        body, more = b"", True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body


@dataclass(frozen=True, slots=True)
class Answer:
    """status, headers and the whole body of an answer."""

    status: int
    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send) -> None:
        """As ASGI has it."""
        await send(start(self.status, self.media_type, self.headers, len(self.body)))
        await send({"type": "http.response.body", "body": self.body})


def start(
    status: int, media_type: str, headers: Mapping[str, str], length: int | None = None
) -> dict[str, Any]:
    """The message that begins an answer. length: of its body; None where that has no end yet."""
    named = {"content-type": media_type, **headers}
    if length is not None:
        named["content-length"] = str(length)
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """`value` as JSON."""
    # ASCII, so that half a surrogate pair in a name is written like any other character.
    body = json.dumps(value, allow_nan=False).encode()
    return Answer(status, body, "application/json", headers or {})
