"""`openfl-node status`: how the node is doing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.telemetry import NodeSnapshot

NAME = "status"
HELP = "how the node is doing: group, round, how well it predicts"
DESCRIPTION = """\
Show how the node in this home folder is doing. Asks the running node; when none runs, shows what
it last saved. "with the group" and "alone" are errors on ratings the node held back from training
(lower is better), so that you see what learning together is worth to you."""
EXAMPLES = """\
  openfl-node status
  openfl-node status --watch
  openfl-node status --json | jq .metrics"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)
    parser.add_argument(
        "--watch", action="store_true", help="keep showing it until Ctrl-C (needs a running node)"
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli import ask

    home = options.home_folder(arguments)
    if arguments.watch:
        from openfl_cli.watch import watch

        return watch(home, as_json=arguments.json)
    snapshot, running = ask.snapshot(home)
    if arguments.json:
        options.print_json(as_json(snapshot, running))
    else:
        from openfl_cli.view import NodeView

        options.stdout_console().print(NodeView(snapshot, running))
    return exit_codes.SUCCESS


def as_json(snapshot: NodeSnapshot, running: bool) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    metric = snapshot.metric or "rmse"  # unknown before the first evaluation
    return {
        "peer_id": snapshot.peer_id,
        "multiaddrs": list(snapshot.multiaddrs),
        "home": snapshot.home,
        "running": running,
        "phase": snapshot.phase if running else "stopped",
        "time": snapshot.time,
        "uptime_seconds": max(0.0, snapshot.time - snapshot.started_at) if running else None,
        "group": {
            "id": snapshot.group_id,
            "name": snapshot.group_name,
            "task": snapshot.task,
        },
        "members": len(snapshot.members),
        "peers": len(snapshot.peers),
        "round": snapshot.round,
        "rounds": snapshot.rounds,
        "train_examples": snapshot.train_examples,
        "model_rows": snapshot.model_rows,
        "metrics": {
            "metric": metric,
            f"validation_{metric}": snapshot.validation,
            f"alone_{metric}": snapshot.alone,
            f"test_{metric}": snapshot.test,
            f"alone_test_{metric}": snapshot.alone_test,
            "history": list(snapshot.history),
        },
        "bytes": {
            "sent": snapshot.bytes_sent,
            "received": snapshot.bytes_received,
            "published": snapshot.published_bytes,
        },
        "deltas_merged": snapshot.deltas_merged,
        "faults": dict(snapshot.faults),
        "member_list": [
            {
                "peer_id": member.peer_id,
                "round": member.round,
                "fit": member.fit,
                "rows": member.rows,
                "age_seconds": member.age_seconds,
                "me": member.me,
            }
            for member in snapshot.members
        ],
    }
