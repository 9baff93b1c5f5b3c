"""What the demo reached, and whether the nodes really learned together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from openfl.core.telemetry import NodeSnapshot
from openfl_cli.text import change_percent, metric_value

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class NodeResult:
    """One line of the closing table. Metrics are on ratings that this node never trained on."""

    node: str
    peer_id: str
    peers_found: int
    rounds: int
    alone: float | None
    together: float | None
    split: Split
    train_examples: int
    bytes_sent: int
    bytes_received: int

    @property
    def change(self) -> float | None:
        """Percent from alone to together; negative is better."""
        return change_percent(self.together, self.alone)

    @property
    def better(self) -> bool:
        """False when either error is unknown."""
        return self.together is not None and self.alone is not None and self.together < self.alone


def result_of(node: str, shot: NodeSnapshot) -> NodeResult:
    """The test split when there is one: nothing was chosen by it. Else validation."""
    has_test = shot.test is not None and shot.alone_test is not None
    return NodeResult(
        node=node,
        peer_id=str(shot.peer_id),
        peers_found=sum(not member.me for member in shot.members),
        rounds=shot.round,
        alone=shot.alone_test if has_test else shot.alone,
        together=shot.test if has_test else shot.validation,
        split="test" if has_test else "validation",
        train_examples=shot.train_examples,
        bytes_sent=shot.bytes_sent,
        bytes_received=shot.bytes_received,
    )


def ready(shots: Mapping[str, NodeSnapshot | None], nodes: int, rounds: int) -> bool:
    """Whether every node has found all others, done its rounds, and measured itself alone."""
    return len(shots) == nodes and all(
        shot is not None
        and shot.round >= rounds
        and sum(not member.me for member in shot.members) >= nodes - 1
        and shot.alone is not None
        and shot.validation is not None
        for shot in shots.values()
    )


def problems(results: Sequence[NodeResult], nodes: int, rounds: int) -> list[str]:
    """Why the demo did not reach its end, a line each; empty when it did."""
    found = []
    for result in results:
        if result.peers_found < nodes - 1:
            found.append(f"{result.node} found {result.peers_found} of {nodes - 1} other members")
        if result.rounds < rounds:
            found.append(f"{result.node} did {result.rounds} of {rounds} rounds")
        if not result.better:
            found.append(
                f"{result.node} was not better together"
                f" ({metric_value(result.together)}) than alone ({metric_value(result.alone)})"
            )
    if len(results) < nodes:
        found.append(f"only {len(results)} of {nodes} nodes answered")
    return found


def as_json(
    results: Sequence[NodeResult],
    recommendations: Mapping[str, Any] | None,
    seconds: float,
    failures: Sequence[str],
) -> dict[str, Any]:
    """The shape that docs/cli.md promises."""
    return {
        "learned_together": not failures,
        "problems": list(failures),
        "seconds": round(seconds, 2),
        "nodes": [
            {
                "node": result.node,
                "peer_id": result.peer_id,
                "peers_found": result.peers_found,
                "rounds": result.rounds,
                "rmse_alone": result.alone,
                "rmse_together": result.together,
                "change_percent": result.change,
                "split": result.split,
                "train_examples": result.train_examples,
                "bytes": {"sent": result.bytes_sent, "received": result.bytes_received},
            }
            for result in results
        ],
        "recommendations": dict(recommendations) if recommendations else None,
    }
