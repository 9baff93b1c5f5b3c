"""What attacks cost a node: processor time while they go on, and after they are over.

The attacked node is a real `openfl-node start` process of a group of two on 127.0.0.1, a round
every half second; the attackers are those of `tests/hostile`, which proves that nothing of this
grows without bound. Processor time is the node's own, so other work on the machine does not count.

    python benchmarks/attacks.py [--seconds 20]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

ROOT = Path(__file__).resolve().parents[1]
# In the place of this folder, which nodes must not get: one of its files is named like a module.
sys.path[:1] = [str(ROOT), str(ROOT / "tests/hostile")]

from hostile_rig import Liar, Victim, attacker, mouth, two_honest_nodes  # noqa: E402

from openfl.wire import messages as wire  # noqa: E402


async def a_thousand_heartbeats_a_second(victim: Victim, seconds: float) -> None:
    """By one author, until it is thrown out; then by the next."""
    end = trio.current_time() + seconds
    payload = wire.encode_gossip(wire.Heartbeat(1, 0, 0, 0, None, 0, (), bytes(16)))
    while trio.current_time() < end:
        liar = Liar(victim)
        with contextlib.suppress(Exception):
            async with attacker(victim, liar.identity) as network:
                said = await mouth(network, victim)
                start = trio.current_time()
                for number in range(6000):
                    if trio.current_time() > end or not network.peers():
                        break
                    await said.say(liar.message(payload))
                    await trio.sleep(max(0, start + number / 1000 - trio.current_time()))


async def identities_of_a_thousand_addresses(victim: Victim, seconds: float) -> None:
    """Pushed one after another, with a thousand protocols each."""
    end = trio.current_time() + seconds
    pushed = Identify(
        listen_addrs=[
            Multiaddr(f"/ip4/10.1.{n // 250}.{n % 250}/tcp/1").to_bytes() for n in range(1000)
        ],
        protocols=[f"/made-up/{n}" for n in range(1000)],
    )
    frame = encode_varint_prefixed(pushed.SerializeToString())
    async with attacker(victim) as network:
        while trio.current_time() < end:
            with contextlib.suppress(Exception):
                stream = await network._host.open_stream(victim.id, ["/ipfs/id/push/1.0.0"])
                await stream.write(frame)
                await stream.close()


def measured(victim: Victim, work: Callable[[], object]) -> float:
    """Percent of a core that the node takes while `work` goes on."""
    before, began = victim.cpu_seconds(), time.monotonic()
    work()
    return 100 * (victim.cpu_seconds() - before) / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    attacks: tuple[Callable[[Victim, float], Awaitable[None]], ...] = (
        a_thousand_heartbeats_a_second,
        identities_of_a_thousand_addresses,
    )
    with tempfile.TemporaryDirectory() as folder, two_honest_nodes(Path(folder)) as victim:

        def report(label: str, work: Callable[[], object]) -> None:
            print(f"{label}: {measured(victim, work):.1f} % of a core", flush=True)

        report("before", lambda: time.sleep(seconds))
        for attack in attacks:
            label = attack.__name__.replace("_", " ")
            report(label, lambda attack=attack: trio.run(attack, victim, seconds))  # type: ignore[misc]
            report("after it", lambda: time.sleep(seconds))


if __name__ == "__main__":
    main()
