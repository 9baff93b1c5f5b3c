"""Nothing private leaves a node: every byte that whole nodes send in a run is taken apart.

`Wiretap` stands between nodes and the simulated network. Each message must decode and encode back
to the very bytes that were sent, so that there is no room for anything beside its fields; then each
field is accounted for. What is left, numbers that could be anything, is searched for the users'
factors as float64, float32, float16 and int8, and for the names of users, songs and files.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from openfl.aggregation.quantize import QuantizedBlock
from openfl.app.open_node import open_node
from openfl.config import Config, load_config
from openfl.core.contribution import Contribution, PeerId, RowBlock
from openfl.core.errors import ConfigError
from openfl.core.model_view import DenseModel
from openfl.discovery import peer_exchange
from openfl.discovery.discovery import NETWORK_KEY, group_key
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import load_catalogue, load_ratings
from openfl.learning.implicit import charter as implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.kinds import load_workload
from openfl.learning.rating import charter as rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.rating.user_prior import USER_PRIOR
from openfl.learning.workload import Workload
from openfl.network.simulated.internet import seed_trio
from openfl.network.simulated.network import SimulatedNetwork
from openfl.node.privacy_budget import PrivacyBudget
from openfl.node.settings import session_settings
from openfl.storage.home import Home
from openfl.wire import bodies, exchange, names
from openfl.wire import messages as wire
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.group_rig import RigSealer
from tests.node_rig import HURRIED, Village, Villager, unix_time, village

ROUNDS = 5
Tasks = (MatrixFactorization, ImplicitFactorization)


@dataclass
class Wiretap:
    """Everything that every node handed to its network: (peer, kind, where to, bytes)."""

    sent: list[tuple[PeerId, str, str, bytes]] = field(default_factory=list)
    factors: dict[int, list[np.ndarray]] = field(default_factory=dict)
    """By id of the task: the users' factors after each step."""
    contributions: dict[int, list[Contribution]] = field(default_factory=dict)
    tasks: dict[int, Any] = field(default_factory=dict)

    def of(self, kind: str) -> Iterator[tuple[PeerId, str, bytes]]:
        return ((p, where, data) for p, k, where, data in self.sent if k == kind)

    def envelopes(self) -> set[bytes]:
        """Every signed envelope in any message."""
        found = set()
        for _, topic, payload in self.of("gossip"):
            if topic == wire.DIRECTORY_TOPIC:
                found.add(wire.decode_directory(payload))
                continue
            message = wire.decode_gossip(payload)
            if isinstance(message, wire.InlineDelta | wire.LeaveNotice):
                found.add(message.envelope)
        for _, protocol, payload in self.of("answer"):
            if protocol in (wire.SNAPSHOT_PROTOCOL, wire.PULL_PROTOCOL):
                answer = wire.decode_items_answer(payload)
                if not isinstance(answer, wire.Refusal):
                    found |= {item.envelope for item in answer.items}
        return found

    def deltas(self) -> Iterator[tuple[PeerId, Any, bytes]]:
        for envelope in self.envelopes():
            try:
                author, body = RigSealer(PeerId("")).open(wire.DELTA_TYPE, envelope)
            except Exception:
                continue
            yield author, wire.decode_delta(body), body


