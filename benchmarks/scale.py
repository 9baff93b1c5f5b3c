"""What a node receives and computes, against members, rows and groups: docs/scaling.md.

    python benchmarks/scale.py lottery     # 50 nodes and a thousand: bytes, and rounds to 1 %
    python benchmarks/scale.py heartbeats  # bytes by what they are, at 50 and 200 nodes
    python benchmarks/scale.py formula     # constants of the formula, and the formula checked
    python benchmarks/scale.py directory   # cards of 100 to 1,000 groups, heard by one node
    python benchmarks/scale.py crowd       # the scenario `crowd`: 5,000 nodes in 100 groups

Each prints one JSON object a line; `--out FILE` writes them there, too, as they come. `--set
KEY=VALUE` changes settings of the scenarios (not of `directory`). CPU is process time of one core;
the formula's is what sessions and training take, without the simulator around them and without
sockets.
"""

from __future__ import annotations

import argparse
import heapq
import json
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from _ml100k import ml100k_csv

from openfl.core.contribution import Charter, GroupCard, TableSchema
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.simulation.engine import Engine
from openfl.simulation.records import RoundRecord
from openfl.simulation.run import load_population, simulate
from openfl.simulation.scenario_file import load_scenario, parse_scenario
from openfl.simulation.sealing import StandInSealer
from openfl.simulation.trainer import Trainer
from openfl.switching.cards import GroupCards
from openfl.wire import messages as wire

ONE_USER = {"data.split": "one-user-per-node"}
MADE_UP = {"data.source": "synthetic", "data.items": 500, "data.ratings_per_user": 40, **ONE_USER}
CROWD = Path(__file__).parents[1] / "configs" / "scenarios" / "crowd.toml"


def no_sample() -> Path:
    raise SystemExit("this benchmark uses no sample data")


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- lottery --------------------------------------------------------------------------------------


