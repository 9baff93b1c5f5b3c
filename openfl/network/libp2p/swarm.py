"""The middle of the libp2p adapter: connections, dialling, stream handlers.

Each class and override says which of the `defects` of py-libp2p it works around.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import trio
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from openfl.core.contribution import PeerId
from openfl.network.access_list import REASONS, AccessList
from openfl.network.libp2p.access import protect
from openfl.network.libp2p.addresses import (
    forget_interfaces,
    is_circuit,
    order_addresses,
    strip_peer_id,
)
from openfl.network.libp2p.connection_gate import MAX_HANDSHAKES
from openfl.network.libp2p.dns import resolve_dnsaddr
from openfl.network.libp2p.identify import PUSH_PROTOCOL, push_handler
from openfl.network.libp2p.negotiation import EagerClient
from openfl.network.libp2p.streams import has_ended
from openfl.network.libp2p.transport import Faults, TcpTransport, shielded
from openfl.network.libp2p.upgrading import YamuxUpgrader

log = logging.getLogger(__name__)

DIAL_TIMEOUT_SECONDS = 8.0
DIAL_STAGGER_SECONDS = 0.2
"""Head start of an address over the next one (RFC 8305; go-libp2p uses 250 ms)."""
MAX_DIALLED_ADDRESSES = 8
UPGRADE_TIMEOUT_SECONDS = 6.0
MAX_STREAMS_PER_CONNECTION = 128
LINGER_SECONDS = 30.0
"""For a peer to close its side of a stream that is closed here."""
MAX_CONNECTIONS_PER_PEER = 2
RETRY_DIAL_SECONDS = 5.0
"""How long the DHT's own dials leave a peer alone after all its addresses failed."""
ADDRESSES_SECONDS = 10.0
"""How long our own addresses are taken for unchanged."""


class DialFailed(SwarmException):  # type: ignore[misc]
    """All addresses of a peer failed; `reasons` says why for each."""

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(f"{address}: {why}" for address, why in reasons))


def dial_nobody_unasked(swarm: Swarm) -> None:
    """Defect auto-connector. Discovery decides whom we dial."""
    swarm.auto_connector.maybe_connect = trio.lowlevel.checkpoint


