"""A clock for py-libp2p that nobody can set.

Defect wall-clock. Clocks are set back by a day where a machine without a battery clock asks for the
time, or a time zone is repaired.
"""

from __future__ import annotations

import time
from typing import Any

from libp2p.kad_dht import provider_store, routing_table
from libp2p.network import swarm
from libp2p.network.connection import swarm_connection
from libp2p.peer import peerdata
from libp2p.pubsub import gossipsub, pubsub

MODULES: tuple[Any, ...] = (
    gossipsub,
    peerdata,
    provider_store,
    pubsub,
    routing_table,
    swarm,
    swarm_connection,
)
"""Those that measure by it; none of them tells its time to others."""


class SteadyTime:
    """The module `time`, but for `time()`: unix seconds as they were when it was made, and from
    then on by the monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def time(self) -> float:
        """Unix seconds that never step."""
        return self._offset + time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def use_steady_time() -> None:
    """From now on, for the whole process. Once is enough; again changes nothing."""
    if isinstance(gossipsub.time, SteadyTime):
        return
    steady = SteadyTime()
    for module in MODULES:
        module.time = steady
