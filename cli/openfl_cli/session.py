"""One run of a node in the foreground: what `openfl-node start` does once options are read.

The nursery holds the signal watcher and, on a terminal, the screen task; the node itself lives in
the `open_node` block. The first SIGINT or SIGTERM asks the node to stop (or, while it is still
opening, cancels that); a second one does not wait any longer. A signal that was ignored when the
process began stays ignored: `nohup` and the shell's background jobs rely on that.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import trio

from openfl.config import Config
from openfl.core.errors import GroupError
from openfl.core.telemetry import NodeEvent, NodeSnapshot
from openfl_cli import collector, exit_codes, options
from openfl_cli.live.handle import LocalHandle, OpenNode
from openfl_cli.logs import LogFile, log_to_file
from openfl_cli.reporters import JsonLines, Reporter, TextLines
from openfl_cli.screen import Screen, print_frame

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Node(OpenNode, Protocol):
    """What a session asks of a running node (openfl.app.open_node.open_node)."""

    stop_asked: trio.Event

    async def wait_done(self) -> None:
        """Until it has done its rounds, or was asked to stop."""

    def recommend(self, user: str, top: int) -> Any:
        """`Recommendations`; GroupError when its group recommends nothing."""

    def request_stop(self, leave: bool = False) -> None:
        """Have it end its work. leave: and withdraw what it contributed."""


@dataclass
class Session:
    """Runs a node once; `run` returns the exit code."""

    config: Config
    home: Path
    on_screen: bool
    leave: bool = False
    stop_with_stdin: bool = False
    pin: bool | None = None
    opened: Callable[[NodeSnapshot], None] = lambda snapshot: None
    """Called in a thread once the node listens, and the home folder is its own."""
    reporter: Reporter = field(init=False)
    _node: Node | None = None
    _log: LogFile | None = None
    _user: str = ""
    _screen: Screen = field(default_factory=Screen)
    _unsaved: str = ""
    _left: bool = False
    _addresses_told: bool = False
    _stop_asked: bool = False
    _forced: bool = False
    _recommended: bool = False

    def __post_init__(self) -> None:
        lines = JsonLines if self.config.log.format == "json" else TextLines
        self.reporter = lines(sys.stdout, self.config.log.level)

    async def run(self) -> int:
        """UserErrors of the node come out as they are, perhaps in an exception group."""
        with self._screen, heeded_signals() as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_signals, signals, nursery.cancel_scope)
                if self.stop_with_stdin:
                    nursery.start_soon(self._watch_stdin, nursery.cancel_scope)
                log = self.config.log
                with log_to_file(self.home, log.level, log.file_megabytes, log.files) as self._log:
                    await self._live()
                nursery.cancel_scope.cancel()
        return exit_codes.INTERRUPTED if self._forced else exit_codes.SUCCESS

    async def _live(self) -> None:
        from openfl.app.first_user import user_to_recommend_to
        from openfl.app.runtime import open_node

        async with open_node(self.config, self.home, self._on_event, pin=self.pin) as node:
            collector.go_on()
            self._node = node
            self._user = await trio.to_thread.run_sync(user_to_recommend_to, self.config)
            self._tell_addresses(node.snapshot())
            await trio.to_thread.run_sync(self.opened, node.snapshot())
            if self._stop_asked:
                node.request_stop(self.leave)
            async with trio.open_nursery() as nursery:
                if self.on_screen:
                    nursery.start_soon(self._draw, node)
                await node.wait_done()
                recommendations = self._recommend(node)
                if not self._screen.up:
                    self._tell_recommendations(recommendations)
                if not node.stop_asked.is_set() and self.config.training.when_done == "serve":
                    await node.stop_asked.wait()
                shown = self._screen.up
                nursery.cancel_scope.cancel()
            if shown:
                print_frame(node.snapshot())
                self._tell_recommendations(recommendations)
            stopped = node.stop_asked.is_set()
            # Said here too, so that `--leave` holds however the session ends.
            node.request_stop(self.leave)
            last = node.snapshot()
        if stopped:
            self._tell_stopped(last)

    def _recommend(self, node: Node) -> Mapping[str, Any] | None:
        """The closing recommendations; None when there are none to give."""
        wanted = self.config.recommend
        if not wanted.auto or not self._user:
            return None
        try:
            plain: Mapping[str, Any] = node.recommend(self._user, wanted.count).to_plain()
        except GroupError:
            return None  # a group that recommends nothing has learned all the same
        return plain if plain["items"] or not node.stop_asked.is_set() else None

    def _tell_recommendations(self, plain: Mapping[str, Any] | None) -> None:
        """Once; at the end when the screen is in the way."""
        if plain is not None and not self._recommended:
            self._recommended = True
            if self._log is not None:
                self._log.recommendations(plain)
            self.reporter.recommendations(plain, time.time())

    def _tell_stopped(self, last: NodeSnapshot) -> None:
        """What has been saved, where, and how to go on. Once the node is closed."""
        go_on = f"openfl-node start{options.home_option(self.home)}"
        group = last.group_name
        if not group:
            text = f"it was in no group yet; begin again with: {go_on}"
        elif self._left:
            text = f"group {group} is left for good; begin anew with: {go_on}"
        elif self._unsaved:
            text = f"the last state is not saved: {self._unsaved}"
        else:
            text = f"round {last.round} of group {group} is saved in {self.home}"
            text += f"; go on with: {go_on}"
        saved = bool(group) and not self._unsaved and not self._left
        data = {"home": str(self.home), "group": group, "round": last.round, "saved": saved}
        self._on_event(NodeEvent(time.time(), "info", "stopped", text, data))

    async def _draw(self, node: Node) -> None:
        await self._screen.show(LocalHandle(node, self._ask_node_to_stop), ends_node=True)

    def _on_event(self, event: NodeEvent) -> None:
        if self._log is not None:
            self._log.event(event)
        if event.kind == "listening" and event.data.get("multiaddrs"):
            self._addresses_told = True
        if event.kind in ("not-saved", "saved-again"):
            self._unsaved = event.message if event.kind == "not-saved" else ""
        if event.kind == "left" and event.data.get("for_good"):
            self._left = True
        if not self._screen.up:
            self.reporter.event(event)
            if event.kind == "web-listening":
                self._tell_link(str(event.data.get("url", "")))

    def _tell_link(self, url: str) -> None:
        """To somebody at a terminal only: it holds the token, which belongs in no log."""
        if sys.stdout.isatty() and self.config.log.format == "text":
            from openfl_cli.page_link import page_link

            print(f"  {page_link(self.home, url)}", flush=True)

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

    def _ask_node_to_stop(self) -> None:
        """By a key, as by the first signal: another does not wait any longer."""
        self._stop_asked = True
        if self._node is not None:
            self._node.request_stop(self.leave)

    def _ask_to_stop(self, scope: trio.CancelScope) -> None:
        self._ask_node_to_stop()
        if self._node is None:
            scope.cancel()  # nothing is open yet that could be lost


@contextlib.contextmanager
def heeded_signals() -> Iterator[AsyncIterator[int]]:
    """Those of `SIGNALS` that were not ignored when the process began, as they come."""
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if heeded:
        with trio.open_signal_receiver(*heeded) as signals:
            yield signals
    else:
        yield _none()


async def _none() -> AsyncIterator[int]:
    await trio.sleep_forever()
    yield 0
