"""Each export: recognised by its content, read, converted, and learned from by a node's reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from openfl.config import load_config
from openfl.core.errors import DataError
from openfl.learning.factorization.song_data import SongData
from openfl.learning.kinds import KINDS
from openfl.sources import own_form
from openfl.sources.collect import Collector
from openfl.sources.interactions import ME
from openfl.sources.options import ReadOptions
from openfl.sources.reading import Imported, read_paths
from openfl.sources.registry import SOURCES
from openfl.sources.source import Items, Source
from openfl.sources.summary import summarize, task_of
from tests import exports
from tests.exports import PERSONAL, TABLES, Export, Listen

Make = Callable[[Path, int], Export]
SEED = 14
NOW = exports.START + 10**8


def learned(imported: Imported, folder: Path) -> SongData:
    """What a node reads of what is written."""
    own_form.write(imported.collected, folder)
    task = task_of(imported.collected)
    data = own_form.data_file(folder, imported.collected, task)
    config = load_config(None, {}, {"data.ratings_file": str(data), "task.kind": task})
    read = KINDS[task].load(config, None)
    assert isinstance(read, SongData)
    return read


def as_given(data: SongData, export: Export) -> dict[str, float]:
    """As `Export.plays` has it."""
    given = {}
    for user in data.ratings.users:
        for song, value in data.ratings.of_user(user).items():
            given[song if export.items != "opaque" else f"{user} {song}"] = value
    return given


@pytest.mark.parametrize("make", [*PERSONAL, *TABLES], ids=lambda make: make.__name__)
def test_an_export_is_recognised_and_a_node_learns_from_it(make: Make, tmp_path: Path) -> None:
    export = make(tmp_path, SEED)
    imported = read_paths([export.path])
    summary = summarize(imported, NOW)
    assert export.source in summary.sources
    assert (summary.task, summary.items_are) == (export.task, export.items)
    assert sum(rows for rows, _ in summary.dropped.values()) == export.dropped
    assert all(first for _, first in summary.dropped.values())
    data = learned(imported, tmp_path / "out")
    assert as_given(data, export) == pytest.approx(export.plays, rel=1e-6)
    if export.items != "opaque":
        assert data.ratings.users == (ME,)
    for song, (title, artist) in export.names.items():
        called = data.catalogue.get(song)
        assert called is None or (called.title, called.artist or "") == (title, artist)
    assert bool(export.names) == bool(set(export.names) & set(data.catalogue))


@pytest.mark.parametrize("make", [*PERSONAL, *TABLES], ids=lambda make: make.__name__)
def test_the_name_of_a_file_says_nothing(make: Make, tmp_path: Path) -> None:
    export = make(tmp_path, SEED)
    renamed = export.path.rename(tmp_path / "download(3).bin")
    assert export.source in summarize(read_paths([renamed]), NOW).sources


@pytest.mark.parametrize("make", PERSONAL, ids=lambda make: make.__name__)
def test_an_export_read_again_adds_nothing(make: Make, tmp_path: Path) -> None:
    export = make(tmp_path, SEED)
    once = read_paths([export.path]).collected
    twice = read_paths([export.path, export.path]).collected
    assert (len(twice), twice.rows.strength.sum()) == (len(once), once.rows.strength.sum())


def convert_over(path: Path, out: Path) -> Imported:
    def before(collector: Collector, items: Items) -> None:
        own_form.read_into(collector, out, items)

    imported = read_paths([path], before=before)
    own_form.write(imported.collected, out)
    return imported


@pytest.mark.parametrize("make", [*PERSONAL, *TABLES], ids=lambda make: make.__name__)
def test_converting_an_export_again_changes_no_row(make: Make, tmp_path: Path) -> None:
    export, out = make(tmp_path, SEED), tmp_path / "out"
    convert_over(export.path, out)
    before = {path.name: sorted(path.read_text().splitlines()) for path in out.iterdir()}
    convert_over(export.path, out)
    after = {path.name: sorted(path.read_text().splitlines()) for path in out.iterdir()}
    assert after == before


def history(listens: list[Listen], path: Path) -> Path:
    records = [exports.extended_record(one) for one in listens]
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def test_a_newer_export_adds_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    import random

    heard = [one for one in exports.listens(random.Random(SEED), 400) if one.counts]
    out = tmp_path / "out"
    convert_over(history(heard[:250], tmp_path / "old.json"), out)
    imported = convert_over(history(heard[150:], tmp_path / "new.json"), out)
    counts: dict[str, float] = {}
    collected = imported.collected
    for item, plays in zip(
        collected.rows.item.tolist(), collected.rows.strength.tolist(), strict=True
    ):
        counts[collected.item_ids[item]] = counts.get(collected.item_ids[item], 0) + plays
    assert counts == exports.plays_of(heard)


def test_both_histories_of_spotify_tell_of_the_same_plays(tmp_path: Path) -> None:
    account, extended = exports.spotify(tmp_path, SEED), exports.spotify_extended(tmp_path, SEED)
    both = read_paths([account.path, extended.path]).collected
    alone = read_paths([account.path]).collected
    assert (len(both), both.rows.strength.sum()) == (len(alone), alone.rows.strength.sum())


def test_scrobbles_without_a_header(tmp_path: Path) -> None:
    import random

    heard = [one for one in exports.listens(random.Random(SEED)) if one.counts]
    rows = [
        (one.artist, "An Album", one.title, exports.iso(one.time, "%d %b %Y %H:%M"))
        for one in heard
    ]
    path = tmp_path / "somebody.csv"
    path.write_text(exports.as_csv(rows), encoding="utf-8")
    imported = read_paths([path])
    assert [source.name for source in imported.sources] == ["lastfm"]
    assert set(imported.collected.item_ids) == set(exports.plays_of(heard))
    assert imported.collected.rows.times.min() == heard[0].time // 60 * 60


@pytest.mark.parametrize("make", [exports.spotify, exports.itunes, exports.letterboxd])
def test_what_was_converted_can_be_looked_into_and_converted(make: Make, tmp_path: Path) -> None:
    first, out = read_paths([make(tmp_path, SEED).path]), tmp_path / "out"
    own_form.write(first.collected, out)
    again = read_paths([out])
    assert (len(again.collected), again.drops.rows) == (len(first.collected), 0)
    assert set(again.collected.item_ids) == set(first.collected.item_ids)
    before, after = summarize(first, NOW), summarize(again, NOW)
    assert (before.kinds, before.period, before.task) == (after.kinds, after.period, after.task)
    if before.items_are == "music":
        assert {item.title for item in before.top} == {item.title for item in after.top}


def test_a_damaged_file_of_the_own_form_is_refused_when_added_to(tmp_path: Path) -> None:
    export, out = exports.spotify(tmp_path, SEED), tmp_path / "out"
    convert_over(export.path, out)
    plays = out / "plays.csv"
    good = plays.read_text()
    for bad in (
        "me,x,1,1,play\n",
        "me,x,y,1,play,s\n",
        "me,x,1,1e3,play,s\n",
        'me,"x,1,1,play,s\n',
    ):
        plays.write_text(good + bad)
        with pytest.raises(DataError, match=r"plays\.csv:\d+: not as"):
            convert_over(export.path, out)
    for bad in (f"me,x,1,{10**30},play,s\n", "me,x,1,-9,like,s\n", f"me,x,1,1,play,{'s' * 99}\n"):
        plays.write_text(good + bad)
        with pytest.raises(DataError, match=r"plays\.csv:\d+: not as"):
            convert_over(export.path, out)


def as_scrobbled(heard: list[Listen], path: Path) -> Path:
    """What Last.fm has of them: the time at which each began."""
    rows = [("uts", "artist", "track")]
    rows += [(str(int(one.time - one.seconds)), one.artist, one.title) for one in heard]
    path.write_text(exports.as_csv(rows), encoding="utf-8")
    return path


def test_a_play_that_two_services_recorded_is_one(tmp_path: Path) -> None:
    import random

    heard = [one for one in exports.listens(random.Random(SEED)) if one.counts]
    spotify = history(heard[:200], tmp_path / "spotify.json")
    lastfm = as_scrobbled(heard[100:], tmp_path / "lastfm.csv")
    both = read_paths([spotify, lastfm]).collected
    assert len(both) == len(heard)
    assert both.duplicates == 100
    # One after the other, too: where a play comes from is kept.
    out = tmp_path / "out"
    convert_over(spotify, out)
    assert len(convert_over(lastfm, out).collected) == len(heard)
    assert len(convert_over(spotify, out).collected) == len(heard)


def test_a_song_on_repeat_is_counted_as_often_as_either_service_has_it(tmp_path: Path) -> None:
    heard = [Listen("A", "T", exports.START + 1000 + 181 * n, 180, 180) for n in range(5)]
    spotify = history(heard, tmp_path / "spotify.json")
    lastfm = as_scrobbled(heard[:4], tmp_path / "lastfm.csv")
    both = read_paths([spotify, lastfm]).collected
    assert (len(both), both.duplicates) == (5, 4)
    # Far apart they are plays of their own, however alike.
    later = [replace(one, time=one.time + 7200) for one in heard[:4]]
    apart = read_paths([spotify, as_scrobbled(later, tmp_path / "later.csv")]).collected
    assert (len(apart), apart.duplicates) == (9, 0)


def test_plays_of_one_service_close_to_each_other_stay(tmp_path: Path) -> None:
    heard = [Listen("A", "T", exports.START + 61 * n, 60, 60) for n in range(8)]
    assert len(read_paths([history(heard, tmp_path / "x.json")]).collected) == 8


def test_a_play_without_a_time_is_dropped_and_a_row_of_a_table_without_one_counts(
    tmp_path: Path,
) -> None:
    record = exports.extended_record(Listen("A", "T", exports.START, 90, 90))
    path = tmp_path / "x.json"
    path.write_text(json.dumps([record, {**record, "ts": "yesterday"}, {**record, "ts": None}]))
    imported = read_paths([path])
    assert len(imported.collected) == 1
    ((reason, dropped),) = imported.drops.reasons.items()
    assert "no time" in reason
    assert dropped.rows == 2
    path.write_text("user,song\na,x\na,x\nb,x\n")
    assert sorted(read_paths([path]).collected.rows.strength.tolist()) == [1, 2]


def test_exports_of_several_services_are_one_persons(tmp_path: Path) -> None:
    spotify, lastfm = exports.spotify(tmp_path, 1), exports.lastfm(tmp_path, 2)
    imported = read_paths([spotify.path, lastfm.path], person="ann")
    assert imported.collected.people == ("ann",)
    assert [source.name for source in imported.sources] == ["spotify", "lastfm"]
    assert len(imported.collected) == len(read_paths([spotify.path]).collected) + len(
        read_paths([lastfm.path]).collected
    )


def test_music_and_films_are_not_learned_together(tmp_path: Path) -> None:
    spotify, imdb = exports.spotify(tmp_path, 1), exports.imdb(tmp_path, 1)
    with pytest.raises(DataError, match="different things") as caught:
        read_paths([spotify.path, imdb.path])
    assert "my_spotify_data.zip" in str(caught.value)
    assert "ratings.csv" in str(caught.value)


@pytest.mark.parametrize("make", PERSONAL, ids=lambda make: make.__name__)
def test_private_fields_are_nowhere_in_what_is_kept(make: Make, tmp_path: Path) -> None:
    export, out = make(tmp_path, SEED), tmp_path / "out"
    imported = read_paths([export.path])
    own_form.write(imported.collected, out)
    kept = "".join(path.read_text() for path in out.iterdir())
    kept += json.dumps(summarize(imported, NOW).to_plain() | {"not_read": {}, "files": []})
    for secret in ("192.0.2.77", "nobody", "conn_country", "file:///", "ZZ"):
        assert secret not in kept.replace(str(export.path), "")


def test_a_play_counts_from_30_seconds_or_half_of_the_track(tmp_path: Path) -> None:
    lengths = {
        "short track, half": (40, 20),
        "short track, less": (40, 19.9),
        "long, 30 s": (300, 30),
    }
    lengths |= {"long, 29 s": (300, 29.9)}
    heard = [
        Listen("A", title, exports.START + 100 * number, seconds, of)
        for number, (title, (of, seconds)) in enumerate(lengths.items())
    ]
    path = tmp_path / "activity.csv"
    path.write_text(exports.apple_activity(heard))
    imported = read_paths([path])
    assert set(imported.collected.item_ids) == {"A - short track, half", "A - long, 30 s"}
    (reason,) = imported.drops.reasons
    assert "30 s" in reason
    assert imported.drops.rows == 2


def test_without_an_artist_apples_activity_is_refused_and_what_to_read_is_said(
    tmp_path: Path,
) -> None:
    import random

    path = tmp_path / "Apple Music Play Activity.csv"
    path.write_text(exports.apple_activity(exports.listens(random.Random(1)), artist=False))
    with pytest.raises(DataError, match=r"no column with the artist.*Daily Tracks"):
        read_paths([path])


def test_titles_of_youtube_in_any_language_lose_what_all_of_them_have(tmp_path: Path) -> None:
    export = exports.youtube(tmp_path, SEED)
    import zipfile

    archive = zipfile.ZipFile(export.path)
    (name,) = (name for name in archive.namelist() if name.endswith("watch-history.json"))
    entries = json.loads(archive.read(name))
    for entry in entries:
        entry["title"] = entry["title"].removeprefix("Watched ") + " angesehen"
    path = tmp_path / "verlauf.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    assert set(read_paths([path]).collected.item_ids) == set(export.plays)


def test_a_web_page_of_takeout_is_told_from_its_json(tmp_path: Path) -> None:
    path = tmp_path / "watch-history.html"
    path.write_text("<!DOCTYPE html>\n<html><body>YouTube Music</body></html>")
    with pytest.raises(DataError, match="choose JSON"):
        read_paths([path])


def test_ratings_of_itunes_are_kept_beside_the_plays(tmp_path: Path) -> None:
    export = exports.itunes(tmp_path, SEED)
    text = export.path.read_text(encoding="utf-8")
    export.path.write_text(text.replace("<key>Rating Computed</key>\n\t\t\t<true/>", ""))
    imported = read_paths([export.path])
    written = own_form.write(imported.collected, tmp_path / "out")
    assert {path.name for path in written.rows} == {"plays.csv", "ratings.csv"}
    summary = summarize(imported, NOW)
    assert summary.task == "implicit"
    assert any('task.kind = "rating"' in problem for problem in summary.problems)
    assert "4" in (tmp_path / "out" / "ratings.csv").read_text().splitlines()[1].split(",")


def test_a_format_can_be_forced_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    export = exports.lastfm(tmp_path, 1)
    forced = read_paths([export.path], ReadOptions(format="table"))
    assert [source.name for source in forced.sources] == ["table"]
    with pytest.raises(DataError, match="there are spotify, "):
        read_paths([export.path], ReadOptions(format="napster"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_format_that_a_file_does_not_have_is_refused(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("<plist><x/></plist>", '[{"a": 1}]', '{"a": []}', "hello\n", "a,b\n1,x\n", ""):
        path.write_text(text)
        with pytest.raises(DataError, match=r"x: "):
            read_paths([path], ReadOptions(format=source.name))


def test_the_names_of_formats_in_the_configuration_are_those_there_are() -> None:
    from openfl.config import all_settings

    meaning = all_settings()["data.format"].meaning
    for source in SOURCES:
        assert source.name in meaning or source.name == "catalogue"


def test_where_rows_would_be_lost_it_is_said_which(tmp_path: Path) -> None:
    records = [exports.extended_record(Listen("A", "T", exports.START, 90, 90))]
    wrong = [{**records[0], "ms_played": "long"}, {**records[0], "ts": 5}]
    path = tmp_path / "x.json"
    path.write_text(json.dumps([*records, *wrong, 7, ["x"]]))
    imported = read_paths([path])
    assert len(imported.collected) == 1
    (dropped,) = imported.drops.reasons.values()
    assert dropped.first == [f"{path}:2", f"{path}:3"]


def test_what_is_suspicious_is_told(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rows = [(f"u{n % 20}", f"i{n // 20}", 1 + n % 5, exports.START) for n in range(400)]
    rows += [("u1", "i99", 99, exports.START), ("u2", "CafÃ©", 3, NOW + 10**7)]
    path.write_text(
        "user,item,rating,time\n" + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)
    )
    problems = " ".join(summarize(read_paths([path]), NOW).problems)
    assert "rating 99 (1 times) is far off" in problems
    assert "1 of 402 times are in the future" in problems
    assert "CafÃ©" in problems
    clean = replace(summarize(read_paths([path]), NOW + 10**8))
    assert "future" not in " ".join(clean.problems)
