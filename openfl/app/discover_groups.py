"""Which groups a network knows, asked by a light node that learns nothing and is in no group."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence

import numpy as np
import trio

from openfl.app.lazy_imports import set_up
from openfl.app.one_error import one_error
from openfl.core.errors import NetworkError, RemoteError
from openfl.core.telemetry import GroupView
from openfl.discovery.discovery import Discovery, no_answer
from openfl.network.base import Network, PeerAddress
from openfl.node.group_finder import GroupFinder
from openfl.node.group_view import group_view

MAX_OTHERS = 5
"""Peers asked beside the bootstrap nodes."""


async def discover_groups(
    bootstrap: Sequence[str], seconds: float = 4.0, network_key: bytes | None = None
) -> tuple[GroupView, ...]:
    """The groups a network knows, asked by a light node that joins for at most about `seconds`.

    `network_key`: of a private network, as from `load_key_of`.
    NetworkError when no bootstrap node answers, saying what was tried.
    """
    set_up()
    from openfl.network.libp2p.envelope import Libp2pSealer, generate_identity
    from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings, parse_peer_multiaddr

    targets = [parse_peer_multiaddr(text) for text in bootstrap]
    identity = generate_identity()
    settings = Libp2pSettings(
        identity=identity, start_seqno=time.time_ns(), listen=(), network_key=network_key
    )
    with one_error():
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
