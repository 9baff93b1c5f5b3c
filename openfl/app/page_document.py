"""What a page shows of a node, live or frozen: one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openfl import __version__

FORMAT = 1


def page_document(
    snapshot: Mapping[str, Any],
    course: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    recommendations: Mapping[str, Any] | None,
    made_at: float,
) -> dict[str, Any]:
    """All parts in their plain forms: `NodeSnapshot`, `Course`, `GroupView`, `Recommendations`
    (None: there are none). made_at: unix seconds."""
    group = snapshot["group_name"] or "no group yet"
    return {
        "format": FORMAT,
        "kind": "node",
        "title": f"Node ..{str(snapshot['peer_id'])[-6:]} in {group}",
        "made_at": made_at,
        "version": __version__,
        "snapshot": snapshot,
        "course": course,
        "groups": groups,
        "recommendations": recommendations,
    }
