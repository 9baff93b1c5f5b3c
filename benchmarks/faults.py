"""What faults do to a group of real nodes: how soon it is whole again, and what is lost.

Real `openfl-node start` processes, each in a network namespace of its own, learn from the sample
data. Then a fault goes on for a while and ends. *Back* is the time from its end (of a node that was
killed: from when it listens again) until every node has heard of every member again and has on its
disk everything that any of them had signed when the fault ended. *Lost* counts, once all rounds are
done, what any node then lacks, replicas that differ, state that was damaged, identities that
changed and lines on stderr. One line a case:

    python benchmarks/faults.py [CASE ...] [--repeat N]

Needs root, `ip` and `nft`. Without a case: all of them, one after another.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# In the place of this folder: nodes get this path, and it has modules of common names.
sys.path[:1] = [str(ROOT), str(ROOT / "cli")]

from tests.netns import with_seams  # noqa: E402
from tests.netns.fault_group import FaultGroup, fault_group  # noqa: E402
from tests.netns.nat_rig import why_not  # noqa: E402
from tests.netns.small_disk import SmallDisk, small_disk  # noqa: E402
from tests.patience import PATIENCE_SECONDS  # noqa: E402

NODES = 6
DAY = 86_400.0
FULL_SECONDS = 20.0
PROMISED_SECONDS = 15.0
STATE_ERROR = 6


@dataclass(frozen=True)
class Case:
    """`play` brings the fault about, ends it, and returns the moment (monotonic) of its end.
    seconds: how long it goes on, about. settings: of all nodes' environment."""

    text: str
    play: Callable[[FaultGroup], float]
    seconds: float
    settings: dict[str, str] | None = None
    prepare: Callable[[FaultGroup], contextlib.AbstractContextManager[None]] | None = None


def partition(group: FaultGroup) -> float:
    group.net.partition([0, 1, 2], [3, 4, 5])
    time.sleep(60)
    for number in group.nodes:
        if len(group.members(number)) != NODES // 2:
            raise SystemExit("the network was not cut in two")
    return heal(group)


def heal(group: FaultGroup) -> float:
    group.net.heal()
    return time.monotonic()


def loss(group: FaultGroup) -> float:
    group.net.lose(30)
    time.sleep(60)
    return heal(group)


@contextlib.contextmanager
def slow_network(group: FaultGroup) -> Iterator[None]:
    group.net.delay(0.2)
    yield


def latency(group: FaultGroup) -> float:
    time.sleep(30)
    return heal(group)


def move(number: int) -> Callable[[FaultGroup], float]:
    def play(group: FaultGroup) -> float:
        group.net.move(number)
        return time.monotonic()

    return play


def no_bootstrap(group: FaultGroup) -> float:
    """The machine that everybody was told of is off for good; another is killed and comes back."""
    group.kill(0)
    group.net.partition([0], list(range(1, NODES)))
    group.kill(3)
    time.sleep(10)
    return restart(group, 3)


def restart(group: FaultGroup, number: int) -> float:
    """From when it listens; before, it is Python that starts."""
    group.start(number, "--rounds", "20").wait_for("listening", PATIENCE_SECONDS)
    return time.monotonic()


def freeze(group: FaultGroup) -> float:
    frozen = [group.nodes[number].process for number in (1, 4)]
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    time.sleep(30)
    for process in frozen:
        process.send_signal(signal.SIGCONT)
    return time.monotonic()


@contextlib.contextmanager
def seams(group: FaultGroup) -> Iterator[None]:
    for number in (1, 4):
        file = group.homes[number].with_name(f"seams-{number}")
        with_seams.write(file)
        group.seams[number] = file
    yield


def jump(seconds: float) -> Callable[[FaultGroup], float]:
    """Two nodes' wall clocks are set to another day while they run; one is killed and starts there;
    then both are set right."""

    def play(group: FaultGroup) -> float:
        for file in group.seams.values():
            with_seams.write(file, clock_off=seconds)
        time.sleep(10)
        group.kill(4)
        began = restart(group, 4)
        print(f"    wrong clock: back after {group.seconds_to_be_back(began):.1f} s", flush=True)
        for file in group.seams.values():
            with_seams.write(file)
        return time.monotonic()

    return play


def reboot(group: FaultGroup) -> float:
    """Killed, and started where the monotonic clock says something else entirely."""
    group.kill(2)
    group.inside[2] = ("unshare", "--time", "--monotonic", "864000", "--boottime", "864000")
    return restart(group, 2)


def slow_disk(group: FaultGroup) -> float:
    for file in group.seams.values():
        with_seams.write(file, flush=1.0)
    time.sleep(FULL_SECONDS)
    for file in group.seams.values():
        with_seams.write(file)
    return time.monotonic()


DISKS: dict[int, SmallDisk] = {}


def small_disks(part: str) -> Callable[[FaultGroup], contextlib.AbstractContextManager[None]]:
    """Two nodes have that part of their homes ("": all of it) on small disks of their own."""

    @contextlib.contextmanager
    def prepare(group: FaultGroup) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for number in (1, 4):
                home = group.homes[number]
                (home / part).mkdir(mode=0o700, exist_ok=True)
                disk = stack.enter_context(small_disk(home / part))
                DISKS[number] = disk
                group.inside[number] = disk.inside
                group.seen[number] = disk.seen(home)
            yield

    return prepare


