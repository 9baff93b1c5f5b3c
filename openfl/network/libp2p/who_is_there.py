"""Who answers at an address: the peer id that a node there proves to have, and nothing more of it.

For addresses that do not say whom to expect. A handshake is made under an identity that lives no
longer than the question, and the connection is closed: the node there sees a visitor who left.
"""

from __future__ import annotations

from typing import Any

import trio
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError
from openfl.network.libp2p.access import protect
from openfl.network.libp2p.envelope import generate_identity, key_pair_of
from openfl.network.libp2p.logs import quieten_logging
from openfl.network.libp2p.negotiation import EagerClient
from openfl.network.libp2p.transport import (
    CountingStream,
    Traffic,
    bound_negotiation,
    describe_os_error,
    shielded,
)

ANSWER_SECONDS = 10.0


async def who_is_there(host: str, port: int, network_key: bytes | None = None) -> PeerId:
    """The peer id of the node at `host` (an IP address or a name), proved by its key.

    `network_key`: of a private network. NetworkError when nothing answers there, or no node does.
    """
    quieten_logging()
    bound_negotiation()
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except UnicodeError as error:  # of the rules for international names
            raise NetworkError(f"nothing answers at {place}: that is no name of a host") from error
        except OSError as error:
            raise NetworkError(f"nothing answers at {place}: {describe_os_error(error)}") from error
        counted = CountingStream(stream, Traffic())
        try:
            return await _prove(protect(RawConnection(counted, True), network_key))
        except Exception as error:  # what is sent there makes the layers below raise all kinds
            raise NetworkError(
                f"what answers at {place} is no node, or one of a private network with another key"
                " (network.psk_file)"
            ) from error
        finally:
            with shielded(0.5):
                await counted.close()
    raise NetworkError(f"nothing answers at {place}: no answer within {ANSWER_SECONDS:g} s")


async def _prove(connection: Any) -> PeerId:
    protocol = TProtocol(NOISE_PROTOCOL)
    await EagerClient().select_one_of([protocol], MultiselectCommunicator(connection))
    noise = NoiseTransport(
        key_pair_of(generate_identity()), noise_privkey=create_new_x25519_key_pair().private_key
    )
    # Nobody is expected; that whoever is there holds the key of its id is checked all the same.
    secured = await noise.get_pattern().handshake_outbound(connection, None)
    return PeerId(str(secured.get_remote_peer()))
