"""`openfl-node recommend`: what a user would like."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.learning.factorization.recommend import Recommendations

NAME = "recommend"
HELP = "songs that a user would like"
DESCRIPTION = """\
Recommend songs to a user of this node's data, best first, leaving out what the user has rated. For
a user whom the data does not know, lists what the group likes best and says so. In a group that
learns ratings the score is the rating expected; in one that learns from plays it is a preference,
and the answer says so. Asks the running node; when none runs, uses the model it last saved."""
EXAMPLES = """\
  openfl-node recommend --user ann
  openfl-node recommend --user 17 --top 10
  openfl-node recommend --user 17 --data ratings.csv     when the node is not running
  openfl-node recommend --user ann --json | jq -r '.[].title'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="ID", help="a user_id of the ratings file")
    parser.add_argument(
        "--top",
        type=options.positive,
        metavar="N",
        help="how many songs (default: recommend.count of the configuration, 5)",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="the ratings file, when no node runs (default: as configured)",
    )
    options.add_config(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    recommendations = find(arguments)
    if arguments.json:
        options.print_json(as_json(recommendations))
        for remark in recommendations["notes"]:
            options.note(remark)
    else:
        from openfl_cli.recommendations import RecommendationTable

        options.stdout_console().print(RecommendationTable(recommendations))
    return exit_codes.SUCCESS


def find(arguments: argparse.Namespace) -> dict[str, Any]:
    """Recommendations as plain values, from the running node, else from disk."""
    from openfl_cli import ask

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home, {"data.ratings_file": arguments.data})
    top = arguments.top or config.recommend.count
    try:
        answer: dict[str, Any] = ask.running_node(
            home, "recommend", timeout_seconds=30, user=arguments.user, top=top
        )
        return answer
    except NotRunningError as error:
        from openfl.app import runtime

        options.note(f"{error}; using the model it last saved")
        found: Recommendations = runtime.offline_recommend(config, home, arguments.user, top)
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
        }
        for item in recommendations["items"]
    ]
