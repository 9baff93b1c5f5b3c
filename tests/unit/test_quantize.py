from __future__ import annotations

import numpy as np
import pytest

from openfl.aggregation.fixed_point import fits
from openfl.aggregation.quantize import (
    CODE_LIMIT,
    CODE_LIMITS,
    QuantizedBlock,
    largest_value,
    quantize,
    row_bytes,
    split,
)
from openfl.core.contribution import MAX_CURVATURE, MAX_EVIDENCE, RowBlock, TableSchema
from tests.protocol_samples import COARSE, HALF, ITEMS, MEAN, block


def rows(values: np.ndarray, schema: TableSchema = ITEMS) -> RowBlock:
    n = len(values)
    return RowBlock(
        schema.name,
        np.arange(n, dtype=np.uint64),
        values.astype(np.float32),
        np.ones(n, dtype=np.float32),
        np.ones(schema.width, dtype=np.float32),
    )


@pytest.mark.parametrize("magnitude", [1e-30, 1e-9, 1e-6, 1e-3, 1.0, 50.0, 100.0])
def test_an_int8_row_is_off_by_less_than_one_step_of_its_scale(magnitude: float) -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(-magnitude, magnitude, (200, 3)).astype(np.float32)
    quantized = quantize(rows(values), ITEMS, rng)
    step = quantized.scales.astype(np.float64)[:, None]
    assert np.isfinite(step).all()
    assert (np.abs(quantized.values() - values) <= step * (1 + 1e-6)).all()
    # The step itself is small: at most the row's largest value / 127, rounded up to a float16.
    largest = np.abs(values).max(axis=1).astype(np.float64)
    # (below 2**-14 float16 scales are 2**-24 apart).
    assert (step[:, 0] <= largest / CODE_LIMIT * 1.001 + 2.0**-24).all()


@pytest.mark.parametrize("schema", [ITEMS, COARSE], ids=lambda s: s.encoding)
def test_a_coded_row_is_off_by_less_than_one_step_and_has_no_bias(schema: TableSchema) -> None:
    rng = np.random.default_rng(6)
    values = np.tile(rng.uniform(-2, 2, (1, 3)).astype(np.float32), (20_000, 1))
    quantized = quantize(rows(values, schema), schema, rng)
    limit = CODE_LIMITS[schema.encoding]
    assert np.abs(quantized.codes).max() == limit
    step = float(quantized.scales[0])
    assert step <= np.abs(values[0]).max() / limit * 1.001
    errors = quantized.values().astype(np.float64) - values
    assert (np.abs(errors) <= step * (1 + 1e-6)).all()
    assert (np.abs(errors.mean(axis=0)) < 5 * step / 2 / np.sqrt(len(values))).all()


def test_int4_takes_half_a_byte_a_value() -> None:
    coarse, fine = block(COARSE), block(ITEMS)
    assert row_bytes(fine) - row_bytes(coarse) == 1  # three values, in two bytes instead of three


def test_a_row_of_zeros_stays_zero_with_scale_zero() -> None:
    quantized = quantize(rows(np.zeros((2, 3))), ITEMS, np.random.default_rng(0))
    assert (quantized.scales == 0).all()
    assert (quantized.values() == 0).all()


@pytest.mark.parametrize("value", [0.3, 1e-9])
def test_stochastic_rounding_has_no_bias(value: float) -> None:
    rng = np.random.default_rng(2)
    values = np.full((40_000, 3), value, dtype=np.float32)
    values[:, 0] = 0.8 if value > 1e-3 else 2.0**-24  # fixes the scale
    decoded = quantize(rows(values), ITEMS, rng).values()[:, 1].astype(np.float64)
    step = float(decoded[decoded > 0].min()) if value < 1e-3 else 0.8 / 127
    assert abs(decoded.mean() - value) < 5 * step / np.sqrt(12 * len(decoded)) * 2


def test_rounding_to_nearest_would_have_failed_the_bias_test() -> None:
    # The twin: the value below half a step would always round to zero.
    assert round(1e-9 / 2.0**-24) == 0


def test_the_same_rng_gives_the_same_codes() -> None:
    first, second = block(seed=5), block(seed=5)
    assert (first.codes == second.codes).all()
    assert (first.scales == second.scales).all()
    assert not (first.codes == block(seed=6).codes).all()


@pytest.mark.parametrize("schema", [ITEMS, COARSE, MEAN, HALF], ids=lambda s: s.encoding)
def test_what_is_quantized_never_exceeds_the_limit_of_its_table(schema: TableSchema) -> None:
    rng = np.random.default_rng(3)
    values = rng.uniform(0.99, 50, (500, schema.width)) * schema.value_limit
    values *= rng.choice([-1, 1], values.shape)
    quantized = quantize(rows(values, schema), schema, rng)
    assert fits(quantized.values(), quantized.evidence, quantized.curvature, schema) is None


