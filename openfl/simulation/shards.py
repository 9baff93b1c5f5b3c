"""Which node gets whose data. A user is never split over nodes; every node gets at least one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.simulation.dataset import Dataset
from openfl.simulation.scenario import DataSection

Numbers = NDArray[np.int64]


def shard_owners(dataset: Dataset, section: DataSection, nodes: int, seed: int) -> Numbers:
    """int64[users]: each user's node; -1 for users that nobody gets (one user per node).

    DataError when there are too few users or files, or nothing tells the communities that the split
    goes by.
    """
    users = len(dataset.users)
    if users < nodes:
        raise DataError(f"{users} users are too few for {nodes} nodes")
    rng = np.random.default_rng([seed, 1])
    shuffled = rng.permutation(users)
    owner = np.full(users, -1, dtype=np.int64)
    match section.split:
        case "one-user-per-node":
            owner[shuffled[:nodes]] = np.arange(nodes)
        case "community":
            community = dataset.known_communities()
            order = shuffled[np.argsort(community[shuffled], kind="stable")]
            owner[order] = np.arange(users) * nodes // users
        case "dirichlet":
            community = dataset.known_communities()
            for number in range(int(community.max()) + 1):
                members = shuffled[community[shuffled] == number]
                shares = rng.dirichlet(np.full(nodes, section.alpha))
                owner[members] = rng.choice(nodes, size=len(members), p=shares)
            _give_everybody_one(owner, nodes, shuffled)
        case "file":
            files = int(dataset.file_of_user.max()) + 1
            if files < nodes:
                plural = "files are" if files > 1 else "file is"
                raise DataError(f'{files} {plural} too few for {nodes} nodes with split "file"')
            owner = dataset.file_of_user % nodes
        case "user":
            owner[shuffled] = np.arange(users) % nodes
        case unknown:
            raise ValueError(f"there is no split {unknown!r}")
    return owner


def _give_everybody_one(owner: Numbers, nodes: int, order: Sequence[int] | Numbers) -> None:
    """Move users from the richest nodes to those that have none."""
    counts = np.bincount(owner, minlength=nodes)
    for poor in np.flatnonzero(counts == 0):
        rich = int(counts.argmax())
        moved = next(user for user in order if owner[user] == rich)
        owner[moved] = poor
        counts[rich] -= 1
        counts[poor] += 1
