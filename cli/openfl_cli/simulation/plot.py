"""The result of a simulation as a picture, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import StateError, UsageError
from openfl_cli.text import metric_label

if TYPE_CHECKING:
    from openfl.simulation.records import RoundRecord, Summary

SUFFIXES = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """UsageError before a long run when the picture could not be drawn after it."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot needs a file that ends in {', '.join(SUFFIXES)}, got {path}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot: there is no folder {path.absolute().parent}")
    matplotlib_figure()


def draw(path: Path, summary: Summary, records: Sequence[RoundRecord]) -> None:
    """The metric against rounds and against bytes, members, and who is in which group (when there
    are several; else how the nodes differ)."""
    figure_module = matplotlib_figure()
    figure = figure_module.Figure(figsize=(10, 7), layout="constrained")
    rounds, by_bytes, members, last = figure.subplots(2, 2).ravel()
    figure.suptitle(
        f"{summary.scenario}: {summary.nodes} nodes, {summary.rounds} rounds, seed {summary.seed}"
    )
    number = [record.round for record in records]
    _errors(rounds, number, summary, records)
    rounds.set_xlabel("round interval")
    _errors(by_bytes, [r.published_bytes / 1000 for r in records], summary, records)
    by_bytes.set_xlabel("published by a node, KB")
    members.step(number, [record.members for record in records], where="post")
    members.set_xlabel("round interval")
    members.set_ylabel("members")
    members.set_ylim(bottom=0)
    last.set_xlabel("round interval")
    names = sorted({name for record in records for name in record.groups})
    if len(names) > 1:
        sizes = [[record.groups.get(name, 0) for record in records] for name in names]
        last.stackplot(number, sizes, labels=names)
        last.set_ylabel("members by group")
    else:
        last.plot(number, [record.test.worst for record in records], label="worst node")
        last.plot(number, [record.test.mean for record in records], label="mean of nodes")
        last.plot(number, [record.test.median for record in records], label="median node")
        last.set_ylabel(f"test {metric_label(summary.metric)} of a node")
    last.legend()
    try:
        # Without a date a run gives the same picture, byte for byte.
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from error


def _errors(axes: Any, x: list[Any], summary: Summary, records: Sequence[RoundRecord]) -> None:
    axes.plot(x, [record.test.pooled for record in records], label="test, all nodes")
    axes.axhline(summary.central["test"], color="black", linestyle="--", label="central")
    axes.set_ylabel(metric_label(summary.metric))
    axes.legend()


def matplotlib_figure() -> Any:
    """The module; UsageError when the extra `plot` is not installed."""
    try:
        import matplotlib.figure
    except ImportError:
        raise UsageError(
            "--plot needs matplotlib: pip install 'openfl-node[plot]' (or leave --plot out)"
        ) from None
    return matplotlib.figure
