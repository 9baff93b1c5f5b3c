"""`SnapshotFetch`: gets one group's snapshot from one of its members, as a pure state machine.

Or, where that is enough, a summary of its model. Whoever does not know what a summary is, for it is
of an earlier version, is asked for its snapshot instead.

Members are asked one after another: those at hand, then those that are looked up, then whoever
signed the group's cards, for where these are may not be known, and finding that out takes long. A
member that cannot be reached counts for nothing: perhaps only its address was unknown, and the next
source tells it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openfl.core.contribution import Charter, PeerId
from openfl.core.errors import DecodeError, InvalidContribution, InvalidSignature, RemoteError
from openfl.network.base import PeerAddress
from openfl.switching.directory import Directory
from openfl.switching.events import (
    Answered,
    Connect,
    ConnectEnded,
    Fetched,
    FetchEffect,
    FindMembers,
    LookEvent,
    MembersFound,
    NotAnswered,
    NotFetched,
    Penalize,
    RequestSnapshot,
    Source,
    Summarized,
)
from openfl.switching.probe import Probe, Probes
from openfl.switching.summary import SummaryReader
from openfl.wire.names import SUMMARY_PROTOCOL

FETCH_SECONDS = 8.0
"""For one group: whoever is slower is asked next time."""
CONNECT_SECONDS = 3.0
LOOK_UP_SECONDS = 4.0
MAX_SOURCES = 4
"""Members asked for one group's snapshot before it is given up."""
MOMENT_SECONDS = 1e-6
"""Clocks add up in floats: a deadline has passed when it is as close as that."""


@dataclass(frozen=True, slots=True)
class _Finding:
    source: Source


@dataclass(frozen=True, slots=True)
class _Connecting:
    member: PeerAddress


@dataclass(frozen=True, slots=True)
class _Asking:
    peer: PeerId


@dataclass(frozen=True, slots=True)
class _AskingSummary:
    peer: PeerId
    deadline: float


@dataclass(frozen=True, slots=True)
class _Over:
    """What it came to has been returned."""


_State = _Finding | _Connecting | _AskingSummary | _Asking | _Over


