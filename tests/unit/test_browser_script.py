"""scripts/browser.sh on machines that lack something: all programs are stand-ins here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "browser.sh"
TOLD = '#!/bin/sh\necho "%s $*"\nexit ${%s_STATUS:-0}\n'
APT = '#!/bin/sh\necho "$*" >>"$CALLS"\n%s\n'


class Machine:
    def __init__(self, folder: Path) -> None:
        self.bin, self.project = folder / "bin", folder / "the project"
        self.calls = folder / "calls"
        for place in (self.bin, self.project / "scripts", self.project / ".venv" / "bin"):
            place.mkdir(parents=True)
        shutil.copy(SCRIPT, self.project / "scripts")
        for tool in ("sh", "dirname", "mkdir", "chmod", "cp"):
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self.program("id", 'echo "${USER_ID:-0}"')
        self.program("chromium")
        self.program("chromedriver")
        self.write(self.bin / "npm", TOLD % ("npm", "NPM"))
        self.write(self.project / ".venv" / "bin" / "python", TOLD % ("python", "PYTHON"))

    def program(self, name: str, text: str = "") -> None:
        self.write(self.bin / name, f"#!/bin/sh\n{text}\n")

    def add_apt(self, brings: str) -> None:
        """`install` makes these programs; nothing else can."""
        makes = "; ".join(f'cp "{self.bin}/id" "{self.bin}/{name}"' for name in brings.split())
        inner = f'case "$1" in install) {makes or "exit 1"} ;; esac'
        self.write(self.bin / "apt-get", APT % inner)

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.project / "scripts" / "browser.sh"), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": os.fspath(self.bin), "CALLS": str(self.calls), **environment},
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_on_a_complete_machine_the_tests_are_run(machine: Machine) -> None:
    machine.add_apt("chromium")
    done = machine.run("-k", "theme")
    assert done.stdout.splitlines() == [
        "npm ci --prefix tests/browser/js --loglevel=error",
        "python -m pytest tests/browser -k theme",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    assert not machine.calls.exists()


def test_root_gets_the_browser_installed(machine: Machine) -> None:
    (machine.bin / "chromium").unlink()
    (machine.bin / "chromedriver").unlink()
    machine.add_apt("chromium chromedriver")
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.calls.read_text().splitlines() == [
        "update",
        "install -y --no-install-recommends chromium chromium-driver fonts-dejavu-core",
    ]
    assert done.stdout.splitlines()[-1] == "python -m pytest tests/browser"


@pytest.mark.parametrize("environment", [{"NO_SYSTEM_INSTALL": "1"}, {"USER_ID": "1000"}])
@pytest.mark.parametrize("without", ["chromium", "chromedriver", "npm"])
def test_what_is_missing_is_a_failure_in_one_line(
    machine: Machine, without: str, environment: dict[str, str]
) -> None:
    (machine.bin / without).unlink()
    machine.add_apt("chromium chromedriver")
    done = machine.run(**environment)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{without} not found" in line
    assert "BROWSER_TESTS=optional" in line
    optional = machine.run(**environment, BROWSER_TESTS="optional")
    assert (optional.returncode, optional.stderr) == (0, "")
    assert "no test was run" in optional.stdout
    assert not machine.calls.exists()


def test_for_npm_alone_no_browser_is_installed(machine: Machine) -> None:
    (machine.bin / "npm").unlink()
    machine.add_apt("chromium chromedriver")
    done = machine.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "npm not found" in done.stderr
    assert not machine.calls.exists()


def test_an_install_that_fails_is_said(machine: Machine) -> None:
    (machine.bin / "chromedriver").unlink()
    machine.add_apt("")
    done = machine.run()
    assert done.returncode == 1
    assert "apt-get failed, see .cache/browser.log" in done.stdout


@pytest.mark.parametrize("failing", ["NPM_STATUS", "PYTHON_STATUS"])
def test_a_failure_of_npm_or_of_the_tests_is_one(machine: Machine, failing: str) -> None:
    assert machine.run(**{failing: "3"}).returncode == 3
