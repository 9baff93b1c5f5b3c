"""What of libp2p no node uses is not loaded with it, and works for whoever calls it."""

from __future__ import annotations

import json
import subprocess
import sys

WATCHED = ("requests", "httpx", "zeroconf")


def loaded_after(code: str) -> tuple[set[str], str]:
    """(watched packages that a fresh interpreter has loaded after `code`, what it printed)."""
    report = f"import json, sys; print(json.dumps([m for m in {WATCHED} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    *said, names = done.stdout.splitlines()
    return set(json.loads(names)), "\n".join(said)


POSTPONE = (
    "from tests.without_workaround import take_away_what_is_asked_for\n"
    "take_away_what_is_asked_for()\n"
    "from openfl.network.libp2p.lazy_imports import postpone_what_no_node_uses\n"
    "postpone_what_no_node_uses()\n"
)


def test_the_libp2p_adapter_does_not_load_what_no_node_uses() -> None:
    assert loaded_after(f"{POSTPONE}import openfl.network.libp2p.network")[0] == set()


def test_without_the_call_the_adapter_loads_it_and_works() -> None:
    assert loaded_after("import openfl.network.libp2p.network")[0] == set(WATCHED)


def test_libp2p_alone_does() -> None:
    assert loaded_after("import libp2p")[0] == set(WATCHED)


def test_a_postponed_function_does_its_work_when_it_is_called() -> None:
    calls = (
        f"{POSTPONE}import openfl.network.libp2p.network\n"
        "from libp2p.host import basic_host\n"
        "from libp2p.peer.id import ID\n"
        "peer = ID.from_string('12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X')\n"
        "print(basic_host.compute_b36_peer_id(peer))\n"
        "from libp2p.security.tls.autotls import acme\n"
        "print(isinstance(acme.ACMEClient, type))"
    )
    loaded, said = loaded_after(calls)
    assert "httpx" in loaded
    first, second = said.splitlines()
    assert (first[:6], second) == ("k51qzi", "True")
