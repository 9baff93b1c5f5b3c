"""`openfl-node recommend`: what a user would like."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError
from openfl_cli import exit_codes, options
from openfl_cli.songs_out import add_list_arguments, format_of, print_songs

if TYPE_CHECKING:
    from openfl.learning.factorization.recommend import Recommendations

NAME = "recommend"
HELP = "songs that a user would like"
DESCRIPTION = """\
Recommend songs to a user of this node's data, best first, leaving out what the user has rated. For
a user whom the data does not know, lists what the group likes best and says so. In a group that
learns ratings the score is the rating expected; in one that learns from plays it is a preference,
and the answer says so. Asks the running node; when none runs, uses the model it last saved.

--not-popular gives a part of the list to songs that suit the user more than they suit the others
of the group; --why names the user's own songs that speak most for each one, and how much of its
score is theirs."""
EXAMPLES = """\
  openfl-node recommend --user ann
  openfl-node recommend --user 17 --top 10 --why
  openfl-node recommend --user 17 --new-artists --not-popular 0.3 --format jspf > songs.jspf
  openfl-node recommend --user 17 --data ratings.csv     when the node is not running
  openfl-node recommend --user ann --json | jq -r '.[].title'"""
USUAL_SHARE = 0.2
CSV_COLUMNS = ("rank", "song_id", "title", "artist", "score", "evidence", "kind", "head")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user",
        default="",
        metavar="ID",
        help="a user_id of the ratings file (default: recommend.user, else the file's first)",
    )
    parser.add_argument(
        "--top",
        type=options.positive,
        metavar="N",
        help="how many songs (default: recommend.count of the configuration, 5)",
    )
    parser.add_argument(
        "--new-artists",
        action="store_true",
        help="only artists of whom the user has met nothing, as the catalogue names them",
    )
    parser.add_argument(
        "--not-popular",
        type=options.share,
        nargs="?",
        const=USUAL_SHARE,
        default=0.0,
        metavar="SHARE",
        help="the part of the list that is for songs which suit this user more than others, 0 to 1"
        f" (without a SHARE: {USUAL_SHARE})",
    )
    parser.add_argument(
        "--why", action="store_true", help="name the user's own songs that each one is due to"
    )
    add_list_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    recommendations = find(arguments)
    if format_of(arguments) == "table":
        from openfl_cli.recommendations import RecommendationTable

        options.stdout_console().print(RecommendationTable(recommendations))
    else:
        songs = as_json(recommendations)
        title = f"Songs for {recommendations['user']}"
        print_songs(format_of(arguments), title, songs, CSV_COLUMNS, recommendations["notes"])
    return exit_codes.SUCCESS


def find(arguments: argparse.Namespace) -> dict[str, Any]:
    """Recommendations as plain values, from the running node, else from disk."""
    from openfl_cli import ask

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home, {"data.ratings_file": arguments.data})
    top = arguments.top or config.recommend.count
    user = arguments.user or config.recommend.user
    wishes = {
        key: value
        for key in ("new_artists", "not_popular", "why")
        if (value := getattr(arguments, key))
    }
    try:
        answer: dict[str, Any] = ask.running_node(
            home, "recommend", timeout_seconds=30, user=user, top=top, **wishes
        )
        if wishes and any("why" not in item for item in answer["items"]):
            options.note("the running node is of an older version and heeds no wishes: restart it")
        return answer
    except NotRunningError as error:
        from openfl.app import runtime

        options.note(f"{error}; using the model it last saved")
        found: Recommendations = runtime.offline_recommend(config, home, user, top, **wishes)
        plain: dict[str, Any] = found.to_plain()
        return plain


def as_json(recommendations: dict[str, Any]) -> list[dict[str, Any]]:
    """The shape that docs/cli.md promises."""
    return [
        {
            "song_id": item["song_id"],
            "title": item["title"],
            "artist": item["artist"],
            "score": item["score"],
            "kind": recommendations["kind"],
            "head": recommendations["head"],
            "evidence": item.get("evidence"),
            "why": list(item.get("why", ())),
        }
        for item in recommendations["items"]
    ]
