"""Ratings and catalogue files, scales and splits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl.core.errors import ConfigError, DataError
from openfl.learning import csv_table
from openfl.learning.factorization.rating_scale import (
    detect_scale,
    format_scale,
    parse_scale,
    scale_without_strays,
)
from openfl.learning.factorization.ratings import Ratings, load_catalogue, load_ratings
from openfl.learning.splitting import Split, split_ratings
from openfl_cli.main import error_text

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


def message_about(path: Path, *args: object) -> str:
    with pytest.raises(DataError) as caught:
        load_ratings(path, *args)  # type: ignore[arg-type]
    return str(caught.value)


SIX_BAD = "user_id,song_id,rating\n1,a,4\n,b,2\n1,c\n2,a,great\n2,b,4,5\n2,c,nan\n3,a,1_0\n"
SIX_BAD += "3,b,4.5\n3,c,1\n"


@pytest.mark.parametrize("chunk_rows", [1, 4096])
def test_all_bad_rows_of_a_file_are_told_in_one_go_lowest_line_first(
    file: File, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", chunk_rows)
    path = file(SIX_BAD)
    head, *bad, way = message_about(path).split("\n")
    assert head == f"{path}: 6 of 9 rows cannot be used:"
    assert [line.removeprefix(f"{path}:").partition(":")[0] for line in bad] == list("345678")
    assert "start --skip-bad-rows (data.skip_bad_rows = true)" in way


def test_of_many_bad_rows_the_first_ten_are_told_and_all_are_counted(file: File) -> None:
    lines = message_about(file(GOOD + "1,x,bad\n" * 23)).split("\n")
    assert "23 of 26 rows cannot be used; the first 10:" in lines[0]
    assert len(lines) == 1 + 10 + 1
    assert ":14: " in lines[10]


def test_bad_rows_are_left_out_when_the_owner_says_so_and_are_counted(file: File) -> None:
    ratings = load_ratings(file(SIX_BAD), skip_bad_rows=True)
    assert triples(ratings) == {("1", "a", 4.0), ("3", "b", 4.5), ("3", "c", 1.0)}
    assert ratings.skipped == 6
    assert load_ratings(file(GOOD), skip_bad_rows=True).skipped == 0


def test_a_file_of_bad_rows_alone_cannot_be_skipped_away(file: File) -> None:
    text = "user_id,song_id,rating\n1,a,x\n1,b,y\n"
    assert "skip" not in message_about(file(text), "auto", True)


def test_a_quote_that_is_never_closed_is_told_at_the_line_where_it_opens(file: File) -> None:
    rows = [f"{n},a,{n % 5 + 1}" for n in range(2000)]
    path = file("\n".join(["user_id,song_id,rating", "x,y,1", '1,"a,4', *rows]) + "\n")
    assert message_about(path).startswith(f"{path}:3: not valid CSV: the quote that opens on this")
    ratings = load_ratings(path, skip_bad_rows=True)
    assert (len(ratings), ratings.skipped) == (2001, 1)


def test_a_quote_that_another_row_ends_is_told_where_it_opens(file: File) -> None:
    path = file(GOOD + '3,"a,4\n3,b,5\n4,"a",5\n4,b,bad\n')
    _, first, second, _ = message_about(path).split("\n")
    assert ":5: not valid CSV: a quote that opens on this line ends on line 7" in first
    assert ':8: column rating: "bad"' in second


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ('"User-ID";"ISBN";"Book-Rating"\n"1";"a";"4"\n', """by ";" (sed 's/;/,/g' < """),
        ("1::1193::5::978300760\n", """by "::" (sed 's/::/,/g' < ratings.csv > NEW.csv)"""),
        ("196\t242\t3\t881250949\n", """by tabs (tr '\\t' , < """),
        ("user_id|song_id|rating\n1|a|4\n", 'by "|"'),
        ("user_id;song_id;rating\n1;a;4,5\n", 'by ";"'),
        (
            GOOD + "3;a;4\n",
            ":5: the row has 1 fields, the header has 3; fields must be separated by",
        ),
    ],
)
def test_other_separators_are_named_with_what_to_type(file: File, content: str, hint: str) -> None:
    message = message_about(file(content))
    assert "fields must be separated by commas, not " in message
    assert hint in message
    assert '"User-ID"' not in content or 'found: "User-ID", "ISBN", "Book-Rating")' in message


def test_no_command_is_offered_that_would_mix_up_commas_of_another_meaning(file: File) -> None:
    assert "sed" not in message_about(file("user_id;song_id;rating\n1;a;4,5\n"))


def test_a_header_of_data_is_said_to_name_no_columns(file: File) -> None:
    message = message_about(file("1::1193::5::978300760\n"))
    assert 'columns found: "1", "1193", "5", "978300760"' in message
    assert "the first line must name the columns" in message


@pytest.mark.parametrize("times", [(978300760, 978302109), (1112486027000, 1112484676000)])
def test_unix_times_where_ratings_should_be_are_called_that(
    file: File, times: tuple[int, int]
) -> None:
    text = "user_id,song_id,rating\n" + "".join(f"1,{t},{t}\n" for t in times)
    assert "looks like unix times, not ratings" in message_about(file(text))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.encode("utf-16"), "UTF-16"),
        (GOOD.encode("utf-16-le"), "UTF-16"),
        ((GOOD + "3,Größe,4\n").encode("latin-1"), ":5: not UTF-8 text (byte 0xf6"),
        (GOOD.encode() + b"3,a\0b,4\n", ":5: holds a NUL character"),
        (GOOD + '3,a,"4,5"\n', ':5: column rating: "4,5" is not a number (numbers are written'),
        (GOOD + '3,a,"1,234.5"\n', "nothing between thousands"),
        (GOOD + "3,a,5e9\n", ":5: column rating: 5e9 is beyond +-1e9"),
        ('user_id,song_id,rating,"when\n1,a,4,2\n', ":1: not valid CSV: the quote that opens"),
    ],
    ids=["utf16", "utf16-no-bom", "latin1", "nul", "comma", "thousands", "huge", "header-quote"],
)
def test_what_else_a_file_can_be_is_told(file: File, content: str | bytes, words: str) -> None:
    assert words in message_about(file(content))


def test_bytes_that_are_no_text_do_not_matter_in_columns_that_are_ignored(file: File) -> None:
    rows = b"user_id,song_id,rating,title\n1,a,4,caf\xe9\n"
    assert len(load_ratings(file(rows))) == 1


def stars(values: list[float]) -> str:
    return "user_id,song_id,rating\n" + "".join(f"u,{n},{v:g}\n" for n, v in enumerate(values))


HONEST = [0.5, 1, 3, 4.5, 5, 2, 3.5, 4] * 5


@pytest.mark.parametrize("typo", [50, 9999, 4000, -99])
def test_a_rating_far_off_all_others_is_told_with_its_line_and_not_made_a_scale(
    file: File, typo: float
) -> None:
    path = file(stars([*HONEST, typo, 3]))
    message = message_about(path)
    assert message.startswith(
        f"{path}:42: column rating: {typo} is far off: all others lie within 0.5 to 5"
    )
    assert "data.rating_scale = " in message
    assert "--skip-bad-rows" in message
    assert load_ratings(path, f"{min(typo, 0)}-{max(typo, 100)}").scale[1] >= 100
    skipping = load_ratings(path, skip_bad_rows=True)
    assert (skipping.scale, skipping.skipped, len(skipping)) == ((0.5, 5.0), 1, 41)


def test_a_rating_far_off_is_told_together_with_rows_that_are_bad_otherwise(file: File) -> None:
    lines = message_about(file(stars([*HONEST, 50]) + "u,x,great\n")).split("\n")
    assert "2 of 42 rows" in lines[0]
    assert ":42: column rating: 50 is far off" in lines[1]
    assert ":43:" in lines[2]


def test_a_group_that_has_learned_from_such_a_rating_goes_on_and_the_owner_is_told(
    file: File,
) -> None:
    ratings = load_ratings(file(stars([*HONEST, 50])), believed=(0.0, 100.0))
    assert ratings.scale == (0.0, 100.0)
    assert ":42: column rating: 50 is far off" in ratings.doubt


RNG = np.random.default_rng(3)
HONEST_DATA = {
    "stars": RNG.choice([1, 2, 3, 4, 5], 400, p=[0.01, 0.01, 0.03, 0.35, 0.6]),
    "books": np.where(RNG.random(400) < 0.62, 0, RNG.integers(1, 11, 400)),
    "jokes": np.clip(RNG.normal(0.8, 5, 400), -10, 10),
    "percent": np.clip(RNG.normal(70, 25, 400), 0, 100).round(),
    "thumbs": RNG.choice([0, 100], 400, p=[0.995, 0.005]),
    "ten-once": np.array([3, 4, 5, 2, 10] * 80),
}


@pytest.mark.parametrize("name", HONEST_DATA)
@pytest.mark.parametrize("count", [1, 2, 5, 12, 40, 400])
def test_honest_ratings_are_never_taken_for_mistakes(name: str, count: int) -> None:
    for start in range(0, 400 - count + 1, max(1, count // 2)):
        values = HONEST_DATA[name][start : start + count].astype(np.float32)
        assert scale_without_strays(values) is None


def test_a_mark_for_what_is_missing_is_no_rating(file: File) -> None:
    jokes = [*np.round(HONEST_DATA["jokes"], 2), *([99] * 50)]
    assert "50 of 450 rows" in message_about(file(stars(jokes)))


def test_an_id_is_the_same_however_its_accents_are_encoded(file: File) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    ratings = load_ratings(
        file(f"user_id,song_id,rating\n{composed},{decomposed},4\n{decomposed},{composed},5\n")
    )
    assert (ratings.users, ratings.songs, ratings.duplicates) == ((composed,), (composed,), 1)
    assert ratings.has_user(decomposed)
    assert ratings.of_user(decomposed) == {composed: 5.0}


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
    first, *others = message.split("\n")
    assert first.startswith(str(path))
    assert not others or "rows cannot be used" in first
    assert all(o.startswith((f"{path}:", "data.", "start --skip")) for o in others)


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


def test_the_message_in_the_docs_is_the_one_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"u{n},s{n % 50},{n % 5 + 1}" for n in range(2003)]
    rows[1], rows[6], rows[7] = 'u1,"s1,2', "u6,s6,great", "u7,4"
    (tmp_path / "ratings.csv").write_text("\n".join(["user_id,song_id,rating", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    printed = error_text(message_about(Path("ratings.csv")))
    docs = Path(__file__).parents[2] / "docs" / "cli.md"
    assert f"```text\n{printed}\n```" in docs.read_text(encoding="utf-8")
