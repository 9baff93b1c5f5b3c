"""How long `openfl-node --help` takes; the bound is 0.3 s, and commands must not break it.

    python benchmarks/cli_help.py

Starts the command in a fresh process several times. Exit code 1 when the median is over the bound.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

BOUND_SECONDS = 0.3
RUNS = 15


def main() -> int:
    """Measure, print one line, and judge."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "openfl_cli", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(f"openfl-node --help: median {median:.3f} s, slowest {max(times):.3f} s of {RUNS} runs")
    return int(median > BOUND_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
