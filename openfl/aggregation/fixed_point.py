"""The arithmetic of the running sums: int64 fixed point, so that addition is exact.

Float sums depend on the order of addition, so replicas that merged the same registers in different
orders would differ in their last bits, and taking a member out would leave its rounding behind.
Integers have neither problem: see docs/decisions/0001-fixed-point-sums.md.

One register adds, column by column,

    num = rint(h * x * 2**value_bits),    den = rint(h * 2**PRECISION_BITS),
    h = min(evidence * curvature, MAX_PRECISION)

computed in float64. evidence * curvature is exact (20 + 24 bits); h * x rounds once, scaling by a
power of two not at all; rint rounds half to even. These are single IEEE 754 operations, equal on
every platform.

**No overflow.** Let the table's value limit be V <= 2**e. A replica holds at most MEMBER_CAP =
2**16 members, each with at most one register for a row, and `value_bits` = 27 - e. Then

    |num| <= 2**16 * (10**6 * V * 2**(27 - e) + 1/2) < 2**16 * 0.954 * 2**20 * 2**27 + 2**15 < 2**63
     den  <= 2**16 * (10**6 * 2**27 + 1/2)           < 2**63

because 10**6 < 0.954 * 2**20. While one register replaces another the intermediate stays in bounds
too: what is added is new - old, one int64 each, and the sum afterwards is again such a sum.
Evidence sums to at most 2**16 * 10**6 < 2**36. `fits` refuses any register outside these bounds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.parts import row_parts
from openfl.core.contribution import (
    MAX_CURVATURE,
    MAX_EVIDENCE,
    MAX_PRECISION,
    Floats,
    TableSchema,
)

MEMBER_CAP = 1 << 16
"""Most members any replica may hold, whatever its configuration: part of the overflow proof."""
PRECISION_BITS = 27
VALUE_LIMIT_CAP = float(1 << 20)
"""Largest value limit a charter may ask for; leaves 7 fractional bits to `num`."""

Fixed = NDArray[np.int64]


def value_bits(schema: TableSchema) -> int:
    """Fractional bits of `num` for a table: as many as its value limit leaves."""
    if not 0 < schema.value_limit <= VALUE_LIMIT_CAP:
        raise ValueError(f"table {schema.name}: value limit {schema.value_limit} is out of range")
    return PRECISION_BITS - math.ceil(math.log2(schema.value_limit))


def fits(
    values: Floats, evidence: NDArray[np.uint32], curvature: Floats, schema: TableSchema
) -> str | None:
    """None when the overflow proof covers these registers, else what is out of bounds.

    The comparisons are written so that NaN is out of bounds.
    """
    if values.size and not np.abs(values).max() <= schema.value_limit:
        return f"a value of table {schema.name} is not within +-{schema.value_limit:g}"
    if evidence.size and not (evidence.min() >= 1 and evidence.max() <= MAX_EVIDENCE):
        return f"evidence of table {schema.name} is not within 1..{MAX_EVIDENCE:.0f}"
    if curvature.size and not (curvature.min() >= 0 and curvature.max() <= MAX_CURVATURE):
        return f"curvature of table {schema.name} is not within 0..{MAX_CURVATURE:g}"
    return None


def precision(evidence: NDArray[np.uint32], curvature: Floats) -> NDArray[np.float64]:
    """float64[n, width]: how sure each register is. `curvature` is float32[width] or [n, width]."""
    wide: NDArray[np.float64] = evidence.astype(np.float64)[:, None] * curvature.astype(np.float64)
    return np.minimum(wide, MAX_PRECISION, out=wide)


def to_fixed(
    values: Floats, evidence: NDArray[np.uint32], curvature: Floats, bits: int
) -> tuple[Fixed, Fixed]:
    """(num, den), int64[n, width] each: what these registers add to the running sums.

    Where a row has one precision, `den` is int64[n, 1].
    """
    if curvature.ndim == 1 and len(curvature) and (curvature == curvature[0]).all():
        curvature = curvature[:1]
    num = np.empty(values.shape, dtype=np.int64)
    den = np.empty((len(values), curvature.shape[-1]), dtype=np.int64)
    for part in row_parts(*values.shape):
        h = precision(evidence[part], curvature if curvature.ndim == 1 else curvature[part])
        weighted = h * values[part]
        weighted *= 2.0**bits
        np.copyto(num[part], np.rint(weighted, out=weighted), casting="unsafe")
        h *= 2.0**PRECISION_BITS
        np.copyto(den[part], np.rint(h, out=h), casting="unsafe")
    return num, den


def weighted_mean(
    num: Fixed, den: Fixed, evidence: Fixed, schema: TableSchema
) -> tuple[Floats, NDArray[np.bool_]]:
    """(float32[n, width] of `num / (den + prior)`, bool[n, width] of where that means anything).

    The prior is `prior + prior_per_evidence * evidence`, column by column. Where neither data nor
    prior says a thing the mean is 0 and the mask False.
    """
    mean = np.empty(num.shape, dtype=np.float32)
    known = np.empty(num.shape, dtype=np.bool_)
    weigh = Weighing(schema)
    for part in row_parts(*num.shape):
        weigh(num[part], den[part], evidence[part], mean[part], known[part])
    return mean, known


class Weighing:
    """`weighted_mean` of some rows of one table, into arrays that are there."""

    def __init__(self, schema: TableSchema) -> None:
        self._limit = schema.value_limit
        self._unit = 2.0 ** -value_bits(schema)
        # What is zero everywhere is not added: no sum changes by it.
        prior = np.asarray(schema.prior, dtype=np.float64)
        self._prior = prior if prior.any() else None
        per_evidence = np.asarray(schema.prior_per_evidence, dtype=np.float64)
        self._per_evidence = per_evidence if per_evidence.any() else None

    def __call__(
        self, num: Fixed, den: Fixed, evidence: Fixed, mean: Floats, known: NDArray[np.bool_]
    ) -> None:
        """The result goes to `mean` and `known`; `den` may be one column for all."""
        total = den * 2.0**-PRECISION_BITS
        if self._prior is not None:
            total = total + self._prior
        if self._per_evidence is not None:
            total = total + evidence.astype(np.float64)[:, None] * self._per_evidence
        np.greater(total, 0.0, out=known)
        exact = num * self._unit
        if known.all():
            exact /= total
        else:
            np.divide(exact, total, out=exact, where=known)
            exact[~known] = 0.0
        # A mean lies within the bounds of its values; rounding of tiny precisions must not leave
        # them.
        np.clip(exact, -self._limit, self._limit, out=exact)
        mean[...] = exact