def lottery(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Bytes of deltas received (one copy of each) and accuracy, on shared ledgers."""
    people = {"data.source": str(ml100k_csv())}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("made up, 50", {**MADE_UP, "run.nodes": 50, "data.users": 50}),
        ("made up, 1000", {**MADE_UP, "run.nodes": 1000, "data.users": 1000}),
        ("ml-100k, 50 nodes of 19 users", {**people, "run.nodes": 50}),
        ("ml-100k, 943 nodes of one user", {**people, **ONE_USER, "run.nodes": 943}),
    ]
    for name, settings in cases:
        if options.case and options.case not in name:
            continue
        given = {"run.rounds": 40, "run.engine": "shared", "network.wire": "once", **settings}
        scenario = parse_scenario("", "lottery", overrides={**given, **options.settings})
        outcome = simulate(scenario, load_population(scenario, no_sample))
        received = np.diff([0, *(r.network_bytes / r.members for r in outcome.records)]) / 1e3
        yield {
            "case": name,
            "seed": scenario.run.seed,
            "target_publishers": scenario.training.target_publishers,
            "rounds_to_1_percent": outcome.summary.first_within,
            "against_central_percent": round(100 * outcome.records[-1].against_central, 2),
            "kb_received_by_round": [round(float(kb), 1) for kb in received],
            "kb_received_settled": round(float(received[-10:].mean()), 1),
            "kb_received_mean": round(float(received.mean()), 1),
        }


# --- heartbeats -----------------------------------------------------------------------------------


def heartbeats(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """With replicas of their own: what of the bytes is deltas, and what heartbeats."""
    for nodes in options.nodes:
        settings = {
            **MADE_UP,
            "data.items": 100,
            "run.nodes": nodes,
            "data.users": nodes,
            "run.rounds": options.rounds,
            "training.rule": "mean",
            "network.wire": "once",
            **options.settings,
        }
        scenario = parse_scenario("", "heartbeats", overrides=settings)
        so_far: list[tuple[Counter[str], Counter[str], int]] = []
        holder: list[Engine] = []
        on_record = _counting(so_far, holder)
        with _engine_kept(holder):
            simulate(scenario, load_population(scenario, no_sample), on_record)
        half = len(so_far) // 2
        rounds = len(so_far) - half
        scale = nodes * rounds * 1e3
        by_kind = {k: n - so_far[half - 1][0][k] for k, n in so_far[-1][0].items()}
        published = {k: n - so_far[half - 1][1][k] for k, n in so_far[-1][1].items()}
        yield {
            "nodes": nodes,
            "loss": scenario.network.loss,
            "kb_received_a_node_and_round": {k: round(n / scale, 1) for k, n in by_kind.items()},
            "published_a_round": {k: round(n / rounds, 1) for k, n in published.items()},
            "cpu_seconds": round(time.process_time(), 1),
        }


def _counting(
    so_far: list[tuple[Counter[str], Counter[str], int]], holder: list[Engine]
) -> Callable[[RoundRecord], None]:
    def on_record(record: RoundRecord) -> None:
        state = holder[0].state
        so_far.append(
            (Counter(state.gossip_by_kind), Counter(state.published_by_kind), record.members)
        )

    return on_record


class _engine_kept:
    """`holder` gets the engine of the run as soon as it runs."""

    def __init__(self, holder: list[Engine]) -> None:
        self.holder, self.run = holder, Engine.run

    def __enter__(self) -> None:
        holder, run = self.holder, self.run

        def kept(engine: Engine) -> None:
            holder.append(engine)
            run(engine)

        Engine.run = kept  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        Engine.run = self.run  # type: ignore[method-assign]


# --- the formula ----------------------------------------------------------------------------------

FIT = [(12, 20), (12, 80), (36, 20), (36, 80)]
CHECK = [(24, 40), (48, 40), (64, 20), (96, 20)]
"""(members, ratings of each)."""
FROM_ROUND, TO_ROUND = 3, 8


class Meter:
    """CPU of sessions and of training, by what it is for, and what there was of each."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.count: Counter[str] = Counter()
        self.rows = self.bytes = 0
        self.on = False

    def __enter__(self) -> Meter:
        self._handle, self._work = GroupSession.handle, Trainer._work
        meter, handle, work = self, self._handle, self._work

        def metered(session: GroupSession, event: ev.Event, now: float) -> list[ev.Effect]:
            begin = time.process_time()
            effects = handle(session, event, now)
            if meter.on:
                meter.take(event, time.process_time() - begin)
            return effects

        def worked(trainer: Trainer, *arguments: Any) -> None:
            begin = time.process_time()
            work(trainer, *arguments)
            if meter.on:
                meter.seconds["round"] += time.process_time() - begin
                meter.count["round"] += 1

        GroupSession.handle = metered  # type: ignore[method-assign]
        Trainer._work = worked  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        GroupSession.handle = self._handle  # type: ignore[method-assign]
        Trainer._work = self._work  # type: ignore[method-assign]

    def take(self, event: ev.Event, seconds: float) -> None:
        kind = "round"
        if isinstance(event, ev.GossipReceived):
            message = wire.decode_gossip(event.payload)
            kind = "heartbeat"
            if isinstance(message, wire.InlineDelta):
                kind = "delta"
                self.bytes += len(event.payload)
                body = StandInSealer(0, 0).open(wire.DELTA_TYPE, message.envelope)[1]
                self.rows += sum(len(block) for block in wire.decode_delta(body).blocks)
            self.count[kind] += 1
        self.seconds[kind] += seconds


def measure_cost(members: int, ratings: int, options: argparse.Namespace) -> dict[str, float]:
    settings = {
        **MADE_UP,
        "data.ratings_per_user": ratings,
        "run.nodes": members,
        "data.users": members,
        "run.rounds": TO_ROUND,
        "training.target_publishers": 0,  # so that as many as there are members publish
        **options.settings,
    }
    scenario = parse_scenario("", "formula", overrides=settings)
    population = load_population(scenario, no_sample)
    with Meter() as meter:

        def on_record(record: RoundRecord) -> None:
            meter.on = record.round >= FROM_ROUND

        simulate(scenario, population, on_record)
    rounds = (TO_ROUND - FROM_ROUND) * members
    deltas = max(1, meter.count["delta"])
    return {
        "members": members,
        "ratings": ratings,
        "rows": meter.rows / deltas,
        "delta_bytes": meter.bytes / deltas,
        "deltas": meter.count["delta"] / rounds,
        "heartbeats": meter.count["heartbeat"] / rounds,
        "delta_ms": 1e3 * meter.seconds["delta"] / deltas,
        "heartbeat_ms": 1e3 * meter.seconds["heartbeat"] / max(1, meter.count["heartbeat"]),
        "round_ms": 1e3 * meter.seconds["round"] / rounds,
        "cpu_ms": 1e3 * sum(meter.seconds.values()) / rounds,
        "kb": meter.bytes / rounds / 1e3,
    }


def features(point: dict[str, float]) -> dict[str, list[float]]:
    """What each measured part is taken to be linear in."""
    members, ratings, rows = point["members"], point["ratings"], point["rows"]
    named = min(members, 64.0)
    return {
        "delta_ms": [1.0, rows],
        "heartbeat_ms": [1.0, named],
        "round_ms": [1.0, members * ratings],
        "delta_bytes": [1.0, rows],
        "rows": [1.0, ratings],
    }


def formula(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fitted at some points, and checked at others."""
    fitted = [measure_cost(members, ratings, options) for members, ratings in FIT]
    for point in fitted:
        yield {"fitted": {key: round(value, 3) for key, value in point.items()}}
    constants: dict[str, list[float]] = {}
    for part in features(fitted[0]):
        matrix = np.array([features(point)[part] for point in fitted])
        target = np.array([point[part] for point in fitted])
        # Of the relative error: small members matter as much as large ones.
        solution = np.linalg.lstsq(matrix / target[:, None], np.ones(len(target)), rcond=None)[0]
        constants[part] = [float(value) for value in solution]
    yield {"constants": {part: [round(c, 5) for c in values] for part, values in constants.items()}}
    for members, ratings in CHECK:
        point = measure_cost(members, ratings, options)
        guess = dict(point)
        guess["rows"] = float(np.dot(constants["rows"], features(point)["rows"]))
        for part in ("delta_ms", "heartbeat_ms", "round_ms", "delta_bytes"):
            guess[part] = float(np.dot(constants[part], features(guess)[part]))
        deltas = members - 1
        cpu = deltas * guess["delta_ms"] + guess["round_ms"]
        cpu += point["heartbeats"] * guess["heartbeat_ms"]
        kb = deltas * guess["delta_bytes"] / 1e3
        yield {
            "members": members,
            "ratings": ratings,
            "cpu_ms": round(point["cpu_ms"], 1),
            "cpu_ms_by_formula": round(cpu, 1),
            "cpu_off_percent": round(100 * (cpu / point["cpu_ms"] - 1), 1),
            "kb": round(point["kb"], 1),
            "kb_by_formula": round(kb, 1),
            "kb_off_percent": round(100 * (kb / point["kb"] - 1), 1),
            "measured": {key: round(value, 3) for key, value in point.items()},
        }


# --- the directory --------------------------------------------------------------------------------

TABLE = TableSchema("items", 8, (1.0,) * 8, (0.0,) * 8, (0.1,) * 8, key_bits=40)
MEMBERS_OF_A_GROUP = 3
MINUTES = 10.0
LOSS, DELAY = 0.01, 0.1


def directory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Members of each group hear each other's cards; one node of another group hears all."""
    for groups in options.groups:
        yield _directory(groups)


def _directory(groups: int) -> dict[str, Any]:
    rng = np.random.default_rng([groups, 1])
    everybody: list[GroupCards] = []
    sealers: list[StandInSealer] = []
    for number in range(groups * MEMBERS_OF_A_GROUP):
        sealer = StandInSealer(0, number)
        hyper = {"factors": 8, "metric": "rmse", "scale": "1-5"}
        charter = Charter(f"group-{number % groups}", "rating", (TABLE,), cast("Any", hyper), 1)

        def own(
            now: float, charter: Charter = charter, sealer: StandInSealer = sealer
        ) -> GroupCard:
            return GroupCard(
                charter, MEMBERS_OF_A_GROUP, 500, "rmse", 0.8, 0.9, sealer.peer_id, now
            )

        everybody.append(GroupCards(sealer, np.random.default_rng([groups, number]), own))
        sealers.append(sealer)
    listener = GroupCards(StandInSealer(1, 0), np.random.default_rng(2), lambda now: None)
    events: list[tuple[float, int, bytes]] = []
    for number, cards in enumerate(everybody):
        cards.start(start := float(rng.random()))
        heapq.heappush(events, (cards.next_wake, number, b""))
        cards.known(start)
    heard = size = 0
    late_bytes = 0
    cpu = listed = 0.0
    while events and events[0][0] < 60 * MINUTES:
        now, number, arriving = heapq.heappop(events)
        if not arriving:
            cards = everybody[number]
            payload = cards.fire(now)
            heapq.heappush(events, (cards.next_wake, number, b""))
            if payload is not None:
                heapq.heappush(events, (now + DELAY, number, payload))
            continue
        author = sealers[number].peer_id
        for other in range(number % groups, len(everybody), groups):
            if other != number and rng.random() >= LOSS:
                everybody[other].heard(author, arriving, now)
        if rng.random() >= LOSS:
            heard, size = heard + 1, size + len(arriving)
            late_bytes += len(arriving) if now > 60 * (MINUTES - 5) else 0
            begin = time.process_time()
            listener.heard(author, arriving, now)
            cpu += time.process_time() - begin
    begin = time.process_time()
    for _ in range(10):
        found = listener.known(60 * MINUTES)
    listed = (time.process_time() - begin) / 10
    cards_kept = list(listener.directory.all_cards())
    return {
        "groups": groups,
        "members_of_a_group": MEMBERS_OF_A_GROUP,
        "minutes": MINUTES,
        "cards_heard": heard,
        "card_bytes": round(size / max(1, heard)),
        "kb_a_minute_first_minutes": round(size / MINUTES / 1e3, 1),
        "kb_a_minute_settled": round(late_bytes / 5 / 1e3, 1),
        "groups_known": len(found),
        "cards_kept": len(cards_kept),
        "kb_of_envelopes_kept": round(sum(len(k.envelope) for k in cards_kept) / 1e3, 1),
        "ms_a_card": round(1e3 * cpu / max(1, heard), 3),
        "ms_to_list_all": round(1e3 * listed, 2),
    }


# --- the crowd ------------------------------------------------------------------------------------


def crowd(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each round interval, and a last one."""
    began, cpu = time.monotonic(), time.process_time()
    scenario = load_scenario(CROWD, overrides=options.settings)
    population = load_population(scenario, no_sample)
    yield {
        "nodes": scenario.run.nodes,
        "groups": scenario.groups.count,
        "seed": scenario.run.seed,
        "loaded_after_seconds": round(time.monotonic() - began, 1),
    }

    def on_record(record: RoundRecord) -> None:
        found = {
            "round": record.round,
            "members": record.members,
            "groups": len(record.groups),
            "largest": max(record.groups.values(), default=0),
            "test": round(record.test.pooled, 4),
            "against_central_percent": round(100 * record.against_central, 2),
            "purity": round(record.purity or 0.0, 3),
            "moves": record.moves,
            "kb_received_so_far_a_node": round(record.network_bytes / record.members / 1e3, 1),
            "kb_of_cards_so_far_a_node": round((record.directory_bytes or 0) / 1e3, 1),
            "kb_of_looks_so_far_a_node": round((record.probe_bytes or 0) / 1e3, 1),
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "peak_mb": round(peak_megabytes()),
        }
        tell(found, options)

    outcome = simulate(scenario, population, on_record)
    yield {
        "deliveries": outcome.summary.deliveries,
        "faults": outcome.summary.faults,
        "trace": outcome.summary.trace,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mb": round(peak_megabytes()),
    }


# --- the command ----------------------------------------------------------------------------------


def tell(found: dict[str, Any], options: argparse.Namespace) -> None:
    line = json.dumps(found)
    print(line, flush=True)
    if options.out:
        with options.out.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def main() -> None:
    parts = {f.__name__: f for f in (lottery, heartbeats, formula, directory, crowd)}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=parts)
    parser.add_argument("--out", type=Path, help="a file to write the lines to, too")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--case", default="", help="lottery: only the cases whose name has this")
    parser.add_argument("--nodes", default="50,200", help="heartbeats: how many, one after another")
    parser.add_argument("--rounds", type=int, default=8, help="heartbeats: of each run")
    parser.add_argument("--groups", default="100,300,1000", help="directory: how many")
    options = parser.parse_args()
    options.settings = {
        key: number(value) for key, _, value in (text.partition("=") for text in options.set)
    }
    options.nodes = [int(text) for text in options.nodes.split(",")]
    options.groups = [int(text) for text in options.groups.split(",")]
    for found in parts[options.part](options):
        tell(found, options)


if __name__ == "__main__":
    main()
