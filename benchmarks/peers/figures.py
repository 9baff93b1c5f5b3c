"""What was seen of a run, and the figures that follow from it. Pure: no clock, no process."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True)
class Round:
    """A node has a new model. time: unix seconds; validation: RMSE on its own held-out ratings."""

    time: float
    node: int
    number: int
    validation: float


@dataclass(frozen=True)
class Sample:
    """So far, all nodes together. sent: bytes; None where the system does not tell them."""

    time: float
    processor: float
    sent: int | None


@dataclass(frozen=True)
class Settled:
    """Between the start-up and the end of a measurement."""

    milliseconds: float
    kilobytes: float | None
    seconds: float


def read_rounds(lines: Iterable[str], node: int) -> list[Round]:
    """The rounds in a journal of JSON lines, each number once; other lines are passed over."""
    found: dict[int, Round] = {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if not isinstance(said, dict) or said.get("event") != "round":
            continue
        data = said["data"]
        value = data.get("validation")
        if value is not None and math.isfinite(value):
            number = int(data["round"])
            found.setdefault(number, Round(float(said["time"]), node, number, float(value)))
    return list(found.values())


def pooled(values: Sequence[tuple[float, int]]) -> float:
    """RMSE over everybody from (rmse, count) of each."""
    return math.sqrt(sum(v * v * n for v, n in values) / sum(n for _, n in values))


def reached(rounds: Iterable[Round], counts: Sequence[int], limit: float) -> float | None:
    """When the pooled error of everybody's latest model first was at most `limit`; None: never.

    counts: held-out ratings of each node. A node without any model yet keeps it from being so.
    """
    latest: dict[int, float] = {}
    for done in sorted(rounds, key=lambda r: r.time):
        latest[done.node] = done.validation
        values = [(latest[n], counts[n]) for n in sorted(latest)]
        if len(latest) == len(counts) and pooled(values) <= limit:
            return done.time
    return None


def at(samples: Sequence[Sample], time: float) -> tuple[float, float | None]:
    """(processor seconds, bytes sent) at a time between two samples, in a straight line."""
    before = max((s for s in samples if s.time <= time), default=samples[0], key=lambda s: s.time)
    after = min((s for s in samples if s.time >= time), default=samples[-1], key=lambda s: s.time)
    span = after.time - before.time
    part = (time - before.time) / span if span > 0 else 0.0
    processor = before.processor + part * (after.processor - before.processor)
    if before.sent is None or after.sent is None:
        return processor, None
    return processor, before.sent + part * (after.sent - before.sent)


def settled(
    rounds: Sequence[Round], samples: Sequence[Sample], nodes: int, skip: int = 3
) -> Settled | None:
    """What a node and round cost from when everybody had done `skip` rounds until one node had done
    its last; None when there is no such time, or nobody did a round in it."""
    times: list[list[float]] = [[] for _ in range(nodes)]
    for done in rounds:
        times[done.node].append(done.time)
    if not samples or any(len(own) <= skip for own in times):
        return None
    ordered = [sorted(own) for own in times]
    begin = max(own[skip - 1] for own in ordered)
    end = min(own[-1] for own in ordered)
    count = sum(begin < time <= end for own in ordered for time in own)
    if not count or end <= begin:
        return None
    (processor, sent), (processor_before, sent_before) = at(samples, end), at(samples, begin)
    each = 1000 * (processor - processor_before) / count
    kilobytes = None if sent is None or sent_before is None else (sent - sent_before) / count / 1000
    return Settled(each, kilobytes, (end - begin) * nodes / count)


@dataclass(frozen=True)
class Waited:
    """Seconds between two rounds of one node: the longest after a member was killed, the usual
    before. everybody: whether each survivor did all the rounds it was watched for."""

    longest: float
    usual: float
    everybody: bool


def waited(
    rounds: Iterable[Round], survivors: Sequence[int], killed: float, until: float, wanted: int
) -> Waited:
    """How long survivors waited. until: when watching ended; wanted: rounds each was watched for.

    A survivor that did fewer has been waiting since its last one.
    """
    longest, usual, everybody = 0.0, [], True
    for node in survivors:
        times = sorted(r.time for r in rounds if r.node == node)
        before = [t for t in times if t <= killed]
        after = [t for t in times if t > killed]
        usual += [b - a for a, b in pairwise(before)]
        line = [*before[-1:], *after[:wanted]]
        if len(after) < wanted:
            everybody = False
            line.append(until)
        longest = max([longest, *(b - a for a, b in pairwise(line))])
    return Waited(longest, median(usual) if usual else math.nan, everybody)


def parted(done: Sequence[int]) -> bool:
    """Whether nodes that have done so many rounds did them apart: one that has lost all others goes
    through its rounds as fast as it can, and rounds of such a run cannot be compared."""
    return max(done) > 2 * min(done) + 10


@dataclass(frozen=True)
class Spread:
    """values: of the repetitions that have one; of: how many repetitions there were."""

    values: tuple[float, ...]
    of: int

    @classmethod
    def over(cls, values: Sequence[float | None]) -> Spread:
        return cls(tuple(v for v in values if v is not None and math.isfinite(v)), len(values))

    def text(self, form: str = ".1f") -> str:
        """Median (least to most), and how many of the repetitions have a value, if not all."""
        if not self.values:
            return "-"
        shown = format(median(self.values), form)
        if len(self.values) > 1:
            shown += f" ({min(self.values):{form}}-{max(self.values):{form}})"
        if len(self.values) < self.of:
            shown += f", {len(self.values)} of {self.of}"
        return shown

    def plain(self) -> Mapping[str, object]:
        middle = median(self.values) if self.values else None
        return {"median": middle, "values": list(self.values), "repetitions": self.of}
