"""`openfl-node peers`: the peers the node is connected to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openfl_cli import exit_codes, options
from openfl_cli.text import clean

if TYPE_CHECKING:
    from rich.table import Table

    from openfl.core.telemetry import PeerView

NAME = "peers"
HELP = "the peers the node is connected to"
DESCRIPTION = """\
List the peers this node is connected to, the groups each one takes part in, and whether it is in
our mesh: the few peers that messages of our group are passed on to directly. When the node is not
running, lists the peers it remembers."""
EXAMPLES = """\
  openfl-node peers
  openfl-node start --home b --data b.csv --bootstrap $(openfl-node peers --addresses | head -1)
  openfl-node peers --json | jq -r '.[].peer_id'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--addresses",
        action="store_true",
        help="print whole addresses only, one a line, each to be used as --bootstrap",
    )
    options.add_json(form)


def run(arguments: argparse.Namespace) -> int:
    from openfl_cli import ask

    home = options.home_folder(arguments)
    snapshot, _ = ask.snapshot(home)
    if arguments.json:
        options.print_json(as_json(snapshot.peers))
        return exit_codes.SUCCESS
    if arguments.addresses:
        for peer in snapshot.peers:
            for address in whole_addresses(peer):
                print(clean(address, 1000))
        return exit_codes.SUCCESS
    if not snapshot.peers:
        print("no peers")
        return exit_codes.SUCCESS
    options.stdout_console().print(as_table(snapshot.peers))
    return exit_codes.SUCCESS


def as_json(peers: Sequence[PeerView]) -> list[dict[str, Any]]:
    """The shape that docs/cli.md promises."""
    return [
        {
            "peer_id": peer.peer_id,
            "multiaddrs": list(peer.multiaddrs),
            "addresses": whole_addresses(peer),
            "groups": list(peer.groups),
            "in_mesh": peer.in_mesh,
            "relayed": peer.relayed,
        }
        for peer in peers
    ]


def whole_addresses(peer: PeerView) -> list[str]:
    """The peer's multiaddrs with its id at the end, as `--bootstrap` takes them."""
    end = f"/p2p/{peer.peer_id}"
    return [a if a.endswith(end) else f"{a}{end}" for a in peer.multiaddrs]


def as_table(peers: Sequence[PeerView]) -> Table:
    """Full peer ids and addresses: people copy them from here."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("peer", "mesh", "groups", "addresses"):
        table.add_column(name, overflow="fold", no_wrap=name in ("peer", "mesh"))
    for peer in sorted(peers, key=lambda peer: (not peer.in_mesh, peer.peer_id)):
        table.add_row(
            clean(peer.peer_id),
            "yes" if peer.in_mesh else "no",
            clean(", ".join(peer.groups)) or "-",
            "\n".join(clean(_short(a)) for a in peer.multiaddrs if peer.relayed or not _over(a))
            or "-",
        )
    return table


def _short(address: str) -> str:
    """The address without peer ids; of a peer behind a router, that of the relay."""
    direct = address.partition("/p2p/")[0]
    return f"{direct} (relay)" if _over(address) else direct


def _over(address: str) -> bool:
    return "/p2p-circuit" in address
