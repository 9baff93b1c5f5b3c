"""What `switch` and `found` do: the running node goes to another group, and says where it is."""

from __future__ import annotations

import argparse

from openfl_cli import ask, options
from openfl_cli.text import clean

MOVE_SECONDS = 60.0
"""A move fetches the new group's model first."""


def switch_group(arguments: argparse.Namespace, command: str, group: str, done: str) -> None:
    """Have the node obey `command`, and print what was `done`. NotRunningError, GroupError."""
    home = options.home_folder(arguments)
    now = ask.running_node(
        home, command, timeout_seconds=MOVE_SECONDS, group=group, pin=arguments.pin
    )
    pinned = ", pinned" if arguments.pin else ""
    print(f"{done} {clean(now['name'])} ({clean(now['id'])[:12]}){pinned}")
