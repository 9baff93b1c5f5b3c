"""The frozen model that learning reads, and the seeded values of rows nobody contributed to.

Every peer of a group must derive the same bits for an unseen row, on every platform, with nothing
agreed on beforehand. So a seeded value is integer arithmetic up to the last step: SplitMix64
(Steele, Lea, Flood 2014) mixes (charter seed, table name, key, column) into 64 bits, and the sum
of their four 16-bit fields (Irwin-Hall: nearly normal, bounded at 3.5 standard deviations) is
scaled in IEEE float64 by correctly rounded operations only, then rounded to float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Floats, Keys

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIELD_MASK = np.uint64(0xFFFF)
_FIELDS_MEAN = 2.0 * 65535.0
_FIELDS_DEVIATION = math.sqrt(4.0 * (65536.0**2 - 1.0) / 12.0)


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The SplitMix64 finalizer, element by element; arithmetic is modulo 2^64."""
    z = state + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def initial_rows(charter: Charter, table: str, keys: Keys) -> Floats:
    """float32[n, width]: the seeded value of each row of `table` in `keys` (any order, repeats ok).

    Column c has mean 0 and standard deviation `initial_scale[c]`; no value exceeds 3.5 of these.
    KeyError when the charter has no such table.
    """
    schema = charter.table(table)
    scale = np.asarray(schema.initial_scale, dtype=np.float64)
    if not scale.any():
        return np.zeros((len(keys), schema.width), dtype=np.float32)
    name = f"openfl/seeded-row/{charter.seed}/{table}".encode()
    base = np.uint64(int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big"))
    columns = np.arange(1, schema.width + 1, dtype=np.uint64) * _GOLDEN
    row_states = _splitmix64(np.asarray(keys, dtype=np.uint64) ^ base)
    bits = _splitmix64(row_states[:, None] ^ columns[None, :])
    total = bits & _FIELD_MASK
    for shift in (16, 32, 48):
        total = total + ((bits >> np.uint64(shift)) & _FIELD_MASK)
    unit = (total.astype(np.float64) - _FIELDS_MEAN) / _FIELDS_DEVIATION
    # No zero is negative, or these bits would depend on the other columns of the table.
    return (unit * scale + 0.0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class DenseTable:
    """keys: uint64[n], strictly ascending. rows: float32[n, width]. evidence: float64[n], > 0."""

    keys: Keys
    rows: Floats
    evidence: NDArray[np.float64]


@dataclass(frozen=True)
class DenseModel:
    """A whole model in plain arrays: a `ModelView` that cannot change (its arrays are read-only).

    A table that is missing from `tables` is empty: all its rows have their seeded values.
    """

    charter: Charter
    tables: Mapping[str, DenseTable]

    def __post_init__(self) -> None:
        for name, table in self.tables.items():
            schema = self.charter.table(name)
            count = len(table.keys)
            if table.rows.shape != (count, schema.width) or table.evidence.shape != (count,):
                raise ValueError(f"table {name}: arrays do not match {count} keys")
            if count > 1 and not bool(np.all(table.keys[1:] > table.keys[:-1])):
                raise ValueError(f"table {name}: keys are not strictly ascending")
            for array in (table.keys, table.rows, table.evidence):
                array.flags.writeable = False

    @classmethod
    def empty(cls, charter: Charter) -> DenseModel:
        """The model of a group nobody has contributed to."""
        return cls(charter, {})

    def keys(self, table: str) -> Keys:
        """uint64[n], ascending; see `ModelView.keys`."""
        found = self.tables.get(table)
        return np.empty(0, dtype=np.uint64) if found is None else found.keys

    def rows(self, table: str, keys: Keys) -> Floats:
        """float32[n, width]; see `ModelView.rows`."""
        found = self.tables.get(table)
        if found is None or len(found.keys) == 0:
            return initial_rows(self.charter, table, keys)
        if keys is found.keys:
            return found.rows
        position, present = self._locate(found.keys, keys)
        rows = found.rows[position]
        if not bool(present.all()):
            missing = ~present
            rows[missing] = initial_rows(self.charter, table, keys[missing])
        return rows

    def evidence(self, table: str, keys: Keys) -> NDArray[np.float64]:
        """float64[n]: 0 for rows that nobody contributed to."""
        found = self.tables.get(table)
        if found is None or len(found.keys) == 0:
            return np.zeros(len(keys), dtype=np.float64)
        position, present = self._locate(found.keys, keys)
        return np.where(present, found.evidence[position], 0.0)

    @staticmethod
    def _locate(known: Keys, wanted: Keys) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where each wanted key stands among `known` (clipped), and whether it is really there."""
        position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return position, known[position] == wanted
