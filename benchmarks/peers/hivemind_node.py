"""One hivemind peer, run by the interpreter of hivemind's environment (see `dense` for what it
learns).

Its parts are hivemind's own: `DHT` (its libp2p daemon, TLS, on 127.0.0.1) and
`DecentralizedAverager`, which finds a group through the DHT and averages in an all-reduce, in
float16 by its own compression. A round starts at most once every `--interval` seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import hivemind
import numpy as np
import torch
from dense import DenseLearner, Journal

MATCHMAKING_SECONDS = 1.0
"""Shipped: 5. A full group starts at once; an incomplete one after this time."""
REQUEST_TIMEOUT_SECONDS = 0.5
"""Shipped: 3. Has to be shorter than the time for matchmaking."""
STEP_TIMEOUT_SECONDS = 30.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--join", nargs="*", default=[])
    parser.add_argument("--interval", type=float, default=1.0)
    return parser.parse_args()


def main() -> None:
    given = options()
    torch.set_num_threads(1)
    journal = Journal(given.home / "journal.jsonl")
    learner = DenseLearner(given.job, given.home / "ratings.csv", given.nodes)
    dht = hivemind.DHT(
        initial_peers=given.join, host_maddrs=["/ip4/127.0.0.1/tcp/0"], start=True, use_ipfs=False
    )
    tensors = tuple(torch.from_numpy(tensor) for tensor in learner.nothing())
    averager = hivemind.averaging.DecentralizedAverager(
        tensors,
        dht,
        start=True,
        prefix="ml-100k",
        target_group_size=given.nodes,
        min_matchmaking_time=MATCHMAKING_SECONDS,
        request_timeout=REQUEST_TIMEOUT_SECONDS,
        compression=hivemind.compression.Float16Compression(),
    )
    address = next(str(a) for a in dht.get_visible_maddrs() if "/ip4/127.0.0.1/" in str(a))
    journal.tell("listening", address=address)
    number = 0
    while True:
        began = time.monotonic()
        taught = learner.step()
        with averager.get_tensors() as shared:
            for into, tensor in zip(shared, taught, strict=True):
                into.copy_(torch.from_numpy(np.ascontiguousarray(tensor)))
        try:
            group = averager.step(timeout=STEP_TIMEOUT_SECONDS, weight=1.0)
        except Exception as error:  # whatever it raises, a peer goes on: it has no other place
            journal.tell("failed", error=f"{type(error).__name__}: {error}"[:200])
            continue
        with averager.get_tensors() as shared:
            learner.take([tensor.numpy().copy() for tensor in shared])
        number += 1
        journal.tell(
            "round", round=number, validation=learner.validation(), members=len(group or ())
        )
        time.sleep(max(0.0, began + given.interval - time.monotonic()))


if __name__ == "__main__":
    main()
