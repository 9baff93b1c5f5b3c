"""Fixtures of the command line's tests; the stand-ins themselves are in cli_fakes.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_fakes import FakeControl, FakeRuntime


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    fake = FakeRuntime()
    monkeypatch.setitem(sys.modules, "openfl.app.runtime", fake)
    monkeypatch.setattr("openfl.app.runtime", fake, raising=False)
    return fake


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch, runtime: FakeRuntime) -> FakeControl:
    """No node runs until `control.answers` says what it answers."""
    fake = FakeControl()
    monkeypatch.setattr("openfl.app.control_socket.call", fake.call)
    return fake


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own for every test, and none of the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("OPENFL_"):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("OPENFL_HOME", str(home))
    return home
