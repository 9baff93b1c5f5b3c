"""`doctor`: each planted fault is found by its name, and looking changes nothing."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from openfl.app.doctor import of_machine
from openfl.app.doctor.examine import CHECKS, Check, examine, has_fault
from openfl.app.doctor.finding import Finding, fine
from openfl.app.doctor.probes import Probes, bind_error, room_error
from openfl.app.doctor.subject import Subject, look
from openfl.app.home_folder import make_peer_id
from openfl.core.reach import ReachView, SeenView, VoteView
from openfl.core.telemetry import ItemsView, NodeSnapshot, Notice, ResourcesView
from openfl.storage.home import Home
from openfl.storage.state_files import write_state
from tests.cli.cli_fakes import PEER_IDS, make_snapshot

BY_NAME = {check.name: check for check in CHECKS}
RATINGS = "user_id,song_id,rating\n" + "".join(
    f"u{user},s{song},{1 + (user + song) % 5}\n" for user in range(6) for song in range(8)
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a node that has been started before, in a folder of its own."""
    folder = tmp_path / "nodes" / "home"
    folder.parent.mkdir()
    data = tmp_path / "ratings.csv"
    data.write_text(RATINGS)
    make_peer_id(folder)
    (folder / "config.toml").write_text(
        f'[network]\nhost = "127.0.0.1"\n[data]\nratings_file = "{data}"\n'
    )
    write_state(folder / "state" / "node.state", "node", 1, {"charter": None, "port": 0})
    return folder


def seen_at(home: Path, probes: Probes | None = None, **settings: object) -> Subject:
    overrides = {key.replace("__", ".", 1): value for key, value in settings.items()}
    file = home / "config.toml"
    return look(home, file if file.exists() else None, {}, overrides, probes)


async def found(subject: Subject, *checks: str) -> dict[str, Finding]:
    """kind -> finding, but for what is fine."""
    chosen = [BY_NAME[name] for name in checks] or CHECKS
    findings = await examine(subject, chosen)
    assert {finding.check for finding in findings} == {check.name for check in chosen}
    for finding in findings:
        assert finding.what
    return {finding.kind: finding for finding in findings if finding.severity != "fine"}


def running(subject: Subject, **changes: Any) -> Subject:
    """The same, as if a node ran there that says this of itself."""
    reach = changes.pop("reach", None)
    return replace(subject, running=True, snapshot=make_snapshot(**changes), reach=reach)


def reach_of(**changes: Any) -> ReachView:
    usual: dict[str, Any] = {
        "listening": ("/ip4/0.0.0.0/tcp/4001",),
        "multiaddrs": (f"/ip4/192.168.1.7/tcp/4001/p2p/{PEER_IDS[0]}",),
        "mode": "auto",
        "private": None,
        "votes": (),
        "circuits": (),
        "forwarded": (),
    }
    return ReachView(**{**usual, **changes})


# --- nothing is wrong, and nothing changes --------------------------------------------------------


def picture(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything that a look could have changed."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {
        str(path): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in paths
    }


async def test_a_healthy_stopped_node_has_no_finding_and_is_left_as_it_was(home: Path) -> None:
    before = picture(home.parent)
    assert await found(seen_at(home)) == {}
    assert picture(home.parent) == before


async def test_where_no_node_is_yet_that_is_said_and_none_is_made(tmp_path: Path) -> None:
    told = await found(seen_at(tmp_path / "none"))
    assert set(told) == {"home-missing", "data-none"}
    assert not has_fault(told.values())
    assert os.listdir(tmp_path) == []


async def test_damaged_files_stay_where_they_are(home: Path) -> None:
    for name in ("node", "last", "labels"):
        (home / "state" / f"{name}.state").write_bytes(b"OpenFL state\nnonsense")
    (home / "peers.json").write_text("{")
    before = picture(home)
    told = await found(seen_at(home), "state")
    assert set(told) == {"state-damaged"}
    assert picture(home) == before


# --- planted faults -------------------------------------------------------------------------------


async def test_every_problem_of_the_configuration_is_found(home: Path) -> None:
    (home / "config.toml").write_text("[training]\nround = 3\ninterval_seconds = -1\n[netwrk]\n")
    findings = await examine(seen_at(home), [BY_NAME["config"]])
    assert sorted(f.kind for f in findings) == ["config-unknown", "config-unknown", "config-wrong"]
    assert all(str(home / "config.toml") in f.where for f in findings)
    assert any("did you mean training.rounds" in f.what for f in findings)


