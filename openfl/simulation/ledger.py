"""`Ledger`: the registers of a whole simulated group, kept once for all members.

Merging is the same work at every member that merges the same deltas, and a member's sums are exact
integers (docs/decisions/0001-fixed-point-sums.md). So the ledger keeps the sums of *everything*
published, and for each delta what merging it changed; the sums of one member are those, less the
changes of the deltas that have not reached it. They are equal to the last bit to the sums of a
replica that merged what did reach it, one delta at a time:

- The registers of different authors add up independently, so each author is looked at alone.
- What an author's deltas change is worked out by a real `Replica` that holds this author only.
- If what is missing of an author is its latest deltas, their changes are subtracted. If it is an
  earlier one (a message was overtaken), the author's registers are made anew by a real replica from
  the deltas that are there, and kept for the next member that misses the same.

A delivery thus costs one number: when the delta reaches the member. Deltas that have reached
everybody are settled: nothing is kept of them but the sums and the envelope.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import Fixed
from openfl.aggregation.outcomes import MemberState, MergeKind, MergeResult, ReplicaLimits
from openfl.aggregation.registers import SumsChange
from openfl.aggregation.replica import Replica
from openfl.core.contribution import Charter, Keys, PeerId, TableSchema

MAX_KEPT_STATES = 4096
"""Register states of authors with gaps that are remembered."""

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(slots=True)
class _Author:
    """One author: a replica of it alone, its deltas by seqno, and its registers' influence now."""

    peer_id: PeerId
    replica: Replica
    deltas: list[tuple[Delta, bytes, float]] = field(default_factory=list)
    influence: dict[str, SumsChange] = field(default_factory=dict)


class SharedTable:
    """The sums over all that was published, of one table. Slots are given in order of appearance.

    num, den: int64[slots, width]; evidence, registers: int64[slots].
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.keys: Keys = np.zeros(0, dtype=np.uint64)
        """Ascending; `slots` says where each one's sums are."""
        self.slots: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.num: Fixed = np.zeros((64, schema.width), dtype=np.int64)
        self.den: Fixed = np.zeros((64, schema.width), dtype=np.int64)
        self.evidence: Fixed = np.zeros(64, dtype=np.int64)
        self.registers: Fixed = np.zeros(64, dtype=np.int64)

    def slots_of(self, keys: Keys) -> NDArray[np.int64]:
        """int64[n]: the slot of each key; -1 for keys that nobody has sent."""
        if not len(self.keys):
            return np.full(len(keys), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.slots[at], -1)

    def add(self, change: SumsChange) -> NDArray[np.int64]:
        """Add to the sums; returns the slots of the rows changed."""
        slots = self.slots_of(change.keys)
        fresh = change.keys[slots < 0]
        if len(fresh):
            self._admit(fresh)
            slots = self.slots_of(change.keys)
        self.num[slots] += change.num
        self.den[slots] += change.den
        self.evidence[slots] += change.evidence
        self.registers[slots] += change.registers
        return slots

    def _admit(self, keys: Keys) -> None:
        used = len(self.keys)
        needed = used + len(keys)
        if needed > len(self.evidence):
            size = max(needed, 2 * len(self.evidence))
            for name in ("num", "den", "evidence", "registers"):
                old = getattr(self, name)
                grown = np.zeros((size, *old.shape[1:]), dtype=np.int64)
                grown[: len(old)] = old
                setattr(self, name, grown)
        at = np.searchsorted(self.keys, keys)
        self.keys = np.insert(self.keys, at, keys)
        self.slots = np.insert(self.slots, at, np.arange(used, needed))


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows' sums, to be taken away. slots: int64[n], the same one may occur several times."""

    slots: NDArray[np.int64]
    num: Fixed
    den: Fixed
    evidence: Fixed
    registers: Fixed


Parts = Mapping[str, Part]


