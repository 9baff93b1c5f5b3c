"""The result of a simulation as a table and a few sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from openfl_cli.text import human_bytes, metric_label, metric_value

if TYPE_CHECKING:
    from openfl.simulation.records import Grouping, RoundRecord, Summary

MOST_ROWS = 16


def result_table(records: Sequence[RoundRecord]) -> Table:
    """A row for each round; of many rounds the first ones and an even choice of the others."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    several = any(record.several for record in records)
    names = (
        "round",
        "time s",
        "members",
        "validation",
        "test",
        "median",
        "worst",
        "vs central",
        "published/node",
        "merged",
    )
    for name in (*names, *(("groups", "purity", "moves") if several else ())):
        table.add_column(name, justify="right")
    for record in _chosen(records):
        table.add_row(
            str(record.round),
            f"{record.time:.0f}",
            str(record.members),
            metric_value(record.validation.pooled),
            metric_value(record.test.pooled),
            metric_value(record.test.median),
            metric_value(record.test.worst),
            percent(record.against_central),
            human_bytes(record.published_bytes),
            f"{record.merged:,}",
            *(_of_groups(record) if several else ()),
        )
    return table


def _of_groups(record: RoundRecord) -> tuple[str, str, str]:
    purity = f"{record.purity:.2f}" if math.isfinite(record.purity) else "-"
    return str(len(record.groups)), purity, str(record.moves)


def sentences(summary: Summary) -> list[str]:
    """What there is to say about a run as a whole."""
    central = summary.final / (1 + summary.against_central)  # on the nodes there at the end
    label = metric_label(summary.metric)
    held_out = "ratings" if summary.metric == "rmse" else "held-out data"
    lines = [
        f"Central training, judged on the same {held_out}: test {label} {metric_value(central)};"
        f" the nodes together: {metric_value(summary.final)} ({percent(summary.against_central)})."
    ]
    if summary.first_within is None or summary.published_until is None:
        lines.append(f"Not within 1 % of central training in {summary.rounds} rounds.")
    else:
        lines.append(
            f"Within 1 % of central training after {summary.first_within} rounds and"
            f" {human_bytes(summary.published_until)} published a node."
        )
    if summary.grouping is not None:
        lines += _grouping(summary.grouping, label)
    if summary.engine == "shared":
        lines.append(
            "Nodes shared one ledger of registers: each delta was encoded and read back by its"
            " author only, and heartbeats and repair were modelled."
        )
    elif summary.wire == "once":
        lines.append("Each message was decoded and checked once, for all who heard it.")
    else:
        lines.append("Every receiver decoded and checked every message itself.")
    if summary.faults:
        told = ", ".join(f"{name} {count:,}" for name, count in summary.faults.items())
        lines.append(f"Refused or failed: {told}.")
    lines.append(f"Seed {summary.seed}, {summary.deliveries:,} deliveries, trace {summary.trace}.")
    return lines


def _grouping(end: Grouping, label: str) -> list[str]:
    """How the nodes are grouped at the end, against other groupings."""
    sizes = ", ".join(f"{name} {count}" for name, count in end.sizes.items())
    last = f", the last in round {end.last_move}" if end.last_move is not None else ""
    return [
        f"Groups at the end: {sizes}; purity {end.purity:.2f}."
        f" {end.moves} moves{last}; {end.founded} of them to found a group.",
        f"Mean of the nodes' test {label}: {metric_value(end.mean)}. By models trained centrally:"
        f" one for each community {metric_value(end.oracle)}, one for all"
        f" {metric_value(end.together)}, one for each random group {metric_value(end.random)}.",
        f"Each node heard {human_bytes(end.directory_bytes)} of cards and spent"
        f" {human_bytes(end.probe_bytes)} on looking at other groups.",
    ]


def percent(change: float) -> str:
    """`+0.32 %`; a dash when it is not known."""
    return f"{100 * change:+.2f} %" if math.isfinite(change) else "-"


def _chosen(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    if len(records) <= MOST_ROWS:
        return list(records)
    first, rest = MOST_ROWS // 2, MOST_ROWS - MOST_ROWS // 2
    after = records[first:]
    picks = {round((n + 1) * len(after) / rest) - 1 for n in range(rest)}
    return [*records[:first], *(after[n] for n in sorted(picks))]
