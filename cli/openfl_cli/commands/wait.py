"""`openfl-node wait`: for scripts, until the node is as far as they need it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.core.errors import NotRunningError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl_cli.health import Wanted

NAME = "wait"
HELP = "for scripts: wait until the node is as far as you need it"
DESCRIPTION = """\
Wait until the node of this home folder is as far as is asked for, all of it at the same time; with
nothing asked for, until it answers. Waits for the node to be started, too. At the end of --timeout
it says what is still missing, with exit code 10."""
EXAMPLES = """\
  openfl-node wait
  openfl-node wait --members 4 --round 3 --timeout 60
  openfl-node wait --group jazz --useful && openfl-node recommend
  openfl-node wait --phase done --timeout 3600"""
POLL_SECONDS = (0.05, 0.5)
"""Between two looks: at first, and after a while."""
ANSWER_SECONDS, SHORTEST_SECONDS = 10.0, 1.0
"""That one look may take; and at the end of --timeout."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--members",
        type=options.positive,
        metavar="N",
        help="so many members of its group are present, this node included",
    )
    parser.add_argument(
        "--round", type=options.positive, metavar="N", help="it has done N rounds or more"
    )
    parser.add_argument("--group", metavar="NAME", help="it is in this group (a name or an id)")
    parser.add_argument(
        "--phase", choices=("learning", "done"), help="it learns, or has done all its rounds"
    )
    parser.add_argument(
        "--useful",
        action="store_true",
        help="it has a model that others taught, judged on its own data",
    )
    parser.add_argument(
        "--timeout",
        type=options.positive_seconds,
        metavar="SECONDS",
        default=60.0,
        help="how long to wait (default: 60)",
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.health import Wanted

    home = options.home_folder(arguments)
    wanted = Wanted(
        members=arguments.members,
        round=arguments.round,
        group=arguments.group,
        phase=arguments.phase,
        useful=arguments.useful,
    )
    return wait(home, wanted, arguments.timeout)


def wait(home: Path, wanted: Wanted, timeout_seconds: float) -> int:
    """The exit code; a line says what is there, or what is missing."""
    from openfl_cli import ask
    from openfl_cli.health import in_short

    began = time.monotonic()
    pause, longest = POLL_SECONDS
    while True:
        try:
            left = max(SHORTEST_SECONDS, timeout_seconds - (time.monotonic() - began))
            snapshot = ask.running_snapshot(home, min(ANSWER_SECONDS, left))
            missing = wanted.missing(snapshot)
            now = in_short(snapshot)
        except NotRunningError as error:
            missing, now = (str(error),), ""
        waited = time.monotonic() - began
        if not missing:
            print(now)
            return exit_codes.SUCCESS
        if waited >= timeout_seconds:
            options.note(
                f"not so after {timeout_seconds:g} s: {'; '.join(missing)}"
                + (f" (it is in {now})" if now else "")
            )
            return exit_codes.UNMET
        time.sleep(min(pause, timeout_seconds - waited))
        pause = min(longest, pause * 1.3)
