"""What a shell offers after Tab, and that no text of a stranger is more than letters to it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import PEER_IDS, FakeControl, FakeRuntime, make_snapshot

from openfl.app import home_folder
from openfl.core.errors import NotRunningError
from openfl_cli import completion, main
from tests.process_rig import PATIENCE_SECONDS, environment

EVIL = [
    "$(touch evil)",
    "`touch evil`",
    "a;touch evil",
    "a\ntouch evil",
    "a\x0btouch evil",
    "a|b",
    "a&b",
    "a>evil",
    "a'b",
    'a"b',
    "a\\b",
    "*",
    "a?",
    "[a]",
    "{a,b}",
    "~root",
    "!!",
    "#a",
    "-a",
    "--home=x",
    "a=b",
    "a:b",
    "a%b",
    "a^b",
    " a",
    "a ",
    "a  b",
    "",
    "a\u202eb",
    "a\u200bb",
]


def test_only_names_that_no_shell_reads_anything_into_are_harmless() -> None:
    assert [name for name in EVIL if completion.is_harmless(name)] == []
    good = ["music", "my music", "jazz-2", "hip_hop", "v1.0", "中文", "Música", "a+b"]
    assert [name for name in good if not completion.is_harmless(name)] == []


def group(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "id": f"{number:032x}", "members": 3}


def offered(parser_words: str, prefix: str = "", **given: object) -> list[str]:
    """What the completer of the last word of a command offers."""
    parser = main.build_parser()
    *words, last = parser_words.split()
    for word in words:
        (actions,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = actions.choices[word]
    (action,) = (a for a in parser._actions if last in (a.dest, *a.option_strings))
    completer = completion._completer_of(parser, action)
    assert completer is not None
    arguments = argparse.Namespace(**{"home": None, **given})
    return list(completion._quietly(completer)(prefix, arguments))


def test_groups_of_the_running_node_by_name_or_where_that_is_no_plain_text_by_id(
    control: FakeControl,
) -> None:
    control.answers["groups"] = [group(name, n) for n, name in enumerate(["jazz", *EVIL, "rock"])]
    ids = [f"{n:032x}"[:12] for n in range(1, len(EVIL) + 1)]
    by_id = offered("switch group")
    assert by_id[0] == "jazz"
    assert set(by_id) <= {"jazz", "rock", *ids}
    assert offered("start --group") == ["jazz", "rock"]
    assert offered("switch group", "ro") == ["rock"]


def test_two_groups_of_one_name_are_told_apart_by_their_ids(control: FakeControl) -> None:
    control.answers["groups"] = [
        {"name": "jazz", "id": "a" * 32, "members": 3},
        {"name": "jazz", "id": "b" * 32, "members": 1},
    ]
    assert offered("switch group") == ["a" * 12, "b" * 12]


def test_without_a_node_the_group_it_was_in_is_remembered(
    control: FakeControl, runtime: FakeRuntime
) -> None:
    assert offered("switch group") == []
    runtime.saved = make_snapshot(group_name="jazz")
    assert offered("switch group") == ["jazz"]
    runtime.saved = make_snapshot(group_name="$(reboot)", group_id="c" * 32)
    assert offered("switch group") == ["c" * 12]
    assert offered("start --group") == []


def test_an_answer_that_is_none_offers_nothing(control: FakeControl) -> None:
    for answer in (NotRunningError("x"), [{"name": "a", "id": "b", "members": "many"}], OSError()):
        control.answers["groups"] = answer
        assert offered("switch group") == []


def test_settings_their_values_and_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered("config set key", "network.p") == ["network.port", "network.psk_file"]
    assert offered("config set values", key="log.level") == ["debug", "error", "info", "warning"]
    assert offered("config set values", key="view.enabled") == ["true", "false"]
    assert offered("start --set", "network.por") == ["network.port="]
    assert offered("start --set", "log.format=") == ["log.format=json", "log.format=text"]
    monkeypatch.chdir(tmp_path)
    home_folder.make_peer_id(tmp_path / "zeta")
    (tmp_path / "alpha").mkdir()
    (tmp_path / "file").touch()
    assert offered("start --home") == ["zeta", "alpha/"]
    assert offered("start --home", f"{tmp_path}/z") == [f"{tmp_path}/zeta"]


def test_peers_that_are_none_are_not_offered(control: FakeControl) -> None:
    shot = make_snapshot().to_plain()
    shot["peers"][0]["peer_id"] = "$(reboot)"
    control.answers["snapshot"] = shot
    parser, action = argparse.ArgumentParser(), argparse.Action([], "peer", metavar="PEER")
    completer = completion._completer_of(parser, action)
    assert completer is not None
    assert set(completer("", argparse.Namespace(home=None))) == set(PEER_IDS[:4])


def test_nothing_of_it_is_loaded_otherwise() -> None:
    code = (
        "import sys; from openfl_cli import main; main.run(['--help']);"
        "print(sorted({'argcomplete', 'tomlkit', 'openfl_cli.completion', 'trio', 'numpy'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# --- real shells ----------------------------------------------------------------------------------

ASK = {
    "bash": """\
eval "$(openfl-node completion bash)"
COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9
_python_argcomplete openfl-node
printf '%s\\n' "${COMPREPLY[@]}"
""",
    "zsh": """\
autoload -U compinit && compinit -D
eval "$(openfl-node completion zsh)"
_describe() { print -rl -- "${(@P)2}" }
words=(openfl-node); BUFFER="$1"; CURSOR=${#1}
_python_argcomplete
""",
    "fish": """\
openfl-node completion fish | source
complete -C "$argv[1]"
""",
}


def in_shell(shell: str, folder: Path, line: str, node: str) -> list[str]:
    """What `shell` offers for `line`, where `node` is run in the place of the node's answer."""
    program = folder / "openfl-node"
    (folder / "node.py").write_text(node)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/node.py" "$@"\n')
    program.chmod(0o755)
    (folder / "ask").write_text(ASK[shell])
    done = subprocess.run(
        [shell, str(folder / "ask"), line],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=PATIENCE_SECONDS,
        env=environment() | {"PATH": f"{folder}:{os.environ['PATH']}", "LANG": "C.UTF-8"},
    )
    assert done.returncode in (0, 1), done.stderr
    return [text for text in done.stdout.splitlines() if text]


NODE = f"""\
import sys
from openfl_cli import ask, main
NAMES = ["jazz", "jam session", *{EVIL!r}]
ask.running_node = lambda home, command, **_: [
    {{"name": name, "id": f"{{number:032x}}", "members": 3}} for number, name in enumerate(NAMES)
]
main.main()
"""


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}")
        )
        for name in completion.SHELLS
    ],
)
def test_a_real_shell_offers_groups_and_runs_none_of_their_names(
    shell: str, tmp_path: Path
) -> None:
    # fish escapes what it takes by itself.
    ours = ["jam session" if shell == "fish" else "jam\\ session", "jazz"]
    shown = in_shell(shell, tmp_path, "openfl-node switch ja", NODE)
    assert sorted(text.partition(":")[0].partition("\t")[0] for text in shown) == ours
    every = in_shell(shell, tmp_path, "openfl-node switch ", NODE)
    assert len(every) >= len(ours)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ask", "node.py", "openfl-node"]
    for text in every:
        name = text.partition(":")[0].partition("\t")[0]
        assert name in ours or name.startswith("-") or set(name) <= set("0123456789abcdef")


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_scripts_are_for_this_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert "openfl-node" in shown
    assert "_ARGCOMPLETE" in shown
