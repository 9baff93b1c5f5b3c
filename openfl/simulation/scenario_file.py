"""Scenario files: TOML, checked completely, every problem reported together."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from openfl.config.settings import Problem, Setting, setting_of, shown
from openfl.core.errors import ConfigError
from openfl.core.files import read_named
from openfl.simulation.scenario import WHATS, Fault, Scenario

SECTION_TYPES: dict[str, type[Any]] = {
    f.name: type(getattr(Scenario(), f.name))
    for f in fields(Scenario)
    if f.name not in ("name", "events")
}
SETTINGS: dict[str, Setting] = {
    f"{section}.{f.name}": setting_of(f.metadata)
    for section, kind in SECTION_TYPES.items()
    for f in fields(kind)
}
_EVENT_KEYS = tuple(f.name for f in fields(Fault))
_SHARED_EVENTS = ("join", "crash")
MUSIC, SYNTHETIC, COMMUNITIES = "music", "synthetic", "communities"
_MADE_UP = (SYNTHETIC, COMMUNITIES)


def load_scenario(path: Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario in a file; ConfigError lists every problem, one a line.

    `overrides`: "section.key" -> value; None means not given. A relative `data.source` is taken
    from the file's folder.
    """
    try:
        text = read_named(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_scenario(text, path.stem, str(path), path.parent, overrides)


def parse_scenario(
    text: str,
    name: str,
    label: str = "scenario",
    folder: Path = Path(),
    overrides: Mapping[str, Any] | None = None,
) -> Scenario:
    """As `load_scenario`, from text."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{label}: not valid TOML: {error}") from None
    except ValueError:  # of int(): tomllib lets it through
        raise ConfigError(f"{label}: a number of thousands of digits") from None
    problems: list[str] = []
    values: dict[str, Any] = {}
    for section, table in document.items():
        if section == "events":
            continue
        if section not in SECTION_TYPES:
            close = _meant(section, [*SECTION_TYPES, "events"])
            problems.append(f"{label}: {section}: unknown section{close}")
        elif not isinstance(table, dict):
            problems.append(f"{label}: {section}: must be a section [{section}]")
        else:
            for key, raw in table.items():
                _take(f"{section}.{key}", raw, label, values, problems)
    for key, raw in (overrides or {}).items():
        if raw is not None:
            _take(key, raw, "command line", values, problems)
    events = _events(document.get("events", []), label, problems)
    source = values.get("data.source", MUSIC)
    if source not in (MUSIC, *_MADE_UP):
        values["data.source"] = str(folder / Path(source).expanduser())
    sections = {
        section: kind(
            **{f.name: values[k] for f in fields(kind) if (k := f"{section}.{f.name}") in values}
        )
        for section, kind in SECTION_TYPES.items()
    }
    scenario = Scenario(name, **sections, events=events)
    if not problems:
        problems += [f"{label}: {problem}" for problem in _constraints(scenario)]
    if problems:
        raise ConfigError("\n".join(problems))
    return scenario


def _take(key: str, raw: Any, label: str, values: dict[str, Any], problems: list[str]) -> None:
    described = SETTINGS.get(key)
    if described is None:
        problems.append(f"{label}: {key}: unknown key{_meant(key, list(SETTINGS))}")
        return
    try:
        values[key] = described.check(raw)
    except Problem as problem:
        problems.append(f"{label}: {key}: {problem}")


def _events(raw: Any, label: str, problems: list[str]) -> tuple[Fault, ...]:
    if not isinstance(raw, list):
        problems.append(f"{label}: events: must be entries [[events]]")
        return ()
    events = []
    for number, table in enumerate(raw, 1):
        where = f"{label}: events {number}"
        found = _event_problems(table)
        if found:
            problems += [f"{where}: {problem}" for problem in found]
        else:
            values = {**table, "at_round": float(table["at_round"])}
            events.append(Fault(**values))
    return tuple(sorted(events, key=lambda event: event.at_round))


def _event_problems(table: Any) -> list[str]:
    if not isinstance(table, dict):
        return ["must be a table"]
    problems = [
        f"{key}: unknown key{_meant(key, list(_EVENT_KEYS))}"
        for key in table
        if key not in _EVENT_KEYS
    ]
    if not _is_number(table.get("at_round"), 0, 1e6):
        problems.append(f"at_round: must be a number >= 0, got {shown(table.get('at_round'))}")
    if table.get("what") not in WHATS:
        problems.append(f"what: must be one of {', '.join(WHATS)}, got {shown(table.get('what'))}")
    for key, low, high in (("count", 1, 10_000), ("parts", 2, 100)):
        value = table.get(key, low)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            problems.append(f"{key}: must be a whole number from {low} to {high}")
    if not _is_number(table.get("fraction", 0.5), 0, 1):
        problems.append(f"fraction: must be a number from 0 to 1, got {shown(table['fraction'])}")
    if "count" in table and "fraction" in table:
        problems.append("count and fraction: give one of them")
    return problems


def _is_number(value: Any, low: float, high: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and low <= value <= high


def _constraints(scenario: Scenario) -> list[str]:
    """What is wrong with settings that are each fine alone."""
    problems = []
    nodes, joiners = scenario.run.nodes, scenario.joiners
    if joiners >= nodes:
        problems.append(f"events: {joiners} nodes join, which leaves none of {nodes} to begin with")
    if scenario.network.loss >= 1:
        problems.append("network.loss: must be below 1: nobody would hear anything")
    if scenario.network.member_ttl_seconds < 3 * scenario.network.heartbeat_seconds:
        problems.append(
            "network.member_ttl_seconds: must be at least three times network.heartbeat_seconds"
        )
    hostile = round(scenario.members.hostile_fraction * nodes)
    if hostile and hostile >= nodes:
        problems.append("members.hostile_fraction: must leave somebody honest")
    if scenario.run.engine == "shared" and scenario.groups.several:
        problems.append(
            'groups: several groups need run.engine = "sessions"; "shared" has one ledger'
        )
    if scenario.groups.assignment == "random" and scenario.groups.count > nodes:
        problems.append(f"groups.count: must be at most run.nodes ({nodes})")
    if scenario.run.engine == "shared":
        for event in scenario.events:
            if event.what not in _SHARED_EVENTS:
                problems.append(
                    f'events: {event.what} needs run.engine = "sessions", which has a replica for'
                    " every node"
                )
    return problems


def _meant(word: str, words: list[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