class Ledger:
    """`receivers`: how many members there may be; they are numbered."""

    def __init__(self, charter: Charter, receivers: int) -> None:
        self.charter = charter
        self.version = 0
        """Grows whenever the sums change: views of before are void then."""
        self.tables = {schema.name: SharedTable(schema) for schema in charter.tables}
        self._receivers = receivers
        self._limits = ReplicaLimits()
        self._authors: list[_Author | None] = [None] * receivers
        self._latest: Numbers = np.zeros(receivers, dtype=np.int64)
        """Highest seqno of each author."""
        # Of the deltas that have not reached everybody, in order of publication:
        self._pending = self._settled = 0
        self._author_of: Numbers = np.zeros(256, dtype=np.int64)
        self._seqno_of: Numbers = np.zeros(256, dtype=np.int64)
        self._arrivals: Times = np.zeros((256, receivers))
        self._last_arrival: Times = np.zeros(256)
        self._changes: list[dict[str, Part]] = []
        self._states: OrderedDict[tuple[int, int, bytes], dict[str, Part]] = OrderedDict()

    # --- who there is -----------------------------------------------------------------------------

    def admit(self) -> int:
        """One more receiver, which has everything that was published so far; returns its number."""
        number = self._receivers
        self._receivers += 1
        self._authors.append(None)
        self._latest = np.append(self._latest, 0)
        rows, columns = self._arrivals.shape
        if number >= columns:
            grown = np.full((rows, 2 * number + 8), -np.inf)
            grown[:, :columns] = self._arrivals
            self._arrivals = grown
        return number

    def leave(self, author: int) -> None:
        """What the author has published counts no more, for anybody."""
        found = self._authors[author]
        if found is None:
            return
        for name, influence in found.influence.items():
            self.tables[name].add(_negative(influence))
        self._authors[author] = None
        self._latest[author] = 0
        self.version += 1
        self._keep(np.flatnonzero(self._author_of[: self._pending] != author))

    # --- what is published ------------------------------------------------------------------------

    def publish(
        self, author: int, peer_id: PeerId, delta: Delta, envelope: bytes, now: float
    ) -> MergeResult:
        """The author merges its own delta. It has reached nobody else yet: see `send`.

        Deltas must come in order of seqno and be of one epoch, as `Publisher` makes them.
        """
        found = self._authors[author]
        if found is None:
            found = self._authors[author] = _Author(peer_id, Replica(self.charter, self._limits))
        if delta.seqno != len(found.deltas) + 1:
            raise ValueError(f"seqno {delta.seqno} after {len(found.deltas)} deltas")
        result = found.replica.merge(peer_id, delta, envelope, now)
        if result.kind is not MergeKind.MERGED:
            return result
        found.deltas.append((delta, envelope, now))
        after = {
            name: _negative(change) for name, change in found.replica.withdrawals(peer_id).items()
        }
        parts: dict[str, Part] = {}
        for name, influence in after.items():
            change = _difference(influence, found.influence.get(name))
            slots = self.tables[name].add(change)
            parts[name] = Part(slots, change.num, change.den, change.evidence, change.registers)
        found.influence = after
        self.version += 1
        row = self._new_row()
        self._author_of[row], self._seqno_of[row] = author, delta.seqno
        self._latest[author] = delta.seqno
        self._arrivals[row] = -np.inf
        self._arrivals[row, : self._receivers] = np.inf
        self._arrivals[row, author] = -np.inf
        self._last_arrival[row] = np.inf
        self._changes.append(parts)
        return result

    def send(self, author: int, arrivals: Times) -> None:
        """The author's latest delta reaches receiver r at `arrivals[r]`; -inf for those that are
        not there, which will have it with their snapshot."""
        rows = np.flatnonzero(self._author_of[: self._pending] == author)
        row = int(rows[-1])
        self._arrivals[row, : len(arrivals)] = arrivals
        self._arrivals[row, author] = -np.inf
        self._last_arrival[row] = float(self._arrivals[row].max())

    def settle(self, now: float) -> int:
        """Forget what has reached everybody; returns how many deltas are still on their way."""
        last = self._last_arrival[: self._pending]
        keep = np.flatnonzero(last > now)
        if 2 * len(keep) < self._pending:
            self._keep(keep)
        return len(keep)

    # --- what one member has ----------------------------------------------------------------------

    def missing(self, receiver: int, now: float) -> dict[str, Part]:
        """By table: what is to be taken from the sums to get those of `receiver` at `now`."""
        rows = np.flatnonzero(self._arrivals[: self._pending, receiver] > now)
        if not len(rows):
            return {}
        authors, group = np.unique(self._author_of[rows], return_inverse=True)
        counts = np.bincount(group)
        first = np.full(len(authors), np.iinfo(np.int64).max)
        np.minimum.at(first, group, self._seqno_of[rows])
        in_order = self._latest[authors] - first + 1 == counts
        found = [self._changes[row] for row in rows[in_order[group]]]
        for place in np.flatnonzero(~in_order):
            gaps = self._seqno_of[rows[group == place]]
            found.append(self._with_gaps(int(authors[place]), gaps))
        return {name: _joined([p[name] for p in found if name in p]) for name in self.tables}

    def heard(self, receiver: int, now: float) -> dict[int, NDArray[np.int64]]:
        """author -> the seqnos that `receiver` has of it, ascending."""
        rows = np.flatnonzero(self._arrivals[: self._pending, receiver] > now)
        heard = {}
        for author, found in enumerate(self._authors):
            if found is None:
                continue
            gone = self._seqno_of[rows[self._author_of[rows] == author]]
            seqnos = np.setdiff1d(np.arange(1, len(found.deltas) + 1), gone)
            if len(seqnos):
                heard[author] = seqnos
        return heard

    def replica_of(self, receiver: int, now: float, limits: ReplicaLimits) -> Replica:
        """A real replica that has merged exactly what `receiver` has: slow, and always right."""
        replica = Replica(self.charter, limits)
        for author, seqnos in self.heard(receiver, now).items():
            found = self._authors[author]
            assert found is not None
            for seqno in seqnos:
                delta, envelope, published = found.deltas[int(seqno) - 1]
                replica.merge(found.peer_id, delta, envelope, published)
        return replica

    def arrived(self, now: float) -> int:
        """How many deltas have reached a receiver so far, summed over receivers."""
        pending = self._arrivals[: self._pending]
        return self._settled + int(np.count_nonzero((pending <= now) & np.isfinite(pending)))

    @property
    def authors(self) -> int:
        """How many authors have registers now."""
        return sum(1 for author in self._authors if author is not None)

    def members(self) -> tuple[MemberState, ...]:
        """Authors that have published, by peer id."""
        found = (author for author in self._authors if author is not None and author.deltas)
        states = (state for author in found for state in author.replica.members())
        return tuple(sorted(states, key=lambda state: state.peer_id))

    # --- inside -----------------------------------------------------------------------------------

    def _new_row(self) -> int:
        row = self._pending
        if row >= len(self._author_of):
            size = 2 * row
            for name in ("_author_of", "_seqno_of", "_last_arrival", "_arrivals"):
                old = getattr(self, name)
                grown = np.zeros((size, *old.shape[1:]), dtype=old.dtype)
                grown[:row] = old
                setattr(self, name, grown)
        self._pending += 1
        return row

    def _keep(self, rows: Numbers) -> None:
        """Of the pending deltas these alone."""
        count = len(rows)
        gone = np.ones(self._pending, dtype=np.bool_)
        gone[rows] = False
        self._settled += int(np.count_nonzero(np.isfinite(self._arrivals[: self._pending][gone])))
        for array in (self._author_of, self._seqno_of, self._last_arrival):
            array[:count] = array[rows]
        self._arrivals[:count] = self._arrivals[rows]
        self._changes = [self._changes[row] for row in rows]
        self._pending = count

    def _with_gaps(self, author: int, gaps: Numbers) -> dict[str, Part]:
        """What all deltas of the author add to the sums beyond what those without `gaps` do."""
        found = self._authors[author]
        assert found is not None
        key = (author, len(found.deltas), np.sort(gaps).tobytes())
        known = self._states.get(key)
        if known is not None:
            return known
        lacking = set(gaps.tolist())
        replica = Replica(self.charter, self._limits)
        for seqno, (delta, envelope, published) in enumerate(found.deltas, 1):
            if seqno not in lacking:
                replica.merge(found.peer_id, delta, envelope, published)
        there = {n: _negative(c) for n, c in replica.withdrawals(found.peer_id).items()}
        parts = {}
        for name, everything in found.influence.items():
            change = _difference(everything, there.get(name))
            slots = self.tables[name].slots_of(change.keys)
            parts[name] = Part(slots, change.num, change.den, change.evidence, change.registers)
        self._states[key] = parts
        if len(self._states) > MAX_KEPT_STATES:
            self._states.popitem(last=False)
        return parts


def _negative(change: SumsChange) -> SumsChange:
    return SumsChange(change.keys, -change.num, -change.den, -change.evidence, -change.registers)


def _difference(after: SumsChange, before: SumsChange | None) -> SumsChange:
    """after - before, rows that do not differ left out. `before.keys` are among `after.keys`."""
    if before is None:
        return after
    num, den = after.num.copy(), after.den.copy()
    evidence, registers = after.evidence.copy(), after.registers.copy()
    at = np.searchsorted(after.keys, before.keys)
    num[at] -= before.num
    den[at] -= before.den
    evidence[at] -= before.evidence
    registers[at] -= before.registers
    differs = (num != 0).any(axis=1) | (den != 0).any(axis=1) | (evidence != 0) | (registers != 0)
    return SumsChange(
        after.keys[differs], num[differs], den[differs], evidence[differs], registers[differs]
    )


def _joined(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Part(nothing, nothing.reshape(0, 1), nothing.reshape(0, 1), nothing, nothing)
    return Part(
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.num for part in parts]),
        np.concatenate([part.den for part in parts]),
        np.concatenate([part.evidence for part in parts]),
        np.concatenate([part.registers for part in parts]),
    )
