"""The group's replica: a delta-state CRDT of all members' contributions, kept by every member.

Theory of operation. A register (author, table, row) holds the author's latest proposal for the row;
"latest" is by (epoch, seqno, digest), so the replica's state is a function of the *set* of deltas
and leaves heard, whatever the order, repetition or grouping (Almeida, Shoker, Baquero 2018). The
group's model is a precision-weighted mean of the registers, kept as running sums in exact
arithmetic (`fixed_point`): taking a member out leaves bit for bit the sums of a replica that never
heard of it.

Each author's signed deltas are kept while they back a live register; a snapshot is exactly these
envelopes, so whoever serves one can withhold but not forge. Four collaborators hold the parts:
`registers` (one author, one table), `sums` (all authors, one table), `delta_log` (an author's
envelopes), `departures` (who is gone).

What does not fit the limits is refused without any change of state; every outcome is a value.
`now` is any clock that never runs backwards, in seconds. Not safe to share between threads; views
are frozen copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.delta import Delta
from openfl.aggregation.delta_log import DeltaLog
from openfl.aggregation.departures import Departures
from openfl.aggregation.fixed_point import MEMBER_CAP, fits, weighted_mean
from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.registers import Plan, TableRegisters
from openfl.aggregation.sums import TableSums
from openfl.aggregation.version_vector import NOTHING, Heard, Version, VersionVector
from openfl.contribution import Charter, Evaluation, Floats, Keys, PeerId, TableSchema
from openfl.model_view import DenseModel, DenseTable, initial_rows

MEMBER_BYTES = 2048
"""Counted for each member beside its rows and envelopes."""
ITEM_BYTES = 128
"""Counted for each item of a page beside its envelope: framing, author, age."""
MAX_VARIANTS = 2
"""Different deltas of one seqno that are merged: two prove that the author lies; that is enough."""


@dataclass(frozen=True, slots=True)
class ReplicaLimits:
    """Bounds of a replica. `max_rows` counts registers of all members; `max_bytes` is compared with
    `Replica.size_bytes`. `member_ttl_seconds`: silence after which a member's registers go."""

    max_members: int = 4096
    max_rows: int = 2_000_000
    max_bytes: int = 512 << 20
    max_member_rows: int = 500_000
    max_member_deltas: int = 512
    member_ttl_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_members <= MEMBER_CAP:
            raise ValueError(f"max_members must be within 1..{MEMBER_CAP}")


