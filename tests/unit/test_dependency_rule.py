"""What may import what: the contracts of pyproject.toml, and the two rules they cannot express.

Each rule is also broken on purpose, in a copy of the sources, to see that the check notices.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return found


def importers_of(package: str, root: Path) -> set[str]:
    """The files of openfl and openfl_cli that import `package` or anything in it."""
    return {
        str(path.relative_to(root))
        for folder in ("openfl", "cli/openfl_cli")
        for path in (root / folder).rglob("*.py")
        if any(name == package or name.startswith(f"{package}.") for name in imports_of(path))
    }


ADAPTERS = ("openfl/network/libp2p/", "openfl/network/lan/")


def is_adapter(file: str) -> bool:
    return file.startswith(ADAPTERS)


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the sources under `root`."""
    # Flags differ between releases of the command; this function is what it calls.
    program = (
        "import sys; from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(cache_dir=None, no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'cli'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources, to break."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "openfl", tmp_path / "openfl", ignore=ignore)
    shutil.copytree(ROOT / "cli", tmp_path / "cli", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("openfl/group/__init__.py", "import trio", "openfl.group -> trio"),
        ("openfl/learning/__init__.py", "import libp2p", "openfl.learning -> libp2p"),
        ("openfl/wire/__init__.py", "import openfl.group", "openfl.wire -> openfl.group"),
        ("openfl/aggregation/__init__.py", "import openfl.network.base", "openfl.aggregation -> "),
        ("openfl/core/errors.py", "import openfl.config", "openfl.core.errors -> openfl.config"),
        ("openfl/switching/policy.py", "import trio", "openfl.switching.policy -> trio"),
        ("openfl/sources/__init__.py", "import trio", "openfl.sources -> trio"),
        ("openfl/sources/__init__.py", "import openfl.config", "openfl.sources -> openfl.config"),
        ("openfl/core/errors.py", "import openfl_cli", "openfl.core.errors -> openfl_cli"),
        (
            "cli/openfl_cli/view.py",
            "import openfl.storage.home",
            "openfl_cli.view -> openfl.storage.home",
        ),
        ("cli/openfl_cli/ask.py", "import openfl.wire", "openfl_cli.ask -> openfl.wire"),
        ("openfl/network/base.py", "import openfl.wire", "openfl.network.base -> openfl.wire"),
        ("openfl/items/films.py", "import openfl.wire", "openfl.items.films -> openfl.wire"),
        ("openfl/unplaced.py", "", "unplaced"),
    ],
)
def test_a_broken_contract_is_noticed(copy: Path, file: str, line: str, complaint: str) -> None:
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode != 0, result.stdout
    assert complaint in result.stdout


def test_only_the_adapter_imports_libp2p() -> None:
    for package in ("libp2p", "multiaddr", "zeroconf", "miniupnpc"):
        strangers = {file for file in importers_of(package, ROOT) if not is_adapter(file)}
        assert not strangers, f"{package} is imported outside the adapter"


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("openfl/network/libp2p/network.py", True),
        ("openfl/network/libp2p/nat/relay.py", True),
        ("openfl/network/lan/mdns.py", True),
        ("openfl/network/base.py", False),
        ("openfl/node/node.py", False),
        ("openfl/discovery/discovery.py", False),
        ("cli/openfl_cli/commands/new.py", False),
    ],
)
def test_a_stranger_to_libp2p_is_noticed(copy: Path, file: str, allowed: bool) -> None:
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write("\ndef late() -> None:\n    from libp2p.peer.id import ID\n")
    assert file in importers_of("libp2p", copy)
    assert is_adapter(file) is allowed


def module_names(root: Path) -> Iterator[str]:
    for path in (root / "openfl").rglob("*.py"):
        yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def test_there_is_something_to_check() -> None:
    assert len(list(module_names(ROOT))) > 15


def test_every_module_is_in_a_room() -> None:
    assert [path.name for path in (ROOT / "openfl").glob("*.py")] == ["__init__.py"]


def test_no_module_is_too_long_to_read() -> None:
    too_long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("openfl", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not too_long


def module_graph(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of openfl and openfl_cli that it imports, anywhere in it but for types
    alone."""
    files = {}
    for folder, base in (("openfl", root), ("cli/openfl_cli", root / "cli")):
        for path in (root / folder).rglob("*.py"):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            files[name.removesuffix(".__init__")] = path
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        graph[name] = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        types_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in types_only:
                continue
            if isinstance(node, ast.Import):
                graph[name].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                of_names = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name].update(of_names & files.keys() or {node.module})
        graph[name] &= files.keys()
    return graph


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = module_graph(ROOT)
    assert len(graph) > 200
    del graph["openfl"]  # the public names, imported when they are used
    while free := {name for name, imports in graph.items() if not imports & graph.keys()}:
        for name in free:
            del graph[name]
    # What is left is in a circle, or imports what is.
    assert not graph
