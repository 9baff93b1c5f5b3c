"""Plays and likes from CSV files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openfl.core.errors import ConfigError, DataError
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.implicit.plays import load_plays

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "plays.csv"
        path.write_text(text)
        return path

    return to_file


def pairs(plays: Ratings) -> dict[tuple[str, str], float]:
    return {
        (plays.users[u], plays.songs[s]): float(v)
        for u, s, v in zip(plays.user_index, plays.song_index, plays.values, strict=True)
    }


def test_every_row_is_a_play_when_nothing_says_how_many(write: Write) -> None:
    plays = load_plays(write("song_id,user_id\ns1,ann\ns2,ann\ns1,ann\ns1,bob\n"))
    assert pairs(plays) == {("ann", "s1"): 2, ("ann", "s2"): 1, ("bob", "s1"): 1}
    assert plays.duplicates == 1


@pytest.mark.parametrize("column", ["plays", "count"])
def test_plays_are_counted_and_added_up(write: Write, column: str) -> None:
    plays = load_plays(write(f"user_id,song_id,{column}\nann,s1,3\nann,s2,1\nann,s1,4\n"))
    assert pairs(plays) == {("ann", "s1"): 7, ("ann", "s2"): 1}


def test_a_song_played_less_than_asked_for_is_left_out_but_remembered(write: Write) -> None:
    text = "user_id,song_id,plays\nann,s1,3\nann,s2,1\nbob,s2,1\nbob,s3,0\n"
    plays = load_plays(write(text), at_least=2)
    assert pairs(plays) == {("ann", "s1"): 3}
    assert (plays.users, plays.songs) == (("ann",), ("s1",))
    assert plays.left_out == {"ann": ("s2",), "bob": ("s2", "s3")}
    assert pairs(load_plays(write(text)))[("bob", "s2")] == 1


def test_a_rating_that_is_good_enough_is_one_like_and_the_last_counts(write: Write) -> None:
    text = "user_id,song_id,rating\nann,s1,5\nann,s2,4\nann,s2,1\nann,s3,4\n"
    plays = load_plays(write(text), at_least=4)
    assert pairs(plays) == {("ann", "s1"): 1, ("ann", "s3"): 1}
    assert plays.left_out == {"ann": ("s2",)}


def test_ratings_below_zero_are_no_likes_but_no_error(write: Write) -> None:
    plays = load_plays(write("user_id,song_id,rating\nann,s1,-5\nann,s2,7\n"))
    assert pairs(plays) == {("ann", "s2"): 1}


def test_plays_win_over_a_rating_in_the_same_file(write: Write) -> None:
    plays = load_plays(write("user_id,song_id,rating,plays\nann,s1,5,2\n"))
    assert pairs(plays) == {("ann", "s1"): 2}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("user_id,song_id,plays\nann,s1,-1\n", r"csv:2: column plays: -1 is not within"),
        (
            "user_id,song_id,plays\nann,s1,1\nann,s2,x\n",
            r'csv:3: column plays: "x" is not a number',
        ),
        ("user_id,song_id,count\nann,s1,inf\n", r"column count: \"inf\" is not a finite number"),
        ("user_id,song_id,plays\nann,s1,\n", r"csv:2: column plays is empty"),
        ("user_id,song_id\nann,\n", r"csv:2: column song_id is empty"),
        ("user_id,song_id\n", "a header but no plays"),
        ("user_id,plays\nann,1\n", "missing column song_id"),
        ("", "empty"),
        ("user_id,song_id,plays\nann,s1,0\n", r"no song has 1 plays or more \(data.min_strength\)"),
    ],
)
def test_what_is_wrong_is_named(write: Write, text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        load_plays(write(text))


def test_a_least_strength_of_zero_makes_no_sense(write: Write) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        load_plays(write("user_id,song_id\nann,s1\n"), at_least=0)


PLAYS = "user_id,song_id,plays\n" + "".join(f"ann,s{n},{n * n}\n" for n in range(1, 40))


@pytest.mark.parametrize("typo", ["1000000000", "3000000"])
def test_plays_far_above_all_others_are_told_with_their_line(write: Write, typo: str) -> None:
    path = write(PLAYS + f"bob,s1,{typo}\nbob,s2,3\n")
    with pytest.raises(DataError) as caught:
        load_plays(path)
    message = str(caught.value)
    assert f"{path}:41: column plays: {typo} is far off: all others are at most 1521" in message
    assert f"data.max_plays = {typo} says that it is meant" in message
    meant = load_plays(path, most=1e9)
    assert pairs(meant)[("bob", "s1")] == pytest.approx(float(typo))
    skipping = load_plays(path, skip_bad_rows=True)
    assert (len(skipping), skipping.skipped) == (40, 1)


def test_unequal_plays_are_honest(write: Write) -> None:
    """As in Last.fm, where one listener has 324,663 plays of one song and 2,441 of the next."""
    assert len(load_plays(write(PLAYS + "bob,s1,352698\nbob,s2,1\n"))) == 41


def test_all_bad_plays_are_told_in_one_go(write: Write) -> None:
    path = write(PLAYS + "bob,s1,-1\n,s2,3\nbob,s3,x\nbob,s4,2000000000\n")
    with pytest.raises(DataError) as caught:
        load_plays(path)
    head, *bad, way = str(caught.value).split("\n")
    assert "4 of 43 rows" in head
    assert [line.removeprefix(f"{path}:")[:2] for line in bad] == ["41", "42", "43", "44"]
    assert "skip_bad_rows" in way


def test_unix_times_are_no_plays(write: Write) -> None:
    with pytest.raises(DataError, match="look like unix times"):
        load_plays(write("user_id,song_id,plays\nann,s1,978300760\nann,s2,978302109\n"))


def test_fractions_of_plays_are_taken_as_they_are(write: Write) -> None:
    text = "user_id,song_id,plays\nann,s1,2.5\nann,s2,0.5\n"
    assert pairs(load_plays(write(text))) == {("ann", "s1"): 2.5}
    with pytest.raises(DataError, match=r"min_strength\): the most is 2\.5"):
        load_plays(write(text), at_least=3)
