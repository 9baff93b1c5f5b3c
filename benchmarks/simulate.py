"""Simulated groups against central training, and what a simulation costs. One figure a line.

MovieLens 100K dealt out by user; the nodes' own code over a simulated network. `within` is the
first round interval after which the pooled held-out (test) RMSE of all nodes is within 1 % of the
same task trained in one place on the same split.

    python benchmarks/simulate.py [--only rows,faults,users,cost] [--seeds 1] [--rounds 30]
        [--nodes 16,64] [--row-fractions 1,0.5,0.25] [--engine sessions]
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from _ml100k import ml100k_csv

from openfl.simulation.dataset import Dataset, load_dataset
from openfl.simulation.population import population_of
from openfl.simulation.records import RoundRecord, Summary
from openfl.simulation.run import load_population, simulate
from openfl.simulation.scenario import Scenario
from openfl.simulation.scenario_file import parse_scenario

PARTS = ("rows", "faults", "users", "cost")


@dataclass(frozen=True)
class Measured:
    """What is kept of an outcome: a run of a thousand nodes is too large to keep many."""

    summary: Summary
    records: tuple[RoundRecord, ...]


def scenario_of(settings: dict[str, Any]) -> Scenario:
    return parse_scenario("", "benchmark", overrides=settings)


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.seeds: int = options.seeds
        self.engine: str = options.engine
        self.rounds: int = options.rounds
        self.nodes = [int(nodes) for nodes in options.nodes.split(",")]
        self.row_fractions = [float(part) for part in options.row_fractions.split(",")]
        self.source = str(ml100k_csv())
        self.dataset: Dataset | None = None

    def runs(self, settings: dict[str, Any]) -> list[Measured]:
        """One outcome a seed."""
        outcomes = []
        for seed in range(self.seeds):
            scenario = scenario_of(
                {
                    "run.seed": seed,
                    "run.rounds": self.rounds,
                    "data.source": self.source,
                    "run.engine": self.engine,
                    "network.wire": "once",
                    **settings,
                }
            )
            if self.dataset is None:
                self.dataset = load_dataset(scenario, lambda: ml100k_csv().parent)
            outcome = simulate(scenario, population_of(scenario, self.dataset))
            outcomes.append(Measured(outcome.summary, outcome.records))
        return outcomes


def show(name: str, value: str) -> None:
    print(f"{name}: {value}", flush=True)


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def told(name: str, outcomes: list[Measured]) -> None:
    """Rounds and KB to within 1 %, and the end; worst seed in brackets when there are several."""
    summaries = [outcome.summary for outcome in outcomes]
    within = [s.first_within for s in summaries]
    known = [w for w in within if w is not None]
    if len(known) < len(within):
        show(f"{name}, rounds to within 1 %", f"not in {len(within) - len(known)} of {len(within)}")
    if known:
        show(f"{name}, rounds to within 1 %", f"{mean(known):.1f} (worst {max(known)})")
        until = [s.published_until / 1000 for s in summaries if s.published_until is not None]
        show(
            f"{name}, KB published a node until then", f"{mean(until):.1f} (worst {max(until):.1f})"
        )
    final = [100 * s.against_central for s in summaries]
    show(f"{name}, final against central", f"{mean(final):+.2f} % (worst {max(final):+.2f} %)")


def rows(bench: Bench) -> None:
    for nodes in bench.nodes:
        for fraction in bench.row_fractions:
            settings = {"run.nodes": nodes, "training.row_fraction": fraction}
            told(f"{nodes} nodes, {fraction:.0%} of the rows", bench.runs(settings))


def faults(bench: Bench) -> None:
    for nodes in bench.nodes:
        told(
            f"{nodes} nodes, 20 % loss, delays to 3 rounds, 20 % stragglers, half active",
            bench.runs(
                {
                    "run.nodes": nodes,
                    "run.rounds": 2 * bench.rounds,
                    "network.loss": 0.2,
                    "network.delay_rounds": 3.0,
                    "members.straggler_fraction": 0.2,
                    "members.active": 0.5,
                }
            ),
        )


def users(bench: Bench) -> None:
    outcomes = bench.runs(
        {
            "run.nodes": 943,
            "run.rounds": min(bench.rounds, 12),
            "run.engine": "shared",
            "data.split": "one-user-per-node",
        }
    )
    told("943 nodes of one user", outcomes)
    rounds = [r for outcome in outcomes for r in outcome.records[:4]]
    each = mean([r.published_bytes / r.rounds_done / 1000 for r in rounds])
    show("943 nodes of one user, KB a node and round (first 4)", f"{each:.2f}")


def cost(bench: Bench) -> None:
    """Synthetic data, one user a node, every node merges every other's deltas."""
    for nodes in (100, 300, 1000):
        scenario = scenario_of(
            {
                "run.nodes": nodes,
                "run.rounds": bench.rounds,
                "run.engine": "shared",
                "data.source": "synthetic",
                "data.split": "one-user-per-node",
                "data.users": nodes,
            }
        )
        population = load_population(scenario, lambda: ml100k_csv().parent)
        began, used = time.perf_counter(), time.process_time()
        deliveries = simulate(scenario, population).summary.deliveries
        seconds = time.perf_counter() - began
        processor = time.process_time() - used
        name = f"{nodes} nodes, {bench.rounds} rounds"
        show(f"{name}, seconds", f"{seconds:.1f}")
        show(f"{name}, processor seconds", f"{processor:.1f}")
        show(f"{name}, deliveries", f"{deliveries:,}")
        show(f"{name}, processor microseconds a delivery", f"{1e6 * processor / deliveries:.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    show("peak memory, GB", f"{peak:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", choices=("sessions", "shared"), default="sessions")
    parser.add_argument("--nodes", default="16,64")
    parser.add_argument("--row-fractions", default="1,0.5,0.25")
    options = parser.parse_args()
    bench = Bench(options)
    for part in options.only.split(","):
        {"rows": rows, "faults": faults, "users": users, "cost": cost}[part](bench)


if __name__ == "__main__":
    main()
