from __future__ import annotations

import numpy as np
import pytest

from openfl.aggregation.quantize import QuantizedBlock, quantize
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import Contribution, RowBlock
from tests.protocol_samples import ITEMS


def contribution(values: np.ndarray, evidence: float = 10.0, first_key: int = 0) -> Contribution:
    n = len(values)
    return Contribution(
        (
            RowBlock(
                "items",
                np.arange(first_key, first_key + n, dtype=np.uint64),
                values.astype(np.float32),
                np.full(n, evidence, dtype=np.float32),
                np.ones(3, dtype=np.float32),
            ),
        )
    )


def publish(
    selector: RowSelector, whole: Contribution, seed: int = 0
) -> tuple[QuantizedBlock, ...]:
    rng = np.random.default_rng(seed)
    blocks = tuple(quantize(b, ITEMS, rng) for b in selector.select(whole).blocks)
    selector.record(blocks)
    return blocks


def keys_of(blocks: tuple[QuantizedBlock, ...] | tuple[RowBlock, ...]) -> list[int]:
    return [int(key) for b in blocks for key in b.keys]


def test_the_first_time_everything_is_sent() -> None:
    assert keys_of(publish(RowSelector(0.25, 0.1), contribution(np.ones((40, 3))))) == list(
        range(40)
    )


def test_then_the_quarter_that_changed_most_and_the_oldest_tenth() -> None:
    selector = RowSelector(0.25, 0.1)
    values = np.ones((40, 3))
    publish(selector, contribution(values))
    values[30:] += np.linspace(1, 2, 10)[:, None]
    values[:5] += 0.3  # changed, but less than the ten above
    sent = keys_of(publish(selector, contribution(values)))
    assert sent == [0, 1, 2, 3, *range(30, 40)]  # the oldest by key, then the changed


def test_of_what_several_rounds_have_changed_as_many_times_more_is_sent() -> None:
    values = np.ones((40, 3))
    for rounds, count in ((1, 10), (2, 20), (3, 30), (4, 40), (9, 40)):
        selector = RowSelector(0.25, 0.0)
        publish(selector, contribution(values))
        moved = contribution(values + np.linspace(2, 1, 40)[:, None])
        assert keys_of(selector.select(moved, rounds).blocks) == list(range(count))


def test_what_several_rounds_have_not_changed_is_not_sent_for_that() -> None:
    selector = RowSelector(0.25, 0.0)
    values = np.ones((40, 3))
    publish(selector, contribution(values))
    values[3] += 1
    assert keys_of(selector.select(contribution(values), 16).blocks) == [3]


def test_change_is_weighed_by_how_sure_the_member_is() -> None:
    selector = RowSelector(1 / 40, 0.0)
    values = np.ones((40, 3))
    publish(selector, contribution(values))
    values[7] += 0.5
    values[21] += 0.4
    sure = contribution(values)
    sure.blocks[0].evidence[21] = 100
    assert keys_of(selector.select(sure).blocks) == [21]
    assert keys_of(selector.select(contribution(values)).blocks) == [7]


def test_every_row_is_refreshed_within_the_rounds_the_fraction_says() -> None:
    selector = RowSelector(0.25, 0.1)
    values = np.zeros((40, 3))
    publish(selector, contribution(values))
    seen: list[int] = []
    for _ in range(10):
        seen += keys_of(publish(selector, contribution(values)))
    assert sorted(seen) == list(range(40))  # settled rows: each exactly once


def test_settled_rows_are_not_sent_without_refresh() -> None:
    selector = RowSelector(0.25, 0.0, settled=0.05)
    values = np.ones((40, 3))
    publish(selector, contribution(values))
    assert selector.select(contribution(values)).row_count == 0
    values[3] += 1.0
    assert keys_of(selector.select(contribution(values)).blocks) == [3]


def test_what_counts_as_sent_is_what_the_others_have() -> None:
    selector = RowSelector(1.0, 0.0, settled=0.0)
    values = np.random.default_rng(3).normal(size=(1, 3))
    (sent,) = publish(selector, contribution(values))
    step = float(sent.scales[0])
    # Two values equally far from what was asked for, not from what the others got.
    for sign in (-1, 1):
        moved = contribution(sent.values() + sign * 1.01 * step)
        assert selector.select(moved).row_count == 1
        near = contribution(sent.values() + sign * 0.99 * step)
        assert selector.select(near).row_count == 0


def test_a_row_that_moved_less_than_its_encoding_can_say_is_settled() -> None:
    selector = RowSelector(1.0, 0.0, settled=0.0)
    values = np.random.default_rng(3).normal(size=(40, 3))
    publish(selector, contribution(values))
    assert selector.select(contribution(values)).row_count == 0  # rounding is not a change
    values[11, 1] += 0.1
    assert keys_of(selector.select(contribution(values)).blocks) == [11]


def test_rows_never_sent_go_first_whatever_the_fraction() -> None:
    selector = RowSelector(0.1, 0.0)
    publish(selector, contribution(np.ones((10, 3))))
    wider = contribution(np.ones((30, 3)))
    assert keys_of(publish(selector, wider)) == list(range(10, 30))


def test_selecting_without_recording_changes_nothing() -> None:
    selector = RowSelector(0.25, 0.1)
    whole = contribution(np.ones((40, 3)))
    assert keys_of(selector.select(whole).blocks) == keys_of(selector.select(whole).blocks)


def test_after_forgetting_everything_is_sent_again() -> None:
    selector = RowSelector(0.25, 0.1)
    whole = contribution(np.ones((40, 3)))
    publish(selector, whole)
    assert len(keys_of(selector.select(whole).blocks)) == 4
    selector.forget()
    assert len(keys_of(selector.select(whole).blocks)) == 40


def test_rows_interleaved_with_known_ones_are_remembered_in_order() -> None:
    selector = RowSelector(0.25, 0.0)
    even = RowBlock(
        "items",
        np.arange(0, 20, 2, dtype=np.uint64),
        np.ones((10, 3), dtype=np.float32),
        np.full(10, 5, dtype=np.float32),
        np.ones(3, dtype=np.float32),
    )
    publish(selector, Contribution((even,)))
    values = np.ones((20, 3))
    assert keys_of(publish(selector, contribution(values))) == list(range(1, 20, 2))
    assert selector.select(contribution(values)).row_count == 0


def test_fractions_out_of_range_are_refused() -> None:
    RowSelector(1.0, 1.0)
    with pytest.raises(ValueError, match="fractions"):
        RowSelector(0.0, 0.1)
    with pytest.raises(ValueError, match="fractions"):
        RowSelector(0.5, 1.1)
