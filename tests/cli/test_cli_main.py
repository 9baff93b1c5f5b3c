"""The front door: help, --home before and after, errors as one line, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeControl

from openfl.core import errors
from openfl_cli import exit_codes, main
from openfl_cli.commands import COMMANDS, GROUPS
from openfl_cli.options import home_folder
from tests.patience import PATIENCE_SECONDS


def home_of(*argv: str) -> Path:
    return home_folder(main.build_parser().parse_args(argv))


def test_home_is_taken_before_and_after_the_command_and_the_later_wins(tmp_path: Path) -> None:
    assert home_of("--home", f"{tmp_path}/a", "status") == tmp_path / "a"
    assert home_of("status", "--home", f"{tmp_path}/b") == tmp_path / "b"
    assert home_of("--home", f"{tmp_path}/a", "status", "--home", f"{tmp_path}/b") == tmp_path / "b"


def test_home_is_taken_in_every_place_of_config_show(tmp_path: Path) -> None:
    for argv in (
        ["--home", str(tmp_path), "config", "show"],
        ["config", "--home", str(tmp_path), "show"],
        ["config", "show", "--home", str(tmp_path)],
    ):
        assert home_of(*argv) == tmp_path


def test_without_home_the_environment_says_it_and_without_that_the_platform(
    monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    assert home_of("status") == clean_environment
    monkeypatch.delenv("OPENFL_HOME")
    assert home_of("status").name == "openfl-node"


def test_a_tilde_in_home_is_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert home_of("--home", "~/nodes/a", "status") == Path("/home/ann/nodes/a")


def test_a_home_of_a_user_who_is_not_there_is_said_to_be_that() -> None:
    with pytest.raises(errors.StateError, match="there is no user 'nobody-called-so' here"):
        home_of("--home", "~nobody-called-so/node", "id")


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n    {command.NAME} " in shown
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code}  {meaning}" in shown


@pytest.mark.parametrize("command", [command.NAME for command in COMMANDS])
def test_every_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:\n  " in shown
    assert f"openfl-node {command}" in shown


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 0
    assert "first steps:" in capsys.readouterr().out


def test_the_commands_are_listed_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out.partition("\ncommands:\n")[2].partition("\nfirst steps:")[0]
    parts = re.findall(r"^  (\S[^:\n]*):\n((?: {4}.*\n)+)", shown, re.MULTILINE)
    listed = {heading: re.findall(r"^ {4}([a-z-]+)", lines, re.M) for heading, lines in parts}
    assert listed == {name: [one.NAME for one in part] for name, part in GROUPS.items()}


def test_version_names_the_program_and_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    from openfl import __version__

    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"openfl-node {__version__}\n"


def test_help_needs_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys; from openfl_cli import main; main.run(['--help']);"
        "heavy = {'trio', 'numpy', 'scipy', 'libp2p', 'rich', 'cbor2'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_command_is_one_line_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["strat"]) == exit_codes.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith("openfl-node: error: there is no command 'strat'; did you mean start?")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["recommend", "--not-popular", "1.5"],
        ["recommend", "--format", "xspf"],
        ["recommend", "--format", "csv", "--json"],
        ["similar"],
        ["recommend", "--user", "a", "--top", "0"],
        ["demo", "--nodes", "1"],
        ["demo", "--nodes", "17"],
        ["demo", "--interval", "0"],
        ["demo", "--interval", "nan"],
        ["groups", "--seconds", "soon"],
        ["start", "--rounds", "many"],
        ["start", "--set", "training.rounds"],
        ["switch"],
        ["config"],
        ["status", "--jso"],
    ],
)
def test_an_option_that_makes_no_sense_is_one_line_and_exit_code_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(argv) == exit_codes.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith("openfl-node: error: ")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("error", errors.UserError.__subclasses__())
def test_every_user_error_is_one_line_and_its_own_exit_code(
    error: type[errors.UserError], control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["switch"] = error("what is wrong")
    assert main.run(["switch", "jazz"]) == error.exit_code
    assert capsys.readouterr().err == "openfl-node: error: what is wrong\n"


def test_exit_codes_of_the_error_tree_are_all_documented() -> None:
    def tree(kind: type[errors.OpenFLError]) -> Any:
        yield kind
        for below in kind.__subclasses__():
            yield from tree(below)

    codes = {kind.exit_code for kind in tree(errors.OpenFLError) if "openfl." in kind.__module__}
    assert codes <= set(exit_codes.MEANINGS)


def test_several_problems_are_counted_and_listed() -> None:
    assert main.error_text("a: b\nc: d\n") == "openfl-node: error: 2 problems:\n  a: b\n  c: d"
    assert main.error_text("a: b\n") == "openfl-node: error: a: b"
    assert main.error_text("f: 2 rows:\nf:3: x\nf:5: y") == (
        "openfl-node: error: f: 2 rows:\n  f:3: x\n  f:5: y"
    )


def test_an_error_cannot_steer_the_terminal(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["switch"] = errors.GroupError("no group \x1b[2J")
    main.run(["switch", "x"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_user_error_deep_in_exception_groups_is_still_one_line(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("nursery", [errors.NetworkError("port 4001 is in use")])
    control.answers["switch"] = ExceptionGroup("nursery", [inner])
    assert main.run(["switch", "x"]) == errors.NetworkError.exit_code
    assert capsys.readouterr().err == "openfl-node: error: port 4001 is in use\n"


def test_a_bug_beside_a_user_error_is_not_hidden(control: FakeControl) -> None:
    both = ExceptionGroup("nursery", [errors.NetworkError("port"), ZeroDivisionError()])
    control.answers["switch"] = both
    with pytest.raises(ExceptionGroup):
        main.run(["switch", "x"])


def test_a_bug_comes_out_with_a_hint_where_to_report_it(control: FakeControl) -> None:
    control.answers["switch"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        main.run(["switch", "x"])
    assert "report it" in caught.value.__notes__[0]


def test_ctrl_c_is_exit_code_130_without_a_traceback(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**arguments: Any) -> None:
        raise KeyboardInterrupt

    control.answers["switch"] = interrupted
    assert main.run(["switch", "x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_output_that_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-m", "openfl_cli", "config", "show"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()  # before the process has come to print anything
    _, errors_shown = process.communicate(timeout=PATIENCE_SECONDS)
    assert errors_shown == ""
    assert process.returncode == exit_codes.BROKEN_PIPE


def test_a_title_that_the_terminal_cannot_show_does_not_end_a_command(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('group = { name = "夜曲" }\n', encoding="utf-8")
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "openfl_cli", "--home", str(tmp_path), "config", "show"]
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.check_output(command, text=True, env=environment)
    assert 'name = "??"' in shown
    plain = json.loads(subprocess.check_output([*command, "--json"], text=True, env=environment))
    assert plain["group"]["name"] == "夜曲"
