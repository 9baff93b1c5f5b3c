"""Small charters, deltas and peers for the tests of replica and wire."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from openfl.aggregation.delta import Delta
from openfl.aggregation.quantize import QuantizedBlock, quantize
from openfl.core.contribution import Charter, Evaluation, PeerId, RowBlock, TableSchema
from openfl.wire.messages import decode_delta, encode_delta, peer_id_from_bytes


def peer(name: int | str) -> PeerId:
    """A well-formed Ed25519 peer id; nobody has its private key."""
    key = hashlib.sha256(f"sample peer {name}".encode()).digest()
    return peer_id_from_bytes(bytes.fromhex("002408011220") + key)


ITEMS = TableSchema(
    name="items",
    width=3,
    prior=(8.0, 8.0, 5.0),
    prior_per_evidence=(0.05, 0.05, 0.0),
    initial_scale=(0.1, 0.1, 0.0),
)
MEAN = TableSchema(
    name="mean",
    width=1,
    prior=(0.0,),
    prior_per_evidence=(0.0,),
    initial_scale=(0.0,),
    encoding="float32",
    key_bits=1,
)
HALF = TableSchema(
    name="half",
    width=2,
    prior=(1.0, 1.0),
    prior_per_evidence=(0.0, 0.0),
    initial_scale=(0.0, 0.0),
    encoding="float16",
    key_bits=16,
)
COARSE = TableSchema(
    name="coarse",
    width=3,
    prior=(8.0, 8.0, 5.0),
    prior_per_evidence=(0.05, 0.05, 0.0),
    initial_scale=(0.1, 0.1, 0.0),
    encoding="int4",
)
"""Not in the charter."""
CHARTER = Charter("samples", "rating", (ITEMS, MEAN, HALF), {"factors": 2, "damping": 1.5}, seed=7)
FIT = Evaluation("rmse", 0.9375, 0.0078125, 1000)


def block(
    schema: TableSchema = ITEMS,
    keys: Sequence[int] = (3, 5, 1 << 63),
    seed: int = 0,
    evidence: Sequence[int] | None = None,
) -> QuantizedBlock:
    """Random rows under `keys`, already quantized."""
    rng = np.random.default_rng(seed)
    n = len(keys)
    counts = rng.integers(1, 300, n) if evidence is None else np.asarray(evidence)
    rows = RowBlock(
        schema.name,
        np.asarray(sorted(keys), dtype=np.uint64),
        rng.normal(size=(n, schema.width)).astype(np.float32),
        counts.astype(np.float32),
        rng.gamma(2.0, 0.5, schema.width).astype(np.float32),
    )
    return quantize(rows, schema, rng)


def delta(
    seqno: int = 1,
    epoch: int = 1,
    blocks: tuple[QuantizedBlock, ...] | None = None,
    charter: Charter = CHARTER,
    round_number: int = 1,
) -> Delta:
    """As others receive it: encoded and decoded once, so it has its digest."""
    if blocks is None:
        blocks = (block(),)
    return decode_delta(
        encode_delta(Delta(charter.group_id, epoch, seqno, round_number, 1234, FIT, blocks))
    )


def envelope_of(author: PeerId, sample: Delta) -> bytes:
    """Stands for the signed envelope where nobody verifies it; equal deltas have equal ones."""
    return f"{author}/{sample.epoch}/{sample.seqno}/".encode() + sample.digest
