"""A network that is opened for a few seconds to look around, under a temporary identity: it is in
no group, keeps nothing, and dials only whom it is told to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from openfl.app.lazy_imports import set_up
from openfl.app.network_setup import load_key_of
from openfl.app.one_error import one_error
from openfl.config import Config

if TYPE_CHECKING:
    from openfl.network.libp2p.network import Libp2pNetwork


@contextlib.asynccontextmanager
async def brief_network(
    config: Config, listen: tuple[str, ...] = ()
) -> AsyncIterator[Libp2pNetwork]:
    """With the network key of `config`, if there is one. `listen`: multiaddrs; none: dial only.
    StateError: the key cannot be read. NetworkError: nobody can listen there."""
    set_up()
    from openfl.network.libp2p.envelope import generate_identity
    from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings

    settings = Libp2pSettings(
        identity=generate_identity(),
        start_seqno=time.time_ns(),
        listen=listen,
        tls=config.network.tls,
        network_key=load_key_of(config),
        hole_punching=False,
    )
    with one_error() as of_block:
        async with Libp2pNetwork(settings) as network:
            try:
                yield network
            except Exception as error:
                of_block.append(error)
                raise
