"""What every `Network` must do: the seam's promises, over real libp2p and over the simulation."""

from __future__ import annotations

import logging

import pytest
import trio
from network_rig import Rig, address_of, join, until

from openfl.core.contribution import PeerId
from openfl.core.errors import DecodeError, RequestFailed
from openfl.network.base import GossipMessage, Network, PeerAddress, Verdict
from tests.patience import PATIENCE_SECONDS
from tests.situation import within

TOPIC = "/openfl/1/test/deltas"
ECHO = "/openfl/test-echo/1"


class Inbox:
    """A gossip handler that keeps what it hears and gives one verdict."""

    def __init__(self, verdict: Verdict = Verdict.ACCEPT) -> None:
        self.verdict = verdict
        self.messages: list[GossipMessage] = []

    def __call__(self, message: GossipMessage) -> Verdict:
        self.messages.append(message)
        return self.verdict

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def has(self, count: int) -> bool:
        return len(self.messages) >= count


async def echo(asker: PeerId, payload: bytes) -> bytes:
    return payload


async def connect_and_ask(asker: Network, asked: Network) -> None:
    await asker.connect(address_of(asked))
    await asker.request(asked.peer_id, ECHO, b"")


# Gossip


async def test_a_message_arrives_with_its_author_and_who_relayed_it(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, inbox)
        await join(a, b, topic=TOPIC)
        await a.publish(TOPIC, b"hello")
        await until(lambda: inbox.has(1))
        assert inbox.messages == [GossipMessage(TOPIC, a.peer_id, a.peer_id, b"hello")]


async def test_an_accepted_message_is_relayed_to_a_third_peer(rig: Rig) -> None:
    async with rig.networks(3) as (a, b, c):
        inboxes = [Inbox(), Inbox(), Inbox()]
        for network, inbox in zip((a, b, c), inboxes, strict=True):
            await network.subscribe(TOPIC, inbox)
        await join(a, b, c, topic=TOPIC)
        await a.publish(TOPIC, b"to all")
        await until(lambda: inboxes[2].has(1))
        assert inboxes[2].messages == [GossipMessage(TOPIC, a.peer_id, b.peer_id, b"to all")]
        assert inboxes[0].messages == []  # a publisher does not hear itself


@pytest.mark.parametrize("verdict", [Verdict.IGNORE, Verdict.REJECT])
async def test_a_message_that_is_not_accepted_is_not_relayed(rig: Rig, verdict: Verdict) -> None:
    async with rig.networks(3) as (a, b, c):
        middle, end = Inbox(verdict), Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, middle)
        await c.subscribe(TOPIC, end)
        await join(a, b, c, topic=TOPIC)
        await a.publish(TOPIC, b"not wanted")
        await until(lambda: middle.has(1))
        middle.verdict = Verdict.ACCEPT
        await a.publish(TOPIC, b"wanted")
        await until(lambda: end.has(1))
        assert end.payloads == [b"wanted"]
        rejected = b.statistics().faults.get("gossip-rejected", 0)
        assert rejected == (1 if verdict is Verdict.REJECT else 0)


async def test_each_message_is_handled_once_though_it_comes_over_several_paths(rig: Rig) -> None:
    async with rig.networks(3) as (a, b, c):
        inboxes = [Inbox(), Inbox(), Inbox()]
        for network, inbox in zip((a, b, c), inboxes, strict=True):
            await network.subscribe(TOPIC, inbox)
        await join(a, b, c, a, topic=TOPIC)
        for number in range(20):
            await a.publish(TOPIC, b"%d" % number)
        await until(lambda: inboxes[1].has(20) and inboxes[2].has(20))
        # What b and c have relayed to each other has arrived when a word of their own has, which
        # takes no other way: a does not subscribe to its topic.
        last = [Inbox(), Inbox()]
        for network, inbox in zip((b, c), last, strict=True):
            await network.subscribe(TOPIC + "/last", inbox)
        await join(b, c, topic=TOPIC + "/last")
        await b.publish(TOPIC + "/last", b"b")
        await c.publish(TOPIC + "/last", b"c")
        await until(lambda: last[0].has(1) and last[1].has(1))
        assert sorted(inboxes[1].payloads) == sorted(inboxes[2].payloads)
        assert len(inboxes[1].payloads) == 20