Plant = Callable[[Path], None]


def _data(content: bytes | None) -> Plant:
    def plant(home: Path) -> None:
        file = home.parents[1] / "ratings.csv"
        file.unlink()
        if content is not None:
            file.write_bytes(content)

    return plant


def _fifo(home: Path) -> None:
    file = home.parents[1] / "ratings.csv"
    file.unlink()
    os.mkfifo(file)


def _chmod(name: str, mode: int) -> Plant:
    def plant(home: Path) -> None:
        file = home / name
        if not file.exists():
            file.write_text("x" * 43)
        file.chmod(mode)

    return plant


def _copy(home: Path) -> None:
    shutil.copytree(home, home.with_name("copy"))


def _write(name: str, content: bytes) -> Plant:
    def plant(home: Path) -> None:
        (home / name).write_bytes(content)
        (home / name).chmod(0o600)

    return plant


@pytest.mark.parametrize(
    ("check", "kind", "severity", "plant"),
    [
        ("data", "data-missing", "fault", _data(None)),
        ("data", "data-unreadable", "fault", _fifo),
        ("data", "data-bad-rows", "fault", _data(RATINGS.encode() + b"ann,one,great\n")),
        ("data", "data-encoding", "fault", _data(RATINGS.encode() + b"ann,caf\xe9,4\n")),
        ("data", "data-unusable", "fault", _data(b"")),
        ("data", "data-little", "warning", _data(b"user_id,song_id,rating\na,x,4\na,y,3\n")),
        ("home", "identity-readable", "fault", _chmod("identity.key", 0o644)),
        ("home", "token-readable", "fault", _chmod("players.token", 0o640)),
        ("home", "home-open", "fault", lambda home: home.chmod(0o777)),
        ("home", "home-moved", "fault", _write("moved.json", b"{}")),
        ("identity", "identity-damaged", "fault", _write("identity.key", b"nonsense")),
        ("identity", "identity-twice", "warning", _copy),
        ("state", "state-damaged", "fault", _write("state/last.state", b"torn")),
        ("state", "state-damaged", "fault", _write("peers.json", b"[1")),
        ("state", "model-damaged", "fault", _write("model.safetensors", b"no model")),
        ("state", "state-set-aside", "warning", _write("state/node.state.corrupt-2026", b"")),
    ],
)
async def test_what_is_planted_on_disk_is_found(
    home: Path, check: str, kind: str, severity: str, plant: Plant
) -> None:
    assert await found(seen_at(home), check) == {}
    plant(home)
    told = await found(seen_at(home), check)
    assert {name: finding.severity for name, finding in told.items()} == {kind: severity}
    assert told[kind].do or kind.endswith("unreadable")


async def test_a_home_that_runs_twice_is_a_fault(home: Path) -> None:
    _copy(home)
    copy = Home(home.with_name("copy"))
    with copy.lock():
        told = await found(seen_at(home), "identity")
    assert told["identity-twice"].severity == "fault"
    assert told["identity-twice"].where == str(copy.root)


async def test_a_node_that_holds_its_home_and_does_not_answer_is_found(home: Path) -> None:
    with Home(home).lock():
        told = await found(seen_at(home), "identity")
    assert told["node-hangs"].severity == "fault"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-quota"),
        (errno.EROFS, "disk-read-only"),
        (errno.EACCES, "disk-no-permission"),
    ],
)
async def test_a_disk_that_takes_no_save_is_found(home: Path, code: int, kind: str) -> None:
    def refuse(folder: Path, size: int) -> OSError:
        return OSError(code, os.strerror(code))

    told = await found(seen_at(home, Probes(room_error=refuse)), "disk")
    assert {k: f.severity for k, f in told.items()} == {kind: "fault"}


async def test_a_disk_with_little_room_is_found(home: Path) -> None:
    told = await found(seen_at(home, Probes(free_bytes=lambda folder: 5_000_000)), "disk")
    assert {k: f.severity for k, f in told.items()} == {"disk-low": "warning"}


