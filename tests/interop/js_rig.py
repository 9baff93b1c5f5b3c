"""A js-libp2p peer in a process of its own, driven over its stdin and stdout (see js/peer.js)."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import trio

from tests.situation import within

FOLDER = Path(__file__).parent / "js"
END_SECONDS = 5.0


@cache
def why_not() -> str:
    """Why these tests cannot run here; empty when they can."""
    node = shutil.which("node")
    if node is None:
        return "needs Node.js 20 or newer, which is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    if int(version.stdout.lstrip("v").partition(".")[0] or 0) < 20:
        return f"needs Node.js 20 or newer, this is {version.stdout.strip() or 'broken'}"
    if not (FOLDER / "node_modules" / "libp2p").is_dir():
        return "js-libp2p is not installed: run `make interop`"
    return ""


class JsError(Exception):
    """The peer could not do what it was told; the text is its own."""


class JsPeer:
    """One running peer. `events`: everything it told unasked, oldest first."""

    def __init__(self, process: trio.Process, name: str) -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.peer_id = ""
        self.addresses: tuple[str, ...] = ()
        self.process = process
        self._answers: dict[int, dict[str, Any]] = {}
        self._waiting: dict[int, trio.Event] = {}
        self._calls = 0
        self._ready = trio.Event()
        self._complaints = bytearray()
        self._ended = False

    @property
    def address(self) -> str:
        """Ends in its peer id."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        return int(self.address.split("/")[4])

    async def call(self, do: str, **arguments: Any) -> Any:
        """What the command answers; JsError when it fails."""
        self._calls += 1
        number = self._calls
        self._waiting[number] = answered = trio.Event()
        line = json.dumps({"id": number, "do": do, **arguments}) + "\n"
        assert self.process.stdin is not None
        with within(what=f"an answer of {self.name} to {do}"):
            await self.process.stdin.send_all(line.encode())
            await answered.wait()
        answer = self._answers.pop(number, None)
        if answer is None:
            raise JsError(f"{self.name} ended: {self._complaints.decode()[-2000:]}")
        if "error" in answer:
            raise JsError(answer["error"])
        return answer["ok"]

    def heard(self, kind: str = "delta", **fields: Any) -> list[dict[str, Any]]:
        """Gossip of that kind with these fields."""
        return [
            event
            for event in list(self.events)
            if event["event"] == "gossip"
            and event.get("kind") == kind
            and all(event.get(name) == value for name, value in fields.items())
        ]

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["event"] == kind]

    async def kill(self) -> None:
        """Gone without a word."""
        self.process.kill()
        await self.process.wait()

    async def _start(self) -> None:
        with within(what=f"the start of {self.name}"):
            await self._ready.wait()
        if self._ended:
            raise JsError(f"{self.name} did not start: {self._complaints.decode()[-2000:]}")

    async def _read(self) -> None:
        buffer = bytearray()
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            buffer += chunk
            *lines, rest = buffer.split(b"\n")
            buffer = bytearray(rest)
            for line in lines:
                self._take(json.loads(line))
        self._ended = True
        self._ready.set()
        for event in self._waiting.values():
            event.set()

    def _take(self, message: dict[str, Any]) -> None:
        if "event" not in message:
            self._answers[message["id"]] = message
            self._waiting.pop(message["id"]).set()
        elif message["event"] == "ready":
            self.peer_id, self.addresses = message["peer"], tuple(message["addresses"])
            self._ready.set()
        else:
            self.events.append(message)

    async def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self._complaints += chunk


@asynccontextmanager
async def js_peer(
    name: str,
    *,
    port: int = 0,
    security: Sequence[str] = ("noise",),
    only: Sequence[str] | None = None,
    dht: bool | str = True,
    via: str | None = None,
    relay: bool | int = False,
    psk: Path | None = None,
    host: str = "127.0.0.1",
    mdns: bool = False,
    inside: Sequence[str] = (),
) -> AsyncIterator[JsPeer]:
    """A peer that listens; one name is one identity. `only`: the sole peers it deals with.
    `dht`: "client" stores nothing for others, False leaves it out. `via`: the relay with this
    address is the only way to it. `relay`: it is one; a number bounds the bytes of a circuit.
    `psk`: the key file of its private network. `host`: where it listens. `mdns`: it
    looks for peers on its LAN. `inside`: a command that runs it elsewhere (`ip netns exec X`)."""
    node = shutil.which("node")
    assert node is not None
    options = {
        "seed": hashlib.sha256(name.encode()).hexdigest(),
        "port": port,
        "security": list(security),
        "only": None if only is None else list(only),
        "dht": dht,
        "via": via,
        "relay": relay,
        "psk": None if psk is None else str(psk),
        "host": host,
        "mdns": mdns,
    }
    process = await trio.lowlevel.open_process(
        [*inside, node, str(FOLDER / "peer.js"), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    peer = JsPeer(process, name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer._read)
        nursery.start_soon(peer._read_complaints)
        try:
            await peer._start()
            yield peer
        finally:
            with trio.CancelScope(shield=True):
                with trio.move_on_after(END_SECONDS):
                    assert process.stdin is not None
                    await process.stdin.aclose()
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()
