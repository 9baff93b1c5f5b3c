"""Agreeing on a protocol (multistream-select) without waiting where nothing depends on the answer.

Specification: https://github.com/multiformats/multistream-select.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libp2p.abc import IMultiselectCommunicator
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect_client import (
    DEFAULT_NEGOTIATE_TIMEOUT,
    MULTISELECT_PROTOCOL_ID,
    MultiselectClient,
)
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.utils.varint import encode_delim

from openfl.network.libp2p.transport import shielded


class EagerClient(MultiselectClient):  # type: ignore[misc]
    """Proposes its first protocol together with the greeting. Defect negotiation-waits."""

    async def select_one_of(
        self,
        protocols: Sequence[TProtocol],
        communicator: IMultiselectCommunicator,
        negotiate_timeout: int = DEFAULT_NEGOTIATE_TIMEOUT,
    ) -> TProtocol:
        """The first that the other side agrees to; MultiselectClientError when there is none."""
        words = [MULTISELECT_PROTOCOL_ID, *protocols[:1]]
        said = b"".join(encode_delim(word.encode()) for word in words)
        try:
            await communicator.read_writer.write(said)
        except IOException as error:
            raise MultiselectClientError(f"the greeting could not be sent: {error}") from error
        return await super().select_one_of(protocols, _Said(communicator, words), negotiate_timeout)


class _Said(IMultiselectCommunicator):  # type: ignore[misc]
    """A communicator to whose other side the `words` have been said already."""

    def __init__(self, communicator: IMultiselectCommunicator, words: Sequence[str]) -> None:
        self._communicator = communicator
        self._words = list(words)

    async def write(self, msg_str: str) -> None:
        if self._words and self._words[0] == msg_str:
            del self._words[0]
        else:
            await self._communicator.write(msg_str)

    async def read(self) -> str:
        word: str = await self._communicator.read()
        return word


async def open_stream_on(
    connection: Any, host: BasicHost, protocols: Sequence[TProtocol], timeout_seconds: int = 10
) -> Any:
    """A negotiated stream on this very connection; the stream is reset when that fails."""
    stream = await connection.new_stream()
    try:
        selected = await host.multiselect_client.select_one_of(
            list(protocols), MultiselectCommunicator(stream), timeout_seconds
        )
    except BaseException:
        with shielded(1):
            await stream.reset()
        raise
    stream.set_protocol(selected)
    return stream
