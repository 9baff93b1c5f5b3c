"""How long a forced switch takes between real nodes on loopback.

    python benchmarks/switch_latency.py [--switches 10] [--interval 0.5]

Two nodes in `blues`, two in `jazz`, one more that is switched to and fro by its owner's word.
Told for each switch, in seconds from that word: until the new group's model is in use, and until
the first contribution of the new group that came by gossip is merged. The latter waits for a member
to publish one: with two members, a third of the interval between rounds on average.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from openfl.app.open_node import open_node
from openfl.config import Config, load_config
from openfl.core.errors import GroupError
from openfl.group.session import GroupSession
from openfl.node import Node
from openfl_cli.demo.tastes import write_communities
from openfl_cli.sample import sample_folder


def configured(home: Path, group: str, bootstrap: Sequence[str], interval: float) -> Config:
    return load_config(
        None,
        {},
        {
            "network.host": "127.0.0.1",
            "network.bootstrap": tuple(bootstrap),
            "group.name": group,
            "data.ratings_file": str(home / "ratings.csv"),
            "data.rating_scale": "0.5-5",
            "training.interval_seconds": interval,
            "training.alone_rounds": 0,
            "switching.auto": False,
        },
    )


async def measure(switches: int, interval: float, folder: Path) -> None:
    homes = [folder / f"node-{number}" for number in range(5)]
    for home in homes:
        home.mkdir()
    write_communities(sample_folder(), homes, communities=2, seed=1)
    in_use, merged = [], []
    async with contextlib.AsyncExitStack() as stack:
        nodes: list[Node] = []
        for number, home in enumerate(homes):
            bootstrap = [nodes[0].network.multiaddrs[0]] if nodes else []
            group = ("jazz", "blues")[number % 2]
            config = configured(home, group, bootstrap, interval)
            nodes.append(await stack.enter_async_context(open_node(config, home, lambda _: None)))
        mover = nodes[-1]
        await until(lambda: all(n.place() is not None for n in nodes))
        await until(lambda: all(session_of(node).round >= 5 for node in nodes))
        await until(lambda: session_of(mover).replica.member_count == 3)
        with contextlib.suppress(GroupError):  # hear of the groups
            await mover.switch("blues")
            await mover.switch("jazz")
        for number in range(switches):
            target = ("blues", "jazz")[number % 2]
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(mover.switch, target)
                await until(lambda target=target: session_of(mover).charter.name == target)
                in_use.append(trio.current_time() - start)
                await until(lambda: session_of(mover).deltas_merged > 0)
                merged.append(trio.current_time() - start)
            done = session_of(mover).round
            await until(lambda done=done: session_of(mover).round >= done + 2)
            print(f"{number + 1:3d}  to {target:6s} {in_use[-1]:6.3f} s  {merged[-1]:6.3f} s")
    print(f"median of {switches}: new model in use after {statistics.median(in_use):.3f} s,")
    print(f"first contribution heard and merged after {statistics.median(merged):.3f} s")


def session_of(node: Node) -> GroupSession:
    place = node.place()
    assert place is not None
    return place.session


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (nodes have no event for everything)
        await trio.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description="how long a forced switch takes")
    parser.add_argument("--switches", type=int, default=10)
    parser.add_argument("--interval", type=float, default=0.5)
    options = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        # Five nodes share this process: their pools of BLAS threads would fight over the cores.
        single = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], single)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, options.switches, options.interval, Path(folder))


if __name__ == "__main__":
    main()
