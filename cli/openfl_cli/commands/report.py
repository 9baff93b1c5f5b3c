"""`openfl-node report`: a node, or finished runs of a simulation, as a page in one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from openfl_cli import exit_codes, options

NAME = "report"
HELP = "write how the node is doing into one file of HTML"
DESCRIPTION = """\
Write a page to look at in a browser: how well the node in this home folder predicts with the
group and alone, where it has been and why it moved, its members, its traffic, recommendations and
events. It is the page of `start --web`, frozen: one file, which needs nothing else and fetches
nothing. Asks the running node; when none runs, shows what it last saved.

With --run: finished simulations instead, as `simulate SCENARIO --json` printed them; of several
files each is a line of its own in the pictures."""
EXAMPLES = """\
  openfl-node report --html node.html
  openfl-node report --html runs.html --run one.jsonl two.jsonl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--html", type=Path, metavar="FILE", required=True, help="the file to write (.html)"
    )
    parser.add_argument(
        "--run",
        dest="runs",  # `run` is the command's function
        type=Path,
        metavar="FILE",
        nargs="+",
        help="finished simulations instead of a node: JSON lines of simulate --json",
    )
    options.add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    import time

    from openfl_cli.report import file

    file.check(arguments.html)
    if arguments.runs is not None:
        from openfl import __version__
        from openfl_cli.report.runs import read_runs, runs_document

        document = runs_document(read_runs(arguments.runs), time.time(), __version__)
    else:
        from openfl_cli.report.node import node_document

        home = options.home_folder(arguments)
        document = node_document(options.effective_config(arguments, home), home)
    file.write(arguments.html, document)
    options.note(f"wrote {arguments.html}")
    return exit_codes.SUCCESS
