"""`RowSelector`: which rows of a contribution are worth sending.

Values are absolute, so a row that is not sent is merely old, never wrong by more than its change.
What was never sent is sent; of the rest, the rows that changed most since they were last sent, in
units of their own uncertainty (`sqrt(h) |x - last sent|`), and the rows sent longest ago. The last
go round: every row is sent again within about 1 / refresh_fraction rounds, which keeps the
author's log of live deltas short and lets a replica that missed something heal without asking.

What counts as sent is the dequantised value, because that is what the others have. A row none of
whose columns moved by more than the step of its encoding is settled: sending it again would only
exchange one rounding for another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import precision
from openfl.aggregation.parts import as_slice, row_parts
from openfl.aggregation.quantize import QuantizedBlock
from openfl.core.contribution import Contribution, Floats, Keys, RowBlock


@dataclass(slots=True)
class _Sent:
    """keys: uint64[n] ascending; values: float32[n, width] as others have them; step: float32[n],
    the distance between neighbouring codes; turn: int64[n], when."""

    keys: Keys
    values: Floats
    step: Floats
    turn: NDArray[np.int64]


class RowSelector:
    """Remembers what was sent. Deterministic: ties go to the smaller key.

    `settled` is the change (in the units above) below which a row is only refreshed.
    """

    def __init__(
        self, row_fraction: float = 0.5, refresh_fraction: float = 0.1, settled: float = 1e-3
    ) -> None:
        """Nothing was sent yet. ValueError for fractions outside 0..1 or a `row_fraction` of 0."""
        if not (0 < row_fraction <= 1 and 0 <= refresh_fraction <= 1):
            raise ValueError("fractions lie within 0..1, and some rows must be sent")
        self._row_fraction = row_fraction
        self._refresh_fraction = refresh_fraction
        self._settled = settled
        self._turn = 0
        self._sent: dict[str, _Sent] = {}

    def select(self, contribution: Contribution, rounds: int = 1) -> Contribution:
        """The part to send now, of what so many `rounds` have changed: as many rows as each of them
        would have sent. Nothing is remembered until `record` is told that it was sent."""
        blocks = (self._select_block(block, rounds) for block in contribution.blocks)
        return Contribution(tuple(block for block in blocks if len(block)))

    def record(self, blocks: tuple[QuantizedBlock, ...]) -> None:
        """These blocks were published, together one turn."""
        self._turn += 1
        for block in blocks:
            step = np.zeros(len(block), dtype=np.float32)
            if block.scaled:
                step = block.scales.astype(np.float32)
            self._record_block(block.table, block.keys, block.values(), step)

    def forget(self) -> None:
        """Everything will be sent again: a new epoch, a new group."""
        self._sent.clear()

    def _select_block(self, block: RowBlock, rounds: int) -> RowBlock:
        sent = self._sent.get(block.table)
        count = len(block)
        if sent is None or not len(sent.keys) or not count:
            return block
        if np.array_equal(sent.keys, block.keys):
            at, known = np.arange(count), np.ones(count, dtype=np.bool_)
        else:
            at = np.minimum(np.searchsorted(sent.keys, block.keys), len(sent.keys) - 1)
            known = sent.keys[at] == block.keys
        score = _changes(block, sent, at)
        score[~known] = np.inf
        unsent = count - int(np.count_nonzero(known))
        wanted = max(math.ceil(min(1.0, rounds * self._row_fraction) * count), unsent)
        most = _lowest(-score, wanted)
        most &= score > self._settled
        turn = np.where(known, sent.turn[at], -1)
        turn[most] = np.iinfo(np.int64).max  # sent anyway
        oldest = _lowest(turn, math.ceil(self._refresh_fraction * count))
        chosen = np.flatnonzero(most | oldest)
        return RowBlock(
            block.table,
            block.keys[chosen],
            block.values[chosen],
            block.evidence[chosen],
            block.curvature,
        )

    def _record_block(self, table: str, keys: Keys, values: Floats, step: Floats) -> None:
        sent = self._sent.get(table)
        if sent is None or not len(sent.keys):
            turn = np.full(len(keys), self._turn, dtype=np.int64)
            self._sent[table] = _Sent(keys.copy(), values.copy(), step.copy(), turn)
            return
        at = np.searchsorted(sent.keys, keys)
        known = sent.keys[np.minimum(at, len(sent.keys) - 1)] == keys
        new = ~known
        if not new.any():
            sent.values[at] = values
            sent.step[at] = step
            sent.turn[at] = self._turn
        else:
            sent.values[at[known]] = values[known]
            sent.step[at[known]] = step[known]
            sent.turn[at[known]] = self._turn
            where = at[new]
            sent.keys = np.insert(sent.keys, where, keys[new])
            sent.values = np.insert(sent.values, where, values[new], axis=0)
            sent.step = np.insert(sent.step, where, step[new])
            sent.turn = np.insert(sent.turn, where, self._turn)


def _changes(block: RowBlock, sent: _Sent, at: NDArray[np.intp]) -> NDArray[np.float64]:
    """float64[n]: by how much each row differs from `sent` at `at`, in units of its uncertainty; 0
    for rows that the step of their encoding hides."""
    score = np.empty(len(block), dtype=np.float64)
    curvature = block.curvature
    if len(curvature) and (curvature == curvature[0]).all():
        curvature = curvature[:1]  # then a row has one precision
    stepped = bool(sent.step.any())
    for part in row_parts(*block.values.shape):
        rows = as_slice(at[part])
        change = block.values[part].astype(np.float64)
        change -= sent.values[rows]
        squares = precision(block.evidence[part].astype(np.uint32), curvature) * change
        squares *= change
        found = np.sqrt(squares.sum(axis=1))
        if stepped:
            np.abs(change, out=change)
            found[change.max(axis=1, initial=0.0) <= sent.step[rows]] = 0.0
        score[part] = found
    return score


def _lowest(numbers: NDArray[np.generic], count: int) -> NDArray[np.bool_]:
    """bool[n]: which are the `count` lowest; of equal ones those that come first."""
    if count >= len(numbers):
        return np.ones(len(numbers), dtype=np.bool_)
    if not count:
        return np.zeros(len(numbers), dtype=np.bool_)
    edge = np.partition(numbers, count - 1)[count - 1]
    lowest: NDArray[np.bool_] = numbers < edge
    lowest[np.flatnonzero(numbers == edge)[: count - np.count_nonzero(lowest)]] = True
    return lowest
