"""The Kademlia half of the libp2p adapter: our own network, and lookups that ask the network.

Each class and override says which of the `defects` of py-libp2p it works around. The DHT is used
for provider records only: value records are refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import zip_longest
from typing import Any

import trio
from google.protobuf.message import DecodeError as ProtobufError
from libp2p.abc import IHost
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.io.exceptions import MessageTooLarge
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.kad_dht.peer_routing import PeerRouting
from libp2p.kad_dht.provider_store import ProviderStore
from libp2p.kad_dht.utils import sort_peer_ids_by_distance
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStore
from libp2p.records.validator import NamespacedValidator
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.transport import Faults, shielded

log = logging.getLogger(__name__)

PROTOCOL_PREFIX = TProtocol("/openfl")
DHT_PROTOCOL = TProtocol(f"{PROTOCOL_PREFIX}/kad/1.0.0")
MAX_PROVIDERS_PER_KEY = 64
MAX_PROVIDER_KEYS = 4096
MAX_ADDRESSES_PER_PROVIDER = 16
MAX_KEYS_PER_PROVIDER = 64
"""A member provides two keys an hour, and records live for a day."""
MAX_STORED_PEERS = 1000
MAX_PROTOCOLS_PER_PEER = 64
MAX_CONCURRENT_QUERIES = 64
MAX_QUERIES_PER_PEER = 8
QUERY_STREAM_SECONDS = 20.0
"""How long a stream with queries of another peer may stay open."""
MAX_QUERY_BYTES = 64 * 1024
"""Of one message of another peer. The largest that is any use has the addresses of one provider."""
QUERY_TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 512 * 1024
MAX_LENGTH_BYTES = 5
"""Of the length of an answer, written before it; no answer is as short as this."""
ADDRESS_TTL = 3600
BUCKET_SIZE = 20
NEAR_SECONDS = 5.0
"""How long the peers closest to a key are taken for those that were found."""
RETELL_SECONDS = 300.0
"""After which a peer is told again what this one provides: its record is then the newer one."""
FAIR_SHARE = 5
"""So many of the providers that one peer tells count as found."""
ALPHA = 10
"""Peers asked at once (as in the libp2p Kademlia specification)."""
MAX_LOOKUP_ROUNDS = 8


def use_own_protocol() -> None:
    """Speak `/openfl/kad/1.0.0` in this process. Defect dht-protocol."""
    for module in (common, kad_dht, peer_routing, provider_store, value_store):
        module.PROTOCOL_ID = DHT_PROTOCOL


class BoundedProviderStore(ProviderStore):  # type: ignore[misc]
    """Provider records whose number is bounded, and whose lookups ask the network."""

    def __init__(self, host: IHost, peer_routing: PeerRouting) -> None:
        super().__init__(host, peer_routing)
        self._lookups: dict[tuple[bytes, int], _Lookup] = {}
        self._near: dict[bytes, tuple[float, tuple[ID, ...]]] = {}
        """key -> (when they were found, the peers closest to it)."""
        self._told: dict[tuple[ID, bytes], tuple[float, Any]] = {}
        """(peer, key) -> (when, over which connection) it was told that we provide the key."""

    def add_provider(self, key: bytes, provider: PeerInfo) -> None:
        """Defect dht-full-key. The oldest record makes room; addresses are bounded, too."""
        records = self.providers.get(key)
        peer = str(provider.peer_id)
        if records is None or peer not in records:
            # One peer cannot push out the records of all others.
            mine = [k for k, known in self.providers.items() if peer in known]
            if len(mine) >= MAX_KEYS_PER_PROVIDER and peer != str(self.local_peer_id):
                self._forget(mine[0], peer)
                records = self.providers.get(key)
        if records is not None and peer not in records and len(records) >= MAX_PROVIDERS_PER_KEY:
            del records[min(records, key=lambda p: records[p].timestamp)]
        if records is None and len(self.providers) >= MAX_PROVIDER_KEYS:
            others = (k for k in self.providers if k not in self.providing_keys)
            oldest = next(others, None)
            if oldest is not None:
                del self.providers[oldest]
        trimmed = PeerInfo(provider.peer_id, provider.addrs[:MAX_ADDRESSES_PER_PROVIDER])
        self.providers.setdefault(key, {})[peer] = provider_store.ProviderRecord(trimmed)

    def _forget(self, key: bytes, peer: str) -> None:
        del self.providers[key][peer]
        if not self.providers[key]:
            del self.providers[key]

    async def find_providers(self, key: bytes, count: int = 20) -> list[PeerInfo]:
        """Providers of `key`, asked over the network; never this peer itself. Whoever asks for the
        same at the same time shares the answer.

        Defect dht-local-answer. The original also walks to the closest peers first and asks them
        for providers after; GET_PROVIDERS does both at once.
        """
        while (ongoing := self._lookups.get((key, count))) is not None:
            await ongoing.ended.wait()
            if ongoing.found is not None:
                return ongoing.found
        lookup = self._lookups[key, count] = _Lookup()
        try:
            told = await self._walk(key, count)
            told.append(self.get_providers(key))  # announced to us, being close to the key
            lookup.found = in_turn(told, self.local_peer_id)[:count]
            return lookup.found
        finally:
            del self._lookups[key, count]
            lookup.ended.set()

    async def _walk(self, key: bytes, enough: int | None) -> list[list[PeerInfo]]:
        """Ask the peers closest to `key`, and those that these name, for its providers: what each
        told. Ends early with `enough` of them."""
        told: list[list[PeerInfo]] = []
        candidates = self._known_near(key)
        asked: set[ID] = {self.local_peer_id}

        async def ask(peer: ID) -> None:
            with trio.move_on_after(QUERY_TIMEOUT_SECONDS):
                providers, closer = await self._query(peer, key)
                told.append(providers)
                for info in closer:
                    self.host.get_peerstore().add_addrs(info.peer_id, info.addrs, ADDRESS_TTL)
                    candidates.add(info.peer_id)

        for _ in range(MAX_LOOKUP_ROUNDS):
            closest = sort_peer_ids_by_distance(key, list(candidates))[:BUCKET_SIZE]
            batch = [peer for peer in closest if peer not in asked][:ALPHA]
            # One that answers with a long list must not end the search: it may be lying.
            found = sum(min(len(providers), FAIR_SHARE) for providers in told)
            if not batch or (enough is not None and found >= enough):
                break
            asked.update(batch)
            async with trio.open_nursery() as nursery:
                for peer in batch:
                    nursery.start_soon(ask, peer)
        if not batch or enough is None:
            self._remember_near(key, closest)
        return told

    def _known_near(self, key: bytes) -> set[ID]:
        """Peers that may be close to the key, as far as is known here."""
        routing: Any = self.peer_routing
        near = set(routing.routing_table.find_local_closest_peers(key, BUCKET_SIZE))
        near.update(self.host.get_connected_peers())
        near.discard(self.local_peer_id)
        return near

    def _remember_near(self, key: bytes, closest: Sequence[ID]) -> None:
        now = trio.current_time()
        self._near = {k: near for k, near in self._near.items() if now < near[0] + NEAR_SECONDS}
        self._near[key] = (now, tuple(closest))

    async def provide(self, key: bytes) -> bool:
        """Announce this peer at the peers closest to `key`; True when one took it.

        Defect dht-provides-again. Who was told within `RETELL_SECONDS`, over the connection that
        there still is, is not told again.
        """
        self.providing_keys.add(key)
        self.add_provider(key, PeerInfo(self.local_peer_id, self.host.get_addrs()))
        at, near = self._near.get(key, (-NEAR_SECONDS, ()))
        if trio.current_time() >= at + NEAR_SECONDS:
            await self._walk(key, None)
            _, near = self._near.get(key, (0.0, ()))
        candidates = list({*near, *self._known_near(key)})
        closest = sort_peer_ids_by_distance(key, candidates)[:BUCKET_SIZE]
        turns = trio.CapacityLimiter(ALPHA)

        async def tell(peer: ID) -> None:
            async with turns:
                with trio.move_on_after(QUERY_TIMEOUT_SECONDS):
                    await self._tell(peer, key)

        self._forget_whom_we_told()
        async with trio.open_nursery() as nursery:
            for peer in closest:
                if not self._was_told(peer, key):
                    nursery.start_soon(tell, peer)
        return any(self._was_told(peer, key) for peer in closest)

    def _forget_whom_we_told(self) -> None:
        now = trio.current_time()
        self._told = {k: told for k, told in self._told.items() if now < told[0] + RETELL_SECONDS}

    def _was_told(self, peer: ID, key: bytes) -> bool:
        _, connection = self._told.get((peer, key), (0.0, None))
        # A peer that started anew has forgotten it, and has another connection.
        return connection is not None and not connection.is_closed

    async def _tell(self, peer: ID, key: bytes) -> None:
        """Send ADD_PROVIDER; the peer is told once it has answered, or closed the stream as
        js-libp2p and go-libp2p do."""
        request = Message(type=Message.MessageType.ADD_PROVIDER, key=key)
        request.providerPeers.add(
            id=self.local_peer_id.to_bytes(),
            addrs=[address.to_bytes() for address in self.host.get_addrs()],
        )
        answer = await self._ask(peer, request)
        if answer is not None:
            self._told[peer, key] = (trio.current_time(), answer[1])

    async def _query(self, peer: ID, key: bytes) -> tuple[list[PeerInfo], list[PeerInfo]]:
        """(providers, peers closer to the key) as one peer knows them; empty when it fails.

        Whom we dial must prove its peer id, so the signed records beside the addresses are not
        verified: that takes longer than the query.
        """
        answer = await self._ask(peer, Message(type=Message.MessageType.GET_PROVIDERS, key=key))
        if answer is None:
            return [], []
        return _peer_infos(answer[0].providerPeers), _peer_infos(answer[0].closerPeers)

    async def _ask(self, peer: ID, request: Message) -> tuple[Message, Any] | None:
        """(answer, connection it came over): an empty one when the peer only closed the stream;
        None when it is not reached or at fault."""
        try:
            stream = await self.host.new_stream(peer, [DHT_PROTOCOL])
        except BaseLibp2pError as error:
            log.debug("DHT query of %s: %s", peer, error)
            return None
        try:
            await stream.write(encode_varint_prefixed(request.SerializeToString()))
            await stream.close_write()
            frame = await StreamReader(stream).read_varint_frame(MAX_ANSWER_BYTES)
            response = Message()
            response.ParseFromString(frame or b"")
            await stream.close()
            return response, stream.swarm_conn
        except (BaseLibp2pError, ProtobufError) as error:
            log.debug("DHT query of %s: %r", peer, error)
            with shielded(1):
                await stream.reset()
            return None
        except BaseException:
            with shielded(1):
                await stream.reset()
            raise


class _Lookup:
    """One that is under way. found: None while it is, and when whoever began it was cancelled."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.found: list[PeerInfo] | None = None


