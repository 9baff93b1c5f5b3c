"""How groups name their songs: charters, and data whose ids become names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.config import Config, load_config
from openfl.core.contribution import Charter
from openfl.core.errors import ConfigError, DataError, GroupError
from openfl.items import music_key
from openfl.learning.central import SoloModel
from openfl.learning.evaluation import evaluate_model
from openfl.learning.factorization.item_names import items_of
from openfl.learning.implicit.charter import implicit_charter, implicit_parameters
from openfl.learning.implicit.workload import ImplicitWorkload
from openfl.learning.kinds import recommending
from openfl.learning.rating.charter import rating_charter, rating_parameters
from openfl.learning.rating.workload import RatingWorkload

Make = Callable[..., Config]

SPOTIFY = [
    ("a", "Bohemian Rhapsody - Remastered 2011", "Queen"),
    ("b", "One Dance (feat. Wizkid & Kyla)", "Drake"),
    ("c", "Hoppípolla", "Sigur Rós"),
    ("d", "Help! - Remastered 2009", "The Beatles"),
]
OWN_FILES = [
    ("17", "Bohemian Rhapsody", "Queen"),
    ("18", "One Dance", "Drake ft. Wizkid"),
    ("19", "Hoppipolla", "Sigur Ros"),
    ("20", "Help!", "Beatles, The"),
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def config(
        rows: list[tuple[str, str, float]],
        songs: list[tuple[str, str, str]] | None,
        kind: str = "implicit",
        **settings: Any,
    ) -> Config:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        value = "plays" if kind == "implicit" else "rating"
        lines = [f"user_id,song_id,{value}", *(f"{u},{s},{v:g}" for u, s, v in rows)]
        (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if songs is not None:
            text = "".join(f'{i},"{title}","{artist}"\n' for i, title, artist in songs)
            (folder / "songs.csv").write_text(f"song_id,title,artist\n{text}", encoding="utf-8")
        overrides: dict[str, Any] = {
            "task.kind": kind,
            "task.items": "music",
            "data.ratings_file": str(folder / "data.csv"),
        }
        overrides.update({key.replace("__", "."): value for key, value in settings.items()})
        return load_config(None, {}, overrides, cwd=folder)

    return config


def plays_of(songs: list[tuple[str, str, str]]) -> list[tuple[str, str, float]]:
    return [(f"u{u}", song[0], 1 + (u + n) % 3) for u in range(8) for n, song in enumerate(songs)]


# --- charters --------------------------------------------------------------------------------


def test_groups_of_ids_are_to_the_bit_what_they_were() -> None:
    """The ids of groups as they were made before charters had `items`."""
    before = rating_charter("music", relevance=0)
    assert before.group_id == "82d6987ae7e5f7ea77bc5c88cda2d7e7"
    older = rating_charter("music", relevance=0, user_prior=0)
    assert older.group_id == "7e34a5ace2925cdd261dd509bfa15c34"
    assert implicit_charter("music").group_id == "8a83a939b6379a980024f55d0afc8030"


@pytest.mark.parametrize("items", ["music", "film", "book"])
def test_a_charter_says_how_items_are_named_and_that_keys_are_long(items: str) -> None:
    rating, implicit = rating_charter("m", items=items), implicit_charter("m", items=items)
    assert rating_parameters(rating).items == implicit_parameters(implicit).items == items
    for charter in (rating, implicit):
        assert charter.hyperparameters["items"] == items
        assert charter.hyperparameters["items_version"] == 1
        assert charter.table("items").key_bits == 64
        assert items_of(charter, charter.task, "opaque") == items
        assert items_of(charter, "another", "opaque") == "opaque"
    assert items_of(None, "rating", "film") == "film"


def test_nobody_founds_a_group_of_unknown_items() -> None:
    with pytest.raises(ConfigError, match="items are opaque or music"):
        rating_charter("m", items="games")


def with_values(charter: Charter, **values: Any) -> Charter:
    kept = {**charter.hyperparameters, **values}
    return dataclasses.replace(
        charter, hyperparameters={k: v for k, v in kept.items() if v is not None}
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"items": "games"}, "not known here"),
        ({"items": "opaque", "items_version": None}, "its tables are not"),
        ({"items": "opaque"}, "not known here"),
        ({"items": 7}, "not known here"),
        ({"items": None}, "not known here"),
        ({"items_version": 2}, "version 2 of the rules"),
        ({"items_version": None}, "version None"),
        ({"items_version": True}, "version True"),
        ({"items": None, "items_version": None}, "its tables are not"),
    ],
)
@pytest.mark.parametrize("make_charter", [rating_charter, implicit_charter])
def test_strange_charters_are_refused(
    make_charter: Callable[..., Charter], values: dict[str, Any], why: str
) -> None:
    charter = with_values(make_charter("m", items="music"), **values)
    with pytest.raises(GroupError, match=why):
        (rating_parameters if charter.task == "rating" else implicit_parameters)(charter)


# --- data ------------------------------------------------------------------------------------


def test_files_of_two_services_have_the_same_rows(make: Make) -> None:
    tasks = []
    for songs in (SPOTIFY, OWN_FILES):
        workload = ImplicitWorkload.load(make(plays_of(songs), songs))
        charter = workload.found("music")
        assert workload.problem(charter) is None
        tasks.append(workload.task(charter))
    assert np.array_equal(tasks[0].own_items.keys, tasks[1].own_items.keys)
    assert music_key("Queen", "Bohemian Rhapsody") in tasks[0].own_items.keys
    assert "queen - bohemianrhapsody" in tasks[0].own_items.ids

    opaque = [
        ImplicitWorkload.load(make(plays_of(songs), songs, task__items="opaque"))
        for songs in (SPOTIFY, OWN_FILES)
    ]
    keys = [w.task(w.found("music")).own_items.keys for w in opaque]
    assert not np.isin(*keys).any()


def test_songs_that_are_one_are_joined(make: Make) -> None:
    songs = [("a", "Help!", "The Beatles"), ("b", "Help! - Remastered 2009", "The Beatles")]
    rows = [("u", "a", 3.0), ("u", "b", 4.0), ("v", "b", 1.0)]
    plays = ImplicitWorkload.load(make(rows, songs)).data.ratings
    assert plays.of_user("u") == {"beatles - help": 7.0}
    assert plays.of_user("v") == {"beatles - help": 1.0}
    assert plays.duplicates == 1
    assert plays.scale == (0.0, 7.0)
    liked = ImplicitWorkload.load(make(rows, songs, "implicit", data__min_strength=2)).data.ratings
    assert liked.left_out == {"v": ("beatles - help",)}
    rated = RatingWorkload.load(make([*rows, ("v", "a", 5.0)], songs, "rating")).data.ratings
    assert rated.of_user("u") == {"beatles - help": 4.0}  # the last counts
    assert rated.of_user("v") == {"beatles - help": 5.0}


def test_songs_without_a_name_are_refused_or_left_out(make: Make) -> None:
    songs = [*SPOTIFY[:2], ("c", "Nobody's", "")]
    rows = [*plays_of(SPOTIFY[:3]), ("w", "c", 1.0)]
    with pytest.raises(DataError, match=r"1 of the 3 songs have no name .the first is 'c'"):
        ImplicitWorkload.load(make(rows, songs))
    with pytest.raises(DataError, match="3 of the 3 songs"):
        ImplicitWorkload.load(make(rows, None, data__skip_bad_rows=True))
    data = ImplicitWorkload.load(make(rows, songs, data__skip_bad_rows=True)).data
    assert set(data.ratings.songs) == {"queen - bohemianrhapsody", "drake - onedance"}
    assert not data.ratings.has_user("w")
    assert data.ratings.skipped == 9


def test_films_and_books_are_named_by_what_their_files_have(make: Make) -> None:
    films = [("tt1", "Matrix, The (1999)", ""), ("tt2", "Heat (1995)", "")]
    rows = [(f"u{n}", film, 1 + n % 5) for n in range(9) for film in ("tt1", "tt2")]
    film = RatingWorkload.load(make(rows, films, "rating", task__items="film")).data
    assert film.ratings.songs == ("matrix (1999)", "heat (1995)")
    assert film.catalogue.songs["heat (1995)"].artist == "1995"
    books = [("0141439513", "Emma", "Jane Austen"), ("x", "Dune (Dune, #1)", "Herbert, Frank")]
    rows = [(f"u{n}", book, 1 + n % 5) for n in range(9) for book in ("0141439513", "x")]
    book = RatingWorkload.load(make(rows, books, "rating", task__items="book")).data
    assert book.ratings.songs == ("9780141439518", "frankherbert - dune")
    alone = RatingWorkload.load(make(rows[::2], None, "rating", task__items="book")).data
    assert alone.ratings.songs == ("9780141439518",)


def test_a_node_joins_groups_that_name_items_as_it_does(make: Make) -> None:
    for kind, workload in (("implicit", ImplicitWorkload), ("rating", RatingWorkload)):
        named = workload.load(make(plays_of(SPOTIFY), SPOTIFY, kind))
        opaque = workload.load(make(plays_of(SPOTIFY), SPOTIFY, kind, task__items="opaque"))
        assert named.problem(named.found("m")) is None
        problem = named.problem(opaque.found("m"))
        assert problem is not None
        assert 'by "opaque"; this node does by "music" (task.items)' in problem
        assert opaque.problem(named.found("m")) is not None
        # What is on disk of a group goes on as the group does, whatever the settings say now.
        resumed = workload.load(make(plays_of(SPOTIFY), SPOTIFY, kind), opaque.found("m"))
        assert resumed.problem(opaque.found("m")) is None
        assert set(resumed.data.ratings.songs) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("kind", ["implicit", "rating"])
def test_recommendations_and_measures_are_by_name(make: Make, kind: str) -> None:
    workload_of = ImplicitWorkload if kind == "implicit" else RatingWorkload
    songs = [(f"i{n}", f"Song {n} (Live)", "Anne") for n in range(30)]
    rows = [
        (f"u{u}", f"i{n}", 1 + (u * n) % 5) for u in range(20) for n in range(30) if (u + n) % 3
    ]
    workload = workload_of.load(make(rows, songs, kind))
    charter = workload.found("m")
    task = workload.task(charter)
    solo = SoloModel(task, np.random.default_rng(0))
    for _ in range(3):
        solo.step()
    found = workload.recommend(solo.model, charter, "u1", 5)
    assert found.kind == "known"
    assert [item.artist for item in found.items] == ["Anne"] * 5
    assert all(item.title and item.title.startswith("Song ") for item in found.items)
    assert not {item.song_id for item in found.items} & set(workload.data.ratings.of_user("u1"))
    report = evaluate_model(
        recommending(charter), solo.model, workload.data.ratings, workload._split
    )
    assert report is not None
