"""Groups that truly differ: images turned by quarter turns, and nobody knows whose are turned how.

Nodes have a few MNIST images each (10,000 in all, 14 x 14 pixels), turned by 0, 90, 180 or 270
degrees; two groups are upside down to each other. `--sizes`: how many nodes there are of each
turn. OpenFL runs in its own simulator, 10 % of messages lost, with its default policy, and is not
told how many groups there are; all nodes begin in one group, or in as many random ones as there are
turns.
Every node's model is judged on the same images of nobody, turned as the node's own are.

Beside it, figures of the same deal:

  oracle, one_model, alone   the same task trained in one place: a model for each turn, one for all,
                             one for each node
  ifca, dfca                 `_clustered.py`, k told, on the images that OpenFL's nodes train on (a
                             tenth is held out); ifca_best_of_3: of three restarts the one that fits
                             all of the nodes' own images best: it takes no test
  fedavg_oracle              the baselines' learner with the true groups given
  ..._on_all                 the same, when those algorithms hold out nothing

With `--drift`, half of the first group's nodes have their images turned after round 18 (of the
baselines too): they end and start again where they were, with the other data.

    python benchmarks/clusters.py [--images 100] [--sizes 6,6,6,6] [--model logistic|mlp|cnn]
        [--start one|random] [--rounds 40] [--seed 0] [--drift] [--json] [--why]

    python benchmarks/clusters.py --csv FILE [--images 100] [--sizes 6,6,6,6] [--seed 0]
        writes the nodes' images instead, for `openfl-node simulate clusters`

mlp and cnn need PyTorch (make torch).
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from _clustered import Clustered, How, Model, Perceptron, correct, dfca, fixed, ifca, mean_loss
from _image_nodes import HIDDEN, MODELS, ImageNodes, Settings, feature_names, split_of
from _images import Deal, Images, Numbers, deal, load_pictures, turns_of
from _restart import restart

from openfl.learning.central import train_alone
from openfl.learning.held_out import NONE, evaluation
from openfl.simulation.communities import purity
from openfl.simulation.engine import Engine
from openfl.simulation.grouping import first_charters
from openfl.simulation.population import Population
from openfl.simulation.records import RoundRecord
from openfl.simulation.run import make_members
from openfl.simulation.scenario import (
    DataSection,
    GroupsSection,
    NetworkSection,
    RunSection,
    Scenario,
    TrainingSection,
)
from openfl.simulation.switch_driver import SimulatedSwitching

DRIFT_ROUND = 18
LOSS = 0.1
SORTED = 0.98
WATCHED = 300
"""So many of the test images are looked at after each round; all of them in the end."""
RESTARTS = 3
CENTRAL_ROUNDS = 60

HOW = {
    "logistic": How(rounds=40, epochs=2, learning_rate=0.1, first_scale=0.1),
    "mlp": How(rounds=40, epochs=5, learning_rate=0.1),
    "cnn": How(rounds=40, epochs=5, learning_rate=0.1),
}
"""The best found for the baselines, on other seeds. What OpenFL's owners choose: `Settings`."""


# --- OpenFL ---------------------------------------------------------------------------------------


@dataclass
class Course:
    """What became of a run. accuracy, purity, groups: after each round."""

    accuracy: list[float] = field(default_factory=list)
    purity: list[float] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    moves: list[int] = field(default_factory=list)

    def sorted_at(self, after: int = 0) -> int | None:
        """The first round from which purity stayed at `SORTED`; None: there is none."""
        bad = [n for n, value in enumerate(self.purity, 1) if value < SORTED and n > after]
        first = (bad[-1] if bad else after) + 1
        return first if first <= len(self.purity) else None