def in_turn(told: Sequence[Sequence[PeerInfo]], myself: ID) -> list[PeerInfo]:
    """Providers that several peers told, each peer's first, then each one's second, and so on: a
    liar's long list does not crowd out what others said. Each provider once, never `myself`."""
    found: dict[ID, PeerInfo] = {}
    for place in zip_longest(*told):
        for provider in place:
            if provider is None or provider.peer_id == myself:
                continue
            known = found.get(provider.peer_id)
            if known is None or not known.addrs:
                found[provider.peer_id] = provider
    return list(found.values())


def _peer_infos(entries: Sequence[Any]) -> list[PeerInfo]:
    """What can be used of the peers in an answer; malformed ones are left out."""
    infos = []
    for entry in entries[:MAX_PROVIDERS_PER_KEY]:
        addresses = []
        for packed in entry.addrs[:MAX_ADDRESSES_PER_PROVIDER]:
            try:
                address = Multiaddr(bytes(packed))
                str(address)  # parses; the constructor does not
                addresses.append(address)
            except Exception:  # multiaddr raises many kinds
                continue
        if 0 < len(entry.id) <= 64 and addresses:
            infos.append(PeerInfo(ID(bytes(entry.id)), addresses))
    return infos


class PlainPeerStore(PeerStore):  # type: ignore[misc]
    """A bounded peer store that hands out addresses but no signed records.

    The DHT would send the record beside the addresses of every peer in an answer, which makes
    answers three times as long, and whoever gets them verifies each. Who is dialled proves its
    identity anyway.
    """

    def __init__(self, kept: Callable[[], Collection[ID]]) -> None:
        """`kept()`: peers that are never forgotten."""
        super().__init__(max_records=1, max_peers=MAX_STORED_PEERS)
        self._kept = kept

    def add_addrs(self, peer_id: ID, addrs: Sequence[Multiaddr], ttl: int = 0) -> None:
        """Defect peer-addresses."""
        super().add_addrs(peer_id, addrs[:MAX_ADDRESSES_PER_PROVIDER], ttl)
        del self.peer_data_map[peer_id].addrs[:-MAX_ADDRESSES_PER_PROVIDER]

    def add_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        """Those known already stay; the whole is bounded."""
        self.set_protocols(peer_id, [*dict.fromkeys([*self.get_protocols(peer_id), *protocols])])

    def set_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        """At most `MAX_PROTOCOLS_PER_PEER` of them."""
        super().set_protocols(peer_id, protocols[:MAX_PROTOCOLS_PER_PEER])

    def _enforce_peer_limit(self) -> None:
        # Defect peer-store-forgets-us.
        kept = set(self._kept())
        for peer_id in [p for p in self.peer_data_map if p not in kept]:
            if len(self.peer_data_map) <= self.max_peers:
                return
            del self.peer_data_map[peer_id]

    def get_peer_record(self, peer_id: ID) -> None:
        """None: see the class."""
        return None


