"""Several groups in one run: communities sort themselves out, one community ends in one group.

Small versions of the scenarios of configs/scenarios; benchmarks/switching.py runs those.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from openfl.learning.rating.made_up import community_ratings
from openfl.learning.sharding import MadeUpSize
from openfl.simulation.communities import assign, purity
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import Grouping
from openfl.simulation.run import Outcome, load_population, simulate
from openfl.simulation.scenario import Fault
from openfl.simulation.scenario_file import load_scenario
from openfl.simulation.switch_driver import ChoosingNode, SimulatedSwitching

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "scenarios"
SMALL = {"run.nodes": 12, "data.users": 96, "data.items": 30, "data.ratings_per_user": 25}


@cache
def run(name: str, rounds: int, **changed: object) -> Outcome:
    settings = {**SMALL, "run.rounds": rounds}
    settings |= {key.replace("__", "."): value for key, value in changed.items()}
    scenario = load_scenario(FOLDER / f"{name}.toml", settings)
    return simulate(scenario, load_population(scenario, Path))


def end_of(outcome: Outcome) -> Grouping:
    assert outcome.summary.grouping is not None
    return outcome.summary.grouping


def communities(**changed: object) -> Outcome:
    return run("communities", 12, data__communities=2, groups__count=2, **changed)


def test_communities_in_random_groups_sort_themselves_out() -> None:
    end = end_of(communities())
    assert end.purity == 1.0
    assert end.mean < 1.03 * end.oracle
    assert end.mean < 0.9 * min(end.together, end.random)
    assert end.probe_bytes > 0


def test_without_switching_they_stay_where_they_are() -> None:
    end = end_of(communities(groups__switching=False, run__rounds=4))
    assert (end.moves, end.probe_bytes) == (0, 0)
    assert end.purity < 1.0


def test_the_same_seed_gives_the_same_moves() -> None:
    first, again = (
        run.__wrapped__("communities", 5, data__communities=2, groups__count=2) for _ in range(2)
    )
    assert first.summary.grouping is not None
    assert first.summary.grouping.moves > 0
    assert first.summary == again.summary
    assert first.engine.state.moves == again.engine.state.moves


def test_who_has_moved_has_left_no_trace_in_the_old_group() -> None:
    members = communities().engine.members
    groups = {m.peer_id: m.charter.group_id for m in members}
    for member in members:
        assert member.session is not None
        for author in member.session.replica.version_vector():
            assert groups[author] == member.charter.group_id


class Watched(SimulatedSwitching):
    """Keeps what nodes that ended knew, and what they know when they come back."""

    ended: ClassVar[list[tuple[ChoosingNode, ChoosingNode]]] = []

    def ending(self, member: SimulatedMember) -> None:
        knew = self.nodes[member.index]
        super().ending(member)
        self.ended.append((knew, self.nodes[member.index]))


def test_who_crashes_comes_back_with_its_standing_alone_and_still_finds_its_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openfl.simulation.run.SimulatedSwitching", Watched)
    settings = {**SMALL, "run.rounds": 14, "data.communities": 2, "groups.count": 2}
    scenario = load_scenario(FOLDER / "communities.toml", settings)
    most = 11  # somebody is always left
    events = (Fault(4.0, "crash", most), Fault(5.0, "return", most))
    end = end_of(simulate(replace(scenario, events=events), load_population(scenario, Path)))
    assert end.purity == 1.0
    assert len(Watched.ended) == most
    for knew, knows in Watched.ended:
        before, after = knew.chooser.selector, knows.chooser.selector
        assert before is not after
        assert after.rounds >= before.rounds > 0
        assert after.moves >= before.moves
    assert any(knew.chooser.selector.moves for knew, _ in Watched.ended)


def test_one_group_splits_by_founding() -> None:
    outcome = run("communities-single", 20, groups__founding_after_rounds=4)
    end = end_of(outcome)
    assert end.founded > 0
    assert end.purity >= 11 / 12
    assert end.mean < min(end.together, end.random)


def test_one_community_ends_in_one_group() -> None:
    # As many people as it takes for training in one place not to gain by stopping early.
    end = end_of(run("homogeneous", 12, data__users=480))
    assert len(end.sizes) == 1
    assert end.mean == pytest.approx(end.together, rel=0.01)


def test_communities_that_share_tastes_do_better_than_one_model_for_all() -> None:
    end = end_of(run("overlap", 9, data__communities=2, groups__count=2))
    assert end.mean < min(end.together, end.random)


def test_purity_counts_who_is_among_their_own() -> None:
    assert purity(["a", "a", "b", "b"], [0, 0, 1, 1]) == 1.0
    assert purity(["a", "a", "a", "b"], [0, 0, 1, 1]) == 0.75
    assert purity(["a"] * 4, [0, 0, 1, 1]) == 0.5
    assert np.isnan(purity([], []))


def test_everybody_begins_where_the_scenario_says() -> None:
    tastes, rng = [0, 1, 0, 1, 2, 2], np.random.default_rng(0)
    assert assign("single", 3, tastes, rng) == [0] * 6
    assert assign("oracle", 1, tastes, rng) == tastes
    assert sorted(assign("random", 3, tastes, rng)) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="no assignment 'fair'"):
        assign("fair", 3, tastes, rng)


@pytest.mark.parametrize(("overlap", "low", "high"), [(0.0, 0.0, 0.3), (1.0, 0.8, 1.0)])
def test_communities_agree_on_the_shared_items_alone(
    overlap: float, low: float, high: float
) -> None:
    made = community_ratings(MadeUpSize(600, 20, 20, communities=2, overlap=overlap), seed=1)
    ratings, tastes = made.data.ratings, made.communities
    assert tastes is not None
    own = tastes[ratings.user_index]
    means = np.array(
        [
            [ratings.values[(own == c) & (ratings.song_index == i)].mean() for i in range(20)]
            for c in (0, 1)
        ]
    )
    assert low <= abs(np.corrcoef(means)[0, 1]) <= high
