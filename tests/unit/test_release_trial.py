"""scripts/licences.py and scripts/try_wheel.py: what they read, and what they refuse."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


licences = load_script("licences")
try_wheel = load_script("try_wheel")


def package(folder: Path, name: str, *lines: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    text = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines))
    (info / "METADATA").write_text(text + "\n\nWords.\n", encoding="utf-8")


def table_of(folder: Path) -> tuple[int, Mapping[str, str], list[str]]:
    """(exit code, package -> licence, lines on stderr) of the script for that folder."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "licences.py"), str(folder)],
        capture_output=True,
        text=True,
    )
    rows = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return done.returncode, {row[0]: row[2] for row in rows}, done.stderr.splitlines()


# --- licences -------------------------------------------------------------------------------------


def test_everything_a_node_needs_here_has_a_licence_that_is_known_to_be_good() -> None:
    found = licences.packages()
    names = {package.name for package in found}
    assert {"openfl-node", "libp2p", "numpy", "matplotlib"} <= names
    assert not names & {"pytest", "mypy", "ruff"}, "what only contributors need"
    assert licences.problems(found) == []


def test_a_package_says_its_licence_in_one_of_three_ways(tmp_path: Path) -> None:
    needs = [f"Requires-Dist: {name}" for name in ("one", "two", "three", "four")]
    package(tmp_path, "openfl-node", "License-Expression: Apache-2.0", *needs)
    package(tmp_path, "one", "License-Expression: MIT OR GPL-3.0-only", "License: nonsense")
    package(tmp_path, "two", "License: BSD 3-Clause License  Copyright (c) 2031, Ann")
    package(tmp_path, "three", "Classifier: License :: OSI Approved :: MIT License")
    package(
        tmp_path,
        "four",
        "License: Copyright 2031 Ann. Do as you like.",
        "Classifier: License :: OSI Approved",
        "Classifier: License :: OSI Approved :: BSD License",
    )
    package(tmp_path, "not-needed", "License-Expression: AGPL-3.0-only")
    assert table_of(tmp_path) == (
        0,
        {
            "four": "BSD-3-Clause",
            "one": "MIT OR GPL-3.0-only",
            "openfl-node": "Apache-2.0",
            "three": "MIT",
            "two": "BSD-3-Clause",
        },
        [],
    )


def test_a_licence_that_is_unknown_or_not_good_is_told_with_what_to_do(tmp_path: Path) -> None:
    needs = [f"Requires-Dist: {name}" for name in ("one", "two", "three")]
    extra = ("Provides-Extra: more", "Requires-Dist: four; extra == 'more'")
    package(tmp_path, "openfl-node", "License-Expression: Apache-2.0", *needs, *extra)
    package(tmp_path, "one")
    package(tmp_path, "two", "License-Expression: MIT AND GPL-3.0-only")
    package(tmp_path, "three", "License: Ask Ann")
    package(tmp_path, "four", "License-Expression: LGPL-2.1-or-later")
    code, table, said = table_of(tmp_path)
    assert code == 1
    assert table["one"] == "-"
    assert [line.split(" 1.0 ")[0] for line in said] == [
        "licences: four",
        "licences: one",
        "licences: three",
        "licences: two",
    ]
    assert "one 1.0 states no licence" in said[1]
    assert "'Ask Ann', which scripts/licences.py does not know to be good" in said[2]


def test_without_a_node_there_is_nothing_to_list(tmp_path: Path) -> None:
    assert table_of(tmp_path) == (1, {}, ["licences: openfl-node is not installed there"])


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("MIT", True),
        ("MIT AND (GPL-3.0-only OR BSD-2-Clause)", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("GPL-3.0-only OR LGPL-3.0-only", False),
        ("", False),
        ("MIT License", False),
        ("MIT OR", False),
        ("AND MIT", False),
        ("(MIT", False),
        ("MIT)", False),
        ("MIT WITH exception", False),
        ("__import__('os')", False),
    ],
)
def test_an_expression_is_good_when_what_it_leaves_is(expression: str, good: bool) -> None:
    assert licences.is_good(expression) is good


def test_a_licence_that_is_good_for_one_package_is_not_for_another() -> None:
    for name, wrong in (("zeroconf", []), ("six", ["six"])):
        found = licences.Package(name, "1.0", "LGPL-2.1-or-later")
        assert [line.split()[0] for line in licences.problems([found])] == wrong


# --- trying a wheel -------------------------------------------------------------------------------

LOCK = """\
# This file was autogenerated
anyio==4.1 \\
    --hash=sha256:aa
    # via
    #   httpx
    #   libp2p
httpx==0.1 \\
    --hash=sha256:bb
    # via openfl-node (pyproject.toml:dev)
libp2p==0.8.1 \\
    --hash=sha256:cc \\
    --hash=sha256:dd
    # via openfl-node (pyproject.toml)
sniffio==1.3 ; python_full_version < '3.13' \\
    --hash=sha256:ee
    # via anyio
"""


