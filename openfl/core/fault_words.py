"""What was refused or survived, in words: what a snapshot's `faults` count by name.

A name is a word for scripts, and stays; its words are for people. `fault_words` has an answer for
every name, those of later versions too; a test wants each name that is counted anywhere in the
table.
"""

from __future__ import annotations

from collections.abc import Mapping

FAULT_WORDS: Mapping[str, str] = {
    # connections
    "connection-crashed": "a connection broke by a fault in this program",
    "connection-flood": "more connections were begun at once than are taken",
    "connection-refused": "a peer that is refused for its faults tried to connect",
    "address-full": "one address has all the connections it may have",
    "address-lost": "this machine's address changed, and its old connections were closed",
    "visitors-full": "all places for visitors are taken",
    "peer-denied": "a peer that network.deny_peers names tried to connect",
    "peer-not-allowed": "a peer that network.allow_peers does not name tried to connect",
    "peer-refused": "a peer was disconnected for repeated faults",
    "peer-silent": "a peer stopped answering, and its connection was closed",
    "handshake-refused": "a connection ended before it was encrypted and proven",
    "identify-failed": "a peer left while it introduced itself",
    "identify-broken": "a peer left while it told of its new addresses",
    "identify-malformed": "a peer introduced itself in a way that cannot be read",
    "frame-malformed": "a peer sent bytes that are no frame of its connection",
    "window-exceeded": "a peer sent more than it was let",
    "stream-broken": "a peer left in the middle of a conversation",
    "stream-refused": "a peer opened more streams than one may have",
    "handler-crashed": "a conversation ended by a fault in this program",
    # messages of groups
    "gossip-bad-signature": "a message with a wrong signature was passed on",
    "gossip-bytes": "a member sent more bytes than its share",
    "gossip-cut-off": "a peer left in the middle of a message",
    "gossip-handler-bug": "a message could not be judged, by a fault in this program",
    "gossip-heartbeat-crashed": "the upkeep of the mesh failed once, by a fault in this program",
    "gossip-malformed": "a peer sent a message that cannot be read",
    "gossip-queue-full": "a peer takes messages too slowly, and some were left out for it",
    "gossip-rate": "a member sent messages faster than it may",
    "gossip-reader-crashed": "a peer's messages could not be read, by a fault in this program",
    "gossip-refused-author": "a message of a peer that is refused for its faults was left out",
    "gossip-rejected": "a message that breaks the rules was rejected",
    "gossip-relayed-rejected": "a peer passed on a message that breaks the rules",
    "gossip-streams": "a peer opened its stream of messages anew",
    "gossip-throttled": "a peer that sends very fast was slowed down",
    "gossip-too-many-subscriptions": "a peer subscribes to more topics than one may",
    "outgoing-queue-full": "own messages came faster than the network takes them",
    # questions and answers
    "answer-too-large": "an answer was larger than it may be",
    "endless-answer": "an answer did not come to an end, and was broken off",
    "request-asked-again": "a connection broke while it was asked, and another was taken",
    "request-broken": "a peer left while it was answered",
    "request-failed": "a member could not be asked, or gave no answer",
    "request-handler-bug": "a question could not be answered, by a fault in this program",
    "request-rate": "a peer asked more often than it may",
    "request-refused": "a peer asked something that cannot be understood",
    "request-too-large": "a question was larger than it may be",
    "remote-error": "an answer was of no use",
    "undecodable": "what a member sent cannot be read",
    "bad-signature": "something with a wrong signature was refused",
    # the DHT
    "dht-malformed": "a peer asked the DHT in a way that cannot be read",
    "dht-refused-busy": "the DHT was asked more than can be answered at once",
    "dht-slow": "a peer was too slow in asking the DHT",
    # members and what they teach
    "announced-otherwise": "a member signed something else than it had announced",
    "equivocation": "a member signed two different contributions as one",
    "hearsay-full": "more members are told of than can be remembered",
    "invalid-contribution": "a contribution that breaks the group's rules was refused",
    "member-left-out": "a member is left out of this node's model",
    "not-invited": "somebody without a valid invitation was refused",
    # cards of groups, and what items are called
    "card-name": "a group's name can be taken for another, and it is not listed",
    "card-rate": "a peer told of groups more often than it may",
    "card-version": "a group of another protocol version is announced",
    "labels-collision": "two names were told for what has one",
    "labels-false": "a false name of an item was refused, and all that came with it",
    "labels-rate": "a peer asked for names of items more often than it may",
    # routers and relays
    "autonat-malformed": "a peer asked whether it can be reached in a way that cannot be read",
    "hole-punch-declined": "a direct connection was not tried, for another was being made",
    "hole-punch-failed": "no direct connection came about; it goes on over the relay",
    "hole-punch-malformed": "a peer asked for a direct connection in a way that cannot be read",
    "hole-punch-not-relayed": "a peer asked for a direct connection over a direct connection",
    "hole-punch-refused": "the answer to a direct connection was somebody else",
    "hole-punched": "a direct connection was made through routers",
    "relay-broken": "a peer left while it was relayed",
    "relay-circuits": "peers were connected through this relay",
    "relay-gave-no-place": "a relay had no place for this node",
    "relay-limit-reached": "a relayed connection had carried all it may, and was closed",
    "relay-malformed": "a relay, or a peer at this one, sent what cannot be read",
    "relay-too-slow": "a peer was too slow in asking this relay",
}
"""Name -> one line without a number; nothing in it is a stranger's."""

FAMILY_WORDS: Mapping[str, str] = {
    "penalized-": "a peer broke the rules",
    "refused-": "a contribution was refused",
    "relay-refused-": "this relay refused a peer",
    "was-refused-": "a member refused to answer",
}
"""The beginning of names -> words, before what the rest of the name says."""

_REASONS: Mapping[str, str] = {
    "refused-bounds": "a value is out of bounds",
    "refused-equivocation": "too many were signed as one",
    "refused-max-bytes": "the group's memory is full",
    "refused-max-member-rows": "its member has as many rows as one may",
    "refused-max-members": "the group has as many members as can be kept",
    "refused-max-rows": "the model has as many rows as can be kept",
    "refused-other-group": "it is of another group",
    "refused-schema": "it does not fit the group's model",
    "refused-version": "it is not numbered as it has to be",
    "was-refused-busy": "it has too much to do",
    "was-refused-not-invited": "this node has no valid invitation",
    "was-refused-unknown-group": "it is in another group",
}


def fault_words(name: str) -> str:
    """What `name` counts, in one line; may hold what a stranger wrote, so it is to be cleaned."""
    known = FAULT_WORDS.get(name)
    if known is not None:
        return known
    for beginning in sorted(FAMILY_WORDS, key=len, reverse=True):
        if name.startswith(beginning):
            rest = name[len(beginning) :]
            why = _REASONS.get(name) or FAULT_WORDS.get(rest) or rest.replace("-", " ")
            return f"{FAMILY_WORDS[beginning]}: {why}" if why else FAMILY_WORDS[beginning]
    return name.replace("-", " ")
