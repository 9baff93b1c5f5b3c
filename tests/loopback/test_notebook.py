"""The notebook runs as it stands: its cells, one after the other, while an asyncio loop runs in the
same thread, as it does in Jupyter. No kernel is needed for that."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOK = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))


def compiled(tree: ast.Module | ast.Expression, mode: str) -> CodeType:
    code: CodeType = compile(tree, "<cell>", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


async def run_cell(source: str, names: dict[str, Any]) -> Any:
    """The value of its last line, if that is an expression; `await` is allowed, as in Jupyter."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    value = eval(compiled(tree, "exec"), names)
    if inspect.isawaitable(value):
        await value
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compiled(ast.Expression(last.value), "eval"), names)
    return await value if inspect.isawaitable(value) else value


def test_the_cells_run_one_after_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLES)
    names: dict[str, Any] = {"__name__": "__main__"}

    async def run_all() -> list[Any]:
        cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
        return [await run_cell("".join(cell["source"]), names) for cell in cells]

    try:
        values = [value for value in asyncio.run(run_all()) if value is not None]
    finally:  # a cell that fails leaves its nodes
        for left in ("node", "neighbour"):
            if left in names:
                names[left].stop()
    shown, rounds, best, groups, phase = values
    assert shown is names["node"]
    assert [number for number, _ in rounds][-1] == 5
    assert len(best) == 5
    assert groups == [("music", 2)]
    assert phase == "stopped"
    assert "music: 2 members" in capsys.readouterr().out


def test_it_is_kept_without_output() -> None:
    assert NOTEBOOK["nbformat"] == 4
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert [cell["outputs"] or cell["execution_count"] for cell in code] == [None] * len(code)
