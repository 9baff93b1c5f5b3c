"""What the live view costs: the processor time of a node with it, against one with --no-view.

    python benchmarks/view.py [--seconds 30] [--nodes 4]

Several real nodes learn on this machine, all with lines but one, which draws its view on a
pseudo-terminal of 80x24. Its processor time is compared with that of the next one, which has as
much to do, and with that of drawing and writing alone, measured in this process.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from rich.console import Console

from openfl.core.telemetry import NodeSnapshot
from openfl_cli.ask import running_node
from openfl_cli.demo.deal import deal
from openfl_cli.live.frame import Painter, changes
from openfl_cli.live.loop import REFRESH_SECONDS
from openfl_cli.live.picture import Scene, draw
from openfl_cli.live.state import ViewState
from openfl_cli.sample import sample_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring (default: 30)")
    parser.add_argument("--nodes", type=int, default=4, help="at least 3 (default: 4)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / str(number) for number in range(max(3, arguments.nodes))]
        for home in homes:
            home.mkdir()
        deal(sample_folder(), homes, seed=3)
        processes: list[subprocess.Popen[bytes]] = []
        try:
            _measure(homes, processes, arguments.seconds)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def _measure(homes: list[Path], processes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    processes.append(_start(homes[0]))
    bootstrap = ""
    while not bootstrap:
        time.sleep(0.3)
        try:
            bootstrap = running_node(homes[0], "snapshot")["multiaddrs"][0]
        except Exception:
            continue
    processes.append(_start(homes[1], bootstrap))
    processes.append(_start(homes[2], bootstrap, view=True))
    processes += [_start(home, bootstrap) for home in homes[3:]]
    time.sleep(15)  # until all have joined
    before = [_cpu(process) for process in processes]
    time.sleep(seconds)
    used = [_cpu(process) - past for process, past in zip(processes, before, strict=True)]
    shares = [100 * value / seconds for value in used]
    others = [share for place, share in enumerate(shares) if place not in (0, 2)]
    print(f"{len(homes)} nodes, {seconds:g} s; shares of one core")
    print(f"  with the view    {shares[2]:5.2f} %")
    print(f"  with --no-view   {min(others):5.2f} to {max(others):5.2f} %")
    shot = NodeSnapshot.from_plain(running_node(homes[2], "snapshot"))
    for width, height in ((80, 24), (200, 60)):
        cost = _picture_seconds(shot, width, height)
        share = 100 * cost / REFRESH_SECONDS
        print(f"  drawing {width}x{height}   {1e3 * cost:.2f} ms a picture, {share:.2f} %")


def _start(home: Path, bootstrap: str = "", view: bool = False) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "openfl_cli", "start", "--home", str(home)]
    command += ["--data", str(home / "ratings.csv"), "--listen", "/ip4/127.0.0.1/tcp/0"]
    command += ["--no-auto-switch", *(["--bootstrap", bootstrap] if bootstrap else [])]
    # Not this folder, which Python has put first: it holds an encodings.py.
    paths = os.pathsep.join(path for path in sys.path[1:] if path)
    environment = {**os.environ, "PYTHONPATH": paths, "TERM": "xterm-256color"}
    if not view:
        return subprocess.Popen([*command, "--no-view"], stdout=subprocess.DEVNULL, env=environment)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    # It needs the terminal as its own, to be in its foreground.
    shim = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    shim += "os.execv(sys.executable, sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", shim, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=environment,
    )
    os.close(theirs)
    threading.Thread(target=_swallow, args=(ours,), daemon=True).start()
    return process


def _swallow(terminal: int) -> None:
    written = 0
    try:
        while chunk := os.read(terminal, 1 << 16):
            written += len(chunk)
    except OSError:
        print(f"  written to the terminal: {written:,} bytes in all")


def _cpu(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _picture_seconds(shot: NodeSnapshot, width: int, height: int, times: int = 200) -> float:
    """Processor time of one picture that is drawn, encoded and compared."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="256")
    painter, shown = Painter(console), None
    began = time.process_time()
    for number in range(times):
        scene = Scene(replace(shot, time=shot.time + number, round=shot.round + number), ())
        rows = painter.encode(draw(scene, ViewState(), width, height, False).lines, width)
        changes(shown, rows)
        shown = rows
    return (time.process_time() - began) / times


if __name__ == "__main__":
    main()
