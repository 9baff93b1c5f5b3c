"""`openfl-node bootstrap`: the addresses a node joins through."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from openfl.core.errors import NotRunningError, UsageError
from openfl_cli import exit_codes, options
from openfl_cli.text import clean

NAME = "bootstrap"
HELP = "the addresses to join through: add, remove, list"
DESCRIPTION = """\
The nodes that this one joins the network through, as config.toml has them (network.bootstrap). Any
one that answers is enough. ADDRESS is a multiaddr, which says where a node is and who it is, or
HOST:PORT: then the node there is asked who it is, and you confirm its fingerprint once."""
EXAMPLES = """\
  openfl-node bootstrap add /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
  openfl-node bootstrap add friend.example.org:4001
  openfl-node bootstrap list --check
  openfl-node bootstrap remove friend.example.org:4001"""
_ADD = "Remember an address to join through."
_REMOVE = "Forget addresses: by the whole address, by HOST:PORT, or all of one peer by its id."
_LIST = """\
List the addresses, and whether the node that runs here is connected to whom they lead to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, text in (("add", _ADD), ("remove", _REMOVE), ("list", _LIST)):
        short = text.partition(".")[0].partition(":")[0].partition(",")[0].lower()
        action = options.add_action(actions, name, short, text, EXAMPLES)
        action.add_argument(
            "--config", metavar="FILE", type=Path, help="the configuration file to use"
        )
        if name == "add":
            action.add_argument("address", metavar="ADDRESS", help="a multiaddr, or HOST:PORT")
            options.add_trust(action)
        elif name == "remove":
            action.add_argument(
                "address", metavar="ADDRESS", help="a multiaddr, HOST:PORT or a peer id"
            )
        else:
            action.add_argument(
                "--check", action="store_true", help="ask at each address who is there, now"
            )
            options.add_json(action)


def run(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "add":
            _add(arguments)
        case "remove":
            _remove(arguments)
        case _:
            _list(arguments)
    return exit_codes.SUCCESS


def _add(arguments: argparse.Namespace) -> None:
    from openfl.app.who_is_there import place_of
    from openfl_cli import bootstraps
    from openfl_cli.config_changes import change

    home = options.home_folder(arguments)
    file = bootstraps.file_to_change(arguments, home)
    there = bootstraps.remembered(file)
    place = place_of(arguments.address)
    if place is not None and (known := place.among(there)) is not None:
        options.note(
            f"{place} is known already, as {known}; if another node is there now, remove it first:"
            f" openfl-node bootstrap remove {place}"
        )
        return
    if place is None:
        address = bootstraps.require_whole(arguments.address)
    else:
        address = bootstraps.confirmed(place, arguments, home)
    if address in there:
        options.note("that address is there already")
        return
    change(home, file, {bootstraps.KEY: (*there, address)}, told=False)
    print(f"added    {address}")


def _remove(arguments: argparse.Namespace) -> None:
    from openfl.app.who_is_there import place_of
    from openfl_cli import bootstraps
    from openfl_cli.config_changes import change

    home = options.home_folder(arguments)
    file = bootstraps.file_to_change(arguments, home)
    there = bootstraps.remembered(file)
    place = place_of(arguments.address)
    gone = [
        each
        for each in there
        if each == arguments.address
        or each.endswith(f"/p2p/{arguments.address}")
        or (place is not None and each.startswith(f"{place.address}/p2p/"))
    ]
    if not gone:
        raise UsageError(
            f"{clean(arguments.address)}: no such address in {file}"
            " (`openfl-node bootstrap list` lists them)"
        )
    left = tuple(each for each in there if each not in gone)
    change(home, file, {bootstraps.KEY: left or None}, told=False)
    for each in gone:
        print(f"removed  {each}")


def _list(arguments: argparse.Namespace) -> None:
    home = options.home_folder(arguments)
    config = options.effective_config(arguments, home)
    addresses = config.network.bootstrap
    origin = config.origin("network.bootstrap")
    if origin.kind == "environment":
        options.note(f"these are of {origin.where}, which wins over the file")
    connected = _connected(home)
    rows: list[dict[str, Any]] = [
        {
            "address": each,
            "connected": None if connected is None else each.rpartition("/p2p/")[2] in connected,
            "answers": None,
            "problem": "",
        }
        for each in addresses
    ]
    if arguments.check and addresses:
        from openfl.app import runtime
        from openfl.app.who_is_there import ask_each

        for row, answer in zip(rows, ask_each(addresses, runtime.load_key_of(config)), strict=True):
            row["answers"] = None if answer.problem is None else not answer.problem
            row["problem"] = answer.problem or ""
    if arguments.json:
        options.print_json(rows)
        return
    if not rows:
        print("no address is set: the node is the first of a network, or joins through peers that")
        print("it remembers (add one with: openfl-node bootstrap add ADDRESS)")
    elif connected is None and not arguments.check:
        options.note("the node does not run; --check asks at each address who is there")
    for row in rows:
        print(f"{_state(row):<15}{clean(row['address'])}")
        if row["problem"]:
            print(f"{'':<15}{clean(row['problem'])}")


def _state(row: dict[str, Any]) -> str:
    if row["answers"] is not None:
        return "answers" if row["answers"] else "no answer"
    if row["connected"] is None:
        return "-"
    return "connected" if row["connected"] else "not connected"


def _connected(home: Path) -> set[str] | None:
    """The peers that the running node is connected to; None when none runs."""
    from openfl_cli import ask

    try:
        shot = ask.running_snapshot(home)
    except NotRunningError:
        return None
    return {str(peer.peer_id) for peer in shot.peers}
