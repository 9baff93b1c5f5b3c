"""`openfl-node network-key`: make the key of a private network."""

from __future__ import annotations

import argparse
from pathlib import Path

from openfl.core.files import expanded
from openfl_cli import exit_codes, options

NAME = "network-key"
HELP = "make the key of a private network"
DESCRIPTION = """\
Write a new pre-shared key to FILE, readable by you only. Give a copy to every node of your private
network and name it there with network.psk_file: nodes without it cannot connect, or even learn
which protocols are spoken. The format is the usual swarm.key of libp2p."""
EXAMPLES = """\
  openfl-node network-key swarm.key
  openfl-node start --data ratings.csv --set network.psk_file=swarm.key"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="where to write it")


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.home_folder import write_network_key

    path = expanded(arguments.file)
    write_network_key(path)
    options.note(f"wrote {path}; give each node a copy and set network.psk_file there")
    return exit_codes.SUCCESS
