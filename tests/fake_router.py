"""A router's UPnP (InternetGatewayDevice:1) over real HTTP, without a router behind it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor>
</specVersion><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<controlURL>/common</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/c.xml</SCPDURL>
</service></serviceList><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>{service}</serviceType>
<controlURL>{control}</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/i.xml</SCPDURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>
"""
CODES = {714: "NoSuchEntryInArray", 718: "ConflictInMappingEntry", 725: "OnlyPermanentLeases"}


@dataclass
class FakeRouter:
    """`mappings`: external port -> (client, internal port, lease in seconds)."""

    external: str
    control: str = "/control"
    permanent_only: bool = False
    mappings: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    on_add: Callable[[int, str, int], None] = lambda external, client, internal: None
    on_remove: Callable[[int], None] = lambda external: None

    def act(self, action: str, values: dict[str, str]) -> tuple[int, dict[str, str]]:
        """(error code or 0, what is answered)."""
        port = int(values.get("NewExternalPort") or 0)
        match action:
            case "GetExternalIPAddress":
                return 0, {"NewExternalIPAddress": self.external}
            case "GetSpecificPortMappingEntry":
                if port not in self.mappings:
                    return 714, {}
                client, internal, lease = self.mappings[port]
                return 0, {
                    "NewInternalPort": str(internal),
                    "NewInternalClient": client,
                    "NewEnabled": "1",
                    "NewPortMappingDescription": "any",
                    "NewLeaseDuration": str(lease),
                }
            case "AddPortMapping":
                client, internal = values["NewInternalClient"], int(values["NewInternalPort"])
                lease = int(values["NewLeaseDuration"])
                if lease and self.permanent_only:
                    return 725, {}
                self.mappings[port] = client, internal, lease
                self.on_add(port, client, internal)
                return 0, {}
            case "DeletePortMapping":
                if port not in self.mappings:
                    return 714, {}
                del self.mappings[port]
                self.on_remove(port)
                return 0, {}
        return 401, {}


def http_server(router: FakeRouter, host: str, port: int = 0) -> ThreadingHTTPServer:
    """Serves the router's description at `/desc.xml`, and its control."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(200, DESCRIPTION.format(service=SERVICE, control=router.control))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            action = self.headers["SOAPAction"].strip('"').partition("#")[2]
            code, answers = router.act(action, dict(re.findall(r"<(New\w+)>([^<]*)</", text)))
            inside = "".join(f"<{name}>{value}</{name}>" for name, value in answers.items())
            body = f'<u:{action}Response xmlns:u="{SERVICE}">{inside}</u:{action}Response>'
            if code:
                body = (
                    "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>"
                    '<detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">'
                    f"<errorCode>{code}</errorCode>"
                    f"<errorDescription>{CODES.get(code, '')}</errorDescription>"
                    "</UPnPError></detail></s:Fault>"
                )
            envelope = (
                '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/'
                f'envelope/"><s:Body>{body}</s:Body></s:Envelope>'
            )
            self._say(500 if code else 200, envelope)

        def _say(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", 'text/xml; charset="utf-8"')
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *values: object) -> None:
            pass

    return ThreadingHTTPServer((host, port), Handler)


@contextlib.contextmanager
def serving(router: FakeRouter, host: str = "127.0.0.1") -> Iterator[str]:
    """The URL of its description."""
    server = http_server(router, host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}/desc.xml"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
