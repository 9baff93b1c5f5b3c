"""`openfl-node init`: a home folder with a commented configuration and an identity."""

from __future__ import annotations

import argparse
import os

from openfl.core.errors import StateError
from openfl_cli import exit_codes, options

NAME = "init"
HELP = "make a home folder: a commented configuration and an identity"
DESCRIPTION = """\
Make the home folder of a node: config.toml, in which every setting is explained, and identity.key,
the private key that identifies the node (keep it to yourself). What is already there is kept. You
do not need this to begin: `openfl-node start` makes what it needs; init lets you look and change
first."""
EXAMPLES = """\
  openfl-node init --data ratings.csv
  openfl-node init --home ~/nodes/jazz --group jazz
  openfl-node init --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW..."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="FILE", help="ratings file to write into config.toml")
    parser.add_argument("--group", metavar="NAME", help="group to write into config.toml")
    options.add_bootstrap(parser, "bootstrap node to write into config.toml; may be repeated")
    parser.add_argument(
        "--force", action="store_true", help="write config.toml anew (the old one becomes .bak)"
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.home_folder import make_peer_id
    from openfl.config import load_config, to_toml
    from openfl.core.atomic_files import atomic_write

    home = options.home_folder(arguments)
    overrides = {
        "data.ratings_file": arguments.data,
        "group.name": arguments.group,
        "network.bootstrap": tuple(arguments.bootstrap) or None,
    }
    # The environment is left out: a file should hold what was asked for, not what is set today.
    text = to_toml(load_config(None, {"HOME": os.environ.get("HOME", "")}, overrides))
    file = home / options.CONFIG_FILE
    peer_id = make_peer_id(home)
    try:
        if file.exists() and not arguments.force:
            print(f"kept     {file} (--force writes it anew)")
        else:
            if file.exists():
                file.replace(file.with_suffix(".toml.bak"))
            atomic_write(file, text.encode())
            print(f"wrote    {file}")
    except OSError as error:
        raise StateError(f"cannot write {file}: {error.strerror}") from None
    print(f"peer id  {peer_id}")
    print(f"start it with: openfl-node start{options.home_option(home)}")
    return exit_codes.SUCCESS
