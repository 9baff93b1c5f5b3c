"""Rows as they travel: int8 or int4 with one float16 scale a row, or float16, or float32.

Dequantising is exact, hence equal on every platform: a code (at most 7 bits and sign) times a
float16 scale (11 bits) always fits the 24 bits of a float32 product, and float16 widens to float32
without rounding. So a member and everyone who hears it merge the same bits.

Codes are rounded stochastically: the expectation of a code times its scale is the value (inside the
representable range), so that the errors of many members and rounds average out, not add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.halves import narrow, widen
from openfl.aggregation.parts import row_parts
from openfl.core.contribution import (
    MAX_CURVATURE,
    MAX_EVIDENCE,
    Encoding,
    Floats,
    Keys,
    RowBlock,
    TableSchema,
)

CODE_LIMITS: Mapping[Encoding, int] = MappingProxyType({"int4": 7, "int8": 127})
"""The encodings that have codes and scales. Codes lie in -limit..limit: -8 and -128 have no mirror
image and are refused on the wire."""
CODE_LIMIT = CODE_LIMITS["int8"]
FLOAT16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class QuantizedBlock:
    """Rows of one table in their wire form.

    keys: uint64[n], strictly ascending. codes: [n, width] of the dtype `encoding` names (int8 for
    int4; packed on the wire alone). scales: float16[n], >= 0, for int4 and int8; empty otherwise.
    evidence: uint32[n]. curvature: float32[width].
    """

    table: str
    encoding: Encoding
    keys: Keys
    codes: NDArray[Any]
    scales: NDArray[np.float16]
    evidence: NDArray[np.uint32]
    curvature: Floats

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.keys)

    @property
    def width(self) -> int:
        """Columns of the table."""
        return len(self.curvature)

    @property
    def scaled(self) -> bool:
        """Whether the rows are codes with a scale each."""
        return self.encoding in CODE_LIMITS

    def values(self) -> Floats:
        """float32[n, width]: what these codes mean; the same bits everywhere."""
        if self.scaled:
            scales = self.scales.astype(np.float32)[:, None]
            product: Floats = np.multiply(self.codes, scales, dtype=np.float32)
            return product
        if self.codes.dtype != np.float16:
            return self.codes.astype(np.float32)
        codes = np.ascontiguousarray(self.codes)
        values = np.empty(codes.shape, dtype=np.float32)
        for part in row_parts(*codes.shape):
            widen(codes[part], values[part])
        return values

    def row_block(self) -> RowBlock:
        """The block as every member merges it."""
        evidence = self.evidence.astype(np.float32)
        return RowBlock(self.table, self.keys, self.values(), evidence, self.curvature)

    def take(self, rows: slice) -> QuantizedBlock:
        """Some consecutive rows."""
        return QuantizedBlock(
            self.table,
            self.encoding,
            self.keys[rows],
            self.codes[rows],
            self.scales[rows] if self.scaled else self.scales,
            self.evidence[rows],
            self.curvature,
        )


def quantize(
    block: RowBlock, schema: TableSchema, rng: np.random.Generator | None
) -> QuantizedBlock:
    """`block` in the encoding its table asks for; values are first clipped to the table's limit.
    Codes are rounded to the nearest without `rng`: for what is looked at, and not averaged.

    Evidence is rounded up and clipped to 1..MAX_EVIDENCE, curvature clipped to 0..MAX_CURVATURE.
    ValueError when something is not finite or shapes do not fit: that is a bug of the task.
    """
    values = np.asarray(block.values, dtype=np.float32)
    curvature = np.asarray(block.curvature, dtype=np.float32)
    evidence = np.asarray(block.evidence, dtype=np.float64)
    if values.shape != (len(block.keys), schema.width) or curvature.shape != (schema.width,):
        raise ValueError(f"table {schema.name}: values {values.shape} do not fit the schema")
    if evidence.shape != (len(block.keys),):
        raise ValueError(f"table {schema.name}: evidence {evidence.shape} does not fit the rows")
    for name, array in (("values", values), ("evidence", evidence), ("curvature", curvature)):
        if not np.isfinite(array).all():
            raise ValueError(f"table {schema.name}: {name} are not finite")
    limit = largest_value(schema)
    scales = np.zeros(0, dtype=np.float16)
    codes: NDArray[Any]
    if schema.encoding in CODE_LIMITS:
        codes, scales = _coded_rows(values, limit, CODE_LIMITS[schema.encoding], rng)
    elif schema.encoding == "float16":
        codes = np.empty(values.shape, dtype=np.float16)
        for part in row_parts(*values.shape):
            narrow(np.clip(values[part], -limit, limit, order="C"), codes[part])
    else:
        codes = np.clip(values, -limit, limit)
    return QuantizedBlock(
        schema.name,
        schema.encoding,
        np.asarray(block.keys, dtype=np.uint64),
        codes,
        scales,
        np.clip(np.ceil(evidence), 1, MAX_EVIDENCE).astype(np.uint32),
        np.clip(curvature, 0, MAX_CURVATURE),
    )


def largest_value(schema: TableSchema) -> np.float32:
    """The largest float32 that is within the table's value limit and survives its encoding."""
    limit = np.float32(schema.value_limit)
    if float(limit) > schema.value_limit:
        limit = np.nextafter(limit, np.float32(0))
    if schema.encoding == "float16":
        half = np.float16(min(float(limit), FLOAT16_MAX))
        if float(half) > float(limit):
            half = np.nextafter(half, np.float16(0))
        limit = np.float32(half)
    return limit