class Run:
    """OpenFL on a deal. after: what the nodes have from round `DRIFT_ROUND` on; None: no drift."""

    def __init__(self, nodes: ImageNodes, after: ImageNodes | None, options: Any) -> None:
        self.nodes, self._after = nodes, after
        self._population = nodes.population()
        groups = len(set(nodes.deal.turns.tolist()))
        start = GroupsSection(count=groups, assignment="random", switching=True)
        if options.start == "one":
            start = replace(start, count=1, assignment="single")
        scenario = Scenario(
            name="clusters",
            run=RunSection(nodes=len(nodes.deal.turns), rounds=options.rounds, seed=options.seed),
            data=DataSection(kind="classification"),
            training=TrainingSection(row_fraction=options.row_fraction),
            network=NetworkSection(loss=LOSS, wire="once"),
            groups=start,
        )
        charters = first_charters(scenario, self._population)
        members = make_members(scenario, self._population, charters)
        nothing = {member.index: evaluation("log_loss", NONE) for member in members}
        self.driver = SimulatedSwitching(self._population)
        self.course = Course()
        self.engine = Engine(scenario, members, nothing, self._completed, driver=self.driver)
        self.engine.run()

    def accuracies(self, most: int) -> list[float]:
        """Of each node's model now, on so many test images."""
        return [
            self.nodes.accuracy(
                member.task,
                self.engine.medium.view(member),
                int(self.nodes.deal.turns[member.index]),
                most,
            )
            for member in self.engine.members
        ]

    def communities(self) -> list[int]:
        """The turn of each node now."""
        return [int(turn) for turn in self.nodes.deal.turns]

    def groups(self) -> list[str]:
        """The name of each node's group."""
        return [str(member.charter.name) for member in self.engine.members]

    def _completed(self, record: RoundRecord) -> None:
        course = self.course
        course.accuracy.append(float(np.mean(self.accuracies(WATCHED))))
        ids = [member.charter.group_id for member in self.engine.members]
        course.purity.append(purity(ids, self.communities()))
        course.groups.append(len(set(ids)))
        course.moves.append(len(self.engine.state.moves))
        if self._after is not None and record.round == DRIFT_ROUND:
            before, self.nodes = self.nodes, self._after
            for index in np.flatnonzero(before.deal.turns != self._after.deal.turns):
                member = self.engine.members[index]
                workload, turn = self.nodes.workload(int(index)), int(self.nodes.deal.turns[index])
                restart(self.engine, self.driver, self._population, member, workload, turn)


# --- in one place ---------------------------------------------------------------------------------


def central(nodes: ImageNodes, population: Population, groups: Sequence[int]) -> list[float]:
    """Accuracy at each node by a model trained in one place on the images of its group."""
    found = [0.0] * len(groups)
    charter = population.found("central")
    for group in dict.fromkeys(groups):
        inside = [node for node, other in enumerate(groups) if other == group]
        task = population.central_task(inside, charter)
        rng = np.random.default_rng(0)
        model = train_alone(task, rng, max_rounds=CENTRAL_ROUNDS).model
        for node in inside:
            found[node] = nodes.accuracy(task, model, int(nodes.deal.turns[node]), 10**6)
    return found


# --- baselines ------------------------------------------------------------------------------------


@dataclass
class Baselines:
    """The published algorithms on the same deal. holds_out: whether nodes train on no more images
    than OpenFL's do."""

    nodes: ImageNodes
    after: ImageNodes | None
    model: Model
    how: How
    holds_out: bool

    def data_at(self, number: int) -> tuple[Images, Numbers]:
        """What nodes train on in that round, from 0."""
        deal = self._nodes_at(number).deal
        own = np.arange(deal.images.shape[1])
        if self.holds_out:
            own = split_of(len(own), 1).train
        return self._units(deal.images[:, own]), deal.labels[:, own]

    def loss(self, end: Clustered) -> float:
        """On all own images of the nodes."""
        deal = self._nodes_at(self.how.rounds).deal
        images = self._units(deal.images)
        return float(mean_loss(self.model, end.models, images, deal.labels).mean())

    def accuracies(self, end: Clustered) -> list[float]:
        """At each node, on all test images."""
        deal = self._nodes_at(self.how.rounds).deal
        images = {turn: self._units(deal.tested(turn))[None] for turn in set(deal.turns.tolist())}
        labels = deal.test_labels[None]
        return [
            float(correct(self.model, end.models[node : node + 1], images[turn], labels)[0])
            for node, turn in enumerate(deal.turns.tolist())
        ]

    def purity(self, end: Clustered) -> float:
        """Of the nodes' choices."""
        turns = self._nodes_at(self.how.rounds).deal.turns.tolist()
        return purity(end.choice.tolist(), turns)

    def _nodes_at(self, number: int) -> ImageNodes:
        drifted = self.after is not None and number >= DRIFT_ROUND
        return self.after if drifted and self.after is not None else self.nodes

    def _units(self, images: Images) -> Images:
        units = (images - self.nodes.centre) / self.nodes.spread
        found: Images = units.reshape(*units.shape[:-2], -1).astype(np.float32)
        return found