@pytest.fixture
def wiretap(monkeypatch: pytest.MonkeyPatch) -> Wiretap:
    tap = Wiretap()
    publish, request = SimulatedNetwork.publish, SimulatedNetwork.request
    set_handler, provide = SimulatedNetwork.set_handler, SimulatedNetwork.provide
    subscribe, find = SimulatedNetwork.subscribe, SimulatedNetwork.find_providers

    async def tapped_publish(self: SimulatedNetwork, topic: str, payload: bytes) -> None:
        tap.sent.append((self.peer_id, "gossip", topic, payload))
        await publish(self, topic, payload)

    async def tapped_request(
        self: SimulatedNetwork, peer_id: PeerId, protocol: str, payload: bytes, *limit: int
    ) -> bytes:
        tap.sent.append((self.peer_id, "request", protocol, payload))
        return await request(self, peer_id, protocol, payload, *limit)

    def tapped_set_handler(
        self: SimulatedNetwork, protocol: str, handler: Any, *limit: int
    ) -> None:
        async def tapped(peer: PeerId, payload: bytes) -> bytes:
            answer: bytes = await handler(peer, payload)
            tap.sent.append((self.peer_id, "answer", protocol, answer))
            return answer

        set_handler(self, protocol, tapped, *limit)

    async def tapped_provide(self: SimulatedNetwork, key: bytes) -> None:
        tap.sent.append((self.peer_id, "provide", "", key))
        await provide(self, key)

    async def tapped_find(self: SimulatedNetwork, key: bytes, limit: int = 20) -> Any:
        tap.sent.append((self.peer_id, "provide", "", key))
        return await find(self, key, limit)

    async def tapped_subscribe(self: SimulatedNetwork, topic: str, handler: Any) -> None:
        tap.sent.append((self.peer_id, "subscribe", topic, b""))
        await subscribe(self, topic, handler)

    for name, tapped_method in (
        ("publish", tapped_publish),
        ("request", tapped_request),
        ("set_handler", tapped_set_handler),
        ("provide", tapped_provide),
        ("find_providers", tapped_find),
        ("subscribe", tapped_subscribe),
    ):
        monkeypatch.setattr(SimulatedNetwork, name, tapped_method)
    for kind in Tasks:
        monkeypatch.setattr(kind, "local_step", watched(kind.local_step, tap))
    return tap


def watched(step: Callable[..., Contribution], tap: Wiretap) -> Callable[..., Contribution]:
    def local_step(self: Any, *arguments: Any) -> Contribution:
        made = step(self, *arguments)
        tap.tasks[id(self)] = self
        tap.factors.setdefault(id(self), []).append(self._user_factors.copy())
        tap.contributions.setdefault(id(self), []).append(made)
        return made

    return local_step


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parts = [tmp_path_factory.mktemp(f"private-{n}") for n in range(8)]
    deal(sample_folder(), parts, seed=5)
    return parts


def workload(folder: Path, kind: str) -> Workload:
    settings = {"data.ratings_file": str(folder / "ratings.csv"), "task.kind": kind}
    return load_workload(load_config(None, {}, settings))


async def a_run(town: Village, folders: list[Path], kind: str) -> list[Villager]:
    """Three nodes learn, a fourth joins late, one leaves for good."""
    settings = replace(HURRIED, rounds=ROUNDS)
    nodes = [await town.start(workload(folders[n], kind), settings=settings) for n in range(3)]
    await town.all_done()
    nodes.append(await town.start(workload(folders[3], kind), settings=settings))
    await town.all_done()
    await town.stop(nodes[1], leave=True)
    await trio.sleep(5.0)
    return nodes


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


# --- every byte is a field of the protocol --------------------------------------------------------


