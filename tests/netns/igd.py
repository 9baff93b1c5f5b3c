"""The UPnP of a router of `nat_rig`, run in its namespace: what is mapped is really forwarded.

    python igd.py LAN_ADDRESS EXTERNAL_ADDRESS

Answers SSDP on the LAN, and writes nftables rules. Ends with its stdin.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

from tests.fake_router import FakeRouter, http_server
from tests.netns.nat_rig import tool_path

FORWARD = "add table inet igd; add chain inet igd to { type nat hook prerouting priority -100; }"


def nft(rules: str) -> None:
    subprocess.run([tool_path("nft"), "-f", "-"], input=rules, text=True, check=True)


def forward(router: FakeRouter) -> None:
    """The rules for what is mapped now."""
    rules = [FORWARD, "flush chain inet igd to"]
    for port, (client, internal, _lease) in router.mappings.items():
        target = f"dnat ip to {client}:{internal}"
        rules.append(f'add rule inet igd to iifname "wan" tcp dport {port} {target}')
    nft("\n".join(rules) + "\n")


def answer_ssdp(lan: str, location: str) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("239.255.255.250", 1900))
    group = socket.inet_aton("239.255.255.250") + socket.inet_aton(lan)
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    print("ready", flush=True)
    while True:
        question, asker = udp.recvfrom(2048)
        if b"InternetGatewayDevice:1" in question:
            kind = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
            udp.sendto(
                f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {kind}\r\n"
                f"LOCATION: {location}\r\nUSN: uuid:0::{kind}\r\nEXT:\r\n\r\n".encode(),
                asker,
            )


def main() -> None:
    lan, external = sys.argv[1:]
    router = FakeRouter(external)
    router.on_add = lambda *_: forward(router)
    router.on_remove = lambda *_: forward(router)
    server = http_server(router, lan)
    location = f"http://{lan}:{server.server_address[1]}/desc.xml"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=answer_ssdp, args=(lan, location), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
