"""`openfl-node similar`: songs like a song."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError
from openfl_cli import exit_codes, options
from openfl_cli.songs_out import add_list_arguments, format_of, print_songs

if TYPE_CHECKING:
    from openfl.learning.factorization.similar import SimilarSongs

NAME = "similar"
HELP = "songs like a song, as the group has learned them"
DESCRIPTION = """\
List the songs that are most like one song: those that the same people like, by what the group has
learned of them. SONG is an id, a title, or "artist - title", however upper case and accents are
written; several songs of that name are listed with their ids, and so are near misses. The likeness
is the cosine of the songs' vectors, -1 to 1, lowered for songs that the group knows little of.
Asks the running node; when none runs, uses the model it last saved."""
EXAMPLES = """\
  openfl-node similar "Iron Man"
  openfl-node similar "black sabbath - iron man" --top 20
  openfl-node similar 42 --format m3u8 > like-42.m3u8"""
CSV_COLUMNS = ("rank", "song_id", "title", "artist", "likeness", "evidence", "head")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("song", metavar="SONG", help='an id, a title, or "artist - title"')
    parser.add_argument(
        "--top",
        type=options.positive,
        metavar="N",
        help="how many songs (default: recommend.count of the configuration, 5)",
    )
    add_list_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    found = find(arguments)
    if format_of(arguments) == "table":
        from openfl_cli.recommendations import SimilarTable

        options.stdout_console().print(SimilarTable(found))
    else:
        songs = as_json(found)
        title = f"Songs like {found['title'] or found['song_id']}"
        print_songs(format_of(arguments), title, songs, CSV_COLUMNS, found["notes"])
    return exit_codes.SUCCESS


def find(arguments: argparse.Namespace) -> dict[str, Any]:
    """Songs as plain values, from the running node, else from disk."""
    from openfl_cli import ask

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home, {"data.ratings_file": arguments.data})
    top = arguments.top or config.recommend.count
    try:
        answer: dict[str, Any] = ask.running_node(
            home, "similar", timeout_seconds=30, song=arguments.song, top=top
        )
        return answer
    except NotRunningError as error:
        from openfl.app import runtime

        options.note(f"{error}; using the model it last saved")
        found: SimilarSongs = runtime.offline_similar(config, home, arguments.song, top)
        return found.to_plain()


def as_json(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The shape that docs/cli.md promises."""
    return [
        {
            "song_id": item["song_id"],
            "title": item["title"],
            "artist": item["artist"],
            "likeness": item["likeness"],
            "evidence": item["evidence"],
            "head": found["head"],
        }
        for item in found["items"]
    ]
