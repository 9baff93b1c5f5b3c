"""What hostile members send, one attack at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openfl.core.contribution import MAX_EVIDENCE, Contribution, RowBlock
from openfl.core.errors import DecodeError
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.song_data import SongData
from openfl.learning.factorization.song_shards import upside_down
from openfl.learning.rating.charter import rating_charter
from openfl.simulation.attacks import ATTACKS, AttackInput, nan_blocks
from openfl.wire import messages as wire


def contribution(values: list[list[float]], keys: tuple[int, ...] = (1, 2)) -> Contribution:
    block = RowBlock(
        "items",
        np.asarray(keys, dtype=np.uint64),
        np.asarray(values, dtype=np.float32),
        np.full(len(keys), 4, dtype=np.float32),
        np.ones(2, dtype=np.float32),
    )
    return Contribution((block,))


HONEST = contribution([[1.0, 2.0], [3.0, 4.0]])
ROWS = {"items": np.array([[0.5, 2.0], [3.0, 5.0]], dtype=np.float32)}


def attacked(name: str, **changes: object) -> RowBlock:
    kind = ATTACKS[name]
    given = AttackInput(HONEST, ROWS, [HONEST], kind.strength, np.random.default_rng(0))
    (block,) = kind.apply(replace(given, **changes)).blocks  # type: ignore[arg-type]
    assert np.array_equal(block.keys, HONEST.blocks[0].keys)
    return block


def test_sign_flip_steps_in_the_opposite_direction() -> None:
    assert attacked("sign-flip").values.tolist() == [[0.0, 2.0], [3.0, 6.0]]


def test_sign_flip_x10_steps_ten_times_as_far() -> None:
    assert attacked("sign-flip-x10").values.tolist() == [[-4.5, 2.0], [3.0, 15.0]]


def test_noise_is_as_strong_as_it_says_and_zero_where_nothing_moved() -> None:
    still = {"items": HONEST.blocks[0].values}
    assert np.array_equal(attacked("noise", rows=still).values, HONEST.blocks[0].values)
    many = contribution([[1.0, 1.0]] * 500, tuple(range(500)))
    origin = {"items": np.zeros((500, 2), dtype=np.float32)}
    values = attacked_many("noise", many, origin)
    assert (values - 1.0).std() == pytest.approx(10.0, rel=0.1)


def attacked_many(name: str, honest: Contribution, rows: dict[str, np.ndarray]) -> np.ndarray:
    kind = ATTACKS[name]
    given = AttackInput(honest, rows, [honest], kind.strength, np.random.default_rng(0))
    return kind.apply(given).blocks[0].values


def test_inflated_evidence_claims_more_but_no_more_than_may_be_claimed() -> None:
    block = attacked("inflated-evidence")
    assert block.evidence.tolist() == [4000.0, 4000.0]
    assert attacked("inflated-evidence", strength=1e9).evidence.tolist() == [MAX_EVIDENCE] * 2
    assert block.values.tolist() == attacked("sign-flip").values.tolist()


def test_alie_sends_the_mean_less_one_deviation_of_the_colluders_own_work() -> None:
    other = contribution([[3.0, 2.0], [9.0, 9.0]], (1, 3))
    block = attacked("alie", colluders=[HONEST, other])
    # Row 1: mean 2, deviation 1. Row 2 is known to this member alone.
    assert block.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    alone = attacked("alie", colluders=[HONEST], strength=5.0)
    assert np.array_equal(alone.values, HONEST.blocks[0].values)


def test_label_flip_turns_the_scale_upside_down_and_stays_on_it() -> None:
    ratings = Ratings(
        ("u",),
        ("a", "b", "c"),
        np.zeros(3, np.int32),
        np.arange(3, dtype=np.int32),
        np.array([0.5, 2.0, 5.0], np.float32),
        (0.5, 5.0),
    )
    flipped = upside_down(SongData(ratings))
    assert flipped.ratings.values.tolist() == [5.0, 3.5, 0.5]
    assert upside_down(flipped).ratings.values.tolist() == ratings.values.tolist()


def test_every_decoder_refuses_a_delta_of_nans() -> None:
    charter = rating_charter("attacked", factors=1)
    schemas = {table.name: table for table in charter.tables}
    delta = wire.Delta(charter.group_id, 1, 1, 1, 1, None, nan_blocks(HONEST, schemas))
    body = wire.encode_delta(delta)
    with pytest.raises(DecodeError):
        wire.decode_delta(body)
