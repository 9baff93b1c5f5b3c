"""What of libp2p no node uses is not loaded with it, and works for whoever calls it."""

from __future__ import annotations

import json
import subprocess
import sys

WATCHED = (
    "Crypto",
    "aioquic",
    "cffi.cparser",
    "coincurve",
    "dns",
    "httpx",
    "miniupnpc",
    "prometheus_client.exposition",
    "requests",
    "service_identity",
    "wsproto",
    "zeroconf",
)


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


def test_a_key_of_another_kind_is_read_when_one_comes() -> None:
    """js-libp2p and go-libp2p have peers with RSA and secp256k1 keys."""
    calls = (
        f"{POSTPONE}import openfl.network.libp2p.network\n"
        "from libp2p.crypto.serialization import deserialize_public_key\n"
        "from libp2p.crypto import rsa, secp256k1\n"
        "for module in (rsa, secp256k1):\n"
        "    key = module.create_new_key_pair().public_key\n"
        "    print(type(deserialize_public_key(key.serialize())) is type(key))\n"
    )
    loaded, said = loaded_after(calls)
    assert {"Crypto", "coincurve"} <= loaded
    assert said.splitlines() == ["True", "True"]


def test_what_stands_for_a_class_can_be_used_as_one() -> None:
    calls = (
        f"{POSTPONE}import openfl.network.libp2p.network\n"
        "from libp2p.records.utils import RSAPublicKey\n"
        "from prometheus_client import Counter\n"
        "print(isinstance(3, RSAPublicKey))\n"  # without loading it
        "import sys; print('Crypto' in sys.modules)\n"
        "class Mine(Counter): pass\n"
        "print(isinstance(Mine('n', 'd'), Counter), issubclass(Mine, Counter))\n"
        "print(Counter | None)\n"
    )
    loaded, said = loaded_after(calls)
    assert "prometheus_client.exposition" in loaded
    *lines, _ = said.splitlines()
    assert lines == ["False", "False", "True True"]


def test_a_name_asked_of_a_package_runs_what_collects_its_names() -> None:
    calls = (
        f"{POSTPONE}import openfl.network.libp2p.network\n"
        "import sys, libp2p\n"
        "from libp2p.network import swarm\n"  # a module below, not a name
        "print('libp2p.transport.websocket' in sys.modules, hasattr(libp2p, '__wrapped__'))\n"
        "from libp2p.transport import TCP\n"
        "from libp2p.transport.tcp.tcp import TCP as same\n"
        "print(TCP is same, 'libp2p.transport.websocket' in sys.modules)\n"
        "print(callable(libp2p.new_host), hasattr(libp2p, 'no_such_name'))\n"
        "from libp2p.utils import *\n"
    )
    _, said = loaded_after(calls)
    assert said.splitlines() == ["False False", "True True", "True False"]


def test_many_threads_may_be_the_first_to_ask() -> None:
    calls = (
        f"{POSTPONE}import openfl.network.libp2p.network\n"
        "import sys, threading, libp2p\n"
        "from libp2p.crypto.serialization import RSAPublicKey\n"
        "sys.setswitchinterval(1e-6)\n"
        "start, values = threading.Barrier(8), []\n"
        "def use():\n"
        "    start.wait()\n"
        "    values.append((callable(libp2p.new_host), isinstance(3, RSAPublicKey)))\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(values == [(True, False)] * 8)\n"
    )
    assert loaded_after(calls)[1] == "True"
