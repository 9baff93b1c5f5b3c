"""`Workload`: what a node learns and what it answers, for any group it may be in.

A task is bound to one charter; a workload is what stands above: the owner's data, the charter this
node would found a group with, whether it could join another's, and the answers it gives from a
model. Embed a node with your own workload to learn something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import GroupError
from openfl.items import Label
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.factorization.similar import SimilarSongs
from openfl.learning.factorization.wishes import Wishes
from openfl.learning.model_file import save_model
from openfl.learning.remarks import Remark
from openfl.learning.task import LearningTask
from openfl.wire.charters import charter_problem


class Workload(Protocol):
    """See the module's text."""

    def found(self, name: str) -> Charter:
        """The charter this node founds a group with."""
        ...

    def problem(self, charter: Charter) -> str | None:
        """Why this node could not learn under `charter`; None when it could."""
        ...

    def task(self, charter: Charter) -> LearningTask:
        """A fresh task on the owner's data; DataError or GroupError when `problem` says so."""
        ...

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """The best items for `user` by `model`."""
        ...

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """Write the model where other programs can read it; StateError when that fails."""
        ...


@runtime_checkable
class KnowsSongs(Protocol):
    """What a workload may offer beside a `Workload`, whose items are songs or the like."""

    def recommend_by(
        self, model: ModelView, charter: Charter, user: str, top: int, wishes: Wishes
    ) -> Recommendations:
        """`Workload.recommend`, by what the user wishes for."""
        ...

    def similar(self, model: ModelView, charter: Charter, song: str, top: int) -> SimilarSongs:
        """The songs most like `song`; UsageError or GroupError when there is no telling."""
        ...

    def like_artist(
        self, model: ModelView, charter: Charter, artist: str, top: int
    ) -> SimilarSongs:
        """The songs most like those of an artist; none when there is no such artist."""
        ...

    def top_songs(
        self, model: ModelView, charter: Charter, artist: str, top: int
    ) -> Recommendations:
        """What the group likes best of an artist; nothing when there is no such artist."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """What a workload may offer beside a `Workload`: what its owner should know of the data."""

    def remarks(self) -> tuple[Remark, ...]:
        """To be told once at each start."""
        ...

    @property
    def skipped_rows(self) -> int:
        """How many rows of the files were left out because they cannot be used."""
        ...


@runtime_checkable
class NamingItems(Protocol):
    """What a workload may offer beside a `Workload`: items with names (see `openfl.items`)."""

    @property
    def item_kind(self) -> str:
        """One of `openfl.items.KINDS`."""
        ...

    def own_labels(self) -> Mapping[int, Label]:
        """What this node's own files call items, by the keys of their rows."""
        ...

    def hear_labels(self, labels: Iterable[tuple[int, Label]]) -> None:
        """Labels that others told, checked: from now on items can be called by them."""
        ...


class TaskWorkload:
    """A task of one's own: a charter, and how to make the task of a node in a group of it.

    Such a node recommends nothing. It joins groups of the same charter, whatever their name; or
    those that `problem(own, theirs)` finds nothing against, when it is given.
    """

    def __init__(
        self,
        charter: Charter,
        make_task: Callable[[Charter], LearningTask],
        problem: Callable[[Charter, Charter], str | None] | None = None,
    ) -> None:
        """ValueError when the charter is not one that other nodes would accept."""
        wrong = charter_problem(charter) or parent_problem(charter)
        if wrong is not None:
            raise ValueError(f"charter: {wrong}")
        self._charter = charter
        self._problem = problem if problem is not None else charter_difference
        self._make_task = make_task

    def found(self, name: str) -> Charter:
        """See `Workload`."""
        return replace(self._charter, name=name)

    def problem(self, charter: Charter) -> str | None:
        """See `Workload`."""
        # Before the task's own check, which may know nothing of parents.
        return parent_problem(charter) or self._problem(self._charter, charter)

    def task(self, charter: Charter) -> LearningTask:
        """See `Workload`."""
        problem = self.problem(charter)
        if problem is not None:
            raise GroupError(problem)
        return self._make_task(charter)

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """GroupError: it recommends nothing."""
        raise GroupError(f'group "{charter.name}" learns "{charter.task}": it recommends nothing')

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        """See `Workload`."""
        save_model(path, charter, model, atomic_write)


def parent_problem(charter: Charter) -> str | None:
    """Members of a group with a parent must serve the parent too, which this version cannot."""
    if charter.parent is None:
        return None
    return f'group "{charter.name}" has a parent group, which is not supported yet'


def charter_difference(own: Charter, theirs: Charter) -> str | None:
    """The first thing but the name in which two charters differ, for the owner of a node that has
    `own`; None when there is none."""
    group = f'group "{theirs.name}"'
    if theirs.task != own.task:
        return f'{group} learns "{theirs.task}"; this node learns "{own.task}"'
    for name in sorted({*own.hyperparameters, *theirs.hyperparameters}):
        here, there = own.hyperparameters.get(name), theirs.hyperparameters.get(name)
        if here != there or type(here) is not type(there):
            return f"{group} has {name} {_shown(there)}; this node has {_shown(here)}"
    shapes = {t.name: t for t in own.tables}
    for table in theirs.tables:
        mine = shapes.pop(table.name, None)
        if mine is None:
            return f'{group} has a table "{table.name}", which this node\'s task has not'
        if table.width != mine.width:
            return (
                f'{group} has rows of {table.width} numbers in table "{table.name}"; this node\'s'
                f" are of {mine.width}"
            )
        if table != mine:
            return f'{group} has another prior, scale or encoding of table "{table.name}"'
    if shapes:
        return f'{group} lacks the table "{next(iter(shapes))}" of this node\'s task'
    if (own.tables, own.seed, own.parent, own.version) != (
        theirs.tables,
        theirs.seed,
        theirs.parent,
        theirs.version,
    ):
        return f"{group} has another seed, order of tables, parent or version than this node's task"
    return None


def _shown(value: object) -> str:
    return "none" if value is None else f"{value!r:.80}"
