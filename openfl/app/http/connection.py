"""One connection of a player, driven by the parts of hypercorn: HTTP/1.1 and nothing else.

hypercorn changes to HTTP/2 or WebSocket whenever a client says so. A client that then says no more
keeps the first open for ever, and bytes that are no frames of the second raise in strange places.
Nothing here needs either, so neither is offered: whoever asks for them is answered in HTTP/1.1, as
the standard has it.
"""

from __future__ import annotations

from typing import Any

import h11
import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from openfl.app.http.guard import App


class _Http1(H11Protocol):  # type: ignore[misc]
    async def _check_protocol(self, event: Any) -> None:
        """Change to nothing else."""

    async def _create_stream(self, request: h11.Request) -> None:
        """As if nothing else had been asked for."""
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        plain = h11.Request(
            method=request.method,
            target=request.target,
            headers=headers,
            http_version=request.http_version,
        )
        await super()._create_stream(plain)


class _Connection(TCPServer):  # type: ignore[misc]
    async def run(self) -> None:
        """Until either side has closed it."""
        tls = isinstance(self.stream, trio.SSLStream)
        try:
            if tls:
                with trio.fail_after(self.config.ssl_handshake_timeout):
                    await self.stream.do_handshake()
            async with TaskGroup() as group:
                self._task_group = group
                self.protocol = _Http1(
                    *(self.app, self.config, self.context, group, ConnectionState({}), tls),
                    *(None, None, self.protocol_send),
                )
                await self.idle_task.restart(group, self._idle_timeout)
                await self._read_data()
        finally:
            await self._close()


async def answer(app: App, config: Config, stream: trio.abc.Stream) -> None:
    """Answer what comes on `stream` until it is closed."""
    wrapped = wrap_app(app, 0, "asgi")
    await _Connection(wrapped, config, WorkerContext(None), ConnectionState({}), stream).run()
