"""`Workload`: what a node learns and what it answers, for any group it may be in.

A task is bound to one charter; a workload is what stands above: the owner's data, the charter this
node would found a group with, whether it could join another's, and the answers it gives from a
model. Embed a node with your own workload to learn something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from openfl.config import Config
from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, ModelView
from openfl.core.errors import DataError, GroupError
from openfl.learning.classification import charter as classification_charter
from openfl.learning.classification.examples import Labelled, load_labelled, split_examples
from openfl.learning.classification.task import LinearClassifier
from openfl.learning.factorization.rating_scale import Scale
from openfl.learning.factorization.ratings import (
    EMPTY_CATALOGUE,
    Catalogue,
    Ratings,
    load_catalogue,
    load_ratings,
)
from openfl.learning.factorization.recommend import Recommendations, recommend
from openfl.learning.implicit import charter as implicit_charter
from openfl.learning.implicit.plays import load_plays
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.model_file import save_model
from openfl.learning.rating import charter as rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.remarks import Remark, remarks_on_examples, remarks_on_music
from openfl.learning.splitting import Split, split_ratings
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
class Remarking(Protocol):
    """What a workload may offer beside a `Workload`: what its owner should know of the data."""

    def remarks(self) -> tuple[Remark, ...]:
        """To be told once at each start."""
        ...

    @property
    def skipped_rows(self) -> int:
        """How many rows of the files were left out because they cannot be used."""
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
        return replace(self._charter, name=name)

    def problem(self, charter: Charter) -> str | None:
        # Before the task's own check, which may know nothing of parents.
        return parent_problem(charter) or self._problem(self._charter, charter)

    def task(self, charter: Charter) -> LearningTask:
        problem = self.problem(charter)
        if problem is not None:
            raise GroupError(problem)
        return self._make_task(charter)

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """GroupError: it recommends nothing."""
        raise GroupError(f'group "{charter.name}" learns "{charter.task}": it recommends nothing')

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
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


class MusicWorkload:
    """What workloads on one CSV file have in common; `kind` is that of the task."""

    kind: str

    def __init__(self, config: Config, resumed: Charter | None = None) -> None:
        """DataError when the data is missing or malformed."""
        self._config = config
        self.ratings, self.catalogue = load_music(config, self.kind, resumed)
        self._split = split_of(config, self.ratings)

    @property
    def skipped_rows(self) -> int:
        return self.ratings.skipped + self.catalogue.skipped

    def remarks(self) -> tuple[Remark, ...]:
        return remarks_on_music(self._config, self.kind, self.ratings, self.catalogue)

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        return recommend(charter, model, self.ratings, self.catalogue, user, top)

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        save_model(path, charter, model, atomic_write)


class RatingWorkload(MusicWorkload):
    """Ratings of songs, by matrix factorization."""

    kind = rating_charter.TASK_KIND

    def found(self, name: str) -> Charter:
        task = self._config.task
        return rating_charter.rating_charter(
            name,
            scale=self.ratings.scale,
            factors=task.factors or rating_charter.USUAL_FACTORS,
            damping=task.damping or rating_charter.USUAL_DAMPING,
            prior=task.prior or rating_charter.USUAL_PRIOR,
            prior_per_evidence=task.prior_per_evidence,
            bias_prior=task.bias_prior,
            encoding=task.encoding,
            seed=task.seed,
        )

    def problem(self, charter: Charter) -> str | None:
        try:
            rating_charter.check_ratings_fit(charter, self.ratings)
        except (DataError, GroupError) as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> MatrixFactorization:
        return MatrixFactorization.from_charter(
            charter,
            self.ratings,
            self._split,
            self._config.training.min_row_evidence,
            self.catalogue if self._config.privacy.enabled else None,
        )


class ImplicitWorkload(MusicWorkload):
    """Plays or likes of songs, by the factorization of implicit feedback."""

    kind = implicit_charter.TASK_KIND

    def found(self, name: str) -> Charter:
        task = self._config.task
        return implicit_charter.implicit_charter(
            name,
            factors=task.factors or implicit_charter.USUAL_FACTORS,
            alpha=task.alpha,
            plays_limit=task.plays_limit,
            damping=task.damping or implicit_charter.USUAL_DAMPING,
            prior=task.prior or implicit_charter.USUAL_PRIOR,
            prior_per_evidence=task.prior_per_evidence,
            encoding=task.encoding,
            seed=task.seed,
        )

    def problem(self, charter: Charter) -> str | None:
        try:
            implicit_charter.implicit_parameters(charter)
        except GroupError as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> ImplicitFactorization:
        return ImplicitFactorization.from_charter(
            charter, self.ratings, self._split, self._config.training.min_row_evidence
        )


class ClassificationWorkload:
    """Labelled rows of numbers from a CSV file, by multinomial logistic regression."""

    def __init__(self, config: Config) -> None:
        """DataError when the data is missing or malformed."""
        self._config = config
        self.data = load_examples(config)
        data = config.data
        self._split = split_examples(
            self.data, data.validation_fraction, data.test_fraction, data.split_seed
        )

    def found(self, name: str) -> Charter:
        return classification_charter.classification_charter(
            name, self.data.features, self._config.task.weight_prior, seed=self._config.task.seed
        )

    def problem(self, charter: Charter) -> str | None:
        try:
            classification_charter.check_features_fit(charter, self.data.features)
        except GroupError as error:
            return str(error)
        return None

    def task(self, charter: Charter) -> LinearClassifier:
        return LinearClassifier.from_charter(
            charter, self.data, self._split, self._config.training.min_row_evidence
        )

    @property
    def skipped_rows(self) -> int:
        return self.data.skipped

    def remarks(self) -> tuple[Remark, ...]:
        return remarks_on_examples(self.data)

    def recommend(self, model: ModelView, charter: Charter, user: str, top: int) -> Recommendations:
        """GroupError: it recommends nothing."""
        raise GroupError(
            f'group "{charter.name}" learns to classify: it recommends no songs'
            " (try: openfl-node predict)"
        )

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        save_model(path, charter, model, atomic_write)


def load_workload(config: Config, resumed: Charter | None = None) -> Workload:
    """The workload that `task.kind` asks for, on the configured data; DataError when unusable.
    `resumed`: of the group that the node was in before, and may go on in."""
    match config.task.kind:
        case "implicit":
            return ImplicitWorkload(config, resumed)
        case "classification":
            return ClassificationWorkload(config)
        case _:
            return RatingWorkload(config, resumed)


def split_of(config: Config, ratings: Ratings) -> Split:
    """What is trained on and what is held out, by the configuration."""
    data = config.data
    return split_ratings(ratings, data.validation_fraction, data.test_fraction, data.split_seed)


def load_music(
    config: Config, kind: str = rating_charter.TASK_KIND, group: Charter | None = None
) -> tuple[Ratings, Catalogue]:
    """The ratings, or plays, that a task of `kind` learns from, and the catalogue (empty when there
    is none); DataError when unusable. `group`: one that learned from this data before, whose scale
    is then no reason to doubt it."""
    if not config.data.ratings_file:
        raise DataError(
            "no ratings to learn from: name a CSV file with --data, or set data.ratings_file"
        )
    path = Path(config.data.ratings_file)
    if kind == implicit_charter.TASK_KIND:
        data = config.data
        ratings = load_plays(path, data.min_strength, data.skip_bad_rows, data.max_plays)
    else:
        ratings = load_ratings(
            path, config.data.rating_scale, config.data.skip_bad_rows, _scale_of(group)
        )
    return ratings, load_songs(config)


def _scale_of(group: Charter | None) -> Scale | None:
    if group is None or group.task != rating_charter.TASK_KIND:
        return None
    try:
        return rating_charter.rating_parameters(group).scale
    except GroupError:
        return None


def load_examples(config: Config) -> Labelled:
    """The labelled examples of the configured file; DataError when unusable."""
    data = config.data
    if not data.ratings_file:
        raise DataError(
            "no examples to learn from: name a CSV file with --data, or set data.ratings_file"
        )
    return load_labelled(
        Path(data.ratings_file), data.label_column, data.feature_columns, data.skip_bad_rows
    )


def load_songs(config: Config) -> Catalogue:
    """The configured catalogue, else the one beside the ratings file, else an empty one."""
    skip = config.data.skip_bad_rows
    if config.data.catalogue_file:
        return load_catalogue(Path(config.data.catalogue_file), skip)
    if not config.data.ratings_file:
        return EMPTY_CATALOGUE
    beside = Path(config.data.ratings_file).parent / "songs.csv"
    return load_catalogue(beside, skip) if beside.exists() else EMPTY_CATALOGUE
