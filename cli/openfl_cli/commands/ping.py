"""`openfl-node ping`: how long a round trip to a peer takes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NetworkError, NotRunningError
from openfl_cli import exit_codes, options

if TYPE_CHECKING:
    from openfl.app.doctor.pinging import RoundTrip

NAME = "ping"
HELP = "how long a round trip to a peer takes"
DESCRIPTION = """\
Send pings to a peer and show how long each round trip takes, and whether it goes over a relay. PEER
is a multiaddr, a peer id, or the end of one as the live view shows it. The running node pings over
the connection that it has, or makes one; when none runs, a temporary identity connects. Exit code 5
when there was no answer at all."""
EXAMPLES = """\
  openfl-node ping QcTP6Q
  openfl-node ping /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW... -c 3
  openfl-node ping 12D3KooW... --json | jq .average_seconds"""
ANSWER_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peer", metavar="PEER", help="multiaddr, peer id, or the end of one")
    parser.add_argument(
        "-c",
        "--count",
        type=options.positive,
        default=4,
        metavar="N",
        help="how many pings (default: 4)",
    )
    parser.add_argument(
        "--interval",
        type=options.positive_seconds,
        default=1.0,
        metavar="SECONDS",
        help="time between two pings (default: 1)",
    )
    options.add_config(parser)
    options.add_json(parser)


class _Told:
    """What came of each ping; shown as it comes, unless as JSON at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.trips: list[RoundTrip] = []
        self.problems: list[str] = []

    def __call__(self, came: RoundTrip | NetworkError) -> None:
        from openfl_cli.text import clean

        number = len(self.trips) + len(self.problems) + 1
        if isinstance(came, NetworkError):
            self.problems.append(str(came))
            line = f"{number:>3}  {clean(str(came), 2000)}"
        else:
            self.trips.append(came)
            way = "relayed" if came.relayed else "direct"
            line = f"{number:>3}  {milliseconds(came.seconds):>10}  {way}"
            if number == 1 or came.connect_seconds:
                made = milliseconds(came.connect_seconds)
                line += f"  {clean(came.address)}" if came.address else ""
                line += f"  (connected in {made})" if came.connect_seconds else ""
        if not self._as_json:
            print(line, flush=True)


def run(arguments: argparse.Namespace) -> int:
    home = options.home_folder(arguments)
    told = _Told(arguments.json)
    try:
        _by_the_node(home, arguments, told)
    except NotRunningError:
        if told.trips or told.problems:
            raise  # it has stopped meanwhile
        _from_here(arguments, told)
    if arguments.json:
        options.print_json(as_json(told.trips, told.problems))
    else:
        print(summary(told.trips, len(told.trips) + len(told.problems)))
    return exit_codes.SUCCESS if told.trips else exit_codes.NETWORK


def _by_the_node(home: Path, arguments: argparse.Namespace, told: _Told) -> None:
    from openfl_cli import ask

    for number in range(arguments.count):
        if number:
            time.sleep(arguments.interval)
        try:
            plain = ask.running_node(home, "ping", ANSWER_SECONDS, peer=arguments.peer)
        except NetworkError as error:
            told(error)
            continue
        from openfl.app.doctor.pinging import RoundTrip

        told(RoundTrip(**plain))


def _from_here(arguments: argparse.Namespace, told: _Told) -> None:
    import trio

    from openfl.app.doctor.pinging import ping_from_here
    from openfl_cli.commands.doctor import sound_subject

    subject = sound_subject(arguments)
    trio.run(ping_from_here, subject, arguments.peer, arguments.count, arguments.interval, told)


def milliseconds(seconds: float) -> str:
    """`0.42 ms`, `12.3 ms`, `1,204 ms`: three figures are plenty."""
    value = 1000 * seconds
    return (
        f"{value:.2f} ms"
        if value < 10
        else f"{value:,.1f} ms"
        if value < 100
        else f"{value:,.0f} ms"
    )


def summary(trips: Sequence[RoundTrip], sent: int) -> str:
    """The last line: how many answered, and the shortest, mean and longest round trip."""
    answered = f"{len(trips)} of {sent} answered"
    if not trips:
        return answered
    times = [trip.seconds for trip in trips]
    figures = ", ".join(
        f"{word} {milliseconds(value)}"
        for word, value in zip(("min", "avg", "max"), _figures(times), strict=True)
    )
    return f"{answered}; round trip {figures}"


def as_json(trips: Sequence[RoundTrip], problems: Sequence[str]) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    times = [trip.seconds for trip in trips]
    low, mean, high = _figures(times) if times else (None, None, None)
    first = trips[0] if trips else None
    return {
        "peer_id": None if first is None else first.peer_id,
        "address": None if first is None else first.address,
        "relayed": None if first is None else trips[-1].relayed,
        "connect_seconds": None if first is None else first.connect_seconds,
        "sent": len(trips) + len(problems),
        "answered": len(trips),
        "min_seconds": low,
        "average_seconds": mean,
        "max_seconds": high,
        "seconds": times,
        "problems": list(problems),
    }


def _figures(times: Sequence[float]) -> Iterator[float]:
    yield min(times)
    yield sum(times) / len(times)
    yield max(times)
