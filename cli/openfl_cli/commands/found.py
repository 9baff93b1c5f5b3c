"""`openfl-node found`: found a new group with the running node as its first member."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes, options

NAME = "found"
HELP = "found a new group and move the running node to it"
DESCRIPTION = """\
Found a new group under the running node's own settings, with this node as its first member, and
withdraw what it contributed to the old group. Other nodes hear of it and join it when it serves
their data better."""
EXAMPLES = """\
  openfl-node found bebop
  openfl-node found bebop --pin"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what the new group is to be called")
    parser.add_argument("--pin", action="store_true", help="stay there whatever others offer")


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli import ask
    from openfl_cli.text import clean

    home = options.home_folder(arguments)
    now = ask.running_node(
        home, "found", timeout_seconds=60, group=arguments.name, pin=arguments.pin
    )
    pinned = ", pinned" if arguments.pin else ""
    print(f"founded group {clean(now['name'])} ({clean(now['id'])[:12]}){pinned}")
    return exit_codes.SUCCESS
