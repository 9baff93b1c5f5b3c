"""`openfl-node doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openfl.core.errors import StateError, UsageError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.app.doctor.finding import Finding
    from openfl.app.doctor.subject import Subject

NAME = "doctor"
HELP = "look for what is wrong, and say what to do about it"
DESCRIPTION = """\
Look for what may be wrong with the node of this home folder, running or not, and say what to do:
configuration, data, port, who can dial it, bootstrap nodes, clock, disk, limits, versions,
identity, songs in common, saved state, permissions. It changes nothing. Bootstrap nodes are dialled
under a temporary identity; nobody else is. Exit code 10 when a fault is found."""
EXAMPLES = """\
  openfl-node doctor
  openfl-node doctor --only bootstrap --only reach
  openfl-node doctor --json | jq -r '.findings[] | select(.severity=="fault") | .kind'"""
STYLES = {"fault": "bold red", "warning": "yellow", "fine": "green"}
INDENT = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    parser.add_argument(
        "--only",
        metavar="CHECK",
        action="append",
        default=[],
        help="only this check (config, data, port, ...); may be repeated",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.doctor.examine import has_fault

    subject, findings = examined(arguments, arguments.only)
    if arguments.json:
        options.print_json(as_json(subject, findings))
    else:
        show(subject, findings)
    return exit_codes.UNMET if has_fault(findings) else exit_codes.SUCCESS


def looked_at(arguments: argparse.Namespace) -> Subject:
    """The node that the options name, however little of it there is. StateError: its home cannot be
    looked into by this user."""
    from openfl.app.doctor.subject import look
    from openfl.app.home_folder import Home

    home = Home.find(arguments.home, os.environ).root  # what is wrong with it, a check tells
    layers = options.assignments(arguments.set)
    try:
        file = options.config_file(arguments, home)
    except OSError as error:
        raise StateError(f"{home}: cannot be looked into: {error.strerror}") from None
    return look(home, file, os.environ, layers)


def sound_subject(arguments: argparse.Namespace) -> Subject:
    """The same for commands that need its configuration; ConfigError tells all that is wrong with
    it."""
    from openfl.core.errors import ConfigError

    options.home_folder(arguments)  # StateError: it is somebody else's
    subject = looked_at(arguments)
    if subject.config_problems:
        raise ConfigError("\n".join(subject.config_problems))
    return subject


def examined(
    arguments: argparse.Namespace, only: Sequence[str] = ()
) -> tuple[Subject, tuple[Finding, ...]]:
    """The node, and what the checks find. UsageError: there is no such check."""
    import trio

    from openfl.app.doctor.examine import CHECKS, examine

    names = [check.name for check in CHECKS]
    for name in only:
        if name not in names:
            raise UsageError(f"there is no check {name!r}: {', '.join(names)}")
    checks = [check for check in CHECKS if not only or check.name in only]
    subject = looked_at(arguments)
    return subject, trio.run(examine, subject, checks)


def as_json(subject: Subject, findings: Sequence[Finding]) -> dict[str, Any]:
    """The shape that docs/doctor.md promises."""
    return {
        "home": str(subject.home.root),
        "running": subject.running,
        "healthy": all(finding.severity == "fine" for finding in findings),
        "faults": sum(finding.severity == "fault" for finding in findings),
        "warnings": sum(finding.severity == "warning" for finding in findings),
        "findings": [finding.to_plain() for finding in findings],
    }


def show(subject: Subject, findings: Sequence[Finding]) -> None:
    """For people: the worst first, nothing broken that is to be copied."""
    from rich.text import Text

    from openfl_cli.text import count_of

    console = options.stdout_console()
    ordered = sorted(findings, key=lambda finding: list(STYLES).index(finding.severity))
    for finding in ordered:
        for number, line in enumerate(_lines(finding, console.width)):
            text = Text(line)
            if not number:
                text.stylize(STYLES[finding.severity], 0, 8)
            console.print(text, soft_wrap=True)
    counts = [
        count_of(sum(finding.severity == severity for finding in findings), severity)
        for severity in ("fault", "warning")
    ]
    state = "running" if subject.running else "not running"
    console.print(f"{' and '.join(counts)} ({subject.home.root}, {state})", soft_wrap=True)


def _lines(finding: Finding, width: int) -> Iterator[str]:
    """The finding, where it is, and what to do; paths and addresses stay whole."""
    from openfl_cli.text import clean

    head = f"{finding.severity:<8} {finding.check:<10} "
    wide = max(40, min(width, 100)) - INDENT
    where = clean(finding.where, 1000)
    shown: list[str] = []
    for line in finding.what.splitlines() or [""]:
        shown += _wrapped(clean(line, 1000), wide)
    if finding.severity == "fine" and where and len(shown) == 1:
        shown = [f"{shown[0]} ({where})"] if len(shown[0]) + len(where) < wide else shown
    elif where and where not in finding.what:
        shown.append(where)
    if finding.do:
        shown += _wrapped(f"-> {clean(finding.do, 1000)}", wide)
    for number, line in enumerate(shown):
        yield (head if not number else " " * INDENT) + line


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