def test_of_the_lock_file_a_trial_takes_what_a_node_needs_with_its_hashes() -> None:
    names = try_wheel.needed_names(LOCK)
    assert {"anyio", "libp2p", "sniffio", "numpy"} <= {*names}
    assert "httpx" not in names
    text = try_wheel.needed_of_lock(["anyio", "sniffio"], LOCK)
    assert text.startswith("anyio==4.1 \\\n    --hash=sha256:aa\n")
    assert "sniffio==1.3 ; python_full_version < '3.13' \\\n    --hash=sha256:ee" in text
    assert "libp2p==" not in text
    with pytest.raises(try_wheel.Failed, match=r"lacks numpy: run `make lock`"):
        try_wheel.needed_of_lock(["numpy"], LOCK)


def test_what_the_lock_file_has_for_a_node_is_no_tool_of_contributors() -> None:
    lock = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    names = {*try_wheel.needed_names(lock)}
    assert {package.name for package in licences.packages()} >= {"libp2p"}
    assert {"libp2p", "trio", "cryptography", "fastecdsa"} <= names
    assert not names & {"pytest", "ruff", "mypy", "hatchling"}
    assert try_wheel.needed_of_lock(sorted(names), lock).count("==") >= len(names)


def test_a_python_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "versions" / "3.11.9" / "bin").mkdir(parents=True)
    (tmp_path / "versions" / "3.11.10" / "bin").mkdir(parents=True)
    for name in ("3.11.9", "3.11.10"):
        program = tmp_path / "versions" / name / "bin" / "python3"
        program.write_text("#!/bin/sh\necho 3.11\n")
        program.chmod(0o755)
    broken = tmp_path / "python3.12"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(
        try_wheel.shutil, "which", lambda name: {"python3.12": str(broken)}.get(name)
    )
    found, lacking = try_wheel.pythons()
    assert found == {"3.11": str(tmp_path / "versions" / "3.11.10" / "bin" / "python3")}
    assert lacking == ["3.12", "3.13"]


def test_a_trial_without_any_python_fails_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(try_wheel, "pythons", lambda: ({}, ["3.11", "3.12", "3.13"]))
    assert try_wheel.main([str(tmp_path / "a.whl")]) == 1
    printed = capsys.readouterr()
    assert printed.out == "release: not found, so not tried: Python 3.11, 3.12, 3.13\n"
    assert printed.err == "release: no Python of 3.11, 3.12, 3.13 is found\n"


def test_what_fails_is_told_with_the_end_of_what_it_said(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('one\\ntwo')")
    with pytest.raises(try_wheel.Failed, match=r"\Apip check failed: one / two\Z"):
        try_wheel.run(*command, cwd=tmp_path, what="pip check")


PRETENDER = """\
#!{python}
import json, pathlib, sys, time
wrong = {wrong!r}
home = pathlib.Path(sys.argv[sys.argv.index("--home") + 1])
told = json.loads((home / "status.json").read_text())
if sys.argv[1] == "status":
    told["home"] = str(home)
    if wrong == "status":
        told["round"] += 1
    print(json.dumps(told))
    sys.exit()
peer = "another" if wrong == "peer" else told["peer_id"]
print(json.dumps({{"event": "listening", "data": {{"peer_id": peer}}}}))
if wrong == "damaged":
    print(json.dumps({{"event": "state-damaged", "data": {{}}}}))
if wrong == "hung":
    sys.stdout.flush()
    time.sleep(600)
if wrong != "silent":
    print(json.dumps({{"event": "round", "data": {{"round": told["round"] + 1}}}}), flush=True)
"""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", ""),
        ("status", "the home rating of the version before is told otherwise now"),
        ("peer", "the home rating goes on as another in round"),
        ("damaged", "the home rating of the version before is called damaged"),
        ("silent", "the home rating of the version before does not go on"),
        ("hung", "the home rating of the version before does not go on"),
    ],
)
def test_homes_of_the_version_before_must_go_on_where_they_were(
    wrong: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "hung":
        timer = threading.Timer
        monkeypatch.setattr(threading, "Timer", lambda _, call: timer(0.0, call))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "openfl-node"
    program.write_text(PRETENDER.format(python=sys.executable, wrong=wrong))
    program.chmod(0o755)
    if not said:
        try_wheel.upgrade(tmp_path, tmp_path)
        return
    with pytest.raises(try_wheel.Failed) as caught:
        try_wheel.upgrade(tmp_path, tmp_path)
    assert str(caught.value).startswith(said)


def test_a_bill_of_materials_lists_what_is_installed_and_nothing_else() -> None:
    names = ("trio-0.35.0", "mypy_extensions-1.2.0", "openfl_node-1.4.0")
    installed = [Path(f"{name}.dist-info") for name in names]
    parts = [
        {"name": "trio", "version": "0.35.0"},
        {"name": "mypy-extensions", "version": "1.2.0"},
    ]
    assert try_wheel.check_bill({"components": parts}, installed) == 2
    for wrong in (parts[:1], [*parts, {"name": "pip", "version": "25.0"}], []):
        with pytest.raises(try_wheel.Failed, match="is not what is installed: "):
            try_wheel.check_bill({"components": wrong}, installed)
