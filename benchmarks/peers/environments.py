"""An environment of its own for each peer, from exact pins, in the benchmarks' cache folder.

Made once and used again while the pins and the Python are the same. What cannot be installed is an
answer, not an error: it is shown in the table.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from _ml100k import cache_folder

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 1800
QUIETLY = ("--quiet", "--disable-pip-version-check")
PACKAGES = {
    "p2pfl": "p2pfl",
    "hivemind": "hivemind",
    "surprise": "scikit-surprise",
    "cornac": "cornac",
    "implicit": "implicit",
    "lenskit": "lenskit",
}
"""The distribution whose version is told, by the name of the environment."""


@dataclass(frozen=True)
class Environment:
    """python: None when it could not be made, and `failure` says why."""

    name: str
    version: str
    python: Path | None
    failure: str = ""


def pinned_version(name: str) -> str:
    """The version that the pins of an environment name for its peer."""
    for line in (HERE / "requirements" / f"{name}.txt").read_text().splitlines():
        package, _, version = line.partition("==")
        if package.strip().lower() == PACKAGES[name]:
            return version.strip()
    raise ValueError(f"requirements/{name}.txt does not pin {PACKAGES[name]}")


def environment(name: str) -> Environment:
    """The environment of this name, made now if it has to be."""
    pins = HERE / "requirements" / f"{name}.txt"
    version = pinned_version(name)
    folder = cache_folder() / "peers" / name
    python = folder / sysconfig.get_path("scripts", "venv", {"base": ""}).strip("/\\") / "python"
    mark = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / "made-from"
    if stamp.is_file() and stamp.read_text() == mark and python.exists():
        return Environment(name, version, python)
    print(f"making the environment of {name} {version} in {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", *QUIETLY, "--requirement", str(pins)],
    )
    for command in commands:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            return Environment(name, version, None, f"not installed after {INSTALL_SECONDS} s")
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            why = (lines or done.stderr.strip().splitlines() or ["no message"])[-1]
            return Environment(name, version, None, f"cannot be installed: {why[:200]}")
    stamp.write_text(mark)
    return Environment(name, version, python)
