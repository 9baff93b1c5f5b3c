"""`openfl-node network-key`: make the key of a private network."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from openfl.core.errors import StateError
from openfl_cli import exit_codes, options

NAME = "network-key"
HELP = "make the key of a private network"
DESCRIPTION = """\
Write a new pre-shared key to FILE, readable by you only. Give a copy to every node of your private
network and name it there with network.psk_file: nodes without it cannot connect, and learn not even
which protocols are spoken. The format is the usual swarm.key of libp2p."""
EXAMPLES = """\
  openfl-node network-key swarm.key
  openfl-node start --data ratings.csv --set network.psk_file=swarm.key"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="where to write it")


def run(arguments: argparse.Namespace) -> int:
    from openfl.network.libp2p.private_network import generate_network_key

    path = arguments.file.expanduser()
    try:
        # Never over an existing key: nodes that have a copy of it would be locked out.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(generate_network_key())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise StateError(f"{path} exists already; remove it first if no node uses it") from None
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror or error}") from error
    options.note(f"wrote {path}; give each node a copy and set network.psk_file there")
    return exit_codes.SUCCESS