def model_of(name: str, side: int) -> Model:
    """The architecture that the baselines learn."""
    if name == "cnn":
        from _convolutions import Convolutions

        return Convolutions(side)
    return Perceptron(side * side, HIDDEN if name == "mlp" else 0)


# --- all together ---------------------------------------------------------------------------------


def write_csv(straight: Deal, path: Path) -> None:
    """The nodes' images: a row each, with whose it is and how it is turned, in words, so that these
    are no features."""
    rows = straight.images.reshape(*straight.labels.shape, -1)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["node", "turn", "label", *feature_names(rows.shape[2])])
        for node, turn in enumerate(straight.turns.tolist()):
            for pixels, label in zip(rows[node], straight.labels[node].tolist(), strict=True):
                told = (f"{pixel:.4g}" for pixel in pixels.tolist())
                writer.writerow([f"node {node}", f"{90 * turn} degrees", label, *told])


def measured(options: Any) -> dict[str, Any]:
    """The JSON object of a run."""
    pictures = load_pictures()
    straight = deal(pictures, options.sizes, options.images, options.seed)
    settings = replace(
        Settings(),
        **{
            name: value
            for name in ("weight_prior", "learning_rate", "momentum", "epochs")
            if (value := getattr(options, name)) is not None
        },
    )
    nodes = ImageNodes(straight, options.model, settings)
    after = None
    if options.drift:
        turns = straight.turns.copy()
        turns[: options.sizes[0] // 2] = turns_of(len(options.sizes))[1]
        after = ImageNodes(straight.changed(turns), options.model, settings)
        after.centre, after.spread = nodes.centre, nodes.spread
    began = time.process_time()
    run = Run(nodes, after, options)
    seconds = time.process_time() - began
    course, engine, last = run.course, run.engine, run.nodes
    accuracies, turns = run.accuracies(10**6), run.communities()
    ids = [member.charter.group_id for member in engine.members]
    found: dict[str, Any] = {
        "data": pictures.name,
        "images": options.images,
        "tested_images": len(straight.test_labels),
        "sizes": list(options.sizes),
        "model": options.model,
        "start": options.start,
        "drift": options.drift,
        "rounds": options.rounds,
        "seed": options.seed,
        "accuracy": float(np.mean(accuracies)),
        "minority": minority(accuracies, turns),
        "purity": purity(ids, turns),
        "groups": len(set(ids)),
        "group_sizes": sorted(Counter(ids).values(), reverse=True),
        "moves": len(engine.state.moves),
        "founded": sum(spent.founded for spent in run.driver.spent),
        "last_move": max((number for number, *_ in engine.state.moves), default=None),
        "sorted_at_round": course.sorted_at(DRIFT_ROUND if options.drift else 0),
        "probe_bytes": engine.records[-1].probe_bytes,
        "directory_bytes": engine.records[-1].directory_bytes,
        "published_bytes": engine.records[-1].published_bytes,
        "course": [round(value, 4) for value in course.accuracy],
        "purities": [round(value, 3) for value in course.purity],
        "groups_by_round": course.groups,
        "openfl_seconds": round(seconds, 1),
    }
    if options.why:
        found["why"] = reasons(run)
    if not options.no_references:
        found |= references(last)
        found |= baselines(nodes, after, options, holds_out=True)
        on_all = baselines(nodes, after, options, holds_out=False)
        found |= {f"{name}_on_all": value for name, value in on_all.items()}
    return found


def minority(accuracies: Sequence[float], turns: Sequence[int]) -> float:
    """The mean over nodes of the smallest community; of several, of the one that does worst."""
    sizes = Counter(turns)
    least = min(sizes.values())
    by_turn = {
        turn: float(np.mean([a for a, t in zip(accuracies, turns, strict=True) if t == turn]))
        for turn in sizes
    }
    return min(by_turn[turn] for turn, size in sizes.items() if size == least)


def reasons(run: Run) -> list[str]:
    """Where each node is, among whom, and what it last decided."""
    groups, turns = run.groups(), run.communities()
    lines = []
    for member, group, turn in zip(run.engine.members, groups, turns, strict=True):
        inside = Counter(t for g, t in zip(groups, turns, strict=True) if g == group)
        selector = run.driver.nodes[member.index].chooser.selector
        lines.append(
            f"node {member.index} of turn {turn} is in {group}, with turns"
            f" {dict(sorted(inside.items()))}: {selector.latest.action}, {selector.latest.why}"
        )
    moves = [
        f"round {m.round}: node {m.node} of turn {turns[m.node]}: {m.left} -> {m.entered}"
        for m in run.engine.state.moves
    ]
    return lines + moves


def references(nodes: ImageNodes) -> dict[str, Any]:
    """The same task in one place."""
    population, turns = nodes.population(), nodes.deal.turns.tolist()
    of_turn = central(nodes, population, turns)
    for_all = central(nodes, population, [0] * len(turns))
    each = central(nodes, population, list(range(len(turns))))
    return {
        "oracle": float(np.mean(of_turn)),
        "one_model": float(np.mean(for_all)),
        "alone": float(np.mean(each)),
        "oracle_minority": minority(of_turn, turns),
        "one_model_minority": minority(for_all, turns),
        "alone_minority": minority(each, turns),
    }


def baselines(
    nodes: ImageNodes, after: ImageNodes | None, options: Any, holds_out: bool
) -> dict[str, Any]:
    """The published algorithms, k told."""
    side = nodes.deal.images.shape[2]
    how = replace(HOW[options.model], rounds=options.rounds)
    beside = Baselines(nodes, after, model_of(options.model, side), how, holds_out)
    k = len(options.sizes)
    turns = (nodes if after is None else after).deal.turns
    restarts = [
        ifca(beside.model, beside.data_at, k, how, options.seed * 100 + number)
        for number in range(RESTARTS)
    ]
    best = min(restarts, key=beside.loss)
    gossip = dfca(beside.model, beside.data_at, k, how, options.seed)
    given = fixed(beside.model, beside.data_at, turns, how, options.seed)
    found: dict[str, Any] = {"ifca_each": [float(np.mean(beside.accuracies(e))) for e in restarts]}
    found["ifca_purity_each"] = [beside.purity(end) for end in restarts]
    for name, end in (
        ("ifca", restarts[0]),
        ("ifca_best_of_3", best),
        ("dfca", gossip),
        ("fedavg_oracle", given),
    ):
        accuracies = beside.accuracies(end)
        found[name] = float(np.mean(accuracies))
        found[f"{name}_minority"] = minority(accuracies, turns.tolist())
        found[f"{name}_purity"] = beside.purity(end)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100, help="of each node, its own")
    parser.add_argument("--sizes", type=sizes, default=[6, 6, 6, 6])
    parser.add_argument("--model", choices=MODELS, default="logistic")
    parser.add_argument("--start", choices=("one", "random"), default="random")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drift", action="store_true")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the images, run nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--why", action="store_true", help="what each node last decided, too")
    parser.add_argument("--no-references", action="store_true", help="OpenFL alone")
    parser.add_argument("--weight-prior", type=float, help="of logistic, in the charter")
    parser.add_argument("--learning-rate", type=float, help="of mlp and cnn")
    parser.add_argument("--momentum", type=float, help="of mlp and cnn")
    parser.add_argument("--epochs", type=int, help="of mlp and cnn, a round")
    parser.add_argument("--row-fraction", type=float, default=TrainingSection().row_fraction)
    options = parser.parse_args()
    if options.images < 10:
        parser.error("--images: a node needs at least 10")
    if options.rounds < 1 or (options.drift and options.rounds <= DRIFT_ROUND):
        parser.error(f"--rounds: at least 1, and more than {DRIFT_ROUND} with --drift")
    if options.drift and len(options.sizes) < 2:
        parser.error("--drift: needs at least two groups")
    if options.csv is not None:
        write_csv(deal(load_pictures(), options.sizes, options.images, options.seed), options.csv)
        return
    found = measured(options)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if name == "why":
            print(*value, sep="\n")
        else:
            print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")


def sizes(text: str) -> list[int]:
    """Of `--sizes`."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not 1 <= len(found) <= 4 or min(found) < 1:
        raise argparse.ArgumentTypeError("one to four numbers of nodes, such as 6,6,6,6")
    return found


if __name__ == "__main__":
    main()
