"""Modules that a node seldom uses are imported late, and work all the same."""

from __future__ import annotations

import subprocess
import sys

BEGIN = "import sys, types; from openfl_cli import late_imports; late_imports.defer({names!r});"


def python(code: str, *names: str) -> str:
    """What the code prints in a process of its own, in which `names` are imported late."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN.format(names=names) + code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOADED = "print(type(sys.modules['colorsys']) is types.ModuleType)"


def test_a_deferred_module_is_not_executed_by_its_import() -> None:
    assert python("import colorsys;" + LOADED, "colorsys") == "False"


def test_other_modules_are_executed_at_once() -> None:
    assert python("import colorsys;" + LOADED, "calendar") == "True"


def test_a_deferred_module_works_when_it_is_used() -> None:
    assert python("import colorsys; print(colorsys.rgb_to_hsv(1, 1, 1)[2])", "colorsys") == "1"


def test_a_module_that_does_not_exist_is_missing_as_ever() -> None:
    code = "\ntry:\n    import no_such\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    assert python(code, "no_such") == "no_such"


def test_a_node_runs_without_an_http_client() -> None:
    code = (
        "import openfl.runtime, openfl.network.libp2p;"
        "print(type(sys.modules['httpx']) is types.ModuleType)"
    )
    assert python(code, "httpx") == "False"