def let_in_more_queries(dht: KadDHT) -> None:
    """Defect dht-few-queries."""
    dht._inbound_limiter = trio.CapacityLimiter(MAX_CONCURRENT_QUERIES)


def make_dht(host: IHost, faults: Faults) -> KadDHT:
    """A DHT in server mode on our own protocol; run it as a service."""
    use_own_protocol()
    # Without validators and strict, every PUT_VALUE is refused: a default DHT stores up to 50,000
    # records of 1 MiB for strangers.
    nothing = NamespacedValidator({}, strict_validation=True)
    dht = KadDHT(
        host,
        DHTMode.SERVER,
        validator=nothing,
        validator_changed=True,
        strict_validation=True,
        protocol_prefix=PROTOCOL_PREFIX,
    )
    dht.provider_store = BoundedProviderStore(host, dht.peer_routing)
    let_in_more_queries(dht)
    host.set_stream_handler(DHT_PROTOCOL, _bounded(dht.handle_stream, faults))
    return dht


def _bounded(
    handler: Callable[[Any], Awaitable[None]], faults: Faults
) -> Callable[[Any], Awaitable[None]]:
    """Defect dht-silent-stream. Also bounds the streams of one peer, and the size of a query, and
    tells whoever sends junk apart from whoever hangs up."""
    open_streams: Counter[ID] = Counter()

    async def handle(stream: Any) -> None:
        peer_id = stream.muxed_conn.peer_id
        if open_streams[peer_id] >= MAX_QUERIES_PER_PEER:
            faults.count("dht-refused-busy")
            await stream.reset()
            return
        open_streams[peer_id] += 1
        try:
            with trio.move_on_after(QUERY_STREAM_SECONDS) as scope:
                await handler(_CheckedStream(stream, faults))
            if scope.cancelled_caught:
                faults.against(peer_id, "dht-slow")
                with shielded(1):
                    await stream.reset()
        finally:
            open_streams[peer_id] -= 1
            if not open_streams[peer_id]:
                del open_streams[peer_id]

    return handle


