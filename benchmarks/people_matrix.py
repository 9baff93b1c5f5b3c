"""`people.py` over many cells: data sets x people a node x start x seeds, as a Markdown table.

    python benchmarks/people_matrix.py [--data ml-100k,FILE,FILE.csv:implicit] [--people 1,10]
        [--nodes 24,16] [--starts one,random] [--seeds 0] [--rounds 40]
        [--set SECTION.KEY=VALUE]... [--processes 2] [--part K/N] [--minutes N] [--out FILE.jsonl]
        [--table]

Each run is added to the file as one line of JSON as it ends. Runs that the file has already, of the
same settings, data and source of openfl/, are not done again, so that a stopped matrix goes on.
--table only prints the table, of the runs of the newest source in the file.

Columns: `loss` against what is best of one model, staying and alone on the mean over the seeds of a
cell (of a single seed chance says which is best); `se` of one seed's loss, paired over its nodes:
what the people drawn leave uncertain; `moves` and `quiet`, in how many runs nobody moved in the
last third; `way` and `over stay`, by how much the mean was for longer than three rounds above its
own start, and above staying at the same time (see people.py); `looks` in KB a node and round in the
last third. Mean over seeds, and the worst seed behind the stroke.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from _ml100k import cache_folder
from people import Cell, not_negative, path_of, positive, run_cell, source_hash

from openfl.core.errors import OpenFLError
from openfl.core.telemetry import json_plain

Row = dict[str, Any]
HEADER = (
    "data", "people x nodes", "start", "one model", "stay", "alone", "choosing", "loss %", "se %",
    "moves", "founded", "last", "groups", "quiet", "way %", "over stay %", "looks KB",
)  # fmt: skip
REFERENCES = ("one_model", "stay", "alone")
MOST_LOSS, WORST_LOSS = 0.3, 1.0
"""Percent, of the mean and the worst seed of ratings."""
MOST_ON_THE_WAY = 1.0
QUIET_RUNS = 0.9


def main() -> None:
    options = parse_options()
    out = options.out or cache_folder() / "people" / "matrix.jsonl"
    out.parent.mkdir(exist_ok=True)
    if not options.table:
        number, of = options.part
        jobs = jobs_of(options)[number - 1 :: of]
        pending = [cells for cells in jobs if missing(cells, rows_of(out))]
        carry_out(pending, out, options.processes, options.minutes)
    rows = rows_of(out)
    if not rows:
        raise SystemExit(f"{out}: has no runs yet")
    newest = [row for row in rows if row["source"] == rows[-1]["source"]]
    print(table_of(newest))


def parse_options() -> argparse.Namespace:
    text = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        description=text[0],
        epilog="\n".join(text[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=None, help="default: in the cache folder")
    parser.add_argument("--data", default="ml-100k")
    parser.add_argument("--people", type=numbers, default=(1, 10))
    parser.add_argument("--nodes", type=numbers, default=(24, 16), help="as many as people")
    parser.add_argument("--starts", default="one,random")
    parser.add_argument("--seeds", type=numbers, default=(0,))
    parser.add_argument("--rounds", type=positive, default=40)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--processes", type=positive, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later")
    parser.add_argument(
        "--part", type=part, default=(1, 1), metavar="K/N", help="every Nth job, from the Kth on"
    )
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if len(options.nodes) != len(options.people):
        parser.error("--nodes: give one number for each of --people")
    return options


def numbers(text: str) -> tuple[int, ...]:
    return tuple(not_negative(part) for part in text.split(","))


def part(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError("must be K/N, K from 1 to N")
    return int(number), int(of)


def jobs_of(options: argparse.Namespace) -> list[list[Cell]]:
    """Cells that are run one after the other, for they share references."""
    sets = [name.partition(":")[::2] for name in options.data.split(",")]
    per_node = list(zip(options.people, options.nodes, strict=True))
    return [
        [
            Cell(data, kind or "rating", people, nodes, start, 3, options.rounds, seed, settings)
            for start in options.starts.split(",")
        ]
        for settings in [tuple(options.set)]
        for seed, (data, kind), (people, nodes) in itertools.product(options.seeds, sets, per_node)
    ]


# --- runs -----------------------------------------------------------------------------------------


def key_of(cell: Cell) -> str:
    digest = hashlib.sha256(repr(cell).encode() + path_of(cell.data).read_bytes())
    return digest.hexdigest()[:16]


def source() -> str:
    return source_hash().hex()[:16]


def rows_of(out: Path) -> list[Row]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def missing(cells: Sequence[Cell], rows: Sequence[Row]) -> bool:
    done = {(row["key"], row["source"]) for row in rows}
    return any((key_of(cell), source()) not in done for cell in cells)


def run_job(cells: Sequence[Cell], done: Sequence[str]) -> list[Row]:
    """Those of the cells that are not done."""
    rows = []
    for cell in cells:
        key, of_source = key_of(cell), source()
        if key not in done:
            rows.append({"key": key, "source": of_source, **json_plain(run_cell(cell))})
    return rows


def carry_out(jobs: list[list[Cell]], out: Path, processes: int, minutes: float) -> None:
    """Run the jobs, and add what comes of them to `out`."""
    until = time.monotonic() + 60 * minutes
    done = [row["key"] for row in rows_of(out) if row["source"] == source()]
    waiting, running = iter(jobs), set[Future[list[Row]]]()
    with ProcessPoolExecutor(processes) as pool:
        while True:
            while len(running) < processes and time.monotonic() < until:
                cells = next(waiting, None)
                if cells is None:
                    break
                running.add(pool.submit(run_job, cells, done))
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            with out.open("a") as stream:
                for future in ended:
                    try:
                        stream.writelines(json.dumps(row) + "\n" for row in future.result())
                    except OpenFLError as error:
                        raise SystemExit(str(error)) from None


# --- the table ------------------------------------------------------------------------------------


def table_of(rows: Sequence[Row]) -> str:
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cell = (row["data"], row["people"], row["nodes"], row["start"], row["rounds"])
        cells.setdefault(cell, []).append(row)
    lines = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    misses = []
    for cell in sorted(cells):
        seeds = list({row["seed"]: row for row in cells[cell]}.values())
        lines.append("| " + " | ".join(columns(seeds)) + " |")
        misses += [f"- {name(seeds[0])}: {miss}" for miss in misses_of(seeds)]
    return "\n".join([*lines, "", *(misses or ["No cell misses."])])


def best_of(rows: Sequence[Row]) -> str:
    """Which of the references is best on the mean over these seeds."""
    return min(REFERENCES, key=lambda name: values(rows, name).mean())


def losses(rows: Sequence[Row]) -> np.ndarray:
    """In percent, of each seed."""
    return 100 * (values(rows, "mean") / values(rows, best_of(rows)) - 1)


def name(row: Row) -> str:
    return f"{row['data']}, {row['people']} a node, start {row['start']}"


def values(rows: Sequence[Row], column: str) -> np.ndarray:
    return np.array([row[column] for row in rows], dtype=float)


def columns(rows: Sequence[Row]) -> list[str]:
    def mean(column: str, form: str = ".4f") -> str:
        return format(values(rows, column).mean(), form)

    def both(column: str, form: str) -> str:
        found = values(rows, column)
        return f"{found.mean():{form}} / {found.max():{form}}"

    quiet = sum(row["moves_last_third"] == 0 for row in rows)
    last = [row["last_move"] for row in rows if row["last_move"] is not None]
    return [
        rows[0]["data"],
        f"{rows[0]['people']} x {rows[0]['nodes']}",
        rows[0]["start"],
        mean("one_model"),
        mean("stay"),
        mean("alone"),
        mean("mean"),
        f"{losses(rows).mean():+.2f} / {losses(rows).max():+.2f}",
        format(
            100 * (values(rows, "standard_error") / values(rows, rows[0]["best"])).mean(), ".2f"
        ),
        both("moves", ".0f"),
        both("founded", ".0f"),
        str(max(last)) if last else "-",
        both("groups", ".1f"),
        f"{quiet} of {len(rows)}",
        both("worst_on_the_way_percent", "+.2f"),
        both("worst_against_stay_percent", "+.2f"),
        f"{values(rows, 'probe_bytes_settled').mean() / 1000:.1f}"
        f" / {values(rows, 'probe_bytes_settled').max() / 1000:.1f}",
    ]


def misses_of(rows: Sequence[Row]) -> list[str]:
    """What this cell falls short of, over its seeds."""
    found = []
    loss, way = losses(rows), values(rows, "worst_on_the_way_percent")
    if rows[0]["metric"] == "rmse":
        if loss.mean() > MOST_LOSS:
            found.append(f"loses {loss.mean():.2f} % on the mean (at most {MOST_LOSS} %)")
        if loss.max() > WORST_LOSS:
            found.append(f"loses {loss.max():.2f} % in its worst seed (at most {WORST_LOSS} %)")
    else:
        difference = values(rows, "mean") - values(rows, best_of(rows))
        error = values(rows, "standard_error_of_mean")
        outside = int((difference > error).sum())
        if outside:
            found.append(
                f"in {outside} of {len(rows)} seeds worse by more than one standard error"
                f" (worst {difference.max():.4f}, standard error {error.mean():.4f})"
            )
    restless = sum(row["moves_last_third"] > 0 for row in rows)
    if restless > (1 - QUIET_RUNS) * len(rows):
        found.append(f"moves in the last third of {restless} of {len(rows)} runs")
    if way.max() > MOST_ON_THE_WAY:
        seeds = int((way > MOST_ON_THE_WAY).sum())
        found.append(
            f"on the way {way.max():.2f} % worse than at the start for longer than 3 rounds"
            f" ({seeds} of {len(rows)} seeds above {MOST_ON_THE_WAY} %)"
        )
    return found


if __name__ == "__main__":
    main()
