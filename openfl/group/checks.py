"""`Checks`: what bytes from others pass before they count, and how much one peer may send."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.core.rate_limit import RateLimiter
from openfl.group.admission import Admission
from openfl.group.reader import Reader
from openfl.group.settings import SessionSettings
from openfl.network.base import Sealer

BURST_SECONDS = 8
"""An author may send at once what it may send in so many seconds: a large member's first deltas."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Signature (`sealer`), form (`reader`) and right (`admission`): every part of a session that
    takes in bytes of others needs these three."""

    sealer: Sealer
    reader: Reader
    admission: Admission


class PeerRates:
    """How often, and how much, one peer may speak. `messages`: one limit for all that it says, on
    the topic or asking. `bytes`: for what it says on the topic alone."""

    def __init__(self, settings: SessionSettings) -> None:
        self.messages = RateLimiter(settings.messages_per_second, 4 * settings.messages_per_second)
        self.bytes = RateLimiter(
            settings.bytes_per_second, BURST_SECONDS * settings.bytes_per_second
        )
