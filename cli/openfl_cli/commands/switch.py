"""`openfl-node switch`: move the running node to another group."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes, options

NAME = "switch"
HELP = "move the running node to another group"
DESCRIPTION = """\
Move the running node to another group: it fetches that group's model, joins it, and withdraws what
it contributed to the old one. GROUP is a name, or the beginning of an id when two groups share a
name (`openfl-node groups` lists both)."""
EXAMPLES = """\
  openfl-node switch jazz
  openfl-node switch 3fa94c"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("group", metavar="GROUP", help="name or id of the group")


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli import ask
    from openfl_cli.text import clean

    home = options.home_folder(arguments)
    now = ask.running_node(home, "switch", timeout_seconds=60, group=arguments.group)
    print(f"now in group {clean(now['name'])} ({clean(now['id'])[:12]})")
    return exit_codes.SUCCESS
