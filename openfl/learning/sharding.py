"""`Sharding`: how a kind's data is cut into the shards of many simulated nodes, and made up.

A kind that has one can be simulated (`openfl.simulation`). Data consists of units that are never
split: users with all that they rated, or single examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Data = Any
"""What `Kind.load` returns: of songs a `SongData`, else whatever the kind likes."""
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MadeUpSize:
    """How much data to make up, of how many communities.

    items: songs, or features of an example. rows_per_user: ratings, plays or examples. overlap: the
    part of the items (or classes) that are the same to all communities.
    """

    users: int
    items: int
    rows_per_user: int
    communities: int = 1
    overlap: float = 0.0


@dataclass(frozen=True)
class MadeUpData:
    """Data that follows from a seed. user_of_unit: int64[units], the number of the user that each
    unit is of, from 0. communities: int64[users]; None: there are none but those that the data
    tells."""

    data: Data
    user_of_unit: Numbers
    communities: Numbers | None = None


MakeUp = Callable[[MadeUpSize, int], MadeUpData]
"""(how much, seed) -> the data."""


@dataclass(frozen=True)
class Sharding:
    """See the module's text.

    units: how many there are. part: the data of the units marked in a bool[units]. join: the data
    of several files as one; DataError when they do not fit together. None: there can be one file
    only. users: the ids of the units,
    which are then users; None: units are the rows of the file, in its order, and whose they are is
    for a column to say. user_column: the column of a file with those ids. communities: int64[units]
    by what the data itself tells, such as favourite genres; DataError when it tells nothing. None:
    it never does. upside_down: the same with the worst for the best, for members that attack by
    their labels; None: there is no such thing. make_up: by name, ways to make up data. sample_file:
    of the sample data that comes with OpenFL; empty: it has none of this kind.
    """

    units: Callable[[Data], int]
    part: Callable[[Data, NDArray[np.bool_]], Data]
    join: Callable[[Sequence[Data]], Data] | None = None
    users: Callable[[Data], tuple[str, ...]] | None = None
    user_column: str = ""
    communities: Callable[[Data], Numbers] | None = None
    upside_down: Callable[[Data], Data] | None = None
    make_up: Mapping[str, MakeUp] = field(default_factory=dict)
    sample_file: str = ""
