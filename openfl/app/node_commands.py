"""What a running node answers to commands on its control socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openfl.app.control_socket import CommandHandler
from openfl.core.errors import UsageError
from openfl.node import Node


def node_commands(node: Node) -> CommandHandler:
    """The handler of the node's control socket; docs/cli.md describes what commands get. It raises
    UsageError for a command or argument that the node does not know, and what the node raises."""

    async def handle(command: str, arguments: Mapping[str, Any]) -> Any:
        match command:
            case "snapshot":
                return node.snapshot().to_plain()
            case "groups":
                return [view.to_plain() for view in await node.groups()]
            case "switch":
                group, pin = str(arguments.get("group", "")), bool(arguments.get("pin", False))
                return (await node.switch(group, pin)).to_plain()
            case "found":
                group, pin = str(arguments.get("group", "")), bool(arguments.get("pin", False))
                return (await node.found_group(group, pin)).to_plain()
            case "recommend":
                top = arguments.get("top", 5)
                if not isinstance(top, int) or not 1 <= top <= 1000:
                    raise UsageError(f"top must be a number within 1..1000, got {top!r}")
                return node.recommend(str(arguments.get("user", "")), top).to_plain()
            case "stop":
                node.request_stop(leave=bool(arguments.get("leave", False)))
                return None
            case _:
                raise UsageError(f"the node knows no command {command!r}: is it another version?")

    return handle
