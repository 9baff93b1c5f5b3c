"""Lists of songs for other programs: CSV, M3U8, JSPF; and what names can do to them."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from typing import Any

import msgspec
import pytest
from cli_fakes import FakeControl, FakeRecommendations

from openfl.core.names import is_unseen
from openfl.core.song_ids import recording_id
from openfl_cli import exit_codes, main
from openfl_cli.song_lists import (
    PLAYLIST_EXTENSION,
    as_csv,
    as_jspf,
    as_m3u8,
    jspf_note,
)
from tests.nasty_names import NASTY

MBID = "e8f9b188-f819-4e43-ab0f-4bd26ce9ff56"


def song(title: str | None, artist: str | None = None, song_id: str = "17") -> dict[str, Any]:
    return {"song_id": song_id, "title": title, "artist": artist, "score": 0.5}


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", NASTY)
def test_csv_is_read_back_by_others_and_steers_nothing(title: str) -> None:
    text = as_csv([song(title, title)], ("song_id", "title", "artist", "score"))
    assert not [c for c in text if c not in "\n\t" and is_unseen(c)]
    head, row, *rest = list(csv.reader(io.StringIO(text, newline="")))
    assert (head, rest) == (["song_id", "title", "artist", "score"], [])
    assert (row[0], row[3]) == ("17", "0.5")
    seen = title.replace("\r\n", "\n").replace("\r", "\n")
    seen = "".join("\ufffd" if is_unseen(c) and c not in "\n\t" else c for c in seen)
    assert row[1] == row[2]
    assert row[1].removeprefix("'") == seen
    assert not row[1].startswith(("=", "+", "-", "@", "\t"))


def test_csv_leaves_names_that_are_no_formula_alone_and_none_empty() -> None:
    text = as_csv([song("'Heroes'"), song(None)], ("title", "artist"))
    assert text == "title,artist\n'Heroes',\n,\n"


# --- M3U8 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", NASTY)
def test_an_m3u8_entry_is_two_lines_whatever_a_name_holds(title: str) -> None:
    text = as_m3u8(title, [song(title, "Ann"), song("Next")])
    lines = text.split("\n")
    assert len(lines) == 7
    assert lines[-1] == ""
    assert lines[0] == "#EXTM3U"
    assert lines[1].startswith("#PLAYLIST:")
    assert lines[2].startswith("#EXTINF:-1,Ann - ")
    assert not [c for c in text if c != "\n" and is_unseen(c)]
    # Neither a comment, nor a path that leads elsewhere, nor an address.
    assert not lines[3].startswith(("#", "."))
    assert not re.search(r"[/\\:]", lines[3])
    assert lines[4:6] == ["#EXTINF:-1,Next", "Next"]


def test_a_song_called_by_nothing_but_dots_still_has_a_line() -> None:
    assert as_m3u8("x", [song("...")]).splitlines()[3] == "_"


# --- JSPF -----------------------------------------------------------------------------------------

# https://xspf.org/jspf and the XSPF specification it refers to, written down: every member that
# there is, of the type that it has. A list that has another member is refused.
Uri = str


class Attribution(msgspec.Struct, forbid_unknown_fields=True):
    location: Uri | None = None
    identifier: Uri | None = None


class Track(msgspec.Struct, forbid_unknown_fields=True):
    location: list[Uri] = []
    identifier: list[Uri] = []
    title: str | None = None
    creator: str | None = None
    annotation: str | None = None
    info: Uri | None = None
    image: Uri | None = None
    album: str | None = None
    trackNum: int | None = None
    duration: int | None = None
    link: list[dict[Uri, Uri]] = []
    meta: list[dict[Uri, str]] = []
    extension: dict[Uri, Any] = {}


class Playlist(msgspec.Struct, forbid_unknown_fields=True):
    track: list[Track]
    title: str | None = None
    creator: str | None = None
    annotation: str | None = None
    info: Uri | None = None
    location: Uri | None = None
    identifier: Uri | None = None
    image: Uri | None = None
    date: datetime | None = None
    license: Uri | None = None
    attribution: list[Attribution] = []
    link: list[dict[Uri, Uri]] = []
    meta: list[dict[Uri, str]] = []
    extension: dict[Uri, Any] = {}


class Jspf(msgspec.Struct, forbid_unknown_fields=True):
    playlist: Playlist


def listenbrainz_problem(text: str) -> str | None:
    """What ListenBrainz has against a playlist that is created from `text`: its documentation of
    POST /1/playlist/create, and the extension https://musicbrainz.org/doc/jspf."""
    playlist = json.loads(text)["playlist"]
    if not playlist.get("title"):
        return "no title"
    public = playlist.get("extension", {}).get(PLAYLIST_EXTENSION, {}).get("public")
    if not isinstance(public, bool):
        return "public is not given"
    for track in playlist["track"]:
        identifiers = track.get("identifier") or []
        wanted = r"https://musicbrainz\.org/recording/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        if not any(re.fullmatch(wanted, one) for one in identifiers):
            return f"{track['title']}: no recording"
    return None


