"""Tables worked on part by part give, bit for bit, what plain formulas over whole arrays give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from openfl.aggregation import parts
from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import PRECISION_BITS, to_fixed, value_bits, weighted_mean
from openfl.aggregation.quantize import QuantizedBlock, quantize
from openfl.aggregation.replica import MergeKind, Replica
from openfl.aggregation.row_selection import RowSelector, _lowest
from openfl.core.contribution import (
    MAX_PRECISION,
    Charter,
    Contribution,
    PeerId,
    RowBlock,
    TableSchema,
)

WIDTH, ROWS = 6, 90


def table(encoding: Any = "float16", prior: float = 0.0, per_evidence: float = 0.0) -> TableSchema:
    return TableSchema(
        "t", WIDTH, (prior,) * WIDTH, (per_evidence,) * WIDTH, (0.0,) * WIDTH, encoding, 64, 10.0
    )


@pytest.fixture(params=[1, 20, 1 << 15], ids=["rows", "few rows", "whole"], autouse=True)
def part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_NUMBERS", request.param)


def curvature(kind: str, rng: np.random.Generator) -> np.ndarray:
    return np.ones(WIDTH, np.float32) if kind == "one" else rng.random(WIDTH, dtype=np.float32)


def block(rng: np.random.Generator, keys: np.ndarray, kind: str, scale: float = 1.0) -> RowBlock:
    values = (scale * rng.standard_normal((len(keys), WIDTH))).astype(np.float32)
    evidence = rng.integers(1, 2_000_000, len(keys)).clip(1, 1_000_000).astype(np.float32)
    return RowBlock("t", keys, values, evidence, curvature(kind, rng))


def plain(values: Any, evidence: Any, curved: Any, bits: int) -> tuple[Any, Any]:
    h = np.minimum(evidence.astype(np.float64)[:, None] * curved.astype(np.float64), MAX_PRECISION)
    return (
        np.rint(h * values * 2.0**bits).astype(np.int64),
        np.rint(h * 2.0**PRECISION_BITS).astype(np.int64),
    )


@pytest.mark.parametrize("kind", ["one", "each", "rows"])
def test_what_registers_add(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    evidence = rng.integers(1, 1_000_000, ROWS).astype(np.uint32)
    curved = curvature(kind, rng)
    if kind == "rows":
        curved = rng.random((ROWS, WIDTH), dtype=np.float32)
    found, truth = to_fixed(values, evidence, curved, 20), plain(values, evidence, curved, 20)
    assert found[0].tobytes() == truth[0].tobytes()
    assert np.array_equal(np.broadcast_to(found[1], truth[1].shape), truth[1])


@pytest.mark.parametrize("prior", [(0.0, 0.0), (2.0, 0.0), (0.5, 1e-3)])
def test_the_mean(prior: tuple[float, float]) -> None:
    rng, schema = np.random.default_rng(1), table("float32", *prior)
    num = rng.integers(-(2**50), 2**50, (ROWS, WIDTH))
    den = rng.integers(0, 2**40, (ROWS, WIDTH)) * (rng.random((ROWS, WIDTH)) < 0.7)
    evidence = rng.integers(0, 1000, ROWS)
    total = den * 2.0**-PRECISION_BITS + prior[0] + evidence[:, None] * prior[1]
    known = total > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, num * 2.0 ** -value_bits(schema) / total, 0.0)
    rows, is_known = weighted_mean(num, den, evidence, schema)
    assert rows.tobytes() == mean.clip(-10, 10).astype(np.float32).tobytes()
    assert np.array_equal(is_known, known)


@pytest.mark.parametrize("kinds", ["one", "each", "both"])
@pytest.mark.parametrize("order", ["ascending", "mixed"])
def test_a_replica_holds_the_sums_of_the_latest_registers(kinds: str, order: str) -> None:
    """Members say some rows again and again, in whatever order, with one curvature or several."""
    rng, charter = np.random.default_rng(2), Charter("c", "t", (table(),))
    replica = Replica(charter)
    latest: dict[tuple[str, int], tuple[Any, Any, Any]] = {}
    names = (PeerId("a"), PeerId("b"))
    seqnos = dict.fromkeys(names, 0)
    for step in range(24):
        name = names[step % 2]
        keys = np.flatnonzero(rng.random(ROWS) < 0.4).astype(np.uint64)
        if order == "ascending" and step < 8:
            keys = np.arange(step // 2 * 20, step // 2 * 20 + 20, dtype=np.uint64)
        kind = kinds if kinds != "both" else ("one", "each")[int(rng.integers(2))]
        said = quantize(block(rng, keys, kind), charter.tables[0], rng)
        seqnos[name] += 1
        delta = Delta(charter.group_id, 1, seqnos[name], 1, 1, None, (said,), bytes([step]) * 32)
        assert replica.merge(name, delta, b"envelope", 0.0).kind is MergeKind.MERGED
        for n, key in enumerate(keys):
            mine = (said.values()[n], said.evidence[n], said.curvature)
            latest[name, int(key)] = mine
    bits = value_bits(charter.tables[0])
    num, den = np.zeros((2, 100, WIDTH), dtype=np.int64)
    for (_, key), (values, evidence, curved) in latest.items():
        more = plain(values[None], np.array([evidence]), curved, bits)
        num[key] += more[0][0]
        den[key] += more[1][0]
    live = replica._sums["t"].live()
    assert np.array_equal(live.num, num[live.keys.astype(int)])
    assert np.array_equal(live.den, den[live.keys.astype(int)])
    assert set(live.keys.tolist()) == {key for _, key in latest}
    view, copied = (
        replica.view().tables["t"],
        replica.model_of(replica.sums_without(())).tables["t"],
    )
    assert view.rows.tobytes() == copied.rows.tobytes()
    assert view.keys.tobytes() == copied.keys.tobytes()
    assert view.evidence.tobytes() == copied.evidence.tobytes()
    # Taking both out again undoes all of it.
    gone = {n: c for name in names for n, c in [(name, replica.withdrawals(name)["t"])]}
    for change in gone.values():
        num[change.keys.astype(int)] += change.num
        den[change.keys.astype(int)] += change.den
    assert not num.any()
    assert not den.any()


@pytest.mark.parametrize("count", [0, 1, 30, 89, 90, 500])
def test_the_lowest_are_those_of_a_stable_sort(count: int) -> None:
    rng = np.random.default_rng(3)
    for numbers in (
        rng.integers(0, 8, 90),
        rng.standard_normal(90),
        np.where(rng.random(90) < 0.4, -np.inf, np.round(rng.standard_normal(90))),
    ):
        truth = np.sort(np.argsort(numbers, kind="stable")[:count])
        assert np.array_equal(np.flatnonzero(_lowest(numbers, count)), truth)


@pytest.mark.parametrize("encoding", ["float16", "int8", "int4"])
def test_rows_are_chosen_as_plain_formulas_choose(encoding: Any) -> None:
    rng, schema = np.random.default_rng(4), table(encoding)
    selector = RowSelector(0.3, 0.1)
    keys = np.arange(ROWS, dtype=np.uint64) * 3
    sent = np.zeros((ROWS, WIDTH), dtype=np.float32)
    steps, turns = np.zeros(ROWS, dtype=np.float32), np.full(ROWS, -1)
    proposal = block(rng, keys, "each")
    for turn in range(8):
        said: list[QuantizedBlock] = []
        for chosen in selector.select(Contribution((proposal,))).blocks:
            said.append(quantize(chosen, schema, rng))
            if turn:
                wanted = _plain_choice(proposal, sent, steps, turns)
                assert np.array_equal(chosen.keys, keys[wanted])
        selector.record(tuple(said))
        (one,) = said
        at = (one.keys // np.uint64(3)).astype(int)
        sent[at], turns[at] = one.values(), turn
        steps[at] = one.scales.astype(np.float32) if one.scaled else 0.0
        moved = proposal.values + rng.random((ROWS, 1), dtype=np.float32) ** 4 * rng.normal(
            size=(ROWS, WIDTH)
        ).astype(np.float32)
        proposal = RowBlock("t", keys, moved, proposal.evidence, proposal.curvature)


def _plain_choice(block: RowBlock, sent: Any, steps: Any, turns: Any) -> np.ndarray:
    h = np.minimum(
        block.evidence.astype(np.float64)[:, None] * block.curvature.astype(np.float64),
        MAX_PRECISION,
    )
    change = block.values.astype(np.float64) - sent
    score = np.sqrt((h * change * change).sum(axis=1))
    score[(np.abs(change) <= steps[:, None]).all(axis=1)] = 0.0
    most = np.argsort(-score, kind="stable")[: math.ceil(0.3 * ROWS)]
    most = most[score[most] > 1e-3]
    left = turns.copy()
    left[most] = 1 << 40
    return np.union1d(most, np.argsort(left, kind="stable")[: math.ceil(0.1 * ROWS)])
