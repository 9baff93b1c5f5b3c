"""What has come over connections and is not handled yet."""

from __future__ import annotations

import socket

import pytest

from openfl.network.libp2p.unread import unread_of_socket, upper


def test_the_system_says_what_it_holds() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert unread_of_socket(here) == 0
        there.sendall(bytes(1234))
        assert unread_of_socket(here) == 1234
        here.recv(1000)
        assert unread_of_socket(here) == 234
    assert unread_of_socket(here) == 0, "closed"


@pytest.mark.parametrize(
    ("amounts", "found"),
    [
        ([], 0),
        ([5], 5),
        ([0, 5, 1, 3], 3),
        ([9] * 8, 9),
        # One that floods this node, or a few, are not the measure.
        ([0] * 6 + [10**9] * 2, 0),
        ([1, 2, 3, 4, 5, 6, 7, 8], 6),
    ],
)
def test_what_a_quarter_is_above_at_most(amounts: list[int], found: int) -> None:
    assert upper(amounts) == found
