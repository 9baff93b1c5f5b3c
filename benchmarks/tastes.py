"""Communities of taste that change or are small: made-up ratings, so mechanisms only.

  drift     three communities of 16 nodes, in random groups; after round 18 half of the first
            community's nodes start again with ratings of the second community's taste
  minority  a community of 30 nodes and one of 2 nodes

Each node has ten listeners; 10 % of the messages are lost. Test RMSE as the mean over nodes,
against models trained in one place on each community (`oracle`) and on all (`one model`).

    python benchmarks/tastes.py [--case drift|minority] [--start random|one] [--seeds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _restart import restart
from numpy.typing import NDArray

from openfl.simulation.central import references, train_centrally
from openfl.simulation.communities import purity
from openfl.simulation.dataset import Dataset, load_dataset
from openfl.simulation.engine import Engine
from openfl.simulation.grouping import first_charters
from openfl.simulation.population import Population, sharded
from openfl.simulation.records import RoundRecord
from openfl.simulation.run import make_members
from openfl.simulation.scenario import Scenario
from openfl.simulation.scenario_file import load_scenario
from openfl.simulation.switch_driver import SimulatedSwitching

SCENARIO = Path(__file__).resolve().parents[1] / "configs" / "scenarios" / "communities.toml"
LISTENERS = 10
"""A node's."""
ROUNDS, DRIFT_ROUND, SORTED = 40, 18, 0.98
SIZES = {"drift": (16, 16, 16), "minority": (30, 2)}
DRIFTING = 8

Numbers = NDArray[np.int64]


def scenario_of(case: str, start: str, seed: int) -> Scenario:
    """As many listeners of each community are made up as the largest could need."""
    sizes = SIZES[case]
    settings: dict[str, Any] = {
        "run.seed": seed,
        "run.nodes": sum(sizes),
        "run.rounds": ROUNDS,
        "data.communities": len(sizes),
        "data.users": len(sizes) * (max(sizes) + DRIFTING) * LISTENERS,
        "groups.count": len(sizes),
        "groups.assignment": "single" if start == "one" else "random",
    }
    return load_scenario(SCENARIO, settings)


def dealt(dataset: Dataset, sizes: Sequence[int], drifted: bool, seed: int) -> Numbers:
    """int64[users]: whose each is, communities of nodes one after the other. drifted: the first
    `DRIFTING` nodes have others instead, of the second community."""
    taste, rng = dataset.known_communities(), np.random.default_rng([seed, 1])
    owner = np.full(len(taste), -1, dtype=np.int64)
    first = 0
    for community, nodes in enumerate(sizes):
        listeners = rng.permutation(np.flatnonzero(taste == community))
        for node in range(nodes):
            owner[listeners[node * LISTENERS : (node + 1) * LISTENERS]] = first + node
        if drifted and community == 1:
            owner[(owner >= 0) & (owner < DRIFTING)] = -1
            spare = listeners[nodes * LISTENERS :]
            for node in range(DRIFTING):
                owner[spare[node * LISTENERS : (node + 1) * LISTENERS]] = node
        first += nodes
    return owner


def run(case: str, start: str, seed: int) -> dict[str, Any]:
    """One run, as JSON."""
    scenario, sizes = scenario_of(case, start, seed), SIZES[case]
    dataset = load_dataset(scenario, Path)
    population = sharded(dataset, dealt(dataset, sizes, False, seed))
    after = sharded(dataset, dealt(dataset, sizes, True, seed)) if case == "drift" else population
    purities: list[float] = []

    def completed(record: RoundRecord) -> None:
        ids = [member.charter.group_id for member in engine.members]
        purities.append(purity(ids, [*population.communities]))
        if case == "drift" and record.round == DRIFT_ROUND:
            for member in engine.members[:DRIFTING]:
                at = member.index
                there = after.workloads[at], after.communities[at]
                restart(engine, driver, population, member, *there)

    members = make_members(scenario, population, first_charters(scenario, population))
    central = train_centrally(population, members[0].charter, members)
    driver = SimulatedSwitching(population)
    engine = Engine(scenario, members, central.by_node, completed, driver=driver)
    engine.run()
    best = references(scenario, after, engine.members)
    errors = np.array(
        [m.task.evaluate(engine.medium.view(m), "test").value for m in engine.members]
    )
    return {
        "seed": seed,
        "mean": float(errors.mean()),
        "oracle": best.oracle,
        "one_model": best.together,
        "minority": float(errors[-sizes[-1] :].mean()) if case == "minority" else None,
        "minority_oracle": minority_of(after, engine) if case == "minority" else None,
        "purity": purities[-1],
        "sorted_at_round": sorted_at(purities, DRIFT_ROUND if case == "drift" else 0),
        "groups": len({m.charter.group_id for m in engine.members}),
        "moves": len(engine.state.moves),
        "last_move": max((number for number, *_ in engine.state.moves), default=None),
    }


def minority_of(population: Population, engine: Engine) -> float:
    """The mean error of the minority's nodes by a model trained in one place on their data."""
    few = engine.members[-SIZES["minority"][-1] :]
    found = train_centrally(population, few[0].charter, few)
    return float(np.mean([found.by_node[member.index].value for member in few]))


def sorted_at(purities: Sequence[float], after: int) -> int | None:
    """The first round from which purity stayed at `SORTED`; None: there is none."""
    bad = [n for n, value in enumerate(purities, 1) if value < SORTED and n > after]
    first = (bad[-1] if bad else after) + 1
    return first if first <= len(purities) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", choices=tuple(SIZES), default="drift")
    parser.add_argument("--start", choices=("random", "one"), default="random")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for seed in range(options.seeds):
        found = run(options.case, options.start, seed)
        if options.json:
            print(json.dumps(found), flush=True)
            continue
        lost = 100 * (found["mean"] / found["oracle"] - 1)
        line = (
            f"seed {seed}: {found['mean']:.4f} (oracle {found['oracle']:.4f}: {lost:+.2f} %;"
            f" one model {found['one_model']:.4f}), purity {found['purity']:.3f}, sorted at"
            f" round {found['sorted_at_round']}, {found['groups']} groups, {found['moves']} moves,"
            f" last in round {found['last_move']}"
        )
        if found["minority"] is not None:
            line += f"; minority {found['minority']:.4f} (oracle {found['minority_oracle']:.4f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