def test_dequantising_is_exact_in_float32() -> None:
    rng = np.random.default_rng(4)
    quantized = quantize(rows(rng.normal(size=(1000, 3)) * 10), ITEMS, rng)
    exact = quantized.codes.astype(np.float64) * quantized.scales.astype(np.float64)[:, None]
    assert (quantized.values().astype(np.float64) == exact).all()


def test_every_float16_scale_times_every_code_is_exact_in_float32() -> None:
    bits = np.arange(0x7C00, dtype=np.uint16)  # all finite float16 >= 0
    scales = bits.view(np.float16)
    for code in (-127, -85, 1, 3, 101, 127):
        codes = np.full((len(scales), 1), code, dtype=np.int8)
        made = QuantizedBlock(
            "t",
            "int8",
            np.arange(len(scales), dtype=np.uint64),
            codes,
            scales,
            np.ones(len(scales), dtype=np.uint32),
            np.ones(1, dtype=np.float32),
        )
        assert (made.values()[:, 0].astype(np.float64) == scales.astype(np.float64) * code).all()


@pytest.mark.parametrize("schema", [MEAN, HALF], ids=lambda s: s.encoding)
def test_float_encodings_keep_what_their_type_can_hold(schema: TableSchema) -> None:
    values = np.linspace(-2, 2, 8 * schema.width).reshape(8, schema.width)
    quantized = quantize(rows(values, schema), schema, np.random.default_rng(0))
    relative = {"float16": 2.0**-11, "float32": 2.0**-24}[schema.encoding]
    assert np.allclose(quantized.values(), values, rtol=relative, atol=0)
    assert len(quantized.scales) == 0


def test_evidence_and_curvature_are_clipped_to_what_the_protocol_allows() -> None:
    source = rows(np.ones((3, 3)))
    wild = RowBlock(
        "items",
        source.keys,
        source.values,
        np.array([0.2, 7.0, 5e9], dtype=np.float32),
        np.array([-1.0, 0.5, 1e9], dtype=np.float32),
    )
    quantized = quantize(wild, ITEMS, np.random.default_rng(0))
    assert quantized.evidence.tolist() == [1, 7, int(MAX_EVIDENCE)]
    assert quantized.curvature.tolist() == [0.0, 0.5, MAX_CURVATURE]


@pytest.mark.parametrize("field", ["values", "evidence", "curvature"])
def test_a_task_that_gives_nan_is_told_so(field: str) -> None:
    source = rows(np.ones((2, 3)))
    parts = {
        "values": source.values.copy(),
        "evidence": source.evidence.copy(),
        "curvature": source.curvature.copy(),
    }
    quantize(RowBlock("items", source.keys, **parts), ITEMS, np.random.default_rng(0))
    parts[field].flat[0] = np.nan
    with pytest.raises(ValueError, match=f"{field} are not finite"):
        quantize(RowBlock("items", source.keys, **parts), ITEMS, np.random.default_rng(0))


def test_a_task_whose_rows_do_not_fit_the_schema_is_told_so() -> None:
    with pytest.raises(ValueError, match="do not fit the schema"):
        quantize(rows(np.ones((2, 4))), ITEMS, np.random.default_rng(0))


def test_the_largest_float16_value_is_within_a_limit_it_cannot_represent() -> None:
    schema = TableSchema("t", 1, (1.0,), (0.0,), (0.0,), "float16", value_limit=100.03)
    limit = largest_value(schema)
    assert 99.9 < float(limit) <= 100.03
    assert np.float32(np.float16(limit)) == limit
    huge = TableSchema("t", 1, (1.0,), (0.0,), (0.0,), "float16", value_limit=1e6)
    assert float(largest_value(huge)) == 65504.0


def test_splitting_keeps_every_row_once_and_in_order() -> None:
    blocks = (block(keys=range(100)), block(MEAN, keys=[0]), block(HALF, keys=range(40)))
    budget = 20 * row_bytes(blocks[0])
    groups = list(split(blocks, budget))
    assert len(groups) > 5
    for table in ("items", "mean", "half"):
        parts = [b for group in groups for b in group if b.table == table]
        whole = next(b for b in blocks if b.table == table)
        assert np.concatenate([p.keys for p in parts]).tolist() == whole.keys.tolist()
        assert (np.concatenate([p.values() for p in parts]) == whole.values()).all()
    for group in groups:
        assert sum(row_bytes(b) * len(b) for b in group) <= budget
        assert len({b.table for b in group}) == len(group)


def test_a_row_larger_than_the_budget_travels_alone() -> None:
    groups = list(split((block(keys=range(3)),), 1))
    assert [len(group[0]) for group in groups] == [1, 1, 1]


def test_splitting_nothing_gives_one_empty_group() -> None:
    assert list(split((), 1000)) == [()]
