"""`openfl-node demo`: several real nodes on this machine, learning together before your eyes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from openfl.core.errors import LearningError, UsageError
from openfl_cli import exit_codes, options
from openfl_cli.text import clean

if TYPE_CHECKING:
    from openfl_cli.demo.picture import DemoView
    from openfl_cli.demo.polling import Ending, Settings

V = TypeVar("V")

PROGRESS_SECONDS = 1.0
NAME = "demo"
HELP = "see several real nodes on this machine learn together"
DESCRIPTION = """\
Start several real nodes on this machine, each a process of its own with the ratings of its own
listeners (synthetic sample data), and watch them find each other and learn together. They know
nothing but the first node's address. At the end: for each node, how well it predicts ratings it
never saw, alone and together, and what one listener should hear next. Nothing is left behind.

With --communities: nine nodes of three communities of taste are put into three groups at random,
learn there, and are then let go. Each looks for the group that serves its own data best, until
every community has a group of its own, or one group serves all as well.

With --people: twelve nodes with one person each, as people come: of no community. They choose their
groups in the same way, and should end no worse than with one model for all."""
EXAMPLES = """\
  openfl-node demo
  openfl-node demo --nodes 8 --rounds 20
  openfl-node demo --keep          keep the nodes' folders, to look around in them
  openfl-node demo --json
  openfl-node demo --communities --html sorting.html
  openfl-node demo --people --data ratings.csv"""


def node_count(text: str) -> int:
    """argparse type: from 2 to 16, which one machine runs with ease."""
    count = options.positive(text)
    if not 2 <= count <= 16:
        raise argparse.ArgumentTypeError(f"must be from 2 to 16, got {count}")
    return count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes",
        type=node_count,
        metavar="N",
        help="2 to 16 (default: 4, of communities 9, of people 12)",
    )
    parser.add_argument(
        "--rounds",
        type=options.positive,
        metavar="N",
        help="rounds of learning at each node (default: 12; before they are let go: 8)",
    )
    parser.add_argument(
        "--interval",
        type=options.positive_seconds,
        default=1.0,
        metavar="SECONDS",
        help="seconds between rounds (default: 1)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="deal ratings and groups differently")
    parser.add_argument(
        "--timeout",
        type=options.positive_seconds,
        metavar="SECONDS",
        help="give up after this long (default: enough for the rounds)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the nodes' home folders afterwards"
    )
    parser.add_argument(
        "--communities", action="store_true", help="nodes in random groups sort themselves out"
    )
    parser.add_argument(
        "--people", action="store_true", help="the same with one person a node, of no community"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="with --people: draw them from a ratings file of your own, not from the sample",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="with --communities or --people: write the group map (png, svg or pdf)",
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="with --communities or --people: write a report to look at in a browser",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    check_together(arguments)
    if arguments.communities or arguments.people:
        from openfl_cli.demo.run_acts import run_communities, run_people

        return run_communities(arguments) if arguments.communities else run_people(arguments)
    from openfl_cli.demo.children import ChildEnded
    from openfl_cli.demo.polling import Settings
    from openfl_cli.demo.stage import demo_folder, told

    nodes, rounds = arguments.nodes or 4, arguments.rounds or 12
    settings = Settings(
        nodes=nodes,
        rounds=rounds,
        interval_seconds=arguments.interval,
        seed=arguments.seed or 0,
        timeout_seconds=arguments.timeout or 60 + 5 * nodes + 3 * rounds * arguments.interval,
    )
    with demo_folder(arguments.keep) as folder:
        try:
            ending, titles = play(settings, folder, quiet=arguments.json)
        except* ChildEnded as group:
            raise told(group) from None
    return close(settings, ending, titles, arguments.json)


def check_together(arguments: argparse.Namespace) -> None:
    """UsageError for options that make no sense together."""
    if arguments.communities and arguments.people:
        raise UsageError("--communities and --people are two demos: give one of them")
    if arguments.plot is not None and not (arguments.communities or arguments.people):
        raise UsageError("--plot draws the map of --communities or --people: give one of them")
    if arguments.html is not None and not (arguments.communities or arguments.people):
        raise UsageError("--html reports on --communities or --people: give one of them")
    if arguments.data is not None and not arguments.people:
        raise UsageError("--data is for the people of --people: give both")


def play(settings: Settings, folder: Path, quiet: bool) -> tuple[Ending, list[str]]:
    """Deal the ratings, run the nodes under a live view; (ending, what the listener likes)."""
    import trio

    from openfl_cli.demo.deal import deal
    from openfl_cli.demo.polling import Demo
    from openfl_cli.demo.stage import make_homes, pictures
    from openfl_cli.sample import sample_folder

    homes = make_homes(folder, settings.nodes)
    shards = deal(sample_folder(), homes, settings.seed)
    with pictures(quiet, lambda view: view, ProgressLines()) as on_picture:
        ending = trio.run(Demo(settings, homes, shards, on_picture).run)
    return ending, favourites(homes[0], shards[0].keenest)


def close(settings: Settings, ending: Ending, favourites: list[str], as_json: bool) -> int:
    """Print the outcome. LearningError when the nodes did not really learn together."""
    from openfl_cli.demo.outcome import as_json as outcome_json
    from openfl_cli.demo.outcome import problems
    from openfl_cli.demo.picture import closing_table
    from openfl_cli.recommendations import RecommendationTable

    failures = problems(ending.results, settings.nodes, settings.rounds)
    if as_json:
        options.print_json(
            outcome_json(ending.results, ending.recommendations, ending.seconds, failures)
        )
    else:
        console = options.stdout_console()
        console.print(closing_table(ending.results))
        console.print()
        if ending.recommendations is not None:
            if favourites:
                user = ending.recommendations["user"]
                console.print(f"Listener {user} of node-1 liked {clean('; '.join(favourites))}.")
            console.print(RecommendationTable(ending.recommendations))
            console.print()
        if not failures:
            console.print(
                f"Together was better than alone at every node, after {ending.seconds:.0f} s."
            )
    if failures:
        raise LearningError("; ".join(failures))
    return exit_codes.SUCCESS


class ProgressLines:
    """Without a terminal: where all nodes are, when that has changed, at most once a second."""

    def __init__(self) -> None:
        self._last = ""
        self._next_seconds = 0.0

    def __call__(self, view: DemoView) -> None:
        """Print a line, or nothing when it is too soon or says nothing new."""
        from openfl_cli.text import metric_value

        shots = [row.snapshot for row in view.rows]
        rounds = " ".join("-" if shot is None else f"{shot.round}" for shot in shots)
        if rounds == self._last or view.seconds < self._next_seconds:
            return
        self._last, self._next_seconds = rounds, view.seconds + PROGRESS_SECONDS
        together = " ".join(metric_value(shot.validation if shot else None) for shot in shots)
        print(
            f"{view.seconds:5.1f} s  rounds {rounds} of {view.rounds}  held-out RMSE {together}",
            flush=True,
        )


def favourites(home: Path, user: str, count: int = 3) -> list[str]:
    """Titles of what `user` rated best, from the files dealt to `home`."""
    import csv

    with (home / "songs.csv").open(newline="", encoding="utf-8") as file:
        titles = {row["song_id"]: row["title"] for row in csv.DictReader(file)}
    with (home / "ratings.csv").open(newline="", encoding="utf-8") as file:
        rated = [row for row in csv.DictReader(file) if row["user_id"] == user]
    rated.sort(key=lambda row: -float(row["rating"]))
    return [titles.get(row["song_id"], row["song_id"]) for row in rated[:count]]
