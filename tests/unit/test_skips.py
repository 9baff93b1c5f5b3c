"""tests/skips.py: in CI a skip is a failure. Tried on a run of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
import pytest

@pytest.mark.skipif(True, reason="needs the program nft")
def test_marked(): pass

def test_by_itself(): pytest.importorskip("no_such_package", reason="needs no_such_package")

@pytest.fixture
def small_disk(): pytest.skip("only root can mount")

def test_by_its_fixture(small_disk): pass

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert False

def test_good(): pass
"""


def run(folder: Path, ci: str) -> str:
    """The summary of pytest on these tests."""
    (folder / "test_some.py").write_text(TESTS)
    (folder / "test_whole_file.py").write_text(
        "import pytest\npytest.importorskip('no_such_package', reason='needs all of it')\n"
    )
    command = (
        "-p tests.skips -p no:cacheprovider -p no:randomly -n 0 --continue-on-collection-errors"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command.split(), "-ra", "-c", os.devnull, str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
    )
    assert done.returncode == (1 if ci == "true" else 0), done.stdout + done.stderr
    return done.stdout


def test_a_skip_is_a_failure_in_ci(tmp_path: Path) -> None:
    text = run(tmp_path, "true")
    assert "1 failed, 1 passed, 1 xfailed, 3 errors" in text
    for reason in ("nft", "no_such_package", "only root can mount", "needs all of it"):
        assert reason in text
    assert "In CI nothing may be skipped: see tests/skips.py." in text


def test_elsewhere_it_is_none(tmp_path: Path) -> None:
    assert "1 passed, 4 skipped, 1 xfailed" in run(tmp_path, "")
