"""The page of a node that is in no group yet, and then is in one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from openfl.app.http.page import asset
from tests.browser.browser_rig import browsing
from tests.browser.test_reports import node_page


class Told:
    """What the page is told by whom it takes for a node; `joined`: what it is told in the end."""

    def __init__(self) -> None:
        self.joined = threading.Event()
        self.ended = threading.Event()

    def page(self) -> dict[str, Any]:
        page = node_page()
        if not self.joined.is_set():
            page |= {"title": "Node in no group yet", "course": {"points": [], "moves": []}}
            page |= {"groups": [], "recommendations": None}
            none: dict[str, Any] = {"group_id": "", "group_name": "", "task": "", "metric": ""}
            none |= {"members": [], "validation": None, "alone": None, "history": [], "round": 0}
            page["snapshot"] = {**page["snapshot"], **none, "phase": "joining"}
        return page


@contextmanager
def serving(told: Told) -> Iterator[str]:
    """Where a page is answered as a node answers it."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path in ("/", "/page.js", "/page.css"):
                self.answer(*asset(self.path))
            elif self.path == "/api/page":
                self.answer("application/json", json.dumps(told.page()).encode())
            else:
                self.answer("text/event-stream", b": still here\n\n", whole=False)
                told.joined.wait()
                snapshot = json.dumps(told.page()["snapshot"])
                self.wfile.write(f"event: snapshot\ndata: {snapshot}\n\n".encode())
                told.ended.wait()

        def answer(self, media_type: str, body: bytes, whole: bool = True) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            if whole:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            told.joined.set()
            told.ended.set()
            server.shutdown()


def test_what_a_node_has_only_in_a_group_comes_when_it_is_in_one(tmp_path: Path) -> None:
    told = Told()
    with serving(told) as url, browsing(tmp_path) as browser:
        browser.open(f"{url}/#token={'x' * 43}")
        browser.until(lambda: browser.text("#stand") == "Live", "live")
        assert browser.text("#title") == "Node in no group yet"
        assert "It has not judged its model yet." in browser.text("#now")
        assert not browser.find_all("#recommendations")
        told.joined.set()
        wanted = node_page()["title"]
        browser.until(lambda: browser.text("#title") == wanted, "the title says which group")
        browser.until(lambda: browser.find_all("#recommendations .songs li"), "recommendations")
        assert browser.complaints == []
