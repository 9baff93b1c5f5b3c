"""`Population`: who the nodes of a run are: what each learns from, and which community it is of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.config import with_values
from openfl.core.contribution import Charter
from openfl.core.errors import ConfigError, DataError
from openfl.learning.task import LearningTask
from openfl.learning.workload import Workload
from openfl.simulation.communities import most_common
from openfl.simulation.dataset import Dataset
from openfl.simulation.scenario import Scenario
from openfl.simulation.shards import Numbers, shard_owners


@dataclass(frozen=True)
class Population:
    """See the module's text. Make one of your own to simulate tasks of your own.

    workloads: of each node, on its own data. pooled: a workload on the data of these nodes
    together, which central training learns from. founder: founds the groups (default: `pooled` of
    all). communities: of each node; only the assignment to first groups and purity go by it
    (default: all are of one). upside_down: the workload of a node that attacks by its labels; None:
    there is no such attack.
    """

    workloads: Sequence[Workload]
    pooled: Callable[[Collection[int]], Workload]
    founder: Workload | None = None
    communities: Sequence[int] = ()
    upside_down: Callable[[int], Workload] | None = None

    def __post_init__(self) -> None:
        """ValueError when there is nobody, or not a community for each node."""
        if not self.workloads:
            raise ValueError("a population needs at least one node")
        if self.communities and len(self.communities) != len(self.workloads):
            raise ValueError(
                f"{len(self.communities)} communities were given for {len(self.workloads)} nodes"
            )

    def __len__(self) -> int:
        return len(self.workloads)

    def found(self, name: str) -> Charter:
        """The charter of a group called `name`."""
        founder = self.founder or self.pooled(range(len(self)))
        return founder.found(name)

    def community_of(self, node: int) -> int:
        """The community of a node."""
        return self.communities[node] if self.communities else 0

    def task(self, node: int, charter: Charter) -> LearningTask:
        """A fresh task of a node in the group of `charter`."""
        return self.workloads[node].task(charter)

    def central_task(self, nodes: Collection[int], charter: Charter) -> LearningTask:
        """A task on the data of these nodes together. DataError when they are none."""
        if not nodes:
            raise DataError("no honest node has data")
        return self.pooled(nodes).task(charter)

    def mislabelled(self, node: int) -> Workload:
        """Of a node that attacks by its labels. ConfigError when that is not possible."""
        if self.upside_down is None:
            raise ConfigError(
                "members.attack: the data of these nodes has nothing to turn upside down"
            )
        return self.upside_down(node)


def population_of(scenario: Scenario, dataset: Dataset) -> Population:
    """The nodes of the scenario, each with its shard of the dataset. DataError when that does not
    suffice for so many."""
    owner = shard_owners(dataset, scenario.data, scenario.run.nodes, scenario.run.seed)
    return sharded(dataset, owner)


def sharded(dataset: Dataset, owner: Numbers) -> Population:
    """Nodes that have the data of the users that `owner`, int64[users], says; -1: nobody has it."""
    kind, config, sharding = dataset.kind, dataset.config, dataset.sharding
    # Whoever trains in one place has no reason to hold rows of little evidence back.
    whole = with_values(config, {"training.min_row_evidence": 1})
    nodes = int(owner.max()) + 1
    shards = [dataset.of_users(owner == node) for node in range(nodes)]
    try:
        known = dataset.known_communities()
    except DataError:  # what to learn needs none; where they are needed it has been said
        known = np.zeros(len(dataset.users), dtype=np.int64)
    upside_down = sharding.upside_down
    return Population(
        workloads=[kind.workload(config, shard) for shard in shards],
        pooled=lambda some: kind.workload(
            whole, dataset.of_users(np.isin(owner, np.array(sorted(some), dtype=np.int64)))
        ),
        founder=kind.workload(config, dataset.data),
        communities=[most_common(known[owner == node].tolist()) for node in range(nodes)],
        upside_down=None
        if upside_down is None
        else lambda node: kind.workload(config, upside_down(shards[node])),
    )
