"""What several commands share: home folder, configuration, common options, printing."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from openfl.core.errors import StateError, UsageError
from openfl.core.files import expanded
from openfl_cli.text import clean, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from openfl.config import Config

CONFIG_FILE = "config.toml"
HOME_HELP = "the node's home folder (default: $OPENFL_HOME, else the platform's place for data)"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wide enough for two columns, never wider than can be read."""

    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(prog, max_help_position=30, width=min(100, max(60, columns - 2)))
        # argparse forgets the indent of subcommands and would break `recommend` off its help.
        self._action_max_length = 15


class Command(Protocol):
    """A module of commands/."""

    NAME: str
    HELP: str
    DESCRIPTION: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of this command, and nothing else; must not import anything heavy."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit code. A UserError becomes one line and its code in main.py."""


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    short: str,
    text: str,
    examples: str,
) -> argparse.ArgumentParser:
    """One action of a command that has several (`config set`), with `--home` behind it, too."""
    action: argparse.ArgumentParser = actions.add_parser(
        name,
        help=short,
        description=text,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        epilog=f"examples:\n{examples}",
    )
    action.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help=HOME_HELP)
    return action


def add_json(parser: argparse._ActionsContainer) -> None:
    """`--json`, as all commands that print data have it."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE` and `--set SECTION.KEY=VALUE`, which `effective_config` reads."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="configuration file (default: $OPENFL_CONFIG, else config.toml in the home folder)",
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="set any configuration key, for example training.interval_seconds=5; may be repeated",
    )


def add_bootstrap(parser: argparse.ArgumentParser, help_text: str) -> None:
    """`--bootstrap ADDRESS`, which may be repeated: a list, empty when not given. What is
    `host:port` in it becomes a whole address by `openfl_cli.bootstraps.whole_addresses`."""
    parser.add_argument(
        "--bootstrap", metavar="ADDRESS", action="append", default=[], help=help_text
    )
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """`--trust-on-first-use`, for commands that take HOST:PORT as an address."""
    parser.add_argument(
        "--trust-on-first-use",
        action="store_true",
        help="take whoever answers at HOST:PORT for the node that is meant, without asking",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """`--model FILE`: None stands for the model of the home folder."""
    parser.add_argument(
        "--model", metavar="FILE", type=Path, help="a model file (default: the one of the home)"
    )


def add_pin(parser: argparse.ArgumentParser) -> None:
    """`--pin`, for commands that move the node."""
    parser.add_argument("--pin", action="store_true", help="stay there whatever others offer")


def add_stop_timeout(parser: argparse.ArgumentParser) -> None:
    """`--timeout SECONDS`, for commands that stop the node."""
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        metavar="SECONDS",
        default=15.0,
        help="how long it may take to stop (default: 15)",
    )


def positive(text: str) -> int:
    """argparse type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def share(text: str) -> float:
    """argparse type: a number within 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number within 0..1, got {text!r}")
    return value


def positive_seconds(text: str) -> float:
    """argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value


def home_folder(arguments: argparse.Namespace) -> Path:
    """`--home` > OPENFL_HOME > the platform's folder for user data; absolute. StateError when no
    node may live there: its name cannot be kept, or it belongs to somebody else."""
    from openfl.app.home_folder import Home

    home = Home.find(arguments.home, os.environ)
    home.check()
    return home.root


def home_option(home: Path) -> str:
    """` --home DIR` as it has to be typed, or nothing where a node lives anyway."""
    import shlex

    from openfl.app.home_folder import Home

    with contextlib.suppress(StateError):
        if home == Home.find(None, os.environ).root:
            return ""
    return f" --home {shlex.quote(str(home))}"


def config_file(arguments: argparse.Namespace, home: Path) -> Path | None:
    """`--config` > OPENFL_CONFIG > config.toml in the home folder when it is there."""
    given = getattr(arguments, "config", None) or os.environ.get("OPENFL_CONFIG")
    if given:
        return expanded(given)
    usual = home / CONFIG_FILE
    return usual if usual.exists() else None


def effective_config(
    arguments: argparse.Namespace, home: Path, overrides: Mapping[str, Any] | None = None
) -> Config:
    """The configuration in force: `--set` and `overrides` over environment, file and defaults."""
    from openfl.config import load_config

    layers = {**assignments(getattr(arguments, "set", [])), **(overrides or {})}
    return load_config(config_file(arguments, home), os.environ, layers)


def assignments(settings: list[str]) -> dict[str, str]:
    """`["a.b=c"]` -> `{"a.b": "c"}`; UsageError when one has no `=`."""
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set needs SECTION.KEY=VALUE, got {setting!r}")
        pairs[key.strip()] = value.strip()
    return pairs


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(to_json(value, indent=2))


def note(text: str) -> None:
    """A remark for people on stderr, so that stdout stays data."""
    print(f"openfl-node: {clean(text, 2000)}", file=sys.stderr)


def stdout_console() -> Console:
    """A rich console on stdout; without a terminal it is wide enough not to cut anything."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120
    return console
