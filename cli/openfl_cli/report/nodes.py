"""The document of several real nodes that ran at the same time: what each kept of its course, put
together over seconds as simulated runs are over rounds."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMAT = 1
MOST_MOMENTS = 100
"""Along the x axis."""


@dataclass(frozen=True)
class Seen:
    """One of the nodes. course: plain, as `Course.to_plain`. community: None where nobody knows of
    any."""

    name: str
    course: Mapping[str, Any]
    community: int | None = None


@dataclass(frozen=True)
class About:
    """What the nodes' courses do not say. events: (unix seconds, text)."""

    title: str
    description: str
    metric: str
    events: Sequence[tuple[float, str]] = ()


def nodes_document(
    about: About, nodes: Sequence[Seen], made_at: float, version: str
) -> dict[str, Any]:
    """The document of the page, of the kind "simulation". ValueError: no node has done a round."""
    times = [point["time"] for node in nodes for point in node.course["points"]]
    if not times:
        raise ValueError("no node has done a round")
    begun = min(times)
    total = max(1, math.ceil(max(times) - begun))
    step = math.ceil(total / MOST_MOMENTS)
    moments = sorted({*range(0, total, step), total})
    paths = [_path(node, begun) for node in nodes]
    moves = _moves(nodes, begun)
    records = [_record(nodes, paths, moves, begun, moment) for moment in moments]
    communities = {node.community for node in nodes} - {None}
    alone = [points[-1]["alone"] for node in nodes if (points := node.course["points"])]
    known = [value for value in alone if value is not None]
    references = []
    if len(known) == len(nodes):
        references = [{"key": "alone", "name": "each alone", "value": statistics.fmean(known)}]
    return {
        "format": FORMAT,
        "kind": "simulation",
        "title": about.title,
        "made_at": made_at,
        "version": version,
        "scenario": {
            "name": about.title,
            "description": about.description,
            "nodes": len(nodes),
            "rounds": total,
            "metric": about.metric,
            "several": True,
            "communities": max(1, len(communities)),
            "unit": "second",
            "step": step,
            "measured": "held-out",
        },
        "events": [
            {"round": max(0, round(time - begun)), "what": "event", "text": text}
            for time, text in about.events
        ],
        "references": references,
        "runs": [
            {
                "series": about.title,
                "seed": 0,
                "label": about.title,
                "rounds": records,
                "nodes": [
                    {
                        "name": node.name,
                        "community": node.community,
                        "hostile": False,
                        "path": path,
                        "values": [_at(node, begun + moment, "validation") for moment in moments],
                    }
                    for node, path in zip(nodes, paths, strict=True)
                ],
                "moves": moves,
                "summary": {},
            }
        ],
        "aggregate": [],
    }


def _path(node: Seen, begun: float) -> list[tuple[int, str | None]]:
    """(second, group) where that changed; its first group from the beginning on."""
    moves, points = node.course["moves"], node.course["points"]
    if not moves:
        return [(0, points[0]["group"] if points else None)]
    path = [(max(0, round(move["time"] - begun)), move["to"]) for move in moves]
    return [(0, moves[0]["from"] or moves[0]["to"]), *path]


def _moves(nodes: Sequence[Seen], begun: float) -> list[dict[str, Any]]:
    """From one group to another, in order of time."""
    found = [
        (move["time"], number, move)
        for number, node in enumerate(nodes)
        for move in node.course["moves"]
        if move["from"] is not None
    ]
    return [
        {
            "round": max(0, round(time - begun)),
            "node": number,
            "from": move["from"],
            "to": move["to"],
            "action": move["action"],
            "why": move["why"],
        }
        for time, number, move in sorted(found, key=lambda entry: entry[:2])
    ]


def _at(node: Seen, time: float, key: str) -> Any:
    """What the node's last point until then has; None before its first."""
    points = node.course["points"]
    place = bisect.bisect_right(points, time, key=lambda point: point["time"])
    return points[place - 1][key] if place else None


def _record(
    nodes: Sequence[Seen],
    paths: Sequence[Sequence[tuple[int, str | None]]],
    moves: Sequence[Mapping[str, Any]],
    begun: float,
    moment: int,
) -> dict[str, Any]:
    """As a record of a simulation, at `moment` seconds."""
    values = [_at(node, begun + moment, "validation") for node in nodes]
    known = [value for value in values if value is not None]
    whole = len(known) == len(nodes)  # else a mean would change with who is in it
    sent = [_at(node, begun + moment, "bytes_sent") or 0 for node in nodes]
    return {
        "round": moment,
        "test": {
            "pooled": None,
            "mean": statistics.fmean(known) if whole else None,
            "median": statistics.median(known) if whole else None,
            "worst": max(known) if whole else None,
        },
        "members": sum(value is not None for value in values),
        "published_bytes": statistics.fmean(sent),
        "purity": _purity(nodes, paths, moment),
        "moves": sum(move["round"] <= moment for move in moves),
    }


def _purity(
    nodes: Sequence[Seen], paths: Sequence[Sequence[tuple[int, str | None]]], moment: int
) -> float | None:
    """Part of the nodes in a group whose most common community is theirs; None where nobody knows
    of communities."""
    if any(node.community is None for node in nodes):
        return None
    where: dict[str | None, Counter[int | None]] = {}
    for node, path in zip(nodes, paths, strict=True):
        group = [name for second, name in path if second <= moment][-1]
        where.setdefault(group, Counter())[node.community] += 1
    return sum(max(inside.values()) for inside in where.values()) / len(nodes)
