"""Tables in every form that people have: separators, encodings, headers, numbers, columns."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from openfl.core.errors import DataError
from openfl.sources.options import ReadOptions
from openfl.sources.reading import Imported, read_paths
from openfl.sources.summary import task_of

NUMBERS = [
    (f"{user}", f"{100 + item}", f"{(user + item) % 9 / 2 + 1}", f"{1_600_000_000 + user * item}")
    for user in range(1, 9)
    for item in range(user, user + 6)
]
PAIRS = {(user, item): float(rating) for user, item, rating, _ in NUMBERS}
HEADER = ("userId", "movieId", "rating", "timestamp")


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def joined(rows: list[tuple[str, ...]], separator: str = ",", end: str = "\n") -> str:
    return "".join(separator.join(row) + end for row in rows)


def pairs(imported: Imported) -> dict[tuple[str, str], float]:
    c = imported.collected
    rows = zip(c.rows.person.tolist(), c.rows.item.tolist(), c.rows.strength.tolist(), strict=True)
    return {(c.people[person], c.item_ids[item]): strength for person, item, strength in rows}


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_headers_and_ends_of_lines(
    tmp_path: Path, separator: str, header: bool, end: str
) -> None:
    rows = [HEADER, *NUMBERS] if header else NUMBERS
    path = written(tmp_path / "x", joined(rows, separator, end))
    imported = read_paths([path])
    assert pairs(imported) == PAIRS
    assert task_of(imported.collected) == "rating"
    (assumed,) = imported.files[0].remarks
    assert ("no header" in assumed) is not header


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_that_say_what_they_are(tmp_path: Path, encoding: str) -> None:
    rows = [("user", "item", "rating"), ("Zoë", "Été", "4"), ("李", "Ω", "2"), ("Zoë", "Ω", "3")]
    imported = read_paths([written(tmp_path / "x.csv", joined(rows), encoding)])
    assert pairs(imported) == {("Zoë", "Été"): 4, ("李", "Ω"): 2, ("Zoë", "Ω"): 3}
    assert "taken for" not in str(imported.files[0].remarks)


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp1252", ("Señorita", "Corazón partío", "Größe", "Mañana")),
        ("cp1250", ("Zażółć gęślą jaźń", "Ściana", "Łódź nocą", "Dziwny jest ten świat")),
        ("cp1251", ("Группа крови", "Звезда по имени Солнце", "Перемен", "Кукушка")),
        ("cp1253", ("Ζορμπάς", "Δέντρα φεύγουν στις οχτώ", "Άσπρα καράβια", "Μισιρλού")),
        ("shift_jis", ("夜に駆ける", "東京の空", "さくら", "上を向いて歩こう")),
    ],
)
def test_encodings_that_have_to_be_guessed_are_said(
    tmp_path: Path, encoding: str, names: tuple[str, ...]
) -> None:
    rows = [("user", "item", "rating")]
    rows += [(f"u{n}", name, f"{1 + n}") for n, name in enumerate(names)]
    path = written(tmp_path / "x.csv", joined(rows), encoding)
    imported = read_paths([path])
    assert set(imported.collected.item_ids) == set(names)
    assert f"taken for text in {encoding} (data.encoding" in imported.files[0].remarks[0]
    forced = read_paths([path], ReadOptions(encoding="latin-1"))
    assert "taken for" not in str(forced.files[0].remarks)
    assert (set(forced.collected.item_ids) == set(names)) is (encoding == "cp1252")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_decimal_commas(tmp_path: Path, separator: str) -> None:
    rows = [(u, i, r.replace(".", ","), t) for u, i, r, t in NUMBERS]
    path = written(tmp_path / "x.csv", joined([HEADER, *rows], separator))
    assert pairs(read_paths([path])) == PAIRS


def test_quoted_fields_with_separators_quotes_and_lines_in_them(tmp_path: Path) -> None:
    text = 'who,song,plays\nann,"Hey, ""you""\nthere",3\n"bob, jr.",x,4\nann,x,5\n'
    imported = read_paths([written(tmp_path / "x.csv", text)])
    assert pairs(imported) == {
        ("ann", 'Hey, "you" there'): 3,
        ("bob, jr.", "x"): 4,
        ("ann", "x"): 5,
    }


def test_genres_between_bars_are_no_columns(tmp_path: Path) -> None:
    rows = [("user", "item", "rating", "genres"), *((u, i, r, "a|b") for u, i, r, _ in NUMBERS)]
    assert pairs(read_paths([written(tmp_path / "x", joined(rows))])) == PAIRS


@pytest.mark.parametrize(
    ("header", "task"),
    [
        ("user_id,song_id,rating", "rating"),
        ("User-ID;ISBN;Book-Rating", "rating"),
        ("reviewerID,asin,overall", "rating"),
        ("userID\tartistID\tweight", "implicit"),
        ("listener,track id,play_count", "implicit"),
        ("uid,iid,stars", "rating"),
    ],
)
def test_names_of_columns_in_well_known_data(tmp_path: Path, header: str, task: str) -> None:
    separator = next(s for s in ",;\t" if s in header)
    rows = [(u, i, f"{int(float(r) * 2)}") for u, i, r, _ in NUMBERS]
    path = written(tmp_path / "x", header + "\n" + joined(rows, separator))
    imported = read_paths([path])
    assert pairs(imported) == {pair: float(int(2 * r)) for pair, r in PAIRS.items()}
    assert task_of(imported.collected) == task


def test_columns_named_by_their_owner(tmp_path: Path) -> None:
    rows = [("aa", "bb", "cc"), *((r, i, u) for u, i, r, _ in NUMBERS)]
    path = written(tmp_path / "x.csv", joined(rows))
    with pytest.raises(
        DataError, match=r'aa, bb, cc\): say it, for example data\.columns\.item = "aa"'
    ):
        read_paths([path])
    named = ReadOptions(columns={"user": "cc", "item": "bb", "rating": "AA"})
    assert pairs(read_paths([path], named)) == PAIRS
    numbered = ReadOptions(columns={"user": "3", "item": "2", "rating": "1"})
    assert pairs(read_paths([path], numbered)) == PAIRS
    with pytest.raises(
        DataError, match=r'columns\.user = "dd": no such column \(there are aa, bb, cc'
    ):
        read_paths([path], ReadOptions(columns={"user": "dd"}))


def test_columns_without_a_header_named_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", joined([(r, t, i, u) for u, i, r, t in NUMBERS]))
    columns = {"user": "4", "item": "3", "rating": "1", "time": "2"}
    imported = read_paths([path], ReadOptions(columns=columns))
    assert pairs(imported) == PAIRS
    assert imported.collected.rows.times.min() > 1_600_000_000 - 1
    with pytest.raises(DataError, match="numbers 1 to 4, no header"):
        read_paths([path], ReadOptions(columns={**columns, "user": "5"}))


def test_a_separator_given_by_the_owner(tmp_path: Path) -> None:
    path = written(tmp_path / "x", joined([HEADER, *NUMBERS], "~"))
    with pytest.raises(DataError, match="not a table"):
        read_paths([path])
    assert pairs(read_paths([path], ReadOptions(separator="~"))) == PAIRS
    with pytest.raises(DataError, match=r"data\.separator = '#': the first line has no such"):
        read_paths([path], ReadOptions(separator="#"))


def test_what_a_table_without_header_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", joined([(*row, "x", "y") for row in NUMBERS]))
    with pytest.raises(
        DataError, match=r'say which is which, for example data\.columns\.user = "1"'
    ):
        read_paths([path])


def test_a_wrong_encoding_given_is_refused_with_the_option(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", joined([HEADER, ("é", "1", "2", "3")]), "latin-1")
    with pytest.raises(DataError, match=r"byte 0xe9 in utf-8.*data\.encoding = "):
        read_paths([path], ReadOptions(encoding="utf-8"))
    with pytest.raises(DataError, match=r'data\.encoding = "klingon": no such encoding'):
        read_paths([path], ReadOptions(encoding="klingon"))


def test_bytes_that_turn_out_not_to_be_utf8_after_the_beginning(tmp_path: Path) -> None:
    rows = joined([HEADER, *NUMBERS * 100])
    path = tmp_path / "x.csv"
    path.write_bytes(rows.encode() + b"caf\xe9,1,2,3\n")
    with pytest.raises(DataError, match=r"byte 0xe9 in utf-8"):
        read_paths([path])
    assert ("café", "1") in pairs(read_paths([path], ReadOptions(encoding="cp1252")))


def test_packed_and_in_folders(tmp_path: Path) -> None:
    half = len(NUMBERS) // 2
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    text = joined([HEADER, *NUMBERS[:half]])
    (inside / "one.csv.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "a" / "two.zip", "w") as archive:
        archive.writestr("deep/two.csv.gz", gzip.compress(joined(NUMBERS[half:], "\t").encode()))
    (tmp_path / "a" / ".hidden.csv").write_text(joined([HEADER, ("x", "y", "1", "2")]))
    assert pairs(read_paths([tmp_path / "a"])) == PAIRS


def test_plays_of_a_pair_add_up_and_of_ratings_the_latest_counts(tmp_path: Path) -> None:
    plays = written(tmp_path / "p.csv", "user,song,plays\na,x,2\na,x,3\nb,x,1\n")
    assert pairs(read_paths([plays])) == {("a", "x"): 5, ("b", "x"): 1}
    rated = "user,song,rating,time\na,x,5,1600000300\na,x,2,1600000100\nb,x,1,1600000000\n"
    path = written(tmp_path / "r.csv", rated)
    assert pairs(read_paths([path])) == {("a", "x"): 5, ("b", "x"): 1}
    path = written(tmp_path / "r.csv", "user,song,rating\na,x,5\na,x,2\nb,x,1\n")
    assert pairs(read_paths([path])) == {("a", "x"): 2, ("b", "x"): 1}


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path: Path) -> None:
    text = "user,song,rating\na,x,5\n,x,4\nb,,3\nb,y,many\nc,z\nc,z,1,2\nd,x,1_0\nd,y,nan\na,y,3\n"
    imported = read_paths([written(tmp_path / "x.csv", text)])
    assert pairs(imported) == {("a", "x"): 5, ("a", "y"): 3}
    by_reason = {reason: dropped.rows for reason, dropped in imported.drops.reasons.items()}
    assert by_reason == {
        "more or fewer fields than the table has": 2,
        "no user": 1,
        "no title and no id, or one of more than 1,000 characters": 1,
        "no number where the rating or the plays should be": 3,
    }
    places = imported.drops.reasons["no number where the rating or the plays should be"].first
    assert [place.rpartition(":")[2] for place in places] == ["5", "8", "9"]


def test_one_persons_list_of_songs_needs_no_user(tmp_path: Path) -> None:
    text = "Artist,Track,Plays\nA,X,3\nB,Y,5\nA,X,1\n"
    imported = read_paths([written(tmp_path / "x.csv", text)])
    assert pairs(imported) == {("me", "A - X"): 4, ("me", "B - Y"): 5}
    assert imported.items == "music"
    books = written(tmp_path / "y.csv", "Title,Author,Rating\nX,A,3\nY,B,5\nZ,C,1\n")
    assert read_paths([books]).items == "book"


def test_rows_of_people_in_a_column_of_unknown_name_are_not_one_persons(tmp_path: Path) -> None:
    rows = [("citizen", "song", "rating"), *((u, i, r) for u, i, r, _ in NUMBERS)]
    path = written(tmp_path / "x.csv", joined(rows))
    with pytest.raises(DataError, match=r'\(citizen\): say it, .*columns\.user = "citizen"'):
        read_paths([path])
    assert pairs(read_paths([path], ReadOptions(columns={"user": "citizen"}))) == PAIRS


def test_one_id_written_in_two_forms_of_unicode_is_one(tmp_path: Path) -> None:
    text = "user,song,rating\nZo\u00eb,e\u0301,4\nZoe\u0308,\u00e9,2\nb,x,1\n"
    assert pairs(read_paths([written(tmp_path / "x.csv", text)])) == {
        ("Zoë", "é"): 2,
        ("b", "x"): 1,
    }


def test_what_is_no_interactions_is_not_taken_for_them(tmp_path: Path) -> None:
    for text in (
        "id,age,city\n1,30,x\n2,40,y\n",
        "userId,movieId,tag,timestamp\n1,2,fun,1600000000\n",
        "unknown|0\nAction|1\nComedy|2\nDrama|3\n",
        "Dear all,\n\nthis is a letter, and no table.\n",
        "one\ntwo\nthree\n",
    ):
        with pytest.raises(DataError):
            read_paths([written(tmp_path / "x.txt", text)])
