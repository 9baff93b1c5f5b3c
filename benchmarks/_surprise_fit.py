"""What `central_vs_surprise.py` runs by an interpreter that has scikit-surprise; nothing else.

Reads an npz with train (int32[n, 2] and float32[n]) and test ratings, fits `SVD()` with all its
defaults some times and prints, as JSON, the seconds of each fit (wall and processor) and its RMSE
on the test ratings.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import surprise


def main() -> None:
    data = np.load(sys.argv[1])
    repeats = int(sys.argv[2])
    low, high = map(float, data["scale"])
    triples = [
        (int(u), int(i), float(r), None)
        for (u, i), r in zip(data["train_pairs"], data["train_values"], strict=True)
    ]
    reader = surprise.Reader(rating_scale=(low, high))
    trainset = surprise.Dataset(reader).construct_trainset(triples)
    test = [
        (int(u), int(i), float(r))
        for (u, i), r in zip(data["test_pairs"], data["test_values"], strict=True)
    ]
    fits = []
    for seed in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        algorithm = surprise.SVD(random_state=seed).fit(trainset)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        rmse = surprise.accuracy.rmse(algorithm.test(test), verbose=False)
        fits.append({"wall": wall, "processor": processor, "rmse": float(rmse)})
    print(json.dumps({"version": surprise.__version__, "fits": fits}))


if __name__ == "__main__":
    main()
