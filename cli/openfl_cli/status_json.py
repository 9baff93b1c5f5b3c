"""A node's state as `openfl-node status --json` prints it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from openfl.config.kinds import KINDS, RATING
from openfl.core.telemetry import ItemsView, NodeSnapshot


def status_json(snapshot: NodeSnapshot, running: bool) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    # Unknown before the first evaluation.
    kind = KINDS.get(snapshot.task, RATING)
    metric = snapshot.metric or kind.metric
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
        **({"useful_after_seconds": snapshot.useful_after} if running else {}),
        "members": len(snapshot.members),
        "strangers": snapshot.strangers,
        "peers": len(snapshot.peers),
        "round": snapshot.round,
        "rounds": snapshot.rounds,
        **({"interval_seconds": snapshot.interval_seconds} if running else {}),
        "train_examples": snapshot.train_examples,
        "model_rows": snapshot.model_rows,
        "items": None if snapshot.items is None else _items(snapshot.items),
        "skipped_rows": snapshot.skipped_rows,
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
        "switching": {
            "auto": snapshot.switching.auto,
            "pinned": snapshot.switching.pinned,
            "moves": snapshot.switching.moves,
            "dwell_rounds": snapshot.switching.dwell_rounds,
            "why": snapshot.switching.why,
        },
        "directory": {**asdict(snapshot.directory), "text": snapshot.directory.text},
        "notices": [asdict(notice) for notice in snapshot.notices],
        "resources": None if snapshot.resources is None else asdict(snapshot.resources),
        "deltas_merged": snapshot.deltas_merged,
        "faults": dict(snapshot.faults),
        "privacy": None if snapshot.privacy is None else asdict(snapshot.privacy),
        "member_list": [
            {
                "peer_id": member.peer_id,
                "round": member.round,
                "fit": member.fit,
                "rows": member.rows,
                "age_seconds": member.age_seconds,
                "me": member.me,
                "left_out": member.left_out,
                "history": member.history,
            }
            for member in snapshot.members
        ],
    }


def _items(view: ItemsView) -> dict[str, Any]:
    plain = asdict(view)
    if view.named is None:
        del plain["named"]  # said only where items have names
    return plain
