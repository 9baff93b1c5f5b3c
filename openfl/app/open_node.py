"""From a configuration and a home folder to a running node; and what works without one.

`open_node` is the one place where a node's parts are put together. Everything that touches disk
runs in worker threads, so that a slow disk never holds up the network.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trio

from openfl.app.control_socket import serve_control
from openfl.app.offline import offline_recommend, reading_settings, with_remembered_data
from openfl.config import Config
from openfl.core.contribution import Charter, PeerId
from openfl.core.errors import ConfigError, NetworkError, RemoteError, UsageError, UserError
from openfl.core.names import name_problem, normal
from openfl.core.telemetry import GroupView, NodeEvent, NodeSnapshot
from openfl.discovery.discovery import Discovery, no_answer
from openfl.learning.kinds import KINDS, load_workload
from openfl.learning.workload import Workload
from openfl.network.access_list import AccessList
from openfl.network.base import Network, PeerAddress
from openfl.node import Node
from openfl.node.fault_points import FaultPoints
from openfl.node.group_finder import GroupFinder
from openfl.node.group_view import group_view
from openfl.node.privacy_budget import PrivacyBudget
from openfl.node.settings import node_settings, session_settings
from openfl.storage.home import Home
from openfl.storage.home_storage import HomeStorage, current_charter
from openfl.storage.invitations import load_invitation
from openfl.storage.remembered_peers import RememberedPeers

if TYPE_CHECKING:
    from openfl.network.lan.upnp import PortMapping
    from openfl.network.libp2p.network import Libp2pNetwork

__all__ = [
    "control",
    "discover_groups",
    "offline_recommend",
    "offline_snapshot",
    "open_node",
    "session_settings",
]

MAX_OTHERS = 5
LAN_SECONDS = 1.5
"""How long a node that knows nobody listens to the LAN before it joins."""
FINISH_SECONDS = 3.0
"""A node closes within five seconds: this, and what the network needs."""

OnEvent = Callable[[NodeEvent], None]


@contextlib.asynccontextmanager
async def open_node(
    config: Config,
    home: Path,
    on_event: OnEvent,
    workload: Workload | None = None,
    *,
    pin: bool | None = None,
    faults: FaultPoints | None = None,
) -> AsyncIterator[Node]:
    """A running node for as long as the block is open; it is saved and closed at the end.

    The block is entered as soon as the node listens; joining goes on in the background.

    What the block raises comes out as it is: the same exception, not in a group. When the node
    cannot start or go on, the block is cancelled and one UserError (DataError, NetworkError,
    StateError, GroupError...) comes out. Only when both happen, the block raises and the node fails
    (as when it cannot save at the end), is it an ExceptionGroup of the block's exception and the
    node's. A bug in the node comes out in the groups of the nurseries it fell through.

    A configuration without a ratings file means the one the node last
    ran with. `workload` replaces the ratings named in the configuration. `pin`: whether the node is
    to stay in its group from now on; None: as it was. `faults`: for tests.
    """
    with _one_error() as of_block:
        place = Home(home)
        config = _with_remembered_kind(with_remembered_data(config, place), place)
        if workload is None:
            resumed = _group_to_resume(config, place)
            workload = await trio.to_thread.run_sync(load_workload, config, resumed)
        place.prepare()
        with place.lock():
            faults = faults if faults is not None else FaultPoints.from_environment(os.environ)
            async with _open_parts(config, place, on_event, workload, pin, faults) as node:
                try:
                    yield node
                except trio.Cancelled:
                    raise
                except BaseException as error:
                    of_block.append(error)
                    raise


@contextlib.asynccontextmanager
async def _open_parts(
    config: Config,
    place: Home,
    on_event: OnEvent,
    workload: Workload,
    pin: bool | None,
    faults: FaultPoints,
) -> AsyncIterator[Node]:
    from openfl.network.libp2p.envelope import Libp2pSealer, load_or_create_identity
    from openfl.network.libp2p.network import parse_peer_multiaddr

    identity = load_or_create_identity(place.identity_file)
    invitations = tuple(load_invitation(Path(path)) for path in config.group.invitation_files)
    bootstrap = [parse_peer_multiaddr(text) for text in config.network.bootstrap]
    asked = _group_asked_for(config)
    storage = HomeStorage(place, place.model_file(config.model.file), asked)
    remembered, problems = _load_remembered(place, storage)
    resume, more = storage.load(asked)
    if resume is None:
        _require_clear_name(config)
    privacy = await _open_budget(config, place)
    async with (
        _open_network(config, identity, storage, on_event) as network,
        contextlib.AsyncExitStack() as stack,
    ):
        discovery = Discovery(
            network,
            bootstrap=bootstrap,
            remembered=remembered,
            now=time.time,
            rng=random.Random(),
            dial_members=config.network.dial_members,
        )
        if config.network.mdns:
            known = bool(bootstrap or remembered)
            await stack.enter_async_context(_on_lan(network, discovery, known, on_event))
        mapping = None
        if config.network.upnp:
            mapping = await stack.enter_async_context(_behind_router(network, on_event))
        for problem in [*problems, *more]:
            on_event(NodeEvent(time.time(), "warning", "state-damaged", problem))
        node = Node(
            network,
            Libp2pSealer(identity),
            discovery,
            workload,
            storage,
            node_settings(config, place.root, pin, invitations),
            np.random.default_rng(),
            on_event,
            resume=resume,
            standing=storage.standing,
            faults=faults,
            privacy=privacy,
        )
        storage.attach(workload, node.snapshot, _data_files(config))
        async with trio.open_nursery() as nursery, serve_control(place.root, control(node)):
            nursery.start_soon(node.run)
            try:
                yield node
            finally:
                with trio.CancelScope(deadline=trio.current_time() + FINISH_SECONDS, shield=True):
                    async with trio.open_nursery() as last:
                        if mapping is not None:
                            last.start_soon(mapping.give_back)
                        await node.finish()
                nursery.cancel_scope.cancel()


async def _open_budget(config: Config, place: Home) -> PrivacyBudget | None:
    """The budget to teach under; None when that is not asked for. ConfigError when it is spent: a
    node that was to teach and cannot should not look as if it did."""
    if not config.privacy.enabled:
        return None
    path = place.state_file("privacy")
    budget = await trio.to_thread.run_sync(PrivacyBudget, config.privacy, path)
    if budget.spent and config.training.auto_start:
        view = budget.view
        raise ConfigError(
            f"the privacy budget is spent: epsilon {view.epsilon_spent:.3g} of {view.epsilon:g} in"
            f" {view.releases} rounds, and another does not fit; raise privacy.epsilon, or follow"
            " the group without teaching it (training.auto_start = false)"
        )
    return budget


@contextlib.asynccontextmanager
async def _open_network(
    config: Config, identity: bytes, storage: HomeStorage, on_event: OnEvent
) -> AsyncIterator[Libp2pNetwork]:
    """The network on the configured addresses; a port picked at an earlier start is kept."""
    from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings

    network_key = load_key_of(config)
    access = AccessList(
        frozenset(map(PeerId, config.network.allow_peers)),
        frozenset(map(PeerId, config.network.deny_peers)),
    )

    def network(port: int) -> Libp2pNetwork:
        return Libp2pNetwork(
            Libp2pSettings(
                identity=identity,
                start_seqno=time.time_ns(),
                listen=config.network.listen or (_listen_address(config.network.host, port),),
                announce=config.network.announce,
                tls=config.network.tls,
                max_peers=config.network.max_peers,
                network_key=network_key,
                access=access,
                reachability=config.network.reachability,
                relay=config.network.relay,
                hole_punching=config.network.hole_punching,
            )
        )

    kept = storage.port if not (config.network.port or config.network.listen) else 0
    async with contextlib.AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(network(kept or config.network.port))
        except NetworkError:
            if not kept:
                raise
            text = f"port {kept} of the last start is taken: using another"
            on_event(NodeEvent(time.time(), "warning", "port-changed", text))
            opened = await stack.enter_async_context(network(0))
        storage.port = _port_of(opened.multiaddrs)
        yield opened


@contextlib.asynccontextmanager
async def _on_lan(
    network: Network, discovery: Discovery, known: bool, on_event: OnEvent
) -> AsyncIterator[None]:
    """Finds peers of the LAN; entered once one is found, or after a moment, unless others are
    `known` to join through. A machine without multicast is told so, and goes on without."""
    # Here, not above: nodes without it need not load zeroconf.
    from openfl.network.lan.mdns import LanDiscovery

    lan = LanDiscovery(network.peer_id, lambda: network.multiaddrs, discovery.met_nearby)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lan.running())
        except NetworkError as error:
            on_event(NodeEvent(time.time(), "warning", "mdns-failed", str(error)))
        else:
            if not known:
                with trio.move_on_after(LAN_SECONDS):
                    await lan.somebody.wait()
        yield


@contextlib.asynccontextmanager
async def _behind_router(network: Libp2pNetwork, on_event: OnEvent) -> AsyncIterator[PortMapping]:
    """The router forwards a port to the node, if it can be had to; without one, the node goes
    on."""
    # Here, not above: nodes without it need not load this.
    from openfl.network.lan.upnp import PortMapping
    from openfl.network.lan.upnp_router import LanRouter
    from openfl.network.libp2p.addresses import interface_addresses

    mapping = PortMapping(
        LanRouter(),
        network.listening,
        network.forwarded_from,
        lambda level, kind, text: on_event(NodeEvent(time.time(), level, kind, text)),
        lambda: frozenset(a for a in interface_addresses() if ":" not in a),
        random.Random(),
    )
    async with mapping.running():
        yield mapping


def control(node: Node) -> Callable[[str, Mapping[str, Any]], Any]:
    """The handler of the node's control socket; docs/cli.md describes what commands get."""

    async def handle(command: str, arguments: Mapping[str, Any]) -> Any:
        match command:
            case "snapshot":
                return node.snapshot().to_plain()
            case "groups":
                return [view.to_plain() for view in await node.groups()]
            case "switch":
                group, pin = str(arguments.get("group", "")), bool(arguments.get("pin", False))
                return (await node.switch(group, pin)).to_plain()
            case "found":
                group, pin = str(arguments.get("group", "")), bool(arguments.get("pin", False))
                return (await node.found_group(group, pin)).to_plain()
            case "recommend":
                top = arguments.get("top", 5)
                if not isinstance(top, int) or not 1 <= top <= 1000:
                    raise UsageError(f"top must be a number within 1..1000, got {top!r}")
                return node.recommend(str(arguments.get("user", "")), top).to_plain()
            case "stop":
                node.request_stop(leave=bool(arguments.get("leave", False)))
                return None
            case _:
                raise UsageError(f"the node knows no command {command!r}: is it another version?")

    return handle


