"""Real people, from a file of ratings or plays: does choosing groups help or harm them?

People are drawn by the seed from those with enough ratings to hold some out, `--people` of them to
a node, and simulated by OpenFL's own simulator with 10 % of the messages lost and a node's default
settings. Compared, all on the test split, as the mean over nodes of the nodes' own metric (lower is
better):

  mean       nodes that choose their groups
  stay       the same start, but nobody ever moves
  one_model  everybody in one group, and nobody ever moves, simulated likewise
  alone      every node by itself, as `openfl-node` trains a node that is without a group

    python benchmarks/people.py [--data FILE|ml-100k] [--kind rating|implicit] [--people 1]
        [--nodes 50] [--start one|random] [--groups 3] [--rounds 40] [--seed 0]
        [--set SECTION.KEY=VALUE]... [--no-cache] [--json]

The last three do not depend on how nodes choose. They are kept in the cache folder by the content
of the file, the settings, and all of openfl/ but what only choosing uses (NOT_IN_REFERENCES).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _ml100k import cache_folder, ml100k_csv

import openfl
from openfl.config.learning_sections import TrainingConfig
from openfl.core.errors import OpenFLError
from openfl.core.telemetry import json_plain
from openfl.learning.central import train_alone
from openfl.learning.splitting import MIN_RATINGS_TO_SPLIT
from openfl.simulation.central import train_centrally
from openfl.simulation.dataset import Dataset, load_dataset
from openfl.simulation.engine import Engine
from openfl.simulation.grouping import first_charters
from openfl.simulation.population import Population, sharded
from openfl.simulation.run import make_members
from openfl.simulation.scenario import Scenario
from openfl.simulation.scenario_file import load_scenario
from openfl.simulation.switch_driver import SimulatedSwitching
from openfl_cli.commands.simulate import toml_value
from openfl_cli.options import assignments

SCENARIO = Path(__file__).resolve().parents[1] / "configs" / "scenarios" / "people.toml"
NOT_IN_REFERENCES = (
    "switching/chooser.py", "switching/expected_gain.py", "switching/policy.py",
    "switching/look.py", "switching/standpoint.py", "learning/alone.py", "learning/comparison.py",
)  # fmt: skip
"""Of openfl/: what only says where nodes go."""
ALONE_ROUNDS = TrainingConfig().alone_rounds
CACHED_AS = 2
"""To be raised when this file computes or draws something else."""
START_ROUND = 5
"""By then everybody has learned something in the first group: what a run is like at its start."""
LASTING = 4
"""So many rounds in a row are longer than three."""


@dataclass(frozen=True)
class Course:
    """How a run went. by_round: the mean over nodes after each. at_end: by node, at the end."""

    by_round: list[float]
    at_end: list[float]


@dataclass(frozen=True)
class Cell:
    """What is run: settings of the command line."""

    data: str
    kind: str
    people: int
    nodes: int
    start: str
    groups: int
    rounds: int
    seed: int
    settings: tuple[str, ...] = ()


def main() -> None:
    options = parse_options()
    cell = Cell(
        data=options.data,
        kind=options.kind,
        people=options.people,
        nodes=options.nodes,
        start=options.start,
        groups=options.groups,
        rounds=options.rounds,
        seed=options.seed,
        settings=tuple(options.set),
    )
    try:
        found = run_cell(cell, cached=not options.no_cache)
    except OpenFLError as error:
        raise SystemExit(str(error)) from None
    if options.json:
        print(json.dumps(json_plain(found)))
    else:
        print(told(found))


def parse_options() -> argparse.Namespace:
    text = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        description=text[0],
        epilog="\n".join(text[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="ml-100k", help="a CSV file; ml-100k is fetched")
    parser.add_argument("--kind", choices=("rating", "implicit"), default="rating")
    parser.add_argument("--people", type=positive, default=1, help="people a node")
    parser.add_argument(
        "--nodes", type=positive, default=50, help="fewer when the file has not so many people"
    )
    parser.add_argument("--start", choices=("one", "random"), default="random")
    parser.add_argument("--groups", type=positive, default=3, help="with --start random")
    parser.add_argument("--rounds", type=positive, default=40)
    parser.add_argument("--seed", type=not_negative, default=0)
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="of a scenario file"
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="compute the references anew, and keep nothing"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number


# --- whose data -----------------------------------------------------------------------------------


def path_of(data: str) -> Path:
    return ml100k_csv() if data == "ml-100k" else Path(data)


def label(data: str) -> str:
    """The file with its folder, for many a set is called ratings.csv."""
    return data if data == "ml-100k" else "/".join(Path(data).resolve().parts[-2:])


def scenario_of(cell: Cell, nodes: int, *, groups: int, switching: bool) -> Scenario:
    given = {key: toml_value(text) for key, text in assignments(list(cell.settings)).items()}
    return load_scenario(
        SCENARIO,
        {
            "data.source": str(path_of(cell.data).resolve()),
            "data.kind": cell.kind,
            "run.nodes": nodes,
            "run.rounds": cell.rounds,
            "run.seed": cell.seed,
            "groups.count": groups,
            "groups.assignment": "single" if groups == 1 else "random",
            "groups.switching": switching,
            **given,
        },
    )


def draw(dataset: Dataset, people: int, nodes: int, seed: int) -> np.ndarray:
    """int64[users]: whose node each is; -1: nobody's. As many nodes as there are people for."""
    ratings = dataset.data.ratings
    of_user = np.bincount(ratings.user_index, minlength=len(ratings.users))
    fit = np.flatnonzero(of_user >= MIN_RATINGS_TO_SPLIT)
    nodes = min(nodes, len(fit) // people)
    if nodes < 2:
        raise SystemExit(
            f"{ratings.source}: {len(fit)} people have {MIN_RATINGS_TO_SPLIT} ratings or more, too"
            f" few for two nodes of {people}"
        )
    owner = np.full(len(ratings.users), -1, dtype=np.int64)
    drawn = np.random.default_rng([seed, 21]).permutation(fit)[: nodes * people]
    owner[drawn] = np.arange(nodes * people) % nodes
    return owner


# --- runs -----------------------------------------------------------------------------------------


def course_of(
    scenario: Scenario, population: Population, driver: SimulatedSwitching
) -> tuple[Course, Engine]:
    """Nodes that stay have a driver as well: so chance (who starts when, what is lost) is the same
    to both until somebody moves."""
    members = make_members(scenario, population, first_charters(scenario, population))
    central = train_centrally(population, members[0].charter, members)
    engine = Engine(scenario, members, central.by_node, driver=driver)
    engine.run()
    at_end = [
        member.task.evaluate(engine.medium.view(member), "test").value for member in engine.members
    ]
    return Course([record.test.mean for record in engine.records], at_end), engine


def alone_of(scenario: Scenario, population: Population) -> Course:
    """Each as a node trains that is without a group, and stops where its validation is best."""
    charter = first_charters(scenario, population)[0]
    at_end = []
    for node in range(len(population)):
        rng = np.random.default_rng([scenario.run.seed, 12, node])
        task = population.task(node, charter)
        at_end.append(train_alone(task, rng, max_rounds=ALONE_ROUNDS).test.value)
    return Course([], at_end)


def reference(name: str, cell: Cell, nodes: int, population: Population, cached: bool) -> Course:
    groups = 1 if name != "stay" or cell.start == "one" else cell.groups
    scenario = scenario_of(cell, nodes, groups=groups, switching=False)
    kept = cache_folder() / "people" / f"{key_of(name, cell, nodes, groups)}.json"
    if cached and kept.exists():
        return Course(**json.loads(kept.read_text()))
    if name == "alone":
        course = alone_of(scenario, population)
    else:
        course, _ = course_of(scenario, population, SimulatedSwitching(population))
    if cached:
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(json.dumps(asdict(course)))
        partial.replace(kept)
    return course


def key_of(name: str, cell: Cell, nodes: int, groups: int) -> str:
    what = "alone" if name == "alone" else "stay"
    settings = sorted(text for text in cell.settings if not text.startswith("switching."))
    of_cell = (
        CACHED_AS,
        what,
        cell.kind,
        cell.people,
        nodes,
        groups,
        cell.rounds,
        cell.seed,
        settings,
    )
    digest = hashlib.sha256(repr(of_cell).encode())
    digest.update(path_of(cell.data).read_bytes() + SCENARIO.read_bytes())
    digest.update(source_hash(NOT_IN_REFERENCES))
    return digest.hexdigest()[:32]


def source_hash(without: tuple[str, ...] = ()) -> bytes:
    """Of all of openfl/ but files whose paths begin so."""
    digest = hashlib.sha256()
    package = Path(openfl.__file__).parent
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).as_posix()
        if not inside.startswith(without):
            digest.update(inside.encode() + path.read_bytes())
    return digest.digest()


