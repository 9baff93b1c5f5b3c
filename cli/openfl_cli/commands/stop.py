"""`openfl-node stop`: end the running node."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes, options

NAME = "stop"
HELP = "stop the running node"
DESCRIPTION = """\
Stop the node that runs in this home folder, and wait until it has saved its state and gone. What
it taught its group stays there; --leave withdraws it, for when you do not mean to come back."""
EXAMPLES = """\
  openfl-node stop
  openfl-node stop --leave"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--leave", action="store_true", help="withdraw this node's contributions from its group"
    )
    options.add_stop_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.background import stop_node

    stop_node(options.home_folder(arguments), arguments.leave, arguments.timeout)
    print("stopped")
    return exit_codes.SUCCESS