# --- without a running node -----------------------------------------------------------------------


def offline_snapshot(home: Path) -> NodeSnapshot | None:
    """The node as it last saved itself; None when it never did."""
    return HomeStorage(Home(home), Path()).load_snapshot()


async def discover_groups(
    bootstrap: Sequence[str], seconds: float = 4.0, network_key: bytes | None = None
) -> tuple[GroupView, ...]:
    """The groups a network knows, asked by a light node that joins for at most about `seconds`.

    `network_key`: of a private network, as from `load_key_of`.
    NetworkError when no bootstrap node answers, saying what was tried.
    """
    from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
    from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings, parse_peer_multiaddr

    targets = [parse_peer_multiaddr(text) for text in bootstrap]
    identity = generate_identity()
    settings = Libp2pSettings(
        identity=identity, start_seqno=time.time_ns(), listen=(), network_key=network_key
    )
    with _one_error():
        async with Libp2pNetwork(settings) as network:
            discovery = Discovery(
                network,
                bootstrap=targets,
                remembered=(),
                now=time.time,
                rng=random.Random(),
            )
            finder = GroupFinder(
                network, Libp2pSealer(identity), np.random.default_rng(), time.time, lambda _: None
            )
            outcomes = await discovery.join()
            if not any(outcome.ok for outcome in outcomes):
                raise NetworkError(no_answer(outcomes))
            with trio.move_on_after(seconds):
                await finder.ask()
                # The bootstrap node may have missed a group: ask some others as well.
                others = (await discovery.find_peers())[:MAX_OTHERS]
                async with trio.open_nursery() as nursery:
                    for peer in others:
                        nursery.start_soon(_connect, network, peer)
                await finder.ask(tuple(peer.peer_id for peer in others))
            if not finder.known() and not finder.asked.answered:
                raise NetworkError(f"which groups there are is not known: {finder.asked.text}")
            now = trio.current_time()
            return tuple(
                group_view(known, now, mine=False, problem=None) for known in finder.known()
            )


