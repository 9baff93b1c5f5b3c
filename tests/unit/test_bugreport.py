"""A bug report holds nothing that is secret or that says whose it is, in any form."""

from __future__ import annotations

import base64
import json
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openfl.app.doctor.bugreport import INSIDE, log_lines, make_report, write_report
from openfl.app.doctor.examine import CHECKS, examine
from openfl.app.doctor.redact import Redactor
from openfl.app.doctor.subject import Subject, look
from openfl.app.home_folder import make_peer_id, write_network_key
from openfl.core.errors import StateError, UsageError
from openfl.core.reach import ReachView, SeenView
from openfl.core.telemetry import DecisionView, NodeEvent, PeerView, SwitchingView
from openfl.network.libp2p.envelope import identity_from_seed, peer_id_of
from tests.cli.cli_fakes import make_snapshot

PEER_IDS = tuple(peer_id_of(identity_from_seed(bytes([n]) * 32)) for n in range(1, 11))
USER, SONG, GROUP = "annabel-lee", "Nevermore (Live at Usher)", "Rue Morgue Listeners"
TOKEN = "pq3J0xYb7ZtV1nKfW8sLr2mHd5uQeA9cGiTvBoEyXzS"
INVITATION = base64.b64encode(bytes(range(150))).decode()
PUBLIC_IP, LAN_IP, IPV6 = "203.0.114.77", "192.168.178.23", "2001:db9:7::beef"


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a person, the only place whose paths name them."""
    folder = tmp_path / "edgar-allan"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("LOGNAME", "edgar-allan")
    monkeypatch.setattr("socket.gethostname", lambda: "raven-nest.example.org")
    return folder


@pytest.fixture
def home(owner: Path) -> Path:
    folder = owner / "nodes" / "secret-project"
    make_peer_id(folder)
    data = owner / "Documents" / "my-ratings-2025.csv"
    data.parent.mkdir()
    rows = "".join(f"{USER},{SONG} {n},{1 + n % 5}\n" for n in range(30))
    data.write_text(f"user_id,song_id,rating\n{rows}{USER},{SONG},splendid\n")
    write_network_key(owner / "swarm.key")
    (owner / "guest.invitation").write_text(f"openfl-invitation-1 {INVITATION}\n")
    (folder / "players.token").write_text(TOKEN + "\n")
    (folder / "players.token").chmod(0o600)
    (folder / "diary of edgar.txt").write_text("nothing for others")
    settings = {
        "network.psk_file": str(owner / "swarm.key"),
        "network.deny_peers": [PEER_IDS[9]],
        "group.name": GROUP,
        "group.invitation_files": [str(owner / "guest.invitation")],
        "data.ratings_file": str(data),
        "recommend.user": USER,
    }
    lines = [f"{key.partition('.')[2]} = {json.dumps(value)}" for key, value in settings.items()]
    sections = [f"[{key.partition('.')[0]}]" for key in settings]
    toml: dict[str, list[str]] = {}
    for section, line in zip(sections, lines, strict=True):
        toml.setdefault(section, []).append(line)
    (folder / "config.toml").write_text("\n".join("\n".join([s, *ls]) for s, ls in toml.items()))
    (folder / "node.log").write_text("\n".join(_log(folder, data)) + "\n")
    return folder


def _log(home: Path, data: Path) -> list[str]:
    at = "2026-11-28 20:17:19,123"
    return [
        f"{at} INFO openfl.node listening: listening on /ip4/{LAN_IP}/tcp/41001/p2p/{PEER_IDS[0]}",
        f"{at} INFO openfl.node peer-connected: connected to peer ..{PEER_IDS[3][-6:]}",
        f"{at} WARNING openfl.node unreachable: /dns4/tell-tale-heart.example.org/tcp/1: refused",
        f"{at} INFO openfl.node data: 30 ratings of user {USER} from {data}",
        f"{at} INFO openfl.node joined: joined {GROUP}, 3 members",
        f'{at} INFO openfl.node round: round 3: RMSE 0.8123\t{{"round": 3, "of": "{USER}"}}',
        f'{at} INFO openfl.node recommendations: for {USER}\t{{"items": ["{SONG}"]}}',
        f'{at} INFO openfl.node joined: joined {GROUP}\t{{"group": "{GROUP}", "members": 3}}',
        f"{at} DEBUG openfl.network connected {PEER_IDS[3]} at {PUBLIC_IP}:4001 [{IPV6}]",
        f"{at} ERROR openfl.app cannot open {home}/state/node.state for {TOKEN}",
        f"{at} ERROR libp2p.x invitation {INVITATION} of '{SONG}' by \"{USER}\"",
        "Traceback (most recent call last):",
        f'  File "{home.parents[1]}/.venv/lib/python3.11/site-packages/openfl/x.py", line 3, in f',
        f"OSError: no such file: {home.parents[1]}/Music/usher/take 1.mp3 on raven-nest",
    ]


def secrets_of(home: Path) -> list[bytes]:
    owner = home.parents[1]
    key = (home / "identity.key").read_bytes()
    psk = (owner / "swarm.key").read_text().split()[-1]
    texts = [
        *(USER, "Nevermore", "Usher", "usher", "splendid", "Morgue", TOKEN, INVITATION, psk),
        *(key.hex(), base64.b64encode(key).decode().rstrip("="), str(owner), "edgar", "raven"),
        *("secret-project", "my-ratings", "Documents", "diary", "tell-tale", "swarm.key"),
        *(PUBLIC_IP, LAN_IP, IPV6, *PEER_IDS[:12], PEER_IDS[3][-6:]),
    ]
    return [key, *(text.encode() for text in texts)]


def subject_of(home: Path) -> Subject:
    shot = make_snapshot(
        home=str(home),
        group_name=GROUP,
        multiaddrs=(f"/ip4/{LAN_IP}/tcp/41001/p2p/{PEER_IDS[0]}",),
        peers=(
            PeerView(PEER_IDS[3], (f"/ip4/{PUBLIC_IP}/tcp/4001",), (GROUP,), True),
            PeerView(PEER_IDS[4], (f"/ip6/{IPV6}/tcp/4001",), ("Usher",), False),
        ),
        switching=SwitchingView(decisions=(DecisionView(1.0, "stay", f"stayed in {GROUP}"),)),
    )
    told = NodeEvent(1.0, "info", "data", f"{USER} has {SONG}", {"users": 1, "of": USER})
    members = zip(shot.members, PEER_IDS, strict=False)
    named = tuple(replace(member, peer_id=peer) for member, peer in members)
    shot = replace(shot, events=(told,), members=named, peer_id=PEER_IDS[0])
    reach = ReachView(
        listening=(f"/ip4/{LAN_IP}/tcp/41001",),
        multiaddrs=shot.multiaddrs,
        mode="auto",
        private=False,
        votes=(),
        circuits=(),
        forwarded=(),
        seen=(SeenView(PEER_IDS[3], f"/ip4/{PUBLIC_IP}/tcp/9", "py-libp2p/0.8.1", ()),),
        clocks={PEER_IDS[3]: 0.25},
    )
    subject = look(home, home / "config.toml", {}, {})
    assert subject.config_problems == ()
    return replace(subject, running=True, snapshot=shot, reach=reach)


def members_of(archive: Path) -> dict[str, bytes]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    with tarfile.open(archive) as opened:
        found = {}
        for member in opened.getmembers():
            stream = opened.extractfile(member)
            assert stream is not None
            assert (member.uname, member.gname, member.uid) == ("", "", 0)
            found[member.name] = stream.read()
        return found


@pytest.mark.parametrize("name", ["report.tar.gz", "report.zip"])
async def test_no_planted_secret_is_in_any_member_of_a_report(
    home: Path, tmp_path: Path, name: str
) -> None:
    subject = subject_of(home)
    checks = [check for check in CHECKS if check.name not in ("bootstrap",)]
    findings = await examine(subject, checks)
    assert "data-bad-rows" in {finding.kind for finding in findings}
    archive = tmp_path / name
    write_report(make_report(subject, findings), archive)
    assert archive.stat().st_mode & 0o077 == 0
    members = members_of(archive)
    assert set(members) == {f"openfl-bugreport/{each}" for each in (*INSIDE, "README.txt")}
    for member, content in {**members, "itself": archive.read_bytes()}.items():
        assert [each for each in secrets_of(home) if each in content] == [], member


async def test_a_report_still_says_what_went_wrong(home: Path) -> None:
    subject = subject_of(home)
    members = make_report(subject, await examine(subject, CHECKS[:6])).members
    shot = json.loads(members["snapshot.json"])
    assert (shot["round"], shot["phase"], shot["running"]) == (7, "learning", True)
    assert shot["events"] == [{"time": 1.0, "level": "info", "kind": "data", "data": {"users": 1}}]
    # The same peer has the same stand-in everywhere.
    peer = shot["peers"][0]["peer"]
    assert shot["members"][3]["peer"] == peer
    assert json.loads(members["reach.json"])["clocks"] == {peer: 0.25}
    log = members["node.log"].decode()
    assert f"connected {peer} at public-ip-1:4001" in log
    assert f"peer-connected: connected to peer {peer}" in log
    assert 'round: round 3: RMSE 0.8123\t{"round": 3}' in log
    assert "data: (left out: may hold names)" in log
    assert "<python>/site-packages/openfl/x.py" in log
    assert "cannot open <home>/state/node.state" in log
    config = json.loads(members["config.json"])
    assert config["network.psk_file"] == {"value": "<set>", "from": "file"}
    kinds = {finding["kind"] for finding in json.loads(members["doctor.json"])}
    assert "data-bad-rows" in kinds
    names = {entry.get("name") for entry in json.loads(members["home.json"])}
    assert {"identity.key", "players.token", "(another.txt)"} <= names
    versions: dict[str, Any] = json.loads(members["versions.json"])["versions"]
    assert versions["libp2p"] == "0.8.1"


def test_no_report_is_written_when_a_secret_would_be_in_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "openfl.app.doctor.bugreport._versions", lambda: {"a bug of ours wrote": TOKEN}
    )
    with pytest.raises(StateError, match="secret"):
        make_report(subject_of(home), ())


def test_of_a_log_longer_than_is_read_no_part_of_a_line_is_in_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its beginning a line would be taken for one of a library."""
    log = home / "node.log"
    whole = "2026-11-28 20:17:19,123 INFO openfl.node round: round 3\n"
    log.write_text(
        f"2026-11-28 20:17:19,123 INFO openfl.node recommendations: {SONG} {SONG}\n{whole}"
    )
    monkeypatch.setattr("openfl.app.doctor.bugreport.LOG_BYTES", len(whole) + len(SONG) + 1)
    told = make_report(subject_of(home), ()).members["node.log"].decode()
    assert "round 3" in told
    assert "Nevermore" not in told


