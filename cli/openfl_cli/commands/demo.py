"""`openfl-node demo`: several real nodes on this machine, learning together before your eyes."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from openfl.core.errors import LearningError, UsageError
from openfl_cli import exit_codes, options
from openfl_cli.text import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from openfl_cli.demo.communities import CommunityView
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

With --communities: nine nodes of three communities of taste are put into three groups at random
(two of one community and a stranger in each), learn there, and are then let go. Each looks for the
group that serves its own data best; in the end every community has a group of its own, and every
node predicts better than before."""
EXAMPLES = """\
  openfl-node demo
  openfl-node demo --nodes 8 --rounds 20
  openfl-node demo --keep          keep the nodes' folders, to look around in them
  openfl-node demo --json
  openfl-node demo --communities --plot map.png"""


def node_count(text: str) -> int:
    """argparse type: from 2 to 16, which one machine runs with ease."""
    count = options.positive(text)
    if not 2 <= count <= 16:
        raise argparse.ArgumentTypeError(f"must be from 2 to 16, got {count}")
    return count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes", type=node_count, metavar="N", help="2 to 16 (default: 4; with --communities 9)"
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
    parser.add_argument("--seed", type=int, metavar="N", help="deals the ratings differently")
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
        "--plot",
        type=Path,
        metavar="FILE",
        help="with --communities: write the group map (png, svg or pdf)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli.demo.children import ChildEnded
    from openfl_cli.demo.polling import Settings

    if arguments.communities:
        return run_communities(arguments)
    if arguments.plot is not None:
        raise UsageError("--plot draws the map of --communities: give both")
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


def run_communities(arguments: argparse.Namespace) -> int:
    """`--communities`. LearningError when the nodes did not sort themselves out."""
    import trio

    from openfl_cli.demo import communities as show
    from openfl_cli.demo.children import ChildEnded
    from openfl_cli.demo.community_picture import CommunityPicture, closing_table, group_map, plot
    from openfl_cli.demo.tastes import write_communities
    from openfl_cli.sample import sample_folder

    if arguments.plot is not None:
        from openfl_cli.simulation.plot import check

        check(arguments.plot)
    usual = show.CommunitySettings()
    settings = show.CommunitySettings(
        nodes=arguments.nodes or usual.nodes,
        first_rounds=arguments.rounds or usual.first_rounds,
        interval_seconds=arguments.interval,
        seed=usual.seed if arguments.seed is None else arguments.seed,
        timeout_seconds=arguments.timeout or usual.timeout_seconds,
    )
    if settings.nodes < 2 * settings.communities:
        raise UsageError(f"--communities needs at least {2 * settings.communities} nodes")
    with demo_folder(arguments.keep) as folder:
        homes = make_homes(folder, settings.nodes)
        shards = write_communities(sample_folder(), homes, settings.communities, settings.seed)
        try:
            with pictures(arguments.json, CommunityPicture, MoveLines()) as on_picture:
                end = trio.run(show.CommunityDemo(settings, homes, shards, on_picture).run)
        except* ChildEnded as group:
            raise told(group) from None
    failures = show.problems(end, settings.communities)
    if arguments.plot is not None:
        plot(arguments.plot, end)
    if arguments.json:
        options.print_json(show.as_json(end, failures))
    else:
        console = options.stdout_console()
        console.print(closing_table(end))
        console.print()
        tastes = [shard.community for shard in shards]
        for title, groups in (("before", end.first_groups), ("after", end.groups)):
            console.print(
                f"who was in which group {title} (purity {show.purity(tastes, groups):.2f}):"
            )
            console.print(group_map(tastes, groups))
            console.print()
        if not failures:
            console.print(
                f"Every community has found its group, {end.sorted_seconds:.0f} s after the nodes"
                f" were let go ({end.seconds:.0f} s in all); every node is better than before."
            )
    if arguments.plot is not None:
        options.note(f"the group map is in {arguments.plot}")
    if failures:
        raise LearningError("; ".join(failures))
    return exit_codes.SUCCESS


class MoveLines:
    """Without a terminal: a line for each move."""

    def __init__(self) -> None:
        self._told: set[tuple[int, float]] = set()

    def __call__(self, view: CommunityView) -> None:
        """Print the moves in `view` that were not printed yet."""
        for number, event in view.events:
            if (number, event.time) not in self._told and event.kind == "switched":
                self._told.add((number, event.time))
                print(
                    f"{view.seconds:5.1f} s  node-{number + 1} {clean(event.message)}", flush=True
                )


def play(settings: Settings, folder: Path, quiet: bool) -> tuple[Ending, list[str]]:
    """Deal the ratings, run the nodes under a live view; (ending, what the listener likes)."""
    import trio

    from openfl_cli.demo.deal import deal
    from openfl_cli.demo.polling import Demo
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


def make_homes(folder: Path, nodes: int) -> list[Path]:
    """A home for each node, which nobody else can look into."""
    homes = [folder / f"node-{number + 1}" for number in range(nodes)]
    for home in homes:
        home.mkdir(mode=0o700)
    return homes


@contextmanager
def pictures(
    quiet: bool, drawn: Callable[[V], RenderableType], lines: Callable[[V], None]
) -> Iterator[Callable[[V], None]]:
    """Where a demo's views go: `drawn` on the terminal, else to `lines`, or nowhere."""
    from openfl_cli.terminal import Keyboard, in_foreground

    if quiet:
        yield lambda view: None
    elif in_foreground():
        from rich.live import Live

        with (
            Keyboard() as keyboard,
            Live(
                console=options.stdout_console(),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            ) as live,
        ):
            keyboard.silence()
            yield lambda view: live.update(drawn(view), refresh=True)
    else:
        yield lines


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


def told(group: BaseExceptionGroup[BaseException]) -> LearningError:
    """The first node that ended early, after its last lines were shown on stderr."""
    from openfl_cli.demo.children import ChildEnded

    ended: BaseException = group
    while isinstance(ended, BaseExceptionGroup):
        ended = ended.exceptions[0]
    assert isinstance(ended, ChildEnded)
    for line in ended.child.lines:
        print(f"{ended.child.name} | {clean(line)}", file=sys.stderr)
    return ended
