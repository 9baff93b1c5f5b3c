"""`Dataset`: everybody's data of one kind, and who the users are; from files, or made up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.config import Config, with_values
from openfl.core.errors import ConfigError, DataError
from openfl.learning.kind import Kind
from openfl.learning.kinds import KINDS
from openfl.learning.sharding import MadeUpSize, Sharding
from openfl.simulation.communities import read_communities, read_user_communities, read_users
from openfl.simulation.scenario import MUSIC, Scenario, node_config

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """users: their ids. user_of_unit: int64[units], the number of the user whose a unit of the data
    is (see `openfl.learning.sharding`). communities: int64[users], as files or the maker of the
    data tell them; None: they tell nothing. file_of_user: int64[users]."""

    kind: Kind
    config: Config
    data: Any
    users: tuple[str, ...]
    user_of_unit: Numbers
    communities: Numbers | None
    file_of_user: Numbers

    @property
    def sharding(self) -> Sharding:
        """How data of this kind is cut apart."""
        return sharding_of(self.kind)

    def of_users(self, chosen: NDArray[np.bool_]) -> Any:
        """The data of the users marked in a bool[users]."""
        return self.sharding.part(self.data, chosen[self.user_of_unit])

    def known_communities(self) -> Numbers:
        """int64[users]: `communities`, or what the data itself tells, such as favourite genres.
        DataError when it tells nothing."""
        if self.communities is not None:
            return self.communities
        if self.sharding.communities is None:
            raise DataError(
                f'data of the kind "{self.kind.name}" tells no communities: name a column with'
                " data.community_column, or a file with data.communities_file"
            )
        of_unit = self.sharding.communities(self.data)
        counts = np.zeros((len(self.users), int(of_unit.max()) + 1), dtype=np.int64)
        np.add.at(counts, (self.user_of_unit, of_unit), 1)
        most: Numbers = counts.argmax(axis=1)
        return most


def sharding_of(kind: Kind) -> Sharding:
    """ConfigError when nodes of this kind cannot be simulated."""
    if kind.sharding is None:
        raise ConfigError(f'data.kind: nodes of the kind "{kind.name}" cannot be simulated')
    return kind.sharding


def load_dataset(scenario: Scenario, sample_folder: Callable[[], Path]) -> Dataset:
    """The data a scenario asks for; DataError when it cannot be used. sample_folder: where the
    sample data is."""
    kind, section, config = KINDS[scenario.data.kind], scenario.data, node_config(scenario)
    sharding = sharding_of(kind)
    make_up = sharding.make_up.get(section.source)
    if make_up is not None:
        made = make_up(
            MadeUpSize(
                section.users,
                section.items,
                section.ratings_per_user,
                section.communities,
                section.overlap,
            ),
            scenario.run.seed,
        )
        users = tuple(f"u{n}" for n in range(section.users))
        return Dataset(
            kind,
            config,
            made.data,
            users,
            made.user_of_unit,
            made.communities,
            np.zeros(len(users), dtype=np.int64),
        )
    sample = section.source == MUSIC
    first = sample_folder() / sharding.sample_file if sample else Path(section.source)
    paths = (first, *(Path(name) for name in section.more_sources))
    parts = [
        kind.load(with_values(config, {"data.ratings_file": str(path)}), None) for path in paths
    ]
    sizes = [sharding.units(part) for part in parts]
    data = parts[0]
    if len(parts) > 1:
        if sharding.join is None:
            raise ConfigError(f'data.more_sources: the kind "{kind.name}" learns from one file')
        data = sharding.join(parts)
    if sharding.users is not None:
        users = sharding.users(data)
        user_of_unit = np.arange(len(users), dtype=np.int64)
        owners = [sharding.users(part) for part in parts]
    else:
        read = read_users(paths, section, sizes)
        owners = read.by_file
        users, user_of_unit = read.users, read.user_of_row
    file_of_user = _files_of(users, owners, paths, section.split == "file")
    return Dataset(
        kind,
        config,
        data,
        users,
        user_of_unit,
        _communities(scenario, sharding, paths, users, user_of_unit, sizes),
        file_of_user,
    )


def _communities(
    scenario: Scenario,
    sharding: Sharding,
    paths: Sequence[Path],
    users: tuple[str, ...],
    user_of_unit: Numbers,
    sizes: Sequence[int],
) -> Numbers | None:
    section = scenario.data
    if section.communities_file:
        return read_user_communities(Path(section.communities_file), users)
    if not section.community_column:
        return None
    read = partial(read_communities, paths, section)
    if sharding.users is not None:
        return read(users, sharding.user_column)
    return read(users, "", user_of_unit, sizes)


def _files_of(
    users: tuple[str, ...],
    owners: Sequence[Collection[str]],
    paths: Sequence[Path],
    apart: bool,
) -> Numbers:
    """int64[users]: the first file that each user is in. apart: DataError when somebody is in
    several."""
    file_of: dict[str, int] = {}
    for number, found in enumerate(owners):
        for user in found:
            before = file_of.setdefault(user, number)
            if apart and before != number:
                raise DataError(
                    f"user {user} is in {paths[before]} and in {paths[number]}: with data.split ="
                    ' "file" one user would be at two nodes'
                )
    return np.array([file_of[user] for user in users], dtype=np.int64)
