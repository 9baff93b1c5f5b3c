"""One run of a node in the foreground: what `openfl-node start` does once options are read.

The nursery holds the signal watcher and, on a terminal, the screen task; the node itself lives in
the `open_node` block. The first SIGINT or SIGTERM asks the node to stop (or, while it is still
opening, cancels that); a second one does not wait any longer.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import trio

from openfl.config import Config
from openfl.errors import DataError, GroupError
from openfl.telemetry import NodeEvent, NodeSnapshot
from openfl_cli import exit_codes
from openfl_cli.logs import LogFile, log_to_file
from openfl_cli.reporters import JsonLines, Reporter, TextLines
from openfl_cli.screen import print_frame, show

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Node(Protocol):
    """What a session asks of a running node (openfl.runtime)."""

    stop_asked: trio.Event

    def snapshot(self) -> NodeSnapshot: ...

    async def wait_done(self) -> None: ...

    def recommend(self, user: str, top: int) -> Any: ...

    def request_stop(self, leave: bool = False) -> None: ...


@dataclass
class Session:
    """Runs a node once; `run` returns the exit code."""

    config: Config
    home: Path
    on_screen: bool
    leave: bool = False
    stop_with_stdin: bool = False
    pin: bool | None = None
    reporter: Reporter = field(init=False)
    _node: Node | None = None
    _log: LogFile | None = None
    _user: str = ""
    _screen_is_up: bool = False
    _addresses_told: bool = False
    _stop_asked: bool = False
    _forced: bool = False

    def __post_init__(self) -> None:
        lines = JsonLines if self.config.log.format == "json" else TextLines
        self.reporter = lines(sys.stdout, self.config.log.level)

    async def run(self) -> int:
        """UserErrors of the node come out as they are, perhaps in an exception group."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_signals, signals, nursery.cancel_scope)
                if self.stop_with_stdin:
                    nursery.start_soon(self._watch_stdin, nursery.cancel_scope)
                with log_to_file(self.home, self.config.log.level) as self._log:
                    await self._live()
                nursery.cancel_scope.cancel()
        if self._forced:
            return exit_codes.INTERRUPTED
        return exit_codes.BROKEN_PIPE if self.reporter.closed else exit_codes.SUCCESS

    async def _live(self) -> None:
        from openfl.runtime import open_node

        async with open_node(self.config, self.home, self._on_event, pin=self.pin) as node:
            self._node = node
            self._user = await trio.to_thread.run_sync(user_to_recommend_to, self.config)
            self._tell_addresses(node.snapshot())
            if self._stop_asked or self.reporter.closed:
                node.request_stop(self.leave)
            recommendations = None
            async with trio.open_nursery() as nursery:
                if self.on_screen:
                    nursery.start_soon(self._draw, node)
                await node.wait_done()
                if not node.stop_asked.is_set():
                    recommendations = self._recommend(node)
                    if self.config.training.when_done == "serve":
                        await node.stop_asked.wait()
                nursery.cancel_scope.cancel()
            if self.on_screen:
                print_frame(node.snapshot())
                if recommendations is not None:
                    self.reporter.recommendations(recommendations, time.time())
            # Said here too, so that `--leave` holds however the session ends.
            node.request_stop(self.leave)

    def _recommend(self, node: Node) -> Mapping[str, Any] | None:
        """The closing recommendations; told at once unless the screen is in the way."""
        wanted = self.config.recommend
        if not wanted.auto or not self._user:
            return None
        try:
            plain: Mapping[str, Any] = node.recommend(self._user, wanted.count).to_plain()
        except GroupError:
            return None  # a group that recommends nothing has learned all the same
        if not self.on_screen:
            self.reporter.recommendations(plain, time.time())
        return plain

    async def _draw(self, node: Node) -> None:
        async def current() -> NodeSnapshot:
            return node.snapshot()

        self._screen_is_up = True
        try:
            await show(current)
        finally:
            self._screen_is_up = False

    def _on_event(self, event: NodeEvent) -> None:
        if self._log is not None:
            self._log.event(event)
        if event.kind == "listening" and event.data.get("multiaddrs"):
            self._addresses_told = True
        if not self._screen_is_up:
            self.reporter.event(event)
        if self.reporter.closed and self._node is not None:
            self._node.request_stop(self.leave)

    def _tell_addresses(self, snapshot: NodeSnapshot) -> None:
        if not self._addresses_told:
            data = {"multiaddrs": list(snapshot.multiaddrs)}
            self._on_event(NodeEvent(time.time(), "info", "listening", "listening", data))

    async def _watch_signals(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in signals:
            if self._stop_asked:
                self._forced = True
                scope.cancel()
            else:
                self._ask_to_stop(scope)

    async def _watch_stdin(self, scope: trio.CancelScope) -> None:
        async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stdin:
            while await stdin.receive_some():
                pass
        self._ask_to_stop(scope)

    def _ask_to_stop(self, scope: trio.CancelScope) -> None:
        self._stop_asked = True
        if self._node is not None:
            self._node.request_stop(self.leave)
        else:
            scope.cancel()  # nothing is open yet that could be lost


def user_to_recommend_to(config: Config) -> str:
    """`recommend.user`, else the first user of the ratings file; empty when there is neither."""
    from openfl.learning.csv_table import rows_with_lines

    if config.recommend.user or not config.data.ratings_file:
        return config.recommend.user
    try:
        for _, (user,) in rows_with_lines(Path(config.data.ratings_file), ("user_id",)):
            if user:  # rows without one may have been skipped
                return user
    except DataError:
        pass  # the node has read the file already; what has become of it since is no reason to end
    return ""
