"""`openfl-node switch`: move the running node to another group."""

from __future__ import annotations

import argparse

from openfl_cli import exit_codes, options

NAME = "switch"
HELP = "move the running node to another group"
DESCRIPTION = """\
Move the running node to another group: it fetches that group's model, joins it, and withdraws what
it contributed to the old one. GROUP is a name, or the beginning of an id when two groups share a
name (`openfl-node groups` lists both). A node that moves by itself may move on later, after a time;
with --pin it stays. Naming the group it is in pins it there (--pin) or frees it (without)."""
EXAMPLES = """\
  openfl-node switch jazz
  openfl-node switch 3fa94c
  openfl-node switch jazz --pin"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("group", metavar="GROUP", help="name or id of the group")
    options.add_pin(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.switching import switch_group

    switch_group(arguments, NAME, arguments.group, "now in group")
    return exit_codes.SUCCESS
