"""What coarser rows cost: held-out error and bytes by encoding, on MovieLens 100K split by user.

Nodes out of step, in one process: their own row selection, quantizing, encoding and merging. A line
an encoding: by round, the pooled held-out RMSE above central training in percent and the KB
published a node so far.

    python benchmarks/encodings.py [--nodes 16] [--rounds 12] [--seeds 2]
"""

from __future__ import annotations

import argparse
from typing import get_args

import numpy as np
from _ml100k import ml100k_csv
from lockstep import course, tasks_of

from openfl.core.contribution import Encoding
from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import load_ratings

SHOWN = (1, 2, 3, 4, 6, 8, 12, 20, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()

    ratings = load_ratings(ml100k_csv())
    (everything,) = tasks_of(ratings, 1, 0)
    central = train_alone(everything, np.random.default_rng(0), max_rounds=60).test.value
    print(
        f"central test RMSE {central:.4f}; {options.nodes} nodes, {options.row_fraction:.0%} of the"
        f" rows a round, {options.seeds} seeds"
    )
    for encoding in get_args(Encoding):
        runs = np.array(
            [
                course(
                    tasks_of(ratings, options.nodes, seed, encoding),
                    options.row_fraction,
                    lockstep=False,
                    rounds=options.rounds,
                )
                for seed in range(options.seeds)
            ]
        ).mean(axis=0)
        shown = "  ".join(
            f"{number}: {100 * (runs[number - 1, 0] / central - 1):+.2f}%"
            f"/{runs[number - 1, 1]:.0f}KB"
            for number in SHOWN
            if number <= len(runs)
        )
        print(f"{encoding:8} {shown}", flush=True)


if __name__ == "__main__":
    main()
