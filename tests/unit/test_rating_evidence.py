"""What a node of ratings says of a model by each of its own, against leaving it out and fitting its
listener anew; and what training alone is worth to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from openfl.core.contribution import Contribution, ModelView
from openfl.core.errors import DataError
from openfl.core.model_view import DenseModel
from openfl.learning.alone import (
    FOLD_ROUNDS,
    FOLDS,
    MIN_EXAMPLES,
    UNKNOWN_ERROR,
    AloneByFolds,
    FoldsOwn,
)
from openfl.learning.central import SoloModel
from openfl.learning.comparison import PairedTask, compare, paired_gain
from openfl.learning.factorization.item_rows import learned_rows
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.group_comparison import TaughtTask
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS, rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split, split_ratings

GROUP = rating_charter("music", factors=3, user_prior=0.0)
NOTHING = np.empty(0, dtype=np.intp)
SONGS = 15
TASTE = np.random.default_rng(99).normal(size=(2, SONGS))
"""What songs are like, whoever rates them."""


def some_ratings(seed: int = 0, users: int = 12, chance: float = 0.6, turned: int = 1) -> Ratings:
    """turned: -1 of people to whom everything is the other way round."""
    draw = np.random.default_rng(seed)
    user, song = np.nonzero(draw.random((users, SONGS)) < chance)
    exact = 3.0 + 0.4 * draw.normal(size=users)[:, None]
    exact = exact + turned * (1.0 + 0.5 * draw.normal(size=(users, 2))) @ TASTE
    noisy = exact[user, song] + 0.2 * draw.normal(size=len(user))
    return Ratings(
        users=tuple(f"u{n}" for n in range(users)),
        songs=tuple(f"s{n}" for n in range(SONGS)),
        user_index=user.astype(np.int32),
        song_index=song.astype(np.int32),
        values=(np.clip(np.round(noisy * 2), 1, 10) / 2).astype(np.float32),
        scale=(0.5, 5.0),
    )


def task_of(ratings: Ratings, split: Split | None = None) -> MatrixFactorization:
    return MatrixFactorization.from_charter(GROUP, ratings, split)


def learned(ratings: Ratings, rounds: int = 12) -> DenseModel:
    """The model of others who rated these."""
    split = Split(np.arange(len(ratings)), NOTHING, NOTHING)
    solo = SoloModel(task_of(ratings, split), np.random.default_rng(0))
    for _ in range(rounds):
        solo.step()
    return solo.model


def left_out(task: MatrixFactorization, model: ModelView, at: int, fewer: int = 0) -> float:
    """The squared error at this training rating of a listener fitted to its other ones; `fewer`: as
    if the prior knew of so many ratings less."""
    ratings, parameters, train = task.ratings, task.parameters, task._split.train
    user = ratings.user_index[at]
    others = [n for n in train if ratings.user_index[n] == user and n != at]
    rows = learned_rows(model, ITEMS, task._keys)[task._rows]
    mean = float(model.rows(MEAN, MEAN_KEYS)[0, 0])
    features = np.column_stack((rows[:, :-1], np.ones(len(rows))))
    targets = parameters.to_units(ratings.values) - mean - rows[:, -1]
    count = np.array([len(others) + 1.0 - fewer])
    gram = features[others].T @ features[others] + np.diag(parameters.ridge(count)[0])
    fit = np.linalg.solve(gram, features[others].T @ targets[others])
    raw = mean + rows[at, -1] + features[at] @ fit
    predicted = np.clip(parameters.to_ratings(raw), *ratings.scale)
    return float((predicted - ratings.values[at]) ** 2)


# --- own losses -----------------------------------------------------------------------------------


def test_the_task_offers_all_that_groups_are_chosen_by() -> None:
    task = task_of(some_ratings())
    assert isinstance(task, PairedTask)
    assert isinstance(task, JudgesByOwn)
    assert not isinstance(task, TaughtTask), "all own examples have spoken already"
    assert isinstance(task, FoldsOwn)
    assert task.metric_power == 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_training_rating_is_left_out_of_its_listener_s_fit_exactly(seed: int) -> None:
    task = task_of(some_ratings(seed))
    model = learned(some_ratings(7))
    train = task._split.train
    found = task.own_losses(model).losses[: len(train)]
    truth = [left_out(task, model, at) for at in train]
    assert np.ptp(truth) > 1
    assert found == pytest.approx(np.array(truth), rel=1e-6, abs=1e-9)


def test_training_ratings_come_first_then_those_held_out_and_none_of_the_test() -> None:
    ratings = some_ratings()
    task, model = task_of(ratings), learned(some_ratings(7))
    split = split_ratings(ratings)
    own = task.own_losses(model)
    assert len(split.validation) > 0
    assert len(split.test) > 0
    assert len(own.losses) == len(own.people) == len(split.train) + len(split.validation)
    held = own.losses[len(split.train) :]
    assert held == pytest.approx(task.held_out_losses(model))
    at = np.concatenate((split.train, split.validation))
    assert np.array_equal(own.people, ratings.user_index[at])
    again = task.own_losses(learned(some_ratings(8)))
    assert np.array_equal(again.people, own.people)


def test_a_prior_that_knew_of_a_rating_less_would_say_nearly_the_same() -> None:
    """The listener's ridge grows with the ratings it has; what is left out is counted in it."""
    task, model = task_of(some_ratings()), learned(some_ratings(7))
    train = task._split.train
    exact, fewer = (np.array([left_out(task, model, at, less) for at in train]) for less in (0, 1))
    assert not np.allclose(exact, fewer, rtol=1e-6)
    assert exact.mean() == pytest.approx(fewer.mean(), rel=0.01)
    assert task.own_losses(model).losses[: len(train)].mean() == pytest.approx(exact.mean())


