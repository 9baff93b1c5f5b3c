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
    options.add_pin(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.switching import switch_group

    switch_group(arguments, NAME, arguments.name, "founded group")
    return exit_codes.SUCCESS
