"""Whole simulated runs: reproducible, honest about what they do, and like the real thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.core.errors import DataError
from openfl.simulation.run import Outcome, load_population, simulate
from openfl.simulation.scenario_file import parse_scenario
from openfl_cli.commands.simulate import real_sealer
from openfl_cli.sample import sample_folder

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"run.nodes": 6, "run.rounds": 3, "data.source": "synthetic", "data.users": 60}
SMALL |= {"data.items": 60, "data.ratings_per_user": 20}


def run(text: str = "", **settings: Any) -> Outcome:
    chosen = {**SMALL, **{key.replace("__", "."): value for key, value in settings.items()}}
    scenario = parse_scenario(text, "test", overrides=chosen)
    return simulate(scenario, load_population(scenario, sample_folder))


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    first, again, other = run(), run(), run(run__seed=1)
    assert first.summary == again.summary
    assert first.records == again.records
    assert first.summary.trace != other.summary.trace


@pytest.mark.parametrize("engine", ["sessions", "shared"])
def test_the_trace_does_not_depend_on_the_hash_seed_of_python(engine: str) -> None:
    script = (
        "from tests.simulation.test_scenarios_simulated import run\n"
        "s = {'network__loss': 0.1, 'members__active': 0.8, 'members__straggler_fraction': 0.2}\n"
        f"print(run(run__engine={engine!r}, **s).summary.trace)"
    )
    traces = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "cli")))
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(done.stdout)
    assert len(traces) == 1


def test_nodes_that_learn_together_approach_central_training() -> None:
    records = run(run__rounds=10).records
    assert records[0].against_central > 0.005  # by the plain mean, 0.0104
    assert records[-1].against_central < 0.5 * records[0].against_central
    assert all(record.members == 6 for record in records)
    assert [record.round for record in records] == list(range(1, 11))


def test_reading_once_changes_nothing_but_the_work() -> None:
    each, once = run(network__loss=0.1), run(network__loss=0.1, network__wire="once")
    assert each.summary.trace == once.summary.trace
    assert each.records == once.records
    assert once.summary.wire == "once"


def test_real_signatures_give_the_same_published_bytes() -> None:
    scenario = parse_scenario("", "test", overrides={**SMALL, "run.rounds": 2})
    population = load_population(scenario, sample_folder)
    stand_in, real = (
        simulate(scenario, population),
        simulate(scenario, population, sealer_of=real_sealer),
    )
    assert stand_in.records[0].published_bytes == real.records[0].published_bytes
    assert real.summary.faults == {}, "nothing was refused and nobody left out"


@pytest.mark.parametrize(("relevance", "rounds"), [(0.0, 8), (50.0, 16)])
def test_both_engines_tell_the_same_story(relevance: float, rounds: int) -> None:
    settings: dict[str, Any] = {"task__relevance": relevance, "run__rounds": rounds}
    own, shared = run(**settings), run(**settings, run__engine="shared")
    assert own.summary.central == shared.summary.central
    assert shared.summary.final == pytest.approx(own.summary.final, rel=0.005)
    assert shared.summary.published_bytes == pytest.approx(own.summary.published_bytes, rel=0.1)


def test_what_is_lost_is_repaired() -> None:
    settings = {"network__loss": 0.3, "network__duplicate": 0.2, "network__reorder": 0.2}
    outcome = run(run__rounds=8, **settings)
    published = {m.peer_id: m.session._publisher.seqno for m in outcome.engine.members if m.session}
    for member in outcome.engine.members:
        assert member.session is not None
        heard = member.session.replica.version_vector()
        # All but what is on its way right now.
        assert all(heard[peer].seqno >= seqno - 2 for peer, seqno in published.items())


def test_in_lockstep_everybody_starts_each_round_from_the_same_round() -> None:
    records = run(training__lockstep=True, run__rounds=4).records
    assert [record.rounds_done for record in records] == [1.0, 2.0, 3.0, 4.0]


def test_half_of_the_nodes_active_do_about_half_of_the_rounds() -> None:
    records = run(members__active=0.5, run__rounds=20).records
    assert 6 < records[-1].rounds_done < 14


def test_stragglers_do_fewer_rounds() -> None:
    outcome = run(members__straggler_fraction=0.5, members__straggler_rounds=3.0, run__rounds=12)
    rounds = [m.session.round for m in outcome.engine.members if m.session]
    slow = [m.straggler for m in outcome.engine.members]
    assert sum(slow) == 3
    assert max(np.array(rounds)[slow]) < min(np.array(rounds)[~np.array(slow)])


TIMETABLE = """
[[events]]
at_round = 1
what = "join"
count = 2
[[events]]
at_round = 2
what = "leave"
[[events]]
at_round = 3
what = "crash"
count = 2
[[events]]
at_round = 5
what = "return"
count = 1
"""


def test_members_join_leave_crash_and_return_as_the_timetable_says() -> None:
    outcome = run(TIMETABLE, run__nodes=8, run__rounds=8, training__rule="mean")
    assert [r.members for r in outcome.records] == [6, 8, 7, 5, 5, 6, 6, 6]
    assert outcome.summary.faults == {}
    present = [m for m in outcome.engine.members if m.alive and m.session]
    (gone,) = (m for m in outcome.engine.members if m.was_there and not m.alive and not m.saved)
    for member in present:
        assert member.session is not None
        assert gone.peer_id not in member.session.replica.version_vector()  # exactly withdrawn


def test_a_partition_keeps_the_halves_apart_until_it_heals() -> None:
    cut = '[[events]]\nat_round = 1.5\nwhat = "partition"\n'
    heal = '[[events]]\nat_round = 6\nwhat = "heal"\n'

    def spread(outcome: Outcome) -> int:
        latest = [
            tuple(sorted((a, v.seqno // 3) for a, v in m.session.replica.version_vector().items()))
            for m in outcome.engine.members
            if m.session
        ]
        return len(set(latest))

    assert (
        run(cut, run__rounds=8).summary.deliveries
        < run(cut + heal, run__rounds=8).summary.deliveries
    )
    assert spread(run(cut, run__rounds=8)) > 1


@pytest.mark.parametrize("engine", ["sessions", "shared"])
def test_a_member_that_sends_nan_is_refused_by_everybody_and_does_no_harm(engine: str) -> None:
    honest = {"members__hostile_fraction": 0.17, "run__rounds": 5, "run__engine": engine}
    outcome = run(members__attack="nan", **honest)
    assert outcome.summary.faults["undecodable"] >= 5
    assert outcome.summary.against_central < 0.1


def test_attackers_harm_a_group_that_does_not_defend_itself() -> None:
    settings = {"members__hostile_fraction": 0.34, "run__rounds": 6, "training__rule": "mean"}
    harmed = run(members__attack="sign-flip-x10", **settings).summary.against_central
    late = run(members__attack="sign-flip-x10", members__attack_from_round=100, **settings)
    assert harmed > late.summary.against_central + 0.05


def test_too_few_users_for_so_many_nodes_is_said() -> None:
    with pytest.raises(DataError, match="60 users are too few for 61 nodes"):
        run(run__nodes=61)


def test_a_record_is_plain_json() -> None:
    for record in run().records:
        assert json.loads(json.dumps(record.to_plain(), allow_nan=False))["round"] == record.round


def test_no_held_out_ratings_are_told_as_null() -> None:
    scenario = parse_scenario("", "t", overrides={**SMALL, "data.ratings_per_user": 3})
    outcome = simulate(scenario, load_population(scenario, sample_folder))
    assert outcome.records[-1].to_plain()["test"]["pooled"] is None


def test_central_training_is_compared_on_the_ratings_of_those_who_are_there() -> None:
    crash = '[[events]]\nat_round = 2.5\nwhat = "crash"\ncount = 3\n'
    outcome = run(crash, run__rounds=4)
    before, after = outcome.records[1], outcome.records[2]
    central = [record.test.pooled / (1 + record.against_central) for record in (before, after)]
    assert central[0] == pytest.approx(outcome.summary.central["test"])
    assert central[1] != pytest.approx(central[0], rel=1e-6)
