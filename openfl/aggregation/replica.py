"""The group's replica: a delta-state CRDT of all members' contributions, kept by every member.

Theory of operation. A register (author, table, row) holds the author's latest proposal for the row;
"latest" is by (epoch, seqno, digest), so the replica's state is a function of the *set* of deltas
and leaves heard, whatever the order, repetition or grouping (Almeida, Shoker, Baquero 2018). The
group's model is a precision-weighted mean of the registers, kept as running sums in exact
arithmetic (`fixed_point`): taking a member out leaves bit for bit the sums of a replica that never
heard of it.

Each author's signed deltas are kept while they back a live register; a snapshot is exactly these
envelopes (`paging`), so whoever serves one can withhold but not forge. The parts: `member` (one
author: its `registers` by table and its `delta_log`), `sums` (all authors, one table),
`departures` (who is gone), `merge_plan` (what a delta would change, and whether that fits).

What does not fit the limits is refused without any change of state; every outcome is a value.
`now` is any clock that never runs backwards, in seconds. Not safe to share between threads; views
are frozen copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from openfl.aggregation.delta import Delta
from openfl.aggregation.departures import Departures
from openfl.aggregation.member import MEMBER_BYTES, Member, register_bytes
from openfl.aggregation.member_stack import MemberStack
from openfl.aggregation.merge_plan import (
    PlannedBlock,
    ReplicaSize,
    over_limits,
    plan_delta,
    refused,
)
from openfl.aggregation.outcomes import (
    MemberRows,
    MemberState,
    MergeKind,
    MergeResult,
    ReplicaLimits,
)
from openfl.aggregation.paging import Completeness, Cursor, Item, Page, make_page
from openfl.aggregation.registers import SumsChange, TableRegisters
from openfl.aggregation.sums import LiveSums, TableSums, model_of
from openfl.aggregation.version_vector import NOTHING, Version, VersionVector
from openfl.core.contribution import Charter, Keys, PeerId, TableSchema
from openfl.core.model_view import DenseModel

__all__ = [
    "Completeness",
    "Cursor",
    "Item",
    "MemberRows",
    "MemberState",
    "MergeKind",
    "MergeResult",
    "Page",
    "Replica",
    "ReplicaLimits",
]

MAX_VARIANTS = 2
"""Different deltas of one seqno that are merged: two prove that the author lies; that is enough."""


class Replica:
    """One group's registers and running sums; see the module's text. ValueError for a table whose
    value limit is beyond what `fixed_point` covers."""

    def __init__(self, charter: Charter, limits: ReplicaLimits | None = None) -> None:
        self.charter = charter
        self.limits = limits if limits is not None else ReplicaLimits()
        self._schemas: dict[str, TableSchema] = {t.name: t for t in charter.tables}
        self._sums = {t.name: TableSums(t) for t in charter.tables}
        self._members: dict[PeerId, Member] = {}
        self._departures = Departures(2 * self.limits.max_members)
        # Twice the time to live: after that nobody holds what a tombstone or expiry guards against.
        self._memory_seconds = 2 * self.limits.member_ttl_seconds
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
            return refused("other-group", "the delta is of another group")
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
            return refused("equivocation", f"too many different deltas have seqno {delta.seqno}")
        target = current if current is not None else Member(delta.epoch, now - age_seconds)
        planned = plan_delta(self._schemas, target, delta)
        if isinstance(planned, MergeResult):
            return planned
        refusal = over_limits(self.limits, self._size(), member, target, planned, envelope)
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

    def leave(
        self, author: PeerId, epoch: int, envelope: bytes, now: float, age_seconds: float = 0.0
    ) -> MergeResult:
        """Merge a verified tombstone: registers of `epoch` and older go and stay away.

        `age_seconds`: how long it has been known, as told by whoever relayed it. A tombstone that
        everybody is about to forget is not taken up again, or it would circulate for ever.
        """
        member = self._members.get(author)
        if self._departures.left_epoch(author) >= epoch:
            return MergeResult(MergeKind.DUPLICATE, "duplicate")
        if member is not None and member.epoch > epoch:
            return MergeResult(MergeKind.STALE, "older-epoch")
        if member is None and age_seconds >= self._memory_seconds:
            return MergeResult(MergeKind.STALE, "expired")
        rows = 0 if member is None else member.rows
        if member is not None:
            self._remove(author)
        self._departures.leave(author, epoch, envelope, now - max(0.0, age_seconds))
        return MergeResult(MergeKind.MERGED, rows_changed=rows)

    def heard(self, author: PeerId, now: float, age_seconds: float = 0.0) -> None:
        """The author was alive `age_seconds` ago: it says so (0), or somebody relays it.

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
        self._departures.forget_before(now - self._memory_seconds)
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

    # --- what it holds ----------------------------------------------------------------------------

    def view(self) -> DenseModel:
        """The group's model now; a frozen copy, the same object until something changes."""
        if self._view is None or self._view[0] != self._generation:
            self._view = (self._generation, self.view_without(()))
        return self._view[1]

    def view_without(self, authors: Collection[PeerId]) -> DenseModel:
        """The model as if these members had never been heard of."""
        if any(author in self._members for author in authors):
            return self.model_of(self.sums_without(authors))
        return model_of(self.charter, {n: s.mean() for n, s in self._sums.items() if s.rows})

    def model_of(self, sums: Mapping[str, LiveSums]) -> DenseModel:
        """The model that these sums make (see `sums_without`)."""
        means = {n: s.mean(self._schemas[n]) for n, s in sums.items() if len(s.keys)}
        return model_of(self.charter, means)

    def sums_without(self, authors: Collection[PeerId]) -> dict[str, LiveSums]:
        """Copies of the running sums by table, as if these members had never been heard of."""
        left_out = [self._members[a] for a in sorted(set(authors)) if a in self._members]
        return {
            name: sums.live().without(
                m.tables[name].withdrawal() for m in left_out if name in m.tables
            )
            for name, sums in self._sums.items()
        }

    def members(self) -> tuple[MemberState, ...]:
        """Members with registers, by peer id."""
        states = []
        for author, member in sorted(self._members.items()):
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

    def keys_beside(self, author: PeerId, table: str) -> Keys:
        """uint64[n], ascending: the rows that somebody else than `author` has evidence on. KeyError
        for an unknown table."""
        member = self._members.get(author)
        own = None if member is None else member.tables.get(table)
        return self._sums[table].keys_beside(np.zeros(0, np.uint64) if own is None else own.keys)

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

    def member_stack(self, authors: Sequence[PeerId], table: str) -> MemberStack:
        """These members' registers, one member after the other. KeyError for an unknown table."""
        schema = self._schemas[table]
        empty = TableRegisters(schema)
        members = [self._members.get(author) for author in authors]
        return MemberStack.of(
            schema, [empty if m is None else m.tables.get(table, empty) for m in members]
        )

    def withdrawals(self, author: PeerId) -> dict[str, SumsChange]:
        """What taking this member out would do to the sums, by table; empty when it has none."""
        member = self._members.get(author)
        if member is None:
            return {}
        return {name: table.withdrawal() for name, table in member.tables.items()}

    def digest(self) -> bytes:
        """16 bytes that are equal exactly when two replicas hold the same live deltas (and so the
        same registers, sums and model), in whatever order they came."""
        whole = hashlib.sha256(self.charter.group_id.encode())
        for author in sorted(self._members):
            whole.update(self._members[author].digest(author))
        return whole.digest()[:16]

    @property
    def generation(self) -> int:
        """Grows whenever a register changes: what was worked out before is out of date then."""
        return self._generation

    @property
    def member_count(self) -> int:
        """Members with registers."""
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
        return self._size().bytes

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
        return make_page(self._members, self._departures, known, now, max_bytes, cursor, authors)

    def items(self, now: float) -> Iterator[Item]:
        """Every envelope this replica consists of, in canonical order (to be saved)."""
        yield from self.page({}, now, max_bytes=1 << 62).items

    # --- inside -----------------------------------------------------------------------------------

    def _size(self) -> ReplicaSize:
        size = MEMBER_BYTES * len(self._members) + self._row_bytes
        size += self._envelope_bytes + self._departures.envelope_bytes
        return ReplicaSize(len(self._members), self._registers, size)

    def _why_stale(
        self, author: PeerId, member: Member | None, delta: Delta, age_seconds: float
    ) -> str | None:
        if self._departures.left_epoch(author) >= delta.epoch:
            return "left"
        if member is not None:
            return "older-epoch" if delta.epoch < member.epoch else None
        expired = self._departures.expired(author)
        if expired is not None and Version(delta.epoch, delta.seqno) <= expired.last:
            return "expired"
        return "expired" if age_seconds >= self.limits.member_ttl_seconds else None

    def _apply(
        self, member: Member, delta: Delta, envelope: bytes, planned: list[PlannedBlock]
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
            self._row_bytes += register_bytes(block.width) * len(plan.adding)
        member.log.drop_superseded()
        self._envelope_bytes += member.log.envelope_bytes
        member.forget_digest()
        self._generation += 1

    def _remove(self, author: PeerId) -> None:
        member = self._members.pop(author)
        for name, registers in member.tables.items():
            self._sums[name].add(registers.withdrawal())
        self._registers -= member.rows
        self._row_bytes -= member.row_bytes
        self._envelope_bytes -= member.log.envelope_bytes
        self._generation += 1
