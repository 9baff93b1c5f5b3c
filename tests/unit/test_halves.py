"""float16 by integer arithmetic gives NumPy's bits."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.aggregation.halves import all_finite, narrow, widen

ALL = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE = ALL[np.isfinite(ALL)]


def test_every_half_is_widened_to_the_same_bits() -> None:
    found = np.empty(len(FINITE), dtype=np.float32)
    widen(FINITE, found)
    assert found.tobytes() == FINITE.astype(np.float32).tobytes()


def test_every_half_the_midpoints_between_them_and_their_neighbours_are_rounded_alike() -> None:
    positive = np.sort(FINITE[~np.signbit(FINITE)]).astype(np.float32)
    middle = (positive[1:] + positive[:-1]) / 2
    exact = np.concatenate((positive, middle))
    beside = [np.nextafter(exact, np.float32(way)) for way in (-np.inf, np.inf)]
    numbers = np.concatenate((exact, *beside))
    numbers = numbers[np.abs(numbers) <= 65504]
    numbers = np.concatenate((numbers, -numbers))
    found = np.empty(len(numbers), dtype=np.float16)
    narrow(numbers, found)
    assert found.tobytes() == numbers.astype(np.float16).tobytes()


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e-6, 1e-4, 1.0, 1e4])
def test_random_numbers_of_any_size_are_rounded_alike(scale: float) -> None:
    numbers = np.random.default_rng(0).standard_normal((300, 64)) * scale
    numbers = np.clip(numbers, -65504, 65504).astype(np.float32)
    found = np.empty(numbers.shape, dtype=np.float16)
    narrow(numbers, found)
    assert found.tobytes() == numbers.astype(np.float16).tobytes()


@pytest.mark.parametrize("code", [0x7C00, 0xFC00, 0x7E00, 0xFFFF, 0x7C01])
def test_what_is_not_finite_is_seen(code: int) -> None:
    assert all_finite(FINITE)
    assert all_finite(FINITE[:0])
    codes = FINITE[:100].copy()
    codes.view(np.uint16)[37] = code
    assert not all_finite(codes)
