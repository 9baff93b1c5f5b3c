"""What the `fit_*.py` scripts share. Each is run by the interpreter of one library's environment:

    python fit_LIBRARY.py SPLIT.npz CONFIGURATIONS.json RESULTS

reads users, songs (how many), pairs int32[n, 2], values float32[n], asked int32[m, 2], fits each
configuration once on the pairs, and writes RESULTS/0.npz, 1.npz, ...: `wall` and `processor`
seconds of the fit alone, and what the model answers: `predicted` float[m], a rating for each pair
asked for, or `scores` float32[users, songs], whatever orders the songs for a user. NumPy only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Data:
    """pairs: int32[n, 2], (user, song) trained on. values: float32[n]. asked: int32[m, 2]."""

    users: int
    songs: int
    pairs: np.ndarray
    values: np.ndarray
    asked: np.ndarray


Answer = Callable[[], Mapping[str, np.ndarray]]
"""What the fitted model answers; asked after the clock has stopped."""
Fit = Callable[[Data, Mapping[str, Any]], Answer]


def main(prepare: Callable[[Data], Any], fit: Callable[[Any, Mapping[str, Any]], Answer]) -> None:
    """prepare: brings the data into the library's own form, not timed."""
    arrays = np.load(sys.argv[1])
    data = Data(
        int(arrays["users"]),
        int(arrays["songs"]),
        arrays["pairs"],
        arrays["values"],
        arrays["asked"],
    )
    prepared = prepare(data)
    for number, configuration in enumerate(json.loads(Path(sys.argv[2]).read_text())):
        wall, processor = time.perf_counter(), time.process_time()
        answer = fit(prepared, configuration)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        path = Path(sys.argv[3]) / f"{number}.npz"
        np.savez(path, wall=wall, processor=processor, **answer())
