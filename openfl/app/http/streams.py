"""What pages are shown as it happens: server-sent events, for a bounded number of readers.

Once a second, while anybody reads, the node is looked at and all readers are sent the same bytes. A
reader that falls behind misses pictures of the node, which the next one replaces; one that misses
something that happened, or does not read at all, is dropped, and may come again.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import trio

from openfl.app.control_socket import CommandHandler
from openfl.app.http.asked import start
from openfl.app.http.guard import Send
from openfl.core.errors import OpenFLError
from openfl.core.telemetry import NodeEvent, json_plain

log = logging.getLogger("openfl.http")

MAX_READERS = 8
MAX_WAITING = 256
"""Messages that wait for a reader; one that lets more wait is dropped."""
SNAPSHOT_SECONDS = 1.0
GROUPS_EVERY = 5
"""Snapshots between two looks at the known groups."""
KEEP_ALIVE_SECONDS = 15.0
SEND_SECONDS = 10.0
"""A reader that takes nothing for so long is dropped."""

STILL_HERE = b": still here\n\n"


class TooManyReaders(Exception):
    """All places are taken."""


class Reader:
    """What waits for one page."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._snapshot: bytes | None = None
        self._news = trio.Event()
        self.dropped = False
        """Because it did not take what happened in time, or nothing more can be told."""

    def put(self, message: bytes) -> None:
        """To be sent in its turn."""
        if len(self._waiting) >= MAX_WAITING:
            self.drop()
        else:
            self._waiting.append(message)
            self._news.set()

    def drop(self) -> None:
        """It is told nothing any more."""
        self.dropped = True
        self._waiting.clear()
        self._news.set()

    def show(self, snapshot: bytes) -> None:
        """To be sent unless a newer one comes before."""
        self._snapshot = snapshot
        self._news.set()

    async def take(self) -> bytes:
        """All that waits, once there is anything."""
        await self._news.wait()
        self._news = trio.Event()
        messages = b"".join(self._waiting) + (self._snapshot or b"")
        self._waiting.clear()
        self._snapshot = None
        return messages


class Feed:
    """Sends all readers what happens, and what the node looks like."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands
        self._readers: set[Reader] = set()
        self._somebody = trio.Event()
        self._nobody = trio.Event()
        self._nobody.set()
        self._shown: dict[str, list[Any]] = {}
        """By name of the message: the last one, which is not sent again."""
        self._ended = False
        self._happened = trio.Event()

    def tell(self, event: NodeEvent) -> None:
        """Something has happened."""
        if self._readers:
            self._put("told", asdict(event))
            self._happened.set()

    async def run(self) -> None:
        """Look at the node while anybody reads, until cancelled."""
        while True:
            await self._somebody.wait()
            looks = 0
            while self._readers:
                await self._safely(self._look, looks % GROUPS_EVERY == 0)
                looks += 1
                with trio.move_on_after(SNAPSHOT_SECONDS):
                    await self._follow_course()
            self._somebody = trio.Event()

    async def _follow_course(self) -> None:
        """Each point as it comes, until cancelled."""
        while True:
            await self._happened.wait()
            self._happened = trio.Event()
            await self._safely(self._look_at_course)

    async def _safely(self, look: Callable[..., Awaitable[None]], *of: Any) -> None:
        """A bug in what is shown ends no node: it is logged, and ends what is looked at."""
        try:
            await look(*of)
        except OpenFLError:
            pass  # the node is on its way in or out; the next look tells more
        except Exception:
            log.exception("what pages are shown")
            for reader in self._readers:
                reader.drop()

    async def end(self, seconds: float) -> None:
        """Say good-bye to all readers; return once they have it, or after so many seconds."""
        self._ended = True
        self._put("bye", {})
        with trio.move_on_after(seconds):
            await self._nobody.wait()

    async def read(self, send: Send) -> None:
        """Send one reader all that happens, until the feed ends. trio.BrokenResourceError: it is
        dropped. TooManyReaders: before anything is sent."""
        if len(self._readers) >= MAX_READERS or self._ended:
            raise TooManyReaders
        reader = Reader()
        self._readers.add(reader)
        self._nobody = trio.Event()
        self._somebody.set()
        # Whatever has happened since this reader asked for the whole page is sent again.
        self._shown.clear()
        try:
            await send(start(200, "text/event-stream", {}))
            await send({"type": "http.response.body", "body": STILL_HERE, "more_body": True})
            await self._read(reader, send)
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._nobody.set()

    async def _read(self, reader: Reader, send: Send) -> None:
        while True:
            messages = STILL_HERE
            with trio.move_on_after(KEEP_ALIVE_SECONDS):
                messages = await reader.take()
            if reader.dropped:
                raise trio.BrokenResourceError("it does not take what happens in time")
            ended = self._ended
            with trio.move_on_after(SEND_SECONDS) as in_time:
                await send({"type": "http.response.body", "body": messages, "more_body": not ended})
            if in_time.cancelled_caught:
                raise trio.BrokenResourceError("it does not read")
            if ended:
                return

    async def _look(self, with_groups: bool) -> None:
        snapshot = _message("snapshot", await self._commands("snapshot", {}))
        for reader in self._readers:
            reader.show(snapshot)
        await self._look_at_course()
        if with_groups:
            groups = await self._commands("groups", {"ask": False})
            self._put_if_new("groups", groups, [{**g, "age_seconds": 0} for g in groups])

    async def _look_at_course(self) -> None:
        course = await self._commands("course", {"newest": True})
        self._put_if_new("move", course["moves"])
        self._put_if_new("point", course["points"])

    def _put_if_new(self, name: str, data: list[Any], compared: list[Any] | None = None) -> None:
        compared = data if compared is None else compared
        if data and self._shown.get(name) != compared:
            self._shown[name] = compared
            self._put(name, data if name == "groups" else data[-1])

    def _put(self, name: str, data: Any) -> None:
        message = _message(name, data)
        for reader in self._readers:
            reader.put(message)


def _message(name: str, data: Any) -> bytes:
    # JSON in ASCII has no line breaks, so it is one line of data.
    return f"event: {name}\ndata: {json.dumps(json_plain(data), allow_nan=False)}\n\n".encode()
