"""How connections are secured and multiplexed: Noise or TLS, then Yamux, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakSet

from cryptography import x509
from cryptography.x509.oid import NameOID
from libp2p.connection_types import ConnectionType
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.tls.transport import PROTOCOL_ID as TLS_PROTOCOL
from libp2p.security.tls.transport import IdentityConfig, TLSTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.exceptions import MuxerUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader

from openfl.network.libp2p.muxer import HardenedYamux
from openfl.network.libp2p.negotiation import EagerClient
from openfl.network.libp2p.transport import Faults, bound_negotiation


def bare_certificate() -> x509.CertificateBuilder:
    """A certificate without extensions, to which libp2p's own is added.

    Defect certificate-extensions. Nobody needs the others: go-libp2p does not have them either.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "libp2p")])
    # Backdated for clocks that are behind; it lives no longer than this process.
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * 100))
        .subject_name(name)
        .issuer_name(name)
    )


class YamuxUpgrader(TransportUpgrader):  # type: ignore[misc]
    """Offers only authenticated encryption and only Yamux.

    A default host also accepts `/plaintext/2.0.0`, `/secio/1.0.0` and mplex.
    """

    def __init__(self, key_pair: KeyPair, tls: bool, faults: Faults) -> None:
        security: dict[TProtocol, Any] = {
            NOISE_PROTOCOL: NoiseTransport(
                key_pair, noise_privkey=create_new_x25519_key_pair().private_key
            )
        }
        if tls:
            security[TLS_PROTOCOL] = TLSTransport(
                key_pair, identity_config=IdentityConfig(bare_certificate())
            )
        super().__init__(security, {TProtocol(YAMUX_PROTOCOL): Yamux})
        self._faults = faults
        for choice in (self.security_multistream, self.muxer_multistream):
            choice._selector.multiselect_client = EagerClient()
        self._open: WeakSet[HardenedYamux] = WeakSet()
        bound_negotiation()

    async def upgrade_security(
        self, raw_conn: Any, is_initiator: bool, peer_id: ID | None = None
    ) -> Any:
        """Secure the connection; what it runs over is remembered."""
        secured = await super().upgrade_security(raw_conn, is_initiator, peer_id)
        if raw_conn.get_connection_type() == ConnectionType.RELAYED:
            secured.circuit = raw_conn.get_transport_addresses()[0]
        return secured

    async def upgrade_connection(self, conn: Any, peer_id: ID) -> HardenedYamux:
        """Defect muxer-class."""
        muxers = self.muxer_multistream
        try:
            await muxers._selector.select(conn, conn.is_initiator, muxers.negotiate_timeout)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure("no common stream multiplexer") from error
        muxed = HardenedYamux(
            conn, peer_id, is_initiator=conn.is_initiator, faults=self._faults, others=self._open
        )
        muxed.circuit = getattr(conn, "circuit", None)
        return muxed
