"""`Fetcher`: asks other members for what this one lacks: a snapshot when it joins, pulls later.

Both are pages of signed deltas, merged by `DeltaReceiver` as they come; a page that ends early says
where to go on. At most `max_open_requests` are under way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from openfl.aggregation.replica import Cursor, Replica
from openfl.aggregation.version_vector import Version, VersionVector
from openfl.core.contribution import PeerId
from openfl.core.errors import DecodeError, InvalidContribution, InvalidSignature, RemoteError
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.delta_receiver import DeltaReceiver
from openfl.group.missing_deltas import MissingDelta, MissingDeltas
from openfl.group.settings import SessionSettings
from openfl.wire import messages as wire

MAX_PAGES = 4096
"""Of one snapshot: whoever has more to give is not believed."""


MAX_FRUITLESS_PAGES = 16
"""Pages in a row that tell nothing new."""
GRACE_SECONDS = 30.0
MIN_BYTES_PER_SECOND = 50_000
"""A snapshot or pull that is slower, after the grace, is given up: others may be faster."""


MIN_PAGE_BYTES = 16 << 10
PAGE_SHRINKING = 8
"""By how much less is asked for after a request without an answer. What comes too late is lost with
the work it was: peers that are all busy would ask each other for the same large pages for ever.
Every page that comes is kept, and the next one may be twice as large."""


class SnapshotEnd(Enum):
    """How the fetching of a snapshot ended."""

    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(slots=True)
class _Snapshot:
    peer: PeerId
    started_at: float
    known: VersionVector
    cursor: Cursor | None = None
    pages: int = 0
    fruitless: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Pull:
    peer: PeerId
    started_at: float
    wanted: list[MissingDelta]
    cursor: Cursor | None = None
    pages: int = 0
    fruitless: int = 0
    bytes: int = 0


class Fetcher:
    """`count(name)` counts what went wrong."""

    def __init__(
        self,
        replica: Replica,
        delta_receiver: DeltaReceiver,
        missing: MissingDeltas,
        settings: SessionSettings,
        count: Callable[[str], None],
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._replica = replica
        self._delta_receiver = delta_receiver
        self._missing = missing
        self._settings = settings
        self._count = count
        self._open: dict[int, _Snapshot | _Pull] = {}
        self._next_token = 1
        self._page_bytes = settings.snapshot_page_bytes
        self.patience = 1.0
        """How many times as long to wait for an answer as is set: who is asked may be as loaded."""

    @property
    def fetching_snapshot(self) -> bool:
        """Whether any member is asked for a snapshot right now."""
        return any(isinstance(fetch, _Snapshot) for fetch in self._open.values())

    @property
    def snapshot_sources(self) -> frozenset[PeerId]:
        """Members that are asked for a snapshot right now."""
        return frozenset(f.peer for f in self._open.values() if isinstance(f, _Snapshot))

    @property
    def silent_since(self) -> float | None:
        """When the one member that is asked for a snapshot was asked; None when nobody is, or
        more than one, or when it has begun to answer."""
        silent = [f for f in self._open.values() if isinstance(f, _Snapshot)]
        return silent[0].started_at if len(silent) == 1 and not silent[0].pages else None

    def give_up_snapshots(self) -> None:
        """There is one already: what others still send of theirs is not taken in."""
        for token, fetch in list(self._open.items()):
            if isinstance(fetch, _Snapshot):
                del self._open[token]

    def snapshot(self, peer: PeerId, now: float) -> ev.Request:
        """Begin to fetch what this replica lacks of the peer's."""
        return self._ask(_Snapshot(peer, now, self._replica.version_vector()))

    def pull(self, reachable: frozenset[PeerId], now: float) -> list[ev.Request]:
        """Ask for the missing deltas that are due, one request a source."""
        room = self._settings.max_open_requests - len(self._open)
        if room <= 0:
            # Requests without an answer take seconds, and a liar can make up thousands of deltas.
            self._missing.wait(now)
            return []
        by_source: dict[PeerId, list[MissingDelta]] = {}
        for source, wanted in self._missing.due(now, reachable, wire.LIMITS.max_wants):
            if source not in by_source and len(by_source) >= room:
                self._missing.postponed(wanted.author, now)
                continue
            by_source.setdefault(source, []).append(wanted)
        return [self._ask(_Pull(source, now, wanted)) for source, wanted in by_source.items()]

    def on_answer(
        self, token: int, payload: bytes | None, now: float
    ) -> tuple[list[ev.Effect], SnapshotEnd | None]:
        """Merge the answer to an open request (None: there is none) and ask for the next page."""
        fetch = self._open.pop(token, None)
        if fetch is None:
            return [], None
        effects: list[ev.Effect] = []
        answer: wire.ItemsAnswer | None = None
        before = self._replica.generation
        self._adapt_page(payload is not None)
        if payload is not None:
            try:
                decoded = wire.decode_items_answer(payload)
                if isinstance(decoded, wire.Refusal):
                    self._count(f"was-refused-{decoded.code}")
                else:
                    effects += self._delta_receiver.page(decoded, now)
                    _require_progress(fetch.cursor, decoded.cursor)
                    answer = decoded
            except RemoteError as error:
                self._count(fault_name(error))
                effects.append(ev.Penalize(fetch.peer, str(error)))
        if answer is not None and answer.cursor is not None:
            fetch.cursor = answer.cursor
            fetch.pages += 1
            fetch.bytes += 0 if payload is None else len(payload)
            fetch.fruitless = 0 if self._replica.generation != before else fetch.fruitless + 1
            if not self._is_endless(fetch, now):
                return [*effects, self._ask(fetch)], None
            self._count("endless-answer")
        if isinstance(fetch, _Snapshot):
            whole = answer is not None and answer.cursor is None
            return effects, SnapshotEnd.COMPLETE if whole else SnapshotEnd.FAILED
        for wanted in fetch.wanted:
            self._missing.answered(wanted.author, now, failed=payload is None)
        return effects, None

    def _ask(self, fetch: _Snapshot | _Pull) -> ev.Request:
        token = self._next_token
        self._next_token += 1
        self._open[token] = fetch
        group_id = self._replica.charter.group_id
        page_bytes = self._page_bytes
        if isinstance(fetch, _Snapshot):
            protocol = wire.SNAPSHOT_PROTOCOL
            payload = wire.encode_snapshot_request(
                wire.SnapshotRequest(
                    group_id, fetch.known, page_bytes, fetch.cursor, self._admission.own
                )
            )
        else:
            protocol = wire.PULL_PROTOCOL
            wants = {wanted.author: self._have(wanted) for wanted in fetch.wanted}
            payload = wire.encode_pull_request(
                wire.PullRequest(group_id, wants, page_bytes, fetch.cursor, self._admission.own)
            )
        return ev.Request(
            token,
            fetch.peer,
            protocol,
            payload,
            wire.LIMITS.max_answer_bytes,
            self._settings.request_timeout_seconds * self.patience,
        )

    def _adapt_page(self, answered: bool) -> None:
        most = self._settings.snapshot_page_bytes
        wanted = 2 * self._page_bytes if answered else self._page_bytes // PAGE_SHRINKING
        self._page_bytes = min(most, max(MIN_PAGE_BYTES, wanted))

    def _is_endless(self, fetch: _Snapshot | _Pull, now: float) -> bool:
        enough = GRACE_SECONDS + fetch.bytes / MIN_BYTES_PER_SECOND
        return (
            fetch.pages >= MAX_PAGES
            or fetch.fruitless >= MAX_FRUITLESS_PAGES
            or now - fetch.started_at > enough
        )

    def _have(self, wanted: MissingDelta) -> Version:
        """What we have of the author, in the epoch that is missing."""
        have = self._replica.version_of(wanted.author)
        return have if have.epoch == wanted.epoch else Version(wanted.epoch, 0)


def _require_progress(before: Cursor | None, after: Cursor | None) -> None:
    """InvalidContribution when the next page would not lie behind this one."""
    if before is None or after is None:
        return
    if (after.author, after.epoch, after.seqno) <= (before.author, before.epoch, before.seqno):
        raise InvalidContribution("an answer that goes round in a circle")


def fault_name(error: RemoteError) -> str:
    """A stable word for counting."""
    match error:
        case DecodeError():
            return "undecodable"
        case InvalidSignature():
            return "bad-signature"
        case InvalidContribution():
            return "invalid-contribution"
        case _:
            return "remote-error"
