"""What peers tell of themselves by identify: read within bounds, and counted when it is junk."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from google.protobuf.message import DecodeError as ProtobufError
from libp2p.abc import IHost
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.update import update_peerstore_from_identify
from libp2p.io.exceptions import MessageTooLarge

from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.transport import Faults, shielded

log = logging.getLogger(__name__)

PROTOCOL = TProtocol("/ipfs/id/1.0.0")
PUSH_PROTOCOL = TProtocol("/ipfs/id/push/1.0.0")
MAX_IDENTIFY_BYTES = 64 * 1024
PUSH_SECONDS = 10.0


async def read_identify(stream: Any) -> Identify:
    """ProtobufError, ParseError or MessageTooLarge for anything but such a message."""
    message = Identify()
    message.ParseFromString(await StreamReader(stream).read_varint_frame(MAX_IDENTIFY_BYTES) or b"")
    return message


def push_handler(host: IHost, faults: Faults) -> Callable[[Any], Awaitable[None]]:
    """A stream handler for identify/push.

    Defect identify-length. What is wrong in a message is not logged as an error of ours.
    """

    async def take(stream: Any) -> None:
        peer_id = stream.muxed_conn.peer_id
        try:
            with trio.fail_after(PUSH_SECONDS):
                message = await read_identify(stream)
            await update_peerstore_from_identify(host.get_peerstore(), peer_id, message)
            await stream.close()
            return
        except (ProtobufError, ParseError, MessageTooLarge) as error:
            faults.against(peer_id, "identify-malformed")
            log.debug("identify of %s: %r", peer_id, error)
        except (BaseLibp2pError, trio.TooSlowError) as error:
            faults.count("identify-broken")
            log.debug("identify of %s: %r", peer_id, error)
        with shielded(1), contextlib.suppress(Exception):
            await stream.reset()

    return take
