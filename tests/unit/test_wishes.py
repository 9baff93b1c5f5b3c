"""What users may wish for: discoveries, artists of whom they have heard nothing, reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from openfl.core.model_view import DenseModel
from openfl.learning.central import train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Catalogue, Ratings, Song
from openfl.learning.factorization.recommend import Recommendations, recommend
from openfl.learning.factorization.users import one_user
from openfl.learning.factorization.wishes import Wishes, mixed
from openfl.learning.heads import Head
from openfl.learning.implicit.charter import LISTENERS, ONLY_ROW, implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import head_of
from openfl.learning.rating.charter import MEAN, MEAN_KEYS, rating_charter
from openfl.learning.rating.head import RatingHead
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import Split
from tests.implicit_rig import all_for_training, some_plays

PLAYS = some_plays(users=60, songs=30, seed=5)
IMPLICIT = implicit_charter("plays", factors=4, prior=1.0, plays_limit=4.0)


def some_ratings() -> Ratings:
    rng = np.random.default_rng(2)
    n = len(PLAYS)
    return Ratings(
        PLAYS.users,
        PLAYS.songs,
        PLAYS.user_index.copy(),
        PLAYS.song_index.copy(),
        rng.integers(1, 11, n).astype(np.float32) / 2,
        (0.5, 5.0),
    )


RATED = some_ratings()


def trained(charter: Any, task: Any, data: Ratings) -> DenseModel:
    split: Split = all_for_training(data)
    made = task.from_charter(charter, data, split)
    return train_alone(made, np.random.default_rng(0), max_rounds=6).model


@pytest.fixture(scope="module")
def plays_model() -> DenseModel:
    return trained(IMPLICIT, ImplicitFactorization, PLAYS)


@pytest.fixture(scope="module", params=[0.4, 0.0], ids=["with user_prior", "without"])
def rating_model(request: pytest.FixtureRequest) -> DenseModel:
    charter = rating_charter("stars", (0.5, 5.0), factors=3, user_prior=request.param)
    return trained(charter, MatrixFactorization, RATED)


def catalogue(songs: tuple[str, ...] = PLAYS.songs, artists: int = 10) -> Catalogue:
    return Catalogue({s: Song(s, f"Song {s}", f"Artist {int(s[1:]) % artists}") for s in songs})


def recommended(
    model: DenseModel, data: Ratings, user: str, top: int, **wishes: Any
) -> Recommendations:
    head = head_of(model.charter, model)
    names = wishes.pop("catalogue", catalogue())
    return recommend(head, model, data, names, user, top, wishes=Wishes(**wishes))


# --- why ------------------------------------------------------------------------------------------


def influence_of(head: Head, data: Ratings, user: str) -> tuple[Any, Any]:
    """(float64[songs, own], float64[songs]: influences, and the scores they are of)."""
    given = data.of_user(user)
    values, own = one_user(np.array(list(given.values()))), item_keys(tuple(given), 40)
    every = item_keys(data.songs, 40)
    users = head.fold_in(values, own)
    return head.influence(values, own, every), head.scores(users, every)[0]


@pytest.mark.parametrize("user", ["u0", "u13"])
def test_influences_of_plays_add_up_to_the_preference(plays_model: DenseModel, user: str) -> None:
    influence, scores = influence_of(head_of(IMPLICIT, plays_model), PLAYS, user)
    assert influence.sum(axis=1) == pytest.approx(scores, abs=1e-9)
    assert np.abs(scores).max() > 0.1


@pytest.mark.parametrize("user", ["u0", "u13"])
def test_influences_of_ratings_add_up_to_what_is_the_users_own_in_a_rating(
    rating_model: DenseModel, user: str
) -> None:
    head = head_of(rating_model.charter, rating_model)
    assert isinstance(head, RatingHead)
    influence, scores = influence_of(head, RATED, user)
    unit = head._parameters.unit
    mean = float(rating_model.rows(MEAN, MEAN_KEYS)[0, 0])
    biases = rating_model.rows(head.items, item_keys(RATED.songs, 40))[:, -1].astype(float)
    for_anybody = head._parameters.centre + unit * (mean + biases)
    assert influence.sum(axis=1) == pytest.approx(scores - for_anybody, abs=1e-9)
    assert np.abs(scores - for_anybody).max() > 0.05


def test_leaving_a_song_out_of_a_sum_is_what_its_influence_says(plays_model: DenseModel) -> None:
    """With the weights of the equations kept: that is what "due to" means here."""
    head = head_of(IMPLICIT, plays_model)
    influence, scores = influence_of(head, PLAYS, "u0")
    for number in range(influence.shape[1]):
        rest = np.delete(influence, number, axis=1).sum(axis=1)
        assert rest == pytest.approx(scores - influence[:, number], abs=1e-9)


def test_reasons_are_own_songs_most_influential_first_and_only_when_wished_for(
    plays_model: DenseModel,
) -> None:
    plain = recommended(plays_model, PLAYS, "u2", 4)
    found = recommended(plays_model, PLAYS, "u2", 4, why=True)
    assert [item.why for item in plain.items] == [()] * 4
    own = PLAYS.of_user("u2")
    for item, other in zip(found.items, plain.items, strict=True):
        assert (item.song_id, item.score) == (other.song_id, other.score)
        assert 1 <= len(item.why) <= 3
        assert {reason.song_id for reason in item.why} <= set(own)
        assert item.why[0].title == f"Song {item.why[0].song_id}"
        influences = [reason.influence for reason in item.why]
        assert influences == sorted(influences, reverse=True)
        assert influences[-1] > 0
        # Of people of two kinds, what speaks for a song is of its own kind.
        assert int(item.why[0].song_id[1:]) % 2 == int(item.song_id[1:]) % 2
    plain_values = json.loads(json.dumps(found.to_plain()))
    assert Recommendations.from_plain(plain_values) == found


def test_recommendations_of_an_earlier_version_are_read_without_reasons() -> None:
    item = {"song_id": "s1", "title": None, "artist": None, "score": 1.0}
    old = {"user": "u", "kind": "known", "head": "rating", "items": [item], "notes": []}
    assert Recommendations.from_plain(old).items[0].why == ()


def test_a_stranger_has_no_reasons_and_no_discoveries_and_is_told_so(
    plays_model: DenseModel,
) -> None:
    found = recommended(plays_model, PLAYS, "nobody", 3, why=True, not_popular=0.5)
    assert [item.why for item in found.items] == [()] * 3
    assert any("nothing to compare others with" in note for note in found.notes)
    assert [i.song_id for i in found.items] == [
        i.song_id for i in recommended(plays_model, PLAYS, "nobody", 3).items
    ]


# --- discoveries ----------------------------------------------------------------------------------


def test_a_share_of_the_list_is_for_discoveries_and_all_is_by_score() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    distinctive = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0])
    assert mixed(scores, distinctive, 3, 0.0)[0].tolist() == [0, 1, 2]
    best, found = mixed(scores, distinctive, 3, 0.3)
    assert (best.tolist(), found) == ([0, 1, 5], 1)
    best, found = mixed(scores, distinctive, 3, 0.6)
    assert (best.tolist(), found) == ([0, 4, 5], 2)
    assert mixed(scores, distinctive, 3, 1.0)[0].tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("top", "share", "places"), [(10, 0.2, 2), (5, 0.2, 1), (5, 0.01, 1), (10, 0.3, 3), (3, 1, 3)]
)
def test_places_are_rounded_up_so_that_a_wish_has_always_an_effect(
    top: int, share: float, places: int
) -> None:
    assert mixed(np.arange(20.0), np.arange(20.0), top, share)[1] == places


def test_there_may_be_fewer_songs_than_places() -> None:
    best, found = mixed(np.array([1.0, 2.0]), np.array([1.0, 2.0]), 10, 0.5)
    assert (best.tolist(), found) == ([1, 0], 1)
    empty = np.zeros(0)
    assert mixed(empty, empty, 5, 0.5)[0].tolist() == []


def test_discoveries_are_less_popular_and_the_rest_of_the_list_stays(
    plays_model: DenseModel,
) -> None:
    usual = recommended(plays_model, PLAYS, "u4", 6)
    found = recommended(plays_model, PLAYS, "u4", 6, not_popular=0.5)
    ids = [item.song_id for item in found.items]
    assert set(ids) & {i.song_id for i in usual.items} >= {i.song_id for i in usual.items[:3]}
    scores = [item.score for item in found.items]
    assert scores == sorted(scores, reverse=True)
    assert any("3 of these 6 are songs that suit user u4 more" in note for note in found.notes)


def test_what_suits_a_listener_more_than_others_is_their_preference_over_the_mean(
    plays_model: DenseModel,
) -> None:
    head = head_of(IMPLICIT, plays_model)
    keys = item_keys(PLAYS.songs, 40)
    users = []
    for user in PLAYS.users:
        given = PLAYS.of_user(user)
        values = one_user(np.array(list(given.values())))
        users.append(head.fold_in(values, item_keys(tuple(given), 40)))
    everybody = np.concatenate(users)
    felt = np.sqrt((head.scores(everybody, keys) ** 2).mean(axis=0))
    expected = head.scores(everybody, keys) / felt**0.9
    # The members' matrix is of their last step, and travels as float32.
    assert head.distinctive(everybody, keys) == pytest.approx(expected, rel=0.03, abs=1e-3)


def test_while_no_member_has_told_what_listeners_feel_lengths_do(plays_model: DenseModel) -> None:
    told = {name: t for name, t in plays_model.tables.items() if name != LISTENERS}
    model = DenseModel(IMPLICIT, told)
    assert not model.evidence(LISTENERS, ONLY_ROW)[0]
    head, keys = head_of(IMPLICIT, model), item_keys(PLAYS.songs, 40)
    rows = head.vectors(keys)
    users = np.ones((1, 4))
    expected = (users @ rows.T) / np.linalg.norm(rows, axis=1) ** 0.9
    assert head.distinctive(users, keys) == pytest.approx(expected)


def test_in_a_group_of_ratings_what_is_the_users_own_decides(rating_model: DenseModel) -> None:
    head = head_of(rating_model.charter, rating_model)
    keys = item_keys(RATED.songs, 40)
    given = RATED.of_user("u1")
    users = head.fold_in(one_user(np.array(list(given.values()))), item_keys(tuple(given), 40))
    rows = rating_model.rows(head.items, keys)[:, :-1].astype(float)
    expected = (users[:, :-1] @ rows.T) / np.linalg.norm(rows, axis=1) ** 0.5
    assert head.distinctive(users, keys) == pytest.approx(expected)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="not_popular"):
        Wishes(not_popular=share)


# --- new artists ----------------------------------------------------------------------------------


def test_only_artists_of_whom_nothing_was_met(plays_model: DenseModel) -> None:
    own = {f"Artist {int(song[1:]) % 10}" for song in PLAYS.of_user("u2")}
    every = {f"Artist {n}" for n in range(10)}
    found = recommended(plays_model, PLAYS, "u2", 30, new_artists=True)
    assert {item.artist for item in found.items} <= every - own
    assert found.items or own == every


def test_artists_are_the_same_however_they_are_written(plays_model: DenseModel) -> None:
    met = PLAYS.of_user("u2")
    own, (other, *_, third) = min(met), sorted(set(PLAYS.songs) - set(met))
    bjork = Song(own, "A", "Bj\u00f6rk"), Song(other, "B", " BJORK")
    names = Catalogue({song.song_id: song for song in (*bjork, Song(third, "C"))})
    asked = {"new_artists": True, "catalogue": names}
    found = recommended(plays_model, PLAYS, "u2", 30, **asked)
    assert found.items == ()
    assert any("left out for want of an artist in the catalogue" in note for note in found.notes)
    assert not any("has played all" in note for note in found.notes)


def test_what_was_left_out_as_disliked_counts_as_met(plays_model: DenseModel) -> None:
    every = catalogue(artists=30).songs
    usual = recommended(
        plays_model, PLAYS, "u2", 30, catalogue=Catalogue(every), new_artists=True
    ).items
    # The second is by the artist of the first, which the user dislikes.
    second = replace(every[usual[1].song_id], artist=usual[0].artist)
    names = Catalogue({**every, second.song_id: second})
    disliked = replace(PLAYS, left_out={"u2": (usual[0].song_id,)})
    found = recommended(plays_model, disliked, "u2", 30, catalogue=names, new_artists=True)
    assert [i.song_id for i in found.items] == [i.song_id for i in usual[2:]]


def test_without_an_artist_of_their_own_all_count_as_new(plays_model: DenseModel) -> None:
    new = [s for s in PLAYS.songs if s not in PLAYS.of_user("u2")]
    names = Catalogue({s: Song(s, s, "Somebody") for s in new})
    found = recommended(plays_model, PLAYS, "u2", 30, catalogue=names, new_artists=True)
    assert len(found.items) == len(new)
    assert any("no artist is known of what user u2 has met" in note for note in found.notes)


# --- what is counted ------------------------------------------------------------------------------


def test_popularity_of_plays_says_how_they_are_counted(plays_model: DenseModel) -> None:
    found = recommended(plays_model, PLAYS, "nobody", 3)
    note = "plays counted: of one song at most 4 a listener (task.plays_limit)"
    assert note in found.notes
    assert [item.evidence for item in found.items] == [item.score for item in found.items]
    known = recommended(plays_model, PLAYS, "u2", 3)
    assert note not in known.notes
    # Nobody counts more than the limit: that is what the note is there to say.
    listeners = {s: sum(s in PLAYS.of_user(u) for u in PLAYS.users) for s in PLAYS.songs}
    for item in known.items:
        assert item.evidence <= 4 * listeners[item.song_id]
