"""Ratings and catalogue files, scales and splits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl.errors import ConfigError, DataError
from openfl.learning import csv_table
from openfl.learning.rating_scale import detect_scale, format_scale, parse_scale
from openfl.learning.ratings import Ratings, load_catalogue, load_ratings
from openfl.learning.splitting import Split, split_ratings

GOOD = "user_id,song_id,rating\n1,a,4\n1,b,2.5\n2,a,5\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "ratings.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


File = Callable[[str | bytes], Path]


def triples(ratings: Ratings) -> set[tuple[str, str, float]]:
    return {
        (ratings.users[u], ratings.songs[s], float(v))
        for u, s, v in zip(ratings.user_index, ratings.song_index, ratings.values, strict=True)
    }


EXPECTED = {("1", "a", 4.0), ("1", "b", 2.5), ("2", "a", 5.0)}


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.rstrip("\n"),
        GOOD.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + GOOD.encode(),
        "rating,when,song_id,user_id\n4,x,a,1\n2.5,y,b,1\n5,,a,2\n",
        '"user_id","song_id","rating"\n"1","a","4"\n1,"b",2.5\n2,a,"5"\n',
        "\nuser_id,song_id,rating\n\n1,a,4\n   \n1,b,2.5\n\n\n2,a,5\n\n",
        "User_ID, Song_ID ,RATING\n 1 , a,4 \n1,b, 2.5\n2,a,+5.0e0\n",
    ],
    ids=["plain", "no-end", "crlf", "bom", "any-order", "quoted", "blank-lines", "spaces"],
)
def test_every_dialect_gives_the_same_ratings(file: File, content: str | bytes) -> None:
    ratings = load_ratings(file(content))
    assert triples(ratings) == EXPECTED
    assert ratings.duplicates == 0
    assert ratings.scale == (0.5, 5.0)
    assert ratings.user_index.dtype == ratings.song_index.dtype == np.int32
    assert ratings.values.dtype == np.float32


def test_ids_are_text_and_keep_their_zeros_commas_and_letters(file: File) -> None:
    ratings = load_ratings(file('user_id,song_id,rating\n007,"a,b",4\n7,Größe,3\n'))
    assert ratings.users == ("007", "7")
    assert ratings.songs == ("a,b", "Größe")


def test_of_rows_of_one_pair_the_last_counts_and_the_others_are_counted(file: File) -> None:
    ratings = load_ratings(file(GOOD + "1,a,1\n2,a,4.5\n1,a,3\n"))
    assert triples(ratings) == {("1", "a", 3.0), ("1", "b", 2.5), ("2", "a", 4.5)}
    assert ratings.duplicates == 3


def test_the_arrays_of_ratings_cannot_be_changed(file: File) -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_ratings(file(GOOD)).values[0] = 1


BAD = [
    ("", "the file is empty"),
    ("\n \n", "the file is empty"),
    ("user_id,song_id,rating\n", "a header but no ratings"),
    ("user_id,song_id,rating\n\n\n", "a header but no ratings"),
    (
        "user,song_id,stars\n1,a,4\n",
        ":1: missing columns user_id, rating in the header "
        '(columns found: "user", "song_id", "stars")',
    ),
    ("user_id,song_id\n1,a\n", ":1: missing column rating in the header"),
    ("1,a,4\n2,b,5\n", ":1: missing columns user_id, song_id, rating"),
    ("user_id;song_id;rating\n1;a;4\n", "fields must be separated by commas"),
    ("user_id,song_id,rating,rating\n1,a,4,4\n", ":1: the header names column rating twice"),
    (GOOD + "3,a,great\n", ':5: column rating: "great" is not a number'),
    (GOOD + "3,a,1_0\n", ':5: column rating: "1_0" is not a number'),
    (GOOD + "3,a,nan\n", ':5: column rating: "nan" is not a finite number'),
    (GOOD + "3,a,-inf\n", ':5: column rating: "-inf" is not a finite number'),
    (GOOD + "3,a,1e39\n", ':5: column rating: "1e39" is not a finite number'),
    (GOOD + "3,a,\n", ":5: column rating is empty"),
    (GOOD + ",a,4\n", ":5: column user_id is empty"),
    (GOOD + "3, ,4\n", ":5: column song_id is empty"),
    (GOOD + "3,a\n", ":5: the row has 2 fields, the header has 3"),
    (GOOD + "3,a,4,5\n", ":5: the row has 4 fields, the header has 3"),
    (GOOD + "\n\n3,a,bad\n", ':7: column rating: "bad"'),
    (GOOD + '3,"a\nb",4\n3,c,bad\n', ':7: column rating: "bad"'),
    (GOOD + '3,"a,4\n', ":5: not valid CSV"),
    (GOOD.encode() + b"3,\xff\xfe,4\n", ":5: not UTF-8 text"),
    ("user_id,song_id,rating\n1,a,500\n2,a,500\n", "every rating is 500"),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("chunk_rows", [1, 2, 4096])
def test_a_bad_file_is_refused_with_its_line_column_and_value(
    file: File,
    monkeypatch: pytest.MonkeyPatch,
    content: str | bytes,
    message: str,
    chunk_rows: int,
) -> None:
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", chunk_rows)
    path = file(content)
    with pytest.raises(DataError) as caught:
        load_ratings(path)
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: no such file"):
        load_ratings(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is a folder"):
        load_ratings(tmp_path)


def test_a_rating_outside_the_scale_given_is_refused_with_its_line(file: File) -> None:
    path = file(GOOD)
    assert load_ratings(path, "2.5-5").scale == (2.5, 5.0)
    with pytest.raises(DataError, match=r"ratings\.csv:3: column rating: 2.5 is outside"):
        load_ratings(path, "3-5")


def test_a_scale_bound_that_float32_rounds_still_holds_its_own_ratings(file: File) -> None:
    ratings = load_ratings(file("user_id,song_id,rating\n1,a,0.1\n1,b,0.7\n"), "0.1-0.7")
    assert len(ratings) == 2


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.lists(
        st.lists(st.sampled_from(["1", "a", "4.5", "", '"', ",", "nan", "x\ny", "é", " "])).map(
            ",".join
        )
    ).map("\n".join)
    | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))
)
def test_any_text_gives_ratings_or_a_data_error(file: File, body: str) -> None:
    path = file("user_id,song_id,rating\n" + body)
    try:
        ratings = load_ratings(path)
    except DataError as error:
        message = str(error)
    else:
        assert len(ratings) > 0
        assert np.isfinite(ratings.values).all()
        return
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("lowest", "highest", "scale"),
    [
        (0.5, 5, (0.5, 5)),
        (1, 4, (0.5, 5)),
        (3, 3, (0.5, 5)),
        (0, 5, (0, 5)),
        (0.5, 5.5, (0, 10)),
        (0, 10, (0, 10)),
        (1, 11, (0, 100)),
        (-1, 1, (-10, 10)),
        (-11, 3, (-11, 3)),
        (1, 1000, (1, 1000)),
        (500, 500, None),
    ],
)
def test_a_scale_is_the_first_well_known_one_that_holds_the_data(
    lowest: float, highest: float, scale: tuple[float, float] | None
) -> None:
    assert detect_scale(lowest, highest) == scale


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("auto", None),
        (" Auto ", None),
        ("0.5-5", (0.5, 5)),
        ("-10-10", (-10, 10)),
        ("-10--5", (-10, -5)),
        ("0 to 100", (0, 100)),
        ("1 - 5.", (1, 5)),
    ],
)
def test_a_scale_is_read_as_written(text: str, scale: tuple[float, float] | None) -> None:
    assert parse_scale(text) == scale
    if scale is not None:
        assert parse_scale(format_scale(scale)) == scale


@pytest.mark.parametrize(
    "text", ["", "5", "a-b", "0.5-", "5-0.5", "3-3", "1-2-3", "nan-5", "0-1e9"]
)
def test_what_is_no_scale_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="rating scale"):
        parse_scale(text)


def made(rows: dict[tuple[str, str], float]) -> Ratings:
    users = tuple(dict.fromkeys(user for user, _ in rows))
    songs = tuple(dict.fromkeys(song for _, song in rows))
    return Ratings(
        users=users,
        songs=songs,
        user_index=np.array([users.index(user) for user, _ in rows], np.int32),
        song_index=np.array([songs.index(song) for _, song in rows], np.int32),
        values=np.array(list(rows.values()), np.float32),
        scale=(0.5, 5.0),
    )


def parts_of(ratings: Ratings, split: Split) -> dict[str, set[tuple[str, str]]]:
    return {
        name: {
            (ratings.users[ratings.user_index[n]], ratings.songs[ratings.song_index[n]])
            for n in getattr(split, name)
        }
        for name in ("train", "validation", "test")
    }


some_ratings = st.dictionaries(
    st.tuples(st.sampled_from("ABCD"), st.integers(0, 40).map(str)),
    st.sampled_from([1.0, 2.5, 5.0]),
    min_size=1,
)


@given(rows=some_ratings, order=st.randoms(use_true_random=False), seed=st.integers(0, 3))
def test_a_users_split_depends_on_no_other_user_and_not_on_the_order(
    rows: dict[tuple[str, str], float], order: object, seed: int
) -> None:
    whole = parts_of(made(rows), split_ratings(made(rows), 0.2, 0.1, seed))
    shuffled = list(rows.items())
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    pieces: dict[str, set[tuple[str, str]]] = {name: set() for name in whole}
    for user in {user for user, _ in rows}:
        mine = made({pair: value for pair, value in shuffled if pair[0] == user})
        for name, pairs in parts_of(mine, split_ratings(mine, 0.2, 0.1, seed)).items():
            pieces[name] |= pairs
    assert pieces == whole


@given(
    rows=some_ratings,
    validation=st.floats(0, 0.6),
    test=st.floats(0, 0.39),
)
def test_a_split_has_every_rating_once_and_leaves_each_user_some_to_train_on(
    rows: dict[tuple[str, str], float], validation: float, test: float
) -> None:
    ratings = made(rows)
    split = split_ratings(ratings, validation, test)
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together) == list(range(len(rows)))
    assert set(ratings.user_index[split.train]) == set(range(len(ratings.users)))
    for part in (split.train, split.validation, split.test):
        assert np.array_equal(part, np.sort(part))


def test_the_fractions_are_kept_for_each_user_and_few_ratings_all_train() -> None:
    rows = {("many", str(n)): 1.0 for n in range(100)} | {("few", str(n)): 1.0 for n in range(4)}
    ratings = made(rows)
    split = split_ratings(ratings, 0.1, 0.2)
    per_part = {name: len(pairs) for name, pairs in parts_of(ratings, split).items()}
    assert per_part == {"train": 70 + 4, "validation": 10, "test": 20}
    assert not any(user == "few" for user, _ in parts_of(ratings, split)["test"])


def test_however_much_is_held_out_one_rating_stays_for_training() -> None:
    ratings = made({("u", str(n)): 1.0 for n in range(5)})
    split = split_ratings(ratings, 0.6, 0.39)  # 3 and 2 of 5, rounded
    assert [len(split.train), len(split.validation), len(split.test)] == [1, 2, 2]


def test_another_seed_holds_out_other_ratings() -> None:
    ratings = made({("u", str(n)): 1.0 for n in range(100)})
    first, second = (split_ratings(ratings, seed=seed).test.tolist() for seed in (0, 1))
    assert first != second
    assert first == split_ratings(ratings, seed=0).test.tolist()


def test_two_users_do_not_hold_out_the_same_songs() -> None:
    ratings = made({(user, str(n)): 1.0 for user in "ab" for n in range(100)})
    held = {user: set() for user in "ab"}
    for user, song in parts_of(ratings, split_ratings(ratings, 0.1, 0.3))["test"]:
        held[user].add(song)
    assert len(held["a"] & held["b"]) < 20


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (math.nan, 0.1)])
def test_impossible_fractions_are_refused(fractions: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        split_ratings(made({("u", "1"): 1.0}), *fractions)


def test_a_subset_of_users_keeps_their_ratings_and_no_others(file: File) -> None:
    ratings = load_ratings(file(GOOD + "3,c,1\n"))
    assert triples(ratings.only_users(lambda user: user != "1")) == {
        ("2", "a", 5.0),
        ("3", "c", 1.0),
    }
    assert len(ratings.only_users(lambda user: False)) == 0
    assert ratings.of_user("1") == {"a": 4.0, "b": 2.5}
    assert ratings.of_user("9") == {}
    assert ratings.has_user("3")
    assert not ratings.has_user("9")


def test_a_catalogue_names_songs_with_what_is_known_of_them(file: File) -> None:
    catalogue = load_catalogue(file('title,song_id,artist\n"Help!",1,The Beatles\nOne,2,\n,3,X\n'))
    assert len(catalogue) == 3
    song = catalogue.get("1")
    assert song is not None
    assert (song.title, song.artist, song.genre) == ("Help!", "The Beatles", None)
    assert catalogue.get("2").artist is None  # type: ignore[union-attr]
    assert catalogue.get("3").title == "3"  # type: ignore[union-attr]
    assert "4" not in catalogue
    assert catalogue.get("4") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("song_id,artist\n1,X\n", ":1: missing column title"),
        ("song_id,title\n1,One\n,Two\n", ":3: column song_id is empty"),
        ("song_id,title\n", "a header but no songs"),
    ],
)
def test_a_bad_catalogue_is_refused(file: File, content: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_catalogue(file(content))
    assert message in str(caught.value)
