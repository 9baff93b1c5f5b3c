"""`openfl-node logs`: what the node said."""

from __future__ import annotations

import argparse
import re
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

from openfl.core.errors import UsageError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl_cli.log_reading import Entry
    from openfl_cli.reporters import Reporter

NAME = "logs"
HELP = "what the node said: the last of its log, or as it comes"
DESCRIPTION = """\
Show what the node of this home folder has said, whether it runs or not: its events as `start`
prints them, the warnings of libraries, and why it ended. It is read from node.log and the files
that it was put aside in; -f goes on with what is written from now on, through restarts, until
Ctrl-C."""
EXAMPLES = """\
  openfl-node logs -f
  openfl-node logs --since 10m
  openfl-node logs --since 2026-11-28T20:00 -n 20
  openfl-node logs -f -n 0 --json | jq -r 'select(.event == "round").data.validation'"""
USUAL_LINES = 50
POLL_SECONDS = 0.25
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is written from now on"
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="not what is older: 90s, 10m, 2h, 3d, or a date and time such as 2026-11-28T20:00",
    )
    parser.add_argument(
        "-n",
        "--lines",
        metavar="LINES",
        type=_lines,
        help=f"at most the last LINES entries, or all (default: {USUAL_LINES}; with --since: all)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.log_reading import LogReader
    from openfl_cli.reporters import JsonLines

    home = options.home_folder(arguments)
    since = None if arguments.since is None else since_when(arguments.since, time.time())
    most = arguments.lines
    if most is None:
        most = USUAL_LINES if since is None else -1
    reporter: Reporter = JsonLines(sys.stdout, "debug") if arguments.json else dated_lines()
    reader = LogReader(home)
    try:
        for entry in reader.last(None if most < 0 else most, since):
            show(entry, reporter)
        while arguments.follow:
            for entry in reader.more():
                show(entry, reporter)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        if not arguments.follow:
            raise
    finally:
        reader.close()
    return exit_codes.SUCCESS


def show(entry: Entry, reporter: Reporter) -> None:
    """Tell one entry as `start` tells it."""
    from openfl.core.telemetry import NodeEvent

    if entry.kind == "recommendations" and "items" in entry.data:
        reporter.recommendations(entry.data, entry.time)
        return
    level = entry.level
    reporter.event(NodeEvent(entry.time, level, entry.kind, entry.message, entry.data))  # type: ignore[arg-type]


def dated_lines() -> Reporter:
    """As `start` prints lines, each with its date; a traceback in lines of its own."""
    from openfl.core.telemetry import NodeEvent
    from openfl_cli.log_reading import LIBRARY
    from openfl_cli.reporters import TextLines, event_line
    from openfl_cli.text import clean

    class Dated(TextLines):
        def event(self, event: NodeEvent) -> None:
            first, *others = event.message.split("\n")
            kind = str(event.data.get("logger", "")) if event.kind == LIBRARY else event.kind
            addresses = event.data.get("multiaddrs")
            if event.kind == "listening" and isinstance(addresses, list) and addresses:
                first, others = "listening on", [str(address) for address in addresses]
            line = event_line(NodeEvent(event.time, event.level, kind, first))
            date = time.strftime("%Y-%m-%d", time.localtime(event.time))
            self.write("\n".join([f"{date} {line}", *(f"  {clean(other)}" for other in others)]))

    return Dated(sys.stdout, "debug")


def since_when(text: str, now: float) -> float:
    """Unix seconds of `10m`, which counts from `now`, or of a date and time, local unless it says
    otherwise. UsageError for anything else."""
    ago = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip())
    if ago:
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--since {text!r}: must be like 90s, 10m, 2h, 3d, or like 2026-11-28T20:00"
        ) from None


def _lines(text: str) -> int:
    """argparse type: a number of entries; -1 stands for all."""
    if text == "all":
        return -1
    if not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number or all, got {text!r}")
    return int(text)
