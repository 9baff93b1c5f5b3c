"""The replica is a function of the set of deltas and leaves it heard, to the last bit.

A history of a small group (restarts, leaves, a dishonest author who signs two deltas with one
seqno) is made at random and heard in random order, with repetitions. It is compared with a
reference that knows nothing but the definition: for each register the latest delta wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import PRECISION_BITS, value_bits
from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.replica import Completeness, MergeKind, Replica, ReplicaLimits
from openfl.core.contribution import MAX_PRECISION, PeerId
from tests.protocol_samples import CHARTER, HALF, ITEMS, MEAN, block, delta, envelope_of, peer

laws = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
AUTHORS = [peer(i) for i in range(3)]


@dataclass(frozen=True)
class Said:
    author: PeerId
    what: Delta | int
    """A delta, or the epoch of a leave."""


@st.composite
def blocks(draw: st.DrawFn) -> tuple[QuantizedBlock, ...]:
    made = []
    for schema, keys in ((ITEMS, range(8)), (MEAN, range(1)), (HALF, range(3))):
        chosen = draw(st.sets(st.sampled_from(keys), max_size=len(keys)))
        if chosen:
            made.append(block(schema, sorted(chosen), seed=draw(st.integers(0, 10**6))))
    return tuple(made)


@st.composite
def histories(draw: st.DrawFn, leaves: bool = True, honest: bool = False) -> list[Said]:
    """Deltas number 1, 2, ... without gaps in up to three epochs of each author."""
    said: list[Said] = []
    for author in AUTHORS:
        for epoch in range(1, draw(st.integers(0, 3)) + 1):
            for seqno in range(1, draw(st.integers(1, 5)) + 1):
                variants = 1 if honest else draw(st.sampled_from([1, 1, 1, 1, 2]))
                for _ in range(variants):
                    said.append(Said(author, delta(seqno, epoch, draw(blocks()))))
        if leaves and draw(st.booleans()):
            said.append(Said(author, draw(st.integers(1, 3))))
    return said


def hear(replica: Replica, said: Said, now: float = 0.0) -> MergeKind:
    if isinstance(said.what, int):
        return replica.leave(said.author, said.what, b"leave", now).kind
    return replica.merge(said.author, said.what, envelope_of(said.author, said.what), now).kind


def replica_of(history: list[Said]) -> Replica:
    replica = Replica(CHARTER)
    for said in history:
        assert hear(replica, said) is not MergeKind.REFUSED
    return replica


def bits(replica: Replica) -> dict[str, bytes]:
    """Everything a replica says of the model, as bytes."""
    state = {"digest": replica.digest()}
    view = replica.view()
    for table in CHARTER.tables:
        live = replica._sums[table.name].live()
        for name in ("keys", "num", "den", "evidence", "registers"):
            state[f"{table.name}.{name}"] = getattr(live, name).tobytes()
        keys = view.keys(table.name)
        state[f"{table.name}.rows"] = view.rows(table.name, keys).tobytes()
    return state


def reference_registers(history: list[Said]) -> dict[tuple[PeerId, str, int], tuple]:
    """(author, table, key) -> (value, evidence, curvature), from the definition alone."""
    registers: dict[tuple[PeerId, str, int], tuple] = {}
    for author in AUTHORS:
        mine = [said.what for said in history if said.author == author]
        left = max((what for what in mine if isinstance(what, int)), default=0)
        deltas = [d for d in mine if isinstance(d, Delta) and d.epoch > left]
        current = max((d.epoch for d in deltas), default=0)
        for d in sorted(deltas, key=lambda d: (d.seqno, d.digest)):
            if d.epoch != current:
                continue
            for b in d.blocks:
                for key, value, evidence in zip(b.keys, b.values(), b.evidence, strict=True):
                    registers[author, b.table, int(key)] = (value, int(evidence), b.curvature)
    return registers


def reference_sums(history: list[Said]) -> dict[tuple[str, int], tuple[list[int], list[int], int]]:
    """(table, key) -> (num, den, evidence) in Python's unbounded integers."""
    sums: dict[tuple[str, int], tuple[list[int], list[int], int]] = {}
    for (_, table, key), (value, evidence, curvature) in reference_registers(history).items():
        schema = CHARTER.table(table)
        h = [min(evidence * float(c), MAX_PRECISION) for c in curvature]
        num = [
            round(Fraction(p * float(x)) * 2 ** value_bits(schema))
            for p, x in zip(h, value, strict=True)
        ]
        den = [round(Fraction(p) * 2**PRECISION_BITS) for p in h]
        old = sums.get((table, key), ([0] * len(num), [0] * len(num), 0))
        sums[table, key] = (
            [a + b for a, b in zip(old[0], num, strict=True)],
            [a + b for a, b in zip(old[1], den, strict=True)],
            old[2] + evidence,
        )
    return sums


