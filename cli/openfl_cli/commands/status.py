"""`openfl-node status`: how the node is doing."""

from __future__ import annotations

import argparse
from pathlib import Path

from openfl_cli import exit_codes, options

NAME = "status"
HELP = "how the node is doing: group, round, how well it predicts"
DESCRIPTION = """\
Show how the node in this home folder is doing. Asks the running node; when none runs, shows what
it last saved. "with the group" and "alone" are errors on ratings the node held back from training
(lower is better), so that you see what learning together is worth to you.

--healthy says in one line whether the node runs, is in a group, does its rounds and saves them: for
service managers and containers. It ends with exit code 10 when that is not so."""
EXAMPLES = """\
  openfl-node status
  openfl-node status --why
  openfl-node status --watch
  openfl-node status --healthy || openfl-node logs -n 20
  openfl-node status --json | jq .metrics"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)
    parser.add_argument(
        "--why", action="store_true", help="why it is in its group, and its last decisions"
    )
    parser.add_argument(
        "--healthy", action="store_true", help="whether all is well, as a line and an exit code"
    )
    parser.add_argument(
        "--watch", action="store_true", help="keep showing it until Ctrl-C (needs a running node)"
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli import ask

    home = options.home_folder(arguments)
    if arguments.healthy:
        return _healthy(home, arguments.json)
    if arguments.watch:
        from openfl_cli.watch import watch

        return watch(home, as_json=arguments.json)
    snapshot, running = ask.snapshot(home)
    if arguments.why:
        if arguments.json:
            from dataclasses import asdict

            options.print_json(asdict(snapshot.switching))
        else:
            from openfl_cli.view import decision_lines

            for line in decision_lines(snapshot):
                options.stdout_console().print(line)
    elif arguments.json:
        from openfl_cli.status_json import status_json

        options.print_json(status_json(snapshot, running))
    else:
        from openfl_cli.view import NodeView

        options.stdout_console().print(NodeView(snapshot, running), crop=False)
    return exit_codes.SUCCESS


def _healthy(home: Path, as_json: bool) -> int:
    from openfl.core.errors import NotRunningError
    from openfl_cli import ask, health

    try:
        snapshot = ask.running_snapshot(home)
    except NotRunningError as error:
        wrong, now = str(error), ""
    else:
        wrong, now = health.what_is_wrong(snapshot), health.in_short(snapshot)
    if as_json:
        options.print_json({"healthy": not wrong, "why": wrong, "now": now})
    else:
        print(f"not healthy: {wrong}" if wrong else f"healthy: {now}")
    return exit_codes.UNMET if wrong else exit_codes.SUCCESS