async def test_messages_of_one_author_over_one_link_keep_their_order(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, inbox)
        await join(a, b, topic=TOPIC)
        sent = [b"%d" % number for number in range(60)]
        for payload in sent:
            await a.publish(TOPIC, payload)
        await until(lambda: inbox.has(60))
        assert inbox.payloads == sent


async def test_the_largest_message_arrives_whole(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, inbox)
        await join(a, b, topic=TOPIC)
        largest = bytes(range(256)) * (a.max_publish_bytes // 256)
        await a.publish(TOPIC, largest)
        await until(lambda: inbox.has(1))
        assert inbox.payloads == [largest]


async def test_a_message_above_the_limit_is_refused_before_it_is_sent(rig: Rig) -> None:
    async with rig.networks(1) as (a,):
        await a.subscribe(TOPIC, Inbox())
        with pytest.raises(ValueError, match="at most"):
            await a.publish(TOPIC, bytes(a.max_publish_bytes + 1))


async def test_after_unsubscribing_a_handler_hears_nothing(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        left, stayed = Inbox(), Inbox()
        await a.subscribe(TOPIC, Inbox())
        await a.subscribe(TOPIC + "2", Inbox())
        await b.subscribe(TOPIC, left)
        await b.subscribe(TOPIC + "2", stayed)
        await join(a, b, topic=TOPIC)
        await join(a, b, topic=TOPIC + "2")
        await b.unsubscribe(TOPIC)
        await a.publish(TOPIC, b"too late")
        await a.publish(TOPIC + "2", b"in time")
        await until(lambda: stayed.has(1))
        assert left.messages == []
        await b.unsubscribe("/never/joined")  # ignored


async def test_a_topic_can_be_joined_again_with_another_handler(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        second = Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, Inbox())
        await join(a, b, topic=TOPIC)
        await b.unsubscribe(TOPIC)
        await b.subscribe(TOPIC, second)

        def heard() -> bool:
            return second.has(1)

        # The mesh is closed for some seconds after leaving it: what is published meanwhile reaches
        # the peer as one of those that it is pushed to again.
        with within():
            while not heard():
                await a.publish(TOPIC, b"welcome back")
                await trio.sleep(0.25)


async def test_joining_a_topic_twice_is_a_bug(rig: Rig) -> None:
    async with rig.networks(1) as (a,):
        await a.subscribe(TOPIC, Inbox())
        with pytest.raises(RuntimeError, match="already"):
            await a.subscribe(TOPIC, Inbox())


async def test_a_handler_that_raises_is_counted_and_the_next_message_is_handled(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()

        def fails_once(message: GossipMessage) -> Verdict:
            inbox(message)
            if len(inbox.messages) == 1:
                raise ZeroDivisionError("a bug of ours")
            return Verdict.ACCEPT

        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, fails_once)
        await join(a, b, topic=TOPIC)
        with caplog.at_level(logging.CRITICAL):
            await a.publish(TOPIC, b"one")
            await a.publish(TOPIC, b"two")
            await until(lambda: inbox.has(2))
        assert b.statistics().faults["gossip-handler-bug"] == 1


async def test_a_peer_that_does_not_subscribe_can_publish(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()
        await b.subscribe(TOPIC, inbox)
        await a.connect(address_of(b))
        await until(lambda: any(TOPIC in peer.topics for peer in a.peers()))
        await a.publish(TOPIC, b"from outside")
        await until(lambda: inbox.has(1))


async def test_a_disconnected_peer_hears_again_after_being_redialled(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, inbox)
        for round_number in range(3):
            await join(a, b, topic=TOPIC)
            await a.publish(TOPIC, b"%d" % round_number)
            await until(lambda: inbox.has(round_number + 1))  # noqa: B023
            await a.disconnect(b.peer_id)
            await until(lambda: not a.peers() and not b.peers())
        assert inbox.payloads == [b"0", b"1", b"2"]


# Requests


@pytest.mark.parametrize("size", [0, 1, 60_000])
async def test_a_request_is_answered(rig: Rig, size: int) -> None:
    async with rig.networks(2) as (a, b):
        askers = []

        async def answer(asker: PeerId, payload: bytes) -> bytes:
            askers.append(asker)
            return payload[::-1]

        b.set_handler(ECHO, answer)
        await a.connect(address_of(b))
        payload = bytes(n % 251 for n in range(size))
        assert await a.request(b.peer_id, ECHO, payload) == payload[::-1]
        assert askers == [a.peer_id]


async def test_many_requests_at_once_get_their_own_answers(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        b.set_handler(ECHO, echo)
        await a.connect(address_of(b))
        answers: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            answers[number] = await a.request(b.peer_id, ECHO, b"%d" % number)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, number)
        assert answers == {number: b"%d" % number for number in range(30)}


async def test_a_protocol_that_nobody_handles_fails_the_request_only(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        b.set_handler(ECHO, echo)
        await a.connect(address_of(b))
        with pytest.raises(RequestFailed, match="does not speak"):
            await a.request(b.peer_id, "/nobody/1", b"")
        assert await a.request(b.peer_id, ECHO, b"still here") == b"still here"


async def test_a_request_above_the_handlers_limit_is_refused_and_counted(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        b.set_handler(ECHO, echo, max_request_bytes=100)
        await a.connect(address_of(b))
        assert await a.request(b.peer_id, ECHO, bytes(100)) == bytes(100)
        with pytest.raises(RequestFailed):
            await a.request(b.peer_id, ECHO, bytes(101))
        assert b.statistics().faults["request-too-large"] == 1


async def test_an_answer_above_the_askers_limit_fails_the_request(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        b.set_handler(ECHO, echo)
        await a.connect(address_of(b))
        payload = bytes(5000)
        assert await a.request(b.peer_id, ECHO, payload, max_response_bytes=5000) == payload
        with pytest.raises(RequestFailed, match="too large"):
            await a.request(b.peer_id, ECHO, payload, max_response_bytes=4999)


async def test_a_handler_may_refuse_a_request_and_holds_it_against_the_asker(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):

        async def refuse(asker: PeerId, payload: bytes) -> bytes:
            raise DecodeError("this is no request")

        b.set_handler(ECHO, refuse)
        await a.connect(address_of(b))
        with pytest.raises(RequestFailed):
            await a.request(b.peer_id, ECHO, b"junk")
        assert b.statistics().faults["request-refused"] == 1


async def test_a_bug_in_a_request_handler_does_not_end_the_node(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig.networks(2) as (a, b):

        async def buggy(asker: PeerId, payload: bytes) -> bytes:
            raise ZeroDivisionError("a bug of ours")

        b.set_handler("/buggy/1", buggy)
        b.set_handler(ECHO, echo)
        await a.connect(address_of(b))
        with caplog.at_level(logging.CRITICAL), pytest.raises(RequestFailed):
            await a.request(b.peer_id, "/buggy/1", b"")
        assert b.statistics().faults["request-handler-bug"] == 1
        assert await a.request(b.peer_id, ECHO, b"alive") == b"alive"


async def test_the_caller_sets_the_timeout_of_a_request_and_can_ask_again(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):

        async def never(asker: PeerId, payload: bytes) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        b.set_handler("/slow/1", never)
        b.set_handler(ECHO, echo)
        await a.connect(address_of(b))
        with trio.move_on_after(0.2) as scope:
            await a.request(b.peer_id, "/slow/1", bytes(50_000))
        assert scope.cancelled_caught
        assert await a.request(b.peer_id, ECHO, b"next") == b"next"


async def test_a_request_to_a_peer_that_leaves_fails(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        asked = trio.Event()

        async def never(asker: PeerId, payload: bytes) -> bytes:
            asked.set()
            await trio.sleep_forever()
            raise AssertionError

        b.set_handler("/slow/1", never)
        await a.connect(address_of(b))

        async def leave() -> None:
            await asked.wait()
            await b.disconnect(a.peer_id)

        with within():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave)
                with pytest.raises(RequestFailed):
                    await a.request(b.peer_id, "/slow/1", b"")


async def test_a_request_to_an_unknown_peer_fails(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        with pytest.raises(RequestFailed):
            await a.request(b.peer_id, ECHO, b"")


# Providers


async def test_providers_are_found_through_a_peer_in_between(rig: Rig) -> None:
    async with rig.networks(3) as (a, b, c):
        await a.connect(address_of(b))
        await c.connect(address_of(b))
        await a.provide(b"k" * 32)
        found: list[PeerAddress] = []
        with within():
            while not found:
                found = list(await c.find_providers(b"k" * 32))
        assert found == [address_of(a)]
        await c.connect(found[0])
        assert await c.find_providers(b"x" * 32) == ()


async def test_a_provider_finds_the_others_and_never_itself(rig: Rig) -> None:
    async with rig.networks(3) as (a, b, c):
        await a.connect(address_of(b))
        await c.connect(address_of(b))
        for network in (a, b, c):
            await network.provide(b"k" * 32)
        with within():
            while True:
                found = {peer.peer_id for peer in await a.find_providers(b"k" * 32)}
                assert a.peer_id not in found
                if found == {b.peer_id, c.peer_id}:
                    break


async def test_alone_there_is_nobody_to_find(rig: Rig) -> None:
    async with rig.networks(1) as (a,):
        await a.provide(b"k" * 32)
        assert await a.find_providers(b"k" * 32) == ()


async def test_a_key_is_32_bytes(rig: Rig) -> None:
    async with rig.networks(1) as (a,):
        with pytest.raises(ValueError, match="32"):
            await a.provide(b"short")
        with pytest.raises(ValueError, match="32"):
            await a.find_providers(b"short")


# Peers


async def test_connecting_twice_keeps_one_peer_and_both_see_it(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        await a.connect(address_of(b))
        await a.connect(address_of(b))
        assert [peer.peer_id for peer in a.peers()] == [b.peer_id]
        await until(lambda: [peer.peer_id for peer in b.peers()] == [a.peer_id])
        assert a.peers()[0].multiaddrs == address_of(b).multiaddrs


async def test_the_connected_are_the_peers_and_can_be_asked_for_by_topic(rig: Rig) -> None:
    async with rig.networks(3) as (a, b, c):
        assert a.connected() == frozenset()
        await a.connect(address_of(b))
        await a.connect(address_of(c))
        assert a.connected() == {b.peer_id, c.peer_id}
        await b.subscribe("songs", lambda message: Verdict.ACCEPT)
        await until(lambda: a.connected("songs") == {b.peer_id})
        assert a.connected("nobody's") == frozenset()
        await b.unsubscribe("songs")
        await until(lambda: a.connected("songs") == frozenset())
        await a.disconnect(c.peer_id)
        await until(lambda: a.connected() == {b.peer_id} == {p.peer_id for p in a.peers()})


async def test_a_peer_that_dialled_us_can_be_dialled_back(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        await a.connect(address_of(b))
        await until(lambda: bool(b.peers()) and bool(b.peers()[0].multiaddrs))
        assert b.peers()[0].multiaddrs == address_of(a).multiaddrs


async def test_an_unreachable_address_is_named_in_the_error(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        unused = rig.unused_address()
        with pytest.raises(RequestFailed, match=unused):
            await a.connect(PeerAddress(b.peer_id, (unused,)))
        assert a.peers() == ()


async def test_one_good_address_among_bad_ones_is_enough(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        addresses = (rig.unused_address(), *address_of(b).multiaddrs)
        await a.connect(PeerAddress(b.peer_id, addresses))
        assert [peer.peer_id for peer in a.peers()] == [b.peer_id]


async def test_another_peer_at_the_address_is_not_taken_for_the_one_we_want(rig: Rig) -> None:
    async with rig.networks(3) as (a, b, c):
        with pytest.raises(RequestFailed):
            await a.connect(PeerAddress(b.peer_id, address_of(c).multiaddrs))
        assert a.peers() == ()


async def test_a_peer_without_any_known_address_cannot_be_connected(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        with pytest.raises(RequestFailed, match="address"):
            await a.connect(PeerAddress(b.peer_id))


async def test_after_several_faults_a_peer_is_disconnected_and_refused(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        b.set_handler(ECHO, echo)
        await a.connect(address_of(b))
        a.penalize(b.peer_id, "once")
        assert await a.request(b.peer_id, ECHO, b"still here?") == b"still here?"
        assert [peer.peer_id for peer in a.peers()] == [b.peer_id]
        for _ in range(10):
            a.penalize(b.peer_id, "again")
        await until(lambda: not a.peers() and not b.peers())
        with pytest.raises(RequestFailed):
            await a.connect(address_of(b))
        with pytest.raises(RequestFailed):
            await connect_and_ask(b, a)
        assert a.statistics().faults["penalized-once"] == 1


async def test_rejected_messages_end_with_the_author_refused(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, Inbox(Verdict.REJECT))
        await join(a, b, topic=TOPIC)
        for _ in range(12):
            await a.publish(TOPIC, b"a lie")
        await until(lambda: not b.peers())
        assert b.statistics().faults["peer-refused"] == 1


async def test_bytes_and_messages_are_counted(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        inbox = Inbox()
        await a.subscribe(TOPIC, Inbox())
        await b.subscribe(TOPIC, inbox)
        await join(a, b, topic=TOPIC)
        before = a.statistics(), b.statistics()
        await a.publish(TOPIC, bytes(100_000))
        await until(lambda: inbox.has(1))
        # What is sent counts once the write has returned, which may be after it is read.
        await until(lambda: a.statistics().bytes_sent - before[0].bytes_sent > 100_000)
        sent = a.statistics().bytes_sent - before[0].bytes_sent
        received = b.statistics().bytes_received - before[1].bytes_received
        assert 100_000 < sent < 120_000
        assert 100_000 < received < 120_000
        assert a.statistics().gossip_sent - before[0].gossip_sent == 1
        assert b.statistics().gossip_received == 1


async def test_what_is_open_is_counted_and_what_ended_is_not(rig: Rig) -> None:
    async with rig.networks(2) as (a, b):
        assert (a.statistics().connections, a.statistics().streams) == (0, 0)
        going_on, may_answer = trio.Event(), trio.Event()

        async def slow(peer: PeerId, payload: bytes) -> bytes:
            going_on.set()
            await may_answer.wait()
            return payload

        b.set_handler("/test/slow/1", slow)
        b.set_handler(ECHO, echo)
        await connect_and_ask(a, b)
        # Others come and go while the two introduce themselves to each other.
        await until(lambda: a.statistics().streams == rig.standing_streams)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.request, b.peer_id, "/test/slow/1", b"?")
            await going_on.wait()
            await until(lambda: a.statistics().streams == rig.standing_streams + 1)
            may_answer.set()
        await until(lambda: a.statistics().streams == rig.standing_streams)
        assert (a.statistics().connections, b.statistics().connections) == (1, 1)
        await a.disconnect(b.peer_id)
        await until(lambda: a.statistics().connections == a.statistics().streams == 0)


# Life


async def test_a_peer_that_closes_is_gone_for_the_others_at_once(rig: Rig) -> None:
    """They are told, and do not have to find out by its silence."""
    async with rig.networks(2) as (a, b):
        async with rig_member(rig, a) as c:
            await c.connect(address_of(b))
            await until(lambda: len(b.peers()) == 1)
        await until(lambda: not b.peers())
        assert "peer-silent" not in b.statistics().faults


async def test_closing_waits_for_no_deadline(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are a promise that `CLOSE_SECONDS` keeps; without it closing ends as well."""
    monkeypatch.setattr("openfl.network.libp2p.network.CLOSE_SECONDS", 10 * PATIENCE_SECONDS)
    async with rig.networks(3) as (a, b, c):
        for network in (a, b, c):
            await network.subscribe(TOPIC, Inbox())
        await join(a, b, c, a, topic=TOPIC)
        started = trio.current_time()
    assert trio.current_time() - started < PATIENCE_SECONDS


async def test_an_error_in_the_body_comes_out_as_it_is(rig: Rig) -> None:
    async def fails() -> None:
        async with rig.networks(2) as (a, b):
            await a.connect(address_of(b))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()


async def test_cancelling_the_body_closes_the_network_and_propagates(rig: Rig) -> None:
    with trio.CancelScope() as scope:
        async with rig.networks(2) as (a, b):
            await a.connect(address_of(b))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


def rig_member(rig: Rig, like: object):  # type: ignore[no-untyped-def]
    """One more network in the same world as `like`."""
    if rig.name == "simulated":
        from openfl.network.simulated.internet import simulated_peer_id
        from openfl.network.simulated.network import SimulatedNetwork

        assert isinstance(like, SimulatedNetwork)
        return like._internet.network(simulated_peer_id("one more"))
    from network_rig import libp2p_network

    return libp2p_network()
