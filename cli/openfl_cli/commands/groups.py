"""`openfl-node groups`: the groups that the network knows."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError, UsageError
from openfl_cli import exit_codes, options
from openfl_cli.group_words import fit_for_me, name_doubts

if TYPE_CHECKING:
    from rich.table import Table

    from openfl.core.telemetry import GroupView

NAME = "groups"
HELP = "the groups known to the network"
DESCRIPTION = """\
List the learning groups that the network knows: how many members each has, how well its model
serves them (the error on ratings they held back; lower is better), how fresh that is, and what the
group would be worth to you: the change of your own error there, as your node measured it. Asks the
node that runs in this home folder; when none runs, joins the network through --bootstrap for a few
seconds, under a temporary identity, and leaves again."""
EXAMPLES = """\
  openfl-node groups
  openfl-node groups --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
  openfl-node groups --json | jq -r '.[] | [.name, .members] | @tsv'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    options.add_bootstrap(
        parser,
        "a node to ask through when none runs here; may be repeated (default: as configured)",
    )
    parser.add_argument(
        "--seconds",
        type=options.positive_seconds,
        default=2.5,
        metavar="N",
        help="how long to ask around when no node runs here (default: 2.5)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    groups = find_groups(arguments)
    if arguments.json:
        options.print_json(as_json(groups))
    elif not groups:
        print("the network knows no groups yet")
    else:
        options.stdout_console().print(as_table(groups))
    return exit_codes.SUCCESS


def find_groups(arguments: argparse.Namespace) -> list[GroupView]:
    """From the running node, else by joining briefly. UsageError when there is nobody to ask."""
    from openfl.core.telemetry import GroupView
    from openfl_cli import ask

    home = options.home_folder(arguments)
    try:
        answer = ask.running_node(home, "groups", timeout_seconds=30)
        groups = [GroupView(**group) for group in answer]
        if all(group.mine for group in groups):
            # On stderr, so that JSON stays what it is; status --json has it, too.
            shot = ask.running_snapshot(home)
            options.note(f"no other group is known: {shot.directory.text}")
        return groups
    except NotRunningError:
        from openfl_cli.bootstraps import whole_addresses

        bootstrap = tuple(whole_addresses(arguments, home))
        overrides = {"network.bootstrap": bootstrap} if bootstrap else {}
        config = options.effective_config(arguments, home, overrides)
        if not config.network.bootstrap:
            raise UsageError(
                f"no node runs in {home}, so say whom to ask: --bootstrap MULTIADDR"
                " (a running node prints its own with: openfl-node id)"
            ) from None
    import trio

    from openfl.app import runtime

    key = runtime.load_key_of(config)
    found = trio.run(runtime.discover_groups, config.network.bootstrap, arguments.seconds, key)
    return list(found)


def as_json(groups: Sequence[GroupView]) -> list[dict[str, Any]]:
    """The shape that docs/cli.md promises. `fit` is the median when known, else the best."""
    return [
        {
            "id": group.id,
            "name": group.name,
            "task": group.task,
            "members": group.members,
            "fit": group.fit_median if group.fit_median is not None else group.fit_best,
            "fit_best": group.fit_best,
            "fit_metric": group.fit_metric,
            "age_seconds": group.age_seconds,
            "mine": group.mine,
            "compatible": group.compatible,
            "reason": group.reason,
            "gain": group.gain,
            "gain_error": group.gain_error,
            "tried_rounds_ago": group.tried_rounds_ago,
        }
        for group in groups
    ]


def as_table(groups: Sequence[GroupView]) -> Table:
    """Our own group first, then the largest; a remark says what to know before joining one."""
    from rich.table import Table

    from openfl.core.names import skeleton
    from openfl_cli.text import clean, human_age, metric_label, metric_value

    metrics = {group.fit_metric for group in groups if group.fit_metric}
    one_metric = metrics.pop() if len(metrics) == 1 else None
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("group", overflow="fold")
    table.add_column("id", no_wrap=True)
    table.add_column("task")
    table.add_column("members", justify="right")
    label = metric_label(one_metric) if one_metric else "fit"
    table.add_column(f"{label} median", justify="right")
    table.add_column("best", justify="right")
    table.add_column("heard", justify="right")
    table.add_column("for me", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    likeness = Counter(skeleton(group.name) for group in groups)
    for group in sorted(groups, key=lambda group: (not group.mine, -group.members, group.name)):
        remark = "this node's" if group.mine else "" if group.compatible else clean(group.reason)
        doubts = name_doubts(group.name, likeness)
        remark = "; ".join(part for part in (remark, *doubts) if part)
        table.add_row(
            "*" if group.mine else "",
            clean(group.name, 64),
            group.id[:12],
            clean(group.task, 24),
            f"{group.members:,}",
            metric_value(group.fit_median),
            metric_value(group.fit_best),
            human_age(group.age_seconds),
            fit_for_me(group),
            remark,
        )
    return table