class _CheckedStream:
    """A stream that hands on whole messages only; the sender of anything else is at fault."""

    def __init__(self, stream: Any, faults: Faults) -> None:
        self._stream = stream
        self._faults = faults
        self._reader = StreamReader(stream)
        self._checked = b""
        self._length = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, n: int | None = None) -> bytes:
        if not self._checked:
            try:
                frame = await self._reader.read_varint_frame(MAX_QUERY_BYTES)
                if frame is None:
                    return b""
                Message().ParseFromString(frame)
            except (ProtobufError, ParseError, MessageTooLarge):
                self._faults.against(self._stream.muxed_conn.peer_id, "dht-malformed")
                raise
            self._checked = encode_varint_prefixed(frame)
        taken = len(self._checked) if n is None else n
        data, self._checked = self._checked[:taken], self._checked[taken:]
        return data

    async def write(self, data: bytes) -> None:
        # py-libp2p writes the length of an answer by itself.
        if not self._length and len(data) <= MAX_LENGTH_BYTES:
            self._length = data
            return
        data, self._length = self._length + data, b""
        await self._stream.write(data)


def multihash(digest: bytes) -> bytes:
    """A sha2-256 multihash: js-libp2p makes a CID of the key, and refuses anything else."""
    return b"\x12\x20" + digest
