"""The scenarios that come with `openfl-node simulate`."""

from __future__ import annotations

from pathlib import Path

from openfl.core.errors import UsageError
from openfl.core.files import expanded

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_scenarios"
_CHECKOUT = _PACKAGE.parents[1] / "configs" / "scenarios"


def scenario_folder() -> Path:
    """Where they are, in a checkout as well as when installed."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def shipped() -> tuple[str, ...]:
    """Their names, `quick` first."""
    names = sorted(path.stem for path in scenario_folder().glob("*.toml"))
    return tuple(sorted(names, key=lambda name: (name != "quick", name)))


def find(scenario: str) -> Path:
    """The file of a shipped name, or the file that was named; UsageError when there is neither."""
    own = expanded(scenario)
    if scenario in shipped():
        return scenario_folder() / f"{scenario}.toml"
    if own.exists():
        return own
    raise UsageError(
        f"there is no scenario {scenario!r}: name a TOML file or one of {', '.join(shipped())}"
    )
