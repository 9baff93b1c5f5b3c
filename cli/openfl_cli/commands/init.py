"""`openfl-node init`: a home folder with a configuration and an identity."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from openfl.core.errors import StateError
from openfl_cli import exit_codes, options

NAME = "init"
HELP = "make a home folder: a configuration and an identity"
DESCRIPTION = """\
Make the home folder of a node: config.toml, and identity.key, the private key that identifies the
node (keep it to yourself). On a terminal it asks four questions, and config.toml holds what you
answered; with options, without a terminal or with --full it has every setting in it, explained.
What is already there is kept. You do not need this to begin: `openfl-node start` makes what it
needs; init lets you look and change first."""
EXAMPLES = """\
  openfl-node init
  openfl-node init --data ratings.csv
  openfl-node init --home ~/nodes/jazz --group jazz
  openfl-node init --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW..."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="FILE", help="ratings file to write into config.toml")
    parser.add_argument("--group", metavar="NAME", help="group to write into config.toml")
    options.add_bootstrap(
        parser, "bootstrap node, or HOST:PORT, to write into config.toml; may be repeated"
    )
    parser.add_argument(
        "--full", action="store_true", help="ask nothing, and explain every setting in config.toml"
    )
    parser.add_argument(
        "--force", action="store_true", help="write config.toml anew (the old one becomes .bak)"
    )


def run(arguments: argparse.Namespace) -> int:
    home = options.home_folder(arguments)
    file = home / options.CONFIG_FILE
    kept = file.exists() and not arguments.force
    if kept or not _is_to_ask(arguments):
        text = "" if kept else _full(arguments, home)
        _make(home, file, text)
        print(f"start it with: openfl-node start{options.home_option(home)}")
        return exit_codes.SUCCESS
    from openfl.config.edit import SHORT_HEAD, with_setting
    from openfl_cli import wizard

    try:
        answers = wizard.ask_all(arguments, home)
    except KeyboardInterrupt:
        print()
        options.note("nothing was made")
        raise
    text = SHORT_HEAD
    for key, value in answers.items():
        text = with_setting(text, key, value)
    _make(home, file, text)
    for line in wizard.next_steps(home, answers):
        print(line)
    return exit_codes.SUCCESS


def _is_to_ask(arguments: argparse.Namespace) -> bool:
    given = arguments.data or arguments.group or arguments.bootstrap or arguments.full
    return not given and sys.stdin.isatty() and sys.stdout.isatty()


def _full(arguments: argparse.Namespace, home: Path) -> str:
    """Every setting, explained."""
    from openfl.config import load_config, to_toml
    from openfl_cli.bootstraps import whole_addresses

    overrides = {
        "data.ratings_file": arguments.data,
        "group.name": arguments.group,
        "network.bootstrap": tuple(whole_addresses(arguments, home, remember=False)) or None,
    }
    # The environment is left out: a file should hold what was asked for, not what is set today.
    return to_toml(load_config(None, {"HOME": os.environ.get("HOME", "")}, overrides))


def _make(home: Path, file: Path, text: str) -> None:
    """Home and identity, and `text` in `file` unless that is to be kept (no text)."""
    from openfl.app.home_folder import make_peer_id
    from openfl.core.atomic_files import atomic_write

    peer_id = make_peer_id(home)
    try:
        if not text:
            print(f"kept     {file} (--force writes it anew)")
        else:
            if file.exists():
                file.replace(file.with_suffix(".toml.bak"))
            atomic_write(file, text.encode())
            print(f"wrote    {file}")
    except OSError as error:
        raise StateError(f"cannot write {file}: {error.strerror}") from None
    print(f"peer id  {peer_id}")
