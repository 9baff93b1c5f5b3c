"""A node in a trio program: its events are the program's main loop.

    python examples/embed_trio.py

Two nodes, so that there is something to see; yours needs one. docs/embedding.md explains the parts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

import openfl

RATINGS = Path(__file__).parent / "music" / "ratings.csv"
SETTINGS = {
    "network.host": "127.0.0.1",
    "data.ratings_file": RATINGS,
    "training": {"rounds": 3, "interval_seconds": 0.5, "wait_for_members": 2},
}


async def watch(node: openfl.Node) -> None:
    async for event in node.events():  # until the node is closed, or asked to stop
        if event.kind == "round":
            print(f"round {event.data['round']}, {event.data['members']} members")
        if event.kind == "rounds-done":
            node.request_stop()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        neighbour = openfl.load_config(SETTINGS)
        async with openfl.open_node(neighbour, Path(folder, "neighbour")) as other:
            address = other.snapshot().multiaddrs[0]
            mine = openfl.load_config({**SETTINGS, "network.bootstrap": [address]})
            async with openfl.open_node(mine, Path(folder, "mine")) as node:
                await watch(node)
                best = node.recommend("1", top=3)
                print("for listener 1:", ", ".join(song.song_id for song in best.items))


if __name__ == "__main__":
    trio.run(main)
