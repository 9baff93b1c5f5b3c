"""`openfl-node simulate`: many nodes in one process, on virtual time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openfl_cli import exit_codes, options
from openfl_cli.text import clean, to_json

if TYPE_CHECKING:
    from openfl.network.base import Sealer
    from openfl.simulation.records import RoundRecord
    from openfl.simulation.run import Outcome, SealerOf
    from openfl.simulation.scenario import Scenario
    from openfl_cli.report.runs import Run

NAME = "simulate"
HELP = "run a scenario of many nodes in one process, on virtual time"
DESCRIPTION = """\
Run a scenario: many nodes in one process, on virtual time, over a network that loses and delays
messages as the scenario says. They learn ratings, plays or labels. Sessions, training, messages and
replicas are the code that real nodes run. The same scenario and seed give the same run. SCENARIO is
one that comes with OpenFL (quick, communities, churn, hostile, lossy and others: --list) or a TOML
file; docs/simulation.md explains them."""
EXAMPLES = """\
  openfl-node simulate quick
  openfl-node simulate churn --seed 7 --plot churn.png
  openfl-node simulate communities --seeds 5 --html communities.html
  openfl-node simulate thousand --json > rounds.jsonl
  openfl-node simulate mine.toml --nodes 64 --rounds 20 --no-wire"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario", metavar="SCENARIO", nargs="?", help="a shipped scenario or a TOML file"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios that are shipped")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the scenario's")
    parser.add_argument(
        "--seeds",
        type=options.positive,
        default=1,
        metavar="N",
        help="run it N times, with one seed after another, and tell mean and spread",
    )
    parser.add_argument(
        "--nodes", type=options.positive, metavar="N", help="instead of the scenario's"
    )
    parser.add_argument(
        "--rounds", type=options.positive, metavar="N", help="instead of the scenario's"
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="set any key of the scenario, for example network.loss=0.1; may be repeated",
    )
    parser.add_argument(
        "--no-wire",
        action="store_true",
        help="decode each message once for all who hear it, instead of at every receiver",
    )
    parser.add_argument(
        "--real-signatures",
        action="store_true",
        help="sign and verify with Ed25519, instead of stand-ins of the same size",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the result into a .png, .svg or .pdf file (needs matplotlib)",
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write a report to look at in a browser: one file, which needs nothing else",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a round, and one at the end"
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl.core.errors import UsageError
    from openfl_cli import scenarios

    if arguments.list:
        return list_scenarios()
    if arguments.scenario is None:
        raise UsageError(f"simulate needs a scenario: a file, or {', '.join(scenarios.shipped())}")

    from openfl.app import lazy_imports

    lazy_imports.set_up()
    from openfl.simulation.scenario_file import load_scenario
    from openfl_cli.report import file
    from openfl_cli.simulation import plot

    scenario = load_scenario(scenarios.find(arguments.scenario), overrides(arguments))
    if arguments.plot is not None:
        if arguments.seeds > 1:
            raise UsageError("--plot draws one run: leave --seeds out, or use --html instead")
        plot.check(arguments.plot)
    if arguments.html is not None:
        file.check(arguments.html)
    runs = [run_one(arguments, scenario, number) for number in range(arguments.seeds)]
    if arguments.seeds > 1:
        tell_seeds(arguments, runs)
    if arguments.html is not None:
        import time

        from openfl import __version__
        from openfl_cli.report.runs import runs_document

        file.write(arguments.html, runs_document(runs, time.time(), __version__))
    for path in (arguments.plot, arguments.html):
        if path is not None and not arguments.json:
            options.note(f"wrote {path}")
    return exit_codes.SUCCESS


def run_one(arguments: argparse.Namespace, scenario: Scenario, number: int) -> Run:
    """Run the scenario with the seed of that number, from 0, and print how it went."""
    from dataclasses import replace

    from openfl.simulation.run import load_population, simulate
    from openfl.simulation.sealing import StandInSealer
    from openfl_cli.report.runs import Run
    from openfl_cli.sample import sample_folder
    from openfl_cli.simulation import plot
    from openfl_cli.simulation.course import ALONE_NODES, course_of
    from openfl_cli.simulation.progress import progress

    scenario = replace(scenario, run=replace(scenario.run, seed=scenario.run.seed + number))
    population = load_population(scenario, sample_folder)
    sealer_of: SealerOf = real_sealer if arguments.real_signatures else StandInSealer
    alone = arguments.html is not None and scenario.run.nodes <= ALONE_NODES
    if arguments.seeds > 1 and not arguments.json:
        options.note(f"seed {scenario.run.seed}, {number + 1} of {arguments.seeds}")
    with progress(scenario.run.rounds, quiet=arguments.json) as show:

        def on_record(record: RoundRecord) -> None:
            show(record)
            if arguments.json:
                print(to_json(record.to_plain()), flush=True)

        outcome = simulate(scenario, population, on_record, sealer_of, alone)
    communities = [population.community_of(node) for node in range(len(population))]
    course = course_of(scenario, outcome, communities)
    if arguments.plot is not None:
        plot.draw(arguments.plot, outcome.summary, outcome.records)
    if arguments.json:
        print(to_json(course))
        print(to_json(outcome.summary.to_plain()), flush=True)
    elif arguments.seeds == 1:
        tell_run(scenario, outcome)
    records = [record.to_plain() for record in outcome.records]
    return Run(scenario.name, records, course, outcome.summary.to_plain())


def tell_run(scenario: Scenario, outcome: Outcome) -> None:
    """The table of one run, and what there is to say about it."""
    from openfl_cli.simulation.table import result_table, sentences

    console = options.stdout_console()
    if scenario.run.description:
        console.print(clean(f"{scenario.name}: {scenario.run.description}", 2000))
    console.print(result_table(outcome.records))
    console.print()
    for sentence in sentences(outcome.summary):
        console.print(sentence)


def tell_seeds(arguments: argparse.Namespace, runs: Sequence[Run]) -> None:
    """How the runs ended, with mean and spread."""
    from openfl_cli.simulation.seeds import seeds_plain, seeds_table, spreads_of

    seeds = [run.summary["seed"] for run in runs]
    spreads = spreads_of([run.records[-1] for run in runs])
    if arguments.json:
        print(to_json(seeds_plain(seeds, spreads)))
        return
    console = options.stdout_console()
    description = runs[0].course["description"]
    if description:
        console.print(clean(f"{runs[0].series}: {description}", 2000))
    console.print(seeds_table(seeds, spreads))


def overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """What the command line sets, by key of the scenario; texts of `--set` are read as TOML."""
    given: dict[str, object] = {
        key: toml_value(text) for key, text in options.assignments(arguments.set).items()
    }
    for name in ("seed", "nodes", "rounds"):
        if getattr(arguments, name) is not None:
            given[f"run.{name}"] = getattr(arguments, name)
    if arguments.no_wire:
        given["network.wire"] = "once"
    return given


def toml_value(text: str) -> object:
    """`0.5`, `true`, `12` as TOML reads them; anything else is text."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # TOMLDecodeError, or int()'s own for thousands of digits
        return text


def list_scenarios() -> int:
    """Name and description of each shipped scenario."""
    from openfl.simulation.scenario_file import load_scenario
    from openfl_cli import scenarios

    for name in scenarios.shipped():
        print(f"{name:18} {clean(load_scenario(scenarios.find(name)).run.description, 2000)}")
    return exit_codes.SUCCESS


def real_sealer(seed: int, number: int) -> Sealer:
    """Ed25519 identities that follow from the seed."""
    import hashlib

    from openfl.network.libp2p.envelope import Libp2pSealer, identity_from_seed

    secret = hashlib.sha256(f"openfl/simulated/{seed}/{number}".encode()).digest()
    return Libp2pSealer(identity_from_seed(secret))
