"""HTTP through the local port: whatever client and sites say, a site gets requests of its own only, and nothing raises.

The first byte chooses whether a password is wanted, the second how the bytes are cut; the client's bytes end at the
first 0xFF, and the sites' follow.
"""

from __future__ import annotations

from tunflow.protocols.http.answers import local_page
from tunflow.protocols.http.forwarder import Forwarder

SEEDS: list[bytes] = [
    b"\x00\x00GET http://a/ HTTP/1.1\r\nHost: x\r\n\r\nGET http://b/ HTTP/1.1\r\nHost: x\r\nCookie: b\r\n\r\n"
    b"\xffHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"\x00\x07POST http://u@a:81/?q HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhi\r\n0\r\nT: 1\r\n\r\n\xffHTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end",
    b"\x00\x03GET http://a/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, X\r\nX: 1\r\nUpgrade: websocket\r\n\r\nraw"
    b"\xffHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw",
    b"\x01\x01OPTIONS http://[2001:db8::1] HTTP/1.0\r\nProxy-Authorization: Basic\r\n dTpw\r\nMax-Forwards: 3\r\n\r\n"
    b"\xffHTTP/1.1 204 No Content\r\n\r\n",
    b"\x00\x09HEAD http://a HTTP/1.1\r\nHost: x\r\n\r\nCONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\nflow"
    b"\xffHTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nflow",
    b"\x00\x00GET /proxy.pac HTTP/1.0\n\n\xff",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    of_client, _, of_sites = data[2:].partition(b"\xff")
    machine = Forwarder(lambda path: local_page("127.0.0.1:1080", path), ("u", "p") if data[0] & 1 else None)
    caller = _Caller(machine)
    step = 1 + data[1]
    while of_client or of_sites:
        if of_client and (machine.takes_client or not of_sites):
            machine.from_client_untrusted(of_client[:step])
            of_client = of_client[step:]
        else:
            machine.from_site_untrusted(of_sites[:step])
            of_sites = of_sites[step:]
        if not caller.go_on():
            return
    machine.from_site_untrusted(b"")
    caller.go_on()


class _Caller:
    """Does what the machine asks for, and looks at what it gives."""

    def __init__(self, machine: Forwarder) -> None:
        self._machine = machine
        self._fresh = ""
        """The site that has been dialled and got no byte yet."""

    def go_on(self) -> bool:
        """Return True if the connections go on."""
        machine = self._machine
        more = True
        while more:
            more = machine.advance()
            if machine.dial is not None:
                self._fresh = machine.dial.host_text
                machine.dial, machine.hang_up = None, False
                machine.dialled()
                more = True
            sent = b"".join(bytes(piece) for piece in machine.to_site)
            machine.to_site.clear()
            machine.to_client.clear()
            if sent and self._fresh and not machine.tunnel:
                head = sent.partition(b"\r\n\r\n")[0].lower()
                assert b"\r\nhost: " in head
                assert b"\r\nproxy-authorization:" not in head
                self._fresh = ""
        return not machine.over and not machine.cut
