"""What a member has had for a while: what others ought to have, too."""

from __future__ import annotations

from openfl.aggregation.version_vector import NOTHING, Version
from openfl.group.settled_versions import SettledVersions


def test_what_just_came_is_not_settled_and_what_was_before_is() -> None:
    settled = SettledVersions(3.0)
    first, second = {"a": Version(1, 4)}, {"a": Version(1, 5)}
    assert settled.at(first, 0.0) == {"a": NOTHING}
    assert settled.at(first, 3.0) == first
    assert settled.at(second, 4.0) == first
    assert settled.at(second, 6.9) == first
    assert settled.at(second, 7.0) == second


def test_an_author_that_never_pauses_does_not_hide_what_is_old() -> None:
    settled = SettledVersions(3.0)
    for second in range(100):
        found = settled.at({"a": Version(1, second + 1)}, float(second))
    assert found == {"a": Version(1, 97)}


def test_who_is_gone_is_forgotten() -> None:
    settled = SettledVersions(3.0)
    settled.at({"a": Version(1, 1), "b": Version(1, 1)}, 0.0)
    settled.at({"b": Version(1, 1)}, 1.0)
    assert not settled._current.keys() - {"b"}
    assert not settled._before.keys() - {"b"}
