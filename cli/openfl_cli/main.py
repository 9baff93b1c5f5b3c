"""The parser of `openfl-node`, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from openfl import __version__
from openfl.app.lazy_imports import postpone_libp2p
from openfl.core.errors import UsageError, UserError
from openfl_cli import exit_codes, output
from openfl_cli.commands import COMMANDS, GROUPS
from openfl_cli.options import HOME_HELP, HelpFormatter
from openfl_cli.output import ReaderGone
from openfl_cli.text import clean

REPORT_HINT = (
    "This is a bug in OpenFL. Please report it with this traceback, the command you typed and the"
    " output of `openfl-node --version`."
)
DESCRIPTION = """\
OpenFL: nodes that learn together with nobody in the middle.

Your node keeps your data and trains on it at home. It finds other nodes through any one of
them, exchanges what it learned (never the data), and recommends better than it could alone."""

FIRST_STEPS = """\
first steps:
  openfl-node demo                              see four nodes learn together, in half a minute
  openfl-node start --data ratings.csv          the first node of a network; prints its address
  openfl-node start --data mine.csv --bootstrap ADDRESS      any further node, on any machine
  openfl-node recommend --user ann              songs for ann

Every node lives in a home folder: give each its own with --home DIR (before or after the
command) to run several on one machine. `openfl-node COMMAND --help` explains a command."""


HEADINGS = {part[0].NAME: heading for heading, part in GROUPS.items()}
"""What stands above the first command of each part."""


class CommandsFormatter(HelpFormatter):
    """Lists the commands in parts, with a heading each; argparse knows one list only."""

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        # What stands for a command has its name as `dest`, and no option strings, unlike --home.
        heading = None if action.option_strings else HEADINGS.get(action.dest)
        return text if heading is None else f"\n  {heading}:\n{text}"


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are UsageErrors: one line, in the same form as all others."""

    def error(self, message: str) -> NoReturn:
        """UsageError, where argparse would print the usage and end the process."""
        raise UsageError(f"{_friendlier(message)} (try: {self.prog} --help)")


def _friendlier(message: str) -> str:
    unknown = re.match(r"argument COMMAND: invalid choice: '(.*?)'", message)
    if unknown is None:
        return message
    import difflib

    close = difflib.get_close_matches(unknown[1], [command.NAME for command in COMMANDS], n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"there is no command {unknown[1]!r}{meant}"


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="openfl-node",
        description=DESCRIPTION,
        epilog=f"{FIRST_STEPS}\n\nexit codes:\n{exit_codes.as_text()}",
        formatter_class=CommandsFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"openfl-node {__version__}")
    parser.add_argument("--home", metavar="DIR", default=None, help=HOME_HELP)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=f"examples:\n{command.EXAMPLES}",
            formatter_class=HelpFormatter,
            allow_abbrev=False,
        )
        add_home(sub)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def add_home(parser: argparse.ArgumentParser) -> None:
    """`--home` after the command. SUPPRESS: without it, the one before the command stands."""
    parser.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help=HOME_HELP)


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Only bugs come out as exceptions."""
    try:
        code = _run(argv)
        sys.stdout.flush()  # what is lost only now is lost all the same
        return code
    except BaseException as error:
        return _code_of(error)


def _run(argv: Sequence[str] | None) -> int:
    try:
        parser = build_parser()
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse after --help and --version
        return int(stop.code or 0)
    if arguments.command is None:
        parser.print_help()
        return exit_codes.SUCCESS
    require_posix()
    postpone_libp2p()  # for whichever command imports it: this process is ours
    arguments.argv = list(sys.argv[1:] if argv is None else argv)
    code: int = arguments.run(arguments)
    return code


def require_posix() -> None:
    """UsageError on Windows itself, before anything is imported that is not there."""
    if sys.platform == "win32":
        raise UsageError(
            "a node needs what Windows itself lacks: locks, sockets and terminals of POSIX. It"
            " runs in WSL: type `wsl --install`, open Ubuntu, and go on there as on Linux"
        )


def _code_of(error: BaseException) -> int:
    """Print `error` when it is one that people can act on; raise it again when it is a bug."""
    leaves = list(_leaves(error))
    if all(isinstance(leaf, UserError | KeyboardInterrupt | ReaderGone) for leaf in leaves):
        for leaf in leaves:
            if isinstance(leaf, UserError):
                _say(error_text(str(leaf)))
                return leaf.exit_code
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            _say("openfl-node: interrupted")
            return exit_codes.INTERRUPTED
        return exit_codes.BROKEN_PIPE
    error.add_note(REPORT_HINT)
    raise error


def error_text(message: str) -> str:
    """`openfl-node: error: ...`; several problems (a line each) are counted and listed below; a
    first line that ends with a colon is their heading already."""
    lines = [clean(line, 2000) for line in message.splitlines() if line.strip()]
    if len(lines) < 2:
        return f"openfl-node: error: {lines[0] if lines else 'unknown'}"
    if lines[0].endswith(":"):
        return "\n  ".join([f"openfl-node: error: {lines[0]}", *lines[1:]])
    return "\n  ".join([f"openfl-node: error: {len(lines)} problems:", *lines])


def _leaves(error: BaseException) -> Any:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> NoReturn:
    """The console script."""
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        from openfl_cli import completion

        completion.answer(build_parser())
    output.prepare()
    sys.exit(run())
