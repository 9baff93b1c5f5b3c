"""`SimulatedRequests`: requests and answers on the simulated network, each with a sampled delay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openfl.core.contribution import PeerId
from openfl.simulation.agenda import Agenda
from openfl.simulation.links import Links
from openfl.simulation.member import SimulatedMember

Respond = Callable[[SimulatedMember, PeerId, str, bytes], bytes | None]
"""(who is asked, by whom, protocol, payload) -> the answer; None: there is none."""
Answered = Callable[[bytes | None], None]
"""Gets the answer when it is there, or None once it was waited for in vain."""


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """To `peer`, whoever that is once it arrives there."""

    asker: SimulatedMember
    peer: PeerId
    protocol: str
    payload: bytes


class SimulatedRequests:
    """member_of: who has that identity now."""

    def __init__(
        self,
        agenda: Agenda,
        links: Links,
        member_of: Callable[[PeerId], SimulatedMember],
        respond: Respond,
    ) -> None:
        self.bytes_carried = 0
        """Payloads of requests and of answers, late ones included."""
        self._agenda = agenda
        self._links = links
        self._member_of = member_of
        self._respond = respond

    def send(self, request: SimulatedRequest, timeout_seconds: float, answered: Answered) -> None:
        """Under way from now on."""
        self.bytes_carried += len(request.payload)
        now = self._agenda.now
        arrives = now + self._links.one_way(len(request.payload))
        self._agenda.plan(arrives, self._arrive, request, now + timeout_seconds, answered)

    def _arrive(self, request: SimulatedRequest, deadline: float, answered: Answered) -> None:
        now, arrives = self._agenda.now, deadline
        asker, asked = request.asker, self._member_of(request.peer)
        answer: bytes | None = None
        if asked.alive and asked.side == asker.side:
            answer = self._respond(asked, asker.peer_id, request.protocol, request.payload)
        if answer is not None:
            arrives = now + self._links.one_way(len(answer))
            self.bytes_carried += len(answer)
            if arrives > deadline:
                answer, arrives = None, deadline
        self._agenda.plan(arrives, answered, answer)
