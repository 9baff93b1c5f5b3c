"""The examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_example(name: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_two_nodes_with_a_task_of_their_own_learn_more_together_than_alone() -> None:
    found = re.findall(r"error ([\d.]+) together, ([\d.]+) alone", run_example("custom_task.py"))
    assert len(found) == 2
    for together, alone in found:
        assert float(together) < float(alone)
