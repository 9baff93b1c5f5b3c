"""Exports as every service writes them, of people who do not exist: all from a seed.

    python tests/exports.py FOLDER [SEED]       write one of each

What should be found in each is told by what it was made of, not by reading it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import plistlib
import random
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

START = 1_640_995_200  # 2022
FIRST = (
    "Blue",
    "Öl",
    "Señor",
    "The Quiet",
    "Łąka",
    "Night, Day",
    "東京",
    'The "Q"',
    "Café",
    "AC/DC-ish",
)
SECOND = ("Rivers", "Motors", "Birds", "Ünder", "Machine", "Four", "& Sons", "Orchestra")
WORDS = (
    "Love",
    "Rain; Snow",
    "Été",
    "Go Home",
    "(Live) Wire",
    "Minus 5",
    "Über",
    "Tonight",
    "λ",
    "Why?",
)


@dataclass(frozen=True)
class Listen:
    """One time that somebody played a song. seconds: so long; of: so long is the song."""

    artist: str
    title: str
    time: int
    seconds: float
    of: float

    @property
    def counts(self) -> bool:
        return self.seconds >= 30


@dataclass(frozen=True)
class Export:
    """A file or folder as downloaded. source: what it is. plays: song id -> plays that count, likes
    as one more; for ratings: item id -> rating. dropped: rows that must not count."""

    source: str
    path: Path
    items: str
    task: str
    plays: dict[str, float]
    dropped: int = 0
    names: dict[str, tuple[str, str]] = field(default_factory=dict)


def listens(rng: random.Random, count: int = 300, songs: int = 40) -> list[Listen]:
    """In order of time, no two within the same minute."""
    known = set()
    while len(known) < songs:
        known.add(
            (
                f"{rng.choice(FIRST)} {rng.choice(SECOND)}",
                f"{rng.choice(WORDS)} {rng.randint(1, 9)}",
            )
        )
    catalogue = [(*song, rng.uniform(90, 400)) for song in sorted(known)]
    found, time = [], START
    for _ in range(count):
        time += rng.randint(61, 50_000)
        artist, title, of = rng.choice(catalogue)
        seconds = of if rng.random() < 0.7 else rng.uniform(0, of)
        found.append(Listen(artist, title, time, round(seconds, 3), round(of, 3)))
    return found


def plays_of(all_listens: Sequence[Listen]) -> dict[str, float]:
    counted = Counter(f"{one.artist} - {one.title}" for one in all_listens if one.counts)
    return {song: float(plays) for song, plays in counted.items()}


def names_of(all_listens: Sequence[Listen]) -> dict[str, tuple[str, str]]:
    return {
        f"{one.artist} - {one.title}": (one.title, one.artist) for one in all_listens if one.counts
    }


def iso(time: int, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.fromtimestamp(time, UTC).strftime(form)


def zipped(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def as_csv(rows: Sequence[Sequence[object]], **form: Any) -> str:
    out = io.StringIO()
    csv.writer(out, **form).writerows(rows)
    return out.getvalue()


# --- music ----------------------------------------------------------------------------------------


def spotify(folder: Path, seed: int) -> Export:
    rng = random.Random(seed)
    heard = listens(rng)
    history = [
        {
            "endTime": iso(one.time, "%Y-%m-%d %H:%M"),
            "artistName": one.artist,
            "trackName": one.title,
            "msPlayed": int(one.seconds * 1000),
        }
        for one in heard
    ]
    podcast = [
        {
            "endTime": "2022-03-01 10:00",
            "podcastName": "Talk",
            "episodeName": "1",
            "msPlayed": 90000,
        }
    ]
    liked = [
        {"artist": one.artist, "album": "", "track": one.title, "uri": "spotify:track:x"}
        for one in heard[:3]
    ]
    library = {"tracks": liked, "albums": [{"artist": "A", "album": "B"}], "shows": [], "other": []}
    at = "Spotify Account Data"
    path = zipped(
        folder / "my_spotify_data.zip",
        {
            f"{at}/StreamingHistory_music_0.json": as_json(history[:200]),
            f"{at}/StreamingHistory_music_1.json": as_json(history[200:]),
            f"{at}/StreamingHistory_podcast_0.json": as_json(podcast),
            f"{at}/YourLibrary.json": as_json(library),
            f"{at}/Userdata.json": as_json({"username": "nobody", "email": "nobody@example.org"}),
            f"{at}/ReadMeFirst.pdf": b"%PDF-1.4\x00\x01\x02",
        },
    )
    plays = plays_of(heard)
    for artist, title in {(one.artist, one.title) for one in heard[:3]}:
        plays[f"{artist} - {title}"] = plays.get(f"{artist} - {title}", 0) + 1
    short = sum(not one.counts for one in heard)
    return Export("spotify", path, "music", "implicit", plays, short + 1, names_of(heard))


def extended_record(one: Listen) -> dict[str, Any]:
    return {
        "ts": iso(one.time),
        "platform": "linux",
        "ms_played": int(one.seconds * 1000),
        "conn_country": "ZZ",
        "ip_addr": "192.0.2.77",
        "master_metadata_track_name": one.title,
        "master_metadata_album_artist_name": one.artist,
        "master_metadata_album_album_name": "An Album",
        "spotify_track_uri": "spotify:track:0000000000000000000000",
        "episode_name": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": None,
        "offline": False,
        "username": "nobody-at-all",
    }


def spotify_extended(folder: Path, seed: int) -> Export:
    heard = listens(random.Random(seed))
    records = [extended_record(one) for one in heard]
    podcast = {**records[0], "master_metadata_track_name": None, "episode_name": "Talk 1"}
    podcast["master_metadata_album_artist_name"] = podcast["spotify_track_uri"] = None
    at = "Spotify Extended Streaming History"
    path = zipped(
        folder / "my_spotify_extended.zip",
        {
            f"{at}/Streaming_History_Audio_2022_0.json": as_json([*records[:150], podcast]),
            f"{at}/endsong_1.json": as_json(records[150:]),
        },
    )
    short = sum(not one.counts for one in heard)
    return Export(
        "spotify-extended", path, "music", "implicit", plays_of(heard), short + 1, names_of(heard)
    )


def lastfm(folder: Path, seed: int) -> Export:
    heard = [one for one in listens(random.Random(seed)) if one.counts]
    rows: list[Sequence[object]] = [
        ("uts", "utc_time", "artist", "artist_mbid", "album", "album_mbid", "track", "track_mbid")
    ]
    for one in reversed(heard):
        rows.append(
            (one.time, iso(one.time, "%d %b %Y, %H:%M"), one.artist, "", "", "", one.title, "")
        )
    path = folder / "lastfm.csv"
    path.write_text(as_csv(rows, quoting=csv.QUOTE_ALL), encoding="utf-8")
    return Export("lastfm", path, "music", "implicit", plays_of(heard), 0, names_of(heard))


def listenbrainz(folder: Path, seed: int) -> Export:
    heard = [one for one in listens(random.Random(seed)) if one.counts]
    members: dict[str, bytes | str] = {"user.json": as_json({"username": "nobody", "user_id": 1})}
    of_month: dict[str, list[str]] = {}
    for number, one in enumerate(heard):
        listen = {
            "listened_at": one.time,
            "track_metadata": {
                "artist_name": one.artist,
                "track_name": one.title,
                "release_name": "An Album",
                "additional_info": {"duration_ms": str(int(one.of * 1000)), "media_player": "x"},
                "mbid_mapping": {"recording_mbid": f"{number:08d}-0000-4000-8000-000000000000"},
            },
        }
        month = iso(one.time, "listens/%Y/%m.jsonl")
        of_month.setdefault(month, []).append(json.dumps(listen, ensure_ascii=False))
    members |= {name: "\n".join(lines) + "\n" for name, lines in of_month.items()}
    feedback = [
        {"recording_mbid": "00000002-0000-4000-8000-000000000000", "score": 1, "created": START},
        {"recording_mbid": "00000003-0000-4000-8000-000000000000", "score": -1, "created": START},
        {"recording_mbid": "99999999-0000-4000-8000-000000000000", "score": 1, "created": START},
    ]
    members["feedback.jsonl"] = "".join(json.dumps(one) + "\n" for one in feedback)
    plays = plays_of(heard)
    plays[f"{heard[2].artist} - {heard[2].title}"] += 1
    path = zipped(folder / "listenbrainz_nobody.zip", members)
    return Export("listenbrainz", path, "music", "implicit", plays, 2, names_of(heard))


DAILY = (
    *("Country", "Track Identifier", "Media type", "Date Played", "Hours"),
    *("Play Duration Milliseconds", "End Reason Type", "Source Type", "Play Count", "Skip Count"),
    *("Ignore For Recommendations", "Track Reference", "Track Description"),
)


def apple_daily(heard: Sequence[Listen]) -> str:
    rows: list[Sequence[object]] = [DAILY]
    for one in heard:
        played = int(one.counts)
        end = "NATURAL_END_OF_TRACK" if played else "TRACK_SKIPPED_FORWARDS"
        rows.append(
            (
                *("ZZ", 1234, "AUDIO", iso(one.time, "%Y%m%d"), iso(one.time, "%H")),
                *(int(one.seconds * 1000), end, "IPHONE", played, 1 - played, "", 1234),
                f"{one.artist} - {one.title}",
            )
        )
    return as_csv(rows)


def apple_activity(heard: Sequence[Listen], artist: bool = True) -> str:
    head = ["Album Name", "Apple Id Number", "Song Name", "Event Type", "Event End Timestamp"]
    head += ["Media Duration In Milliseconds", "Play Duration Milliseconds", "IP Address"]
    rows: list[Sequence[object]] = [[*head, "Artist Name"] if artist else head]
    for one in heard:
        row = ["An Album", "123", one.title, "PLAY_END", iso(one.time, "%Y-%m-%dT%H:%M:%S.123Z")]
        row += [str(int(one.of * 1000)), str(int(one.seconds * 1000)), "192.0.2.77"]
        rows.append([*row, one.artist] if artist else row)
    return as_csv(rows)


def apple(folder: Path, seed: int) -> Export:
    heard = listens(random.Random(seed))
    at = "Apple_Media_Services/Apple Music Activity"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{at}/Apple Music - Play History Daily Tracks.csv", apple_daily(heard))
        archive.writestr(f"{at}/Apple Music Play Activity.csv", apple_activity(heard))
    path = zipped(
        folder / "Apple Media Services information.zip",
        {"Apple_Media_Services.zip": inner.getvalue(), "notes.txt": "hello"},
    )
    short = sum(not one.counts for one in heard)
    return Export("apple-music", path, "music", "implicit", plays_of(heard), short, names_of(heard))


def itunes(folder: Path, seed: int) -> Export:
    rng = random.Random(seed)
    plays = plays_of(listens(rng))
    names = names_of(listens(random.Random(seed)))
    tracks: dict[str, Any] = {}
    for number, (song, count) in enumerate(plays.items(), 1):
        title, artist = names[song]
        tracks[str(number)] = {
            "Track ID": number,
            "Name": title,
            "Artist": artist,
            "Play Count": int(count),
            "Play Date UTC": datetime.fromtimestamp(START + number, UTC).replace(tzinfo=None),
            "Rating": 80,
            "Rating Computed": True,
            "Location": "file:///Users/nobody/Music/x.mp3",
        }
    loved = names[next(iter(plays))]
    tracks["900"] = {"Name": "A Talk", "Artist": "Somebody", "Play Count": 3, "Podcast": True}
    tracks["901"] = {"Name": "Unplayed", "Artist": "Somebody"}
    tracks["1"]["Loved"] = True
    plays[f"{loved[1]} - {loved[0]}"] += 1
    library = {
        "Major Version": 1,
        "Tracks": tracks,
        "Playlists": [{"Name": "All", "Items": [{"x": 1}]}],
    }
    path = folder / "Library.xml"
    path.write_bytes(plistlib.dumps(library, sort_keys=False))
    return Export("itunes", path, "music", "implicit", plays, 2, names)


def youtube(folder: Path, seed: int) -> Export:
    heard = [one for one in listens(random.Random(seed)) if one.counts]
    entries: list[dict[str, Any]] = [
        {
            "header": "YouTube Music",
            "title": f"Watched {one.title}",
            "titleUrl": "https://music.youtube.com/watch?v=x",
            "subtitles": [{"name": f"{one.artist} - Topic", "url": "https://example.org"}],
            "time": iso(one.time, "%Y-%m-%dT%H:%M:%S.250Z"),
            "products": ["YouTube"],
        }
        for one in reversed(heard)
    ]
    entries.insert(3, {**entries[0], "header": "YouTube", "title": "Watched a cat"})
    entries.insert(9, {"header": "YouTube Music", "title": "Watched a video", "time": iso(START)})
    at = "Takeout/YouTube and YouTube Music/history"
    path = zipped(
        folder / "takeout-20230101.zip",
        {
            f"{at}/watch-history.json": as_json(entries),
            "Takeout/archive_browser.html": "<html></html>",
        },
    )
    return Export("youtube-music", path, "music", "implicit", plays_of(heard), 2, names_of(heard))


# --- films and books ------------------------------------------------------------------------------


def films(rng: random.Random, count: int = 60) -> list[tuple[str, int, float, int]]:
    """(title, year, stars, time)"""
    found = {
        (f"{rng.choice(WORDS)} {rng.choice(SECOND)}", rng.randint(1950, 2023)) for _ in range(count)
    }
    return [
        (title, year, rng.randint(1, 10) / 2, START + 86_400 * number)
        for number, (title, year) in enumerate(sorted(found))
    ]


def letterboxd(folder: Path, seed: int) -> Export:
    seen = films(random.Random(seed))
    head = ("Date", "Name", "Year", "Letterboxd URI")
    uri = "https://boxd.it/x"
    rated = [(iso(t, "%Y-%m-%d"), title, year, uri, stars) for title, year, stars, t in seen]
    watched = [row[:4] for row in rated]
    path = zipped(
        folder / "letterboxd-nobody-2023.zip",
        {
            "ratings.csv": as_csv(
                [(*head, "Rating"), *rated, (*watched[0][:1], "Unrated", 1999, uri, "")]
            ),
            "diary.csv": as_csv(
                [
                    (*head, "Rating", "Rewatch", "Tags", "Watched Date"),
                    (*rated[0], "", "", "2022-01-01"),
                ]
            ),
            "watched.csv": as_csv([head, *watched]),
            "watchlist.csv": as_csv([head, ("2022-01-01", "Never Seen", 2001, uri)]),
            "profile.csv": as_csv(
                [
                    ("Date Joined", "Username", "Email Address"),
                    ("2020-01-01", "nobody", "x@example.org"),
                ]
            ),
        },
    )
    ratings = {f"{title} ({year})": stars for title, year, stars, _ in seen}
    return Export("letterboxd", path, "film", "rating", ratings, 1)


def imdb(folder: Path, seed: int) -> Export:
    seen = films(random.Random(seed))
    rows: list[Sequence[object]] = [
        (
            "Const",
            "Your Rating",
            "Date Rated",
            "Title",
            "URL",
            "Title Type",
            "IMDb Rating",
            "Year",
            "Num Votes",
        )
    ]
    for number, (title, year, stars, time) in enumerate(seen):
        day = iso(time, "%Y-%m-%d")
        rows.append(
            (
                f"tt{number:07d}",
                int(2 * stars),
                day,
                title,
                "https://example.org",
                "Movie",
                7.1,
                year,
                900,
            )
        )
    path = folder / "ratings.csv"
    path.write_text(as_csv(rows), encoding="cp1252", errors="replace")
    ratings = {
        f"{title} ({year})".encode("cp1252", "replace").decode("cp1252"): 2 * stars
        for title, year, stars, _ in seen
    }
    return Export("imdb", path, "film", "rating", ratings)


def goodreads(folder: Path, seed: int) -> Export:
    rng = random.Random(seed)
    head = (
        "Book Id",
        "Title",
        "Author",
        "Author l-f",
        "ISBN",
        "ISBN13",
        "My Rating",
        "Average Rating",
    )
    rows: list[Sequence[object]] = [(*head, "Date Read", "Date Added", "Bookshelves", "My Review")]
    ratings: dict[str, float] = {}
    dropped = 0
    for number in range(60):
        title, author = (
            f"{rng.choice(WORDS)}: Book {number}",
            f"{rng.choice(FIRST)} {rng.choice(SECOND)}",
        )
        isbn = f"978{rng.randrange(10**10):010d}" if number % 3 else ""
        stars = rng.randint(0, 5)
        rows.append(
            (
                number,
                title,
                author,
                "",
                '=""',
                f'="{isbn}"',
                stars,
                4.0,
                "",
                "2022/05/06",
                "read",
                "Long,\nbut good",
            )
        )
        if stars:
            ratings[isbn or f"{author} - {title}"] = float(stars)
        dropped += not stars
    path = folder / "goodreads_library_export.csv"
    path.write_text(as_csv(rows), encoding="utf-8")
    return Export("goodreads", path, "book", "rating", ratings, dropped)


# --- tables ---------------------------------------------------------------------------------------


def ratings(
    rng: random.Random, people: int = 30, items: int = 40
) -> list[tuple[int, int, float, int]]:
    """(user, item, stars, time), a pair once."""
    found = []
    for user in range(1, people + 1):
        for item in sorted(rng.sample(range(1, items + 1), 12)):
            found.append((user, item, rng.randint(1, 10) / 2, START + rng.randrange(10**7)))
    return found


def movielens(folder: Path, seed: int) -> Export:
    rows = ratings(random.Random(seed))
    at = "ml-latest-small"
    movies = [(item, f"Film {item}, The (1999)", "Drama|Comedy") for item in range(1, 41)]
    path = zipped(
        folder / "ml-latest-small.zip",
        {
            f"{at}/ratings.csv": as_csv([("userId", "movieId", "rating", "timestamp"), *rows]),
            f"{at}/movies.csv": as_csv([("movieId", "title", "genres"), *movies]),
            f"{at}/tags.csv": as_csv(
                [("userId", "movieId", "tag", "timestamp"), (1, 1, "fun", START)]
            ),
            f"{at}/links.csv": as_csv([("movieId", "imdbId", "tmdbId"), (1, 114709, 862)]),
            f"{at}/README.txt": "Summary\n=======\n\nThis dataset, is made up.\n",
        },
    )
    names = {str(item): (title, "") for item, title, _ in movies}
    return Export("table", path, "opaque", "rating", by_pair(rows), names=names)


def by_pair(rows: Sequence[tuple[int, int, float, int]]) -> dict[str, float]:
    return {f"{user} {item}": stars for user, item, stars, _ in rows}


def u_data(folder: Path, seed: int) -> Export:
    rows = ratings(random.Random(seed))
    path = folder / "u.data"
    path.write_text(as_csv(rows, delimiter="\t", lineterminator="\n"), encoding="ascii")
    return Export("table", path, "opaque", "rating", by_pair(rows))


def colons(folder: Path, seed: int) -> Export:
    rows = ratings(random.Random(seed))
    inside = folder / "ml-1m"
    inside.mkdir()
    (inside / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in rows))
    movies = "".join(f"{item}::Señor {item} (1999)::Drama\n" for item in range(1, 41))
    (inside / "movies.dat").write_bytes(movies.encode("latin-1"))
    names = {str(item): (f"Señor {item} (1999)", "") for item in range(1, 41)}
    return Export("table", inside, "opaque", "rating", by_pair(rows), names=names)


def book_crossing(folder: Path, seed: int) -> Export:
    rng = random.Random(seed)
    rows = [(user, f"0{item:09d}", rng.randint(0, 10)) for user, item, _, _ in ratings(rng)]
    form: dict[str, Any] = {
        "delimiter": ";",
        "quoting": csv.QUOTE_ALL,
        "escapechar": "\\",
        "doublequote": False,
    }
    members = {
        "BX-Book-Ratings.csv": [("User-ID", "ISBN", "Book-Rating"), *rows],
        "BX-Books.csv": [
            ("ISBN", "Book-Title", "Book-Author", "Year-Of-Publication"),
            *((f"0{item:09d}", f'The "É" {item}; Vol', "Anna Øl", 1999) for item in range(1, 41)),
        ],
        "BX-Users.csv": [("User-ID", "Location", "Age"), (1, "nowhere, zz", "NULL")],
    }
    path = zipped(
        folder / "BX-CSV-Dump.zip",
        {name: as_csv(lines, **form).encode("latin-1") for name, lines in members.items()},
    )
    given = {f"{user} {item}": float(stars) for user, item, stars in rows if stars}
    names = {f"0{item:09d}": (f'The "É" {item}; Vol', "Anna Øl") for item in range(1, 41)}
    return Export("table", path, "opaque", "rating", given, sum(not r[2] for r in rows), names)


def jester(folder: Path, seed: int) -> Export:
    rng = random.Random(seed)
    lines, given = [], {}
    for user in range(1, 31):
        row = [99.0 if rng.random() < 0.4 else round(rng.uniform(-10, 10), 2) for _ in range(50)]
        lines.append([sum(value != 99 for value in row), *row])
        given |= {f"{user} {item}": value for item, value in enumerate(row, 1) if value != 99}
    text = "\n".join(";".join(str(cell).replace(".", ",") for cell in line) for line in lines)
    path = folder / "jester-data-1.csv"
    path.write_text(text)
    return Export("jester", path, "opaque", "rating", given)


def plain_plays(folder: Path, seed: int) -> Export:
    """As Windows writes it: tabs, UTF-16, packed."""
    rng = random.Random(seed)
    rows = [
        (f"né {user}", f"song {item}", rng.randint(1, 300)) for user, item, _, _ in ratings(rng)
    ]
    text = as_csv([("Listener", "Song", "Play count"), *rows], delimiter="\t")
    path = folder / "plays.txt.gz"
    path.write_bytes(gzip.compress(text.encode("utf-16")))
    given = {f"{user} {item}": float(plays) for user, item, plays in rows}
    return Export("table", path, "opaque", "implicit", given)


PERSONAL: tuple[Callable[[Path, int], Export], ...] = (
    *(spotify, spotify_extended, lastfm, listenbrainz, apple, itunes, youtube),
    *(letterboxd, imdb, goodreads),
)
TABLES: tuple[Callable[[Path, int], Export], ...] = (
    *(movielens, u_data, colons, book_crossing, jester, plain_plays),
)


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for make in (*PERSONAL, *TABLES):
        inside = folder / make.__name__
        inside.mkdir(parents=True, exist_ok=True)
        print(make(inside, seed).path)


if __name__ == "__main__":
    main()
