"""`openfl-node invite`: let a peer into the closed group of this node."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from openfl.core.errors import DecodeError, GroupError, UsageError
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
    parser.add_argument("peer", metavar="PEER_ID", help="whom: what openfl-node id prints there")
    parser.add_argument(
        "--days",
        type=options.positive,
        default=90,
        metavar="N",
        help="how long it is valid (default: 90)",
    )


def run(arguments: argparse.Namespace) -> int:
    from openfl.core.contribution import PeerId
    from openfl.network.libp2p.envelope import Libp2pSealer, load_or_create_identity
    from openfl.storage.home import Home
    from openfl.storage.invitations import invite
    from openfl.storage.last_run import current_charter

    place = Home(options.home_folder(arguments))
    charter = current_charter(place)
    if charter is None or not place.identity_file.exists():
        raise GroupError(f"the node in {place.root} is in no group yet: start it with --closed")
    sealer = Libp2pSealer(load_or_create_identity(place.identity_file))
    guest = PeerId(arguments.peer)
    try:
        text, invitation = invite(charter, sealer, guest, time.time(), arguments.days)
    except DecodeError as error:
        raise UsageError(f"{arguments.peer!r} is not a peer id (12D3KooW...)") from error
    day = datetime.fromtimestamp(min(invitation.expires_at, 2**33), UTC).date()
    print(text, end="")
    options.note(f"{guest} may join group {charter.name} until {day}")
    return exit_codes.SUCCESS