@laws
@given(histories(), st.data())
def test_any_order_and_repetition_gives_the_same_bits(
    history: list[Said], data: st.DataObject
) -> None:
    heard = data.draw(
        st.permutations(
            history + data.draw(st.lists(st.sampled_from(history)) if history else st.just([]))
        )
    )
    assert bits(replica_of(heard)) == bits(replica_of(history))


@laws
@given(histories())
def test_the_sums_are_those_of_the_definition(history: list[Said]) -> None:
    replica = replica_of(history[::-1])
    expected = reference_sums(history)
    found = {}
    for table in CHARTER.tables:
        live = replica._sums[table.name].live()
        for row, key in enumerate(live.keys):
            found[table.name, int(key)] = (
                live.num[row].tolist(),
                live.den[row].tolist(),
                int(live.evidence[row]),
            )
    assert found == expected


@laws
@given(histories())
def test_the_view_is_the_precision_weighted_mean(history: list[Said]) -> None:
    replica = replica_of(history)
    view = replica.view()
    for (table, key), (num, den, evidence) in reference_sums(history).items():
        schema = CHARTER.table(table)
        row = view.rows(table, np.array([key], dtype=np.uint64))[0]
        for c in range(schema.width):
            total = den[c] / 2**PRECISION_BITS + schema.prior[c]
            total += schema.prior_per_evidence[c] * evidence
            if total > 0:
                assert abs(row[c] - num[c] / 2 ** value_bits(schema) / total) < 1e-5
        assert view.evidence(table, np.array([key], dtype=np.uint64))[0] == evidence


@laws
@given(histories(), st.sampled_from(AUTHORS), st.data())
def test_a_leaver_is_gone_to_the_last_bit(
    history: list[Said], leaver: PeerId, data: st.DataObject
) -> None:
    others = [said for said in history if said.author != leaver]
    heard = data.draw(st.permutations([*history, Said(leaver, 3)]))
    assert bits(replica_of(heard)) == bits(replica_of(others))


@laws
@given(histories(), st.sets(st.sampled_from(AUTHORS)))
def test_a_view_without_members_is_that_of_a_replica_that_never_heard_them(
    history: list[Said], absent: set[PeerId]
) -> None:
    whole = replica_of(history)
    without = replica_of([said for said in history if said.author not in absent])
    for table in CHARTER.tables:
        seen, expected = whole.view_without(absent), without.view()
        assert seen.keys(table.name).tolist() == expected.keys(table.name).tolist()
        keys = seen.keys(table.name)
        assert seen.rows(table.name, keys).tobytes() == expected.rows(table.name, keys).tobytes()
        assert (seen.evidence(table.name, keys) == expected.evidence(table.name, keys)).all()
    assert bits(whole) == bits(replica_of(history)), "looking must not change anything"


@laws
@given(histories(), st.sampled_from(AUTHORS))
def test_an_expired_member_is_gone_to_the_last_bit(history: list[Said], silent: PeerId) -> None:
    replica = Replica(CHARTER, ReplicaLimits(member_ttl_seconds=100))
    for said in history:
        hear(replica, said, now=0.0)
    for author in AUTHORS:
        if author != silent:
            replica.heard(author, now=100.0)
    replica.expire(now=100.0)
    assert bits(replica) == bits(replica_of([s for s in history if s.author != silent]))


@laws
@given(histories())
def test_only_deltas_with_live_rows_are_kept_and_the_count_of_rows_is_exact(
    history: list[Said],
) -> None:
    replica = replica_of(history)
    registers = reference_registers(history)
    assert replica.register_count == len(registers)
    assert replica.model_rows == len({(table, key) for _, table, key in registers})
    for author, member in replica._members.items():
        backed = sum(len(t) for t in member.tables.values())
        entries = list(member.log.after(0))
        assert sum(e.live_rows for e in entries) == backed
        assert all(e.live_rows > 0 for e in entries[:-1])
        assert member.log.envelope_bytes == sum(len(e.envelope) for e in entries)
        assert replica.member_rows(author, "items").keys.tolist() == sorted(
            key for a, table, key in registers if (a, table) == (author, "items")
        )
    again = replica_of(history[::-1])
    if not any(isinstance(said.what, int) for said in history):
        assert again.size_bytes == replica.size_bytes


