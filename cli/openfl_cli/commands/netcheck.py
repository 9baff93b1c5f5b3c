"""`openfl-node netcheck`: the network as it is seen from here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.app.doctor.netcheck import NetReport

NAME = "netcheck"
HELP = "this machine's addresses, who can reach them, and how far bootstrap nodes are"
DESCRIPTION = """\
Show this machine's addresses and from where each can be reached, what peers say when they try to
dial back (AutoNAT), where they see this node, which relays it uses, and the round trip to each
bootstrap node. Asks the running node; when none runs, a temporary identity listens where the node
would, for some seconds. Nobody is contacted but the bootstrap nodes you configured; the router and
the LAN are asked only with --upnp and --mdns."""
EXAMPLES = """\
  openfl-node netcheck
  openfl-node netcheck --upnp --mdns
  openfl-node netcheck --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW... --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_bootstrap(parser, "a node to check; may be repeated (default: as configured)")
    parser.add_argument("--upnp", action="store_true", help="also ask the router, by UPnP")
    parser.add_argument("--mdns", action="store_true", help="also ask who is on this LAN, by mDNS")
    options.add_config(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    import trio

    from openfl.app.doctor.netcheck import netcheck
    from openfl.config import with_values
    from openfl_cli.commands.doctor import sound_subject

    subject = sound_subject(arguments)
    if arguments.bootstrap:
        from dataclasses import replace

        # Checked by `load_config`, as from every other place.
        given = {"network.bootstrap": tuple(arguments.bootstrap)}
        checked = options.effective_config(arguments, subject.home.root, given)
        values = {"network.bootstrap": checked.network.bootstrap}
        subject = replace(subject, config=with_values(subject.config, values))

    async def check() -> NetReport:
        return await netcheck(subject, upnp=arguments.upnp, mdns=arguments.mdns)

    report = trio.run(check)
    if arguments.json:
        options.print_json(as_json(report))
    else:
        for line in lines(report):
            print(line)
    return exit_codes.SUCCESS


def as_json(report: NetReport) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    return report.to_plain()


def lines(report: NetReport) -> Iterator[str]:
    """For people; addresses stay whole."""
    from openfl_cli.commands.ping import milliseconds
    from openfl_cli.text import clean, count_of, short_peer

    reach = report.reach
    who = "the running node" if report.running else "a temporary identity, for some seconds"
    yield f"asked          {who}"
    yield "addresses"
    for address in report.addresses:
        yield f"  {address.ip:<40} {address.reachable_from}"
    yield f"listening      {', '.join(map(clean, reach.listening)) or 'nowhere'}"
    yield f"dialled back   {_nat(report)}"
    for vote in reach.votes:
        word = "reached this node" if vote.reached else "did not reach it"
        yield f"  {short_peer(vote.peer_id)} {word}"
    for seen in reach.seen:
        where = clean(seen.seen_at) or "(not told)"
        yield f"seen at        {where} by {short_peer(seen.peer_id)}"
    if report.translated is not None:
        word = "yes: peers see another address" if report.translated else "no"
        yield f"translated     {word}"
    yield f"relay          {', '.join(map(clean, reach.circuits)) or 'none in use'}"
    if reach.forwarded:
        yield f"forwarded      {', '.join(map(clean, reach.forwarded))}"
    yield "bootstrap" if report.bootstrap else "bootstrap      none is configured"
    for each in report.bootstrap:
        yield f"  {clean(each.address)}"
        if each.seconds is None:
            yield f"    no answer: {clean(each.problem, 1000)}"
        else:
            way = "relayed" if each.relayed else "direct"
            made = f", connected in {milliseconds(each.connect_seconds)}"
            trip = milliseconds(each.seconds)
            yield f"    {trip}, {way}{made if each.connect_seconds else ''}"
    if report.routers is not None:
        if isinstance(report.routers, str):
            yield f"router (UPnP)  {clean(report.routers, 500)}"
        else:
            yield f"router (UPnP)  {count_of(len(report.routers), 'router')} found"
            for router in report.routers:
                told = f"its outer address is {router.external}" if router.external else ""
                yield f"  {clean(router.url, 300)}  {told or clean(router.problem, 300)}"
    if report.lan is not None:
        if isinstance(report.lan, str):
            yield f"LAN (mDNS)     {clean(report.lan, 500)}"
        else:
            yield f"LAN (mDNS)     {count_of(len(report.lan), 'peer')}"
            for peer in report.lan:
                yield from (f"  {clean(a)}/p2p/{clean(peer.peer_id)}" for a in peer.multiaddrs)


def _nat(report: NetReport) -> str:
    set_by_hand = {"public": "as set: public", "private": "as set: private"}
    if report.reach.mode in set_by_hand:
        return set_by_hand[report.reach.mode]
    return {
        "public": "yes: this node answered at one of its addresses",
        "private": "no: this node could not be reached so",
        "unknown": "not known: no peer has tried yet",
    }[report.nat]