def run_cell(cell: Cell, cached: bool = True) -> dict[str, Any]:
    """The JSON object of a run."""
    began = time.perf_counter()
    two = replace(cell, settings=())
    dataset = load_dataset(scenario_of(two, 2, groups=1, switching=False), Path)
    owner = draw(dataset, cell.people, cell.nodes, cell.seed)
    # Nobody's community is known: there is nothing to be pure by.
    population = replace(sharded(dataset, owner), communities=())
    nodes = len(population)
    groups = 1 if cell.start == "one" else cell.groups
    names = ("one_model", "stay", "alone")
    references = {n: reference(n, cell, nodes, population, cached) for n in names}
    scenario = scenario_of(cell, nodes, groups=groups, switching=True)
    driver = SimulatedSwitching(population)
    course, engine = course_of(scenario, population, driver)
    records, moves = engine.records, engine.state.moves
    means = {name: float(np.mean(ref.at_end)) for name, ref in references.items()}
    best = min(means, key=lambda name: means[name])
    mean = float(np.mean(course.at_end))
    paired = np.array(course.at_end) - np.array(references[best].at_end)
    settled = cell.rounds - cell.rounds // 3
    probed = [0.0, *(record.probe_bytes for record in records)]
    start = references["stay"].by_round[min(START_ROUND, cell.rounds) - 1]
    return {
        "metric": records[-1].metric,
        **{key: value for key, value in asdict(cell).items() if key not in ("nodes", "data")},
        "data": label(cell.data),
        "nodes": nodes,
        "nodes_asked": cell.nodes,
        "people_drawn": nodes * cell.people,
        "ratings_a_person": float((owner >= 0)[dataset.data.ratings.user_index].sum())
        / (nodes * cell.people),
        "mean": mean,
        **means,
        "best": best,
        "loss_percent": 100 * (mean / means[best] - 1),
        "difference": mean - means[best],
        "standard_error": standard_error(paired),
        "standard_error_of_mean": standard_error(np.array(course.at_end)),
        "groups": len(records[-1].groups),
        "sizes": sorted(records[-1].groups.values(), reverse=True),
        "moves": len(moves),
        "founded": sum(spent.founded for spent in driver.spent),
        "last_move": max((number for number, *_ in moves), default=None),
        "moves_last_third": sum(number >= settled for number, *_ in moves),
        "start_value": start,
        "worst_on_the_way_percent": lasting(course.by_round, [start] * cell.rounds),
        "worst_against_stay_percent": lasting(course.by_round, references["stay"].by_round),
        "rounds_worse": sum(
            value > 1.01 * start for value in course.by_round[min(START_ROUND, cell.rounds) - 1 :]
        ),
        "probe_bytes": records[-1].probe_bytes,
        "probe_bytes_settled": (probed[-1] - probed[settled]) / (cell.rounds - settled),
        "directory_bytes": records[-1].directory_bytes,
        "published_bytes": records[-1].published_bytes,
        "by_round": course.by_round,
        "seconds": time.perf_counter() - began,
    }


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def lasting(values: Sequence[float], against: Sequence[float]) -> float:
    """The largest part in percent by which `values` were above `against` for longer than three
    rounds, from the start on; negative: they never were."""
    excess = 100 * (np.array(values) / np.array(against) - 1)[min(START_ROUND, len(values)) - 1 :]
    length = min(LASTING, len(excess))
    return float(np.lib.stride_tricks.sliding_window_view(excess, length).min(axis=1).max())


