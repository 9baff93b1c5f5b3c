"""A saved model on a data file: the same figures as the task's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from openfl.core.errors import DataError, GroupError
from openfl.core.model_view import DenseModel
from openfl.learning.central import train_alone
from openfl.learning.evaluation import ModelReport, evaluate_model
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.implicit.charter import implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import recommending
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split, split_ratings
from tests.group_rig import CHARTER
from tests.implicit_rig import all_for_training, some_plays

PLAYS = some_plays(users=60, songs=40)
SPLIT = split_ratings(PLAYS)
IMPLICIT = implicit_charter("plays", factors=4, prior=1.0)
RATING = rating_charter("stars", (0, 5), factors=3, prior=1.0)


def learned(kind, charter) -> DenseModel:
    task = kind.from_charter(charter, PLAYS, SPLIT)
    return train_alone(task, np.random.default_rng(0), max_rounds=8).model


def evaluated(model: DenseModel, plays: Ratings, split: Split) -> ModelReport:
    return evaluate_model(recommending(model.charter), model, plays, split)


def test_the_implicit_head_is_measured_as_its_task_measures() -> None:
    model = learned(ImplicitFactorization, IMPLICIT)
    report = evaluated(model, PLAYS, SPLIT)
    own = ImplicitFactorization.from_charter(IMPLICIT, PLAYS, SPLIT).evaluate(model, "test")
    assert 1 - report.ndcg == pytest.approx(own.value)
    assert report.ndcg_error == pytest.approx(own.standard_error)
    assert (report.users, report.head, report.rmse) == (own.count, "implicit", None)
    assert report.held_out == len(SPLIT.test)
    assert 0 < report.recall <= 1
    assert 0 < report.coverage <= 1


def test_the_rating_head_also_has_the_rmse_of_its_task() -> None:
    model = learned(MatrixFactorization, RATING)
    report = evaluated(model, PLAYS, SPLIT)
    own = MatrixFactorization.from_charter(RATING, PLAYS, SPLIT).evaluate(model, "test")
    assert (report.rmse, report.rmse_error) == (own.value, own.standard_error)
    assert report.head == "rating"


def test_songs_the_model_does_not_know_are_counted_and_missed() -> None:
    model = learned(ImplicitFactorization, IMPLICIT)
    renamed = dataclasses.replace(PLAYS, songs=tuple(f"new-{song}" for song in PLAYS.songs))
    split = split_ratings(renamed)
    report = evaluated(model, renamed, split)
    assert report.unknown_songs == report.held_out == len(split.test)
    assert (report.ndcg, report.recall) == (0.0, 0.0)
    assert evaluated(model, PLAYS, SPLIT).unknown_songs < len(SPLIT.test) / 10


def test_what_cannot_be_measured_is_refused_with_the_reason() -> None:
    model = learned(ImplicitFactorization, IMPLICIT)
    with pytest.raises(DataError, match="nothing is held out"):
        evaluated(model, PLAYS, all_for_training(PLAYS))
    with pytest.raises(DataError, match="is empty"):
        evaluated(DenseModel.empty(IMPLICIT), PLAYS, SPLIT)
    with pytest.raises(GroupError, match="is not known here"):
        evaluated(DenseModel.empty(CHARTER), PLAYS, SPLIT)
