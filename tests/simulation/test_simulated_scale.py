"""What a delivery costs must not grow with the number of nodes."""

from __future__ import annotations

import time

import pytest

from openfl.simulation.run import load_crowd, simulate
from openfl.simulation.scenario_file import parse_scenario
from openfl_cli.sample import sample_folder


def seconds_per_delivery(nodes: int) -> float:
    """Processor time, so that other work on the machine matters little."""
    settings = {"run.nodes": nodes, "run.rounds": 3, "run.engine": "shared"}
    settings |= {"data.source": "synthetic", "data.users": nodes}
    settings |= {"data.split": "one-user-per-node"}
    scenario = parse_scenario("", "scale", overrides=settings)
    crowd = load_crowd(scenario, sample_folder)
    began = time.process_time()
    deliveries = simulate(scenario, crowd).summary.deliveries
    return (time.process_time() - began) / deliveries


@pytest.mark.slow
def test_a_delivery_costs_no_more_with_four_times_the_nodes() -> None:
    seconds_per_delivery(50)  # imports and caches
    assert seconds_per_delivery(400) < seconds_per_delivery(100)
