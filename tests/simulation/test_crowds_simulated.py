"""Many groups on shared ledgers: nodes come, leave, crash, return and move, as with replicas of
their own."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from openfl.aggregation.replica import ReplicaLimits
from openfl.simulation.communities import assign
from openfl.simulation.grouped_medium import GroupedMedium, GroupReplica
from openfl.simulation.run import Outcome, load_population, simulate
from openfl.simulation.scenario_file import parse_scenario
from openfl_cli.sample import sample_folder

CROWD = """
[data]
source = "communities"
communities = 2
items = 40
ratings_per_user = 20

[task]
factors = 2

[training]
rule = "mean"

[groups]
count = 2
switching = true
founding = false

[network]
wire = "once"
"""


def crowd(engine: str, events: str = "", **settings: object) -> Outcome:
    given = {"run.nodes": 16, "data.users": 64, "data.split": "community", "run.rounds": 16}
    given |= {"run.engine": engine, **settings}
    scenario = parse_scenario(CROWD + events, "crowd", overrides=given)
    return simulate(scenario, load_population(scenario, sample_folder))


def test_one_community_becomes_one_group_on_shared_ledgers_as_with_replicas() -> None:
    one = {"data.communities": 1, "run.nodes": 12, "data.users": 48, "run.rounds": 14}
    found = {engine: crowd(engine, **one).summary for engine in ("sessions", "shared")}
    for summary in found.values():
        assert summary.grouping is not None
        assert list(summary.grouping.sizes.values()) == [12]


def assert_ledgers_hold_what_replicas_would(outcome: Outcome) -> None:
    """To the last bit: what is in the ledger once everything has arrived, and what a replica holds
    that merged it all, one delta at a time."""
    medium = outcome.engine.medium
    assert isinstance(medium, GroupedMedium)
    compared = 0
    for group in medium.groups.values():
        expected = group.everything.view()
        for seat in group.present().tolist():
            member = group.seats[seat]
            assert member is not None
            replica = GroupReplica(group, seat, member.peer_id, lambda: math.inf, ReplicaLimits())
            found = replica.view()
            assert found.tables.keys() == expected.tables.keys()
            for name, table in expected.tables.items():
                assert found.tables[name].rows.tobytes() == table.rows.tobytes()
                assert np.array_equal(found.tables[name].keys, table.keys)
                assert np.array_equal(found.tables[name].evidence, table.evidence)
            compared += 1
    assert compared == len(outcome.engine.state.present())


def test_ledgers_hold_what_replicas_would_after_moves() -> None:
    outcome = crowd("shared", **{"data.communities": 1, "run.rounds": 10})
    assert outcome.summary.grouping is not None
    assert outcome.summary.grouping.moves > 0
    assert_ledgers_hold_what_replicas_would(outcome)


CHURN = """
[[events]]
at_round = 2
what = "join"
count = 4

[[events]]
at_round = 4
what = "leave"
count = 3

[[events]]
at_round = 5
what = "crash"
count = 3

[[events]]
at_round = 8
what = "return"
count = 3
"""


def test_nodes_that_come_leave_crash_and_return() -> None:
    outcome = crowd("shared", CHURN, **{"groups.assignment": "zipf", "run.rounds": 12})
    members = [record.members for record in outcome.records]
    assert members[0] == 12
    assert members[3] == 16
    assert members[6] == 10
    assert members[-1] == 13
    assert_ledgers_hold_what_replicas_would(outcome)
    engine = outcome.engine
    present = engine.state.present()
    sizes = Counter(member.charter.group_id for member in present)
    for member in present:
        # Those who left or moved away are not counted, nor in the model; the others all are.
        here = {m.peer_id for m in present if m.charter.group_id == member.charter.group_id}
        known = {view.peer_id for view in member.running.members(engine.now)}
        assert here <= known
        assert len(here) == sizes[member.charter.group_id]
        taught = {state.peer_id for state in member.running.replica.members()}
        assert taught <= known


def test_the_same_seed_gives_the_same_run() -> None:
    traces = {crowd("shared", CHURN, **{"run.rounds": 5}).engine.trace for _ in range(2)}
    assert len(traces) == 1
    assert crowd("shared", CHURN, **{"run.rounds": 5, "run.seed": 1}).engine.trace not in traces


def test_a_record_may_be_of_some_nodes_only() -> None:
    scenario = parse_scenario(
        CROWD,
        "crowd",
        overrides={
            "run.nodes": 16,
            "data.users": 64,
            "run.rounds": 3,
            "run.engine": "shared",
            "run.judged": 5,
        },
    )
    outcome = simulate(scenario, load_population(scenario, sample_folder))
    everybody = crowd("shared", **{"run.rounds": 3, "data.split": "user"})
    assert [r.members for r in outcome.records] == [r.members for r in everybody.records]
    assert outcome.records[-1].test.worst <= everybody.records[-1].test.worst


@pytest.mark.parametrize(("nodes", "groups"), [(5000, 100), (100, 100), (7, 3)])
def test_groups_by_zipfs_law(nodes: int, groups: int) -> None:
    numbers = assign("zipf", groups, [0] * nodes, np.random.default_rng(0))
    sizes = [numbers.count(number) for number in range(groups)]
    assert sum(sizes) == nodes
    assert min(sizes) >= 1
    assert sizes == sorted(sizes, reverse=True)
    if nodes > 50 * groups - 1:
        assert sizes[0] == pytest.approx(2 * sizes[1], rel=0.02)
        assert sizes[0] == pytest.approx(10 * sizes[9], rel=0.1)