def test_a_model_s_fit_to_a_rating_is_not_taken_for_what_it_knows() -> None:
    """Under a model that knows nothing the fit that has seen a rating looks better than it is."""
    task = task_of(some_ratings(chance=0.3))
    known = learned(some_ratings(7))
    table = known.tables[ITEMS]
    mixed = np.random.default_rng(0).permutation(SONGS)
    noise = DenseModel(GROUP, {**known.tables, ITEMS: replace(table, rows=table.rows[mixed])})
    train = task._split.train
    seen = np.square(task._predicted(noise, train) - task.ratings.values[train])
    assert task.own_losses(noise).losses[: len(train)].mean() > 1.2 * seen.mean()


def test_a_listener_with_a_single_rating_is_the_average_one() -> None:
    ratings = some_ratings(chance=0.6)
    one = np.flatnonzero(ratings.user_index == 0)[:1]
    rest = np.flatnonzero(ratings.user_index != 0)
    held = np.setdiff1d(np.arange(len(ratings)), np.concatenate((one, rest)))
    task = task_of(ratings, Split(np.sort(np.concatenate((one, rest))), NOTHING, held))
    model = learned(some_ratings(7))
    found = task.own_losses(model).losses[0]
    rows = learned_rows(model, ITEMS, task._keys)[task._rows]
    raw = model.rows(MEAN, MEAN_KEYS)[0, 0] + rows[one[0], -1]
    predicted = np.clip(task.parameters.to_ratings(raw), *ratings.scale)
    assert found == pytest.approx((predicted - ratings.values[one[0]]) ** 2)


def test_under_an_empty_model_the_own_mean_and_biases_are_all_there_is() -> None:
    task = task_of(some_ratings())
    own = task.own_losses(DenseModel.empty(GROUP))
    assert np.isfinite(own.losses).all()
    better = task.own_losses(learned(some_ratings(7)))
    assert better.losses.mean() < 0.5 * own.losses.mean()


def test_judging_leaves_no_trace_in_training() -> None:
    model = learned(some_ratings(7))
    steps: list[Contribution] = []
    for judges in (False, True):
        task = task_of(some_ratings())
        if judges:
            task.own_losses(learned(some_ratings(8)))
        steps.append(task.local_step(model, np.random.default_rng(0)))
    for plain, judged in zip(steps[0].blocks, steps[1].blocks, strict=True):
        assert np.array_equal(plain.values, judged.values)


def test_people_of_the_same_taste_are_worth_more_than_those_of_the_opposite() -> None:
    """One listener, of few ratings: by all of its own, surely; those held out are but few."""
    task = task_of(some_ratings(3, users=1, chance=1.0))
    same, opposite = learned(some_ratings(7)), learned(some_ratings(8, turned=-1))
    found = compare(task, opposite, same)
    assert found is not None
    assert found.count == len(task._split.train) + len(task._split.validation)
    before, after = task.own_losses(opposite), task.own_losses(same)
    gain = paired_gain(before.losses, after.losses, before.people, 0.5)
    assert (found.gain, found.standard_error) == gain
    assert found.current == task.evaluate(opposite)
    assert found.candidate == task.evaluate(same)


# --- training alone -------------------------------------------------------------------------------


class Counting(MatrixFactorization):
    """Counts the steps of all of these."""

    steps = 0

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        Counting.steps += 1
        return super().local_step(model, rng)

    def fold(self, number: int, folds: int) -> MatrixFactorization:
        split = self._split.fold(number, folds)
        return Counting.from_charter(self._charter, self._ratings, split)


def alone(ratings: Ratings) -> AloneByFolds:
    return AloneByFolds(task_of(ratings), np.random.default_rng(0))


def test_a_good_model_is_better_than_training_alone_and_a_useless_one_is_worse() -> None:
    one = alone(some_ratings(3, users=2, chance=0.9))
    good = one.gain_of(learned(some_ratings(7)))
    useless = one.gain_of(learned(some_ratings(8, turned=-1), rounds=1))
    assert good is not None
    assert useless is not None
    assert good.gain > 0.1
    assert good.gain > useless.gain + 0.1
    many = alone(some_ratings(4, users=30))
    worse = many.gain_of(DenseModel.empty(GROUP))
    assert worse is not None
    assert worse.gain < -0.1
    assert worse.z < -2


