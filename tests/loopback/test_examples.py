"""The examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_example(name: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_program_in_the_document_for_who_embeds_a_node_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "embedded.py").write_text(program)
    printed = run_example(str(tmp_path / "embedded.py"))
    assert printed.splitlines()[-2:] == ["embedded, round 3, 2 members"] * 2


def test_two_nodes_with_a_task_of_their_own_learn_more_together_than_alone() -> None:
    found = re.findall(r"error ([\d.]+) together, ([\d.]+) alone", run_example("custom_task.py"))
    assert len(found) == 2
    for together, alone in found:
        assert float(together) < float(alone)


@pytest.mark.slow
def test_eight_skewed_nodes_read_digits_within_two_points_of_central_training() -> None:
    pytest.importorskip("torch", reason='needs PyTorch: pip install "openfl-node[torch]"')
    pytest.importorskip("sklearn", reason="needs scikit-learn for its digits")
    (behind,) = re.findall(r"together is (-?[\d.]+) points below", run_example("digits_torch.py"))
    assert float(behind) <= 2.0
