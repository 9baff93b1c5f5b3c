"""`NodeEndpoint`: the one address at which a node answers by HTTP, from its start or from when it
is first asked for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from openfl.app.network_setup import OnEvent
from openfl.config import HttpConfig
from openfl.core.errors import StateError
from openfl.core.telemetry import NodeEvent
from openfl.storage.home import Home
from openfl.storage.state_files import peek_state, write_state

if TYPE_CHECKING:
    from openfl.app.control_socket import CommandHandler
    from openfl.app.http.serving import Endpoint

PORT_KIND = "http"
PORT_VERSION = 1


class NodeEndpoint:
    """`on_event`: told where it answers. Whoever makes it hands it what happens, by `tell`."""

    def __init__(self, config: HttpConfig, home: Home, on_event: OnEvent) -> None:
        self._config = config
        self._home = home
        self._on_event = on_event
        self._endpoint: Endpoint | None = None
        self._nursery: trio.Nursery | None = None
        self._commands: CommandHandler | None = None
        self._opening = trio.Lock()

    def tell(self, event: NodeEvent) -> None:
        """What has happened, for pages that are looking."""
        if self._endpoint is not None:
            self._endpoint.tell(event)

    async def begin(self, nursery: trio.Nursery, commands: CommandHandler) -> None:
        """Answer with `commands` in this nursery, at once when that is configured. Errors as
        `serving`."""
        self._nursery, self._commands = nursery, commands
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
            endpoint = self._endpoint
            if endpoint is None:
                if self._nursery is None:
                    raise StateError("the node is starting: try again in a moment")
                endpoint = self._endpoint = await self._nursery.start(self._serve)
        return endpoint

    async def _serve(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        # Here: a node that answers nobody by HTTP does not load what that needs.
        from openfl.app.http.serving import serving

        assert self._commands is not None
        file = self._home.state_file("http")
        kept = await trio.to_thread.run_sync(_kept_port, file)
        async with serving(self._config, self._home.root, self._commands, kept) as endpoint:
            if not self._config.listen and endpoint.port != kept:
                port = {"port": endpoint.port}
                await trio.to_thread.run_sync(write_state, file, PORT_KIND, PORT_VERSION, port)
            task_status.started(endpoint)
            await trio.sleep_forever()

    def _tell_players(self, endpoint: Endpoint) -> None:
        text = f"players are answered at {endpoint.url}; the token is in {endpoint.token_file}"
        self._tell("http-listening", text, endpoint)

    def _tell_page(self, endpoint: Endpoint) -> None:
        # Without the token, which is in no log.
        text = f"the page is at {endpoint.url}; openfl-node web has the link with the token"
        self._tell("web-listening", text, endpoint)

    def _tell(self, kind: str, text: str, endpoint: Endpoint) -> None:
        where = {"url": endpoint.url, "token_file": str(endpoint.token_file)}
        self._on_event(NodeEvent(time.time(), "info", kind, text, where))


def _kept_port(file: Path) -> int:
    """The port of the last run; 0 when none is kept."""
    content = peek_state(file, PORT_KIND, PORT_VERSION)
    port = content.get("port") if isinstance(content, dict) else None
    return port if type(port) is int and 0 < port < 65536 else 0
