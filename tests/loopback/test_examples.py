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


def programs(document: str) -> list[str]:
    """Its blocks of Python that are whole programs."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.startswith("import ")]


@pytest.mark.parametrize("number", [0, 1], ids=["script", "trio"])
def test_the_programs_in_the_document_for_who_embeds_a_node_run(
    number: int, tmp_path: Path
) -> None:
    program = programs("embedding.md")[number]
    assert ("trio" in program) == (number == 1)
    (tmp_path / "embedded.py").write_text(program)
    printed = run_example(str(tmp_path / "embedded.py"))
    assert printed.splitlines()[-2:] == ["embedded, round 3, 2 members"] * 2


@pytest.mark.parametrize("name", ["embed_trio.py", "embed_asyncio.py"])
def test_a_node_in_another_program_tells_its_rounds_and_recommends(name: str) -> None:
    printed = run_example(name).splitlines()
    assert "round 3, 2 members" in printed
    assert [line for line in printed if re.fullmatch(r"for listener 1: \d+, \d+, \d+", line)]


def test_three_nodes_train_a_classifier_of_scikit_learn_better_than_each_alone() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: `make torch`")
    printed = run_example("sklearn_linear.py")
    found = re.findall(r"log loss ([\d.]+) together, ([\d.]+) alone", printed)
    assert len(found) == 3
    for together, alone in found:
        assert float(together) < float(alone)


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
