"""Answering by HTTP for as long as a node runs: its page, its metrics, music players, scripts."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from openfl.app.control_socket import CommandHandler
from openfl.app.http.token import TOKEN_FILE, load_or_create_token
from openfl.config import HttpConfig
from openfl.config.text_checks import host_and_port
from openfl.core.errors import ConfigError, NetworkError
from openfl.core.telemetry import NodeEvent

if TYPE_CHECKING:
    from openfl.app.http.connection import Bounds
    from openfl.app.http.guard import App
    from openfl.app.http.streams import Feed

    Answerer = Callable[[App, trio.abc.Stream, str, Bounds], Awaitable[None]]

log = logging.getLogger("openfl.http")

MAX_CONNECTIONS = 32
"""More are closed as they come: a program of another user on this machine can connect, too."""
IDLE_SECONDS = 15.0
"""A connection on which nothing comes, or only the half of a request, is closed after that."""
ANSWER_SECONDS = 60.0
"""How long an answer may take, its way to the client included; streams have no end."""
MAX_HEAD_BYTES = 16 * 1024
CONNECTION_SECONDS = 300.0
"""How long a connection may last, whatever comes on it but a stream; clients open another."""
BYE_SECONDS = 0.5
"""How long the end waits for pages to be told of it."""
BACKLOG = 16
USUAL_PORTS: tuple[int, ...] = (8010, 0)
"""Tried in turn where no port is set; 0: any that is free."""


_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError)
"""The client went away or does nothing, or the node ends."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node answers. url: without a path. port: the one it is bound to. tell(event): what
    has happened, for pages that are looking."""

    url: str
    token_file: Path
    port: int = 0
    tell: Callable[[NodeEvent], None] = lambda event: None


@contextlib.asynccontextmanager
async def serving(
    config: HttpConfig, home: Path, commands: CommandHandler, kept_port: int = 0
) -> AsyncIterator[Endpoint]:
    """Answers while the block is open; every connection is closed at its end, also one whose client
    does not read. kept_port: where `http.listen` is empty, tried before the usual ones.
    ConfigError: the certificate cannot be used. NetworkError: the port is taken. StateError: as
    `load_or_create_token`.

    Until somebody connects there is a socket and one task: what answers is loaded then.
    """
    token_file = home / TOKEN_FILE
    token = await trio.to_thread.run_sync(load_or_create_token, token_file)
    tls = _tls(config)
    with _bound(config.listen, kept_port) as raw:
        url, hosts = _names(raw, tls is not None)
        listener: trio.abc.Listener[trio.abc.Stream] = trio.SocketListener(
            trio.socket.from_stdlib_socket(raw)
        )
        if tls is not None:
            listener = trio.SSLListener(listener, tls, https_compatible=True)
        async with trio.open_nursery() as nursery:
            server = _Server(nursery, commands, token, None if tls is not None else hosts)
            nursery.start_soon(trio.serve_listeners, server.handle, [listener])
            try:
                yield Endpoint(url, token_file, raw.getsockname()[1], server.tell)
            finally:
                await server.end()
                nursery.cancel_scope.cancel()


class _Server:
    """All connections of one endpoint. hosts: see `Guard`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        commands: CommandHandler,
        token: str,
        hosts: frozenset[str] | None,
    ) -> None:
        self._nursery = nursery
        self._commands = commands
        self._token = token
        self._hosts = hosts
        self._open = 0
        self._answering: tuple[Answerer, App, Bounds] | None = None
        self._feed: Feed | None = None

    def tell(self, event: NodeEvent) -> None:
        """See `Endpoint`."""
        if self._feed is not None:
            self._feed.tell(event)

    async def end(self) -> None:
        """Tell pages that are looking that the node goes."""
        if self._feed is not None:
            with trio.CancelScope(shield=True):
                await self._feed.end(BYE_SECONDS)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, until it is closed."""
        under = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        assert isinstance(under, trio.SocketStream)
        if self._open >= MAX_CONNECTIONS:
            under.socket.close()
            return
        try:
            answer, app, bounds = self._load()
        except Exception:
            log.exception("what answers cannot be loaded")
            under.socket.close()
            return
        self._open += 1
        try:
            await answer(app, stream, "http" if under is stream else "https", bounds)
        except* _GONE:
            pass
        except* Exception:
            # No bytes end the node, whatever a parser underneath makes of them; nor do they
            # fill its log. Bugs of ours are logged where they are answered.
            log.debug("a connection ended", exc_info=True)
        finally:
            under.socket.close()
            self._open -= 1

    def _load(self) -> tuple[Answerer, App, Bounds]:
        # Here: nothing of it is needed as long as nobody comes.
        from openfl.app.http.connection import Bounds, answer

        if self._answering is None:
            from openfl.app.http.api import node_app
            from openfl.app.http.streams import Feed

            feed = Feed(self._commands)
            app = node_app(self._commands, self._token, self._hosts, feed)
            bounds = Bounds(IDLE_SECONDS, ANSWER_SECONDS, CONNECTION_SECONDS, MAX_HEAD_BYTES)
            self._nursery.start_soon(feed.run)
            self._answering, self._feed = (answer, app, bounds), feed
        return self._answering


def _tls(config: HttpConfig) -> ssl.SSLContext | None:
    """What to answer HTTPS with; ConfigError when the certificate or key cannot be used."""
    if not config.cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password: a prompt would hold up the node.
        context.load_cert_chain(config.cert_file, config.key_file, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"http.cert_file {config.cert_file} and http.key_file {config.key_file} cannot be used:"
            f" {str(reason).replace('_', ' ').lower()}"
        ) from None
    return context


@contextlib.contextmanager
def _bound(listen: str, kept_port: int) -> Iterator[socket.socket]:
    host, ports = "127.0.0.1", USUAL_PORTS
    if listen:
        at = host_and_port(listen)
        assert at is not None  # checked with the configuration
        host, ports = at[0], (at[1],)
    elif kept_port:
        ports = (kept_port, *USUAL_PORTS)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for port in ports:
            try:
                raw.bind((host, port))
                raw.listen(BACKLOG)
                break
            except (OSError, OverflowError) as error:
                taken = getattr(error, "errno", None) == errno.EADDRINUSE
                if not taken or port == ports[-1]:
                    at_fault = f"http.listen {listen or host}"
                    raise NetworkError(f"{at_fault}: {_why_not(error)}") from None
        raw.setblocking(False)
        yield raw


def _why_not(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return "the port is in use; stop what uses it, or choose another"
    if number == errno.EACCES:
        return "no permission; ports below 1024 are the administrator's"
    if number == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return getattr(error, "strerror", None) or str(error)


def _names(raw: socket.socket, tls: bool) -> tuple[str, frozenset[str]]:
    """(where clients find it, what they may call it in `Host`)."""
    host, port = raw.getsockname()[:2]
    address = ipaddress.ip_address(host)
    written = f"[{address}]" if address.version == 6 else str(address)
    names = {written, "localhost"} if address.is_loopback else {written}
    usual = 443 if tls else 80
    hosts = {f"{name}:{port}" for name in names} | (names if port == usual else set())
    return f"{'https' if tls else 'http'}://{written}:{port}", frozenset(hosts)
