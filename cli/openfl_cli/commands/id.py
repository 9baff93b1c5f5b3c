"""`openfl-node id`: who this node is and where others reach it."""

from __future__ import annotations

import argparse

from openfl.core.errors import NotRunningError, UserError
from openfl_cli import exit_codes, options

NAME = "id"
HELP = "the node's peer id and the addresses to give to others"
DESCRIPTION = """\
Print the node's peer id, and its multiaddrs: give one of them to another node as --bootstrap. The
addresses are those of the running node; when none runs, those it last had, if any."""
EXAMPLES = """\
  openfl-node id
  openfl-node start --home b --data b.csv --bootstrap $(openfl-node id --home a --address)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--address", action="store_true", help="print one address only, to be used as --bootstrap"
    )
    form.add_argument(
        "--fingerprint",
        action="store_true",
        help="print the peer id in a form that is easily compared, and nothing else",
    )
    form.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(arguments: argparse.Namespace) -> int:
    from openfl.app import home_folder
    from openfl.core.fingerprints import fingerprint
    from openfl_cli import ask

    home = options.home_folder(arguments)
    if arguments.fingerprint and (saved := home_folder.peer_id(home)) is not None:
        print(fingerprint(saved))
        return exit_codes.SUCCESS
    try:
        snapshot, running = ask.snapshot(home)
        peer_id, multiaddrs = str(snapshot.peer_id), list(snapshot.multiaddrs)
    except UserError as error:
        saved = home_folder.peer_id(home)
        if saved is None:
            raise NotRunningError(
                f"there is no node in {home} yet (make one with: openfl-node init)"
            ) from error
        peer_id, multiaddrs, running = saved, [], False
        options.note("the node is not running; nobody can reach it now")
    if arguments.address:
        if not multiaddrs:
            raise NotRunningError(f"the node in {home} has no address: it is not running")
        print(multiaddrs[0])
        return exit_codes.SUCCESS
    if arguments.json:
        options.print_json(
            {
                "peer_id": peer_id,
                "multiaddrs": multiaddrs,
                "running": running,
                "fingerprint": fingerprint(peer_id),
            }
        )
        return exit_codes.SUCCESS
    print(peer_id)
    for address in multiaddrs:
        print(address)
    return exit_codes.SUCCESS
