# ruff: noqa: E402 (what is imported lies in the folders above)
"""OpenFL beside p2pfl, hivemind, Surprise, cornac, implicit and LensKit, each in an environment of
its own from exact pins, by turns in one run, repeated; medians and spread, failures as they are.

    python benchmarks/peers/run.py [--only openfl,p2pfl] [--part together] [--repeats 3]

What is measured: see `together` (decentralized learners, real processes) and `alone` (libraries
that train in one place). Environments are made on first use, in the benchmarks' cache folder. What
has been measured so far is in `results.json` beside them, or `--json`, also after an interrupt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE.parent))
sys.path.insert(0, str(ROOT))

import psutil
from _ml100k import cache_folder, ml100k_csv
from alone import LIBRARIES, compare
from confined import can_confine, run_confined
from environments import PACKAGES, Environment, environment
from report import report
from together import central_validation

import openfl
from openfl.learning.factorization.ratings import load_ratings

SYSTEMS = ("openfl", "p2pfl", "hivemind")
ROUNDS = 10
INTERVAL = 1.0


def this_commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "no commit"


def processor_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def about(options: argparse.Namespace, central: float) -> dict[str, Any]:
    memory = psutil.virtual_memory().total / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores ({processor_name()}), {memory:.0f} GB",
        "python": platform.python_version(),
        "openfl": f"{openfl.__version__} ({this_commit()})",
        "load": f"{os.getloadavg()[0]:.1f}",
        "repeats": options.repeats,
        "interval": INTERVAL,
        "central": central,
        "confined": can_confine(),
    }


def measure_together(
    system: str,
    place: Environment,
    nodes: int,
    seed: int,
    kill: bool,
    central: float,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One run of one learner. Never raises for what the learner does: that is in `status`."""
    told: dict[str, Any] = {"system": system, "version": place.version, "nodes": nodes}
    told["seed"] = seed
    if place.python is None:
        return told | {"status": place.failure}
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as name:
        result, log = Path(name) / "result.json", Path(name) / "out.log"
        command = [sys.executable, str(HERE / "together.py"), "--system", system]
        command += ["--python", str(place.python), "--data", str(ml100k_csv())]
        command += ["--result", str(result), "--central", str(central)]
        command += ["--nodes", str(nodes), "--seed", str(seed), "--interval", str(INTERVAL)]
        command += ["--rounds", str(ROUNDS), "--give-up", str(options.give_up)]
        command += ["--kill-give-up", str(options.kill_give_up), *(["--kill"] if kill else [])]
        limit = 120 + options.give_up + (options.kill_give_up if kill else 0)
        paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli"))), "TMPDIR": name}
        before = sockets_left()
        try:
            code = run_confined(command, dict(os.environ) | paths, log, limit)
        finally:
            for socket in sockets_left() - before:
                socket.unlink(missing_ok=True)
        if code is None:
            return told | {"status": f"stopped after {limit:.0f} s"}
        if code != 0 or not result.exists():
            words = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
            return told | {"status": f"the measurement ended with exit code {code}: {words[-200:]}"}
        figures: dict[str, Any] = json.loads(result.read_text())
        return told | figures


def sockets_left() -> set[Path]:
    """Those of hivemind's daemons, which were killed before they could remove them."""
    return set(Path("/tmp").glob("hivemind-*.sock"))


def show(told: Mapping[str, Any]) -> None:
    def number(name: str, form: str, unit: str) -> str:
        value = told.get(name)
        return "-" if value is None else f"{value:{form}}{unit}"

    line = f"{told['nodes']} x {told['system']}, seed {told['seed']}: {told['status']};"
    line += f" within 1 % after {number('seconds', '.1f', ' s')},"
    line += f" {number('milliseconds_a_round', '.0f', ' ms')} and"
    line += f" {number('kilobytes_a_round', '.0f', ' KB')} a node and round of"
    line += f" {number('seconds_a_round', '.1f', ' s')}"
    if told.get("kill"):
        line += f"; a SIGKILL: {told['kill']['longest']:.1f} s between two rounds"
    print(line, flush=True)


def joined(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Runs on one machine as one; what is said about it is of the first."""
    return {
        "about": several[0]["about"],
        "together": [told for run in several for told in run["together"]],
        "alone": [row for run in several for row in run["alone"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    everybody = ",".join(dict.fromkeys(("openfl", *PACKAGES)))
    parser.add_argument("--only", default=everybody, help=f"comma separated, of {everybody}")
    parser.add_argument("--part", choices=("together", "alone", "both"), default="both")
    parser.add_argument("--nodes", default="4,8", help="processes; comma separated")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the first repetition together")
    parser.add_argument("--give-up", type=float, default=75.0, help="seconds for one run")
    parser.add_argument(
        "--kill-give-up",
        type=float,
        default=90.0,
        help="seconds to watch after a SIGKILL; 0: none",
    )
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--markdown", type=Path, default=None)
    parser.add_argument(
        "--show", type=Path, nargs="+", default=None, help="only the tables of such JSON files"
    )
    parser.add_argument("--install", action="store_true", help="make the environments and stop")
    options = parser.parse_args()
    if options.show:
        print(report(joined([json.loads(path.read_text()) for path in options.show])))
        return
    only = options.only.split(",")
    if unknown := sorted(set(only) - set(everybody.split(","))):
        raise SystemExit(f"--only {','.join(unknown)}: must be of {everybody}")
    try:
        sizes = [int(size) for size in options.nodes.split(",")]
    except ValueError:
        raise SystemExit(f'--nodes "{options.nodes}": must be numbers, such as 4,8') from None
    if min(sizes) < 2 or options.repeats < 1:
        raise SystemExit("--nodes must be at least 2 each, and --repeats at least 1")

    began = time.monotonic()
    places = {name: environment(name) for name in PACKAGES if name in only}
    ours = Environment("openfl", openfl.__version__, Path(sys.executable))
    places["openfl"] = places[""] = ours
    for place in places.values():
        if place.python is None:
            print(f"{place.name} {place.version}: {place.failure}", flush=True)
    if options.install:
        return

    ratings = load_ratings(ml100k_csv())
    central = central_validation(ratings)
    measured: dict[str, Any] = {"about": about(options, central), "together": [], "alone": []}
    kept = options.json or cache_folder() / "peers" / "results.json"
    kept.parent.mkdir(parents=True, exist_ok=True)

    def keep() -> None:
        kept.write_text(json.dumps(measured, indent=1))

    if options.part != "together":
        wanted = [each for each in LIBRARIES if (each.environment or "openfl") in only]
        compare(ratings, places, wanted, options.repeats, measured["alone"], keep)
    if options.part != "alone":
        for seed in range(options.seed, options.seed + options.repeats):
            for nodes in sizes:
                for system in (name for name in SYSTEMS if name in only):
                    kill = options.kill_give_up > 0 and nodes == sizes[0]
                    told = measure_together(
                        system, places[system], nodes, seed, kill, central, options
                    )
                    show(told)
                    measured["together"].append(told)
                    keep()
    text = report(measured)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    print(f"\n{text}\n\n{(time.monotonic() - began) / 60:.1f} minutes; all of it: {kept}")


def interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)  # so that what was started is ended
    try:
        main()
    except KeyboardInterrupt:
        print("stopped; what was measured before is kept", file=sys.stderr)
        sys.exit(130)
