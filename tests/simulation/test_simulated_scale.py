"""What a delivery costs must not grow with the number of nodes."""

from __future__ import annotations

import cProfile
import pstats

from openfl.simulation.run import load_population, simulate
from openfl.simulation.scenario_file import parse_scenario
from openfl_cli.sample import sample_folder


def calls_per_delivery(nodes: int) -> float:
    """Calls of functions, which no other work on the machine changes. (How long they take is
    measured by `benchmarks/simulate.py`.)"""
    settings = {"run.nodes": nodes, "run.rounds": 3, "run.engine": "shared"}
    settings |= {"data.source": "synthetic", "data.users": nodes}
    settings |= {"data.split": "one-user-per-node"}
    scenario = parse_scenario("", "scale", overrides=settings)
    crowd = load_population(scenario, sample_folder)
    profile = cProfile.Profile()
    deliveries = profile.runcall(simulate, scenario, crowd).summary.deliveries
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return calls / deliveries


def test_a_delivery_costs_no_more_with_four_times_the_nodes() -> None:
    calls_per_delivery(10)  # imports and caches
    assert calls_per_delivery(200) < calls_per_delivery(50)
