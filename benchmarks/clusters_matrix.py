"""The table of turned images in docs/benchmarks.md: `clusters.py` over cases and seeds.

    python benchmarks/clusters_matrix.py [--out FILE] [--seeds 5] [--minutes 60] [--only TEXT]
        [--table]

Runs are appended to the file as they end; those that are there already are not run again, so the
script can be stopped and started. `--only`: cases whose arguments contain this text. `--table`:
print what there is. A run takes 20 to 60 s, three times that with PyTorch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from _ml100k import cache_folder

CASES = (
    *(f"--images {n} --start {start}" for n in (100, 50, 200) for start in ("random", "one")),
    "--images 100 --start random --drift",
    "--images 100 --start one --sizes 30,2",
    "--images 100 --start random --sizes 30,2",
    "--images 100 --start one --sizes 20,4",
    *(
        f"--model mlp --images {n} --start {start}"
        for n in (100, 50, 200)
        for start in ("random", "one")
    ),
    "--model cnn --images 100 --start random",
)
COLUMNS = (
    "model",
    "images",
    "sizes",
    "start",
    "seeds",
    "OpenFL",
    "oracle",
    "one model",
    "alone",
    "IFCA",
    "right",
    "best of 3",
    "DFCA",
    "purity",
    "groups",
    "moves a node",
    "sorted at round",
    "last move",
    "MB of looks",
    "minority",
    "its oracle",
)


def cells(seeds: int, only: str) -> Iterable[str]:
    """Arguments of all runs, the first seed of every case first."""
    for seed in range(seeds):
        for case in CASES:
            if only in case:
                yield f"{case} --seed {seed}"


def finished(path: Path) -> list[dict[str, Any]]:
    """The runs in the file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def work_off(path: Path, wanted: Iterable[str], minutes: float) -> None:
    """Run what is wanted and not there yet."""
    began, there = time.monotonic(), {run["cell"] for run in finished(path)}
    script = str(Path(__file__).with_name("clusters.py"))
    for cell in wanted:
        if cell in there:
            continue
        if time.monotonic() - began > 60 * minutes:
            return
        command = [sys.executable, script, "--json", "--why", *cell.split()]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{cell}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
            continue
        run = {"cell": cell, **json.loads(done.stdout)}
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(run) + "\n")
        print(f"{cell}: {run['accuracy']:.4f}, purity {run['purity']:.3f}", flush=True)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a case, accuracies in %; means over seeds, the worst seed in brackets."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: int(run["seed"])):
        by_case.setdefault(run["cell"].rsplit(" --seed", 1)[0], []).append(run)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for case in sorted(by_case, key=lambda case: CASES.index(case) if case in CASES else 99):
        lines.append("| " + " | ".join(_row(by_case[case])) + " |")
    return "\n".join(lines)


def _row(runs: list[dict[str, Any]]) -> list[str]:
    first = runs[0]
    nodes = sum(first["sizes"])

    def mean(name: str) -> str:
        return f"{100 * sum(run[name] for run in runs) / len(runs):.1f}"

    def worst(name: str) -> str:
        return f"{mean(name)} ({100 * min(run[name] for run in runs):.1f})"

    starts = [value for run in runs for value in run["ifca_each"]]
    right = sum(value == 1 for run in runs for value in run["ifca_purity_each"])
    sorted_at = [run["sorted_at_round"] for run in runs]
    unequal = len(set(first["sizes"])) > 1
    return [
        first["model"],
        str(first["images"]),
        ":".join(map(str, first["sizes"])),
        first["start"] + (", drift" if first["drift"] else ""),
        str(len(runs)),
        worst("accuracy"),
        mean("oracle"),
        mean("one_model"),
        mean("alone"),
        f"{100 * sum(starts) / len(starts):.1f}",
        f"{right} of {len(starts)}",
        worst("ifca_best_of_3"),
        mean("dfca"),
        f"{sum(run['purity'] for run in runs) / len(runs):.2f}",
        f"{min(run['groups'] for run in runs)} to {max(run['groups'] for run in runs)}",
        f"{sum(run['moves'] for run in runs) / len(runs) / nodes:.1f}",
        ", ".join("-" if number is None else str(number) for number in sorted_at),
        str(max(run["last_move"] or 0 for run in runs)),
        f"{sum(run['probe_bytes'] for run in runs) / len(runs) / 1e6:.1f}",
        worst("minority") if unequal else "",
        worst("oracle_minority") if unequal else "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="default: in the cache folder")
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    out = options.out or cache_folder() / "clusters.jsonl"
    if not options.table:
        work_off(out, cells(options.seeds, options.only), options.minutes)
    print(table(finished(out)))


if __name__ == "__main__":
    main()