def _coded_rows(
    values: Floats, limit: np.float32, code_limit: int, rng: np.random.Generator | None
) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    codes = np.empty(values.shape, dtype=np.int8)
    scales = np.empty(len(values), dtype=np.float16)
    for part in row_parts(*values.shape):
        clipped = np.clip(values[part], -limit, limit)
        scales[part] = _scales(np.abs(clipped).max(axis=1, initial=0.0), code_limit)
        wide = scales[part].astype(np.float32)
        safe = np.where(wide > 0, wide, np.float32(1))
        exact = clipped.astype(np.float64)
        exact /= safe[:, None]
        exact += 0.5 if rng is None else rng.random(exact.shape)
        np.floor(exact, out=exact)
        # The scale was rounded up: the outermost code may mean slightly more than the limit.
        most = np.minimum(np.floor(np.float64(limit) / safe), code_limit)[:, None]
        np.clip(exact, -most, most, out=exact)
        np.copyto(codes[part], exact, casting="unsafe")
    return codes, scales


def _scales(largest: Floats, code_limit: int) -> NDArray[np.float16]:
    """float16[n]: largest / code_limit rounded up; 0 for rows of zeros."""
    exact = largest.astype(np.float64) / code_limit
    if exact.size and exact.max() > FLOAT16_MAX:
        raise ValueError("values are too large for coded rows with float16 scales")
    scales = exact.astype(np.float16)
    short = scales.astype(np.float64) < exact
    scales[short] = np.nextafter(scales[short], np.float16(np.inf))
    if not np.isfinite(scales).all():  # only just below FLOAT16_MAX
        raise ValueError("values are too large for coded rows with float16 scales")
    return scales


def row_bytes(block: QuantizedBlock) -> int:
    """An upper bound of the encoded size of one row of `block`, in bytes."""
    key, scale, evidence = 10, 2, 4
    if block.encoding == "int4":
        return key + scale + evidence + (block.width + 1) // 2
    return key + scale + evidence + block.codes.dtype.itemsize * block.width


def split(
    blocks: tuple[QuantizedBlock, ...], max_bytes: int
) -> Iterator[tuple[QuantizedBlock, ...]]:
    """Groups of blocks, each of at most about `max_bytes` encoded; together they are `blocks`.

    Nothing is lost and order is kept; an empty input gives one empty group.
    """
    group: list[QuantizedBlock] = []
    free = max_bytes
    for block in blocks:
        each = row_bytes(block)
        start = 0
        while start < len(block):
            fits = max(free // each, 0)
            if not fits and group:
                yield tuple(group)
                group, free = [], max_bytes
                continue
            stop = min(start + max(fits, 1), len(block))
            group.append(block.take(slice(start, stop)))
            free -= each * (stop - start)
            start = stop
    if group or not any(len(block) for block in blocks):
        yield tuple(group)
