"""`openfl-node restart`: stop the node, and start it as it was started."""

from __future__ import annotations

import argparse
from itertools import pairwise
from typing import TYPE_CHECKING

from openfl.core.errors import NotRunningError, StateError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl_cli.last_start import LastStart

NAME = "restart"
HELP = "stop the node, and start it in the background as it was started"
DESCRIPTION = """\
Stop the node of this home folder, and start it in the background with the options, the OPENFL_
variables and the working folder of its last start; config.toml is read anew. Whether that can be
done is looked at first: a mistake in the configuration leaves the node running. When no node runs,
it is started."""
EXAMPLES = """\
  openfl-node restart
  openfl-node restart --timeout 60"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_stop_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.home_folder import is_locked
    from openfl_cli import background, last_start
    from openfl_cli.service_managers import is_installed
    from openfl_cli.services import restart_hint

    home = options.home_folder(arguments)
    start, runs = last_start.load(home), is_locked(home)
    if start is None:
        if runs:
            raise StateError(
                f"how the node in {home} was started is not known: stop it, and start it as before"
            )
        raise NotRunningError(
            f"no node was started in {home} yet; begin with: openfl-node start --detach"
            f"{options.home_option(home)}"
        )
    if start.service and is_installed(start.service):
        raise StateError(
            f"the node in {home} runs as the service {start.service}:"
            f" restart it with: {restart_hint(start.service)}"
        )
    code = background.check_start(home, start)
    if code != exit_codes.SUCCESS:
        if runs:
            options.note("the node goes on as it was")
        return code
    if runs:
        background.stop_node(home, leave=False, timeout_seconds=arguments.timeout)
        print("stopped")
    return background.start_detached(home, start, _as_json(start))


def _as_json(start: LastStart) -> bool:
    pairs = pairwise(start.arguments)
    return "--log-format=json" in start.arguments or ("--log-format", "json") in pairs
