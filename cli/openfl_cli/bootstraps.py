"""Addresses to join through, as people give them: a multiaddr, or `host:port`.

`host:port` says where and not who. The node there is asked for its identity, which its owner here
confirms; from then on the whole address stands in the configuration, and nobody else is taken for
it (trust on first use).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.core.errors import ConfigError, NetworkError, UsageError
from openfl_cli import options
from openfl_cli.text import clean

if TYPE_CHECKING:
    from openfl.app.who_is_there import Place

KEY = "network.bootstrap"


class NotConfirmed(NetworkError):
    """The owner does not know the node that answered."""


def whole_addresses(
    arguments: argparse.Namespace, home: Path, *, remember: bool = True
) -> list[str]:
    """What `--bootstrap` was given, each `host:port` with its peer: the one that the configuration
    remembers there, else the one that answers, once it is confirmed and, if `remember`, kept there.

    UsageError: it would have to be confirmed, and there is no terminal. NetworkError: nothing, or
    no node, answers, or it is not the one that was meant.
    """
    from openfl.app.who_is_there import place_of

    whole = []
    for text in arguments.bootstrap:
        place = place_of(text)
        whole.append(text if place is None else _of_place(place, arguments, home, remember))
    return whole


def _of_place(place: Place, arguments: argparse.Namespace, home: Path, remember: bool) -> str:
    file = file_to_change(arguments, home)
    in_file = remembered(file)
    if (known := place.among(in_file)) is not None:
        return known
    multiaddr = confirmed(place, arguments, home)
    if not remember:
        return multiaddr
    from openfl_cli.config_changes import change

    if getattr(arguments, "config", None) or os.environ.get("OPENFL_CONFIG"):
        # A file that others may use too, or that a program has written.
        options.note(f"to have it remembered: openfl-node bootstrap add {multiaddr}")
    else:
        change(home, file, {KEY: (*in_file, multiaddr)}, told=False)
        options.note(f"remembered in {file}: {multiaddr}")
    return multiaddr


def confirmed(place: Place, arguments: argparse.Namespace, home: Path) -> str:
    """The whole address of the node at `place`, once somebody has said that it is the one."""
    from openfl.app import runtime
    from openfl.app.who_is_there import ask_who_is_there
    from openfl.core.fingerprints import fingerprint

    # As everything else that speaks to the network: with the key of a private one.
    config = options.effective_config(arguments, home)
    peer_id = ask_who_is_there(place, runtime.load_key_of(config))
    multiaddr = place.multiaddr(peer_id)
    if getattr(arguments, "trust_on_first_use", False):
        options.note(f"{place} is {peer_id} (fingerprint {fingerprint(peer_id)})")
        return multiaddr
    if not can_ask():
        raise UsageError(
            f"{place} does not say whom to expect there. The node that answers is {peer_id}"
            f" (fingerprint {fingerprint(peer_id)}); if that is the one, give {multiaddr}, or add"
            " --trust-on-first-use"
        )
    say(f"At {place} answers")
    say(f"  peer id      {peer_id}")
    say(f"  fingerprint  {fingerprint(peer_id)}")
    say("Its owner sees the same with: openfl-node id --fingerprint")
    if not yes("Is that the node you mean?"):
        raise NotConfirmed(f"{place}: not taken; nothing was changed")
    return multiaddr


def file_to_change(arguments: argparse.Namespace, home: Path) -> Path:
    """The configuration file in which addresses are remembered."""
    return options.config_file(arguments, home) or home / options.CONFIG_FILE


def remembered(file: Path) -> tuple[str, ...]:
    """The addresses in the configuration file itself; none when there is no such file. ConfigError
    when it is wrong."""
    from openfl.config import load_config

    if not file.exists():
        return ()
    home = {"HOME": os.environ.get("HOME", "")}
    return load_config(file, home, {}).network.bootstrap


def can_ask() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def yes(question: str) -> bool:
    """The answer; Enter and the end of the input are a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        say("")
    return answer.strip().lower() in ("y", "yes")


def say(line: str) -> None:
    """For people, beside the data on standard output."""
    print(clean(line, 2000), file=sys.stderr, flush=True)


def require_whole(text: str) -> str:
    """`text`, a multiaddr with a peer; ConfigError when nobody can be dialled there."""
    from openfl.app.who_is_there import multiaddr_problem

    problem = multiaddr_problem(text)
    if problem is not None:
        raise ConfigError(problem)
    return text
