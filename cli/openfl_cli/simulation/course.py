"""One run of a scenario as the plain values that its report is made of, and its lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from openfl.core.telemetry import json_plain

if TYPE_CHECKING:
    from openfl.simulation.records import Summary
    from openfl.simulation.run import Outcome
    from openfl.simulation.scenario import Fault, Scenario

MOST_NODES = 400
"""Of a run of more the report shows no node by itself."""
MOST_COMMUNITIES = 12
ALONE_NODES = 200
"""For more nodes it takes too long to work out how each would do alone."""


def course_of(scenario: Scenario, outcome: Outcome, communities: list[int]) -> dict[str, Any]:
    """The object of the kind "course": what the records and the summary of a run do not say.
    communities: of each node."""
    engine, summary = outcome.engine, outcome.summary
    distinct = len(set(communities))
    tastes = scenario.groups.several and 1 < distinct <= MOST_COMMUNITIES
    hostile = {member.index for member in engine.members if not member.honest}
    nodes: list[dict[str, Any]] = []
    if scenario.run.nodes <= MOST_NODES:
        nodes = [
            {
                "name": f"node-{index + 1}",
                "community": communities[index] if tastes else None,
                "hostile": index in hostile,
                "path": [list(place) for place in course.path],
                "values": course.values,
                "teachers": sorted(course.teachers.items()),
            }
            for index, course in enumerate(engine.courses.nodes)
        ]
    plain: dict[str, Any] = json_plain(
        {
            "kind": "course",
            "scenario": scenario.name,
            "description": scenario.run.description,
            "several": scenario.groups.several,
            "communities": distinct if tastes else 1,
            "events": list(_events(scenario)),
            "references": list(_references(outcome, summary)),
            "nodes": nodes,
            "moves": [
                {
                    "round": move.round,
                    "node": move.node,
                    "from": move.left,
                    "to": move.entered,
                    "action": move.action,
                    "why": move.why,
                }
                for move in engine.state.moves
            ]
            if nodes
            else [],
        }
    )
    return plain


def _events(scenario: Scenario) -> Iterator[dict[str, Any]]:
    nodes, section = scenario.run.nodes, scenario.members
    if section.hostile_fraction and section.attack_from_round:
        yield {"round": section.attack_from_round, "what": "attack", "text": "attack begins"}
    for fault in scenario.events:
        yield {"round": fault.at_round, "what": fault.what, "text": _told(fault, nodes)}


def _told(fault: Fault, nodes: int) -> str:
    match fault.what:
        case "partition":
            return f"cut into {fault.parts}"
        case "heal":
            return "healed"
        case _:
            return f"{fault.how_many(nodes)} {fault.what}"


def _references(outcome: Outcome, summary: Summary) -> Iterator[dict[str, Any]]:
    """What the error is to be seen against: the mean over nodes where groups are the question, else
    over all held-out data together, as the report's chart has it."""
    grouping, alone = summary.grouping, outcome.alone
    if alone is not None:
        value = alone.mean if grouping is not None else alone.pooled
        yield {"key": "alone", "name": "each alone", "value": value}
    if grouping is None:
        central = summary.final / (1 + summary.against_central)  # on the nodes there at the end
        yield {"key": "central", "name": "one place, all data", "value": central}
        return
    yield {"key": "together", "name": "one model for all", "value": grouping.together}
    yield {"key": "oracle", "name": "one for each community", "value": grouping.oracle}
    yield {"key": "random", "name": "random groups", "value": grouping.random}
