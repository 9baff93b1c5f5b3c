"""The page's endpoint of a real node: where it is, what it tells, and what survives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from openfl import __version__
from openfl.app import node_endpoint
from openfl.app.control_socket import call
from openfl.app.http import serving
from openfl.app.http.serving import Endpoint
from openfl.app.offline import offline_course
from openfl.app.open_node import open_node
from openfl.config import Config, load_config
from openfl.core.errors import ConfigError, StateError
from openfl.core.telemetry import NodeEvent
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.loopback.test_web import client
from tests.situation import until_seen, within


def configured(home: Path, **more: Any) -> Config:
    usual = {
        "data.ratings_file": str(home / "ratings.csv"),
        "network.listen": ("/ip4/127.0.0.1/tcp/0",),
        "training.rounds": 2,
        "training.interval_seconds": 0.05,
        "training.alone_rounds": 2,
        "training.when_done": "serve",
    }
    return load_config(None, {}, {**usual, **more})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    deal(sample_folder(), [folder, tmp_path], seed=5)
    return folder


async def test_a_node_that_runs_is_asked_for_its_page_and_its_course_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "USUAL_PORTS", (0,))  # nobody else wants it meanwhile
    events: list[NodeEvent] = []

    def told(kind: str) -> list[NodeEvent]:
        return [event for event in events if event.kind == kind]

    with within():
        async with open_node(configured(home), home, events.append) as node:
            await node.wait_done()
            assert not told("web-listening")
            where = await trio.to_thread.run_sync(call, home, "web")
            again = await trio.to_thread.run_sync(call, home, "web")
            assert where == again
            (listening,) = told("web-listening")
            assert listening.data == where
            at = Endpoint(where["url"], Path(where["token_file"]))
            token = at.token_file.read_text().strip()
            assert token not in f"{listening.message}{listening.data}"
            async with client(at, token) as ask:
                page = (await ask.get("/api/page")).json()
                assert (page["format"], page["kind"], page["version"]) == (1, "node", __version__)
                assert page["snapshot"]["peer_id"] == node.network.peer_id
                assert len(page["recommendations"]["items"]) == 10
                (group,) = page["groups"]
                assert group["mine"]
                rounds = [point["round"] for point in page["course"]["points"]]
                assert rounds == [1, 2]
                assert page["course"]["points"][-1]["group"] == group["name"]
                (joined,) = page["course"]["moves"]
                assert (joined["from"], joined["to"]) == (None, group["name"])
                assert joined["action"] == "joined"
                assert page["course"] == (await ask.get("/api/course")).json()
                assert f"openfl_round {2}" in (await ask.get("/metrics")).text
        assert offline_course(home)["points"][-1]["round"] == 2
        events.clear()
        more = {"training.rounds": 3, "http.web": True}
        async with open_node(configured(home, **more), home, events.append) as node:
            await until_seen(lambda: node.course.last is not None and node.course.last.round == 3)
            (listening,) = told("web-listening")
            assert listening.data == where, "the port is kept, and so is the token"
            assert [point.round for point in node.course.points] == [1, 2, 3]
            assert len(node.course.moves) == 1
            sent = [point.bytes_sent for point in node.course.points]
            assert sent == sorted(sent)


async def test_what_keeps_the_page_from_opening_is_told_to_who_asks_and_the_node_goes_on(
    home: Path,
) -> None:
    nothing = {"http.cert_file": str(home / "none.pem"), "http.key_file": str(home / "none.pem")}
    with within():
        async with open_node(configured(home, **nothing), home, lambda event: None) as node:
            await node.wait_done()
            for _ in range(2):
                with pytest.raises(ConfigError, match=r"none\.pem .*cannot be used"):
                    await trio.to_thread.run_sync(call, home, "web")
            assert node.snapshot().phase == "done"


async def test_a_disk_that_does_not_keep_the_port_keeps_nobody_from_the_page(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: Path, *content: object) -> None:
        raise StateError(f"{file}: cannot be saved: no space left on the device")

    monkeypatch.setattr(serving, "USUAL_PORTS", (0,))
    monkeypatch.setattr(node_endpoint, "write_state", full)
    with within():
        async with open_node(configured(home), home, lambda event: None):
            where = await trio.to_thread.run_sync(call, home, "web")
            at = Endpoint(where["url"], Path(where["token_file"]))
            async with client(at, at.token_file.read_text().strip()) as ask:
                assert (await ask.get("/api/course")).status_code == 200
    assert "no space left" in caplog.text
