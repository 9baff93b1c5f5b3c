"""`openfl-node stop`: end the running node."""

from __future__ import annotations

import argparse
import time

from openfl.core.errors import StateError
from openfl_cli import exit_codes, options

NAME = "stop"
HELP = "stop the running node"
DESCRIPTION = """\
Stop the node that runs in this home folder, and wait until it has saved its state and gone. What
it taught its group stays there; --leave withdraws it, for when you do not mean to come back."""
EXAMPLES = """\
  openfl-node stop
  openfl-node stop --leave"""
WAIT_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--leave", action="store_true", help="withdraw this node's contributions from its group"
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import home_folder
    from openfl_cli import ask

    home = options.home_folder(arguments)
    ask.running_node(home, "stop", leave=arguments.leave)
    deadline = time.monotonic() + WAIT_SECONDS
    while home_folder.is_locked(home):
        if time.monotonic() > deadline:
            raise StateError(f"the node in {home} is still stopping after {WAIT_SECONDS:g} s")
        time.sleep(0.05)
    print("stopped")
    return exit_codes.SUCCESS
