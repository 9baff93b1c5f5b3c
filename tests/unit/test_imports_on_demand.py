"""What a node's settings do not ask for is not imported; what they ask for is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ALWAYS_LATER = (
    "openfl.app.http.api",
    "openfl.app.http.connection",
    "openfl.app.http.serving",
    "openfl.learning.classification.task",
    "openfl.learning.implicit.task",
    "openfl.network.lan.mdns",
    "openfl.network.lan.upnp",
    "openfl.simulation",
    "openfl.sources",
    "Crypto",
    "dns",
    "miniupnpc",
    "rich",
    "torch",
    "zeroconf",
)
"""Modules that a node with usual settings does without."""

NODE = """
import json, sys
from pathlib import Path
import trio
from openfl.app.configuration import load_config
from openfl.app.runtime import open_node
import openfl_cli.session

async def run():
    settings = json.loads(sys.argv[1])
    async with open_node(load_config(settings), Path(sys.argv[2]), lambda event: None) as node:
        with trio.fail_after(60):
            while node.snapshot().phase in ("starting", "joining"):
                await trio.sleep(0.02)

trio.run(run)
print(json.dumps([name for name in json.loads(sys.argv[3]) if name in sys.modules]))
"""

RATINGS = "user_id,song_id,rating\n" + "".join(
    f"u{user},s{song},{1 + (user + song) % 5}\n" for user in range(6) for song in range(8)
)


def loaded(folder: Path, **settings: object) -> set[str]:
    """Those of `ALWAYS_LATER` that a node has loaded by the time it is in its group."""
    data = folder / "ratings.csv"
    data.write_text(RATINGS)
    usual = {
        "data.ratings_file": str(data),
        "network.host": "127.0.0.1",
        "training.alone_rounds": 1,
        "training.auto_start": False,
    }
    arguments = [json.dumps({**usual, **settings}), str(folder / "home"), json.dumps(ALWAYS_LATER)]
    done = subprocess.run(
        [sys.executable, "-c", NODE, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_node_with_usual_settings_loads_nothing_for_what_is_off(tmp_path: Path) -> None:
    assert loaded(tmp_path) == set()


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({"task.kind": "implicit"}, {"openfl.learning.implicit.task"}),
        ({"network.mdns": True}, {"openfl.network.lan.mdns", "zeroconf"}),
        ({"network.upnp": True}, {"openfl.network.lan.upnp"}),
        ({"http.listen": "127.0.0.1:0"}, {"openfl.app.http.serving"}),
        ({"http.web": True}, {"openfl.app.http.serving"}),
    ],
)
def test_what_is_switched_on_is_loaded(
    tmp_path: Path, settings: dict[str, object], needed: set[str]
) -> None:
    found = loaded(tmp_path, **settings)
    assert needed <= found
    assert not found & {"openfl.app.http.api", "openfl.app.http.connection"}, "nobody has come"
