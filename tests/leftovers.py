"""A test leaves nothing behind: no process, no network namespace, no error in the next test.

Whoever leaves something fails himself, and what was left is put away, so that the next test is not
troubled by it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

GRACE_SECONDS = 10.0
"""For processes that end by themselves."""
LONG_LIVED = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes that Python starts once and keeps."""
MARK = "TESTS_OF_PROCESS"
"""In the environment of whatever a test starts."""
NAMESPACES = Path("/run/netns")
failed = pytest.StashKey[bool]()


def children() -> set[int]:
    """Process ids, those of ended ones that nobody waited for included."""
    if not Path("/proc/self/task").is_dir():
        return {child.pid for child in psutil.Process().children()}
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            found.update(map(int, (thread / "children").read_text().split()))
    return found


def orphans() -> set[int]:
    """Descendants whose parent has ended: our mark is in their environment still."""
    me = os.getpid()
    mark = f"\0{MARK}={me}\0".encode()
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir() if Path("/proc/self/environ").exists() else ():
        # Not ours to read, or ended meanwhile.
        with contextlib.suppress(OSError, ValueError):
            if mark in b"\0" + (entry / "environ").read_bytes() + b"\0":
                status = (entry / "stat").read_text()
                parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    return {pid for pid, parent in parents.items() if pid != me and parent not in (me, *parents)}


def namespaces() -> set[str]:
    """That this process has made: the rigs put its id into their names."""
    with contextlib.suppress(OSError):
        return {name for name in os.listdir(NAMESPACES) if str(os.getpid()) in name}
    return set()


def described(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"process {pid}, ended, that nobody waited for"
        return f"process {pid}: {' '.join(process.cmdline())[:300]}"
    return f"process {pid}"


def long_lived(pid: int) -> bool:
    return any(name in described(pid) for name in LONG_LIVED)


def put_away(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.Error):
                one.kill()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def left(
    before: set[int], namespaces_before: set[str], look: Callable[[], set[int]] = children
) -> list[str]:
    """What there is now and was not then, after a while; it is put away."""
    deadline = time.monotonic() + GRACE_SECONDS
    while True:
        more = look() - before
        if not more or time.monotonic() > deadline:
            break
        gc.collect()  # of a `Popen` that nobody holds any more
        time.sleep(0.05)
    more = {pid for pid in more if not long_lived(pid)}
    found = [described(pid) for pid in sorted(more)]
    for pid in more:
        put_away(pid)
    for name in sorted(namespaces() - namespaces_before):
        found.append(f"network namespace {name}")
        ip = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        subprocess.run([ip or "ip", "netns", "del", name], capture_output=True, check=False)
    return found


def forget_failure() -> None:
    """Everything that only the traceback of a failure still holds goes now, and not in the next
    test: open sockets, pipes, coroutines."""
    error = getattr(sys, "last_value", None)
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        waiting += [error.__cause__, error.__context__]
        waiting += getattr(error, "exceptions", ())
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def nothing_orphaned() -> Iterator[None]:
    os.environ[MARK] = str(os.getpid())
    yield
    found = left(set(), namespaces(), orphans)
    assert not found, f"tests of this file left behind: {'; '.join(found)}"


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up after all fixtures of a wider scope: what these have started is theirs."""
    before, namespaces_before = children(), namespaces()
    yield
    if request.node.stash.get(failed, False):
        forget_failure()
    found = left(before, namespaces_before)
    assert not found, f"this test left behind: {'; '.join(found)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[failed] = True
    return report
