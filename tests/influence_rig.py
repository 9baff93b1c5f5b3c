"""A replica that several tasks have taught, and its counterfactual worlds, one member in or out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from openfl.aggregation.counterfactuals import MemberCounterfactuals
from openfl.aggregation.delta import Delta
from openfl.aggregation.quantize import quantize
from openfl.aggregation.replica import Replica
from openfl.core.contribution import Contribution, PeerId
from openfl.learning.task import LearningTask


def peers(count: int) -> list[PeerId]:
    return [PeerId(f"peer{n}") for n in range(count)]


def merge(replica: Replica, author: PeerId, found: Contribution, seqno: int = 1) -> None:
    """As if the author had sent this."""
    rng = np.random.default_rng(0)
    schemas = {t.name: t for t in replica.charter.tables}
    delta = Delta(
        replica.charter.group_id,
        1,
        seqno,
        1,
        10,
        None,
        tuple(quantize(b, schemas[b.table], rng) for b in found.blocks),
        hashlib.sha256(f"{author}{seqno}".encode()).digest(),
    )
    assert replica.merge(author, delta, b"envelope", 0.0).rows_changed


def taught(tasks: Sequence[LearningTask], rounds: int = 2) -> Replica:
    """The replica of `peers(len(tasks))`, each of which has stepped so often, in turn."""
    replica = Replica(tasks[0].charter)
    for seqno in range(1, rounds + 1):
        for peer, task in zip(peers(len(tasks)), tasks, strict=True):
            step = task.local_step(replica.view(), np.random.default_rng(seqno))
            merge(replica, peer, step, seqno)
    return replica


def counterfactuals(
    replica: Replica, left_out: Sequence[PeerId], members: Sequence[PeerId], sign: int
) -> MemberCounterfactuals:
    """A world for each of the members, beside the model without `left_out`."""
    stacks = {t.name: replica.member_stack(members, t.name) for t in replica.charter.tables}
    return MemberCounterfactuals(replica.charter, replica.sums_without(left_out), stacks, sign)
