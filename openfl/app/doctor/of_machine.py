"""Checks of the machine: its clock, its limits, and what is installed."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import statistics
import sys
from collections.abc import Iterator

from openfl.app.doctor.finding import Finding, fault, fine, peers, warning
from openfl.app.doctor.probes import PAUSE_SECONDS
from openfl.app.doctor.subject import Subject
from openfl.wire.names import KEY_SECONDS

DISTRIBUTION = "openfl-node"
JUMP_SECONDS = 1.0
EARLIEST_UNIX_TIME = 1_750_000_000
"""June 2025, before the first version: no clock that is right shows less."""
DIFFERENCE_SECONDS = 120.0
"""Between clocks of different machines; less is taken for the way of what was heard."""
FUTURE_SECONDS = 120.0
FILES_BESIDE_CONNECTIONS = 96
"""Those of Python, libraries and the home, with some to spare."""
LITTLE_MEMORY = 200_000_000
LEAST_MEMORY = 100_000_000
LATEST_PYTHON = (3, 13)
"""That is tested."""
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*([^;\s]*)\s*(;.*)?")
BOUND = re.compile(r"(==|>=|<=|<|>|!=)([0-9.]+)")


def clock(subject: Subject) -> Iterator[Finding]:
    """Whether it runs evenly, and agrees with files of the last run and with peers."""
    probes = subject.probes
    wall, steady = probes.unix_time(), probes.monotonic()
    probes.pause(PAUSE_SECONDS)
    passed, steadily = probes.unix_time() - wall, probes.monotonic() - steady
    now = wall + passed
    trouble = list(_clock_trouble(passed, steadily, now))
    newest = _newest_file(subject)
    if newest > now + FUTURE_SECONDS:
        text = f"files of this home are dated {newest - now:,.0f} s ahead: the clock was set back"
        do = "see that the clock is kept by NTP (timedatectl)"
        trouble.append(warning("clock-set-back", text, do, str(subject.home.root)))
    clocks = [] if subject.reach is None else list(subject.reach.clocks.values())
    ahead = statistics.median(clocks) if clocks else 0.0
    if abs(ahead) > DIFFERENCE_SECONDS:
        word = "behind" if ahead > 0 else "ahead of"
        text = f"it is {abs(ahead):,.0f} s {word} that of {peers(len(clocks))} (the median of them)"
        if abs(ahead) > KEY_SECONDS / 3:
            text += ": strangers may not find this node in the DHT, and invitations expire wrongly"
        do = "see that the clock is kept by NTP (timedatectl); or theirs are wrong"
        trouble.append(warning("clock-differs", text, do))
    yield from trouble
    if not trouble:
        heard = f", and agrees with {peers(len(clocks))}" if clocks else ""
        yield fine(f"it runs evenly{heard}")


def _clock_trouble(passed: float, steadily: float, now: float) -> Iterator[Finding]:
    if steadily <= 0:
        yield fault(
            "clock-not-monotonic",
            "the monotonic clock stands still or runs backwards: every time-out goes by it",
            "restart the machine, or the virtual machine's host",
        )
    elif abs(passed - steadily) > JUMP_SECONDS:
        yield fault(
            "clock-jumps",
            f"within {steadily:.2f} s the clock of the day moved by {passed:.2f} s",
            "one program alone should set the clock (NTP)",
        )
    if now < EARLIEST_UNIX_TIME:
        yield fault(
            "clock-wrong",
            "it shows a day before this program was written",
            "set it (timedatectl set-ntp true)",
        )


def _newest_file(subject: Subject) -> float:
    times = [0.0]
    for file in (subject.home.state_file("node"), subject.home.state_file("last")):
        try:
            times.append(file.stat().st_mtime)
        except OSError:
            continue
    return max(times)


def limits(subject: Subject) -> Iterator[Finding]:
    """Open files and memory."""
    needed = FILES_BESIDE_CONNECTIONS + subject.config.network.max_peers
    most = subject.probes.open_files_limit()
    held = None if subject.snapshot is None else subject.snapshot.resources
    trouble = []
    if subject.running and held is not None and most is not None and held.open_files > 0.9 * most:
        text = f"the node has {held.open_files} files and connections open, of {most} allowed"
        trouble.append(fault("open-files-used", text, "raise it before the start: ulimit -n 4096"))
    elif most is not None and most < needed:
        text = f"{most} open files are allowed; {needed} may be needed (network.max_peers)"
        do = "raise it before the start (ulimit -n 4096), or lower network.max_peers"
        trouble.append(fault("open-files-few", text, do))
    left = subject.probes.memory_left()
    if not subject.running and left < LITTLE_MEMORY:
        tell = fault if left < LEAST_MEMORY else warning
        text = f"{left / 1e6:.0f} MB of memory are left; a node takes about 130 MB"
        trouble.append(tell("memory-little", text, "end what needs it, or give the node more"))
    yield from trouble
    if not trouble:
        files = "any number of" if most is None else f"{most:,}"
        yield fine(f"{files} open files, {left / 1e6:,.0f} MB of memory left")


def versions(subject: Subject) -> Iterator[Finding]:
    """Python, what the node needs, and which protocol its peers speak."""
    trouble = list(unmet_requirements())
    if sys.version_info[:2] > LATEST_PYTHON:
        trouble.append(
            warning(
                "python-untested",
                f"Python {platform.python_version()} is newer than what is tested",
                f"use {LATEST_PYTHON[0]}.{LATEST_PYTHON[1]}, or report how it goes",
            )
        )
    if subject.reach is not None:
        others = [seen for seen in subject.reach.seen if _is_other(seen.protocols)]
        if others:
            text = (
                f"{len(others)} of {len(subject.reach.seen)} peers speak another protocol version"
            )
            do = "run the same version of OpenFL everywhere: they do not hear each other"
            trouble.append(warning("peers-other-version", text, do))
    yield from trouble
    if not trouble:
        yield fine(", ".join(f"{name} {version}" for name, version in installed().items()))


def installed() -> dict[str, str]:
    """What runs here, by name; "not found" for what is not there."""
    import numpy as np

    from openfl import __version__

    found = {"OpenFL": __version__, "Python": platform.python_version()}
    for name in ("libp2p", "trio", "numpy", "scipy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not found"
    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        found[str(blas["name"])] = str(blas["version"])
    except (KeyError, TypeError):
        found["BLAS"] = "not told"
    return found


def unmet_requirements() -> Iterator[Finding]:
    """What the node needs and is not there, or in another version."""
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return  # run from its source
    for text in required:
        match = REQUIREMENT.fullmatch(text.strip())
        if match is None or (match[3] and "extra" in match[3]):
            continue
        name, bounds = match[1], BOUND.findall(match[2])
        do = f"install it: pip install '{name}{match[2]}'"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield fault("package-missing", f"{name} is not installed", do)
            continue
        if not all(_fits(version, sign, bound) for sign, bound in bounds):
            text = f"{name} {version} is installed, and {name}{match[2]} is needed"
            yield fault("package-other", text, do)


def _fits(version: str, sign: str, bound: str) -> bool:
    """Of numbers and dots; what follows them (rc1, .post1) is not looked at."""
    numbers, wanted = _numbers(version), _numbers(bound)
    width = max(len(numbers), len(wanted))
    one = numbers + (0,) * (width - len(numbers))
    other = wanted + (0,) * (width - len(wanted))
    return {
        "==": one == other,
        "!=": one != other,
        ">=": one >= other,
        "<=": one <= other,
        "<": one < other,
        ">": one > other,
    }[sign]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _is_other(protocols: tuple[str, ...]) -> bool:
    """Whether a peer takes part in OpenFL, and in no version that this node speaks."""
    from openfl.wire.names import GROUPS_PROTOCOL

    mine = [p for p in protocols if p.startswith("/openfl/groups/")]
    return bool(mine) and GROUPS_PROTOCOL not in mine
