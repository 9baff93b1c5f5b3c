"""float16 to and from float32: NumPy's bits, at a speed that does not depend on the numbers.

NumPy converts numbers below the normal range of float16 (6.1e-5) one by one, and forty times more
slowly than others (0.8 s where 0.02 s are usual for 11 million). What members change about a large
model is mostly that small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Floats

Halves = NDArray[np.float16]

_WIDE: Floats = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
_NORMAL = np.int32(0x38800000)
"""The bits of 2**-14, the smallest normal float16, as float32."""
_REBIAS = np.int32((127 - 15) << 23)
_HALF = np.int32(0x3F000000)
"""The bits of 0.5, whose last place is 2**-24: that of float16 below its normal range."""


def narrow(values: Floats, out: Halves) -> None:
    """`values`, any float32 within +-65504, into `out` of the same shape, contiguous both: rounded
    to the nearest, ties to even."""
    bits = values.view(np.int32)
    size = bits & np.int32(0x7FFFFFFF)
    # Normal: round at bit 13, ties to even, and take the exponent's other bias off.
    normal = size >> np.int32(13)
    normal &= np.int32(1)
    normal += size
    normal -= _REBIAS - np.int32(0xFFF)
    normal >>= np.int32(13)
    # Below: the sum with 0.5 is rounded where float16 ends, and its last bits are the code.
    below = (size.view(np.float32) + np.float32(0.5)).view(np.int32)
    below -= _HALF
    size -= _NORMAL
    size >>= np.int32(31)  # all ones where a number is below the normal range, else 0
    below ^= normal
    below &= size
    normal ^= below
    np.right_shift(bits, np.int32(16), out=below)
    below &= np.int32(0x8000)
    normal |= below
    np.copyto(out.view(np.uint16), normal, casting="unsafe")


def widen(halves: Halves, out: Floats) -> None:
    """`halves` into `out` of the same shape, contiguous both: exact."""
    np.take(_WIDE, halves.view(np.uint16), out=out, mode="clip")


def all_finite(halves: Halves) -> bool:
    """Whether none is infinite or no number."""
    bits = halves.view(np.uint16) & np.uint16(0x7FFF)
    return bool(bits.max(initial=0) < 0x7C00)