class SnapshotFetch:
    """See the module's text. The probe is this fetch's own until it ends; it is given back to
    `probes` when nobody serves anything. spent: told of the bytes of each answer. summary: to be
    asked for first; the end is then `Summarized`, unless whoever answers knows of none."""

    next_wake = math.inf
    """There is no timer: whatever is asked for is reported by its own deadline."""

    def __init__(
        self,
        charter: Charter,
        probes: Probes,
        directory: Directory,
        me: PeerId,
        rng: np.random.Generator,
        spent: Callable[[int], None],
        summary: SummaryReader | None = None,
    ) -> None:
        self.charter = charter
        self._summary = summary
        self._taken: Probe | None = None if summary is not None else probes.take(charter)
        self._probes = probes
        self._directory = directory
        self._me = me
        self._rng = rng
        self._spent = spent
        self._state: _State = _Finding("at hand")
        self._waiting: deque[PeerAddress] = deque()
        """Members of the present source, still to be asked."""
        self._other_sources = deque([self._look_up, self._ask_issuers])
        """What is tried when there are none left."""
        self._asked: set[PeerId] = set()
        self._reason = "no member is known"
        self._deadline = 0.0

    def start(self, now: float) -> list[FetchEffect]:
        """Begin; to be called once."""
        self._deadline = now + FETCH_SECONDS
        return [FindMembers(self.charter.group_id, "at hand", self._deadline)]

    def handle(self, event: LookEvent, now: float) -> list[FetchEffect]:
        """What follows from `event`; `Summarized`, `Fetched` or `NotFetched` is the last effect."""
        match self._state, event:
            case _Finding(source="at hand"), MembersFound():
                # None of these is better than another.
                members = sorted(event.members, key=lambda member: member.peer_id)
                order = self._rng.permutation(len(members)).tolist()
                self._waiting.extend(members[place] for place in order)
                return self._next(now)
            case _Finding(), MembersFound():
                self._waiting.extend(event.members)
                return self._next(now)
            case _Connecting() as state, ConnectEnded(connected=True):
                self._asked.add(state.member.peer_id)
                if self._summary is None:
                    return self._ask(state.member.peer_id, now)
                self._summary.begin()
                return [self._request_summary(self._summary, state.member.peer_id, now)]
            case _Connecting(), ConnectEnded():
                self._reason = "no member can be reached"
                return self._next(now)
            case _AskingSummary() as state, Answered():
                return self._take_in_summary(state.peer, event.payload, now)
            case _AskingSummary() as state, NotAnswered():
                self._reason = event.reason
                if now < state.deadline - MOMENT_SECONDS:  # it may be of an earlier version
                    return self._ask(state.peer, now)
                return self._next(now)
            case _Asking() as state, Answered():
                return self._take_in(state.peer, event.payload, now)
            case _Asking(), NotAnswered():
                self._reason = event.reason
                return self._next(now)
        raise ValueError(f"{type(event).__name__} is not what {type(self._state).__name__} is for")

    def _take_in_summary(self, peer: PeerId, payload: bytes, now: float) -> list[FetchEffect]:
        assert self._summary is not None, "nobody was asked for a summary"
        self._spent(len(payload))
        try:
            summary = self._summary.answer(payload)
        except (DecodeError, InvalidContribution) as error:
            self._reason = str(error)
            return [Penalize(peer, self._reason), *self._next(now)]
        except RemoteError as error:
            self._reason = str(error)
            return self._next(now)
        if summary is None:
            return [self._request_summary(self._summary, peer, now)]
        self._state = _Over()
        if self._taken is not None:  # somebody else was asked for a snapshot before
            self._probes.keep(self._taken)
        return [Summarized(self.charter.group_id, summary)]

    def _take_in(self, peer: PeerId, payload: bytes, now: float) -> list[FetchEffect]:
        self._spent(len(payload))
        try:
            complete = self._probe.answer(payload, now)
        except (DecodeError, InvalidContribution, InvalidSignature) as error:
            self._reason = str(error)
            return [Penalize(peer, self._reason), *self._next(now)]
        except RemoteError as error:
            self._reason = str(error)
            return self._next(now)
        if not complete:
            return [self._request(peer, now)]
        self._state = _Over()
        authors = [state.peer_id for state in self._probe.replica.members()]
        self._directory.fetched(self.charter.group_id, authors)
        return [Fetched(self.charter.group_id, self._probe, peer)]

    def _next(self, now: float) -> list[FetchEffect]:
        """The next member, or the next source; or the end."""
        if now >= self._deadline - MOMENT_SECONDS:
            self._reason = "no answer in time"
            return self._give_up()
        while self._waiting and len(self._asked) < MAX_SOURCES:
            member = self._waiting.popleft()
            if member.peer_id != self._me and member.peer_id not in self._asked:
                self._state = _Connecting(member)
                deadline = min(now + CONNECT_SECONDS, self._deadline)
                return [Connect(self.charter.group_id, member, deadline)]
        if self._other_sources and len(self._asked) < MAX_SOURCES:
            return self._other_sources.popleft()(now)
        return self._give_up()

    def _give_up(self) -> list[FetchEffect]:
        self._state = _Over()
        if self._taken is not None:
            self._probes.keep(self._taken)  # what has come was signed by its authors
        return [NotFetched(self.charter.group_id, self._reason)]

    @property
    def _probe(self) -> Probe:
        if self._taken is None:
            self._taken = self._probes.take(self.charter)
        return self._taken

    def _ask(self, peer: PeerId, now: float) -> list[FetchEffect]:
        self._state = _Asking(peer)
        self._probe.begin(now)
        return [self._request(peer, now)]

    def _request_summary(self, summary: SummaryReader, peer: PeerId, now: float) -> RequestSnapshot:
        deadline = min(now + self._probes.settings.request_timeout_seconds, self._deadline)
        self._state = _AskingSummary(peer, deadline)
        return RequestSnapshot(
            self.charter.group_id, peer, summary.request(), deadline, SUMMARY_PROTOCOL
        )

    def _request(self, peer: PeerId, now: float) -> RequestSnapshot:
        deadline = min(now + self._probes.settings.request_timeout_seconds, self._deadline)
        return RequestSnapshot(self.charter.group_id, peer, self._probe.request(), deadline)

    # --- sources ----------------------------------------------------------------------------------

    def _look_up(self, now: float) -> list[FetchEffect]:
        self._state = _Finding("looked up")
        deadline = min(now + LOOK_UP_SECONDS, self._deadline)
        return [FindMembers(self.charter.group_id, "looked up", deadline)]

    def _ask_issuers(self, now: float) -> list[FetchEffect]:
        """Who signed the group's cards, latest first."""
        issuers = self._directory.issuers(self.charter.group_id)
        self._waiting.extend(PeerAddress(issuer) for issuer in issuers)
        return self._next(now)
