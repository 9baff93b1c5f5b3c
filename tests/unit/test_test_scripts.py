"""scripts/test_tools.sh with stand-ins for the system's programs, and scripts/busy.sh as it is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.situation import until

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NEEDED = ("ip", "nft", "unshare", "nsenter", "mount", "systemd-analyze", "zsh", "fish", "curl")


class Machine:
    """A project folder, and a PATH with stand-ins for what `test_tools.sh` calls."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.project = folder / "the project"
        self.calls = folder / "calls"
        for place in (self.bin, self.project / "scripts"):
            place.mkdir(parents=True)
        shutil.copy(SCRIPTS / "test_tools.sh", self.project / "scripts")
        for tool in ("sh", "dirname", "env", "mkdir"):
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self.add("uname", "echo ${SYSTEM:-Linux}")
        self.add("id", "echo ${USER_ID:-0}")
        for tool in NEEDED:
            self.add(tool)

    def add(self, name: str, text: str = "") -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def add_apt(self, brings: str = "") -> None:
        """`brings`: the program that is there once `apt-get install` was called."""
        bring = (
            f'[ "$1" = update ] || {{ : >"{self.bin / brings}"; chmod +x "{self.bin / brings}"; }}'
        )
        (self.bin / "chmod").symlink_to(shutil.which("chmod") or "")
        self.add("apt-get", f'echo "$*" >>"{self.calls}"\n{bring if brings else "exit 100"}')

    def run(self, **environment: str) -> list[str]:
        """What it says; it never fails."""
        done = subprocess.run(
            ["sh", str(self.project / "scripts" / "test_tools.sh")],
            capture_output=True,
            text=True,
            env={"PATH": os.fspath(self.bin), "SBIN": "", **environment},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_on_a_complete_machine_nothing_is_done(machine: Machine) -> None:
    machine.add_apt()
    assert machine.run() == []
    assert not machine.calls.exists()


def test_what_is_missing_is_installed(machine: Machine) -> None:
    (machine.bin / "nft").unlink()
    machine.add_apt(brings="nft")
    assert machine.run() == ["tests: this machine lacks nft; apt-get install nftables"]
    assert machine.calls.read_text().splitlines() == [
        "update",
        "install -y --no-install-recommends nftables",
    ]
    assert machine.run() == []


@pytest.mark.parametrize("environment", [{}, {"NO_SYSTEM_INSTALL": "1"}])
def test_where_nothing_can_be_installed_one_line_says_so(
    machine: Machine, environment: dict[str, str]
) -> None:
    (machine.bin / "nft").unlink()
    (machine.bin / "ip").unlink()
    if environment:
        machine.add_apt(brings="nft")
    assert machine.run(**environment) == ["tests: without ip, nft those that use them cannot run"]
    assert not machine.calls.exists()


def test_a_failed_install_is_said_and_fails_nothing(machine: Machine) -> None:
    (machine.bin / "nft").unlink()
    machine.add_apt()
    assert machine.run()[1:] == [
        "tests: apt-get failed, see .cache/test-tools.log",
        "tests: without nft those that use them cannot run",
    ]


@pytest.mark.parametrize("environment", [{"USER_ID": "1000"}, {"SYSTEM": "Darwin"}])
def test_who_cannot_run_these_tests_anyway_gets_nothing_installed(
    machine: Machine, environment: dict[str, str]
) -> None:
    (machine.bin / "nft").unlink()
    machine.add_apt(brings="nft")
    assert machine.run(**environment) == []
    assert not machine.calls.exists()


# --- busy.sh --------------------------------------------------------------------------------------


def busy(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen([str(SCRIPTS / "busy.sh"), *command], stdout=subprocess.PIPE, text=True)


def started_by(script: subprocess.Popen[str]) -> dict[psutil.Process, str]:
    """The processes under the script, and their command lines."""
    found: dict[psutil.Process, str] = {}
    for child in psutil.Process(script.pid).children():
        with contextlib.suppress(psutil.Error):  # ended meanwhile
            found[child] = " ".join(child.cmdline())
    return found


def running_beside(script: subprocess.Popen[str]) -> tuple[psutil.Process, list[psutil.Process]]:
    """The `sleep` that the script was told to run, and the spinners, once all of them are there."""
    count = 2 * (os.cpu_count() or 1)

    def complete() -> bool:
        lines = list(started_by(script).values())
        return len(lines) == count + 1 and sum("sleep" in line.split()[:1] for line in lines) == 1

    until(complete, "the command and all spinners")
    children = started_by(script)
    (command,) = [child for child, line in children.items() if line.startswith("sleep")]
    return command, [child for child in children if child is not command]


def over(process: psutil.Process) -> bool:
    """Whether it has ended; whoever is to wait for it may not have done so yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_command_runs_beside_the_spinners_and_its_status_is_that_of_the_script() -> None:
    with busy("sleep", "600") as script:
        command, spinning = running_beside(script)
        command.terminate()
        assert script.wait() == 128 + signal.SIGTERM
    until(lambda: all(map(over, spinning)), "the end of the spinners")
    with busy("sh", "-c", "exit 3") as script:
        assert script.wait() == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_script_ends_the_spinners(number: signal.Signals) -> None:
    with busy("sleep", "600") as script:
        command, spinning = running_beside(script)
        script.send_signal(number)
        command.terminate()  # a shell heeds a signal once its command has ended
        script.wait()
    until(lambda: all(map(over, [command, *spinning])), "the end of the spinners")
