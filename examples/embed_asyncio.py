"""A node beside an asyncio program. The node has a thread and an event loop of its own; the program
asks it from worker threads, and its own loop goes on meanwhile.

    python examples/embed_asyncio.py

Two nodes, so that there is something to see; yours needs one. docs/embedding.md explains the parts.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import openfl

RATINGS = Path(__file__).parent / "music" / "ratings.csv"
SETTINGS = {
    "network.host": "127.0.0.1",
    "data.ratings_file": RATINGS,
    "training": {"rounds": 3, "interval_seconds": 0.5, "wait_for_members": 2},
}


@asynccontextmanager
async def running(settings):
    """A node that is closed at the end of the block, and holds up nobody while it starts or ends.
    Without `home` its folder is a temporary one."""
    node = await asyncio.to_thread(openfl.run, settings)
    try:
        yield node
    finally:
        await asyncio.to_thread(node.stop)


async def watch(node):
    events = node.events()
    # `None` when the node is closed: a StopIteration cannot leave a thread of asyncio.
    while (event := await asyncio.to_thread(next, events, None)) is not None:
        if event.kind == "round":
            print(f"round {event.data['round']}, {event.data['members']} members")


async def main():
    async with running(SETTINGS) as other:
        address = other.snapshot().multiaddrs[0]
        async with running({**SETTINGS, "network.bootstrap": [address]}) as node:
            watching = asyncio.create_task(watch(node))
            await asyncio.to_thread(node.wait_done)
            best = node.recommend("1", top=3)
            print("for listener 1:", ", ".join(song.song_id for song in best.items))
    await watching


if __name__ == "__main__":
    asyncio.run(main())
