"""What a scenario says to each session, and to each node that may change its group."""

from __future__ import annotations

from dataclasses import asdict, fields

from openfl.aggregation.replica import ReplicaLimits
from openfl.group.screening import AggregationSettings
from openfl.group.settings import SessionSettings
from openfl.simulation.scenario import Scenario
from openfl.switching.expected_gain import GainPrior
from openfl.switching.policy import SelectionSettings

USUAL_MAX_MEMBERS = 4096
"""Of a replica, in simulations of no more nodes."""


def session_settings(scenario: Scenario, nodes: int, wait_for_members: int) -> SessionSettings:
    """The settings of one of `nodes` sessions."""
    training, network = scenario.training, scenario.network
    # In lockstep members ask for their next round early and are held until its moment.
    pace = 0.5 if training.lockstep else 1.0
    return SessionSettings(
        rounds=training.rounds,
        interval_seconds=pace * training.interval_seconds,
        row_fraction=training.row_fraction,
        refresh_fraction=training.refresh_fraction,
        target_publishers=training.target_publishers,
        heartbeat_seconds=network.heartbeat_seconds,
        aggregation=AggregationSettings(rule=training.rule),
        wait_for_members=wait_for_members,
        limits=ReplicaLimits(
            max_members=max(USUAL_MAX_MEMBERS, nodes),
            member_ttl_seconds=network.member_ttl_seconds,
        ),
    )


def selection_settings(scenario: Scenario) -> SelectionSettings:
    """How each node of the scenario chooses its group."""
    groups, switching = scenario.groups, asdict(scenario.switching)
    prior = GainPrior(**{key.name: switching.pop(key.name) for key in fields(GainPrior)})
    return SelectionSettings(
        enabled=groups.switching,
        founding=groups.founding,
        found_after_rounds=groups.founding_after_rounds,
        prior=prior,
        **switching,
    )