def told_once(group: FaultGroup, number: int, kind: str) -> None:
    found = group.nodes[number].find(kind)
    if len(found) != 1:
        raise SystemExit(f"node {number} told {len(found)} times of {kind}")
    print(f"    node {number} said: {found[0]['message']}", flush=True)


def spoil(fault: str, number: int) -> None:
    DISKS[number].fill() if fault == "full" else DISKS[number].remount("ro")


def mend(fault: str, number: int) -> None:
    DISKS[number].free() if fault == "full" else DISKS[number].remount("rw")


def bad_disk(fault: str) -> Callable[[FaultGroup], float]:
    def play(group: FaultGroup) -> float:
        for number in DISKS:
            spoil(fault, number)
        time.sleep(FULL_SECONDS)
        for number in DISKS:
            told_once(group, number, "not-saved")
            mend(fault, number)
        return time.monotonic()

    return play


def killed_on_bad_disk(fault: str) -> Callable[[FaultGroup], float]:
    """Killed while nothing can be written; a start is refused; then it is mended."""

    def play(group: FaultGroup) -> float:
        spoil(fault, 1)
        time.sleep(FULL_SECONDS)
        group.kill(1)
        node = group.start(1, "--rounds", "30")
        # It may find enough room for its place, and say later that it cannot save more.
        group.wait(
            lambda: node.process.poll() is not None or bool(node.find("not-saved")), 60, "a refusal"
        )
        code, told = node.process.poll(), "; ".join(group.take_errors())
        if code is None:
            told_once(group, 1, "not-saved")
            group.kill(1)
        elif code == STATE_ERROR:
            print(f"    a start ended with {code}: {told}", flush=True)
        else:
            raise SystemExit(f"a start on a {fault} disk ended with {code}: {told}")
        mend(fault, 1)
        return restart(group, 1)

    return play


CASES = {
    "partition": Case("3 | 3 for 60 s", partition, 60),
    "partition-expired": Case(
        "3 | 3 for 60 s, silent members expire after 20 s",
        partition,
        60,
        {"OPENFL_GOSSIP_MEMBER_TTL_SECONDS": "20"},
    ),
    "loss": Case("30 % of packets lost for 60 s", loss, 60),
    "latency": Case("200 ms each way from the start on, 30 s", latency, 30, prepare=slow_network),
    "address": Case("one node's address changes", move(3), 0),
    "address-bootstrap": Case("the bootstrap node's address changes", move(0), 0),
    "no-bootstrap": Case("the bootstrap node is gone, another restarts", no_bootstrap, 10),
    "freeze": Case("two nodes stopped for 30 s (SIGSTOP)", freeze, 30),
    "clock-forward": Case("two clocks a day ahead, then right", jump(DAY), 30, prepare=seams),
    "clock-back": Case("two clocks a day behind, then right", jump(-DAY), 30, prepare=seams),
    "reboot": Case("killed, restarted with another monotonic clock", reboot, 5),
    "disk-full": Case("two full disks for 20 s", bad_disk("full"), 20, prepare=small_disks("")),
    "disk-full-killed": Case(
        "killed and started on a full disk",
        killed_on_bad_disk("full"),
        30,
        prepare=small_disks(""),
    ),
    "read-only": Case(
        "two state folders read-only for 20 s",
        bad_disk("read-only"),
        20,
        prepare=small_disks("state"),
    ),
    "read-only-killed": Case(
        "killed and started with a read-only state folder",
        killed_on_bad_disk("read-only"),
        30,
        prepare=small_disks("state"),
    ),
    "disk-slow": Case("every flush of two disks takes 1 s", slow_disk, 20, prepare=seams),
}


def play(case: Case, trace: bool) -> tuple[float, list[str]]:
    """(seconds until it was back, what was lost)."""
    rounds = str(round(case.seconds) + 20)
    options = ("--rounds", rounds, "--set", "training.when_done=serve")
    prepare = case.prepare or (lambda group: contextlib.nullcontext())
    with (
        tempfile.TemporaryDirectory(prefix="openfl-faults-") as folder,
        fault_group(NODES, Path(folder), *options, **(case.settings or {})) as group,
        prepare(group),
    ):
        group.trace = trace
        group.start_all()
        ended = case.play(group)
        try:
            back = group.seconds_to_be_back(ended)
        except TimeoutError as error:
            return time.monotonic() - ended, [str(error)]
        return back, group.losses()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--repeat", type=int, default=1, metavar="N")
    parser.add_argument("--trace", action="store_true", help="print how each recovery goes on")
    options = parser.parse_args()
    unknown = set(options.cases) - CASES.keys()
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))} (there are {', '.join(CASES)})")
    reason = why_not()
    if reason is not None:
        print(f"nothing was measured: {reason}")
        return
    broken = False
    for name in options.cases or CASES:
        times, lost, load = [], [], []
        for _ in range(options.repeat):
            back, missing = play(CASES[name], options.trace)
            times.append(back)
            load.append(os.getloadavg()[0])
            lost += missing
        print(
            f"{name}: {CASES[name].text}: {options.repeat} times, back after a median of"
            f" {statistics.median(times):.1f} s, at most {max(times):.1f} s; lost: {len(lost)};"
            f" load of the machine {statistics.mean(load):.1f}",
            flush=True,
        )
        for line in lost[:10]:
            print(f"    {line}", flush=True)
        broken = broken or bool(lost) or max(times) > PROMISED_SECONDS
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