async def _connect(network: Network, peer: PeerAddress) -> None:
    with contextlib.suppress(RemoteError):
        await network.connect(peer)


def load_key_of(config: Config) -> bytes | None:
    """The key of the configured private network; None when there is none. StateError."""
    if not config.network.psk_file:
        return None
    from openfl.network.libp2p.private_network import load_network_key

    return load_network_key(Path(config.network.psk_file))


# --- small things ---------------------------------------------------------------------------------


def _load_remembered(
    place: Home, storage: HomeStorage
) -> tuple[tuple[PeerAddress, ...], list[str]]:
    peers, read = RememberedPeers.load(place.peers_file, time.time())
    storage.remembered(peers)
    addresses = tuple(PeerAddress(PeerId(p.peer_id), p.multiaddrs) for p in peers.peers)
    return addresses, [] if read.problem is None else [read.problem]


def _require_clear_name(config: Config) -> None:
    """ConfigError when no node may begin in a group of that name. A home that is in one already
    goes on (`openfl.core.names`)."""
    problem = name_problem(normal(config.group.name))
    if problem is not None:
        raise ConfigError(f"group.name ({config.origin('group.name')}): {problem}")


def _group_asked_for(config: Config) -> str | None:
    """The name of the only group to resume; None: the one this home is in, whichever it is."""
    asked_for = config.origin("group.name").kind in ("command line", "environment")
    return config.group.name if asked_for else None