def test_room_is_found_out_without_a_trace(tmp_path: Path) -> None:
    before = picture(tmp_path)
    assert room_error(tmp_path, 4096) is None
    assert picture(tmp_path) == before
    missing = room_error(tmp_path / "none", 4096)
    assert missing is not None
    memory = Path("/dev/shm")
    told = os.statvfs(memory)
    full = room_error(memory, (told.f_blocks + 1024) * told.f_frsize)
    assert full is not None
    assert full.errno == errno.ENOSPC


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_port_that_another_program_has_is_found(home: Path, taken: int) -> None:
    told = await found(seen_at(home, network__port=taken), "port")
    assert {k: f.severity for k, f in told.items()} == {"port-taken": "fault"}
    assert str(taken) in told["port-taken"].where
    # The port of the last run is only preferred.
    write_state(home / "state" / "node.state", "node", 1, {"charter": None, "port": taken})
    told = await found(seen_at(home), "port")
    assert {k: f.severity for k, f in told.items()} == {"port-taken": "warning"}
    write_state(home / "state" / "node.state", "node", 1, {"charter": None, "port": 0})
    told = await found(seen_at(home, http__listen=f"127.0.0.1:{taken}"), "port")
    assert told["port-taken"].severity == "fault"
    assert "http.listen" in told["port-taken"].do


async def test_a_privileged_port_and_an_address_of_another_machine_are_found(home: Path) -> None:
    def refuse(host: str, port: int) -> OSError | None:
        return OSError(errno.EACCES, "no") if port < 1024 else bind_error(host, port)

    told = await found(seen_at(home, Probes(bind_error=refuse), network__port=443), "port")
    assert set(told) == {"port-privileged"}
    told = await found(seen_at(home, network__host="192.0.2.1"), "port")
    assert set(told) == {"address-not-here"}


class Clocks:
    """Two clocks that go on by themselves while somebody waits."""

    def __init__(self, wall: float, steady: float, now: float | None = None) -> None:
        self.now = time.time() if now is None else now
        self.tick = 0.0
        self._wall, self._steady = wall, steady

    @property
    def probes(self) -> Probes:
        return Probes(unix_time=self.unix_time, monotonic=self.monotonic, pause=self.pause)

    def pause(self, seconds: float) -> None:
        self.now += self._wall
        self.tick += self._steady

    def unix_time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.tick


@pytest.mark.parametrize(
    ("clocks", "kind"),
    [
        (Clocks(7200.25, 0.25), "clock-jumps"),
        (Clocks(-30.0, 0.25), "clock-jumps"),
        (Clocks(0.25, 0.0), "clock-not-monotonic"),
        (Clocks(0.25, 0.25, now=1_000_000.0), "clock-wrong"),
        (Clocks(0.25, 0.25, now=1_760_000_000.0), "clock-set-back"),
    ],
)
async def test_a_clock_that_goes_wrong_is_found(home: Path, clocks: Clocks, kind: str) -> None:
    assert kind in await found(seen_at(home, clocks.probes), "clock")


async def test_a_clock_that_differs_from_those_of_peers_is_found(home: Path) -> None:
    one_liar = {"a": 0.2, "b": -1.0, "c": 90_000.0}
    told = await found(running(seen_at(home), reach=reach_of(clocks=one_liar)), "clock")
    assert told == {}
    behind = {"a": 4000.0, "b": 4001.0, "c": 90_000.0}
    told = await found(running(seen_at(home), reach=reach_of(clocks=behind)), "clock")
    assert set(told) == {"clock-differs"}
    assert "4,001 s behind" in told["clock-differs"].what
    assert "DHT" in told["clock-differs"].what


async def test_limits_that_are_too_low_are_found(home: Path) -> None:
    few = Probes(open_files_limit=lambda: 100, memory_left=lambda: 50_000_000)
    told = await found(seen_at(home, few), "limits")
    assert {k: f.severity for k, f in told.items()} == {
        "open-files-few": "fault",
        "memory-little": "fault",
    }
    held = ResourcesView(121_000_000, 250, 3, 61, 3, 12)
    used = seen_at(home, Probes(open_files_limit=lambda: 256, memory_left=lambda: 10**9))
    assert set(await found(running(used, resources=held), "limits")) == {"open-files-used"}


