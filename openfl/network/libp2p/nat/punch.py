"""`Punch`: two peers dial each other at once, each from the port it listens on.

Whose packets get through first, and whether they meet a socket that dials or one that listens, is
up to the routers. Which side is the client was agreed on before (libp2p specs, relay/DCUtR.md).
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import trio
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from openfl.network.libp2p.nat.dcutr import Address
from openfl.network.libp2p.swarm import UPGRADE_TIMEOUT_SECONDS, HardenedSwarm
from openfl.network.libp2p.transport import CountingStream, Faults, shielded

log = logging.getLogger(__name__)

TRY_SECONDS = 5.0
"""For the packets to meet; the handshake has its own time."""
MAX_DIALS = 3
"""To one address in one try: a router may have refused the first."""
REDIAL_SECONDS = 0.3
_PASSING = {errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.ECONNRESET}
"""Dialling may work a moment later. An address is not available when the other's packet came first:
then there is that connection already."""


class Punch:
    """One try. Whichever packets arrive first, the roles are those agreed on."""

    def __init__(
        self,
        peer: ID,
        client: bool,
        addresses: Sequence[Address],
        swarm: HardenedSwarm,
        expected: dict[Address, Callable[[CountingStream], Awaitable[None]]],
        dial: Callable[[Address], Awaitable[CountingStream]],
        faults: Faults,
    ) -> None:
        """`expected`: what the listener does with visitors from an address; `dial`: from the
        listening port, OSError; `client`: the role above TCP."""
        self._expected = expected
        self._dial_from_port = dial
        self._swarm = swarm
        self._faults = faults
        self._peer = peer
        self._client = client
        self._addresses = addresses
        self._done = trio.Event()

    @contextlib.contextmanager
    def expected(self) -> Iterator[None]:
        """Meanwhile a connection from these very addresses is the peer's half of this try.

        Its packets may arrive before ours have left. The listener would then take the client for a
        stranger and be the server, which on the peer's side is the server already.
        """
        mine = [address for address in self._addresses if address not in self._expected]
        self._expected.update(dict.fromkeys(mine, self._accepted))
        try:
            yield
        finally:
            for address in mine:
                del self._expected[address]

    async def run(self) -> None:
        """Until there is a connection, or the time is up."""
        async with trio.open_nursery() as handshakes:
            with trio.move_on_after(TRY_SECONDS):
                async with trio.open_nursery() as dials:
                    for address in self._addresses:
                        dials.start_soon(self._dial, address, handshakes)
                    await self._done.wait()
                    dials.cancel_scope.cancel()
            # Of two connections the client chooses: the server ends no handshake.
            if self._client and self._done.is_set():
                handshakes.cancel_scope.cancel()

    async def _dial(self, address: Address, handshakes: trio.Nursery) -> None:
        for _ in range(MAX_DIALS):
            try:
                stream = await self._dial_from_port(address)
            except OSError as error:
                log.debug("dialling %s at %s: %r", self._peer, address, error)
                if error.errno not in _PASSING:
                    return
            else:
                handshakes.start_soon(self._shake_hands, stream, address)
                return
            await trio.sleep(REDIAL_SECONDS)

    async def _shake_hands(self, stream: CountingStream, address: Address) -> None:
        try:
            await self._upgrade(stream)
        except Exception as error:  # whoever answered there makes the layers below raise all kinds
            self._faults.count("hole-punch-refused")
            log.debug("no handshake with %s at %s: %r", self._peer, address, error)

    async def _accepted(self, stream: CountingStream) -> None:
        """In place of what the listener does with strangers."""
        muxed = await self._upgrade(stream)
        if stream.visit is not None and not stream.visit.settle():
            await muxed.close()
            return
        await muxed.event_closed.wait()

    async def _upgrade(self, stream: CountingStream) -> Any:
        raw = RawConnection(stream, self._client)
        try:
            with trio.fail_after(UPGRADE_TIMEOUT_SECONDS):
                if self._client:
                    connection = await self._swarm.upgrade_outbound_raw_conn(raw, self._peer)
                    muxed = connection.muxed_conn
                else:
                    maddr = Multiaddr(f"/p2p/{self._peer}")
                    muxed = await self._swarm.upgrade_inbound_raw_conn(raw, maddr)
        except BaseException:
            with shielded(0.5):
                await raw.close()
            raise
        muxed.punched = muxed.peer_id == self._peer
        if muxed.punched and not self._done.is_set():
            self._faults.count("hole-punched")
            log.info("reached %s directly, no longer over the relay", self._peer)
            self._done.set()
        return muxed
