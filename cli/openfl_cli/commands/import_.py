"""`openfl-node import`: somebody's exported model as the one to recommend from."""

from __future__ import annotations

import argparse
from pathlib import Path

from openfl_cli import exit_codes, options
from openfl_cli.model_report import report

NAME = "import"
HELP = "recommend from a model file when no node runs"
DESCRIPTION = """\
Check a model file (from `export`, or a node's model.safetensors) and make it the model that
`recommend` uses in this home folder while no node runs. Songs it knows by name can then be
recommended without a catalogue. A node started here later learns on from its own state and saves
its group's model over it. A model of another group than this home's is refused without --force."""
EXAMPLES = """\
  openfl-node import jazz.safetensors
  openfl-node import jazz.safetensors --home fresh"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a model file")
    parser.add_argument(
        "--force", action="store_true", help="even when it is of another group than this home's"
    )
    options.add_config(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import lazy_imports

    lazy_imports.set_up()
    from openfl.app import offline

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home)
    report(offline.import_model(config, home, arguments.file, arguments.force), arguments.json)
    return exit_codes.SUCCESS
