"""Recommendations for listeners known, given and unknown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from openfl.core.contribution import Charter
from openfl.core.errors import GroupError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import EMPTY_CATALOGUE, Catalogue, Ratings, Song
from openfl.learning.factorization.recommend import Recommendations, recommend
from openfl.learning.factorization.users import one_user
from openfl.learning.kinds import head_of
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS, rating_charter

GROUP = rating_charter(
    "music", (0.5, 5.0), factors=1, prior=0.1, prior_per_evidence=0.0, relevance=0.0
)
"""Unit 1, centre 2.75, so that the numbers below are easy to follow."""

# song: (factor, bias, evidence). Factor: how heavy the music is.
SONGS = {
    "heavy1": (1.0, 0.1, 50),
    "heavy2": (1.2, 0.0, 50),
    "heavy3": (0.9, 0.0, 50),
    "soft1": (-1.0, 0.1, 50),
    "soft2": (-1.2, 0.0, 50),
    "hit": (0.0, 0.8, 400),
    "gem": (0.0, 0.9, 1),
}


def model(songs: dict[str, tuple[float, float, float]] = SONGS) -> DenseModel:
    keys = item_keys(tuple(songs), 40)
    order = np.argsort(keys)
    rows = np.array([song[:2] for song in songs.values()], np.float32)[order]
    evidence = np.array([song[2] for song in songs.values()], float)[order]
    mean = DenseTable(MEAN_KEYS.copy(), np.full((1, 1), 0.5, np.float32), np.ones(1))
    return DenseModel(GROUP, {ITEMS: DenseTable(keys[order], rows, evidence), MEAN: mean})


def ratings(of: dict[str, dict[str, float]]) -> Ratings:
    rows = [(u, s, v) for u, given in of.items() for s, v in given.items()]
    users, songs = tuple(of), tuple(dict.fromkeys(s for _, s, _ in rows))
    return Ratings(
        users,
        songs,
        np.array([users.index(u) for u, _, _ in rows], np.int32),
        np.array([songs.index(s) for _, s, _ in rows], np.int32),
        np.array([v for _, _, v in rows], np.float32),
        (0.5, 5.0),
    )


CATALOGUE = Catalogue({s: Song(s, s.title(), "The Artist") for s in (*SONGS, "unheard")})
METALHEAD = {"heavy1": 5.0, "soft1": 1.0}
DATA = ratings({"1": METALHEAD, "2": {"soft1": 5.0}})


def recommended(charter: Charter, model: DenseModel, *rest: Any, **more: Any) -> Recommendations:
    return recommend(head_of(charter, model), model, *rest, **more)


def ids(found: Recommendations) -> list[str]:
    return [item.song_id for item in found.items]


def test_a_known_listener_gets_what_suits_them_best_first() -> None:
    found = recommended(GROUP, model(), DATA, CATALOGUE, "1", 3)
    assert (found.user, found.kind, found.head) == ("1", "known", "rating")
    assert ids(found) == ["heavy2", "heavy3", "gem"]
    assert found.items[0].title == "Heavy2"
    assert found.items[0].artist == "The Artist"
    scores = [item.score for item in found.items]
    assert scores == sorted(scores, reverse=True)


def test_what_the_listener_rated_and_what_nobody_rated_is_never_recommended() -> None:
    found = recommended(GROUP, model(), DATA, CATALOGUE, "1", 100)
    assert set(ids(found)) == set(SONGS) - set(METALHEAD)
    assert "unheard" not in ids(found)
    assert "only 5 songs are left that user 1 has not rated" in found.notes


def test_only_songs_known_here_are_named() -> None:
    found = recommended(GROUP, model(), DATA, EMPTY_CATALOGUE, "2", 100)
    assert ids(found) == ["heavy1"]
    assert found.items[0].title is None
    assert found.items[0].artist is None


def test_scores_are_ratings_and_stay_within_the_scale() -> None:
    extreme = model({**SONGS, "heavy2": (9.0, 0, 50), "soft2": (-9.0, 0, 50)})
    found = recommended(GROUP, extreme, DATA, CATALOGUE, "1", 100)
    assert found.items[0].score == 5.0
    assert found.items[-1].score == 0.5


def test_a_listener_given_with_the_question_is_folded_in_like_a_known_one() -> None:
    known = recommended(GROUP, model(), DATA, CATALOGUE, "1", 5)
    given = recommended(GROUP, model(), None, CATALOGUE, "new", 5, own=METALHEAD)
    assert given.kind == "folded-in"
    assert given.items == known.items


def test_a_listener_with_few_ratings_is_told_so() -> None:
    assert "user 2 has only 1 rating: expect rough guesses" in (
        recommended(GROUP, model(), DATA, CATALOGUE, "2", 2).notes
    )
    many = {**METALHEAD, "heavy3": 4.0, "soft2": 2.0, "hit": 3.0}
    assert recommended(GROUP, model(), None, CATALOGUE, "x", 1, own=many).notes == ()


@pytest.mark.parametrize("data", [DATA, None])
def test_an_unknown_listener_gets_what_the_group_likes_and_is_told_so(data: Ratings | None) -> None:
    found = recommended(GROUP, model(), data, CATALOGUE, "9999", 3)
    assert found.kind == "popular"
    assert found.notes == (
        "user 9999 has no ratings here: these are the songs the group likes best",
    )
    # "gem" has the highest bias, but one rating is no popularity.
    assert ids(found) == ["hit", "heavy1", "soft1"]
    assert found.items[0].score == pytest.approx(2.75 + 0.5 + 0.8 * 400 / 410)


def test_equal_scores_come_in_the_order_of_their_ids() -> None:
    names = [f"song{n:03}" for n in range(200)]
    liking = {name: (0.0, 0.3 if n % 3 else 0.2, 10.0) for n, name in enumerate(names)}
    catalogue = Catalogue({name: Song(name, name) for name in reversed(names)})
    found = ids(recommended(GROUP, model(liking), None, catalogue, "x", 200))
    assert found == sorted(names, key=lambda name: (-liking[name][1], name))


def test_a_model_that_has_learned_nothing_recommends_nothing_and_says_so() -> None:
    found = recommended(GROUP, DenseModel.empty(GROUP), DATA, CATALOGUE, "1", 5)
    assert found.items == ()
    assert "nothing is learned yet: the model knows no song" in found.notes


def test_songs_whose_names_are_missing_are_told_apart_from_songs_that_are_none() -> None:
    """What a node finds that has never seen songs.csv: the group knows more, but only as keys."""
    everything = ratings({"1": METALHEAD})
    found = recommended(GROUP, model(), everything, EMPTY_CATALOGUE, "1", 5)
    assert found.items == ()
    assert any(
        note.startswith("5 of the 7 songs that the model knows have no name here")
        and "data.catalogue_file" in note
        for note in found.notes
    )


def test_a_catalogue_of_other_ids_is_told_to_name_nothing() -> None:
    catalogue = Catalogue({f"{s}.0": Song(f"{s}.0", s) for s in SONGS})
    found = recommended(GROUP, model(), ratings({"1": METALHEAD}), catalogue, "1", 5)
    assert found.items == ()
    assert any("not in the catalogue of 7 (data.catalogue_file)" in note for note in found.notes)


def test_a_listener_who_has_rated_all_that_the_model_knows_is_told_so() -> None:
    everything = dict.fromkeys(SONGS, 4.0)
    found = recommended(GROUP, model(), ratings({"1": everything}), CATALOGUE, "1", 5)
    assert found.items == ()
    assert "user 1 has rated all 7 songs that the model knows" in found.notes
    assert not any("catalogue" in note for note in found.notes)


def test_names_that_are_missing_are_told_to_strangers_too() -> None:
    found = recommended(GROUP, model(), None, EMPTY_CATALOGUE, "x", 5)
    assert any("data.catalogue_file" in note for note in found.notes)


def test_a_listener_and_songs_are_found_however_their_accents_are_encoded() -> None:
    songs = {"caf\u00e9": (0.5, 0.0, 50), "hit": (0.0, 0.8, 400)}
    of = ratings({"Zo\u00eb": {"hit": 4.0}})
    found = recommended(GROUP, model(songs), of, CATALOGUE, "Zoe\u0308", 5)
    assert found.kind == "known"
    named = Catalogue({"cafe\u0301": Song("cafe\u0301", "Caf\u00e9")})
    assert ids(recommended(GROUP, model(songs), of, named, "Zo\u00eb", 5)) == ["cafe\u0301"]


def test_recommendations_survive_json() -> None:
    found = recommended(GROUP, model(), DATA, CATALOGUE, "1", 3)
    plain = json.loads(json.dumps(found.to_plain()))
    assert Recommendations.from_plain(plain) == found
    assert plain["items"][0].keys() == {*("song_id", "title", "artist", "score", "evidence", "why")}


def test_asking_for_no_songs_is_refused() -> None:
    with pytest.raises(ValueError, match="top"):
        recommended(GROUP, model(), DATA, CATALOGUE, "1", 0)


def test_a_group_of_another_task_cannot_recommend() -> None:
    other = Charter("m", "linear", ())
    with pytest.raises(GroupError, match="linear"):
        recommended(other, DenseModel.empty(other), DATA, CATALOGUE, "1", 1)


def test_folding_in_is_the_ridge_solution() -> None:
    keys = item_keys(("heavy1", "soft1", "hit"), 40)
    given = np.array([4.5, 1.0, 3.5])
    head = head_of(GROUP, model())
    user = head.fold_in(one_user(given), keys)
    features = np.array([[1.0, 1], [-1.0, 1], [0.0, 1]])
    left = given - 2.75 - 0.5 - np.array([0.1, 0.1, 0.8])
    expected = np.linalg.solve(
        features.T @ features + np.diag([0.1, GROUP.table(ITEMS).prior[-1]]), features.T @ left
    )
    assert list(user[0]) == pytest.approx(list(expected), abs=1e-6)
    assert head.scores(user, keys)[0, 0] == pytest.approx(
        2.75 + 0.5 + 0.1 + expected[1] + expected[0], abs=1e-6
    )