async def test_other_versions_are_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["libp2p==0.0.1", "trio>=0.27", "openfl-none>=1", 'matplotlib>=99; extra == "plot"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    monkeypatch.setattr(of_machine, "LATEST_PYTHON", (3, 10))
    seen = (
        SeenView(PEER_IDS[1], "", "py-libp2p", ("/openfl/groups/2",)),
        SeenView(PEER_IDS[2], "", "py-libp2p", ("/openfl/groups/1", "/openfl/groups/2")),
        SeenView(PEER_IDS[3], "", "js-libp2p", ()),
    )
    told = await found(running(seen_at(home), reach=reach_of(seen=seen)), "versions")
    assert {k: f.severity for k, f in told.items()} == {
        "package-other": "fault",
        "package-missing": "fault",
        "python-untested": "warning",
        "peers-other-version": "warning",
    }
    assert "1 of 3" in told["peers-other-version"].what
    assert "libp2p" in told["package-other"].what


async def test_songs_that_the_group_does_not_know_are_found(home: Path) -> None:
    def with_items(known: int) -> Subject:
        return running(seen_at(home), items=ItemsView("songs", 300, known, 301))

    assert (await found(with_items(0), "songs"))["songs-unknown"].severity == "fault"
    assert (await found(with_items(20), "songs"))["songs-few-known"].severity == "warning"
    assert await found(with_items(200), "songs") == {}


async def test_what_a_running_node_tells_of_itself_is_found(home: Path) -> None:
    notices = (
        Notice("duplicate-identity", "another node has the identity of this one"),
        Notice("interval-lengthened", "interval 2.0 -> 5.1 s: the processor is the limit"),
    )
    told = await found(running(seen_at(home), notices=notices), "notices")
    assert {k: f.severity for k, f in told.items()} == {
        "duplicate-identity": "fault",
        "interval-lengthened": "warning",
    }


async def test_a_node_that_nobody_can_dial_is_found(home: Path) -> None:
    votes = (VoteView(PEER_IDS[1], False, 3.0), VoteView(PEER_IDS[2], False, 9.0))
    alone = running(seen_at(home), reach=reach_of(private=True, votes=votes))
    told = await found(alone, "reach")
    assert set(told) == {"nobody-can-dial"}
    assert "2 of 2 peers tried" in told["nobody-can-dial"].what
    assert "router" in told["nobody-can-dial"].do
    public = (f"/ip4/203.0.114.7/tcp/4001/p2p/{PEER_IDS[0]}",)
    walled = running(seen_at(home), reach=reach_of(private=True, votes=votes, multiaddrs=public))
    assert "firewall" in (await found(walled, "reach"))["nobody-can-dial"].do
    circuit = f"/ip4/203.0.114.9/tcp/4001/p2p/{PEER_IDS[5]}/p2p-circuit"
    relayed = running(seen_at(home), reach=reach_of(private=True, votes=votes, circuits=(circuit,)))
    assert await found(relayed, "reach") == {}


async def test_a_node_that_listens_for_its_own_machine_alone_is_found(home: Path) -> None:
    elsewhere = (f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER_IDS[1]}",)
    told = await found(seen_at(home, network__bootstrap=elsewhere), "reach")
    assert set(told) == {"only-this-machine"}
    here = (f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER_IDS[1]}",)
    assert await found(seen_at(home, network__bootstrap=here), "reach") == {}


# --- one check does not hold up the others --------------------------------------------------------


async def test_a_check_that_hangs_or_fails_holds_up_no_other(home: Path) -> None:
    stop = trio.Event()
    over = [False]

    def hang(subject: Subject) -> list[Finding]:
        while not over[0]:
            time.sleep(0.01)
        return []

    def fail(subject: Subject) -> list[Finding]:
        raise ZeroDivisionError("a bug")

    async def dial(subject: Subject) -> list[Finding]:
        await stop.wait()
        return []

    checks = [
        Check("hangs", hang, seconds=0.05),
        Check("dials", dial=dial, seconds=0.05),
        Check("fails", fail),
        Check("looks", lambda subject: [fine("all is well")]),
    ]
    try:
        told = await examine(seen_at(home), checks)
    finally:
        over[0] = True
    assert [(f.check, f.kind) for f in told] == [
        ("hangs", "timed-out"),
        ("dials", "timed-out"),
        ("fails", "check-failed"),
        ("looks", "fine"),
    ]


def test_a_view_of_the_network_comes_back_from_json_as_it_was() -> None:
    view = reach_of(
        private=False,
        votes=(VoteView(PEER_IDS[1], True, 3.5),),
        seen=(SeenView(PEER_IDS[2], "/ip4/192.0.2.1/tcp/1", "x", ("/openfl/groups/1",)),),
        clocks={PEER_IDS[1]: 0.5},
    )
    assert ReachView.from_plain(json.loads(json.dumps(view.to_plain()))) == view


def test_what_a_report_takes_of_a_snapshot_is_there() -> None:
    from openfl.app.doctor.bugreport import _PLAIN

    kinds: Mapping[str, Any] = NodeSnapshot.__dataclass_fields__
    assert [name for name in _PLAIN if name not in kinds] == []
