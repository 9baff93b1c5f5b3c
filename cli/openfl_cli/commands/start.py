"""`openfl-node start`: run a node until it is done or stopped."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import DataError, StateError, UsageError
from openfl_cli import collector, exit_codes, last_start, options
from openfl_cli.last_start import LastStart, working_folder
from openfl_cli.output import go_on_without_output
from openfl_cli.own_exports import with_exports

if TYPE_CHECKING:
    from openfl.config import Config
    from openfl.core.telemetry import NodeSnapshot

NAME = "start"
HELP = "run a node: join the network, train, exchange, recommend"
DESCRIPTION = """\
Run the node of this home folder. It finds the group through any one running node (--bootstrap) or
through peers it remembers, trains on your ratings, and exchanges what it learned - never the
ratings. Without a bootstrap node it is the first of a new network and waits for others; with one
that does not answer yet it learns alone, goes on trying, and joins when it answers. Now and then
it tries other groups' models on its own ratings, and moves to a group that predicts them
better (`openfl-node status --why` tells why it is where it is).

On a terminal it shows a live view; without one, or with --no-view, it prints a line for each event.
It ends after --rounds with recommendations, or runs until Ctrl-C or `openfl-node stop`. With
--detach it runs in the background: the command returns as soon as the node listens."""
EXAMPLES = """\
  openfl-node start --data my_spotify_data.zip
  openfl-node start --data ratings.csv
  openfl-node start --data ratings.csv --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
  openfl-node start --home ~/nodes/b --listen /ip4/0.0.0.0/tcp/4001 --rounds 30
  openfl-node start --detach --data ratings.csv
  openfl-node start --no-view --log-format json --set training.when_done=serve"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="PATH",
        action="append",
        default=[],
        help="your ratings or plays: an export as downloaded, a table, or CSV with"
        " user_id,song_id,rating; may be repeated",
    )
    parser.add_argument(
        "--skip-bad-rows", action="store_true", help="leave out rows of PATH that cannot be used"
    )
    options.add_bootstrap(
        parser,
        "any running node's address, or HOST:PORT, to join its network; may be repeated",
    )
    parser.add_argument(
        "--bootstrap-timeout",
        type=options.positive_seconds,
        metavar="SECONDS",
        help="end with exit code 5 when no bootstrap node has answered by then"
        " (default: wait, and learn alone meanwhile)",
    )
    parser.add_argument(
        "--group",
        metavar="NAME",
        help="the group to join (default: the largest that fits, else a new one called music)",
    )
    parser.add_argument(
        "--auto-switch",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="move to whichever group serves your data best (default: on); on frees a pinned node",
    )
    parser.add_argument(
        "--pin", action="store_true", help="stay in this group, in later runs too, whatever happens"
    )
    parser.add_argument(
        "--closed", action="store_true", help="found a group that only those you invite can join"
    )
    parser.add_argument(
        "--invitation",
        metavar="FILE",
        action="append",
        default=[],
        help="an invitation to a closed group, from its founder; may be repeated",
    )
    parser.add_argument(
        "--listen",
        metavar="MULTIADDR",
        action="append",
        default=[],
        help="where to listen, for example /ip4/0.0.0.0/tcp/4001 (default: any free port, kept)",
    )
    parser.add_argument(
        "--host",
        metavar="HOST[:PORT]",
        help="the same in short: an IP address or a name of this machine, and a port, such as"
        " localhost or 192.0.2.7:4001",
    )
    parser.add_argument(
        "--mdns",
        action="store_true",
        help="find nodes on the same LAN, and be found, without any address",
    )
    parser.add_argument(
        "--upnp",
        action="store_true",
        help="ask the router to forward a port to this node (UPnP)",
    )
    parser.add_argument(
        "--relay",
        action="store_true",
        help="let nodes behind routers be reached through this one",
    )
    parser.add_argument(
        "--web",
        metavar="IP:PORT",
        nargs="?",
        const="",
        help="show the node in a browser, too (docs/web.md); its link: openfl-node web",
    )
    parser.add_argument(
        "--http",
        metavar="IP:PORT",
        help="answer music players and scripts there, for example 127.0.0.1:8010 (docs/players.md)",
    )
    parser.add_argument("--http-cert", metavar="FILE", help="certificate for --http, PEM")
    parser.add_argument("--http-key", metavar="FILE", help="private key of the certificate, PEM")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="end after N rounds of learning (0: until stopped)"
    )
    parser.add_argument("--interval", metavar="SECONDS", help="seconds between rounds (default: 2)")
    parser.add_argument("--user", metavar="ID", help="whom to recommend to at the end")
    parser.add_argument("--top", type=options.positive, metavar="N", help="how many songs")
    parser.add_argument("--no-view", action="store_true", help="lines instead of the live view")
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="form of the lines (json: one object a line)"
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="least level of the lines (default: info)",
    )
    parser.add_argument(
        "--leave", action="store_true", help="withdraw our contributions from the group at the end"
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="run in the background, and return once the node listens (logs, stop, restart)",
    )
    options.add_config(parser)
    # Of `restart` and `service`: whether options and configuration are right, and nothing more.
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    # Of `start --detach`: where to write who listens where.
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    # Of `service install`: as which service it runs.
    parser.add_argument("--service", default="", help=argparse.SUPPRESS)
    # For programs that start nodes: a node whose parent died must not stay behind.
    parser.add_argument("--stop-with-stdin", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    from openfl.app.home_folder import Home, require_not_moved

    home = options.home_folder(arguments)
    if arguments.pin and arguments.auto_switch:
        raise UsageError("--pin and --auto-switch say opposite things: leave one out")
    if arguments.detach and arguments.stop_with_stdin:
        raise UsageError("--detach and --stop-with-stdin: nobody is left to end it: leave one out")
    require_not_moved(Home(home))  # before anything is read for a node that will not start
    places = list(arguments.bootstrap)
    with_places(arguments, home)
    whole = dict(zip(places, arguments.bootstrap, strict=True))
    if arguments.web and arguments.http and arguments.web != arguments.http:
        raise UsageError("--web and --http are one address: give it to one of them")
    config = options.effective_config(arguments, home, overrides(arguments))
    if arguments.check:
        _require_startable(arguments, config, home)
        return exit_codes.SUCCESS
    begun = LastStart.of(arguments.argv, working_folder(), os.environ, arguments.service, whole)
    if arguments.detach:
        from openfl_cli.background import start_detached

        return start_detached(home, begun, config.log.format == "json")
    ready = with_exports(arguments, config, home)
    if isinstance(ready, int):
        return ready
    config = ready
    go_on_without_output()
    with collector.resting():
        return _run_node(arguments, config, home, begun)


def _require_startable(arguments: argparse.Namespace, config: Config, home: Path) -> None:
    """What can be told of a start without starting: each bootstrap address leads to somebody, and
    the data is there. ConfigError, DataError."""
    from openfl.app.home_folder import Home
    from openfl.app.resuming import with_remembered_data
    from openfl_cli.bootstraps import require_whole

    for address in config.network.bootstrap:
        require_whole(address)
    data = with_remembered_data(config, Home(home)).data
    for text in arguments.data or [data.ratings_file, data.catalogue_file]:
        if text and not Path(text).expanduser().exists():
            raise DataError(f"{text}: no such file")


def _run_node(arguments: argparse.Namespace, config: Config, home: Path, begun: LastStart) -> int:
    try:
        # Heavy (libp2p, trio): only now that the command line and the configuration are good.
        import trio

        from openfl_cli.session import Session
        from openfl_cli.task_tree import told_at_signal
        from openfl_cli.terminal import never_stop_for_output

        def opened(snapshot: NodeSnapshot) -> None:
            try:
                last_start.save(home, begun)
            except StateError as error:  # the node will say that nothing is saved
                logging.getLogger("openfl.node").warning("%s", error)
            if arguments.ready_fd is not None:
                from openfl_cli.background import tell_ready

                tell_ready(arguments.ready_fd, snapshot)

        never_stop_for_output()
        on_screen = config.view.enabled and config.log.format == "text" and sys.stdout.isatty()
        session = Session(
            config=config,
            home=home,
            on_screen=on_screen and usable_terminal(),
            leave=arguments.leave,
            stop_with_stdin=arguments.stop_with_stdin,
            pin=True if arguments.pin else False if arguments.auto_switch else None,
            opened=opened,
        )
        with told_at_signal():
            return trio.run(session.run)
    except KeyboardInterrupt:
        return exit_codes.SUCCESS  # before there was anything to stop


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options as configuration keys; those not given are None or absent."""
    return {
        key: value
        for key, value in {
            "data.ratings_file": arguments.data[0] if len(arguments.data) == 1 else None,
            "data.skip_bad_rows": True if arguments.skip_bad_rows else None,
            "network.bootstrap": tuple(arguments.bootstrap) or None,
            "network.bootstrap_timeout_seconds": arguments.bootstrap_timeout,
            # With a host, what the file says of addresses does not count.
            "network.listen": () if arguments.host else tuple(arguments.listen) or None,
            "network.host": arguments.host,
            "network.port": getattr(arguments, "port", None),
            "network.mdns": True if arguments.mdns else None,
            "network.upnp": True if arguments.upnp else None,
            "network.relay": True if arguments.relay else None,
            "group.name": arguments.group,
            "group.closed": True if arguments.closed else None,
            "group.invitation_files": tuple(arguments.invitation) or None,
            "switching.auto": arguments.auto_switch,
            "http.web": None if arguments.web is None else True,
            "http.listen": arguments.web or arguments.http,
            "http.cert_file": arguments.http_cert,
            "http.key_file": arguments.http_key,
            "training.rounds": arguments.rounds,
            "training.interval_seconds": arguments.interval,
            "recommend.user": arguments.user,
            "recommend.count": arguments.top,
            "log.format": arguments.log_format,
            "log.level": arguments.log_level,
            "view.enabled": False if arguments.no_view else None,
        }.items()
        if value is not None
    }


def with_places(arguments: argparse.Namespace, home: Path) -> None:
    """Have `--host` and `--bootstrap` say what the configuration wants: an IP address and a port,
    and whole addresses. UsageError, NetworkError."""
    if arguments.host is not None:
        if arguments.listen:
            raise UsageError("--host and --listen both say where to listen: leave one out")
        from openfl.app.listen_host import host_and_port

        arguments.host, arguments.port = host_and_port(arguments.host)
    if arguments.bootstrap:
        from openfl_cli.bootstraps import whole_addresses

        remember = not arguments.check
        arguments.bootstrap = whole_addresses(arguments, home, remember=remember)


def usable_terminal() -> bool:
    """Whether the terminal can move its cursor."""
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")
