"""Importing the network room changes nothing in the process, and the seam does not load libp2p."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

REPORT = """
import json, sys
before = set(sys.modules)
import {module}
new = set(sys.modules) - before
strange = [name for name in new if getattr(sys.modules[name], "__spec__", None) is None]
print(json.dumps([sorted({{name.partition(".")[0] for name in new}}), strange]))
"""


@pytest.mark.parametrize(
    "module",
    [
        "openfl.network",
        "openfl.network.base",
        "openfl.network.access_list",
        "openfl.network.offenders",
        "openfl.network.libp2p",
        "openfl.network.libp2p.defects",
        "openfl.network.libp2p.lazy_imports",
        "openfl.network.lan",
        "openfl.network.simulated",
    ],
)
def test_importing_what_knows_bytes_only_loads_no_library_of_the_network(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    packages, strange = json.loads(done.stdout)
    assert "openfl" in packages
    assert not {"libp2p", "multiaddr", "zeroconf", "miniupnpc", "trio"}.intersection(packages)
    # Modules that somebody made up have no spec; NumPy's compiled ones share this.
    assert not [name for name in strange if "libp2p" in name]


PATCHES = """
import json, logging
from libp2p.kad_dht import kad_dht
from libp2p.network.connection import swarm_connection
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.pubsub import gossipsub

def looked_at():
    return [
        str(kad_dht.PROTOCOL_ID),
        repr(gossipsub.time),
        repr(multiselect_communicator.read_delim),
        repr(swarm_connection.logging),
        [repr(handler) for handler in logging.getLogger("libp2p").handlers],
    ]

before = looked_at()
import openfl.network.lan.mdns, openfl.network.lan.upnp, openfl.network.libp2p.network
imported = looked_at()
import trio
from openfl.network.libp2p.envelope import generate_identity
from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings

async def enter():
    async with Libp2pNetwork(Libp2pSettings(generate_identity(), 1, listen=())):
        pass

trio.run(enter)
after = looked_at()
print(json.dumps([before, imported, after]))
"""


def test_libp2p_is_patched_when_a_network_is_entered_and_not_before() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PATCHES], capture_output=True, text=True, check=True
    )
    before, imported, after = json.loads(done.stdout.splitlines()[-1])
    assert imported == before
    assert all(was != now for was, now in zip(before, after, strict=True))
