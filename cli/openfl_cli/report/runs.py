"""The document of finished runs of a simulation: made of their records, or read from JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openfl.core.errors import DataError
from openfl.core.files import read_named
from openfl_cli.simulation.seeds import spreads_of

FORMAT = 1
_FITS = ("pooled", "mean", "median", "worst")


@dataclass
class Run:
    """One run. series: runs of the same series are put together, with their spread. records,
    course, summary: plain, as `simulate --json` prints them; course is empty where an older version
    printed none."""

    series: str
    records: list[dict[str, Any]] = field(default_factory=list)
    course: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def runs_document(runs: Sequence[Run], made_at: float, version: str) -> dict[str, Any]:
    """The document of the page, of the kind "simulation"; there must be a run. DataError: they are
    measured by different metrics, of which none is better than another."""
    first = runs[0]
    metrics = {run.records[-1]["metric"]: run for run in runs}
    if len(metrics) > 1:
        told = ", ".join(f"{run.series} by {metric}" for metric, run in metrics.items())
        raise DataError(f"runs of one report are measured alike, but {told}: write one of each")
    alike = len({run.series for run in runs}) == 1
    return {
        "format": FORMAT,
        "kind": "simulation",
        "title": f"Simulation: {first.series}" if alike else "Several runs",
        "made_at": made_at,
        "version": version,
        "scenario": {
            "name": first.summary["scenario"],
            "description": first.course.get("description", ""),
            "nodes": first.summary["nodes"],
            "rounds": first.summary["rounds"],
            "metric": first.records[-1]["metric"],
            "several": first.summary.get("grouping") is not None,
            "communities": first.course.get("communities", 1),
        },
        "events": first.course.get("events", []) if alike else [],
        "references": _references(runs),
        "runs": [_run(run) for run in runs],
        "aggregate": [spread.to_plain() for spread in spreads_of([r.records[-1] for r in runs])]
        if alike and len(runs) > 1
        else [],
    }


def _run(run: Run) -> dict[str, Any]:
    summary, course = run.summary, run.course
    return {
        "series": run.series,
        "seed": summary["seed"],
        "label": f"{run.series}, seed {summary['seed']}",
        "rounds": [
            {
                "round": record["round"],
                "test": {key: record["test"][key] for key in _FITS},
                "members": record["members"],
                "published_bytes": record["published_bytes"],
                "purity": record.get("purity"),
                "moves": record.get("moves", 0),
            }
            for record in run.records
        ],
        "nodes": course.get("nodes", []),
        "moves": course.get("moves", []),
        "summary": {"final": summary["final"], "against_central": summary["against_central"]},
    }


def _references(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Means over the runs, of those that all of them have; none where scenarios differ, for what is
    within reach is then another thing for each."""
    if len({run.series for run in runs}) > 1:
        return []
    tables = [{r["key"]: r for r in run.course.get("references", [])} for run in runs]
    found = []
    for key, reference in tables[0].items():
        values = [table[key]["value"] for table in tables if key in table]
        if len(values) == len(runs) and all(value is not None for value in values):
            found.append({**reference, "value": sum(values) / len(values)})
    return found


# --- from files -----------------------------------------------------------------------------------


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in files that `simulate --json` wrote, in order. DataError says what is wrong with
    one: it cannot be read, is no such file, or ends within a run."""
    runs: list[Run] = []
    stems = [path.stem for path in paths]
    for path in paths:
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        runs += _read(path, "" if len(paths) == 1 else name)
    return runs


def _read(path: Path, series: str) -> list[Run]:
    try:
        text = read_named(path).decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    runs: list[Run] = []
    run = Run(series)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
            kind = value["kind"]
            if kind == "round":
                run.records.append(_checked_record(value))
            elif kind == "course":
                run.course = _checked_course(value)
            elif kind == "summary":
                run.summary = _checked_summary(value)
                run.series = series or str(value["scenario"])
                if not run.records:
                    raise DataError(f"{where}: a summary, and no round before it")
                runs.append(run)
                run = Run(series)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DataError(
                f"{where}: not a line of openfl-node simulate SCENARIO --json"
            ) from None
    if run.records:
        raise DataError(f"{path}: ends within a run: was it broken off?")
    if not runs:
        raise DataError(f"{path}: has no finished run of openfl-node simulate SCENARIO --json")
    return runs


def _number(value: Any, unknown: bool = False) -> None:
    if unknown and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError


def _checked_record(value: dict[str, Any]) -> dict[str, Any]:
    for key in ("round", "members", "published_bytes"):
        _number(value[key])
    for key in _FITS:
        _number(value["test"][key], unknown=True)
    for key in ("against_central", "purity"):
        _number(value.get(key), unknown=True)
    _number(value.get("moves", 0))
    if not isinstance(value["groups"], Mapping) or not isinstance(value["metric"], str):
        raise TypeError
    return value


def _checked_summary(value: dict[str, Any]) -> dict[str, Any]:
    for key in ("seed", "nodes", "rounds"):
        _number(value[key])
    for key in ("final", "against_central"):
        _number(value[key], unknown=True)
    if not isinstance(value["scenario"], str):
        raise TypeError
    return value


def _checked_course(value: dict[str, Any]) -> dict[str, Any]:
    for node in value["nodes"]:
        for round_, group in node["path"]:
            _number(round_)
            if group is not None and not isinstance(group, str):
                raise TypeError
        for each in node["values"]:
            _number(each, unknown=True)
        for teacher, rounds in node["teachers"]:
            if not 0 <= teacher < len(value["nodes"]):
                raise ValueError
            _number(rounds)
        _number(node["community"], unknown=True)
        str.strip(node["name"])
    count = len(value["nodes"])
    for move in value["moves"]:
        _number(move["round"])
        if not 0 <= move["node"] < count:
            raise ValueError
        for key in ("from", "to", "why", "action"):
            str.strip(move[key])
    for event in value["events"]:
        _number(event["round"])
        str.strip(event["text"])
    for reference in value["references"]:
        _number(reference["value"], unknown=True)
        str.strip(reference["key"] + reference["name"])
    _number(value["communities"])
    str.strip(value["description"])
    return value
