"""What hostile members do to their contributions: pure functions, one an attack.

Each takes what the member would honestly send and the group's rows it started from. The published
ones: sign flipping and noise (Li et al., RSA, AAAI 2019), ALIE, "A Little Is Enough" (Baruch,
Baruch, Goldberg, NeurIPS 2019). Label flipping changes the data instead
(`Sharding.upside_down`); a delta of NaNs is made on the wire, because an honest encoder refuses it
(`nan_blocks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openfl.aggregation.quantize import CODE_LIMITS, QuantizedBlock
from openfl.core.contribution import MAX_EVIDENCE, Contribution, Floats, RowBlock, TableSchema


@dataclass(frozen=True)
class AttackInput:
    """honest: the member's true contribution. rows: table -> float32[n, width], the group's rows
    it stepped from, in the order of its block. colluders: true contributions of all attackers, the
    member's own included. strength: the attack's factor."""

    honest: Contribution
    rows: Mapping[str, Floats]
    colluders: Sequence[Contribution]
    strength: float
    rng: np.random.Generator


Attack = Callable[[AttackInput], Contribution]


def _with_values(given: AttackInput, values: Callable[[RowBlock], Any]) -> Contribution:
    return Contribution(
        tuple(
            replace(block, values=np.asarray(values(block), dtype=np.float32))
            for block in given.honest.blocks
        )
    )


def sign_flip(given: AttackInput) -> Contribution:
    """Steps in the opposite direction, `strength` times as far: y - s (x - y)."""
    return _with_values(
        given,
        lambda block: (
            given.rows[block.table] - given.strength * (block.values - given.rows[block.table])
        ),
    )


def noise(given: AttackInput) -> Contribution:
    """Adds normal noise, `strength` times as strong as the step is long (row by row)."""

    def values(block: RowBlock) -> Any:
        step = block.values - given.rows[block.table]
        size = np.sqrt((step.astype(np.float64) ** 2).mean(axis=1, keepdims=True))
        return block.values + given.strength * size * given.rng.standard_normal(step.shape)

    return _with_values(given, values)


def inflated_evidence(given: AttackInput) -> Contribution:
    """A flipped step, claimed with `strength` times the evidence (at most what may be claimed)."""
    flipped = sign_flip(replace(given, strength=1.0))
    return Contribution(
        tuple(
            replace(
                block,
                evidence=np.minimum(block.evidence * given.strength, MAX_EVIDENCE).astype(
                    np.float32
                ),
            )
            for block in flipped.blocks
        )
    )


def alie(given: AttackInput) -> Contribution:
    """All attackers send, row by row, their mean less `strength` standard deviations: a shift that
    hides within the spread of honest members, estimated from the attackers' own."""

    def values(block: RowBlock) -> Any:
        others = [b for c in given.colluders for b in c.blocks if b.table == block.table]
        total = np.zeros(block.values.shape)
        squares = np.zeros(block.values.shape)
        count = np.zeros(len(block))
        for other in others:
            at = np.searchsorted(block.keys, other.keys)
            at = np.minimum(at, max(len(block) - 1, 0))
            same = block.keys[at] == other.keys
            total[at[same]] += other.values[same]
            squares[at[same]] += other.values[same].astype(np.float64) ** 2
            count[at[same]] += 1
        seen = np.maximum(count, 1)[:, None]
        mean = np.where(count[:, None] > 0, total / seen, block.values)
        deviation = np.sqrt(np.maximum(squares / seen - mean**2, 0.0))
        return mean - given.strength * deviation

    return _with_values(given, values)


def honest(given: AttackInput) -> Contribution:
    """The true contribution: for attacks that work elsewhere."""
    return given.honest


@dataclass(frozen=True, slots=True)
class AttackKind:
    """`strength`: its default. flips_labels, sends_nan: see the module's text."""

    apply: Attack
    strength: float = 1.0
    flips_labels: bool = False
    sends_nan: bool = False


ATTACKS: Mapping[str, AttackKind] = {
    "sign-flip": AttackKind(sign_flip),
    "sign-flip-x10": AttackKind(sign_flip, strength=10.0),
    "noise": AttackKind(noise, strength=10.0),
    "nan": AttackKind(honest, sends_nan=True),
    "label-flip": AttackKind(honest, flips_labels=True),
    "inflated-evidence": AttackKind(inflated_evidence, strength=1000.0),
    "alie": AttackKind(alie),
}


def nan_blocks(contribution: Contribution, schemas: Mapping[str, TableSchema]) -> tuple[Any, ...]:
    """The contribution in wire form with every value NaN: what `encode_delta` takes."""
    blocks = []
    for block in contribution.blocks:
        encoding = schemas[block.table].encoding
        coded = encoding in CODE_LIMITS
        nothing = np.zeros(0, dtype=np.float16)
        blocks.append(
            QuantizedBlock(
                table=block.table,
                encoding=encoding,
                keys=block.keys,
                codes=(
                    np.ones(block.values.shape, dtype=np.int8)
                    if coded
                    else np.full(block.values.shape, np.nan, dtype=encoding)
                ),
                scales=(np.full(len(block), np.nan, dtype=np.float16) if coded else nothing),
                evidence=block.evidence.astype(np.uint32),
                curvature=block.curvature,
            )
        )
    return tuple(blocks)