class HardenedSwarm(Swarm):  # type: ignore[misc]
    """The connections of a node: whom it lets in, whom it dials, what it keeps."""

    def __init__(
        self,
        peer_id: ID,
        peerstore: PeerStore,
        upgrader: YamuxUpgrader,
        transport: TcpTransport,
        max_connections: int,
        faults: Faults,
    ) -> None:
        super().__init__(
            peer_id,
            peerstore,
            upgrader,
            [transport],
            connection_config=ConnectionConfig(
                max_connections=max_connections,
                min_connections=0,
                low_watermark=0,
                high_watermark=max_connections,
                max_connections_per_peer=MAX_CONNECTIONS_PER_PEER,
                inbound_upgrade_timeout=UPGRADE_TIMEOUT_SECONDS,
                outbound_upgrade_timeout=UPGRADE_TIMEOUT_SECONDS,
            ),
        )
        self._tcp = transport
        self._faults = faults
        self._inbound_limiter = trio.CapacityLimiter(max_connections + MAX_HANDSHAKES)
        dial_nobody_unasked(self)
        self._streams_open: Counter[int] = Counter()
        self._failed_dials: dict[ID, float] = {}
        self.is_refused: Callable[[ID], bool] = lambda peer_id: False
        self.access = AccessList()
        self.network_key: bytes | None = None
        self.asked_to_dial_back: set[ID] = set()
        """Peers that may dial us, prove that we answer, and hang up: no fault of theirs."""
        self.dial_circuit: Callable[[str, ID], Awaitable[RawConnection]] = _no_circuits

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Multiaddr) -> Any:
        """Under the network key, if there is one."""
        return await super().upgrade_inbound_raw_conn(protect(raw_conn, self.network_key), maddr)

    async def upgrade_outbound_raw_conn(self, raw_conn: Any, peer_id: ID) -> Any:
        """Under the network key, if there is one."""
        return await super().upgrade_outbound_raw_conn(protect(raw_conn, self.network_key), peer_id)

    async def _do_handle_inbound_connection(
        self, read_write_closer: Any, maddr: Multiaddr, failure_event: Any
    ) -> None:
        # Defect inbound-places.
        raw = RawConnection(read_write_closer, False)
        try:
            muxed = await self.upgrade_inbound_raw_conn(raw, maddr)
        except Exception as error:  # what strangers send makes the layers below raise all kinds
            if not any(str(peer) in str(error) for peer in self.asked_to_dial_back):
                self._faults.count("handshake-refused")
            log.debug("inbound connection refused: %s", error)
            with shielded(0.5):
                await raw.close()
            return
        visit = getattr(read_write_closer, "visit", None)
        if visit is not None and not visit.settle():
            await muxed.close()
            return
        await muxed.event_closed.wait()

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        """Keep a secured connection; SwarmException, and it is closed, when the peer is refused."""
        peer_id = muxed_conn.peer_id
        unwanted = self.access.refusal(PeerId(str(peer_id)))
        if peer_id == self.self_id or self.is_refused(peer_id) or unwanted is not None:
            self._faults.count(unwanted or "connection-refused")
            await muxed_conn.close()
            raise SwarmException(f"{peer_id} is refused")
        return await super().add_conn(muxed_conn, direction)

    def _trim_connections(self, peer_id: ID) -> None:
        """Called for every new connection of the peer.

        Defects trim-spares-new and trim-counts-closed. Circuits go before direct connections.
        """
        live = [c for c in self.connections.get(peer_id, ()) if not c.is_closed]
        live.sort(key=_preference)
        for surplus in live[:-MAX_CONNECTIONS_PER_PEER]:
            self.manager.run_task(self._close_connection_async, surplus)

    def newest_connection(self, peer_id: ID) -> Any | None:
        """The latest open connection: after a peer restarted, the older one is dead though nobody
        has noticed yet."""
        live = [c for c in self.connections.get(peer_id, ()) if not c.is_closed]
        return max(live, key=_preference, default=None)

    def _select_connection(self, connections: list[Any], peer_id: ID) -> Any:
        return max(connections, key=_preference)

    async def dial_peer(self, peer_id: ID) -> list[Any]:
        """Dial with the addresses of the peer store: used by the DHT's queries."""
        connection = self.newest_connection(peer_id)
        if connection is not None:
            return [connection]
        if trio.current_time() < self._failed_dials.get(peer_id, 0.0):
            raise SwarmException(f"{peer_id} could not be reached a moment ago")
        try:
            addresses = [strip_peer_id(str(a)) for a in self.peerstore.addrs(peer_id)]
        except PeerStoreError as error:
            raise SwarmException(f"no address of {peer_id} is known") from error
        return [await self.dial_addresses(peer_id, addresses)]

    async def dial_addresses(self, peer_id: ID, addresses: Iterable[str]) -> Any:
        """A connection to the peer over the first address that answers; DialFailed otherwise.

        Defects dial-one-address and dial-blocked-after-failure.
        """
        if peer_id == self.self_id:
            raise DialFailed([(str(peer_id), "this is our own peer id")])
        if self.is_refused(peer_id):
            raise DialFailed([(str(peer_id), "refused for repeated faults")])
        unwanted = self.access.refusal(PeerId(str(peer_id)))
        if unwanted is not None:
            raise DialFailed([(str(peer_id), REASONS[unwanted])])
        while (ongoing := self._ongoing_dials.get(peer_id)) is not None:
            await ongoing.wait()
        connection = self.newest_connection(peer_id)
        if connection is not None:
            return connection
        if self.get_total_connections() >= self.connection_config.max_connections:
            raise DialFailed([(str(peer_id), "all connections are in use")])
        self._ongoing_dials[peer_id] = trio.Event()
        try:
            connection = await _Dial(self, self._tcp, peer_id).run(order_addresses(addresses))
            self._failed_dials.pop(peer_id, None)
            return connection
        except DialFailed:
            now = trio.current_time()
            self._failed_dials = {p: t for p, t in self._failed_dials.items() if t > now}
            self._failed_dials[peer_id] = now + RETRY_DIAL_SECONDS
            raise
        finally:
            self._ongoing_dials.pop(peer_id).set()

    async def dial_directly(self, peer_id: ID, addresses: Sequence[str]) -> Any:
        """As `dial_addresses`, though there is a connection (over a relay) already."""
        return await _Dial(self, self._tcp, peer_id).run(addresses)

    def guard(self, handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """A stream handler that cannot end the node.

        Defect handler-crash. Also bounds how many streams a connection can have open at once, which
        nothing else does.
        """

        async def guarded(stream: Any) -> None:
            connection = id(stream.muxed_conn)
            if self._streams_open[connection] >= MAX_STREAMS_PER_CONNECTION:
                self._faults.against(stream.muxed_conn.peer_id, "stream-refused")
                await stream.reset()
                return
            self._streams_open[connection] += 1
            try:
                await handler(stream)
                await _see_off(stream)
            except Exception as error:
                if has_ended(error):
                    # The peer has gone, or gave up waiting: nobody's fault.
                    self._faults.count("stream-broken")
                    log.debug("stream %s of %s: %r", stream.get_protocol(), connection, error)
                else:
                    self._faults.count("handler-crashed")
                    log.exception("the handler of %s failed", stream.get_protocol())
                with contextlib.suppress(Exception):
                    await stream.reset()
            finally:
                self._streams_open[connection] -= 1
                if self._streams_open[connection] <= 0:
                    del self._streams_open[connection]

        return guarded

    def count_streams(self) -> int:
        """Open streams, in either direction, as the muxer or the connection counts them: each
        forgets a stream by itself, and one that only one of them keeps would be a leak, too.

        The muxer lists those that ended for a while more, until it sweeps.
        """
        return sum(
            max(
                len(connection.streams),
                sum(not stream.closed for stream in connection.muxed_conn.streams.values()),
            )
            for connection in self.get_connections()
        )

    async def close_all(self) -> None:
        """Close every connection side by side: one after another each takes 0.3 s."""
        self._closing = True
        async with trio.open_nursery() as nursery:
            for connection in self.get_connections():
                nursery.start_soon(self._close_connection_async, connection)


async def _see_off(stream: Any) -> None:
    """Wait until the peer, too, is done with a stream that its handler has closed or reset.

    Defect stream-kept. While it is kept it counts as open, its bytes as buffered. A stream that its
    handler left open has somebody else now (a circuit).
    """
    muxed = stream.muxed_stream
    pause = 0.02
    with trio.move_on_after(LINGER_SECONDS):
        while muxed.send_closed and muxed.stream_id in muxed.conn.streams:
            await trio.sleep(pause)
            pause = min(2 * pause, 0.5)
        return
    if muxed.closed:
        muxed.conn.stream_buffers.pop(muxed.stream_id, None)
        await muxed.conn._finalize_stream(muxed, fully_closed=True)
    else:
        # Not at once: a reset makes some implementations drop what they have not read.
        await muxed.reset()


def _preference(connection: Any) -> tuple[bool, float]:
    """Direct ones before those over a relay, then the latest."""
    return connection.muxed_conn.circuit is None, connection._created_at


async def _no_circuits(address: str, peer_id: ID) -> RawConnection:
    raise SwarmException("circuits over relays are not dialled here")


class _Dial:
    """One race over a peer's addresses: TCP side by side, handshakes one at a time."""

    def __init__(self, swarm: HardenedSwarm, transport: TcpTransport, peer_id: ID) -> None:
        self._swarm = swarm
        self._transport = transport
        self._peer_id = peer_id
        self._handshake = trio.Lock()
        self._connection: Any = None
        self._reasons: list[tuple[str, str]] = []

    async def run(self, addresses: Sequence[str]) -> Any:
        if not addresses:
            raise DialFailed([(str(self._peer_id), "no address that can be dialled is known")])
        plain = [a for a in addresses if not a.startswith("/dnsaddr/")]
        for name in (a.split("/")[2] for a in addresses if a.startswith("/dnsaddr/")):
            try:
                plain += await resolve_dnsaddr(name, str(self._peer_id))
            except OpenConnectionError as error:
                self._reasons.append((f"/dnsaddr/{name}", str(error)))
        async with trio.open_nursery() as nursery:
            for address in plain[:MAX_DIALLED_ADDRESSES]:
                finished = trio.Event()
                nursery.start_soon(self._attempt, address, finished, nursery.cancel_scope)
                with trio.move_on_after(DIAL_STAGGER_SECONDS):
                    await finished.wait()
        if self._connection is None:
            raise DialFailed(self._reasons)
        return self._connection

    async def _attempt(self, address: str, finished: trio.Event, scope: trio.CancelScope) -> None:
        silent = "no answer in time"
        try:
            with trio.fail_after(DIAL_TIMEOUT_SECONDS):
                if is_circuit(address):
                    raw = await self._swarm.dial_circuit(address, self._peer_id)
                else:
                    raw = await self._transport.dial(Multiaddr(address))
            # With another network key, or none, each side waits for the other's next word.
            silent = "no answer in time to the handshake (do both have the same network key?)"
            try:
                async with self._handshake:
                    with trio.fail_after(UPGRADE_TIMEOUT_SECONDS):
                        self._connection = await self._swarm.upgrade_outbound_raw_conn(
                            raw, self._peer_id
                        )
                scope.cancel()
            except BaseException:
                with shielded(0.5):
                    await raw.close()
                raise
        except trio.TooSlowError:
            self._reasons.append((address, silent))
        except Exception as error:
            self._reasons.append((address, _reason(error, self._swarm.network_key is not None)))
        finally:
            finished.set()


def _reason(error: Exception, private: bool) -> str:
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:  # the handshake's own error is some layers below
        if "mismatch" in f"{type(cause).__name__} {cause}".lower():
            return "another peer answered there"
        cause = cause.__cause__
    if "upgrade security" in text:
        if private:
            return "the handshake failed (do both have the same network key?)"
        return (
            "no common secure channel, or the handshake failed (do both have the same network key?)"
        )
    if not isinstance(error, SwarmException | OpenConnectionError):
        # What another network key makes of the bytes can be anything.
        return f"the handshake failed: {error!r:.100} (do both have the same network key?)"
    return text or type(error).__name__


class HardenedHost(BasicHost):  # type: ignore[misc]
    """Tells when a peer was identified: the DHT needs that, and py-libp2p tells nobody."""

    def __init__(self, swarm: HardenedSwarm, announce: Sequence[Multiaddr]) -> None:
        self.on_identified: Callable[[ID], Awaitable[None]] | None = None
        self.circuits: Callable[[], list[str]] = list
        """Addresses at relays where this node has a place."""
        self.forwarded: Callable[[], Sequence[str]] = tuple
        """Addresses of a router that forwards to this node."""
        self._addresses: list[Multiaddr] = []
        self._addresses_expire_at = 0.0
        super().__init__(
            swarm,
            announce_addrs=list(announce) or None,
            disable_identify_address_discovery=True,
        )
        self._faults = swarm._faults
        self.multiselect_client = EagerClient()
        self.set_stream_handler(PUSH_PROTOCOL, push_handler(self, self._faults))
        swarm.set_stream_handler(swarm.guard(self._swarm_stream_handler))

    def get_addrs(self) -> list[Multiaddr]:
        """What most can dial leads; our own addresses are looked up every ten seconds only."""
        # Asked for with every message sent, and found by asking the system for its interfaces.
        now = trio.current_time()
        if now >= self._addresses_expire_at or not self._addresses:
            self._addresses = super().get_addrs()
            self._addresses_expire_at = now + ADDRESSES_SECONDS
        me = self.get_id()
        forwarded, circuits = (
            [Multiaddr(f"{address}/p2p/{me}") for address in addresses]
            for addresses in (self.forwarded(), self.circuits())
        )
        # What most can dial leads: people copy the first.
        return [*forwarded, *self._addresses, *circuits]

    def forget_addresses(self) -> None:
        """They have changed: the next to ask gets the new ones."""
        forget_interfaces()
        self._addresses_expire_at = 0.0

    def own_addresses(self) -> list[str]:
        """Where others can dial this node directly; loopback only when there is nothing else."""
        self.get_addrs()
        mine = [*self.forwarded(), *(strip_peer_id(str(address)) for address in self._addresses)]
        return [a for a in mine if not a.startswith(("/ip4/127.", "/ip6/::1/"))] or mine

    async def _identify_peer(self, peer_id: ID, *, reason: str) -> None:
        # Runs in a trio system task, where an exception is an internal error of trio itself.
        try:
            await super()._identify_peer(peer_id, reason=reason)
            if not self.is_peer_connected(peer_id):
                return
            if peer_id not in self._identified_peers:
                self._faults.count("identify-failed")  # junk, or nothing
            if self.on_identified is not None:
                await self.on_identified(peer_id)
        except Exception as error:
            log.debug("identify %s: %r", peer_id, error)

    async def open_stream(self, peer_id: ID, protocols: Sequence[str]) -> Any:
        """A negotiated stream over the newest connection; SwarmException or StreamFailure."""
        return await self.new_stream(peer_id, [TProtocol(p) for p in protocols])
