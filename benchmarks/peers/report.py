"""The tables of `run.py`, in Markdown, from what was measured (plain JSON values). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from figures import Spread

Result = Mapping[str, Any]
TOGETHER = (
    "processes",
    "learner",
    "s to 1 %",
    "s a round",
    "CPU ms",
    "KB sent",
    "CPU s a node until 1 %",
    "failures",
)
KILL = ("processes", "learner", "longest wait, s", "usual, s", "everybody went on")
ALONE = ("library", "seconds", "CPU seconds", "metric", "chosen on validation")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up on a terminal."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def _spread(results: Sequence[Result], *names: str) -> Spread:
    """Over the repetitions: of the value under these names, one within the other."""
    found: list[float | None] = []
    for result in results:
        value: Any = result
        for name in names:
            value = None if value is None else value.get(name)
        found.append(value)
    return Spread.over(found)


def failures(results: Sequence[Result]) -> str:
    """How many of the repetitions failed."""
    failed = sum(r["status"] != "ok" for r in results)
    return f"{failed} of {len(results)}" if failed else "none"


def failure_lines(results: Sequence[Result]) -> list[str]:
    """What went wrong, each text once with how often."""
    lines = []
    for nodes, system, own in _grouped(results):
        texts = [str(r["status"]) for r in own if r["status"] != "ok"]
        for text in dict.fromkeys(texts):
            lines.append(f"- {system}, {nodes} processes, {texts.count(text)} x {text}")
    return lines


def together_rows(results: Sequence[Result]) -> list[list[str]]:
    """One row for each number of processes and learner. Processor time until within 1 % is told a
    node, start included."""
    rows = []
    for nodes, system, own in _grouped(results):
        until = Spread.over(
            [
                None if r.get("processor_until_then") is None else r["processor_until_then"] / nodes
                for r in own
            ]
        )
        rows.append(
            [
                str(nodes),
                f"{system} {own[0]['version']}",
                _spread(own, "seconds").text(),
                _spread(own, "seconds_a_round").text(),
                _spread(own, "milliseconds_a_round").text(".0f"),
                _spread(own, "kilobytes_a_round").text(".0f"),
                until.text(),
                failures(own),
            ]
        )
    return rows


def kill_rows(results: Sequence[Result]) -> list[list[str]]:
    """Only of the repetitions in which a member was killed."""
    rows = []
    for nodes, system, own in _grouped(results):
        killed = [r for r in own if r.get("kill")]
        if not killed:
            continue
        went_on = sum(bool(r["kill"]["everybody"]) for r in killed)
        rows.append(
            [
                str(nodes),
                system,
                _spread(killed, "kill", "longest").text(),
                _spread(killed, "kill", "usual").text(),
                f"{went_on} of {len(killed)}",
            ]
        )
    return rows


def alone_rows(rows: Sequence[Result], plays: bool) -> list[list[str]]:
    """Of ratings (RMSE) or of plays (NDCG@10)."""
    shown = []
    for row in rows:
        if row["plays"] != plays:
            continue
        label = f"{row['label']} ({row['version']})"
        if row["status"] != "ok":
            shown.append([label, "-", "-", "-", str(row["status"]).replace("|", "/")])
            continue
        chosen = {k: v for k, v in row["configuration"].items() if k not in ("algorithm", "kind")}
        shown.append(
            [
                label,
                Spread.over(row["wall"]).text(".3f"),
                Spread.over(row["processor"]).text(".3f"),
                Spread.over(row["metric"]).text(".4f"),
                f"{json.dumps(chosen)} of {row['grid']}" if chosen else "its defaults",
            ]
        )
    return shown


def _grouped(results: Sequence[Result]) -> list[tuple[int, str, list[Result]]]:
    groups: dict[tuple[int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["nodes"], result["system"]), []).append(result)
    return [
        (nodes, system, own)
        for (nodes, system), own in sorted(groups.items(), key=lambda item: item[0][0])
    ]


def report(measured: Mapping[str, Any]) -> str:
    """All of it. Figures are medians (least-most) of the repetitions."""
    about = measured["about"]
    lines = [
        f"{about['date']}, {about['machine']}, Python {about['python']}, OpenFL"
        f" {about['openfl']}; load average {about['load']} before the first run."
        f" Medians (least-most) of {about['repeats']} repetitions.",
    ]
    together = measured["together"]
    if together:
        shared = "" if about["confined"] else " Loopback was shared with other programs."
        lines += [
            "",
            f"Together, {about['interval']:g} s a round where a learner has a clock."
            f" Central RMSE {about['central']:.4f} (validation).{shared}",
            "",
        ]
        lines += [table(TOGETHER, together_rows(together))]
        if failed := failure_lines(together):
            lines += ["", *failed]
        killed = kill_rows(together)
        if killed:
            lines += ["", "SIGKILL of one member:", "", table(KILL, killed)]
    for plays, what in ((False, "Ratings, test RMSE:"), (True, "Plays, test NDCG@10:")):
        rows = alone_rows(measured["alone"], plays)
        if rows:
            lines += ["", what, "", table(ALONE, rows)]
    return "\n".join(lines)
