"""What a shell offers after Tab: commands and options from the parser, and what a home knows.

Nothing here is loaded unless a shell asks. Names of groups and of peers come from strangers, and
what is offered ends up on a command line: only those are offered by name that no shell reads
anything into (`is_harmless`). Others are offered by their id where an id will do, and else not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from openfl.core.errors import OpenFLError
from openfl.core.files import expanded
from openfl_cli import options

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "openfl-node"
NODE_SECONDS = 1.5
"""How long a running node may take to answer; who typed Tab waits."""
MAX_OFFERED = 200
_HARMLESS = re.compile(r"\w[\w.+-]*(?: [\w.+-]+)*")

Completer = Callable[..., Mapping[str, str]]


def is_harmless(name: str) -> bool:
    """Whether a shell takes `name` for nothing but these letters, once its spaces are escaped; and
    it cannot be taken for an option."""
    return _HARMLESS.fullmatch(name) is not None and name.isprintable()


def script(shell: str) -> str:
    """What the shell is to run, once in each session, for `openfl-node` to be completed."""
    from argcomplete.shell_integration import shellcode

    return shellcode([PROGRAM], shell=shell)


def answer(parser: argparse.ArgumentParser) -> NoReturn:
    """Tell the shell that asks (by the variables of argcomplete) what fits, and end."""
    import argcomplete

    for each, action in _actions(parser):
        completer = _completer_of(each, action)
        if completer is not None:
            action.completer = _quietly(completer)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")
    sys.exit(0)


def _actions(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[argparse.ArgumentParser, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
        else:
            yield parser, action


def _completer_of(parser: argparse.ArgumentParser, action: argparse.Action) -> Completer | None:
    """By what it stands for; None: files, as in any command."""
    if action.metavar == "GROUP":
        return _groups_by_name_or_id
    if "--group" in action.option_strings:
        return _groups_by_name
    if action.dest == "home":
        return _homes
    if action.dest == "set":
        return _assignments
    if action.metavar == "KEY" or (action.dest == "values" and parser.prog.endswith("config set")):
        return _keys if action.dest == "key" else _values
    if action.metavar in ("PEER", "PEER_ID"):
        return _peers
    if action.metavar == "ADDRESS" and parser.prog.endswith("bootstrap remove"):
        return _addresses
    if action.metavar == "SCENARIO":
        return _scenarios
    return None


def _quietly(completer: Completer) -> Completer:
    """Nothing is offered when something goes wrong: nobody could read an error there."""

    def quiet(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Mapping[str, str]:
        try:
            offered = completer(prefix, parsed_args)
        except (OpenFLError, OSError, ValueError):
            return {}
        fitting = [each for each in offered if each.startswith(prefix)]
        return {each: offered[each] for each in fitting[:MAX_OFFERED]}

    return quiet


def _home(arguments: argparse.Namespace) -> Path:
    if not hasattr(arguments, "home"):
        arguments.home = None
    return options.home_folder(arguments)


def _groups(arguments: argparse.Namespace) -> list[tuple[str, str, str]]:
    """(name, id, what is said beside it) of the groups that the running node knows, else of the one
    that the home is in."""
    from openfl.core.errors import NotRunningError
    from openfl_cli import ask

    home = _home(arguments)
    try:
        found = ask.running_node(home, "groups", timeout_seconds=NODE_SECONDS)
    except NotRunningError:
        from openfl.app import runtime

        last = runtime.offline_snapshot(home)
        if last is None or not last.group_name:
            return []
        return [(last.group_name, str(last.group_id), "the group of this node")]
    return [(str(of["name"]), str(of["id"]), f"{int(of['members'])} members") for of in found]


def _groups_by_name(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    return {name: text for name, _, text in _groups(arguments) if is_harmless(name)}


def _groups_by_name_or_id(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    groups = _groups(arguments)
    names = [name for name, _, _ in groups]
    offered = {}
    for name, group_id, text in groups:
        by_name = is_harmless(name) and names.count(name) == 1
        if by_name or re.fullmatch(r"[0-9a-f]{1,64}", group_id):
            offered[name if by_name else group_id[:12]] = text
    return offered


def _peers(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    from openfl_cli import ask

    shot = ask.running_node(_home(arguments), "snapshot", timeout_seconds=NODE_SECONDS)
    found = [str(peer["peer_id"]) for peer in (*shot["peers"], *shot["members"])]
    return {peer: "" for peer in found if re.fullmatch(r"[0-9A-Za-z]{1,128}", peer)}


def _addresses(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    from openfl_cli import bootstraps

    file = bootstraps.file_to_change(arguments, _home(arguments))
    there = bootstraps.remembered(file)
    return {each: "" for each in there if re.fullmatch(r"[\w./:-]+", each)}


def _homes(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    """Folders, homes before others."""
    head, _, start = prefix.rpartition("/")
    folder = expanded(f"{head}/" if "/" in prefix else ".")
    begin = f"{head}/" if "/" in prefix else ""
    found = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(start) and (start.startswith(".") or entry.name[0] != "."):
            if (entry / "identity.key").exists():
                found[f"{begin}{entry.name}"] = "a node's home"
            elif entry.is_dir():
                found[f"{begin}{entry.name}/"] = ""
    return dict(sorted(found.items(), key=lambda each: not each[1]))


def _keys(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    from openfl.config import all_settings

    return {key: _first_words(each.meaning) for key, each in all_settings().items()}


def _assignments(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    key, equals, _ = prefix.partition("=")
    if equals:
        return {f"{key}={value}": "" for value in _choices(key)}
    return {f"{key}=": text for key, text in _keys(prefix, arguments).items()}


def _values(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    return {value: "" for value in _choices(str(getattr(arguments, "key", "")))}


def _choices(key: str) -> Iterable[str]:
    from openfl.config import all_settings

    setting = all_settings().get(key)
    if setting is None:
        return ()
    return ("true", "false") if isinstance(setting.default, bool) else sorted(setting.choices)


def _scenarios(prefix: str, arguments: argparse.Namespace) -> Mapping[str, str]:
    from openfl_cli.scenarios import shipped

    return dict.fromkeys(shipped(), "")


def _first_words(text: str) -> str:
    return re.split(r"[.:;](?: |$)", text, maxsplit=1)[0][:60]