def test_each_own_rating_but_the_test_s_is_judged_once_by_what_did_not_train_on_it() -> None:
    ratings = some_ratings()
    split, task = split_ratings(ratings), task_of(ratings)
    known = np.sort(np.concatenate((split.train, split.validation)))
    folds = [task.fold(number, FOLDS)._split for number in range(FOLDS)]
    held = np.concatenate([fold.validation for fold in folds])
    assert np.array_equal(np.sort(held), known)
    for fold in folds:
        assert not np.isin(fold.validation, fold.train).any()
        assert np.array_equal(np.sort(np.concatenate((fold.train, fold.validation))), known)
        assert np.array_equal(fold.test, split.test)
        assert abs(len(fold.validation) - len(known) / FOLDS) < 1
    again = [task_of(ratings).fold(number, FOLDS)._split for number in range(FOLDS)]
    for fold, same in zip(folds, again, strict=True):
        assert np.array_equal(fold.validation, same.validation)
    model = learned(some_ratings(7))
    found = AloneByFolds(task, np.random.default_rng(0)).gain_of(model)
    assert found is not None
    assert found.count == len(known)
    assert found.candidate == task.evaluate(model)


def test_the_gain_is_that_of_the_same_ratings_under_both() -> None:
    task, model = task_of(some_ratings()), learned(some_ratings(7))
    before, after = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    for number in range(FOLDS):
        fold = task.fold(number, FOLDS)
        solo = SoloModel(fold, np.random.default_rng(0))
        for _ in range(FOLD_ROUNDS):
            solo.step()
        before.append(fold.held_out_losses(solo.model))
        after.append(fold.held_out_losses(model))
    count = sum(map(len, before))
    gain = paired_gain(np.concatenate(before), np.concatenate(after), np.arange(count), 0.5)
    found = AloneByFolds(task, np.random.default_rng(1)).gain_of(model)
    assert found is not None
    assert (found.gain, found.standard_error) == gain
    assert found.current.metric == "rmse"
    assert found.current.value == pytest.approx(np.sqrt(np.concatenate(before).mean()))
    assert 0.01 < found.current.standard_error < 0.1
    assert found.current.count == count


def test_it_is_trained_once() -> None:
    Counting.steps = 0
    one = AloneByFolds(Counting.from_charter(GROUP, some_ratings()), np.random.default_rng(0))
    assert Counting.steps == 0, "not before it is asked for"
    found = [one.gain_of(learned(some_ratings(seed))) for seed in (7, 8)]
    assert Counting.steps == FOLDS * FOLD_ROUNDS
    assert found[0] != found[1]
    other = MatrixFactorization.from_charter(
        rating_charter("other", factors=2, user_prior=0.0), some_ratings()
    )
    under_other = one.gain_of(DenseModel.empty(other.charter), other)
    assert under_other is not None, "a model of another width, under its own charter"
    assert under_other.gain < 0
    assert Counting.steps == FOLDS * FOLD_ROUNDS


@pytest.mark.parametrize(("count", "known"), [(MIN_EXAMPLES, True), (MIN_EXAMPLES - 1, False)])
def test_of_too_few_ratings_nothing_is_known(count: int, known: bool) -> None:
    ratings = some_ratings(users=1, chance=1.0)
    task = task_of(ratings, Split(np.arange(count), NOTHING, np.arange(count, len(ratings))))
    found = AloneByFolds(task, np.random.default_rng(0)).gain_of(learned(some_ratings(7)))
    assert found is not None
    assert found.count == count
    assert (found.gain == 0) is not known
    assert (found.standard_error == UNKNOWN_ERROR) is not known


def test_a_task_that_cannot_be_cut_says_nothing_of_training_alone() -> None:
    model = learned(some_ratings(7))
    task = task_of(some_ratings())

    class HeldOut:
        """Only what every task must offer."""

        charter, train_examples = task.charter, task.train_examples
        local_step, evaluate = task.local_step, task.evaluate
        private_state, restore = task.private_state, task.restore

    rng = np.random.default_rng(0)
    assert AloneByFolds(HeldOut(), rng).gain_of(model) is None
    assert AloneByFolds(task, rng).gain_of(model, HeldOut()) is None


def test_a_fold_that_leaves_nothing_to_train_on_is_refused() -> None:
    ratings = some_ratings(users=1, chance=1.0)
    task = task_of(ratings, Split(np.arange(1), NOTHING, np.arange(1, len(ratings))))
    assert task.fold(1, FOLDS).train_examples == 1
    with pytest.raises(DataError, match="no rating is left to train on"):
        task.fold(0, FOLDS)
