"""A node with everything around it: its home, its network, its control socket.

Everything that touches disk runs in worker threads, so that a slow disk never holds up the network.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import trio

from openfl.app.control_socket import serve_control
from openfl.app.doctor.commands import with_diagnosis
from openfl.app.first_user import user_to_recommend_to
from openfl.app.network_setup import OnEvent, behind_router, on_lan, open_network
from openfl.app.node_commands import node_commands
from openfl.app.node_endpoint import NodeEndpoint
from openfl.app.resuming import (
    data_files,
    group_asked_for,
    group_to_resume,
    load_remembered,
    require_clear_name,
    with_remembered_data,
    with_remembered_kind,
)
from openfl.config import Config
from openfl.core.errors import ConfigError
from openfl.core.telemetry import NodeEvent
from openfl.discovery.discovery import Discovery
from openfl.learning.kinds import load_workload
from openfl.learning.workload import Workload
from openfl.node import Node, assemble_node
from openfl.node.fault_points import FaultPoints
from openfl.node.listeners import EventListeners
from openfl.node.parts import Environment, Links, SavedNode
from openfl.node.privacy_budget import PrivacyBudget
from openfl.node.settings import node_settings
from openfl.storage.course import HomeCourse
from openfl.storage.home import Home
from openfl.storage.home_storage import HomeStorage
from openfl.storage.invitations import load_invitation
from openfl.storage.labels import HomeLabels
from openfl.storage.moved import require_not_moved

FINISH_SECONDS = 3.0
"""A node closes within five seconds: this, and what the network needs."""


@contextlib.asynccontextmanager
async def running_node(
    config: Config,
    folder: Path,
    on_event: OnEvent,
    workload: Workload | None,
    *,
    pin: bool | None,
    faults: FaultPoints | None,
) -> AsyncIterator[Node]:
    """See `openfl.app.open_node.open_node`. `folder`: the node's home. What is raised may be in the
    groups of nurseries."""
    home = Home(folder)
    require_not_moved(home)
    config = with_remembered_kind(with_remembered_data(config, home), home)
    if workload is None:
        resumed = group_to_resume(config, home)
        workload = await trio.to_thread.run_sync(load_workload, config, resumed)
    home.prepare()
    with home.lock():
        require_not_moved(home)  # again: it may have been moved while the data was read
        faults = faults if faults is not None else FaultPoints.from_environment(os.environ)
        async with _open_parts(config, home, on_event, workload, pin, faults) as node:
            yield node


@contextlib.asynccontextmanager
async def _open_parts(
    config: Config,
    home: Home,
    on_event: OnEvent,
    workload: Workload,
    pin: bool | None,
    faults: FaultPoints,
) -> AsyncIterator[Node]:
    from openfl.network.libp2p.envelope import Libp2pSealer, load_or_create_identity
    from openfl.network.libp2p.network import parse_peer_multiaddr

    endpoint = NodeEndpoint(config.http, home)
    listeners = EventListeners(_both(on_event, endpoint.tell))
    on_event = listeners.tell
    identity = load_or_create_identity(home.identity_file)
    invitations = tuple(load_invitation(Path(path)) for path in config.group.invitation_files)
    bootstrap = [parse_peer_multiaddr(text) for text in config.network.bootstrap]
    asked = group_asked_for(config)
    storage = HomeStorage(home, home.model_file(config.model.file), asked)
    remembered, problems = load_remembered(home, storage)
    resume, more = storage.load(asked)
    if resume is None:
        require_clear_name(config)
    privacy = await _open_budget(config, home)
    async with (
        open_network(config, identity, storage, on_event) as network,
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
            await stack.enter_async_context(on_lan(network, discovery, known, on_event))
        mapping = None
        if config.network.upnp:
            mapping = await stack.enter_async_context(behind_router(network, on_event))

        def tell_damage(problem: str) -> None:
            on_event(NodeEvent(time.time(), "warning", "state-damaged", problem))

        for problem in [*problems, *more]:
            tell_damage(problem)
        kept_course = HomeCourse(home, tell_damage)
        course = await kept_course.load()
        node = assemble_node(
            Links(network, Libp2pSealer(identity), discovery),
            workload,
            SavedNode(
                storage,
                resume,
                storage.standing,
                HomeLabels(home, tell_damage),
                course,
                kept_course,
            ),
            node_settings(config, home.root, pin, invitations),
            listeners,
            Environment(faults=faults),
            privacy,
        )
        storage.attach(workload, node.snapshot, data_files(config))
        commands = node_commands(node, partial(user_to_recommend_to, config), endpoint.page)
        async with (
            trio.open_nursery() as nursery,
            serve_control(home.root, with_diagnosis(commands, node, network, discovery)),
        ):
            await endpoint.begin(nursery, commands, node.tell)
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


def _both(first: OnEvent, second: OnEvent) -> OnEvent:
    def tell(event: NodeEvent) -> None:
        first(event)
        second(event)

    return tell


async def _open_budget(config: Config, home: Home) -> PrivacyBudget | None:
    """The budget to teach under; None when that is not asked for. ConfigError when it is spent: a
    node that was to teach and cannot should not look as if it did."""
    if not config.privacy.enabled:
        return None
    path = home.state_file("privacy")
    budget = await trio.to_thread.run_sync(PrivacyBudget, config.privacy, path)
    if budget.spent and config.training.auto_start:
        view = budget.view
        raise ConfigError(
            f"the privacy budget is spent: epsilon {view.epsilon_spent:.3g} of {view.epsilon:g} in"
            f" {view.releases} rounds, and another does not fit; raise privacy.epsilon, or follow"
            " the group without teaching it (training.auto_start = false)"
        )
    return budget
