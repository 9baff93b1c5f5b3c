"""Runs `demo --communities` and `demo --people`, from the options to the exit code."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from openfl.core.errors import LearningError, UsageError
from openfl_cli import exit_codes, options
from openfl_cli.demo import communities, people
from openfl_cli.demo.acts_outcome import as_json, comparison_lines
from openfl_cli.demo.children import ChildEnded
from openfl_cli.demo.references import Reference, references
from openfl_cli.demo.stage import demo_folder, make_homes, pictures, told
from openfl_cli.demo.tastes import NO_TASTE, write_communities
from openfl_cli.demo.two_acts import ActsEnd, ActSettings, ActView, TwoActs, random_groups
from openfl_cli.demo.two_acts_picture import ActPicture, closing_table, group_map, plot
from openfl_cli.sample import sample_folder
from openfl_cli.text import clean


def run_communities(arguments: argparse.Namespace) -> int:
    """`--communities`. LearningError when the nodes did not sort themselves out."""
    check_files(arguments)
    settings = settings_of(communities.USUAL, arguments)
    count = communities.COMMUNITIES
    if settings.nodes < 2 * count:
        raise UsageError(f"--communities needs at least {2 * count} nodes")
    tastes = [number % count for number in range(settings.nodes)]
    with demo_folder(arguments.keep) as folder:
        homes = make_homes(folder, settings.nodes)
        shards = write_communities(sample_folder(), homes, count, settings.seed)
        first_groups = random_groups(settings.nodes, settings.groups, settings.seed)
        found = references(homes, settings.node_settings, first_groups, tastes)
        may_end = partial(communities.may_end, tastes, found)
        acts = partial(TwoActs, settings, homes, shards, first_groups, may_end=may_end)
        began = time.time()
        end = _play(acts, arguments.json)
        if arguments.html is not None:
            write_report(arguments.html, "Demo of communities", homes, end, began)
    first, last = (communities.purity(tastes, g) for g in (end.first_groups, end.groups))
    failures = communities.problems(end, found)
    plain = {**as_json(end, found, failures), "purity": last}
    if not arguments.json:
        _print_end(end, found, f" (purity {first:.2f})", f" (purity {last:.2f})")
    return _close(arguments, end, failures, plain, lambda: communities.verdict(end))


def run_people(arguments: argparse.Namespace) -> int:
    """`--people`. LearningError when switching did not serve them."""
    check_files(arguments)
    settings = settings_of(people.USUAL, arguments)
    file = arguments.data or sample_folder() / "ratings.csv"
    with demo_folder(arguments.keep) as folder:
        homes = make_homes(folder, settings.nodes)
        shards, scale = people.write_people(file, homes, settings.seed)
        scaled = (*settings.node_settings, f"data.rating_scale={scale}")
        settings = replace(settings, node_settings=scaled)
        first_groups = random_groups(settings.nodes, settings.groups, settings.seed)
        found = references(homes, settings.node_settings, first_groups)
        acts = partial(TwoActs, settings, homes, shards, first_groups)
        began = time.time()
        end = _play(acts, arguments.json)
        if arguments.html is not None:
            write_report(arguments.html, "Demo of people", homes, end, began)
    failures = people.problems(end, found)
    plain = as_json(end, found, failures)
    if not arguments.json:
        _print_end(end, found)
    return _close(arguments, end, failures, plain, lambda: people.verdict(end, found))


def settings_of(usual: ActSettings, arguments: argparse.Namespace) -> ActSettings:
    """The usual ones, and what the options say."""
    seed = usual.seed if arguments.seed is None else arguments.seed
    return replace(
        usual,
        nodes=arguments.nodes or usual.nodes,
        first_rounds=arguments.rounds or usual.first_rounds,
        interval_seconds=arguments.interval,
        seed=seed,
        node_settings=(f"data.split_seed={seed}", *usual.node_settings),
        timeout_seconds=arguments.timeout or 0.0,
    )


def check_files(arguments: argparse.Namespace) -> None:
    """UsageError when the map cannot be drawn or the report cannot be written; to be asked before
    the nodes are started."""
    if arguments.plot is not None:
        from openfl_cli.simulation import plot as picture

        picture.check(arguments.plot)
    if arguments.html is not None:
        from openfl_cli.report import file

        file.check(arguments.html)


def write_report(path: Path, title: str, homes: Sequence[Path], end: ActsEnd, began: float) -> None:
    """What the nodes kept of their courses, as a page. began: the demo, in unix seconds.
    LearningError when no node has done a round."""
    from openfl import __version__
    from openfl.app.offline import offline_course
    from openfl_cli.report import file
    from openfl_cli.report.nodes import About, Seen, nodes_document

    nodes = [
        Seen(
            f"node-{number + 1}",
            offline_course(home),
            None if shard.community == NO_TASTE else shard.community,
        )
        for number, (home, shard) in enumerate(zip(homes, end.shards, strict=True))
    ]
    about = About(
        title=title,
        description="real nodes on one machine, put into groups by chance, then let go",
        metric="rmse",
        events=((began + end.let_go_seconds, "let go"),),
    )
    try:
        document = nodes_document(about, nodes, time.time(), __version__)
    except ValueError as error:
        raise LearningError(f"{path} is not written: {error}") from None
    file.write(path, document)


def _play(acts: Callable[[Callable[[ActView], None]], TwoActs], quiet: bool) -> ActsEnd:
    """Run the nodes under a live view."""
    try:
        with pictures(quiet, ActPicture, MoveLines()) as on_picture:
            return trio.run(acts(on_picture).run)
    except* ChildEnded as group:
        raise told(group) from None


def _print_end(
    end: ActsEnd, found: Sequence[Reference], of_first: str = "", of_last: str = ""
) -> None:
    console = options.stdout_console()
    console.print(closing_table(end, found))
    console.print()
    tastes = [shard.community for shard in end.shards]
    for title, groups in ((f"before{of_first}", end.first_groups), (f"after{of_last}", end.groups)):
        console.print(f"who was in which group {title}:")
        console.print(group_map(tastes, groups))
        console.print()
    for line in comparison_lines(end, found):
        console.print(line)
    console.print()


def _close(
    arguments: argparse.Namespace,
    end: ActsEnd,
    failures: Sequence[str],
    plain: dict[str, Any],
    verdict: Callable[[], str],
) -> int:
    """The last line, or the JSON. LearningError with the problems when there are any."""
    if arguments.plot is not None:
        plot(arguments.plot, end)
    if arguments.json:
        options.print_json(plain)
    elif not failures:
        options.stdout_console().print(verdict(), soft_wrap=True)
    if arguments.plot is not None:
        options.note(f"the group map is in {arguments.plot}")
    if arguments.html is not None:
        options.note(f"wrote {arguments.html}")
    if failures:
        raise LearningError("; ".join(failures))
    return exit_codes.SUCCESS


class MoveLines:
    """Without a terminal: a line for each move."""

    def __init__(self) -> None:
        self._told: set[tuple[int, float]] = set()

    def __call__(self, view: ActView) -> None:
        """Print the moves in `view` that were not printed yet."""
        for number, event in view.events:
            if (number, event.time) not in self._told and event.kind == "switched":
                self._told.add((number, event.time))
                print(
                    f"{view.seconds:5.1f} s  node-{number + 1} {clean(event.message)}", flush=True
                )