@pytest.mark.parametrize("kind", ["rating", "implicit"])
async def test_every_byte_that_leaves_is_a_field_of_the_protocol_that_may_leave(
    kind: str, wiretap: Wiretap, folders: list[Path], autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await a_run(town, folders, kind)
        peers = {node.peer_id for node in nodes}
        charter = nodes[0].replica.charter
        assert check_messages(wiretap, charter.group_id, peers) >= {
            "InlineDelta",
            "Heartbeat",
            "LeaveNotice",
            "card",
            wire.SNAPSHOT_PROTOCOL,
            wire.GROUPS_PROTOCOL,
            names.PEERS_PROTOCOL,
        }
        check_deltas(wiretap, folders, {node.peer_id: node.number for node in nodes}, kind)
        raw = b"".join(data for _, _, _, data in wiretap.sent)
        assert len(raw) > 100_000
        assert leaks(raw, wiretap) == []
        for folder in folders[:4]:
            ratings = load_ratings(folder / "ratings.csv")
            songs = (folder / "songs.csv").read_bytes().splitlines()
            for text in (str(folder).encode(), b"ratings.csv", *songs):
                assert text not in raw
            assert len(ratings.users) > 5


def check_messages(tap: Wiretap, group_id: str, peers: set[PeerId]) -> set[str]:
    """Every message encodes back to itself; returns which kinds there were."""
    kinds: Counter[str] = Counter()
    topic = wire.deltas_topic(group_id)  # type: ignore[arg-type]
    hours = {group_key(group_id, unix_time() - 3600 * back) for back in range(-2, 3)}  # type: ignore[arg-type]
    for _, kind, where, data in tap.sent:
        match kind:
            case "subscribe":
                assert where in (topic, wire.DIRECTORY_TOPIC)
            case "provide":
                assert data == NETWORK_KEY or data in hours
            case "gossip" if where == wire.DIRECTORY_TOPIC:
                kinds["card"] += 1
                assert wire.encode_directory(wire.decode_directory(data)) == data
            case "gossip":
                assert where == topic
                message = wire.decode_gossip(data)
                kinds[type(message).__name__] += 1
                assert wire.encode_gossip(message) == data
                if isinstance(message, wire.Heartbeat):
                    assert {v.author for v in message.versions} <= peers
            case "request" | "answer":
                kinds[where] += 1
                check_exchange(kind, where, data, peers)
            case _:
                raise AssertionError(kind)
    for envelope in tap.envelopes():
        check_envelope(envelope)
    return set(kinds)


def check_exchange(kind: str, protocol: str, data: bytes, peers: set[PeerId]) -> None:
    match kind, protocol:
        case "request", wire.SNAPSHOT_PROTOCOL:
            again = exchange.encode_snapshot_request(exchange.decode_snapshot_request(data))
        case "request", wire.SUMMARY_PROTOCOL:
            again = wire.encode_summary_request(wire.decode_summary_request(data))
        case "request", wire.PULL_PROTOCOL:
            again = exchange.encode_pull_request(exchange.decode_pull_request(data))
        case "request", wire.GROUPS_PROTOCOL:
            again = exchange.encode_groups_request()
        case "answer", wire.SNAPSHOT_PROTOCOL | wire.PULL_PROTOCOL:
            again = exchange.encode_answer(exchange.decode_items_answer(data))
        case "answer", wire.SUMMARY_PROTOCOL:
            told_of = wire.decode_summary_answer(data)
            if isinstance(told_of, wire.SummaryAnswer):
                again = wire.encode_summary_answer(told_of)
            else:
                again = wire.encode_answer(told_of)
        case "answer", wire.GROUPS_PROTOCOL:
            again = exchange.encode_answer(exchange.decode_cards_answer(data))
        case "request", names.PEERS_PROTOCOL:
            again = peer_exchange.encode_request(peer_exchange.decode_request(data))
        case "answer", names.PEERS_PROTOCOL:
            told = peer_exchange.decode_answer(data)
            assert {peer.peer_id for peer in told} <= peers
            again = peer_exchange.encode_answer(list(told))
        case _:
            raise AssertionError(f"{kind} of {protocol}")
    assert again == data


def check_envelope(envelope: bytes) -> None:
    """It is one of the three signed bodies, with nothing beside its fields."""
    sealer = RigSealer(PeerId(""))
    encoders: dict[bytes, Callable[[bytes], bytes]] = {
        wire.DELTA_TYPE: lambda body: bodies.encode_delta(bodies.decode_delta(body)),
        wire.LEAVE_TYPE: lambda body: bodies.encode_leave(bodies.decode_leave(body)),
    }
    for payload_type, again in encoders.items():
        if payload_type + b"\0" in envelope[:100]:
            _, body = sealer.open(payload_type, envelope)
            assert again(body) == body
            return
    issuer, body = sealer.open(wire.CARD_TYPE, envelope)
    card = bodies.decode_card(body, issuer)
    assert bodies.encode_card(card) == body


def check_deltas(tap: Wiretap, folders: list[Path], owners: dict[PeerId, int], kind: str) -> None:
    """Rows are of songs its author has, with the counts and the curvature of its own steps."""
    by_owner: dict[int, list[Any]] = {}
    for task in tap.tasks.values():
        data = task._plays if kind == "implicit" else task.ratings
        for number in owners.values():
            if data.source == str(folders[number] / "ratings.csv"):
                by_owner.setdefault(number, []).append(task)
    seen = 0
    for author, delta, _ in tap.deltas():
        number = owners[author]
        own = by_owner[number]
        examples = {task.train_examples for task in own}
        assert delta.examples in examples
        assert delta.fit is None or delta.fit.metric in ("rmse", "ndcg_loss")
        made = [c for task in own for c in tap.contributions[id(task)]]
        for block in delta.blocks:
            check_block(block, [b for c in made for b in c.blocks if b.table == block.table], kind)
            seen += len(block)
    assert seen > 1000


def check_block(block: QuantizedBlock, made: list[RowBlock], kind: str) -> None:
    tables = {
        "rating": {rating_charter.ITEMS, rating_charter.MEAN, USER_PRIOR},
        "implicit": {
            implicit_charter.ITEMS,
            implicit_charter.LISTENERS,
            implicit_charter.PLAYS,
        },
    }
    assert block.table in tables[kind]
    # It is rows of one step's contribution: the same keys, counts and curvature.
    for step in made:
        at = np.searchsorted(step.keys, block.keys)
        if (
            np.array_equal(step.curvature, block.curvature)
            and at.max() < len(step.keys)
            and np.array_equal(step.keys[at], block.keys)
            and np.array_equal(step.evidence[at].astype(np.uint32), block.evidence)
        ):
            return
    raise AssertionError(f"a block of {block.table} that no step made")


# --- the users' factors ---------------------------------------------------------------------------


def leaks(raw: bytes, tap: Wiretap, first: int = 6) -> list[str]:
    """Images of users' factors in the bytes sent, and sent rows that are (nearly) such a vector."""
    found = []
    rows: dict[int, list[np.ndarray]] = {}
    for _, delta, _ in tap.deltas():
        for block in delta.blocks:
            rows.setdefault(block.values().shape[1], []).append(block.values())
    stacked = {width: np.concatenate(parts) for width, parts in rows.items()}
    for history in tap.factors.values():
        for users in history[-2:]:
            for user in users[np.abs(users).max(axis=1) > 1e-3]:
                for name, image in images(user[:first]):
                    if image in raw:
                        found.append(f"{name} image")
                found += near(user, stacked)
    return found


def images(vector: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for kind in ("<f8", ">f8", "<f4", ">f4", "<f2", ">f2"):
        yield kind, vector.astype(kind).tobytes()
    scale = float(np.abs(vector).max()) / 127
    yield "int8", np.rint(vector / scale).astype(np.int8).tobytes()


def near(user: np.ndarray, rows: dict[int, np.ndarray]) -> list[str]:
    """Whether some row of its width is the user's vector but for the rounding of int8."""
    table = rows.get(len(user))
    if table is None:
        return []
    distance = np.abs(table - user).max(axis=1).min()
    return ["a row is a user's factors"] if distance < 2 * np.abs(user).max() / 127 else []


@pytest.mark.parametrize("encoding", ["<f4", "<f2", "int8"])
def test_the_search_finds_factors_that_do_leave(encoding: str) -> None:
    tap = Wiretap()
    user = np.random.default_rng(0).normal(size=9)
    tap.factors[0] = [user[None]]
    image = dict(images(user[:6]))[encoding]
    assert leaks(b"before" + image + b"after", tap) == [f"{encoding} image"]
    assert leaks(b"before" + image[:-1] + b"\x5a" + b"after", tap) == []


async def test_a_task_that_published_a_users_factors_would_be_caught(
    wiretap: Wiretap,
    folders: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    honest = MatrixFactorization.local_step

    def leaking(self: Any, *arguments: Any) -> Contribution:
        made = honest(self, *arguments)
        items, *rest = made.blocks
        values = items.values.copy()
        values[3] = self._user_factors[0]
        return Contribution((replace(items, values=values), *rest))

    monkeypatch.setattr(MatrixFactorization, "local_step", leaking)
    async with village() as town:
        settings = replace(HURRIED, rounds=3, row_fraction=1.0)
        for number in range(2):
            await town.start(workload(folders[number], "rating"), settings=settings)
        await town.all_done()
        raw = b"".join(data for _, _, _, data in wiretap.sent)
        assert "a row is a user's factors" in leaks(raw, wiretap)


# --- songs that one person rated ------------------------------------------------------------------


async def test_songs_with_too_few_ratings_leave_no_row(
    wiretap: Wiretap, folders: list[Path], autojump_clock: MockClock
) -> None:
    settings = {
        "data.ratings_file": str(folders[0] / "ratings.csv"),
        "training.min_row_evidence": 3,
    }
    async with village() as town:
        node = await town.start(
            load_workload(load_config(None, {}, settings)), settings=replace(HURRIED, rounds=3)
        )
        await town.start(workload(folders[1], "rating"), settings=replace(HURRIED, rounds=3))
        await town.all_done()
        (task,) = (t for t in wiretap.tasks.values() if t.ratings.source == settings_file(settings))
        counts = dict(zip(task._keys.tolist(), task._row_counts.tolist(), strict=True))
        sent = {
            int(key)
            for author, delta, _ in wiretap.deltas()
            if author == node.peer_id
            for block in delta.blocks
            if block.table == rating_charter.ITEMS
            for key in block.keys
        }
        assert sent == {key for key, count in counts.items() if count >= 3}
        assert any(0 < count < 3 for count in counts.values())
        assert sent <= set(item_keys(task.ratings.songs, 40).tolist())


def settings_file(settings: dict[str, Any]) -> str:
    return str(settings["data.ratings_file"])


# --- under differential privacy -------------------------------------------------------------------


def private_config(folder: Path, **settings: object) -> Config:
    values = {
        "data.ratings_file": str(folder / "ratings.csv"),
        "data.rating_scale": "0.5-5",
        "training.interval_seconds": 1.0,
        "gossip.heartbeat_seconds": 1.0,
        "privacy.enabled": True,
        "privacy.rounds": 3,
        "training.rounds": ROUNDS + 3,
    }
    return load_config(None, {}, {**values, **settings})


async def test_a_private_node_sends_what_it_paid_for_and_nothing_else_of_its_data(
    wiretap: Wiretap, folders: list[Path], tmp_path: Path, autojump_clock: MockClock
) -> None:
    pytest.importorskip("dp_accounting")
    async with village() as town:
        nodes = []
        for number in range(3):
            config = private_config(folders[number])
            rng = np.random.default_rng(number)
            nodes.append(
                await town.start(
                    load_workload(config),
                    settings=session_settings(config),
                    privacy=PrivacyBudget(config.privacy, tmp_path / f"{number}.state", rng.bytes),
                )
            )
        await town.all_done()
        charter = nodes[0].replica.charter
        check_messages(wiretap, charter.group_id, {node.peer_id for node in nodes})
        songs = load_catalogue(folders[0] / "songs.csv")
        everything = np.unique(item_keys(tuple(songs), 40))
        assert len(everything) > 100
        sent: Counter[PeerId] = Counter()
        for author, delta, _ in wiretap.deltas():
            assert delta.examples == 0
            assert delta.fit is None
            if not delta.blocks:
                continue  # it says no more than that a round is over
            sent[author] += 1
            (block,) = delta.blocks
            assert block.table == rating_charter.ITEMS
            assert (block.evidence == 1).all()
            assert np.isin(block.keys, everything).all()
            if delta.seqno == 1:
                assert np.array_equal(block.keys, everything)
        # Each has published as often as its budget allows, and then gone on without.
        assert sent == {node.peer_id: 3 for node in nodes}
        for _, topic, payload in wiretap.of("gossip"):
            if topic == wire.DIRECTORY_TOPIC:
                issuer, body = RigSealer(PeerId("")).open(
                    wire.CARD_TYPE, wire.decode_directory(payload)
                )
                card = bodies.decode_card(body, issuer)
                assert (card.fit_metric, card.fit_best, card.fit_median) == (None, None, None)
                continue
            message = wire.decode_gossip(payload)
            if isinstance(message, wire.Heartbeat):
                assert (message.examples, message.fit) == (0, None)
                assert all(version.opinion is None for version in message.versions)
        for node in nodes:
            snapshot = node.node.snapshot()
            assert snapshot.validation is not None  # it does measure, for its owner
            assert snapshot.privacy is not None
            assert snapshot.privacy.releases_left == 0
            assert 7.5 < snapshot.privacy.epsilon_spent <= 8
            assert len(node.times("privacy")) == 2
            assert len(node.times("privacy-spent")) == 1
            assert snapshot.round == ROUNDS + 3


async def test_a_node_that_is_not_private_does_tell_such_things(
    wiretap: Wiretap, folders: list[Path], autojump_clock: MockClock
) -> None:
    # The twin: so the test above would see them.
    async with village() as town:
        for number in range(2):
            config = private_config(folders[number], **{"privacy.enabled": False})
            await town.start(load_workload(config), settings=session_settings(config))
        await town.all_done()
        deltas = [delta for _, delta, _ in wiretap.deltas()]
        assert min(delta.examples for delta in deltas) > 0
        assert any(delta.fit is not None for delta in deltas)
        assert any((block.evidence > 1).any() for delta in deltas for block in delta.blocks)


async def test_a_node_that_cannot_be_private_does_not_start(
    folders: list[Path], tmp_path: Path, autojump_clock: MockClock
) -> None:
    pytest.importorskip("dp_accounting")
    config = private_config(folders[0], **{"task.kind": "implicit"})
    async with village() as town:
        node = await town.start(
            load_workload(config),
            settings=session_settings(config),
            privacy=PrivacyBudget(config.privacy, tmp_path / "privacy.state"),
        )
        assert isinstance(node.failed, ConfigError)
        assert "implicit" in str(node.failed)


async def test_a_spent_budget_stops_the_next_start_unless_it_only_follows(
    folders: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("dp_accounting")
    place = Home(tmp_path / "home")
    place.prepare()
    config = private_config(folders[0], **{"network.host": "127.0.0.1", "privacy.rounds": 1})
    path = place.state_file("privacy")
    budget = PrivacyBudget(config.privacy, path)
    task = load_workload(config).task(load_workload(config).found("music"))
    budget.step(task, DenseModel.empty(task.charter))
    with pytest.raises(ConfigError, match=r"budget is spent: epsilon 8 of 8 in 1 rounds"):
        async with open_node(config, place.root, print):
            pytest.fail("it started")
    follower = private_config(
        folders[0],
        **{"network.host": "127.0.0.1", "privacy.rounds": 1, "training.auto_start": False},
    )
    async with open_node(follower, place.root, lambda _: None) as node:
        privacy = node.snapshot().privacy
        assert privacy is not None
        assert privacy.releases_left == 0


async def test_a_private_node_without_the_extra_says_what_to_install(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError, match=r"pip install 'openfl-node\[privacy\]'"):
        async with open_node(private_config(folders[0]), tmp_path / "home", print):
            pytest.fail("it started")
