"""Simulated nodes of every kind of learning, and of tasks of one's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from openfl.core.contribution import (
    Charter,
    Contribution,
    Evaluation,
    ModelView,
    RowBlock,
    TableSchema,
)
from openfl.core.errors import ConfigError
from openfl.learning.workload import TaskWorkload
from openfl.simulation.population import Population
from openfl.simulation.run import Outcome, load_population, simulate
from openfl.simulation.scenario_file import load_scenario, parse_scenario
from openfl_cli.sample import sample_folder

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "scenarios"
METRICS = {"rating": "rmse", "implicit": "ndcg_loss", "classification": "log_loss"}
SMALL = {"run.nodes": 6, "run.rounds": 8, "data.source": "synthetic", "data.users": 60}
SMALL |= {"data.items": 30, "data.ratings_per_user": 20}


def small(kind: str, **settings: object) -> Outcome:
    chosen = {**SMALL, "data.kind": kind, **{k.replace("__", "."): v for k, v in settings.items()}}
    scenario = parse_scenario("", "test", overrides=chosen)
    return simulate(scenario, load_population(scenario, sample_folder))


@pytest.mark.parametrize("name", ["implicit", "classification"])
def test_communities_of_other_kinds_find_each_other_too(name: str) -> None:
    scenario = load_scenario(FOLDER / f"{name}.toml")
    outcome = simulate(scenario, load_population(scenario, sample_folder))
    assert outcome.summary.metric == METRICS[name]
    end = outcome.summary.grouping
    assert end is not None
    assert end.purity >= 0.9
    assert end.moves > 0
    assert end.mean < 1.1 * end.oracle
    assert end.mean < 0.8 * min(end.together, end.random)


@pytest.mark.parametrize(
    ("kind", "engine", "rule"),
    [
        ("implicit", "sessions", "screened-mean"),
        ("implicit", "shared", "screened-mean"),
        ("classification", "sessions", "mean"),
        ("classification", "shared", "screened-mean"),
    ],
)
def test_one_group_of_any_kind_comes_near_central_training(
    kind: str, engine: str, rule: str
) -> None:
    outcome = small(kind, run__engine=engine, training__rule=rule)
    first, last = outcome.records[0], outcome.records[-1]
    assert outcome.summary.metric == METRICS[kind]
    assert last.test.pooled < first.test.pooled
    assert outcome.summary.against_central < 0.1


def test_leaving_members_out_costs_honest_classifiers_little_on_the_mean() -> None:
    # Of so few examples one seed says little: it may end 5 % above the mean of all, or 14 % below.
    # Over 24 seeds leaving out cost 4 % (standard error 2) of a log loss that is near nothing here:
    # not nothing, which four seeds once seemed to show.
    seeds = 8
    behind = {
        rule: sum(
            small("classification", training__rule=rule, run__seed=seed).summary.against_central
            for seed in range(seeds)
        )
        for rule in ("mean", "screened-mean")
    }
    assert behind["screened-mean"] / seeds <= behind["mean"] / seeds + 0.1


@pytest.mark.parametrize("kind", ["implicit", "classification"])
def test_a_run_of_any_kind_follows_from_its_seed(kind: str) -> None:
    first, again, other = (small(kind, run__rounds=3, run__seed=seed) for seed in (0, 0, 1))
    assert first.summary == again.summary
    assert first.summary.trace != other.summary.trace


def test_examples_with_false_labels_do_harm_and_are_no_honest_reference() -> None:
    settings = {"members__hostile_fraction": 0.34, "training__rule": "mean"}
    harmed = small("classification", members__attack="label-flip", **settings)
    late = small("classification", members__attack_from_round=100, **settings)
    assert harmed.summary.central == late.summary.central
    assert harmed.summary.final > late.summary.final


def test_plays_have_no_labels_to_turn_upside_down() -> None:
    with pytest.raises(ConfigError, match=r'"label-flip" has nothing to turn upside down'):
        small("implicit", members__hostile_fraction=0.34, members__attack="label-flip")


# --- tasks of one's own ---------------------------------------------------------------------------


ROW = np.zeros(1, dtype=np.uint64)
CHARTER = Charter("numbers", "mean", (TableSchema("mean", 1, (0.0,), (0.0,), (0.0,), "float32"),))


class MeanTask:
    """Learns the mean of numbers; every other one is held out."""

    def __init__(self, charter: Charter, numbers: NDArray[np.float64]) -> None:
        self.charter, self._train, self._held_out = charter, numbers[::2], numbers[1::2]
        self.train_examples = len(self._train)

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        value, evidence = [[self._train.mean()]], [self.train_examples]
        arrays = (np.array(a, np.float32) for a in (value, evidence, [1]))
        return Contribution((RowBlock("mean", ROW, *arrays),))

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        squares = (self._held_out - model.rows("mean", ROW)[0, 0]) ** 2
        error = squares.std() / len(squares) ** 0.5
        return Evaluation("mse", float(squares.mean()), float(error), len(squares))

    def private_state(self) -> dict[str, NDArray[np.generic]]:
        return {}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """There is nothing."""


def own_population(nodes: int, communities: int) -> Population:
    """Each node holds numbers around that of its community, and learns a mean."""
    rng = np.random.default_rng(3)
    numbers = [rng.normal(10.0 * (n % communities), 1.0, 40) for n in range(nodes)]

    def workload(values: NDArray[np.float64]) -> TaskWorkload:
        return TaskWorkload(CHARTER, lambda charter: MeanTask(charter, values))

    def pooled(some: Collection[int]) -> TaskWorkload:
        return workload(np.concatenate([numbers[n] for n in sorted(some)]))

    return Population(
        [workload(values) for values in numbers],
        pooled,
        communities=[n % communities for n in range(nodes)],
    )


def test_a_population_of_tasks_of_ones_own_learns_together() -> None:
    scenario = parse_scenario("", "own", overrides={"run.nodes": 5, "run.rounds": 4})
    outcome = simulate(scenario, own_population(5, 1))
    assert outcome.summary.metric == "mse"
    assert outcome.records[-1].test.pooled == pytest.approx(1.0, rel=0.4)


def test_it_finds_its_communities() -> None:
    given = {"run.nodes": 12, "run.rounds": 20, "groups.count": 2, "groups.switching": True}
    scenario = parse_scenario("", "own", overrides=given)
    outcome = simulate(scenario, own_population(12, 2))
    end = outcome.summary.grouping
    assert end is not None
    assert end.purity == 1.0
    assert end.mean < 0.2 * end.together


def test_what_a_population_lacks_is_said() -> None:
    scenario = parse_scenario("", "own", overrides={"run.nodes": 4})
    with pytest.raises(ConfigError, match=r"run\.nodes: is 4, but the population has 5 nodes"):
        simulate(scenario, own_population(5, 1))
    attack = {"members.hostile_fraction": 0.4, "members.attack": "label-flip", "run.nodes": 5}
    scenario = parse_scenario("", "own", overrides=attack)
    with pytest.raises(ConfigError, match="nothing to turn upside down"):
        simulate(scenario, own_population(5, 1))
    with pytest.raises(ValueError, match="at least one node"):
        Population([], own_population(1, 1).pooled)
    own = own_population(5, 1)
    with pytest.raises(ValueError, match="1 communities were given for 5 nodes"):
        Population(own.workloads, own.pooled, communities=[0])