def jspf(*songs: dict[str, Any], title: str = "Songs for ann") -> str:
    text = as_jspf(title, songs, 1_700_000_000.9)
    msgspec.json.decode(text, type=Jspf, strict=True)
    return text


@pytest.mark.parametrize("title", NASTY)
def test_jspf_is_of_its_schema_and_keeps_names_as_they_are(title: str) -> None:
    text = as_jspf("x", [song(title, 'Ann, "A"\n')], 0)
    assert not [c for c in text if c != "\n" and is_unseen(c)]
    if "\ud800" not in title:  # half a character: readers may refuse it
        msgspec.json.decode(text, type=Jspf, strict=True)
    (track,) = json.loads(text)["playlist"]["track"]
    assert track["title"] == (title or "17")
    assert track["creator"] == 'Ann, "A"\n'


def test_a_list_says_whose_it_is_and_when_it_was_made() -> None:
    playlist = json.loads(jspf(song("A", "B")))["playlist"]
    assert playlist["title"] == "Songs for ann"
    assert playlist["date"] == "2023-11-14T22:13:20+00:00"
    assert playlist["track"] == [{"title": "A", "creator": "B"}]


def test_songs_without_a_title_go_by_their_id() -> None:
    (track,) = json.loads(jspf(song(None, None, "x/1")))["playlist"]["track"]
    assert track == {"title": "x/1"}


def test_reasons_are_an_annotation() -> None:
    own = [song("Iron Man", "Black Sabbath"), song(None, None, "9")]
    (track,) = json.loads(jspf({**song("A"), "why": own}))["playlist"]["track"]
    assert track["annotation"] == "because of Black Sabbath - Iron Man, 9"


@pytest.mark.parametrize(
    "song_id", [MBID, MBID.upper(), f"https://musicbrainz.org/recording/{MBID}"]
)
def test_a_list_of_musicbrainz_recordings_is_one_that_listenbrainz_takes(song_id: str) -> None:
    text = jspf(song("A", "B", song_id))
    assert listenbrainz_problem(text) is None
    assert jspf_note(json.loads(json.dumps([song("A", "B", song_id)]))) is None


def test_a_list_of_other_ids_is_not_and_that_is_said() -> None:
    songs = [song("A", "B", MBID), song("C")]
    assert listenbrainz_problem(jspf(*songs)) == "C: no recording"
    assert "1 of 2 songs have no MusicBrainz recording" in (jspf_note(songs) or "")


@pytest.mark.parametrize(
    "song_id", ["17", MBID[:-1], f"{MBID}0", f"x{MBID}", MBID.replace("-", ""), f"{MBID}\n1", ""]
)
def test_what_only_looks_like_a_recording_is_none(song_id: str) -> None:
    assert recording_id(song_id) is None


# --- the commands ---------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[str, str]:
    assert main.run(list(argv)) == exit_codes.SUCCESS
    captured = capsys.readouterr()
    return captured.out, captured.err


LIKE = {
    "song_id": "s9",
    "title": "Song 9",
    "artist": None,
    "head": "implicit",
    "items": [
        {"song_id": "s1", "title": "One", "artist": "A", "likeness": 0.51234, "evidence": 1204.0},
        {"song_id": "s2", "title": None, "artist": None, "likeness": -0.1, "evidence": 1.0},
    ],
    "notes": ["remark"],
}