def transfer(
    server: Replica,
    joiner: Replica,
    deltas: dict[bytes, Said],
    max_bytes: int,
    between_pages: list[Said] = (),  # type: ignore[assignment]
) -> int:
    """A whole snapshot, page by page, as a session does it; returns the number of pages."""
    pages, cursor, news = 0, None, list(between_pages)
    known = joiner.version_vector()
    while True:
        page = server.page(known, 0.0, max_bytes, cursor)
        pages += 1
        assert pages < 1000, "paging does not end"
        for item in page.items:
            said = deltas[item.envelope]
            assert said.author == item.author
            hear(joiner, said)
        for statement in page.complete:
            joiner.mark_complete(statement)
        cursor = page.cursor
        if cursor is None:
            return pages
        if news:
            hear(server, news.pop())


def by_envelope(history: list[Said]) -> dict[bytes, Said]:
    found = {}
    for said in history:
        if isinstance(said.what, Delta):
            found[envelope_of(said.author, said.what)] = said
    return found


@laws
@given(histories(leaves=False, honest=True), st.integers(1, 2000), st.data())
def test_a_snapshot_gives_an_equal_replica(
    history: list[Said], max_bytes: int, data: st.DataObject
) -> None:
    server = replica_of(history)
    half = data.draw(st.sets(st.integers(0, max(0, len(history) - 1))))
    joiner = replica_of([said for i, said in enumerate(history) if i in half])
    transfer(server, joiner, by_envelope(history), max_bytes)
    assert bits(joiner) == bits(server)
    assert joiner.version_vector() == server.version_vector()
    assert joiner.behind(server.version_vector()) == ()


@laws
@given(histories(), st.integers(1, 2000))
def test_a_whole_snapshot_carries_leaves_and_the_deltas_of_liars_too(
    history: list[Said], max_bytes: int
) -> None:
    server, joiner = replica_of(history), Replica(CHARTER)
    cursor = None
    while True:
        page = server.page({}, 0.0, max_bytes, cursor)
        for item in page.items:
            if item.kind == "leave":
                epoch = max(
                    s.what
                    for s in history
                    if s == Said(item.author, s.what) and isinstance(s.what, int)
                )
                hear(joiner, Said(item.author, epoch))
            else:
                hear(joiner, by_envelope(history)[item.envelope])
        cursor = page.cursor
        if cursor is None:
            break
    assert bits(joiner) == bits(server)
    for said in history:  # nothing that the server has put behind it comes back
        hear(joiner, said)
    assert bits(joiner) == bits(server)


@laws
@given(histories(leaves=False, honest=True), st.integers(1, 600), st.data())
def test_a_snapshot_taken_while_its_server_hears_more_never_hides_what_is_missing(
    history: list[Said], max_bytes: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(history))
    cut = data.draw(st.integers(0, len(order)))
    server = replica_of(order[:cut])
    joiner = Replica(CHARTER)
    everything = by_envelope(history)
    transfer(server, joiner, everything, max_bytes, order[cut:])
    for said in order:  # whatever was not heard between pages
        hear(server, said)
    # Repair from version vectors alone must now find every difference.
    for _ in range(100):
        missing = joiner.behind(server.version_vector())
        if not missing:
            break
        wants = {author: have for author, have, _ in missing}
        page = server.page(wants, 0.0, max_bytes, authors=wants)
        while True:
            for item in page.items:
                hear(joiner, everything[item.envelope])
            for statement in page.complete:
                joiner.mark_complete(statement)
            if page.cursor is None:
                break
            page = server.page(wants, 0.0, max_bytes, page.cursor, authors=wants)
    assert bits(joiner) == bits(server)


@laws
@given(histories(leaves=False), st.sampled_from(AUTHORS), st.integers(1, 10**18))
def test_a_lying_statement_never_makes_a_replica_deaf_to_what_is_signed_later(
    history: list[Said], author: PeerId, lie: int
) -> None:
    replica = replica_of(history)
    version = replica.version_of(author)
    replica.mark_complete(Completeness(author, version.epoch, 0, lie, 0.0))
    latest = max(
        (s.what.seqno for s in history if s.author == author and s.what.epoch == version.epoch),
        default=0,
    )
    assert not replica.has_heard(author, version.epoch or 1, latest + 1)
