"""Benchmarks, fuzz targets and scripts are run by hand: what they take from here is there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("openfl", "openfl_cli", "tests", "scripts", "benchmarks")
FILES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "fuzz", "scripts", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every `from module import name` of ours, wherever it stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("name", FILES)
def test_what_it_imports_of_ours_is_there(name: str) -> None:
    missing = []
    for module, attribute in imported(ROOT / name):
        if module.startswith("openfl.learning.torch."):
            continue  # needs PyTorch; mypy looks at it
        found = import_module(module)
        try:
            getattr(found, attribute)
        except AttributeError:
            try:
                import_module(f"{module}.{attribute}")
            except ModuleNotFoundError:
                missing.append(f"{module}.{attribute}")
    assert missing == []