@pytest.fixture
def songs(control: FakeControl) -> FakeControl:
    control.answers = {
        "recommend": lambda user, top, **wishes: FakeRecommendations(
            user, top, notes=("remark",)
        ).to_plain(),
        "similar": LIKE,
    }
    return control


@pytest.mark.parametrize("argv", [("recommend", "--user", "ann"), ("similar", "s9")])
@pytest.mark.parametrize("form", ["json", "csv", "m3u8", "jspf"])
def test_every_format_is_data_on_stdout_and_remarks_beside(
    songs: FakeControl, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], form: str
) -> None:
    out, err = printed(capsys, *argv, "--format", form)
    assert "remark" in err
    assert "remark" not in out
    match form:
        case "json":
            assert json.loads(out)[0]["song_id"] == "s1"
        case "csv":
            assert next(csv.DictReader(io.StringIO(out)))["song_id"] == "s1"
        case "m3u8":
            assert out.startswith("#EXTM3U\n#PLAYLIST:Songs ")
        case "jspf":
            assert msgspec.json.decode(out, type=Jspf).playlist.track[0].creator in (
                "A",
                "Ann Artist",
            )
            assert "have no MusicBrainz recording" in err


def test_json_is_the_same_by_either_option(
    songs: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = printed(capsys, "recommend", "--user", "ann", "--json")
    other, _ = printed(capsys, "recommend", "--user", "ann", "--format", "json")
    assert one == other


def test_wishes_reach_the_node_and_only_those_that_were_made(
    songs: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "recommend", "--user", "ann")
    printed(capsys, "recommend", "--user", "ann", "--not-popular", "--why", "--new-artists")
    printed(capsys, "recommend", "--user", "ann", "--not-popular", "0.5")
    asked = [call[2] for call in songs.calls]
    usual = {"user": "ann", "top": 5}
    assert asked[0] == usual
    assert asked[1] == usual | {"not_popular": 0.2, "why": True, "new_artists": True}
    assert asked[2] == usual | {"not_popular": 0.5}


def test_a_node_of_an_older_version_heeds_no_wishes_and_that_is_said(
    songs: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "older version" in printed(capsys, "recommend", "--user", "ann", "--why")[1]
    assert "older version" not in printed(capsys, "recommend", "--user", "ann")[1]
    plain = FakeRecommendations("ann", 1).to_plain()
    plain["items"][0]["why"] = []
    songs.answers["recommend"] = plain
    assert "older version" not in printed(capsys, "recommend", "--user", "ann", "--why")[1]


def test_without_a_user_the_configured_one_or_the_nodes_own_is_meant(
    songs: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "recommend")
    printed(capsys, "recommend", "--set", "recommend.user=bob")
    assert [call[2]["user"] for call in songs.calls] == ["", "bob"]


def test_the_tables_name_reasons_and_what_they_count(
    songs: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = FakeRecommendations("ann", 1).to_plain()
    plain["items"][0]["why"] = [
        {"song_id": "s8", "title": "Eight\x1b", "artist": None, "influence": 0.213},
        {"song_id": "s7", "title": None, "artist": None, "influence": 0.05},
    ]
    songs.answers["recommend"] = plain
    shown = " ".join(printed(capsys, "recommend", "--user", "ann", "--why")[0].split())
    assert "of which due to" in shown
    assert "Eight\ufffd +0.21, song s7 +0.05" in shown
    shown = " ".join(printed(capsys, "similar", "s9")[0].split())
    assert "Like Song 9:" in shown
    assert "likeness plays counted" in shown
    assert "One A 0.51 1,204" in shown
    assert "song s2 - -0.10 1" in shown
    assert "note: remark" in shown


def test_with_nothing_like_it_the_table_says_that(
    songs: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    songs.answers["similar"] = {**LIKE, "items": [], "artist": "A"}
    shown, _ = printed(capsys, "similar", "s9")
    assert "Like Song 9 by A:" in shown
    assert "nothing to compare it with" in shown
