"""`openfl-node invite`: let a peer into the closed group of this node."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from openfl_cli import exit_codes, options

NAME = "invite"
HELP = "invite a peer to the closed group of this node"
DESCRIPTION = """\
Print an invitation to the closed group that this node founded (`openfl-node start --closed`),
signed with this node's identity: send it to whoever is invited, who starts with --invitation FILE.
It is of use to that peer only, and only until it expires; it cannot be taken back before. The node
need not be running."""
EXAMPLES = """\
  openfl-node invite 12D3KooW... > ann.invitation
  openfl-node start --data ann.csv --bootstrap ADDRESS --invitation ann.invitation"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "peer", metavar="PEER_ID", help="the guest: what openfl-node id prints there"
    )
    parser.add_argument(
        "--days",
        type=options.positive,
        default=90,
        metavar="N",
        help="how long it is valid (default: 90)",
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import home_folder

    home = options.home_folder(arguments)
    invited = home_folder.invite(home, arguments.peer, time.time(), arguments.days)
    day = datetime.fromtimestamp(min(invited.expires_at, 2**33), UTC).date()
    print(invited.text, end="")
    options.note(f"{invited.guest} may join group {invited.group_name} until {day}")
    return exit_codes.SUCCESS
