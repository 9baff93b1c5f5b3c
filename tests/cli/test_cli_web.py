"""`openfl-node web`, and the options of `start` that open the page."""

from __future__ import annotations

import argparse
import json
import stat
import webbrowser
from pathlib import Path

import pytest
from cli_fakes import FakeControl

from openfl.core.errors import UsageError
from openfl_cli import exit_codes, main, page_link
from openfl_cli.commands import start

TOKEN = "t" * 40 + "&<"


@pytest.fixture
def home(tmp_path: Path, control: FakeControl, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENFL_HOME", str(tmp_path))
    token_file = tmp_path / "players.token"
    token_file.write_text(f"{TOKEN}\n")
    token_file.chmod(0o600)
    control.answers = {"web": {"url": "http://127.0.0.1:8010", "token_file": str(token_file)}}
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    links: list[str] = []

    def fake(url: str) -> bool:
        links.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", fake)
    return links


LINK = "http://127.0.0.1:8010/#token=" + "t" * 40 + "%26%3C"


def test_it_prints_the_link_and_opens_nothing_where_nobody_would_see_it(
    home: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["web"]) == exit_codes.SUCCESS
    assert capsys.readouterr().out == f"{LINK}\n"
    assert opened == []
    assert main.run(["web", "--json"]) == exit_codes.SUCCESS
    assert json.loads(capsys.readouterr().out) == {
        "url": "http://127.0.0.1:8010",
        "link": LINK,
        "token_file": str(home / "players.token"),
    }
    assert opened == []


def test_a_browser_is_given_a_file_and_no_command_line_the_token(
    home: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["web", "--open"]) == exit_codes.SUCCESS
    assert opened == [(home / "page.html").as_uri()]
    page = home / "page.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert LINK in page.read_text()
    assert "no browser" not in capsys.readouterr().err


def test_without_a_browser_it_says_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert main.run(["web", "--open"]) == exit_codes.SUCCESS
    told = capsys.readouterr()
    assert told.out == f"{LINK}\n"
    assert "copy the link" in told.err


def test_no_token_is_made_that_the_running_node_would_not_take(
    home: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "players.token").unlink()
    assert main.run(["web", "--open"]) == exit_codes.STATE
    told = capsys.readouterr()
    assert "restart the node" in told.err
    assert (told.out, opened) == ("", [])
    assert not (home / "players.token").exists()


def test_without_a_node_it_is_one_line(
    tmp_path: Path, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["web", "--home", str(tmp_path)]) == exit_codes.NOT_RUNNING
    assert "no node is running" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "a b c d"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/ttys001"}, "darwin", False),
    ],
)
def test_a_browser_is_opened_on_desktops_only(
    environ: dict[str, str], platform: str, expected: bool
) -> None:
    assert page_link.has_desktop(environ, platform) is expected


def options_of(*argv: str) -> argparse.Namespace:
    return main.build_parser().parse_args(["start", *argv])


@pytest.mark.parametrize(
    ("argv", "web", "listen"),
    [
        ((), None, None),
        (("--web",), True, None),
        (("--web", "127.0.0.1:9000"), True, "127.0.0.1:9000"),
        (("--http", "127.0.0.1:9000"), None, "127.0.0.1:9000"),
        (("--web", "--http", "127.0.0.1:9000"), True, "127.0.0.1:9000"),
        (("--web", "127.0.0.1:9000", "--http", "127.0.0.1:9000"), True, "127.0.0.1:9000"),
    ],
)
def test_web_and_http_are_one_address(
    argv: tuple[str, ...], web: bool | None, listen: str | None
) -> None:
    found = start.overrides(options_of(*argv))
    assert (found.get("http.web"), found.get("http.listen")) == (web, listen)


def test_two_addresses_are_one_too_many(tmp_path: Path) -> None:
    argv = ["--home", str(tmp_path), "--web", "127.0.0.1:1", "--http", "127.0.0.1:2"]
    with pytest.raises(UsageError, match="one address"):
        start.run(options_of(*argv))
