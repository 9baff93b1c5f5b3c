"""Several runs of a scenario, which differ by their seed: mean and spread of how they ended."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from openfl_cli.simulation.table import percent
from openfl_cli.text import human_bytes, metric_label, metric_value


@dataclass(frozen=True)
class Spread:
    """Of one quantity at the end of the runs. key: its name for scripts; name: for people; head: as
    short as the table of a run has it. spread: the standard deviation (divisor n - 1; 0 of one
    run). unit: `B`, `part` or nothing."""

    key: str
    name: str
    head: str
    unit: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the runs."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """See above."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def shown(self, value: float) -> str:
        """`value`, one of this quantity."""
        if self.unit == "B":
            return human_bytes(value)
        if self.unit == "part":
            return percent(value)
        return f"{value:.2f}" if self.key in ("purity", "moves", "groups") else metric_value(value)

    def to_plain(self) -> dict[str, Any]:
        """For JSON and for the report."""
        return {
            **{key: value for key, value in asdict(self).items() if key not in ("head", "values")},
            "mean": self.mean,
            "spread": self.spread,
            "least": min(self.values),
            "most": max(self.values),
        }


def spreads_of(records: Sequence[Mapping[str, Any]]) -> list[Spread]:
    """Of the last records of several runs (plain, as `RoundRecord.to_plain` has them). A quantity
    that one of the runs does not know is left out."""
    label = metric_label(str(records[0]["metric"]))
    several = any(len(r["groups"]) > 1 or r["moves"] for r in records)
    wanted = [
        ("test", f"test {label}, all nodes", "test", "", [r["test"]["pooled"] for r in records]),
        ("mean", f"test {label}, mean node", "mean", "", [r["test"]["mean"] for r in records]),
        ("worst", f"test {label}, worst node", "worst", "", [r["test"]["worst"] for r in records]),
        (
            "against_central",
            "against central",
            "vs central",
            "part",
            [r["against_central"] for r in records],
        ),
        (
            "published_bytes",
            "published by a node",
            "published/node",
            "B",
            [r["published_bytes"] for r in records],
        ),
    ]
    if several:
        wanted += [
            ("groups", "groups", "groups", "", [len(r["groups"]) for r in records]),
            ("purity", "purity", "purity", "", [r["purity"] for r in records]),
            ("moves", "moves", "moves", "", [r["moves"] for r in records]),
        ]
    return [
        Spread(key, name, head, unit, tuple(float(value) for value in values))
        for key, name, head, unit, values in wanted
        if all(value is not None and math.isfinite(value) for value in values)
    ]


def seeds_table(seeds: Sequence[int], spreads: Sequence[Spread]) -> Table:
    """A row for each seed, then their mean and standard deviation."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("seed", justify="right")
    for spread in spreads:
        table.add_column(spread.head, justify="right")
    for number, seed in enumerate(seeds):
        table.add_row(str(seed), *(spread.shown(spread.values[number]) for spread in spreads))
    table.add_section()
    table.add_row("mean", *(spread.shown(spread.mean) for spread in spreads), style="bold")
    table.add_row("sd", *(spread.shown(spread.spread).lstrip("+") for spread in spreads))
    return table


def seeds_plain(seeds: Sequence[int], spreads: Sequence[Spread]) -> dict[str, Any]:
    """The object of the kind "seeds", the last line of `simulate --seeds N --json`."""
    return {
        "kind": "seeds",
        "seeds": list(seeds),
        "quantities": [spread.to_plain() for spread in spreads],
    }
