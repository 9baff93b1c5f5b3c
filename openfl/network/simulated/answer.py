"""The answer to a request on the simulated network, and leaving a nursery as its owner expects."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import trio

from openfl.core.contribution import PeerId
from openfl.core.errors import RequestFailed


class Answer:
    """What a request waits for: bytes, or why there are none."""

    def __init__(self, protocol: str, peer_id: PeerId) -> None:
        self._what = f"{protocol} of {peer_id}"
        self._done = trio.Event()
        self._result = b""
        self._why = ""

    def succeed(self, result: bytes) -> None:
        """Give the answer; the first word counts."""
        if not self._done.is_set():
            self._result = result
            self._done.set()

    def fail(self, why: str) -> None:
        """Say why there is none; the first reason counts."""
        self._why = self._why or why
        self._done.set()

    async def wait(self) -> bytes:
        """The answer; RequestFailed with the reason when there is none."""
        await self._done.wait()
        if self._why:
            raise RequestFailed(f"{self._what}: {self._why}")
        return self._result


async def leave_nursery(
    manager: Any,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """Close a cancelled nursery; the body's own error must not be wrapped in a group by it, but a
    Cancelled passes through, for it may be the nursery's own."""
    if isinstance(error, trio.Cancelled):
        await manager.__aexit__(kind, error, traceback)
    else:
        await manager.__aexit__(None, None, None)
