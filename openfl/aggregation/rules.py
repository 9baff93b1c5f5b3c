"""The rules by which members' contributions become one model: the one list of them.

A rule of OpenFL's own is a `Rule` in `_KNOWN` and a name in `openfl/core/rule_names.py`; others are
registered at run time, with `register_rule`. Most are a centre of the members' proposals, row by
row (`by_centre`); some choose among members (`by_choice`). See docs/robustness.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from openfl.aggregation import robust
from openfl.aggregation.replica import Replica
from openfl.aggregation.robust import Matrix, Stack
from openfl.aggregation.robust_view import best_by_krum, model_by_centre
from openfl.core.contribution import PeerId
from openfl.core.errors import ConfigError
from openfl.core.model_view import DenseModel
from openfl.core.rule_names import RULE_NAMES, add_rule_name, remove_rule_name

CLIP_RADIUS = 1.0

View = Callable[[Replica, float, Collection[PeerId]], DenseModel]
"""(registers, part of the members that the rule is to withstand, members left out) -> the model of
the others."""


@dataclass(frozen=True)
class Rule:
    """One rule. running: it is the mean that a replica keeps anyway. screens: members that do harm
    are left out (`openfl.aggregation.member_judge`)."""

    name: str
    view: View
    running: bool = False
    screens: bool = False


def by_centre(name: str, centre: Callable[[Stack, float], Matrix], prior: bool = True) -> Rule:
    """A rule that makes each row of the members' proposals for it.

    centre: float64[n, width] of a `Stack` and the part of the members to withstand. prior: whether
    rows are then pulled to zero as far as the charter's prior is surer than the members.
    """

    def view(replica: Replica, hostile_fraction: float, out: Collection[PeerId]) -> DenseModel:
        def at(stack: Stack) -> Matrix:
            return centre(stack, hostile_fraction)

        return model_by_centre(replica, at, out, prior)

    return Rule(name, view)


def by_choice(
    name: str, choose: Callable[[Replica, list[PeerId], float], Collection[PeerId]]
) -> Rule:
    """A rule that takes the mean of some members: those that `choose` keeps of the ones given, with
    the part of them to withstand."""

    def view(replica: Replica, hostile_fraction: float, out: Collection[PeerId]) -> DenseModel:
        members = [m.peer_id for m in replica.members()]
        given = [peer for peer in members if peer not in out]
        kept = choose(replica, given, hostile_fraction)
        return replica.view_without([peer for peer in members if peer not in kept])

    return Rule(name, view)


def _mean(replica: Replica, hostile_fraction: float, out: Collection[PeerId]) -> DenseModel:
    return replica.view_without(out)


_KNOWN: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("screened-mean", _mean, running=True, screens=True),
        Rule("mean", _mean, running=True),
        by_centre("average", lambda stack, _: robust.evidence_mean(stack), prior=False),
        by_centre("median", lambda stack, _: robust.weighted_median(stack)),
        by_centre("trimmed-mean", robust.trimmed_mean),
        by_centre("centred-clip", lambda stack, _: robust.centred_clip(stack, CLIP_RADIUS)),
        by_choice("krum", partial(best_by_krum, single=True)),
        by_choice("multi-krum", partial(best_by_krum, single=False)),
    )
}

RULES: Mapping[str, Rule] = MappingProxyType(_KNOWN)
"""Name -> rule."""


def register_rule(rule: Rule) -> None:
    """Make `rule` known, so that `aggregation.rule` (and `training.rule` of a scenario) may name
    it. ValueError when there is one of that name."""
    if rule.name in _KNOWN:
        raise ValueError(f'there is a rule "{rule.name}" already')
    _KNOWN[rule.name] = rule
    add_rule_name(rule.name)


def unregister_rule(name: str) -> None:
    """Undo `register_rule`. KeyError when there is no such rule."""
    del _KNOWN[name]
    remove_rule_name(name)


def find_rule(name: str) -> Rule:
    """The rule of that name; ConfigError when there is none."""
    rule = _KNOWN.get(name)
    if rule is None:
        known = ", ".join(RULE_NAMES)
        raise ConfigError(f'aggregation.rule: there is no rule "{name}" (known: {known})')
    return rule
