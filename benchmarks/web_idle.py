"""What an address for HTTP costs a node while nobody asks: memory and processor.

Real `openfl-node start` processes on 127.0.0.1 with the sample ratings, one with `--web` and one
without, started together and watched together; then the next pair. Memory is what is the process's
own (USS) and its share of what it has in common with others (PSS); processor time is the process's
own, so other work on the machine does not count.

    python benchmarks/web_idle.py [--pairs 5] [--seconds 60] [--interval 5] [--look]

`--look`: and what one page that looks on costs, in the same processes afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil

from openfl.app.control_socket import call
from openfl.core.errors import NotRunningError
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder

SETTLE_SECONDS = 15.0
LOOK_SECONDS = 20.0
START_SECONDS = 120.0


def started(home: Path, interval: float, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "openfl_cli", "start", "--home", str(home), "--no-view"]
    command += ["--data", str(home / "ratings.csv"), "--interval", str(interval)]
    command += ["--set", "training.rounds=0", "--set", "network.host=127.0.0.1", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait_until_it_learns(home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if call(home, "snapshot")["alone"] is not None:
                return
        except NotRunningError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the node in {home} does not learn")


def used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measured(processes: list[psutil.Process], seconds: float) -> list[tuple[float, float, float]]:
    """(USS in MB, PSS in MB, % of a core) of each."""
    before, began = [used(p) for p in processes], time.monotonic()
    time.sleep(seconds)
    after, took = [used(p) for p in processes], time.monotonic() - began
    memory = [p.memory_full_info() for p in processes]
    return [
        (m.uss / 1e6, m.pss / 1e6, 100 * (b - a) / took)
        for m, a, b in zip(memory, before, after, strict=True)
    ]


def look_on(home: Path, stop: threading.Event) -> None:
    """As a page does: the whole document, then the stream."""
    where = call(home, "web")
    token = Path(where["token_file"]).read_text().strip()

    def ask(path: str) -> urllib.request.Request:
        return urllib.request.Request(
            where["url"] + path, headers={"authorization": f"Bearer {token}"}
        )

    with urllib.request.urlopen(ask("/api/page"), timeout=60) as answer:
        json.load(answer)
    with urllib.request.urlopen(ask("/api/stream"), timeout=60) as answer:
        while not stop.is_set():
            answer.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between rounds")
    parser.add_argument("--look", action="store_true")
    options = parser.parse_args()
    without: list[tuple[float, float, float]] = []
    with_web: list[tuple[float, float, float]] = []
    looked_at: list[tuple[float, float, float]] = []
    for number in range(options.pairs):
        with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
            homes = [Path(folder, name) for name in ("without", "with")]
            for home in homes:
                home.mkdir()
                # The same data: the first node's of a deal to two.
                rest = Path(folder, f"rest-{home.name}")
                rest.mkdir()
                deal(sample_folder(), [home, rest], seed=number)
            running = [
                started(homes[0], options.interval),
                started(homes[1], options.interval, "--web"),
            ]
            try:
                for home in homes:
                    wait_until_it_learns(home)
                time.sleep(SETTLE_SECONDS)
                processes = [psutil.Process(process.pid) for process in running]
                pair = measured(processes, options.seconds)
                without.append(pair[0])
                with_web.append(pair[1])
                text = f"pair {number + 1}: without {_text(pair[0])}, with {_text(pair[1])}"
                if options.look:
                    stop = threading.Event()
                    reader = threading.Thread(target=look_on, args=(homes[1], stop), daemon=True)
                    reader.start()
                    looked_at.append(measured(processes, LOOK_SECONDS)[1])
                    stop.set()
                    text += f", looked at {_text(looked_at[-1])}"
                print(text, flush=True)
            finally:
                for process in running:
                    process.send_signal(signal.SIGTERM)
                for process in running:
                    process.wait(timeout=30)
    _tell("with --web and nobody looking", np.array(with_web) - np.array(without))
    if looked_at:
        _tell("with one page looking on", np.array(looked_at) - np.array(without))


def _text(one: tuple[float, float, float]) -> str:
    return f"{one[0]:.1f} MB USS, {one[1]:.1f} MB PSS, {one[2]:.2f} %"


def _tell(label: str, difference: np.ndarray) -> None:
    mean = difference.mean(axis=0)
    count = len(difference)
    error = difference.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(3, np.nan)
    print(
        f"{label}, more than without: {mean[0]:+.2f} ± {error[0]:.2f} MB USS,"
        f" {mean[1]:+.2f} ± {error[1]:.2f} MB PSS, {mean[2]:+.3f} ± {error[2]:.3f} % of a core"
    )


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    main()
