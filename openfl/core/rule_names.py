"""The names of the rules by which contributions become one model: what a configuration may say.

The rules are in `openfl.aggregation.rules`. Their names are here because the configuration, which
loads no arrays, must know them too.
"""

from __future__ import annotations

from collections.abc import KeysView

_NAMES: dict[str, None] = dict.fromkeys(
    (
        "screened-mean",
        "mean",
        "average",
        "median",
        "trimmed-mean",
        "centred-clip",
        "krum",
        "multi-krum",
    )
)

RULE_NAMES: KeysView[str] = _NAMES.keys()
"""All of them; those that were registered at run time last."""


def add_rule_name(name: str) -> None:
    """Let `aggregation.rule` be `name`. For `openfl.aggregation.rules.register_rule`."""
    _NAMES[name] = None


def remove_rule_name(name: str) -> None:
    """Undo `add_rule_name`. KeyError when there is no such name."""
    del _NAMES[name]
