"""`Diagnosis`: what a network says of itself when its owner asks what is wrong: who can reach it,
where others see it, and how long a round trip to a peer takes (libp2p specs, ping/ping.md)."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING_PROTOCOL
from libp2p.host.ping import PING_LENGTH
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from openfl.core.contribution import PeerId
from openfl.core.errors import RequestFailed
from openfl.core.reach import ReachView, SeenView
from openfl.network.libp2p.identify import PROTOCOL as IDENTIFY_PROTOCOL
from openfl.network.libp2p.identify import read_identify
from openfl.network.libp2p.nat.reachability import Reachability
from openfl.network.libp2p.negotiation import open_stream_on
from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.swarm import HardenedHost, HardenedSwarm
from openfl.network.libp2p.transport import shielded

MAX_AGENT_CHARACTERS = 64
MAX_PROTOCOLS = 32
"""Of a peer, that are looked at."""


@dataclass(frozen=True, slots=True)
class Pong:
    """One round trip. `address`: where the connection leads; over a relay, that of the circuit."""

    seconds: float
    relayed: bool
    address: str


class Diagnosis:
    """Looks at the parts of a network; asks peers only what every libp2p node answers."""

    def __init__(
        self, host: HardenedHost, swarm: HardenedSwarm, reachability: Reachability
    ) -> None:
        self._host = host
        self._swarm = swarm
        self._reachability = reachability

    def view(self, listening: tuple[tuple[str, int], ...]) -> ReachView:
        """As it is now, with nobody asked. `listening`: (host, port) of each socket."""
        reachability = self._reachability
        return ReachView(
            listening=tuple(
                f"/ip{ipaddress.ip_address(host).version}/{host}/tcp/{port}"
                for host, port in listening
            ),
            multiaddrs=tuple(str(address) for address in self._host.get_addrs()),
            mode=reachability.mode,
            private=reachability.private,
            votes=reachability.votes(),
            circuits=tuple(reachability.circuits()),
            forwarded=reachability.forwarded(),
        )

    async def ping(self, peer_id: PeerId) -> Pong:
        """The round trip to a connected peer, on the connection that is used for all else.
        RequestFailed: it is not connected, or gives no answer or a wrong one. The caller sets the
        timeout with a cancel scope."""
        connection = self._connection(peer_id)
        said = secrets.token_bytes(PING_LENGTH)
        async with self._stream(connection, peer_id, PING_PROTOCOL) as stream:
            began = time.perf_counter()
            await stream.write(said)
            answer = b""
            reader = StreamReader(stream)
            while len(answer) < PING_LENGTH:
                more = await reader.read_some(PING_LENGTH - len(answer))
                if not more:
                    raise RequestFailed(f"{peer_id} ended the ping without an answer", "no answer")
                answer += more
            seconds = time.perf_counter() - began
        if answer != said:
            raise RequestFailed(f"{peer_id} answered the ping with other bytes", "a wrong answer")
        circuit = connection.muxed_conn.circuit
        if circuit is not None:
            return Pong(seconds, True, str(circuit))
        addresses = [str(address) for address in connection.get_transport_addresses()]
        return Pong(seconds, False, addresses[0] if addresses else "")

    async def seen_by(self, peer_id: PeerId) -> SeenView:
        """What a connected peer says of this node and of itself. RequestFailed: it says nothing
        usable. The caller sets the timeout with a cancel scope."""
        connection = self._connection(peer_id)
        async with self._stream(connection, peer_id, IDENTIFY_PROTOCOL) as stream:
            told = await read_identify(stream)
        seen_at = ""
        with contextlib.suppress(Exception):  # the library raises all kinds for what is none
            seen_at = str(Multiaddr(told.observed_addr)) if told.observed_addr else ""
        ours = sorted(p for p in told.protocols if p.startswith("/openfl/"))[:MAX_PROTOCOLS]
        agent = told.agent_version[:MAX_AGENT_CHARACTERS]
        return SeenView(peer_id, seen_at, agent, tuple(ours))

    def _connection(self, peer_id: PeerId) -> Any:
        try:
            connection = self._swarm.newest_connection(ID.from_base58(peer_id))
        except ValueError as error:
            raise RequestFailed(f"{peer_id!r} is not a peer id", "no peer id") from error
        if connection is None:
            raise RequestFailed(f"{peer_id} is not connected", "not connected")
        return connection

    @contextlib.asynccontextmanager
    async def _stream(
        self, connection: Any, peer_id: PeerId, protocol: TProtocol
    ) -> AsyncIterator[Any]:
        """Closed at the end, reset when the block fails; libp2p's errors become RequestFailed."""
        try:
            stream = await open_stream_on(connection, self._host, [protocol])
            try:
                yield stream
                await stream.close()
            except BaseException:
                with shielded(1), contextlib.suppress(Exception):
                    await stream.reset()
                raise
        except (RequestFailed, trio.Cancelled):
            raise
        except Exception as error:
            why = str(error) or type(error).__name__
            raise RequestFailed(f"{protocol} of {peer_id}: {why}", "no answer") from error