# --- telling --------------------------------------------------------------------------------------


def told(found: dict[str, Any]) -> str:
    f = found
    last = "never" if f["last_move"] is None else f"the last in round {f['last_move']}"
    fewer = f" ({f['nodes_asked']} asked for)" if f["nodes"] < f["nodes_asked"] else ""
    return "\n".join(
        [
            f"{f['data']}, {f['kind']}, seed {f['seed']}: {f['nodes']} nodes{fewer} of"
            f" {f['people']} with {f['ratings_a_person']:.0f} ratings a person,"
            f" start {f['start']}, {f['rounds']} rounds; mean {f['metric']} of the nodes on test:",
            f"choosing {f['mean']:.4f}, one model {f['one_model']:.4f}, staying {f['stay']:.4f},"
            f" alone {f['alone']:.4f}",
            f"against the best of these ({f['best']}): {f['loss_percent']:+.2f} %, a difference of"
            f" {f['difference']:+.4f} with standard error {f['standard_error']:.4f}",
            f"groups at the end {f['sizes']}; {f['moves']} moves ({last}), {f['founded']} of them"
            f" to found one, {f['moves_last_third']} in the last third",
            f"worst for longer than three rounds: {f['worst_on_the_way_percent']:+.2f} % against"
            f" the start, {f['worst_against_stay_percent']:+.2f} % against staying",
            f"looks: {f['probe_bytes'] / 1000:.1f} KB a node; in the last third"
            f" {f['probe_bytes_settled'] / 1000:.1f} KB a node and round",
        ]
    )


if __name__ == "__main__":
    main()