class MergeKind(Enum):
    """MERGED: state changed. STALE: of an older epoch, of a member that left or expired, or wholly
    superseded. DUPLICATE: heard before. REFUSED: does not fit the charter or the limits."""

    MERGED = "merged"
    STALE = "stale"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class MergeResult:
    """`reason` is a stable word for counting, `detail` a sentence for people. `equivocation`: the
    author signed another delta with the same seqno, which proves it dishonest."""

    kind: MergeKind
    reason: str = ""
    detail: str = ""
    rows_changed: int = 0
    equivocation: bool = False


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member that has contributed. `version.seqno` is complete up to there; `latest_seqno` is the
    highest heard. round, examples and fit are as its latest delta says."""

    peer_id: PeerId
    version: Version
    latest_seqno: int
    rows: int
    last_heard: float
    round: int
    examples: int
    fit: Evaluation | None


@dataclass(frozen=True, slots=True)
class MemberRows:
    """One member's registers in one table (copies). keys: uint64[n] ascending; values:
    float32[n, width]; evidence: uint32[n]; precision: float64[n, width]."""

    keys: Keys
    values: Floats
    evidence: NDArray[np.uint32]
    precision: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Item:
    """One signed envelope as it is handed on. `age_seconds`: since the author was last heard of."""

    kind: Literal["delta", "leave"]
    author: PeerId
    envelope: bytes
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Completeness:
    """Of this author's deltas with after < seqno <= upto, all that are live were handed on."""

    author: PeerId
    epoch: int
    after: int
    upto: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page goes on: behind (author, epoch, seqno) in canonical order."""

    author: PeerId
    epoch: int
    seqno: int


@dataclass(frozen=True, slots=True)
class Page:
    items: tuple[Item, ...]
    complete: tuple[Completeness, ...]
    cursor: Cursor | None
    """None when there is nothing more."""


@dataclass(slots=True)
class _Member:
    """Everything known of one author in its current epoch."""

    epoch: int
    last_heard: float
    log: DeltaLog = field(default_factory=DeltaLog)
    heard: Heard = field(default_factory=Heard)
    tables: dict[str, TableRegisters] = field(default_factory=dict)
    digest: bytes | None = None

    @property
    def rows(self) -> int:
        return sum(len(table) for table in self.tables.values())

    @property
    def version(self) -> Version:
        return Version(self.epoch, self.heard.complete)


@dataclass(frozen=True, slots=True)
class _PlannedBlock:
    block: QuantizedBlock
    values: Floats
    plan: Plan


class Replica:
    """One group's registers and running sums; see the module's text."""

    def __init__(self, charter: Charter, limits: ReplicaLimits | None = None) -> None:
        self.charter = charter
        self.limits = limits if limits is not None else ReplicaLimits()
        self._schemas: dict[str, TableSchema] = {t.name: t for t in charter.tables}
        self._sums = {t.name: TableSums(t) for t in charter.tables}
        self._members: dict[PeerId, _Member] = {}
        self._departures = Departures(2 * self.limits.max_members)
        self._registers = 0
        self._row_bytes = 0
        self._envelope_bytes = 0
        self._generation = 0
        self._view: tuple[int, DenseModel] | None = None

    # --- what is heard ----------------------------------------------------------------------------

    def merge(
        self, author: PeerId, delta: Delta, envelope: bytes, now: float, age_seconds: float = 0.0
    ) -> MergeResult:
        """Merge one delta whose signature by `author` over `envelope` was verified.

        `age_seconds`: how long ago the author was last heard of, as told by whoever relayed it.
        """
        if delta.group_id != self.charter.group_id:
            return _refused("other-group", "the delta is of another group")
        member = self._members.get(author)
        stale = self._why_stale(author, member, delta, age_seconds)
        if stale is not None:
            return MergeResult(MergeKind.STALE, stale)
        order = (delta.seqno, delta.digest)
        current = member if member is not None and member.epoch == delta.epoch else None
        if current is not None and current.log.has(order):
            current.last_heard = max(current.last_heard, now - age_seconds)
            return MergeResult(MergeKind.DUPLICATE, "duplicate")
        known_seqno = current is not None and delta.seqno in current.heard
        variants = 0 if current is None else current.log.variants(delta.seqno)
        if variants >= MAX_VARIANTS:
            return _refused("equivocation", f"too many different deltas have seqno {delta.seqno}")
        target = current if current is not None else _Member(delta.epoch, now - age_seconds)
        planned = self._plan(target, delta)
        if isinstance(planned, MergeResult):
            return planned
        refusal = self._over_limits(author, member, target, planned, envelope)
        if refusal is not None:
            return refusal
        changed = sum(item.plan.changed for item in planned)
        latest = target.log.latest
        superseded = not changed and latest is not None and latest.order > order
        if superseded and known_seqno:
            return MergeResult(MergeKind.DUPLICATE, "duplicate")

        if current is None:
            if member is not None:
                self._remove(author)
            self._members[author] = target
            self._departures.is_back(author)
        target.last_heard = max(target.last_heard, now - age_seconds)
        target.heard.add(delta.seqno)
        if superseded:
            return MergeResult(MergeKind.STALE, "superseded")
        self._apply(target, delta, envelope, planned)
        return MergeResult(MergeKind.MERGED, rows_changed=changed, equivocation=variants > 0)

    def leave(self, author: PeerId, epoch: int, envelope: bytes, now: float) -> MergeResult:
        """Merge a verified tombstone: registers of `epoch` and older go and stay away."""
        member = self._members.get(author)
        if self._departures.left_epoch(author) >= epoch:
            return MergeResult(MergeKind.DUPLICATE, "duplicate")
        if member is not None and member.epoch > epoch:
            return MergeResult(MergeKind.STALE, "older-epoch")
        rows = 0 if member is None else member.rows
        if member is not None:
            self._remove(author)
        self._departures.leave(author, epoch, envelope, now)
        return MergeResult(MergeKind.MERGED, rows_changed=rows)

    def heard(self, author: PeerId, now: float, age_seconds: float = 0.0) -> None:
        """The author was alive `age_seconds` ago, so it says itself (0) or someone relays.

        An expired member may come back (its deltas will merge again) when this is news, that is
        later than what was known when it expired.
        """
        heard_at = now - max(0.0, age_seconds)
        member = self._members.get(author)
        if member is not None:
            member.last_heard = max(member.last_heard, heard_at)
            return
        expired = self._departures.expired(author)
        if (
            expired is not None
            and heard_at > expired.last_heard
            and age_seconds < self.limits.member_ttl_seconds
        ):
            self._departures.is_back(author)

    def expire(self, now: float, keep: Collection[PeerId] = ()) -> tuple[PeerId, ...]:
        """Drop members not heard of for the time to live, except `keep`; returns who they were."""
        ttl = self.limits.member_ttl_seconds
        gone = [
            author
            for author, member in self._members.items()
            if now - member.last_heard >= ttl and author not in keep
        ]
        for author in gone:
            member = self._members[author]
            last = Version(member.epoch, member.heard.highest)
            self._remove(author)
            self._departures.expire(author, last, member.last_heard, now)
        self._departures.forget_before(now - 2 * ttl)
        return tuple(gone)

    def mark_complete(self, statement: Completeness) -> bool:
        """Believe that nothing live is missing between `after` and `upto`; True when it was used.

        Only up to the highest seqno that the author itself signed: a liar cannot make this replica
        deaf to what is still to come. A statement that does not connect to what is known is unused.
        """
        member = self._members.get(statement.author)
        if member is None or member.epoch != statement.epoch:
            return False
        if member.heard.complete < statement.after:
            return False
        upto = min(statement.upto, member.heard.highest)
        if upto <= member.heard.complete:
            return False
        member.heard.mark_complete(upto)
        return True

    # --- what it says -----------------------------------------------------------------------------

    def view(self) -> DenseModel:
        """The group's model now; a frozen copy, the same object until something changes."""
        if self._view is None or self._view[0] != self._generation:
            self._view = (self._generation, self.view_without(()))
        return self._view[1]

    def view_without(self, authors: Collection[PeerId]) -> DenseModel:
        """The model as if these members had never been heard of."""
        left_out = [self._members[a] for a in sorted(set(authors)) if a in self._members]
        tables = {}
        for name, sums in self._sums.items():
            withdrawals = [m.tables[name].withdrawal() for m in left_out if name in m.tables]
            live = sums.live().without(withdrawals)
            if not len(live.keys):
                continue
            schema = self._schemas[name]
            rows, known = weighted_mean(live.num, live.den, live.evidence, schema)
            if not known.all():
                seeded = initial_rows(self.charter, name, live.keys)
                rows[~known] = seeded[~known]
            tables[name] = DenseTable(live.keys, rows, live.evidence.astype(np.float64))
        return DenseModel(self.charter, tables)

    def members(self) -> tuple[MemberState, ...]:
        """Members with registers, by peer id."""
        states = []
        for author in sorted(self._members):
            member = self._members[author]
            latest = member.log.latest
            assert latest is not None, "a member without a delta"
            states.append(
                MemberState(
                    author,
                    member.version,
                    member.heard.highest,
                    member.rows,
                    member.last_heard,
                    latest.round,
                    latest.examples,
                    latest.fit,
                )
            )
        return tuple(states)

    def member_rows(self, author: PeerId, table: str) -> MemberRows:
        """One member's registers; empty when it has none. KeyError for an unknown table."""
        schema = self._schemas[table]
        member = self._members.get(author)
        found = None if member is None else member.tables.get(table)
        registers = found if found is not None else TableRegisters(schema)
        return MemberRows(
            registers.keys.copy(),
            registers.values.copy(),
            registers.evidence.copy(),
            registers.precision(),
        )

    def digest(self) -> bytes:
        """16 bytes that are equal exactly when two replicas hold the same live deltas (and so the
        same registers, sums and model), in whatever order they came."""
        whole = hashlib.sha256(self.charter.group_id.encode())
        for author in sorted(self._members):
            member = self._members[author]
            if member.digest is None:
                part = hashlib.sha256(f"{author}/{member.epoch}".encode())
                for seqno, delta_digest in member.log.orders:
                    part.update(seqno.to_bytes(8, "big"))
                    part.update(delta_digest)
                member.digest = part.digest()
            whole.update(member.digest)
        return whole.digest()[:16]

    @property
    def member_count(self) -> int:
        return len(self._members)

    @property
    def register_count(self) -> int:
        """Registers of all members in all tables."""
        return self._registers

    @property
    def model_rows(self) -> int:
        """Rows that at least one member has evidence on."""
        return sum(sums.rows for sums in self._sums.values())

    @property
    def size_bytes(self) -> int:
        """An upper estimate of the memory in use, a function of the state alone."""
        return (
            MEMBER_BYTES * len(self._members)
            + self._row_bytes
            + self._envelope_bytes
            + self._departures.envelope_bytes
        )

    # --- repair and snapshots ---------------------------------------------------------------------

    def version_vector(self) -> dict[PeerId, Version]:
        """author -> (epoch, seqno up to which nothing is missing)."""
        return {author: member.version for author, member in self._members.items()}

    def version_of(self, author: PeerId) -> Version:
        """(0, 0) for an unknown author."""
        member = self._members.get(author)
        return NOTHING if member is None else member.version

    def has_heard(self, author: PeerId, epoch: int, seqno: int) -> bool:
        """Whether such a delta would have nothing new: cheap, to be asked before verifying it."""
        if self._departures.left_epoch(author) >= epoch:
            return True
        member = self._members.get(author)
        if member is None:
            expired = self._departures.expired(author)
            return expired is not None and Version(epoch, seqno) <= expired.last
        return epoch < member.epoch or (epoch == member.epoch and seqno in member.heard)

    def has_left(self, author: PeerId, epoch: int) -> bool:
        """Whether a tombstone of the author covers `epoch`."""
        return self._departures.left_epoch(author) >= epoch

    def behind(self, theirs: VersionVector) -> tuple[tuple[PeerId, Version, Version], ...]:
        """(author, what we have, what they have) wherever they are ahead of us, by author.

        Authors that left or expired here are not missed. What we have is (their epoch, 0) when
        their epoch is new to us.
        """
        missing = []
        for author in sorted(theirs):
            version = theirs[author]
            if self.has_heard(author, version.epoch, version.seqno):
                # Heard beyond a gap is not enough: completeness counts.
                member = self._members.get(author)
                if member is None or member.version >= version:
                    continue
            have = self.version_of(author)
            if have.epoch != version.epoch:
                have = Version(version.epoch, 0)
            missing.append((author, have, version))
        return tuple(missing)

    def page(
        self,
        known: VersionVector,
        now: float,
        max_bytes: int,
        cursor: Cursor | None = None,
        authors: Collection[PeerId] | None = None,
    ) -> Page:
        """Signed envelopes that whoever has `known` lacks, in canonical order, about `max_bytes`.

        Only of `authors` when given (a pull), else of all members and leavers (a snapshot). At
        least one seqno's envelopes are in each page, so that paging always ends. Pages are
        stateless: `cursor` is where the page before ended, and may come from a stranger.
        """
        everyone = {stone.author for stone in self._departures.tombstones()} | set(self._members)
        wanted = everyone if authors is None else everyone.intersection(authors)
        page = _PageBuilder(max_bytes)
        for author in sorted(wanted):
            if cursor is not None and author < cursor.author:
                continue
            # Epoch 0 in a cursor: nothing of this author was sent yet.
            resumed = (
                cursor if cursor is not None and cursor.epoch and author == cursor.author else None
            )
            if page.full:
                return page.end(Cursor(author, 0, 0))
            have = known.get(author, NOTHING)
            stone = self._departures.tombstone(author)
            if stone is not None and resumed is None and have.epoch <= stone.epoch:
                page.add(Item("leave", author, stone.envelope, max(0.0, now - stone.since)))
            member = self._members.get(author)
            if member is None or have.epoch > member.epoch:
                continue
            start = have.seqno if have.epoch == member.epoch else 0
            if resumed is not None and resumed.epoch == member.epoch:
                start = max(start, resumed.seqno)
            age = max(0.0, now - member.last_heard)
            sent = start
            for entry in member.log.after(start):
                if entry.seqno != sent and not page.has_room(entry.envelope):
                    upto = min(sent, member.heard.complete)
                    page.declare(Completeness(author, member.epoch, start, upto, age))
                    return page.end(Cursor(author, member.epoch, sent))
                page.add(Item("delta", author, entry.envelope, age))
                sent = entry.seqno
            page.declare(Completeness(author, member.epoch, start, member.heard.complete, age))
        return page.end(None)

    def items(self, now: float) -> Iterator[Item]:
        """Every envelope this replica consists of, in canonical order (to be saved)."""
        yield from self.page({}, now, max_bytes=1 << 62).items

    # --- inside -----------------------------------------------------------------------------------

    def _why_stale(
        self, author: PeerId, member: _Member | None, delta: Delta, age_seconds: float
    ) -> str | None:
        if self._departures.left_epoch(author) >= delta.epoch:
            return "left"
        if member is not None:
            return "older-epoch" if delta.epoch < member.epoch else None
        expired = self._departures.expired(author)
        if expired is not None and Version(delta.epoch, delta.seqno) <= expired.last:
            return "expired"
        return "expired" if age_seconds >= self.limits.member_ttl_seconds else None

    def _plan(self, target: _Member, delta: Delta) -> list[_PlannedBlock] | MergeResult:
        """What each block would change, or why the delta is refused. Touches nothing."""
        if delta.epoch < 1 or delta.seqno < 1:
            return _refused("version", "epoch and seqno count from 1")
        older = target.log.older_than((delta.seqno, delta.digest))
        planned: list[_PlannedBlock] = []
        seen: set[str] = set()
        for block in delta.blocks:
            schema = self._schemas.get(block.table)
            if schema is None or block.table in seen or block.width != schema.width:
                return _refused("schema", f"table {block.table!r} does not fit the charter")
            seen.add(block.table)
            values = block.values()
            problem = fits(values, block.evidence, block.curvature, schema)
            if problem is not None:
                return _refused("bounds", problem)
            if len(block) > 1 and not (block.keys[1:] > block.keys[:-1]).all():
                return _refused("schema", f"keys of table {block.table!r} are not ascending")
            registers = target.tables.get(block.table) or TableRegisters(schema)
            planned.append(_PlannedBlock(block, values, registers.plan(block.keys, older)))
        return planned

    def _over_limits(
        self,
        author: PeerId,
        member: _Member | None,
        target: _Member,
        planned: list[_PlannedBlock],
        envelope: bytes,
    ) -> MergeResult | None:
        limits = self.limits
        if member is None and len(self._members) >= limits.max_members:
            return _refused("max-members", f"the replica holds {limits.max_members} members")
        # A delta of a new epoch takes the place of everything the author had.
        freed = member if member is not target else None
        adding = sum(len(item.plan.adding) for item in planned)
        if target.rows + adding > limits.max_member_rows:
            return _refused(
                "max-member-rows", f"a member has {limits.max_member_rows} rows at most"
            )
        rows = self._registers + adding - (freed.rows if freed is not None else 0)
        if rows > limits.max_rows:
            return _refused("max-rows", f"the replica holds {limits.max_rows} rows at most")
        size = self.size_bytes + MEMBER_BYTES + len(envelope)
        size += sum(_register_bytes(i.block.width) * len(i.plan.adding) for i in planned)
        if freed is not None:
            size -= self._bytes_of(freed)
        if size > limits.max_bytes:
            return _refused("max-bytes", f"the replica holds {limits.max_bytes} bytes at most")
        lost = np.zeros(target.log.places, dtype=np.int64)
        for item in planned:
            lost += item.plan.lost
        if target.log.surviving(lost) + 1 > limits.max_member_deltas:
            return _refused(
                "max-member-deltas", f"a member has {limits.max_member_deltas} live deltas at most"
            )
        return None

    def _apply(
        self, member: _Member, delta: Delta, envelope: bytes, planned: list[_PlannedBlock]
    ) -> None:
        self._envelope_bytes -= member.log.envelope_bytes
        place = member.log.add(delta, envelope)
        for item in planned:
            block, plan = item.block, item.plan
            registers = member.tables.get(block.table)
            if registers is None:
                registers = member.tables[block.table] = TableRegisters(self._schemas[block.table])
            change = registers.apply(
                plan, place, block.keys, item.values, block.evidence, block.curvature
            )
            self._sums[block.table].add(change)
            member.log.move_rows(plan.lost, place, plan.changed)
            self._registers += len(plan.adding)
            self._row_bytes += _register_bytes(block.width) * len(plan.adding)
        member.log.drop_superseded()
        self._envelope_bytes += member.log.envelope_bytes
        member.digest = None
        self._generation += 1

    def _remove(self, author: PeerId) -> None:
        member = self._members.pop(author)
        for name, registers in member.tables.items():
            self._sums[name].add(registers.withdrawal())
        self._registers -= member.rows
        self._row_bytes -= sum(
            _register_bytes(t.schema.width) * len(t) for t in member.tables.values()
        )
        self._envelope_bytes -= member.log.envelope_bytes
        self._generation += 1

    def _bytes_of(self, member: _Member) -> int:
        rows = sum(_register_bytes(t.schema.width) * len(t) for t in member.tables.values())
        return MEMBER_BYTES + rows + member.log.envelope_bytes


class _PageBuilder:
    """Collects a page of about `max_bytes`; the first item always fits."""

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes
        self._items: list[Item] = []
        self._complete: list[Completeness] = []

    @property
    def full(self) -> bool:
        return self._free <= 0 and bool(self._items or self._complete)

    def has_room(self, envelope: bytes) -> bool:
        return not self._items or len(envelope) + ITEM_BYTES <= self._free

    def add(self, item: Item) -> None:
        self._items.append(item)
        self._free -= len(item.envelope) + ITEM_BYTES

    def declare(self, statement: Completeness) -> None:
        """Statements that say nothing are left out."""
        if statement.upto > statement.after:
            self._complete.append(statement)
            self._free -= ITEM_BYTES

    def end(self, cursor: Cursor | None) -> Page:
        return Page(tuple(self._items), tuple(self._complete), cursor)


def _register_bytes(width: int) -> int:
    """A register (key, value, evidence, place), and its row in the sums as if it were its own."""
    return (16 + 4 * width) + (28 + 16 * width)


def _refused(reason: str, detail: str) -> MergeResult:
    return MergeResult(MergeKind.REFUSED, reason, detail)
