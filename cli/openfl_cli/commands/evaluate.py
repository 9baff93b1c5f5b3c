"""`openfl-node evaluate`: how good a model is, by everything that is measured."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.learning.evaluation import ModelReport, TaskReport

NAME = "evaluate"
HELP = "how good a model is: RMSE, NDCG@10, recall@10, coverage"
DESCRIPTION = """\
Measure a saved model on what is held out of a data file (data.test_fraction of each user's ratings;
the split is the one that nodes use). Every user is fitted to the model from their other ratings,
and all songs that the model knows are ranked for them. The rating head is also judged by the RMSE
of the ratings it predicts. A model that recommends no songs is measured by what its task tells of
each round. Needs no running node."""
EXAMPLES = """\
  openfl-node evaluate --data ratings.csv                    the model of this home folder
  openfl-node evaluate --data ratings.csv --model jazz.safetensors
  openfl-node evaluate --data plays.csv --json | jq .ndcg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="FILE", help="ratings or plays (default: what the node last ran with)"
    )
    options.add_model(parser)
    options.add_config(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import lazy_imports

    lazy_imports.set_up()
    from openfl.app import offline

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home, {"data.ratings_file": arguments.data})
    report = offline.evaluate_saved(config, home, arguments.model)
    if arguments.json:
        options.print_json(report.to_plain())
    else:
        from openfl.learning.evaluation import TaskReport

        for line in task_lines(report) if isinstance(report, TaskReport) else lines(report):
            print(line)
    return exit_codes.SUCCESS


def lines(report: ModelReport) -> list[str]:
    """What a person reads of a model that recommends."""
    from openfl.config.kinds import KINDS
    from openfl_cli.text import clean, count_of

    things = KINDS[report.head].example
    text = [
        f"group {clean(report.group, 64)} ({report.group_id[:8]}), head {report.head}",
        f"{count_of(report.held_out, f'held-out {things}')} of {count_of(report.users, 'user')},"
        f" {count_of(report.songs, 'song')} in the model",
    ]
    if report.unknown_songs:
        text.append(
            f"{count_of(report.unknown_songs, 'held-out song')} unknown to the model: missed"
        )
    if report.rmse is not None:
        text.append(f"RMSE       {report.rmse:.4f}{_error(report.rmse_error)}")
    text.append(f"NDCG@{report.top}    {report.ndcg:.4f}{_error(report.ndcg_error)}")
    text.append(f"recall@{report.top}  {report.recall:.4f}")
    text.append(f"coverage   {100 * report.coverage:.1f} % of the songs are in somebody's list")
    return text


def task_lines(report: TaskReport) -> list[str]:
    """What a person reads of any other model."""
    from openfl.config.kinds import KINDS
    from openfl_cli.text import clean, count_of

    example = KINDS[report.task].example
    return [
        f"group {clean(report.group, 64)} ({report.group_id[:8]}), learns {clean(report.task, 64)}",
        f"{count_of(report.held_out, f'held-out {example}')}",
        f"{clean(report.metric, 32)} {report.value:.4f}{_error(report.error)}",
    ]


def _error(error: float | None) -> str:
    return "" if error is None else f" +- {error:.4f}"
