"""The directory of groups: freshest cards, bounds against floods, finding by name or id."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from openfl.core.contribution import Charter, GroupCard, PeerId
from openfl.switching.directory import MAX_BYTES, Directory
from tests.group_rig import TABLE, peer

NOW = 1000.0
LIFE = 300.0


def charter(name: str = "music", seed: int = 1) -> Charter:
    return Charter(name, "mean", (TABLE,), {}, seed=seed)


def card(
    group: Charter | None = None, issuer: PeerId | None = None, issued_at: float = 1.0
) -> GroupCard:
    return GroupCard(
        charter=group if group is not None else charter(),
        members=3,
        rows=10,
        fit_metric="rmse",
        fit_best=0.8,
        fit_median=0.9,
        issuer=issuer if issuer is not None else peer(1),
        issued_at=issued_at,
    )


def directory(**options: Any) -> Directory:
    return Directory(time_to_live_seconds=LIFE, **options)


def add(known: Directory, one: GroupCard, now: float = NOW, age: float = 0.0) -> bool:
    return known.add(one, b"envelope of " + repr(one.issued_at).encode(), now, age)


def names(known: Directory, now: float = NOW) -> list[str]:
    return [k.card.charter.name for k in known.listed(now)]


def test_a_new_card_is_news_and_is_listed_with_its_envelope() -> None:
    known = directory()
    assert add(known, card())
    (listed,) = known.listed(NOW)
    assert listed.card == card()
    assert listed.envelope == b"envelope of 1.0"


def test_the_same_card_again_is_no_news() -> None:
    known = directory()
    add(known, card())
    assert not add(known, card())


def test_a_later_card_of_the_same_issuer_takes_the_place_of_the_earlier() -> None:
    known = directory()
    add(known, card(issued_at=1.0))
    assert add(known, card(issued_at=2.0))
    assert [k.card.issued_at for k in known.all_cards()] == [2.0]


def test_an_earlier_card_that_comes_late_changes_nothing() -> None:
    known = directory()
    add(known, card(issued_at=2.0))
    assert not add(known, card(issued_at=1.0))
    assert [k.card.issued_at for k in known.all_cards()] == [2.0]


def told(
    known: Directory, claims: dict[int, int], group: Charter | None = None, **times: float
) -> None:
    """Issuer -> how many members it claims."""
    for number, members in claims.items():
        add(known, replace(card(group, peer(number)), members=members), **times)


def members(known: Directory, now: float = NOW) -> int:
    (described,) = known.listed(now)
    return described.card.members


def test_the_median_of_what_issuers_claim_describes_the_group() -> None:
    known = directory()
    told(known, {1: 5, 2: 6, 3: 5})
    told(known, {7: 0, 8: 10**12}, now=NOW + 1)
    assert members(known) == 5


def test_a_card_repeated_each_second_by_one_who_contradicts_changes_nothing() -> None:
    # Its clock says years later than that of the only honest issuer.
    known = directory()
    told(known, {1: 5})
    for second in range(1, 60):
        lie = replace(card(issuer=peer(9), issued_at=9e9 + second), members=0)
        assert add(known, lie, now=NOW + second)
        assert members(known, NOW + second) == 5


def test_four_new_identities_that_speak_each_second_push_out_no_honest_card() -> None:
    known = directory()
    told(known, {1: 5, 2: 6, 3: 5, 4: 6})
    for second in range(1, 100):
        for number in range(100, 104):
            lie = replace(card(issuer=peer(number), issued_at=1.0 + second), members=0)
            add(known, lie, now=NOW + second)
    assert {peer(n) for n in (1, 2, 3, 4)} <= {k.card.issuer for k in known.all_cards()}
    assert members(known, NOW + 99) == 5


def test_who_is_seen_to_be_of_the_group_is_believed_before_any_number_of_others() -> None:
    """A peer that is connected and subscribes to the group's topic; better still, one whose signed
    contribution was fetched; best, this node itself."""
    seen: set[PeerId] = set()
    known = directory(me=peer(3), at_hand=lambda group_id: seen)
    told(known, {n: 0 for n in range(100, 108)})
    told(known, {1: 5}, now=NOW + 1)
    assert members(known) == 0
    seen.add(peer(1))
    assert members(known) == 5
    told(known, {2: 6}, now=NOW + 1)
    known.fetched(charter().group_id, [peer(2)])
    assert members(known) == 6
    told(known, {3: 7}, now=NOW + 1)
    assert members(known) == 7


def test_a_card_ages_and_is_forgotten_when_nobody_renews_it() -> None:
    known = directory()
    add(known, card(), age=100.0)
    assert known.listed(NOW + 199.0)[0].age(NOW + 199.0) == 299.0
    assert known.listed(NOW + 201.0) == ()


def test_a_renewed_card_lives_on() -> None:
    known = directory()
    add(known, card(issued_at=1.0))
    add(known, card(issued_at=2.0), now=NOW + 200.0)
    assert names(known, NOW + 400.0) == ["music"]


def test_a_card_that_is_too_old_when_it_comes_is_not_taken() -> None:
    known = directory()
    assert not add(known, card(), age=LIFE + 1)
    assert add(known, card(), age=LIFE - 1)


def test_a_card_from_the_future_is_as_good_as_new_and_no_better() -> None:
    known = directory()
    add(known, card(), age=-1e9)
    assert names(known, NOW + LIFE + 1) == []


def test_groups_of_one_name_and_different_charters_are_two() -> None:
    known = directory()
    add(known, card(charter(seed=1)))
    add(known, card(charter(seed=2)))
    assert names(known) == ["music", "music"]
    assert len(known.find("music", NOW)) == 2


def test_groups_are_listed_by_name() -> None:
    known = directory()
    for name in ("zither", "alto", "music"):
        add(known, card(charter(name)))
    assert names(known) == ["alto", "music", "zither"]


def test_of_a_group_the_issuers_known_for_longest_and_the_latest_are_kept() -> None:
    known = directory(max_issuers=2)
    for number in (1, 2, 3):
        add(known, card(issuer=peer(number)), now=NOW + number)
    assert {k.card.issuer for k in known.all_cards()} == {peer(1), peer(3)}


def test_a_flood_of_groups_by_one_issuer_stops_at_its_bound() -> None:
    known = directory(max_groups_per_issuer=3)
    taken = [add(known, card(charter(f"flood {n}"), peer(9))) for n in range(10)]
    assert sum(taken) == 3
    assert add(known, card(charter("music"), peer(1)))


def test_an_issuer_at_its_bound_may_still_renew() -> None:
    known = directory(max_groups_per_issuer=1)
    add(known, card(charter("one"), peer(9), 1.0))
    assert not add(known, card(charter("two"), peer(9), 1.0))
    assert add(known, card(charter("one"), peer(9), 2.0))


def test_when_full_a_group_that_nobody_renews_makes_room() -> None:
    known = directory(max_groups=2)
    add(known, card(charter("old"), peer(1)), age=200.0)
    add(known, card(charter("alive"), peer(2)), age=1.0)
    assert add(known, card(charter("new"), peer(3)))
    assert names(known) == ["alive", "new"]


def test_identities_that_tell_of_many_groups_push_out_none_of_those_that_tell_of_one() -> None:
    """1,024 places: 64 identities with 16 fresh cards each, again and again."""
    known = directory()
    honest = [f"honest {n}" for n in range(20)]
    for n, name in enumerate(honest[:10]):
        add(known, card(charter(name), peer(n)))
    for again in range(2):
        for n in range(64 * 16):
            flood = card(charter(f"flood {again} {n}", seed=again), peer(1000 + n % 64))
            add(known, flood, now=NOW + 60 + again)
    for n, name in enumerate(honest[10:]):  # who comes later finds a place too
        add(known, card(charter(name), peer(10 + n)), now=NOW + 62)
    listed = names(known, NOW + 62)
    assert len(listed) == 1024
    assert set(honest) <= set(listed)


def test_nor_do_as_many_identities_as_there_are_places_push_out_what_is_known() -> None:
    known = directory(max_groups=20)
    for n in range(10):
        add(known, card(charter(f"honest {n}"), peer(n)))
    for n in range(100):
        add(known, card(charter(f"flood {n}"), peer(1000 + n)), now=NOW + 60)
    assert sum(name.startswith("honest") for name in names(known)) == 10


def test_a_group_whose_member_is_at_hand_finds_a_place_among_any_flood() -> None:
    at_hand = {charter("late").group_id: {peer(1)}}
    known = directory(max_groups=20, at_hand=lambda group_id: at_hand.get(group_id, ()))
    for n in range(100):
        add(known, card(charter(f"flood {n}"), peer(1000 + n)))
    assert add(known, card(charter("late"), peer(1)), now=NOW + 1)
    assert known.by_worth(NOW + 1)[0].card.charter.name == "late"


def test_cards_of_great_length_are_bounded_together() -> None:
    known = directory()
    for n in range(300):
        known.add(card(charter(f"group {n}"), peer(n)), bytes(60 << 10), NOW)
    assert sum(len(k.envelope) for k in known.all_cards()) <= MAX_BYTES


def test_when_full_older_news_does_not_push_out_a_group_that_is_alive() -> None:
    known = directory(max_groups=2)
    add(known, card(charter("old"), peer(1)), age=100.0)
    add(known, card(charter("alive"), peer(2)), age=1.0)
    assert not add(known, card(charter("older"), peer(3)), age=150.0)
    assert names(known) == ["alive", "old"]


def test_a_group_is_found_by_its_name() -> None:
    known = directory()
    add(known, card(charter("music")))
    add(known, card(charter("films")))
    assert [k.card.charter.name for k in known.find("films", NOW)] == ["films"]
    assert known.find("film", NOW) == ()


def test_a_group_is_found_by_the_beginning_of_its_id_in_any_case() -> None:
    known = directory()
    add(known, card(charter("music")))
    group_id = charter("music").group_id
    for reference in (group_id, group_id[:4], group_id[:8].upper()):
        assert [k.card.charter.group_id for k in known.find(reference, NOW)] == [group_id]


def test_three_characters_of_an_id_are_too_few() -> None:
    known = directory()
    add(known, card(charter("music")))
    assert known.find(charter("music").group_id[:3], NOW) == ()
    assert known.find("", NOW) == ()


def test_a_name_wins_over_the_id_of_another_group() -> None:
    known = directory()
    add(known, card(charter("music")))
    sly = charter(charter("music").group_id[:6])
    add(known, card(sly))
    assert [k.card.charter for k in known.find(sly.name, NOW)] == [sly]


def test_forgetting_one_issuer_keeps_the_word_of_others() -> None:
    known = directory()
    add(known, card(issuer=peer(1)))
    add(known, card(issuer=peer(2)))
    known.forget(charter().group_id, peer(1))
    assert {k.card.issuer for k in known.all_cards()} == {peer(2)}


def test_a_group_whose_last_card_is_forgotten_is_gone() -> None:
    known = directory(max_groups=1)
    add(known, card(issuer=peer(1)))
    known.forget(charter().group_id, peer(1))
    known.forget(charter().group_id, peer(1))  # twice does no harm
    assert names(known) == []
    assert add(known, card(charter("next")), age=299.0)  # its place is free
