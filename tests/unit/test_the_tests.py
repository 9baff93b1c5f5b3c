"""What tests/conftest.py holds every test to, seen on small files of tests in their own pytest."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP, SIGINT

import pytest
from trio.testing import MockClock

from openfl.config import load_config
from openfl.learning.rating.workload import RatingWorkload
from tests.node_rig import village
from tests.situation import NotInTime, until, until_seen

ROOT = Path(__file__).resolve().parents[2]

SKIPPING = """
import pytest

pytest.importorskip("no_such_package_at_all", reason="needs another package")
"""
SKIPPING_SOME = """
import pytest

@pytest.mark.skip(reason="needs root")
def test_marked(): pass

def test_by_itself(): pytest.skip("needs a program")

@pytest.fixture
def disk(): pytest.skip("needs a disk")

def test_by_its_fixture(disk): pass

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert False
"""

LEAVING = """
import gc
import os
import shutil
import signal
import socket
import subprocess
import weakref

import psutil
import pytest
import trio

from tests import leftovers
from tests.node_rig import village
from tests.unit.test_the_tests import workload

leftovers.GRACE_SECONDS = 0.1
held = []

def test_leaves_a_process(): held.append(subprocess.Popen(["sleep", "600"]))

def test_after_the_process():
    assert leftovers.children() == set()
    held.pop().wait()

def test_leaves_one_that_has_ended_unwaited_for():
    held.append(subprocess.Popen(["true"]))
    while psutil.Process(held[0].pid).status() != psutil.STATUS_ZOMBIE:
        pass

def test_after_the_ended_process():
    assert leftovers.children() == set()
    held.pop().wait()

NAMESPACE = f"t{os.getpid()}left"
IP = shutil.which("ip", path=os.environ["PATH"] + ":/usr/sbin:/sbin")

def test_leaves_a_namespace():
    subprocess.run([IP, "netns", "add", NAMESPACE], check=True)

def test_after_the_namespace():
    assert leftovers.namespaces() == set()

def test_fails_with_an_open_socket():
    open_socket = socket.socket()
    held.append(weakref.ref(open_socket))
    assert False, "as it should"

def test_after_the_socket():
    assert held.pop()() is None

async def test_hangs(autojump_clock, tmp_path):
    async with village() as town:
        one = await town.start(workload(tmp_path))
        await town.start(workload(tmp_path))
        held.append(one)
        await town.acquainted()
        signal.raise_signal(signal.SIGALRM)  # as pytest-timeout does after its seconds
        try:
            await trio.sleep_forever()
        finally:
            held.append("closed")

def test_after_the_hang():
    assert held.pop() == "closed"
    assert held.pop().gone.is_set()
"""


def workload(folder: Path) -> RatingWorkload:
    file = folder / "ratings.csv"
    rows = [f"{n % 5},{n % 7},{1 + n % 5}" for n in range(35)]
    file.write_text("\n".join(["user_id,song_id,rating", *rows]))
    return RatingWorkload.load(load_config(None, {}, {"data.ratings_file": str(file)}))


def run_pytest(folder: Path, plugin: str, text: str, **environment: str) -> str:
    """What pytest says of a file of this text: colourless, with a line for each test."""
    (folder / "test_it.py").write_text(text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")),
            *(
                "--rootdir",
                str(folder),
                "-p",
                "no:cacheprovider",
                "-p",
                plugin,
                "-rA",
                "--color=no",
            ),
            "test_it.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env={
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}",
            **environment,
        },
    )
    assert not done.stderr, done.stderr
    return done.stdout


def outcomes(told: str) -> list[tuple[str, str]]:
    """Of pytest's summary: what happened, to which test."""
    found = re.findall(
        r"^(PASSED|FAILED|ERROR|XFAIL|SKIPPED) (?:\S*::|(?=test_it))(\S+)", told, re.M
    )
    return sorted(found, key=lambda pair: pair[1])


