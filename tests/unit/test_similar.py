"""Songs like a song: which one is meant, and what is like it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from openfl.core.errors import GroupError, UsageError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.factorization.artists import like_artist, top_songs
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import EMPTY_CATALOGUE, Catalogue, Song
from openfl.learning.factorization.similar import SimilarSongs, similar
from openfl.learning.factorization.song_names import find_song, folded
from openfl.learning.factorization.wishes import Wishes
from openfl.learning.implicit.charter import ITEMS, implicit_charter
from openfl.learning.kinds import head_of
from openfl.learning.rating.charter import rating_charter
from openfl.learning.workload import TaskWorkload
from openfl.node.learning_views import SongsNow
from tests.group_rig import CHARTER

GROUP = implicit_charter("plays", factors=2)
# song: (vector, evidence)
SONGS = {
    "doom1": ((1.0, 0.0), 90),
    "doom2": ((2.0, 0.2), 90),
    "doom3": ((0.1, 0.0), 1),
    "both": ((1.0, 1.0), 90),
    "folk1": ((0.0, 1.0), 90),
    "anti": ((-1.0, 0.0), 90),
    "flat": ((0.0, 0.0), 90),
}
NAMES = Catalogue(
    {
        "doom1": Song("doom1", "Iron Man", "Black Sabbath"),
        "doom2": Song("doom2", "Paranoid", "Black Sabbath"),
        "doom3": Song("doom3", "Intro", "Sunn O)))"),
        "both": Song("both", 'Hey, "you"', "Ænima"),
        "folk1": Song("folk1", "Intro", "Dvo\u0159\u00e1k"),
        "anti": Song("anti", "doom1"),
        "unheard": Song("unheard", "Unheard", "Nobody"),
    }
)


def model(songs: dict[str, tuple[tuple[float, float], int]] = SONGS) -> DenseModel:
    keys = item_keys(tuple(songs), 40)
    order = np.argsort(keys)
    rows = np.array([song[0] for song in songs.values()], np.float32)[order]
    evidence = np.array([song[1] for song in songs.values()], float)[order]
    return DenseModel(GROUP, {ITEMS: DenseTable(keys[order], rows, evidence)})


def like(song: str, top: int = 5, names: Catalogue = NAMES) -> SimilarSongs:
    return similar(head_of(GROUP, model()), model(), None, names, song, top)


def ids(found: SimilarSongs) -> list[str]:
    return [item.song_id for item in found.items]


# --- what is like it ------------------------------------------------------------------------------


def test_the_most_alike_come_first_and_the_song_itself_does_not_come() -> None:
    found = like("doom1")
    # doom3 points the same way, but one listener says little; "flat" has no name here.
    assert ids(found) == ["doom2", "both", "doom3", "folk1", "anti"]
    assert found.items[0].title == "Paranoid"
    assert found.title == "Iron Man"


def test_likeness_is_the_cosine_lowered_for_what_is_little_known() -> None:
    likeness = {item.song_id: item.likeness for item in like("doom1").items}
    assert likeness["doom2"] == pytest.approx(2 / np.hypot(2, 0.2) * 90 / 100, abs=1e-6)
    assert likeness["doom3"] == pytest.approx(1 / 11, abs=1e-6)
    assert likeness["anti"] == pytest.approx(-0.9, abs=1e-6)


def test_a_vector_of_no_length_is_like_nothing() -> None:
    named = Catalogue({**NAMES.songs, "flat": Song("flat", "Flat")})
    likeness = {item.song_id: item.likeness for item in like("doom1", 9, named).items}
    assert likeness["flat"] == 0
    with pytest.raises(GroupError, match=r"Flat \(id flat\): the group has learned nothing"):
        like("flat", names=named)


def test_a_song_that_nobody_taught_is_told_from_one_that_does_not_exist() -> None:
    with pytest.raises(GroupError, match=r"Nobody - Unheard \(id unheard\): the group has learned"):
        like("unheard")


def test_alone_among_names_it_has_no_neighbours() -> None:
    found = like("doom1", names=Catalogue({"doom1": NAMES.songs["doom1"]}))
    assert found.items == ()
    assert found.notes == ("no other song that the group knows has a name here",)


def test_what_a_group_of_ratings_thinks_of_a_song_makes_it_no_more_alike() -> None:
    charter = rating_charter("stars", factors=2)
    keys = item_keys(("a", "b", "c"), 40)
    order = np.argsort(keys)
    rows = np.array([(1, 0, -9), (1, 0, 9), (0, 1, -9)], np.float32)[order]
    items = DenseTable(keys[order], rows, np.full(3, 90.0))
    stars = DenseModel(charter, {ITEMS: items})
    names = Catalogue({i: Song(i, i) for i in "abc"})
    found = similar(head_of(charter, stars), stars, None, names, "a", 2)
    assert [(i.song_id, round(i.likeness, 6)) for i in found.items] == [("b", 0.9), ("c", 0.0)]


def test_similar_songs_are_plain_values() -> None:
    plain = json.loads(json.dumps(like("doom1", 1).to_plain()))
    assert plain["items"][0].keys() == {"song_id", "title", "artist", "likeness", "evidence"}
    assert (plain["song_id"], plain["head"]) == ("doom1", "implicit")


def test_asking_for_no_songs_is_refused() -> None:
    with pytest.raises(ValueError, match="top"):
        like("doom1", 0)


# --- which song is meant --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("doom2", " doom2 ", "paranoid", "PARANO\u00cfD", "Black Sabbath - Paranoid"),
        *("paranoid - black  sabbath", "\uff30aranoid"),
    ],
)
def test_a_song_is_found_by_id_title_or_both_however_written(name: str) -> None:
    assert find_song(name, NAMES, ()) == "doom2"


def test_an_id_that_only_the_ratings_know_is_a_song_too() -> None:
    assert find_song("42", EMPTY_CATALOGUE, ["41", "42"]) == "42"


def test_several_songs_of_a_name_are_listed_and_the_artist_decides() -> None:
    with pytest.raises(UsageError) as caught:
        find_song("intro", NAMES, ())
    assert str(caught.value) == (
        "2 songs are called 'intro': Sunn O))) - Intro (id doom3),"
        " Dvo\u0159\u00e1k - Intro (id folk1); give the id"
    )
    assert find_song("dvorak - intro", NAMES, ()) == "folk1"


def test_long_lists_of_a_name_are_cut() -> None:
    many = Catalogue({f"s{n}": Song(f"s{n}", "Intro") for n in range(40)})
    with pytest.raises(UsageError, match=r"40 songs are called .* and 35 more; give the id"):
        find_song("Intro", many, ())


@pytest.mark.parametrize("name", ["Parnoid", "Black Sabbath Paranoid", "paranoid!"])
def test_a_near_miss_is_suggested(name: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean Black Sabbath - Paranoid \(id doom2\)"):
        find_song(name, NAMES, ())


def test_a_name_like_none_is_refused_without_a_guess() -> None:
    with pytest.raises(UsageError) as caught:
        find_song("zzzz", NAMES, ())
    assert str(caught.value) == "no song is called 'zzzz' here"
    with pytest.raises(UsageError, match="without a catalogue"):
        find_song("zzzz", EMPTY_CATALOGUE, ("1",))


@pytest.mark.parametrize("name", ["", "  ", "\u0301"])
def test_no_name_at_all_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="which song"):
        find_song(name, NAMES, ())


def test_an_id_wins_over_a_title_and_that_is_said() -> None:
    found = like("doom1")
    assert found.song_id == "doom1"
    assert found.notes == ("doom1 is taken as the id of a song; called so: doom1 (id anti)",)


def test_folding_leaves_letters_that_are_others_alone() -> None:
    assert folded("  Bj\u00d6rk\t Gudmunds ") == "bjork gudmunds"
    assert folded("\u65e5\u672c") == "\u65e5\u672c"
    assert folded("STRASSE") == folded("Stra\u00dfe")


# --- artists --------------------------------------------------------------------------------------


def test_what_the_group_likes_best_of_an_artist_however_the_name_is_written() -> None:
    weighed = {**SONGS, "doom1": ((1.0, 0.0), 70), "doom2": ((2.0, 0.2), 80)}
    found = top_songs(head_of(GROUP, model(weighed)), model(weighed), NAMES, "BLACK  sabbath", 9)
    assert [(item.song_id, item.score) for item in found.items] == [("doom2", 80), ("doom1", 70)]
    assert found.items[0].title == "Paranoid"
    assert "plays counted" in found.notes[0]
    assert len(top_songs(head_of(GROUP, model()), model(), NAMES, "Black Sabbath", 1).items) == 1


@pytest.mark.parametrize("artist", ["Nobody", "No such artist", ""])
def test_of_an_artist_whom_nobody_taught_there_is_nothing(artist: str) -> None:
    head = head_of(GROUP, model())
    assert top_songs(head, model(), NAMES, artist, 5).items == ()
    assert like_artist(head, model(), None, NAMES, artist, 5).items == ()


def test_songs_like_an_artists_are_like_all_of_them_together() -> None:
    found = like_artist(head_of(GROUP, model()), model(), None, NAMES, "black sabbath", 4)
    # The sum of (1, 0) and (2, 0.2) / |(2, 0.2)| is nearly (1, 0.05).
    assert {item.song_id for item in found.items[:2]} == {"doom1", "doom2"}
    assert [item.song_id for item in found.items[2:]] == ["both", "doom3"]
    direction = np.array([1.0, 0.0]) + np.array([2.0, 0.2]) / np.hypot(2.0, 0.2)
    direction /= np.linalg.norm(direction)
    assert found.items[0].likeness == pytest.approx(
        max(direction[0], float(direction @ [2.0, 0.2]) / np.hypot(2.0, 0.2)) * 0.9, abs=1e-6
    )


@pytest.mark.parametrize("asked", [top_songs, like_artist])
def test_asking_for_no_songs_of_an_artist_is_refused(asked: Any) -> None:
    head = head_of(GROUP, model())
    more = (None,) if asked is like_artist else ()
    with pytest.raises(ValueError, match="top"):
        asked(head, model(), *more, NAMES, "Black Sabbath", 0)


def test_a_workload_without_songs_says_so() -> None:
    """A task of one's own, such as PyTorch's, and whatever is asked about songs."""
    own = TaskWorkload(CHARTER, lambda theirs: theirs)  # type: ignore[arg-type, return-value]
    songs = SongsNow(own, DenseModel.empty(CHARTER), CHARTER)
    for ask in (
        lambda: songs.similar("x", 1),
        lambda: songs.like_artist("x", 1),
        lambda: songs.top_songs("x", 1),
        lambda: songs.recommend("x", 1, Wishes(why=True)),
    ):
        with pytest.raises(GroupError, match=rf'learns "{CHARTER.task}": it has no songs'):
            ask()
    with pytest.raises(GroupError, match="recommends nothing"):
        songs.recommend("x", 1)
