"""Whether real nodes sort themselves out, again and again: `openfl-node demo`, one run after the
other, each with another seed, which deals ratings and first groups.

    python benchmarks/demos.py [--demo communities|people|both] [--runs 3] [--first-seed 0]
        [--data FILE] [--nodes N] [--interval 1] [--why] [--json]

For each run: purity (communities), groups, moves, rounds from when the nodes were let go until the
last move, and by how much their mean test RMSE differs from that of models trained in one place:
one a community, one for all, one for each first group, one a node; negative is better. `--why`
prints, for runs that fail, every decision of every node; equal ones in a row once, with their
number. A run takes one to three minutes; its 9 or 12 processes share the machine, so one at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

REFERENCES = {
    "communities": "one a community",
    "one_model": "one for all",
    "stayed": "stayed",
    "alone": "alone",
}
EXIT_OK, EXIT_LEARNING = 0, 9


def run(demo: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """What the demo says as JSON; RuntimeError when it could not be held at all."""
    command = [sys.executable, "-m", "openfl_cli", "demo", f"--{demo}", "--json"]
    command += ["--seed", str(seed), "--interval", str(options.interval)]
    if options.nodes:
        command += ["--nodes", str(options.nodes)]
    if options.data and demo == "people":
        command += ["--data", options.data]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode not in (EXIT_OK, EXIT_LEARNING) or not ended.stdout:
        raise RuntimeError(f"exit code {ended.returncode}: {ended.stderr.strip()}")
    found: dict[str, Any] = json.loads(ended.stdout)
    return {"demo": demo, "seed": seed, **found}


def percent(run: Mapping[str, Any], reference: str) -> float | None:
    """By how much the nodes' mean error differs from that of a reference."""
    errors = run["mean_rmse"]
    if reference not in errors or errors["after"] is None:
        return None
    return 100 * (float(errors["after"]) / float(errors[reference]) - 1)


def line(run: Mapping[str, Any]) -> str:
    """A row of the table."""
    cells = [f"{run['seed']:4}", f"{run['purity']:.2f}" if "purity" in run else "   -"]
    cells += [f"{run['groups']:6}", f"{sum(node['moves'] for node in run['nodes']):5}"]
    cells += [f"{run['rounds_to_sort']:4}/{run['rounds']:<3}", f"{run['seconds']:6.0f}"]
    for reference, head in REFERENCES.items():
        difference = percent(run, reference)
        shown = "-" if difference is None else f"{difference:+.1f} %"
        cells.append(f"{shown:>{len(head)}}")
    return "  ".join([*cells, "ok" if run["sorted_out"] else "; ".join(run["problems"])])


def head() -> str:
    """The names of its columns."""
    names = ["seed", "purity", "groups", "moves", "sorted", "seconds", *REFERENCES.values()]
    return "  ".join(names)


def decisions(run: Mapping[str, Any]) -> Sequence[str]:
    """Every decision, node by node."""
    lines = []
    for node in run["nodes"]:
        name = node["node"]
        who = f"{name}: {node['first_group']} -> {node['group']}"
        lines.append(f"  {who}, RMSE {node['rmse_before']} -> {node['rmse_after']}")
        own = [d for d in run["decisions"] if d["node"] == name]
        for (action, text), alike in groupby(own, key=lambda d: (d["action"], d["text"])):
            first, *more = alike
            times = f" ({1 + len(more)} times)" if more else ""
            lines.append(f"    round {first['round']:3}  {action:6} {text}{times}")
    return lines


def summary(runs: Sequence[Mapping[str, Any]]) -> str:
    """Means, and how many ended well."""
    good = sum(run["sorted_out"] for run in runs)
    parts = [f"{good} of {len(runs)} ended well"]
    pure = [run["purity"] for run in runs if "purity" in run]
    if pure:
        parts.append(
            f"purity 1.00 in {sum(p == 1 for p in pure)}, mean {statistics.mean(pure):.2f}"
        )
    for reference, name in REFERENCES.items():
        differences = [d for run in runs if (d := percent(run, reference)) is not None]
        if differences:
            parts.append(
                f"{name}: mean {statistics.mean(differences):+.1f} %,"
                f" worst {max(differences):+.1f} %"
            )
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", choices=("communities", "people", "both"), default="both")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--data", help="of --people: ratings of real people")
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--why", action="store_true", help="tell the decisions of runs that fail")
    parser.add_argument("--json", action="store_true", help="one JSON object a run")
    options = parser.parse_args()
    not_held = 0
    for demo in ("communities", "people") if options.demo == "both" else (options.demo,):
        if not options.json:
            print(f"demo --{demo}; mean RMSE of the nodes against models trained in one place")
            print(head(), flush=True)
        runs = []
        for seed in range(options.first_seed, options.first_seed + options.runs):
            try:
                found = run(demo, seed, options)
            except RuntimeError as error:
                print(f"{seed:4}  {error}", file=sys.stderr, flush=True)
                not_held += 1
                continue
            runs.append(found)
            print(json.dumps(found) if options.json else line(found), flush=True)
            if options.why and not options.json and not found["sorted_out"]:
                print("\n".join(decisions(found)), flush=True)
        if runs and not options.json:
            print(f"{summary(runs)}\n")
    if not_held:
        sys.exit(f"{not_held} runs came to no end")


if __name__ == "__main__":
    main()
