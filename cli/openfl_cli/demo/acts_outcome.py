"""What `demo --communities` and `demo --people` tell at the end, beside the table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openfl_cli.demo.crew import name_of
from openfl_cli.demo.references import Reference, mean
from openfl_cli.demo.tastes import NO_TASTE, Listeners
from openfl_cli.demo.two_acts import ActsEnd
from openfl_cli.text import change_percent, metric_value

ENDED = "as they ended"


def comparison_lines(end: ActsEnd, found: Sequence[Reference]) -> list[str]:
    """The mean error that the nodes ended with, and that of each reference, a line each."""
    ended = mean(end.after)
    width = max(len(ENDED), *(len(reference.text) for reference in found))
    lines = [
        "mean RMSE of the nodes, and with models trained in one place instead:",
        f"  {ENDED:{width}}  {metric_value(ended)}",
    ]
    for reference in found:
        line = f"  {reference.text:{width}}  {metric_value(reference.mean)}"
        change = change_percent(ended, reference.mean)
        if change is not None:
            better = "better" if change <= 0 else "worse"
            line += f"  (they ended {abs(change):.1f} % {better})"
        lines.append(line)
    return lines


def as_json(end: ActsEnd, found: Sequence[Reference], failures: Sequence[str]) -> dict[str, Any]:
    """The shape that docs/cli.md promises, without what only one of the demos knows."""
    return {
        "sorted_out": not failures,
        "problems": list(failures),
        "seconds": round(end.seconds, 2),
        "seconds_to_sort": round(end.sorted_seconds, 2),
        "rounds": end.rounds,
        "rounds_to_sort": end.sorted_rounds,
        "groups": len(set(end.groups)),
        "mean_rmse": {
            "before": mean(end.before),
            "after": mean(end.after),
            **{reference.key: reference.mean for reference in found},
        },
        "nodes": [
            {
                "node": name_of(number),
                **_who(shard),
                "first_group": end.first_groups[number],
                "group": end.groups[number],
                "moves": end.moves[number],
                "rmse_before": end.before[number],
                "rmse_after": end.after[number],
                "change_percent": change_percent(end.after[number], end.before[number]),
                **{f"rmse_{reference.key}": reference.errors[number] for reference in found},
            }
            for number, shard in enumerate(end.shards)
        ],
        "places": [
            {"node": name_of(p.node), "group": p.group, "seconds": round(p.seconds, 2)}
            for p in end.places
        ],
        "decisions": [
            {
                "node": name_of(d.node),
                "seconds": round(d.seconds, 2),
                "round": d.round,
                "action": d.action,
                "text": d.text,
            }
            for d in end.decisions
        ],
    }


def _who(shard: Listeners) -> dict[str, Any]:
    if shard.community == NO_TASTE:
        return {"person": shard.users[0]}
    return {"community": shard.community}
