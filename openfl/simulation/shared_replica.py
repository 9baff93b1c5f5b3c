"""`SharedReplica`: a member's replica as a window on the `Ledger`, and the views it gives.

It answers what a session asks while it does rounds. What is asked rarely is answered by a real
replica made for the occasion (`Ledger.replica_of`). What it cannot do (leaves, merging deltas of
others one by one) raises: the driver of a shared simulation never asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import Fixed, weighted_mean
from openfl.aggregation.outcomes import MemberState, MergeResult, ReplicaLimits
from openfl.aggregation.replica import Completeness, Replica
from openfl.aggregation.version_vector import Version
from openfl.core.contribution import Floats, Keys, PeerId
from openfl.core.model_view import DenseModel, DenseTable, initial_rows
from openfl.simulation.ledger import Ledger, Part


@dataclass(slots=True)
class _Rows:
    """The model at some keys, worked out once for `rows` and `evidence`."""

    keys: Keys
    values: Floats
    evidence: NDArray[np.float64]
    live: NDArray[np.bool_]


class SharedView:
    """The model one member has now (a `ModelView`), worked out for the rows asked for.

    To be used at once: when the ledger has changed since, it raises RuntimeError.
    """

    def __init__(self, ledger: Ledger, receiver: int, now: float) -> None:
        self._ledger = ledger
        self._version = ledger.version
        self._missing = ledger.missing(receiver, now)
        self._last: dict[str, _Rows] = {}

    def keys(self, table: str) -> Keys:
        """Rows that a member this one has heard of proposes; ascending."""
        every = self._ledger.tables[table].keys
        found = self._at(table, every)
        return every[found.live]

    def rows(self, table: str, keys: Keys) -> Floats:
        """float32[keys, width]."""
        return self._at(table, keys).values.copy()

    def evidence(self, table: str, keys: Keys) -> NDArray[np.float64]:
        """float64[keys]; 0 for rows that nobody proposes."""
        return self._at(table, keys).evidence.copy()

    def dense(self) -> DenseModel:
        """All of it: what `Replica.view` would give."""
        tables = {}
        for name, table in self._ledger.tables.items():
            found = self._at(name, table.keys)
            if found.live.any():
                live = found.live
                tables[name] = DenseTable(
                    table.keys[live], found.values[live], found.evidence[live]
                )
        return DenseModel(self._ledger.charter, tables)

    def _at(self, table: str, keys: Keys) -> _Rows:
        if self._version != self._ledger.version:
            raise RuntimeError("a shared view was used after something else was published")
        last = self._last.get(table)
        if last is not None and last.keys is keys:
            return last
        shared = self._ledger.tables[table]
        slots = shared.slots_of(keys)
        known = slots >= 0
        at = np.where(known, slots, 0)
        num, den = shared.num[at], shared.den[at]
        evidence, registers = shared.evidence[at], shared.registers[at]
        part = self._missing.get(table)
        if part is not None and len(part.slots):
            _take_away(part, at, known, len(shared.keys), (num, den, evidence, registers))
        live = known & (registers > 0)
        values, said = weighted_mean(num, den, evidence, shared.schema)
        # As in a replica: a row with registers is seeded only in columns that say nothing.
        learned = said & live[:, None]
        seeded = ~learned.all(axis=1)
        if seeded.any():
            initial = initial_rows(self._ledger.charter, table, keys[seeded])
            values[seeded] = np.where(learned[seeded], values[seeded], initial)
        found = _Rows(keys, values, np.where(live, evidence, 0).astype(np.float64), live)
        self._last[table] = found
        return found


def _take_away(
    part: Part,
    at: NDArray[np.int64],
    known: NDArray[np.bool_],
    slots: int,
    sums: tuple[Fixed, Fixed, Fixed, Fixed],
) -> None:
    """Subtract `part` from the sums of the rows `at` (int64[n], -> slots), where `known`."""
    place = np.full(slots, -1, dtype=np.int64)
    wanted = np.flatnonzero(known)
    place[at[wanted]] = wanted
    to = place[part.slots]
    chosen = np.flatnonzero(to >= 0)
    if not len(chosen):
        return
    order = np.argsort(to[chosen], kind="stable")
    chosen = chosen[order]
    rows, starts = np.unique(to[chosen], return_index=True)
    for total, change in zip(
        sums, (part.num, part.den, part.evidence, part.registers), strict=True
    ):
        total[rows] -= np.add.reduceat(change[chosen], starts, axis=0)
    repeated = len(at) != len(np.unique(at[wanted])) + int((~known).sum())
    if repeated:
        # The same key was asked for twice: only its last place was served.
        for total in sums:
            total[wanted] = total[place[at[wanted]]]


class SharedReplica(Replica):
    """Of member number `receiver`; `clock` tells the driver's time."""

    def __init__(
        self,
        ledger: Ledger,
        receiver: int,
        peer_id: PeerId,
        clock: Callable[[], float],
        limits: ReplicaLimits,
    ) -> None:
        super().__init__(ledger.charter, limits)
        self._ledger = ledger
        self._receiver = receiver
        self._me = peer_id
        self._clock = clock

    def merge(
        self, author: PeerId, delta: Delta, envelope: bytes, now: float, age_seconds: float = 0.0
    ) -> MergeResult:
        """Publish an own delta. Those of others arrive through the ledger: NotImplementedError."""
        if author != self._me:
            raise NotImplementedError("others' deltas reach a shared replica through the ledger")
        return self._ledger.publish(self._receiver, author, delta, envelope, now)

    def leave(
        self, author: PeerId, epoch: int, envelope: bytes, now: float, age_seconds: float = 0.0
    ) -> MergeResult:
        """NotImplementedError: nobody leaves a shared simulation."""
        raise NotImplementedError("nobody leaves a shared simulation")

    def heard(self, author: PeerId, now: float, age_seconds: float = 0.0) -> None:
        """Nobody expires in a shared simulation, so it need not be remembered."""

    def has_heard(self, author: PeerId, epoch: int, seqno: int) -> bool:
        """What is announced comes by itself."""
        return True

    def expire(self, now: float, keep: Collection[PeerId] = ()) -> tuple[PeerId, ...]:
        """Nobody expires."""
        return ()

    def mark_complete(self, statement: Completeness) -> bool:
        """NotImplementedError: newcomers are given no snapshots here."""
        raise NotImplementedError("a shared replica is given no snapshots")

    def shared_view(self) -> SharedView:
        """The model now, worked out for the rows asked for."""
        return SharedView(self._ledger, self._receiver, self._clock())

    def view(self) -> DenseModel:
        """The model now; to be used at once."""
        # A session only hands it on; whoever reads it uses the few methods of a ModelView.
        return self.shared_view()  # type: ignore[return-value]

    def whole(self) -> Replica:
        """A real replica that has merged what this one has."""
        return self._ledger.replica_of(self._receiver, self._clock(), self.limits)

    def view_without(self, authors: Collection[PeerId]) -> DenseModel:
        """Of the whole replica, which is made for it."""
        return self.whole().view_without(authors)

    def members(self) -> tuple[MemberState, ...]:
        """All that have published, as if everything had arrived."""
        return self._ledger.members()

    def digest(self) -> bytes:
        """Of the whole replica, which is made for it."""
        return self.whole().digest()

    @property
    def member_count(self) -> int:
        """Members it has heard of, itself included."""
        return len(self._ledger.heard(self._receiver, self._clock()))

    def version_vector(self) -> dict[PeerId, Version]:
        """Of the whole replica, which is made for it."""
        return self.whole().version_vector()
