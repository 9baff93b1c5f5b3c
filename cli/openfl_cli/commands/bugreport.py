"""`openfl-node bugreport`: an archive to hand to whoever helps."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from openfl_cli import exit_codes, options
from openfl_cli.text import count_of, human_bytes

NAME = "bugreport"
HELP = "an archive for whoever helps: what the node is and does, without whose it is"
DESCRIPTION = """\
Write an archive to hand to whoever helps you: versions, settings, what the node counts, the end of
its log, and what `openfl-node doctor` finds. Your data, keys, tokens and invitations are never in
it; peers, addresses, names and paths are replaced by stand-ins. It says what is in it; look through
it before you hand it on."""
EXAMPLES = """\
  openfl-node bugreport
  openfl-node bugreport report.zip"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="a .tar.gz or .zip (default: openfl-bugreport-TIME.tar.gz in this folder)",
    )
    options.add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.doctor.bugreport import INSIDE, LEFT_OUT, make_report, write_report
    from openfl_cli.commands.doctor import examined

    options.home_folder(arguments)  # whose node is it?
    stamp = time.strftime("%Y%m%d-%H%M%S")
    file = arguments.file or Path(f"openfl-bugreport-{stamp}.tar.gz")
    subject, findings = examined(arguments)
    report = make_report(subject, findings)
    write_report(report, file)
    print(f"wrote {file} ({human_bytes(file.stat().st_size)}), for your eyes first")
    print("in it:")
    for name, what in INSIDE.items():
        print(f"  {name:<14} {what}")
    print("left out:")
    for what in LEFT_OUT:
        print(f"  {what}")
    replaced = [count_of(count, sort) for sort, count in sorted(report.replaced.items())]
    print(f"replaced by stand-ins: {', '.join(replaced) or 'nothing'}")
    return exit_codes.SUCCESS
