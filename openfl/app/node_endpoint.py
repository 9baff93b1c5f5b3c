"""`NodeEndpoint`: the one address at which a node answers by HTTP, from its start or from when it
is first asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from openfl.config import HttpConfig
from openfl.core.errors import StateError
from openfl.core.telemetry import NodeEvent
from openfl.storage.home import Home
from openfl.storage.state_files import peek_state, write_state

if TYPE_CHECKING:
    from openfl.app.control_socket import CommandHandler
    from openfl.app.http.serving import Endpoint

log = logging.getLogger("openfl.http")

TellOwner = Callable[[Any, str, str, dict[str, Any]], None]

PORT_KIND = "http"
PORT_VERSION = 1


class NodeEndpoint:
    """Whoever makes it hands it what happens, by `tell`."""

    def __init__(self, config: HttpConfig, home: Home) -> None:
        self._config = config
        self._home = home
        self._say: TellOwner = lambda level, kind, message, data: None
        self._endpoint: Endpoint | None = None
        self._nursery: trio.Nursery | None = None
        self._commands: CommandHandler | None = None
        self._opening = trio.Lock()

    def tell(self, event: NodeEvent) -> None:
        """What has happened, for pages that are looking."""
        if self._endpoint is not None:
            self._endpoint.tell(event)

    async def begin(self, nursery: trio.Nursery, commands: CommandHandler, say: TellOwner) -> None:
        """Answer with `commands` in this nursery, at once when that is configured. say: as
        `Node.tell`, told where. Errors as `serving`."""
        self._nursery, self._commands = nursery, commands
        self._say = say
        if self._config.listen or self._config.web:
            await self._opened()
        if self._config.listen and self._endpoint is not None:
            self._tell_players(self._endpoint)
        if self._config.web and self._endpoint is not None:
            self._tell_page(self._endpoint)

    async def page(self) -> dict[str, Any]:
        """Where the page is, for the command `web`: `url` and `token_file`. It is opened when there
        is none yet; errors as `serving`."""
        known = self._endpoint
        endpoint = await self._opened()
        if known is None:
            self._tell_page(endpoint)
        return {"url": endpoint.url, "token_file": str(endpoint.token_file)}

    async def _opened(self) -> Endpoint:
        async with self._opening:
            if self._endpoint is not None:
                return self._endpoint
            if self._nursery is None:
                raise StateError("the node is starting: try again in a moment")
            opened: Endpoint = await self._nursery.start(self._serve)
            self._endpoint = opened
            return opened

    async def _serve(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        # Here: a node that answers nobody by HTTP does not load what that needs.
        from openfl.app.http.serving import serving

        assert self._commands is not None
        file = self._home.state_file("http")
        kept = await trio.to_thread.run_sync(_kept_port, file)
        async with serving(self._config, self._home.root, self._commands, kept) as endpoint:
            if not self._config.listen and endpoint.port != kept:
                await trio.to_thread.run_sync(_keep_port, file, endpoint.port)
            task_status.started(endpoint)
            await trio.sleep_forever()

    def _tell_players(self, endpoint: Endpoint) -> None:
        text = f"players are answered at {endpoint.url}; the token is in {endpoint.token_file}"
        self._say("info", "http-listening", text, _where(endpoint))

    def _tell_page(self, endpoint: Endpoint) -> None:
        # Without the token, which is in no log.
        text = f"the page is at {endpoint.url} (its link: openfl-node web)"
        self._say("info", "web-listening", text, _where(endpoint))


def _where(endpoint: Endpoint) -> dict[str, Any]:
    return {"url": endpoint.url, "token_file": str(endpoint.token_file)}


def _keep_port(file: Path, port: int) -> None:
    try:
        write_state(file, PORT_KIND, PORT_VERSION, {"port": port})
    except StateError as error:  # a disk that is full: the page is there all the same
        log.warning("the next run may have its page at another port: %s", error)


def _kept_port(file: Path) -> int:
    """The port of the last run; 0 when none is kept."""
    content = peek_state(file, PORT_KIND, PORT_VERSION)
    port = content.get("port") if isinstance(content, dict) else None
    return port if type(port) is int and 0 < port < 65536 else 0
