"""What the kinds that recommend songs learn from: one file of ratings or plays, and a catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openfl.config import Config
from openfl.core.errors import DataError
from openfl.items import OPAQUE
from openfl.learning.factorization.ratings import (
    EMPTY_CATALOGUE,
    Catalogue,
    Ratings,
    load_catalogue,
)
from openfl.learning.splitting import Split, split_ratings


@dataclass(frozen=True)
class SongData:
    """Ratings, or plays, of users; what the songs are called; and how they are named (see
    `openfl.items`)."""

    ratings: Ratings
    catalogue: Catalogue = EMPTY_CATALOGUE
    items: str = OPAQUE

    @property
    def skipped_rows(self) -> int:
        """How many rows of the files were left out because they cannot be used."""
        return self.ratings.skipped + self.catalogue.skipped


def count_users(data: SongData) -> int:
    """How many users there are."""
    return len(data.ratings.users)


def only_users(data: SongData, users: NDArray[np.bool_]) -> SongData:
    """The data of the users marked in `users`, bool[count_users]."""
    wanted = {name for name, mine in zip(data.ratings.users, users, strict=True) if mine}
    return replace(data, ratings=data.ratings.only_users(wanted.__contains__))


def ratings_file(config: Config) -> Path:
    """The configured file; DataError when none is."""
    if not config.data.ratings_file:
        raise DataError(
            "no ratings to learn from: name a file with --data, or set data.ratings_file"
        )
    return Path(config.data.ratings_file)


def load_songs(config: Config) -> Catalogue:
    """The configured catalogue, else the one beside the ratings file, else an empty one."""
    skip = config.data.skip_bad_rows
    if config.data.catalogue_file:
        return load_catalogue(Path(config.data.catalogue_file), skip)
    if not config.data.ratings_file:
        return EMPTY_CATALOGUE
    beside = Path(config.data.ratings_file).parent / "songs.csv"
    return load_catalogue(beside, skip) if beside.exists() else EMPTY_CATALOGUE


def split_of(config: Config, ratings: Ratings) -> Split:
    """What is trained on and what is held out, by the configuration."""
    data = config.data
    return split_ratings(ratings, data.validation_fraction, data.test_fraction, data.split_seed)