def _with_remembered_kind(config: Config, place: Home) -> Config:
    """`config`; when it does not set `task.kind`, with that of the group that will be resumed."""
    if config.origin("task.kind").kind != "default":
        return config
    kind = HomeStorage(place, Path()).load_task(_group_asked_for(config))
    if kind is None or kind not in KINDS:
        return config
    return replace(config, task=replace(config.task, kind=kind))


def _group_to_resume(config: Config, place: Home) -> Charter | None:
    """The group this home is in, unless another is asked for."""
    charter, asked = current_charter(place), _group_asked_for(config)
    return charter if charter is None or asked in (None, charter.name) else None


def _data_files(config: Config) -> dict[str, str]:
    data = config.data
    files = {"ratings_file": data.ratings_file, "catalogue_file": data.catalogue_file}
    kept = {key: str(Path(path).absolute()) for key, path in files.items() if path}
    return {**kept, **reading_settings(config)}


def _listen_address(host: str, port: int) -> str:
    return f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}"


def _port_of(multiaddrs: Sequence[str]) -> int:
    for address in multiaddrs:
        parts = address.split("/")
        if "tcp" in parts:
            return int(parts[parts.index("tcp") + 1])
    return 0


@contextlib.contextmanager
def _one_error() -> Iterator[list[BaseException]]:
    """Takes one exception out of the groups that nurseries wrap around it. For every context
    manager that holds a nursery open around other people's code: what they raise is theirs, and
    they catch it by its type.

    The block appends what the caller's code raised. That comes out as the same object; a UserError
    of the node without its group; of both, a group of the two. A bug among them is not hidden.
    """
    of_block: list[BaseException] = []
    try:
        yield of_block
        return
    except BaseExceptionGroup as group:
        found = _one_of(group, of_block)
        if found is None:
            raise
    # Out here, so that the group does not become its context; nor is its cause touched.
    raise found


def _one_of(
    group: BaseExceptionGroup[BaseException], of_block: Sequence[BaseException]
) -> BaseException | None:
    """What to raise in place of `group`; None: the group itself."""
    # Leaves are compared: trio splits groups, and a group the block raised may be another by now.
    blocks = {id(leaf) for error in of_block for leaf in _leaves(error)}
    others = [
        leaf
        for leaf in _leaves(group)
        if id(leaf) not in blocks and not isinstance(leaf, trio.Cancelled)
    ]
    if of_block:
        if not others:
            return of_block[0]
        return BaseExceptionGroup("the block failed, and so did the node", [*of_block, *others])
    if others and all(isinstance(leaf, UserError) for leaf in others):
        return others[0]
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
