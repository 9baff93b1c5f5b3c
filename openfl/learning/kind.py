"""`Kind`: one kind of learning, whole: how its data is read, what is done with it, what it answers.

A kind of OpenFL's own is a folder here with a `kind.py`; `openfl.learning.kinds` has the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openfl.config import Config
from openfl.config.kinds import KindDescription
from openfl.core.contribution import Charter, Evaluation, ModelView
from openfl.core.model_view import DenseModel
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.heads import Head
from openfl.learning.sharding import Data, Sharding
from openfl.learning.splitting import Split
from openfl.learning.workload import Workload


def _anything_fits(charter: Charter, ratings: Ratings) -> object:
    return None


@dataclass(frozen=True)
class Recommending:
    """What a kind has whose models recommend songs; its data is a `SongData`.

    items: the table with a row a song. head: answers from a model; GroupError when the charter is
    not of this kind. check: DataError or GroupError when ratings (or plays) do not fit a charter.
    predicted: how far off the model's ratings of the test part are, for kinds that predict ratings.
    """

    items: str
    head: Callable[[Charter, ModelView], Head]
    check: Callable[[Charter, Ratings], object] = _anything_fits
    predicted: Callable[[DenseModel, Ratings, Split], Evaluation] | None = None


@dataclass(frozen=True)
class Kind:
    """See the module's text.

    load: the configured data; DataError when unusable. The charter, if any, is of a group that has
    learned from this data before. workload: what a node does with such data. recommends: None when
    models of this kind recommend no songs; asked_for_songs: what to say then, beside that.
    sharding: None when nodes of this kind cannot be simulated.
    """

    description: KindDescription
    load: Callable[[Config, Charter | None], Data]
    workload: Callable[[Config, Data], Workload]
    recommends: Recommending | None = None
    asked_for_songs: str = ""
    sharding: Sharding | None = None

    @property
    def name(self) -> str:
        """As `task.kind` and charters have it."""
        return self.description.name
