"""Answering on `http.listen` for as long as a node runs."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from openfl.app.control_socket import CommandHandler
from openfl.app.http.guard import App
from openfl.app.http.token import TOKEN_FILE, load_or_create_token
from openfl.config import HttpConfig
from openfl.config.text_checks import host_and_port
from openfl.core.errors import ConfigError, NetworkError

log = logging.getLogger("openfl.http")

MAX_CONNECTIONS = 32
"""More are closed as they come: a program of another user on this machine can connect, too."""
IDLE_SECONDS = 15.0
"""A connection on which nothing comes, or only the half of a request, is closed after that."""
ANSWER_SECONDS = 60
"""How long an answer may take."""
MAX_HEAD_BYTES = 16 * 1024
CONNECTION_SECONDS = 300.0
"""How long a connection may last, whatever comes on it; players open another."""
BACKLOG = 16


_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError)
"""The client went away or does nothing, or the node ends."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node answers players. url: without a path."""

    url: str
    token_file: Path


@contextlib.asynccontextmanager
async def serving_players(
    config: HttpConfig, home: Path, commands: CommandHandler
) -> AsyncIterator[Endpoint]:
    """Answers while the block is open; every connection is closed at its end, also one whose client
    does not read. ConfigError: the extra `players` is not installed, or the certificate cannot be
    used. NetworkError: the port is taken. StateError: as `load_or_create_token`."""
    try:
        # Here: they are an extra, and heavy enough to be loaded only where they are wanted.
        from hypercorn.config import Config

        from openfl.app.http.api import players_app
        from openfl.app.http.connection import answer
    except ImportError as error:
        raise ConfigError(
            f'http.listen needs an extra: pip install "openfl-node[players]" ({error})'
        ) from None
    token_file = home / TOKEN_FILE
    token = await trio.to_thread.run_sync(load_or_create_token, token_file)
    tls = _tls(config)
    with _bound(config.listen) as raw:
        url, hosts = _names(raw, tls is not None)
        server = Config()
        server.errorlog = server.accesslog = None
        server.include_server_header = False
        server.keep_alive_timeout = IDLE_SECONDS
        server.read_timeout = ANSWER_SECONDS
        server.ssl_handshake_timeout = IDLE_SECONDS
        server.h11_max_incomplete_size = MAX_HEAD_BYTES
        app: App = players_app(commands, token, None if tls is not None else hosts)
        listener: trio.abc.Listener[trio.abc.Stream] = trio.SocketListener(
            trio.socket.from_stdlib_socket(raw)
        )
        if tls is not None:
            listener = trio.SSLListener(listener, tls, https_compatible=True)
        open_sockets: set[trio.socket.SocketType] = set()

        async def handle(stream: trio.abc.Stream) -> None:
            under = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
            assert isinstance(under, trio.SocketStream)
            if len(open_sockets) >= MAX_CONNECTIONS:
                under.socket.close()
                return
            open_sockets.add(under.socket)
            try:
                with trio.move_on_after(CONNECTION_SECONDS):
                    await answer(app, server, stream)
            except* _GONE:
                pass
            except* Exception:
                # No bytes end the node, whatever a parser underneath makes of them; nor do they
                # fill its log. Bugs of ours are logged where they are answered.
                log.debug("a connection of a player ended", exc_info=True)
            finally:
                under.socket.close()
                open_sockets.discard(under.socket)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, handle, [listener])
            try:
                yield Endpoint(url, token_file)
            finally:
                # Closed under the server, which shields what it sends from being cancelled.
                for open_socket in tuple(open_sockets):
                    open_socket.close()
                nursery.cancel_scope.cancel()


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
def _bound(listen: str) -> Iterator[socket.socket]:
    at = host_and_port(listen)
    assert at is not None  # checked with the configuration
    host, port = at
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            raw.bind((host, port))
            raw.listen(BACKLOG)
        except (OSError, OverflowError) as error:
            raise NetworkError(f"http.listen {listen}: {_why_not(error)}") from None
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
