"""`openfl-node top`: the live view of a node that runs already."""

from __future__ import annotations

import argparse
import sys

from openfl.core.errors import UsageError
from openfl_cli import options

NAME = "top"
HELP = "the live view of the running node, with keys"
DESCRIPTION = """\
Show the live view of the node that runs in this home folder, as `openfl-node start` shows its own:
the error now, members, events, groups and traffic. Keys try a group on your own data, switch to it,
filter, sort and scroll; ? lists them. q leaves the view, and the node goes on."""
EXAMPLES = """\
  openfl-node top
  openfl-node top --home ~/nodes/b"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes only --home."""


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.commands.start import usable_terminal

    home = options.home_folder(arguments)
    if not (sys.stdout.isatty() and usable_terminal()):
        raise UsageError("top needs a terminal; for lines: openfl-node status --watch")
    from openfl_cli.terminal import never_stop_for_output
    from openfl_cli.watch import attach

    never_stop_for_output()
    return attach(home)
