"""scripts/interop.sh on machines that lack something: Node.js, npm, pytest are stand-ins here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "interop.sh"

NODE = """#!/bin/sh
case "$1" in
    --version) echo "$NODE_VERSION" ;;
    -e) case "$NODE_VERSION" in v1?.*) exit 1 ;; esac ;;
esac
"""
TOLD = '#!/bin/sh\necho "%s $*"\nexit ${%s_STATUS:-0}\n'


class Machine:
    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.project = folder / "the project"
        for place in (self.bin, self.project / "scripts", self.project / ".venv" / "bin"):
            place.mkdir(parents=True)
        shutil.copy(SCRIPT, self.project / "scripts")
        for tool in ("sh", "dirname"):
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self.program(self.bin / "node", NODE)
        self.program(self.bin / "npm", TOLD % ("npm", "NPM"))
        self.program(self.project / ".venv" / "bin" / "python", TOLD % ("python", "PYTHON"))

    def program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.project / "scripts" / "interop.sh"), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": os.fspath(self.bin), "NODE_VERSION": "v20.1.0", **environment},
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_packages_are_installed_and_the_tests_are_run(machine: Machine) -> None:
    done = machine.run("-k", "relay")
    assert done.stdout.splitlines() == [
        "npm ci --prefix tests/interop/js --loglevel=error",
        "python -m pytest tests/interop -k relay",
    ]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("without", "version", "words"),
    [
        ("npm", "v20.1.0", "npm is not installed"),
        ("node", "v20.1.0", "node is not installed"),
        ("", "v18.20.1", "this is Node.js v18.20.1"),
    ],
)
def test_what_is_missing_is_a_failure_in_one_line(
    machine: Machine, without: str, version: str, words: str
) -> None:
    if without:
        (machine.bin / without).unlink()
    done = machine.run(NODE_VERSION=version)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert words in line
    assert "INTEROP=optional" in line
    optional = machine.run(NODE_VERSION=version, INTEROP="optional")
    assert (optional.returncode, optional.stderr) == (0, "")
    assert words in optional.stdout
    assert "no test was run" in optional.stdout


@pytest.mark.parametrize("failing", ["NPM_STATUS", "PYTHON_STATUS"])
def test_a_failure_of_npm_or_of_the_tests_is_one(machine: Machine, failing: str) -> None:
    assert machine.run(**{failing: "3"}).returncode == 3
    assert machine.run(**{failing: "3"}, INTEROP="optional").returncode == 3
