"""What a monitoring system is told of a node: the text format of Prometheus, version 0.0.4.

After https://prometheus.io/docs/instrumenting/exposition_formats: names with units, counters that
end in `_total`. Labels are words of ours, never ids of peers or groups: those would be a series for
each, and tell who learns with whom.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from openfl import __version__
from openfl.core.telemetry import Phase

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_WORDS = 200
"""Values of one label; more are not told."""

_WORD = re.compile(r"[a-z0-9][a-z0-9_.:/-]{0,63}")

Sample = tuple[Mapping[str, str], float | int | None]
"""(labels, value); one without a value is left out."""
Samples = Callable[[Mapping[str, Any]], Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Metric:
    """samples: of a node's snapshot in its plain form."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    samples: Samples


def _one(read: Callable[[Mapping[str, Any]], float | int | None]) -> Samples:
    return lambda snapshot: [({}, read(snapshot))]


def _resource(name: str) -> Samples:
    return _one(lambda snapshot: (snapshot["resources"] or {}).get(name))


def _of_privacy(name: str) -> Samples:
    return _one(lambda snapshot: (snapshot["privacy"] or {}).get(name))


def _measured(name: str) -> Samples:
    def samples(snapshot: Mapping[str, Any]) -> list[Sample]:
        metric = str(snapshot["metric"])
        return [({"metric": metric}, snapshot[name])] if _WORD.fullmatch(metric) else []

    return samples


def _info(snapshot: Mapping[str, Any]) -> list[Sample]:
    return [({"version": __version__}, 1)]


def _phases(snapshot: Mapping[str, Any]) -> list[Sample]:
    return [({"phase": phase}, int(snapshot["phase"] == phase)) for phase in get_args(Phase)]


def _faults(snapshot: Mapping[str, Any]) -> list[Sample]:
    faults = sorted((k, n) for k, n in snapshot["faults"].items() if _WORD.fullmatch(k))
    return [({"kind": kind}, count) for kind, count in faults[:MAX_WORDS]]


def _bytes(snapshot: Mapping[str, Any]) -> list[Sample]:
    return [({"direction": way}, snapshot[f"bytes_{way}"]) for way in ("sent", "received")]


def _notices(snapshot: Mapping[str, Any]) -> list[Sample]:
    kinds = sorted({n["kind"] for n in snapshot["notices"] if _WORD.fullmatch(n["kind"])})
    return [({"kind": kind}, 1) for kind in kinds[:MAX_WORDS]]


METRICS: tuple[Metric, ...] = (
    Metric("openfl_info", "gauge", "Which version runs; always 1.", _info),
    Metric(
        "openfl_start_time_seconds",
        "gauge",
        "When this run of the node began, in unix time.",
        _one(lambda s: s["started_at"]),
    ),
    Metric("openfl_phase", "gauge", "1 for the phase the node is in.", _phases),
    Metric("openfl_round", "gauge", "Rounds of learning done.", _one(lambda s: s["round"])),
    Metric(
        "openfl_interval_seconds",
        "gauge",
        "Between the beginnings of two rounds, as it is kept now.",
        _one(lambda s: s["interval_seconds"]),
    ),
    Metric(
        "openfl_validation",
        "gauge",
        "Error of the group's model on the node's own held-out data; lower is better.",
        _measured("validation"),
    ),
    Metric(
        "openfl_alone",
        "gauge",
        "The same for a model of the node's data alone.",
        _measured("alone"),
    ),
    Metric(
        "openfl_useful_after_seconds",
        "gauge",
        "From the start until a model that others taught was here and judged.",
        _one(lambda s: s["useful_after"]),
    ),
    Metric(
        "openfl_members",
        "gauge",
        "Present members of the group, this node included.",
        _one(lambda s: len(s["members"])),
    ),
    Metric(
        "openfl_members_left_out",
        "gauge",
        "Present members that this node leaves out of its model.",
        _one(lambda s: sum(bool(m["left_out"]) for m in s["members"])),
    ),
    Metric("openfl_peers", "gauge", "Connected peers.", _one(lambda s: len(s["peers"]))),
    Metric(
        "openfl_train_examples",
        "gauge",
        "Examples of its own that the node trains on.",
        _one(lambda s: s["train_examples"]),
    ),
    Metric(
        "openfl_model_rows", "gauge", "Rows of the group's model.", _one(lambda s: s["model_rows"])
    ),
    Metric(
        "openfl_deltas_merged_total",
        "counter",
        "Contributions merged since the node is in its group, in this run.",
        _one(lambda s: s["deltas_merged"]),
    ),
    Metric(
        "openfl_published_bytes_total",
        "counter",
        "Contributions published since the node is in its group, before copies.",
        _one(lambda s: s["published_bytes"]),
    ),
    Metric("openfl_bytes_total", "counter", "To and from peers in this run, all together.", _bytes),
    Metric("openfl_faults_total", "counter", "What was refused or went wrong, by kind.", _faults),
    Metric(
        "openfl_moves_total",
        "counter",
        "To other groups by the node's own decision, over its whole life.",
        _one(lambda s: s["switching"]["moves"]),
    ),
    Metric(
        "openfl_pinned",
        "gauge",
        "1 when the owner pins the node to its group.",
        _one(lambda s: int(s["switching"]["pinned"])),
    ),
    Metric("openfl_notices", "gauge", "1 for each thing that is wrong now.", _notices),
    Metric(
        "openfl_privacy_epsilon_spent",
        "gauge",
        "Of the privacy budget; where there is one.",
        _of_privacy("epsilon_spent"),
    ),
    Metric("openfl_privacy_epsilon", "gauge", "The whole privacy budget.", _of_privacy("epsilon")),
    Metric("openfl_threads", "gauge", "Threads of the process.", _resource("threads")),
    Metric("openfl_tasks", "gauge", "Tasks of the event loop.", _resource("tasks")),
    Metric("openfl_connections", "gauge", "To peers.", _resource("connections")),
    Metric("openfl_streams", "gauge", "Open within these connections.", _resource("streams")),
    Metric(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of the process.",
        _resource("memory_bytes"),
    ),
    Metric(
        "process_open_fds",
        "gauge",
        "Open file descriptors, sockets included.",
        _resource("open_files"),
    ),
    Metric(
        "process_cpu_seconds_total",
        "counter",
        "Processor time of the process.",
        lambda snapshot: [({}, time.process_time())],
    ),
)


def metrics_text(snapshot: Mapping[str, Any]) -> str:
    """What is scraped. `snapshot`: as `NodeSnapshot.to_plain` makes it."""
    return "".join(line + "\n" for metric in METRICS for line in _lines(metric, snapshot))


def _lines(metric: Metric, snapshot: Mapping[str, Any]) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.text)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.samples(snapshot):
        if value is None:
            continue
        named = ",".join(f'{name}="{_quoted(word)}"' for name, word in labels.items())
        yield (
            f"{metric.name}{{{named}}} {_number(value)}"
            if named
            else (f"{metric.name} {_number(value)}")
        )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float | int) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)
