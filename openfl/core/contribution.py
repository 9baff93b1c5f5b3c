"""The waist: the frozen values that the learning side and the protocol side exchange.

A *model* is a set of named tables. A table holds rows keyed by unsigned integers of `key_bits`
bits, each a float32 vector of `width` columns. A member's *contribution* says, for each row it has
evidence on, which value it proposes and how sure it is: precision = evidence * curvature, column
by column. The group's model is the precision-weighted mean of all members' proposals with a prior
(see `openfl.aggregation`). Nothing else crosses between learning and protocol.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NewType, Protocol

import cbor2
import numpy as np
from numpy.typing import NDArray

PeerId = NewType("PeerId", str)
"""A libp2p peer id in its base58 text form, such as `12D3KooW...`."""

GroupId = NewType("GroupId", str)
"""32 lower-case hex digits: the first 128 bits of sha256 over the charter's canonical CBOR."""

Keys = NDArray[np.uint64]
Floats = NDArray[np.float32]
Hyperparameter = bool | int | float | str
Encoding = Literal["int4", "int8", "float16", "float32"]
"""How the rows of a table travel (see `openfl.aggregation.quantize`)."""

PROTOCOL_VERSION = 1
MAX_EVIDENCE = 1_000_000.0
"""Most evidence one member can claim for one row."""
MAX_CURVATURE = 1_000.0
"""Largest curvature of a column; precisions are further capped at `MAX_PRECISION`."""
MAX_PRECISION = 1_000_000.0


@dataclass(frozen=True, slots=True)
class TableSchema:
    """Shape and merge rule of one table; part of the charter, so all members agree on it.

    `prior[c] + prior_per_evidence[c] * n_r` is the precision of the zero-mean prior of column `c`
    of a row with total evidence `n_r`. `initial_scale[c]` is the standard deviation of the seeded
    value that a row nobody contributed to has. `value_limit` bounds |value|; beyond it a row is
    refused.
    """

    name: str
    width: int
    prior: tuple[float, ...]
    prior_per_evidence: tuple[float, ...]
    initial_scale: tuple[float, ...]
    encoding: Encoding = "int8"
    key_bits: int = 64
    value_limit: float = 100.0


@dataclass(frozen=True)
class Charter:
    """What a group is: members share a charter to the bit, and its hash names the group.

    `parent` is reserved for groups whose rows shrink towards another group's model. `founder`: who
    decides on membership of a closed group; None: anybody may join.
    """

    name: str
    task: str
    tables: tuple[TableSchema, ...]
    hyperparameters: Mapping[str, Hyperparameter] = field(default_factory=dict)
    seed: int = 0
    parent: GroupId | None = None
    version: int = PROTOCOL_VERSION
    founder: PeerId | None = None

    def to_plain(self) -> dict[str, Any]:
        """The charter as plain CBOR/JSON values, in the form that is hashed and sent."""
        plain = {
            "version": self.version,
            "name": self.name,
            "task": self.task,
            "seed": self.seed,
            "parent": self.parent,
            "hyperparameters": dict(sorted(self.hyperparameters.items())),
            "tables": [
                {
                    "name": t.name,
                    "width": t.width,
                    "prior": list(t.prior),
                    "prior_per_evidence": list(t.prior_per_evidence),
                    "initial_scale": list(t.initial_scale),
                    "encoding": t.encoding,
                    "key_bits": t.key_bits,
                    "value_limit": t.value_limit,
                }
                for t in self.tables
            ],
        }
        if self.founder is not None:
            # Left out of open charters, whose ids are older than this field.
            plain["founder"] = self.founder
        return plain

    @cached_property
    def group_id(self) -> GroupId:
        """Of the group under this charter: equal charters make one group."""
        canonical = cbor2.dumps(self.to_plain(), canonical=True)
        return GroupId(hashlib.sha256(canonical).hexdigest()[:32])

    def table(self, name: str) -> TableSchema:
        """The schema of the table `name`; KeyError when the charter has none."""
        for schema in self.tables:
            if schema.name == name:
                return schema
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class RowBlock:
    """One member's proposals for some rows of one table.

    keys: uint64[n], strictly ascending. values: float32[n, width], absolute (not increments).
    evidence: float32[n], whole numbers in 1..MAX_EVIDENCE (how many observations stand behind the
    row). curvature: float32[width], >= 0. The precision of a value is
    `min(evidence[r] * curvature[c], MAX_PRECISION)`.
    """

    table: str
    keys: Keys
    values: Floats
    evidence: Floats
    curvature: Floats

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A metric on this node's own held-out data. `value` is better when lower.

    `standard_error` is that of `value`; `count` is the number of held-out examples. With none both
    are NaN; otherwise both are finite (one example says nothing of its spread: the error is then as
    large as the value). They are told to the group: whatever is not finite stays at home.
    """

    metric: str
    value: float
    standard_error: float
    count: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one local training step publishes: row blocks, at most one a table."""

    blocks: tuple[RowBlock, ...]

    @property
    def row_count(self) -> int:
        """In all blocks."""
        return sum(len(block) for block in self.blocks)


class ModelView(Protocol):
    """A frozen view of a group's model, safe to read in another thread."""

    def keys(self, table: str) -> Keys:
        """uint64[n], ascending: the rows of `table` with evidence."""
        ...

    def rows(self, table: str, keys: Keys) -> Floats:
        """float32[n, width] for any `keys`; rows without evidence have their seeded value."""
        ...

    def evidence(self, table: str, keys: Keys) -> NDArray[np.float64]:
        """float64[n]: total evidence of all members a row; 0 where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """Rows of one table in several counterfactual models, each of which differs from one common
    model in a few rows.

    counterfactual: intp[n], ascending, in which of them; row: intp[n], which of the keys that were
    asked for; change: float32[n, width], by how much the row is higher there, a row without
    evidence taken as 0, the prior's mean; evidence: float32[n], the row's there."""

    counterfactual: NDArray[np.intp]
    row: NDArray[np.intp]
    change: Floats
    evidence: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GroupCard:
    """What the network is told about a group: enough to list it and to join it.

    `fit_best` and `fit_median` are over the members' own held-out metrics (lower is better), None
    when none is known. `issued_at` is the issuer's clock in unix seconds: it orders cards of one
    issuer and lets old ones expire; no protocol step compares it with another peer's clock.
    """

    charter: Charter
    members: int
    rows: int
    fit_metric: str | None
    fit_best: float | None
    fit_median: float | None
    issuer: PeerId
    issued_at: float


def item_key(item_id: str, key_bits: int = 64) -> int:
    """The row key of an item: the first `key_bits` bits of BLAKE2b over its id in the normal form C
    of Unicode, encoded in UTF-8. So an id is one row however its accents are encoded."""
    if not item_id.isascii():
        item_id = unicodedata.normalize("NFC", item_id)
    return plain_key(item_id, key_bits)


def plain_key(text: str, key_bits: int = 64) -> int:
    """The key of `text` exactly as it is: what members of versions before `item_key` knew of normal
    forms use, and what they saved. Equal to `item_key` for nearly all ids."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - key_bits)


def is_key_of(key: int, name: str, key_bits: int) -> bool:
    """Whether a row may be called `name`, by this version or an older one."""
    return key in (item_key(name, key_bits), plain_key(name, key_bits))
