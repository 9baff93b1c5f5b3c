"""`openfl-node demo`: several real nodes on this machine, learning together before your eyes."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.errors import LearningError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl_cli.demo.picture import DemoView
    from openfl_cli.demo.polling import Ending, Settings

PROGRESS_SECONDS = 1.0
NAME = "demo"
HELP = "see several real nodes on this machine learn together"
DESCRIPTION = """\
Start several real nodes on this machine, each a process of its own with the ratings of its own
listeners (synthetic sample data), and watch them find each other and learn together. They know
nothing but the first node's address. At the end: for each node, how well it predicts ratings it
never saw, alone and together, and what one listener should hear next. Nothing is left behind."""
EXAMPLES = """\
  openfl-node demo
  openfl-node demo --nodes 8 --rounds 20
  openfl-node demo --keep          keep the nodes' folders, to look around in them
  openfl-node demo --json"""


def node_count(text: str) -> int:
    count = options.positive(text)
    if not 2 <= count <= 16:
        raise argparse.ArgumentTypeError(f"must be from 2 to 16, got {count}")
    return count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes", type=node_count, default=4, metavar="N", help="2 to 16 (default: 4)"
    )
    parser.add_argument(
        "--rounds",
        type=options.positive,
        default=12,
        metavar="N",
        help="rounds of learning at each node (default: 12)",
    )
    parser.add_argument(
        "--interval",
        type=options.positive_seconds,
        default=1.0,
        metavar="SECONDS",
        help="seconds between rounds (default: 1)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="deals the ratings differently"
    )
    parser.add_argument(
        "--timeout",
        type=options.positive_seconds,
        metavar="SECONDS",
        help="give up after this long (default: enough for the rounds)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the nodes' home folders afterwards"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.demo.children import ChildEnded
    from openfl_cli.demo.polling import Settings

    settings = Settings(
        nodes=arguments.nodes,
        rounds=arguments.rounds,
        interval_seconds=arguments.interval,
        seed=arguments.seed,
        timeout_seconds=arguments.timeout
        or 60 + 5 * arguments.nodes + 3 * arguments.rounds * arguments.interval,
    )
    with demo_folder(arguments.keep) as folder:
        try:
            ending, titles = play(settings, folder, quiet=arguments.json)
        except* ChildEnded as group:
            raise told(group) from None
    return close(settings, ending, titles, arguments.json)


def play(settings: Settings, folder: Path, quiet: bool) -> tuple[Ending, list[str]]:
    """Deal the ratings, run the nodes under a live view; (ending, what the listener likes)."""
    import trio

    from openfl_cli.demo.deal import deal
    from openfl_cli.demo.polling import Demo
    from openfl_cli.sample import sample_folder

    homes = [folder / f"node-{index + 1}" for index in range(settings.nodes)]
    for home in homes:
        home.mkdir(mode=0o700)
    hands = deal(sample_folder(), homes, settings.seed)
    with pictures(quiet) as on_picture:
        ending = trio.run(Demo(settings, homes, hands, on_picture).run)
    return ending, favourites(homes[0], hands[0].keenest)


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
                console.print(f"Listener {user} of node-1 liked {'; '.join(favourites)}.")
            console.print(RecommendationTable(ending.recommendations))
            console.print()
        if not failures:
            console.print(
                f"Together was better than alone at every node, after {ending.seconds:.0f} s."
            )
    if failures:
        raise LearningError("; ".join(failures))
    return exit_codes.SUCCESS


@contextmanager
def demo_folder(keep: bool) -> Iterator[Path]:
    """A new folder for the nodes' homes, gone afterwards unless `keep`."""
    folder = Path(tempfile.mkdtemp(prefix="openfl-demo-"))
    try:
        yield folder
    finally:
        if keep:
            options.note(f"kept the nodes' homes: {folder}/node-1 ...")
            options.note(f"try: openfl-node status --home {folder}/node-1")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pictures(quiet: bool) -> Iterator[Callable[[DemoView], None]]:
    """Where the live view goes: the terminal, else a line whenever a round is done, or nowhere."""
    if quiet:
        yield lambda view: None
    elif sys.stdout.isatty():
        from rich.live import Live

        with Live(
            console=options.stdout_console(),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            yield lambda view: live.update(view, refresh=True)
    else:
        yield ProgressLines()


class ProgressLines:
    """Without a terminal: where all nodes are, when that has changed, at most once a second."""

    def __init__(self) -> None:
        self._last = ""
        self._next_seconds = 0.0

    def __call__(self, view: DemoView) -> None:
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


def told(group: BaseExceptionGroup[BaseException]) -> LearningError:
    """The first node that ended early, after its last lines were shown on stderr."""
    from openfl_cli.demo.children import ChildEnded

    ended = group
    while isinstance(ended, BaseExceptionGroup):
        ended = ended.exceptions[0]  # type: ignore[assignment]
    assert isinstance(ended, ChildEnded)
    for line in ended.child.lines:
        print(f"{ended.child.name} | {line}", file=sys.stderr)
    return ended