def test_a_report_is_written_where_the_clock_was_never_set(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = make_report(subject_of(home), ())
    monkeypatch.setattr("time.localtime", lambda *_: time.gmtime(3600))
    wanted = {f"openfl-bugreport/{name}": content for name, content in report.members.items()}
    for name in ("report.zip", "report.tgz"):
        write_report(report, tmp_path / name)
        assert members_of(tmp_path / name) == wanted


def test_a_report_replaces_no_file_and_has_a_known_name(home: Path, tmp_path: Path) -> None:
    report = make_report(subject_of(home), ())
    there = tmp_path / "there.zip"
    there.write_text("mine")
    with pytest.raises(StateError, match="exists"):
        write_report(report, there)
    assert there.read_text() == "mine"
    with pytest.raises(UsageError, match=r"\.tar\.gz or a \.zip"):
        write_report(report, tmp_path / "report.doc")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"),
        ("/openfl/groups/1 of /ipfs/ping/1.0.0", "/openfl/groups/1 of /ipfs/ping/1.0.0"),
        ("/ip4/203.0.114.1/tcp/1 203.0.114.1", "/ip4/public-ip-1/tcp/1 public-ip-1"),
        ("at 20:17:19, version 1.2.3", "at 20:17:19, version 1.2.3"),
        ("fe80::1 and ::1", "private-ip-1 and ::1"),
        ("read /srv/music/edgar/all.csv", "read <path-1.csv>"),
        ("it's the peer's own", "it's the peer's own"),
        ("ann and annotation", "<owner> and annotation"),
        ("group 0123456789abcdef0123456789abcdef", "group digest-1"),
    ],
)
def test_what_is_replaced_and_what_stays(text: str, redacted: str) -> None:
    assert Redactor([("ann", "<owner>")]).text(text) == redacted


def test_lines_of_a_log_that_are_no_records_are_redacted_too() -> None:
    lines = list(log_lines(["nonsense 203.0.114.1", ""], Redactor()))
    assert lines == ["nonsense public-ip-1", ""]
