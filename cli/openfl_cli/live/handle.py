"""`Handle`: all that the view asks of a node, of one in this process or of one behind its control
socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from openfl.core.telemetry import GroupView, NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.threads import in_thread

ASK_SECONDS = 30.0
MOVE_SECONDS = 60.0
"""A move, or a try, fetches the group's model first."""


class Handle(Protocol):
    """A node, as its view sees it. UserError: what was asked for cannot be, and why;
    NotRunningError: the node is no more."""

    async def snapshot(self) -> NodeSnapshot:
        """How the node is now."""

    async def groups(self, ask: bool) -> tuple[GroupView, ...]:
        """The groups it knows; ask: and those that its peers know, asked now."""

    async def try_group(self, group_id: str) -> GroupView:
        """Have it measure the group's model on its own data. GroupError: nothing came of it."""

    async def switch(self, group_id: str) -> GroupView:
        """Have it leave its group for this one. GroupError: it stays where it was."""

    async def stop(self) -> None:
        """Have it end."""


class OpenNode(Protocol):
    """What is asked of a node in this process (openfl.app.open_node.open_node)."""

    def snapshot(self) -> NodeSnapshot:
        """How it is now."""

    def known_groups(self) -> tuple[GroupView, ...]:
        """Those it has heard of."""

    async def groups(self) -> tuple[GroupView, ...]:
        """Those, and what its peers know, asked now."""

    async def try_group(self, reference: str) -> GroupView:
        """What its model is worth to the node."""

    async def switch(self, reference: str, pin: bool = False) -> GroupView:
        """Move there."""


@dataclass(frozen=True, slots=True)
class LocalHandle:
    """A node in this process. ask_to_stop: ends it as a signal would."""

    node: OpenNode
    ask_to_stop: Callable[[], None]

    async def snapshot(self) -> NodeSnapshot:
        """See `Handle`; at once."""
        return self.node.snapshot()

    async def groups(self, ask: bool) -> tuple[GroupView, ...]:
        """See `Handle`."""
        return await self.node.groups() if ask else self.node.known_groups()

    async def try_group(self, group_id: str) -> GroupView:
        """See `Handle`."""
        return await self.node.try_group(group_id)

    async def switch(self, group_id: str) -> GroupView:
        """See `Handle`."""
        return await self.node.switch(group_id)

    async def stop(self) -> None:
        """See `Handle`."""
        self.ask_to_stop()


@dataclass(frozen=True, slots=True)
class SocketHandle:
    """The node that runs in `home`, asked through its control socket in threads."""

    home: Path

    async def snapshot(self) -> NodeSnapshot:
        """See `Handle`."""
        return NodeSnapshot.from_plain(await self._ask("snapshot"))

    async def groups(self, ask: bool) -> tuple[GroupView, ...]:
        """See `Handle`. A node of an earlier version always asks."""
        answer = await self._ask("groups", ASK_SECONDS, ask=ask)
        return tuple(GroupView(**group) for group in answer)

    async def try_group(self, group_id: str) -> GroupView:
        """See `Handle`. UsageError: it is of a version that cannot."""
        return await self._group("try", group_id)

    async def switch(self, group_id: str) -> GroupView:
        """See `Handle`."""
        return await self._group("switch", group_id)

    async def stop(self) -> None:
        """See `Handle`."""
        await self._ask("stop")

    async def _group(self, command: str, group_id: str) -> GroupView:
        answer: Mapping[str, Any] = await self._ask(command, MOVE_SECONDS, group=group_id)
        return GroupView(**answer)

    async def _ask(self, command: str, seconds: float = 10.0, **arguments: Any) -> Any:
        return await in_thread(partial(running_node, self.home, command, seconds, **arguments))
