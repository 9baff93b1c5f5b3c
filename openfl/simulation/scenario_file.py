"""Scenario files: TOML, checked completely, every problem reported together."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from openfl.config import SECTIONS, all_settings
from openfl.config.kinds import kinds_with
from openfl.config.load import holders
from openfl.config.settings import Problem, Setting, Value, setting_of, shown
from openfl.core.errors import ConfigError
from openfl.core.files import expanded, read_named
from openfl.learning.kinds import KINDS
from openfl.learning.sharding import Sharding
from openfl.simulation.attacks import ATTACKS
from openfl.simulation.scenario import (
    MUSIC,
    WHATS,
    DataSection,
    Fault,
    Scenario,
    node_config,
)

SECTION_TYPES: dict[str, type[Any]] = {
    f.name: type(getattr(Scenario(), f.name))
    for f in fields(Scenario)
    if f.name not in ("name", "events", "of_kind")
}
"""Section -> the dataclass of the keys that it has whatever is learned."""
_EVENT_KEYS = tuple(f.name for f in fields(Fault))
_SHARED_EVENTS = ("join", "crash")
_GROUPED_EVENTS = (*_SHARED_EVENTS, "leave", "return")
SYNTHETIC, COMMUNITIES = "synthetic", "communities"
_NO_FILES = (MUSIC, SYNTHETIC, COMMUNITIES)


def scenario_settings() -> Mapping[str, Setting]:
    """Every key ("section.key") of scenario files -> its description; those of single kinds of
    learning after the others of their section."""
    of_all = {
        f"{section}.{f.name}": setting_of(f.metadata)
        for section, holder in SECTION_TYPES.items()
        for f in fields(holder)
    }
    found: dict[str, Setting] = {}
    for section in SECTION_TYPES:
        found |= {key: s for key, s in of_all.items() if key.startswith(f"{section}.")}
        found |= {key: s for key, s in _of_kinds(section).items() if key not in of_all}
    return found


def _of_kinds(section: str) -> Mapping[str, Setting]:
    """The settings in a section that only some kinds of learning have, by key."""
    described, own = all_settings(), SECTIONS.values()
    return {
        key: described[key]
        for key, holder in holders().items()
        if holder not in own and key.startswith(f"{section}.")
    }


def load_scenario(path: Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario in a file; ConfigError lists every problem, one a line.

    `overrides`: "section.key" -> value; None means not given. Relative paths of data files are
    taken from the file's folder.
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
    read = _Read(scenario_settings(), problems)
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
                read.take(f"{section}.{key}", raw, label)
    for key, raw in (overrides or {}).items():
        if raw is not None:
            read.take(key, raw, "command line")
    events = _events(document.get("events", []), label, problems)
    _locate(read.values, folder)
    sections = {
        section: holder(
            **{
                f.name: read.values[key]
                for f in fields(holder)
                if (key := f"{section}.{f.name}") in read.values
            }
        )
        for section, holder in SECTION_TYPES.items()
    }
    of_kind = read.of_kind(str(read.values.get("data.kind", DataSection().kind)))
    scenario = Scenario(name, **sections, events=events, of_kind=of_kind)
    if not problems:
        problems += [f"{label}: {problem}" for problem in _constraints(scenario)]
    if problems:
        raise ConfigError("\n".join(problems))
    return scenario


class _Read:
    """What has been read so far; what is wrong with it goes to `problems`."""

    def __init__(self, settings: Mapping[str, Setting], problems: list[str]) -> None:
        self.values: dict[str, Value] = {}
        self._settings = settings
        self._labels: dict[str, str] = {}
        self._problems = problems

    def take(self, key: str, raw: Any, label: str) -> None:
        """One key and its value."""
        described = self._settings.get(key)
        if described is None:
            close = _meant(key, list(self._settings))
            self._problems.append(f"{label}: {key}: unknown key{close}")
            return
        try:
            self.values[key] = described.check(raw)
            self._labels[key] = label
        except Problem as problem:
            self._problems.append(f"{label}: {key}: {problem}")

    def of_kind(self, kind: str) -> dict[str, Value]:
        """The settings of the kind of learning `kind`; those of others are problems."""
        of_all = {f"{s}.{f.name}" for s, holder in SECTION_TYPES.items() for f in fields(holder)}
        found = {}
        for key in self.values.keys() - of_all:
            whose = kinds_with(holders()[key])
            if kind in whose:
                found[key] = self.values[key]
            elif kind in KINDS:
                self._problems.append(
                    f"{self._labels[key]}: {key}: is a setting of {' and '.join(whose)}, but"
                    f' data.kind is "{kind}"'
                )
        return dict(sorted(found.items()))


def _locate(values: dict[str, Value], folder: Path) -> None:
    """Make paths of data files those from here."""

    def located(path: str) -> str:
        return str(folder / expanded(path))

    source = str(values.get("data.source", MUSIC))
    if source not in _NO_FILES:
        values["data.source"] = located(source)
    if values.get("data.communities_file"):
        values["data.communities_file"] = located(str(values["data.communities_file"]))
    more = values.get("data.more_sources", ())
    assert isinstance(more, tuple)
    values["data.more_sources"] = tuple(located(path) for path in more)


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
    problems = [*_data_problems(scenario)]
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
    if scenario.groups.assignment in ("random", "zipf") and scenario.groups.count > nodes:
        problems.append(f"groups.count: must be at most run.nodes ({nodes})")
    if scenario.run.engine == "shared":
        for event in scenario.events:
            if event.what not in (_GROUPED_EVENTS if scenario.groups.several else _SHARED_EVENTS):
                problems.append(
                    f'events: {event.what} needs run.engine = "sessions", which has a replica for'
                    " every node"
                )
    return problems


def _data_problems(scenario: Scenario) -> Iterator[str]:
    data, kind = scenario.data, KINDS[scenario.data.kind]
    sharding = kind.sharding
    if sharding is None:
        yield f'data.kind: nodes of the kind "{kind.name}" cannot be simulated'
        return
    if data.source == MUSIC and not sharding.sample_file:
        yield (
            f'data.source: "music" is nothing to learn from for the kind "{kind.name}": name a CSV'
            f" file{_or_made_up(sharding)}"
        )
    made_up = data.source in (SYNTHETIC, COMMUNITIES)
    if made_up and data.source not in sharding.make_up:
        yield (
            f'data.source: there is no "{data.source}" for the kind "{kind.name}": name a CSV'
            f" file{_or_made_up(sharding)}"
        )
    for key in ("more_sources", "user_column", "community_column", "communities_file"):
        if made_up and getattr(data, key):
            yield f'data.{key}: needs a CSV file as data.source, not "{data.source}"'
    if data.user_column and sharding.users is not None:
        yield (
            f'data.user_column: files of the kind "{kind.name}" say whose a row is by their column'
            f" {sharding.user_column}"
        )
    if data.community_column and data.communities_file:
        yield "data.community_column and data.communities_file: give one of them"
    if data.communities_file and sharding.users is None and not data.user_column:
        yield "data.communities_file: needs data.user_column, which says whose an example is"
    flips = ATTACKS[scenario.members.attack].flips_labels
    if scenario.members.hostile_fraction and flips and sharding.upside_down is None:
        yield (
            f'members.attack: "{scenario.members.attack}" has nothing to turn upside down in data'
            f' of the kind "{kind.name}"'
        )
    yield from (text for _, text in kind.description.complaints(node_config(scenario)))


def _or_made_up(sharding: Sharding) -> str:
    names = [f'"{name}"' for name in sharding.make_up]
    return f" or {' or '.join(names)}" if names else ""


def _meant(word: str, words: list[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