def test_a_skip_is_a_failure_in_ci(tmp_path: Path) -> None:
    told = run_pytest(tmp_path, "tests.skips", SKIPPING_SOME, CI="true")
    assert outcomes(told) == [
        ("ERROR", "test_by_its_fixture"),
        ("FAILED", "test_by_itself"),
        ("XFAIL", "test_expected_to_fail"),
        ("ERROR", "test_marked"),
    ]
    assert "test_by_itself: Skipped: needs a program\nIn CI nothing may be skipped" in told
    told = run_pytest(tmp_path, "tests.skips", SKIPPING, CI="true")
    assert outcomes(told) == [("ERROR", "test_it.py")]
    assert "needs another package\nIn CI nothing may be skipped" in told


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    told = run_pytest(tmp_path, "tests.skips", SKIPPING_SOME)
    assert "3 skipped, 1 xfailed" in told
    assert not re.search(r"\d (failed|error)", told.splitlines()[-1])


def test_signals_that_were_ignored_at_the_start_are_heeded_by_what_tests_start(
    tmp_path: Path,
) -> None:
    """As where `make test` is the background job of a script."""
    text = """
import signal

def test_heeded():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (SIGINT, SIGHUP)}
    try:
        told = run_pytest(tmp_path, "tests.conftest", text)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert outcomes(told) == [("PASSED", "test_heeded")]


@pytest.fixture(scope="module")
def leaving(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_pytest(tmp_path_factory.mktemp("leaving"), "tests.conftest", LEAVING)


def test_who_leaves_something_fails_himself_and_troubles_nobody_else(leaving: str) -> None:
    may_make_namespaces = ("PASSED", "test_leaves_a_namespace") in outcomes(leaving)
    expected = [
        ("PASSED", "test_after_the_ended_process"),
        ("PASSED", "test_after_the_hang"),
        ("PASSED", "test_after_the_namespace"),
        ("PASSED", "test_after_the_process"),
        ("PASSED", "test_after_the_socket"),
        ("FAILED", "test_fails_with_an_open_socket"),
        ("FAILED", "test_hangs"),
        ("PASSED", "test_leaves_a_namespace"),
        ("ERROR", "test_leaves_a_namespace"),
        ("PASSED", "test_leaves_a_process"),
        ("ERROR", "test_leaves_a_process"),
        ("PASSED", "test_leaves_one_that_has_ended_unwaited_for"),
        ("ERROR", "test_leaves_one_that_has_ended_unwaited_for"),
    ]
    # Python warns of the socket, too, which is an error of that test and no other.
    found = set(outcomes(leaving)) - {("ERROR", "test_fails_with_an_open_socket")}
    wanted = set(expected)
    if not may_make_namespaces:
        found = {pair for pair in found if "leaves_a_namespace" not in pair[1]}
        wanted = {pair for pair in wanted if "leaves_a_namespace" not in pair[1]}
    assert found == wanted, leaving
    assert re.search(r"this test left behind: process \d+: sleep 600", leaving)
    assert "ended, that nobody waited for" in leaving
    assert not may_make_namespaces or "this test left behind: network namespace" in leaving


def test_a_timeout_says_what_the_nodes_were_doing(leaving: str) -> None:
    assert "the test did not end within its timeout" in leaving
    situation = leaving.split("situation at the timeout")[1]
    assert re.search(r"^ *openfl\.node\S*: \S*\.run:\d+", situation, re.M), situation[:3000]
    nodes = re.findall(r"^node: (\S+) \S+, round (\d+), group music$", situation, re.M)
    assert len(nodes) == 2, situation[:3000]
    for name, _ in nodes:
        (others,) = {other for other, _ in nodes} - {name}
        assert f"members: {others}" in situation or f"peers: {others}" in situation
    assert re.search(r"^  \d+\.\d joined: \S+", situation, re.M), situation[:3000]


async def test_what_does_not_happen_says_what_the_nodes_were_doing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with village() as town:
        one = await town.start(workload(tmp_path))
        with pytest.raises(NotInTime, match=r"^the moon did not happen within 5 s") as caught:
            await until_seen(lambda: False, "the moon", seconds=5)
        assert f"node: {str(one.peer_id)[-6:]} " in str(caught.value)
        with pytest.raises(NotInTime, match=r"tasks of the test:\n"):
            until(lambda: False, "the moon", seconds=0)
