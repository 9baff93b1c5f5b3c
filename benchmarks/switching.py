"""Switching groups, simulated: communities that sort themselves out. One figure a line.

The scenarios of configs/scenarios over several seeds, with 10 % message loss and real probes; what
groupings could reach at best is told by models trained centrally. docs/switching.md explains.

    python benchmarks/switching.py [--only communities,single,homogeneous,overlap,implicit,
                                           classification,directory] [--seeds 10] [--first-seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from openfl.simulation.records import Grouping
from openfl.simulation.run import Outcome, load_population, simulate
from openfl.simulation.scenario_file import load_scenario

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "scenarios"
PARTS = {
    "communities": "communities",
    "single": "communities-single",
    "homogeneous": "homogeneous",
    "overlap": "overlap",
    "implicit": "implicit",
    "classification": "classification",
}
QUIET_ROUNDS = 10


def run(name: str, settings: dict[str, Any]) -> Outcome:
    scenario = load_scenario(FOLDER / f"{name}.toml", settings)
    return simulate(scenario, load_population(scenario, Path))


def show(name: str, value: str) -> None:
    print(f"{name}: {value}", flush=True)


def part(name: str, seeds: range) -> None:
    """One scenario over the seeds: every seed as it ends, then the figures over all."""
    ends: list[Grouping] = []
    quiet, metric, nodes = 0, "", 0
    for seed in seeds:
        outcome = run(PARTS[name], {"run.seed": seed})
        end, metric, nodes = outcome.summary.grouping, outcome.summary.metric, outcome.summary.nodes
        assert end is not None
        ends.append(end)
        still = outcome.summary.rounds - (end.last_move or 0) >= QUIET_ROUNDS
        quiet += still
        show(
            f"{name}, seed {seed}",
            f"purity {end.purity:.3f}, mean {metric} {end.mean:.4f} (oracle {end.oracle:.4f}, one"
            f" model {end.together:.4f}, random {end.random:.4f}), {len(end.sizes)} groups,"
            f" {end.moves} moves, last in round {end.last_move}",
        )
    show(f"{name}, purity", over([e.purity for e in ends]))
    show(f"{name}, mean {metric}", over([e.mean for e in ends]))
    show(f"{name}, against the oracle grouping", percent([e.mean / e.oracle - 1 for e in ends]))
    show(f"{name}, against one model", percent([e.mean / e.together - 1 for e in ends]))
    show(f"{name}, against random groups", percent([e.mean / e.random - 1 for e in ends]))
    show(f"{name}, groups at the end", over([float(len(e.sizes)) for e in ends]))
    show(f"{name}, moves a node", over([e.moves / nodes for e in ends]))
    show(f"{name}, quiet in the last {QUIET_ROUNDS} rounds", f"{quiet} of {len(ends)} seeds")
    show(f"{name}, KB of probes a node", over([e.probe_bytes / 1000 for e in ends]))
    show(f"{name}, KB of cards heard by a node", over([e.directory_bytes / 1000 for e in ends]))


def directory() -> None:
    """Cards that a node hears in five groups of two and of forty nodes."""
    heard = {}
    for nodes in (10, 200):
        outcome = run("directory", {"run.nodes": nodes})
        end = outcome.summary.grouping
        assert end is not None
        heard[nodes] = end.directory_bytes
        show(f"directory, {nodes} nodes, KB of cards heard by a node", f"{heard[nodes] / 1000:.1f}")
    show("directory, 200 nodes against 10", f"{heard[200] / heard[10]:.2f} times")


def over(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def percent(values: list[float]) -> str:
    return f"{100 * np.mean(values):+.2f} % (worst {100 * max(values):+.2f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join([*PARTS, "directory"]))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.only.split(","):
        if name == "directory":
            directory()
        else:
            part(name, range(options.first_seed, options.first_seed + options.seeds))


if __name__ == "__main__":
    main()
