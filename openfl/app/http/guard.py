"""What is refused before anybody looks at what was asked: requests that web pages made, of a form
that no client needs, or larger than any question.

A page in the owner's browser can send requests to this machine, too. It cannot read the answers,
for there is no CORS here, nor know the token. It is turned away all the same, by three marks: an
`Origin`; `Sec-Fetch-Site`; and, should its own name resolve to this machine (DNS rebinding), a
`Host` that is not ours. The one page that is answered is the node's own; the empty shell of it may
also be gone to from anywhere, by a link.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_QUERY_BYTES = 4096
MAX_PATH_CHARS = 256
METHODS = ("GET", "HEAD")
FORM_METHOD, FORM_PATHS, MAX_FORM_BYTES = "POST", "/rest/", MAX_QUERY_BYTES
"""Many OpenSubsonic clients send their parameters as a form, which keeps them out of addresses."""
OWN_PAGES = (b"none", b"same-origin")
"""`Sec-Fetch-Site` of what a person typed, or of the node's page."""
PAGE_PATHS = frozenset(
    ("/", "/page.js", "/page.css", "/api/page", "/api/course", "/api/stream", "/api/recommend")
)
"""What the node's own page asks for, with its own `Origin` where a browser sends one."""

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """An ASGI application around another. hosts: what `Host` may be, in lower case; None: anything,
    because a certificate says whom the client talks to."""

    def __init__(self, app: App, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # no lifespan: there is nothing to begin or to end
        refusal = self.refusal(scope)
        if refusal is not None:
            await _refuse(*refusal, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                own = {name for name, _ in given}
                more = [(name, value) for name, value in HEADERS if name not in own]
                message["headers"] = [*given, *more]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """(status, why) of a request that nobody will look at; None when it is fine."""
        named: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            named.setdefault(bytes(name).lower(), []).append(bytes(value))
        form = scope["method"] == FORM_METHOD and scope["path"].startswith(FORM_PATHS)
        if scope["method"] not in METHODS and not form:
            return 405, f"only {' and '.join(METHODS)} are answered here"
        hosts = named.get(b"host", [])
        if len(hosts) != 1:
            return 400, "a request has one Host"
        host = hosts[0].decode("latin-1").lower()
        if self._hosts is not None and host not in self._hosts:
            return 421, "this is not the Host that was asked for; use the address of http.listen"
        if not (self._own_page(scope, named, host) or _is_followed_link(scope, named)):
            return 403, "other web pages are not answered"
        lengths = named.get(b"content-length", [])
        most = MAX_FORM_BYTES if form else 0
        if b"transfer-encoding" in named or any(_number(length) > most for length in lengths):
            return 413, f"a request has at most {most} bytes of body here"
        if len(scope["query_string"]) > MAX_QUERY_BYTES or len(scope["path"]) > MAX_PATH_CHARS:
            return 414, f"a request has at most {MAX_QUERY_BYTES} bytes of parameters"
        return None

    def _own_page(self, scope: Scope, named: Mapping[bytes, list[bytes]], host: str) -> bool:
        """Whether it comes from no page, or from the node's own, asking for what that needs."""
        origins = named.get(b"origin", [])
        if origins:
            own = f"{scope.get('scheme', 'http')}://{host}".encode("latin-1")
            if scope["path"] not in PAGE_PATHS or [o.lower() for o in origins] != [own]:
                return False
        return all(site in OWN_PAGES for site in named.get(b"sec-fetch-site", []))


def _is_followed_link(scope: Scope, named: Mapping[bytes, list[bytes]]) -> bool:
    """Whether somebody followed a link to the shell of the page, in a window of its own."""
    return (
        scope["path"] == "/"
        and b"origin" not in named
        and named.get(b"sec-fetch-mode") == [b"navigate"]
        and named.get(b"sec-fetch-dest") == [b"document"]
    )


def _number(text: bytes) -> float:
    return int(text) if text.isdigit() and len(text) < 10 else math.inf


async def _refuse(status: int, why: str, send: Send) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *HEADERS,
    ]
    if status == 405:
        headers.append((b"allow", ", ".join(METHODS).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
