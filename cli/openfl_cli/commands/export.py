"""`openfl-node export`: the model as a file for others."""

from __future__ import annotations

import argparse
from pathlib import Path

from openfl_cli import exit_codes, options
from openfl_cli.model_report import report

NAME = "export"
HELP = "write the model to a file, with the names of its songs"
DESCRIPTION = """\
Write the model that this node last saved to a safetensors file, together with the ids and titles
of its songs as far as your ratings and catalogue know them. It holds what the group has learned,
and no ratings. A running node saves its model as it learns; it need not be stopped."""
EXAMPLES = """\
  openfl-node export jazz.safetensors
  openfl-node export jazz.safetensors --force --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="where to write it")
    parser.add_argument("--force", action="store_true", help="replace FILE when it exists")
    options.add_config(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import lazy_imports

    lazy_imports.set_up()
    from openfl.app import offline

    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home)
    report(offline.export_model(config, home, arguments.file, arguments.force), arguments.json)
    return exit_codes.SUCCESS
