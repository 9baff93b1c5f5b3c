"""Recommendations of groups that learn from plays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from openfl.core.errors import GroupError
from openfl.core.model_view import DenseModel
from openfl.learning.central import train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import EMPTY_CATALOGUE
from openfl.learning.factorization.recommend import recommend
from openfl.learning.factorization.users import one_user
from openfl.learning.implicit.charter import ITEMS, implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import head_of
from tests.group_rig import CHARTER
from tests.implicit_rig import Dense, all_for_training, some_plays

GROUP = implicit_charter("plays", factors=4, prior=1.0, plays_limit=4.0)
PLAYS = some_plays(users=60, songs=30)


@pytest.fixture(scope="module")
def model() -> DenseModel:
    task = ImplicitFactorization.from_charter(GROUP, PLAYS, all_for_training(PLAYS))
    return train_alone(task, np.random.default_rng(0), max_rounds=10).model


def kind_of(song: str) -> int:
    return int(song[1:]) % 2


def test_a_folded_in_listener_is_the_one_the_task_fits(model: DenseModel) -> None:
    dense = Dense(GROUP, PLAYS)
    expected = dense.fit(dense.rows(model))
    for user in (0, 7):
        given = PLAYS.of_user(PLAYS.users[user])
        head = head_of(GROUP, model)
        values = np.array(list(given.values()))
        found = head.fold_in(one_user(values), item_keys(tuple(given), 40))
        assert found[0] == pytest.approx(expected[user], abs=1e-5)
        scores = head.scores(found, dense.keys)[0]
        assert scores == pytest.approx(dense.rows(model) @ expected[user], abs=1e-5)


def test_listeners_get_songs_of_their_kind_that_they_have_not_played(model: DenseModel) -> None:
    for user in ("u2", "u3"):
        found = recommend(head_of(GROUP, model), model, PLAYS, EMPTY_CATALOGUE, user, 3)
        assert (found.kind, found.head) == ("known", "implicit")
        assert {kind_of(item.song_id) for item in found.items} == {int(user[1:]) % 2}
        assert not {item.song_id for item in found.items} & set(PLAYS.of_user(user))
        scores = [item.score for item in found.items]
        assert scores == sorted(scores, reverse=True)


def test_what_was_left_out_as_too_weak_is_not_recommended(model: DenseModel) -> None:
    first = (
        recommend(head_of(GROUP, model), model, PLAYS, EMPTY_CATALOGUE, "u2", 1).items[0].song_id
    )
    disliked = dataclasses.replace(PLAYS, left_out={"u2": (first,)})
    assert (
        recommend(head_of(GROUP, model), model, disliked, EMPTY_CATALOGUE, "u2", 1).items[0].song_id
        != first
    )


def test_plays_given_with_the_question_are_folded_in(model: DenseModel) -> None:
    own = {"s1": 3.0, "s3": 9.0}
    found = recommend(head_of(GROUP, model), model, PLAYS, EMPTY_CATALOGUE, "new", 3, own)
    assert found.kind == "folded-in"
    assert {kind_of(item.song_id) for item in found.items} == {1}
    assert any("has played only 2 songs" in note for note in found.notes)


def test_somebody_unknown_gets_what_is_played_most(model: DenseModel) -> None:
    found = recommend(head_of(GROUP, model), model, PLAYS, EMPTY_CATALOGUE, "nobody", 3)
    keys = item_keys(PLAYS.songs, 40)
    most = sorted(model.evidence(ITEMS, keys), reverse=True)[:3]
    assert (found.kind, [item.score for item in found.items]) == ("popular", most)
    assert any("plays most" in note for note in found.notes)


def test_a_group_of_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(GroupError, match=r"known here \(known: rating, implicit, classification\)"):
        head_of(CHARTER, DenseModel.empty(CHARTER))
