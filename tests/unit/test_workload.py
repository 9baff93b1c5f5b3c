"""What a node learns: the owner's ratings, the group it would found, those it could join."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.config import Config, load_config
from openfl.core.contribution import Charter
from openfl.core.errors import DataError, GroupError
from openfl.learning.central import train_alone
from openfl.learning.classification.workload import ClassificationWorkload
from openfl.learning.implicit.workload import ImplicitWorkload
from openfl.learning.kinds import load_workload
from openfl.learning.model_file import load_model
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.workload import RatingWorkload, load_rating_data
from openfl.learning.workload import Remarking
from tests.group_rig import CHARTER

RATINGS = "user_id,song_id,rating\n" + "".join(
    f"u{user},s{song},{1 + (user * song) % 5}\n" for user in range(12) for song in range(20)
)
SONGS = "song_id,title,artist\ns1,One,Anne\ns2,Two,Bert\n"

Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def make(ratings: str | None = RATINGS, songs: str | None = None, **settings: Any) -> Config:
        overrides: dict[str, Any] = {k.replace("__", "."): v for k, v in settings.items()}
        if ratings is not None:
            (tmp_path / "ratings.csv").write_text(ratings)
            overrides["data.ratings_file"] = str(tmp_path / "ratings.csv")
        if songs is not None:
            (tmp_path / "songs.csv").write_text(songs)
        return load_config(None, {}, overrides, cwd=tmp_path)

    return make


def kinds(workload: Remarking) -> dict[str, str]:
    return {remark.kind: remark.text for remark in workload.remarks()}


def test_what_was_read_is_told_with_the_rows_that_were_not(configure: Configure) -> None:
    assert kinds(RatingWorkload.load(configure())) == {
        "data": "240 ratings of 12 users and 20 songs"
    }
    text = RATINGS + "u1,s1,2\nu1,s2,bad\nu2\n"
    workload = RatingWorkload.load(configure(text, data__skip_bad_rows=True))
    (remark,) = workload.remarks()
    assert remark.level == "warning"
    assert "; 1 row of a user and a song that occur again; 2 rows of " in remark.text
    assert remark.data == {"examples": 240, "skipped_rows": 2}
    assert workload.skipped_rows == 2


def test_plays_of_one_song_in_many_rows_are_told_as_what_they_add_up_to(
    configure: Configure,
) -> None:
    text = "user_id,song_id,plays\n" + "u1,s1,1\n" * 3 + "u1,s2,1\nu2,s1,1\n"
    told = kinds(ImplicitWorkload.load(configure(text)))["data"]
    assert told == "3 played songs of 2 users and 2 songs, from 5 rows"


@pytest.mark.parametrize("kind", ["rating", "implicit"])
def test_that_the_group_of_the_home_names_items_otherwise_is_told(
    configure: Configure, kind: str
) -> None:
    """An export goes by names, and the home it is given to may be in a group of ids."""
    load = {"rating": RatingWorkload.load, "implicit": ImplicitWorkload.load}[kind]
    in_ids = load(configure()).found("ids")
    told = kinds(load(configure(task__items="music"), in_ids))["named-otherwise"]
    assert 'names items by "opaque"' in told
    assert 'task.items = "music" has no effect' in told
    assert "--home" in told
    assert "named-otherwise" not in kinds(load(configure(), in_ids))


ONE = "user_id,song_id,rating\n" + "".join(f"ann,s{n},{1 + n % 5}\n" for n in range(20))
TWO = ONE + "bob,s1,3\n"


@pytest.mark.parametrize(("ratings", "who", "least"), [(ONE, "a single", 2), (TWO, "2 users", 3)])
def test_data_of_one_or_two_users_is_warned_of_with_what_can_be_done(
    configure: Configure, ratings: str, who: str, least: int
) -> None:
    for workload in (
        RatingWorkload.load(configure(ratings)),
        ImplicitWorkload.load(configure(ratings)),
    ):
        text = kinds(workload)["few-users"]
        assert who in text
        assert f"training.min_row_evidence = {least}" in text
        assert "training.auto_start = false" in text
        assert ("privacy.enabled = true" in text) == isinstance(workload, RatingWorkload)
    for ways in (
        {"training__auto_start": False},
        {"training__min_row_evidence": least},
        {"privacy__enabled": True, "data__rating_scale": "0.5-5"},
    ):
        assert "few-users" not in kinds(RatingWorkload.load(configure(ratings, SONGS, **ways)))


def test_ratings_or_labels_that_are_all_alike_are_told(configure: Configure) -> None:
    alike = "user_id,song_id,rating\n" + "".join(f"u{n},s{n},5\n" for n in range(5))
    assert "every rating is 5" in kinds(RatingWorkload.load(configure(alike)))["all-alike"]
    assert "all-alike" not in kinds(ImplicitWorkload.load(configure(alike)))
    config = configure("x,label\n1,a\n2,a\n", task__kind="classification")
    assert "every example is of class a" in kinds(ClassificationWorkload.load(config))["all-alike"]


def test_plays_that_do_not_count_are_told(configure: Configure) -> None:
    config = configure(RATINGS, data__min_strength=4)
    weak = sum(map(len, ImplicitWorkload.load(config).data.ratings.left_out.values()))
    assert weak
    assert f"; {weak:,} are below data.min_strength" in kinds(ImplicitWorkload.load(config))["data"]


def test_plays_in_a_group_of_ratings_are_told_which_kind_learns_them(configure: Configure) -> None:
    with pytest.raises(DataError, match=r'task\.kind = "implicit"'):
        RatingWorkload.load(configure("user_id,song_id,plays\n1,a,4\n"))


def test_a_catalogue_of_other_ids_is_told(configure: Configure) -> None:
    songs = SONGS.replace("s1,", "1,").replace("s2,", "2,")
    workload = RatingWorkload.load(configure(songs=songs))
    assert "none of the 20 songs" in kinds(workload)["catalogue-of-others"]
    assert "catalogue-of-others" not in kinds(RatingWorkload.load(configure(songs=SONGS)))


def test_a_home_that_learned_on_a_wide_scale_goes_on_and_says_which_rating_is_far_off(
    configure: Configure,
) -> None:
    config = configure(RATINGS + "u1,s99,50\n")
    with pytest.raises(DataError, match=":242: column rating: 50 is far off"):
        load_workload(config)
    workload = load_workload(config, rating_charter("music", (0.0, 100.0)))
    assert isinstance(workload, RatingWorkload)
    assert ":242: column rating: 50 is far off" in kinds(workload)["data-doubtful"]
    with pytest.raises(DataError):
        load_workload(config, rating_charter("music", (0.5, 5.0)))


# --- the data -------------------------------------------------------------------------------------


def test_without_a_ratings_file_it_is_said_how_to_name_one(configure: Configure) -> None:
    with pytest.raises(DataError, match="--data"):
        RatingWorkload.load(configure(ratings=None))


def test_a_ratings_file_that_does_not_exist_is_named(configure: Configure, tmp_path: Path) -> None:
    config = configure(ratings=None, data__ratings_file=str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        RatingWorkload.load(config)


def test_ratings_are_loaded_on_their_own_scale(configure: Configure) -> None:
    workload = RatingWorkload.load(configure())
    assert len(workload.data.ratings) == 240
    assert workload.data.ratings.scale == (0.5, 5.0)


def test_a_given_scale_wins_over_the_detected_one(configure: Configure) -> None:
    workload = RatingWorkload.load(configure(data__rating_scale="0-10"))
    assert workload.data.ratings.scale == (0.0, 10.0)


def test_a_catalogue_beside_the_ratings_is_used(configure: Configure) -> None:
    catalogue = load_rating_data(configure(songs=SONGS)).catalogue
    assert catalogue.get("s1").title == "One"


def test_without_a_catalogue_songs_have_no_titles(configure: Configure) -> None:
    catalogue = load_rating_data(configure()).catalogue
    assert catalogue.get("s1") is None


def test_a_named_catalogue_wins_over_the_one_beside(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(SONGS.replace("One", "Mine"))
    config = configure(songs=SONGS, data__catalogue_file=str(tmp_path / "mine.csv"))
    catalogue = load_rating_data(config).catalogue
    assert catalogue.get("s1").title == "Mine"


def test_a_named_catalogue_that_does_not_exist_is_an_error(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(songs=SONGS, data__catalogue_file=str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        load_rating_data(config)


# --- groups ---------------------------------------------------------------------------------------


def test_two_owners_of_like_data_found_the_same_group(configure: Configure) -> None:
    one = RatingWorkload.load(configure())
    other = RatingWorkload.load(configure(ratings=RATINGS.replace("u1,", "someone,")))
    assert one.found("music").group_id == other.found("music").group_id


@pytest.mark.parametrize(
    "change",
    [
        {"task__factors": 4},
        {"task__damping": 2.0},
        {"task__prior": 9.0},
        {"task__prior_per_evidence": 0.1},
        {"task__bias_prior": 3.0},
        {"task__user_prior": 0.0},
        {"task__relevance": 0.0},
        {"task__seed": 1},
        {"data__rating_scale": "0-10"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_of_the_task_makes_another_group(
    configure: Configure, change: dict[str, Any]
) -> None:
    usual = RatingWorkload.load(configure()).found("music")
    assert RatingWorkload.load(configure(**change)).found("music").group_id != usual.group_id


def test_another_name_is_another_group(configure: Configure) -> None:
    workload = RatingWorkload.load(configure())
    assert workload.found("music").group_id != workload.found("films").group_id


def test_the_group_it_founds_fits_it(configure: Configure) -> None:
    workload = RatingWorkload.load(configure())
    assert workload.problem(workload.found("music")) is None


def test_a_group_of_other_hyperparameters_fits_it_as_well(configure: Configure) -> None:
    workload = RatingWorkload.load(configure())
    theirs = rating_charter("music", scale=(1.0, 5.0), factors=3, seed=9)
    assert workload.problem(theirs) is None
    assert workload.task(theirs).charter == theirs


@pytest.mark.parametrize(
    ("charter", "word"),
    [
        (rating_charter("music", scale=(1.0, 4.0)), "scale 1-4"),
        (rating_charter("music", scale=(0.0, 100.0)), "far wider. Nothing is wrong with these"),
        (CHARTER, "learns"),
    ],
    ids=["too-narrow", "too-wide", "other-task"],
)
def test_a_group_that_does_not_fit_is_refused_with_the_reason(
    configure: Configure, charter: Charter, word: str
) -> None:
    workload = RatingWorkload.load(configure())
    problem = workload.problem(charter)
    assert problem is not None
    assert word in problem
    with pytest.raises((DataError, GroupError), match=word):
        workload.task(charter)


# --- plays instead of ratings ---------------------------------------------------------------------

PLAYS = "user_id,song_id,plays\n" + "".join(
    f"u{user},s{song},{(user * song) % 4}\n"
    for user in range(12)
    for song in range(20)
    if (user + song) % 3
)


def test_the_kind_of_task_chooses_the_workload(configure: Configure) -> None:
    assert isinstance(load_workload(configure()), RatingWorkload)
    assert isinstance(load_workload(configure(PLAYS, task__kind="implicit")), ImplicitWorkload)


def test_an_implicit_node_founds_joins_and_refuses_by_kind(configure: Configure) -> None:
    implicit = ImplicitWorkload.load(configure(PLAYS))
    rating = RatingWorkload.load(configure())
    own, theirs = implicit.found("music"), rating.found("music")
    assert (own.task, own.hyperparameters["factors"]) == ("implicit", 16)
    assert (theirs.task, theirs.hyperparameters["factors"]) == ("rating", 8)
    assert implicit.problem(own) is rating.problem(theirs) is None
    assert implicit.task(own).charter == own
    for workload, charter in ((implicit, theirs), (rating, own)):
        problem = workload.problem(charter)
        assert problem is not None
        assert "task.kind" in problem
        with pytest.raises(GroupError, match="this node learns"):
            workload.task(charter)


@pytest.mark.parametrize(
    "change",
    [
        {"task__factors": 4},
        {"task__alpha": 2.0},
        {"task__plays_limit": 3.0},
        {"task__damping": 2.0},
        {"task__prior": 9.0},
        {"task__prior_per_evidence": 0.1},
        {"task__seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_of_the_implicit_task_makes_another_group(
    configure: Configure, change: dict[str, Any]
) -> None:
    usual = ImplicitWorkload.load(configure(PLAYS)).found("music")
    assert (
        ImplicitWorkload.load(configure(PLAYS, **change)).found("music").group_id != usual.group_id
    )


def test_the_least_strength_says_what_a_play_is(configure: Configure) -> None:
    every, strong = (
        ImplicitWorkload.load(configure(PLAYS, data__min_strength=least)) for least in (1.0, 2.0)
    )
    assert len(strong.data.ratings) < len(every.data.ratings)
    assert strong.data.ratings.values.min() == 2


def test_an_implicit_workload_recommends_by_its_head(configure: Configure) -> None:
    workload = ImplicitWorkload.load(configure(PLAYS, songs=SONGS))
    charter = workload.found("music")
    model = train_alone(workload.task(charter), np.random.default_rng(0), max_rounds=3).model
    found = workload.recommend(model, charter, "u1", 3)
    assert (found.head, found.kind, len(found.items)) == ("implicit", "known", 3)
    assert any("not ratings" in note for note in found.notes)


# --- learning and answering -----------------------------------------------------------------------


def test_a_task_holds_back_what_it_is_judged_by(configure: Configure) -> None:
    workload = RatingWorkload.load(configure())
    task = workload.task(workload.found("music"))
    held_out = 240 - task.train_examples
    assert 24 <= held_out <= 72


def test_the_saved_model_answers_as_the_one_in_memory(configure: Configure, tmp_path: Path) -> None:
    workload = RatingWorkload.load(configure(songs=SONGS))
    charter = workload.found("music")
    model = train_alone(workload.task(charter), np.random.default_rng(0), max_rounds=3).model
    path = tmp_path / "model.safetensors"
    workload.save_model(path, model, charter)
    saved = load_model(path)
    assert saved.charter == charter
    assert workload.recommend(saved, charter, "newcomer", 5) == workload.recommend(
        model, charter, "newcomer", 5
    )


def test_recommendations_carry_titles_when_there_is_a_catalogue(configure: Configure) -> None:
    workload = RatingWorkload.load(configure(songs=SONGS))
    charter = workload.found("music")
    model = train_alone(workload.task(charter), np.random.default_rng(0), max_rounds=3).model
    items = workload.recommend(model, charter, "newcomer", 20).items
    titles = {item.song_id: item.title for item in items}
    assert titles["s1"] == "One"
    assert titles["s3"] is None
