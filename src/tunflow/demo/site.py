"""The demo's site: a small web server, a UDP echo and a name server, on loopback, in a process of its own.

The web server answers what it saw of a request (`/hello`), random bytes with their SHA-256 (`/random`), as many
blocks as are asked for (`/blocks/N`), and takes uploads (`/sink`, `/blocks`). A thread serves a connection: the
kernel moves the bytes and the threads only wait for it.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import socket
import socketserver
import threading
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tunflow.demo.client import BLOCK
from tunflow.demo.names import answer

RANDOM_BYTES = 16 << 20

READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the site listens on 127.0.0.1, and on ::1 where the machine has it (else 0)."""

    http4: int
    http6: int
    echo4: int
    echo6: int
    dns: int

    def as_dict(self) -> dict[str, int]:
        """For the pipe to the parent."""
        return asdict(self)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection to the site."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    random: ClassVar[tuple[bytes, str]] = (b"", "")

    def do_GET(self) -> None:
        """Answer with what was seen, with random bytes or with blocks."""
        if self.path == "/hello":
            peer = self.client_address[0], self.client_address[1]
            self._answer_json({"peer": peer, "path": self.path, "host": self.headers.get("Host", "")})
        elif self.path == "/random":
            data, digest = self.random
            self._head(len(data), ("X-SHA256", digest))
            self.wfile.write(data)
        elif self.path.startswith("/blocks/") and self.path[8:].isdecimal():
            count = int(self.path[8:])
            self._head(count * len(BLOCK))
            for _ in range(count):
                self.wfile.write(BLOCK)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Take an upload and answer what came."""
        size = int(self.headers.get("Content-Length", "0"))
        if self.path == "/blocks":
            self._answer_json(self._take_blocks(size))
        elif self.path == "/sink":
            data = self.rfile.read(size)
            self._answer_json({"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Stay quiet: the demo reports."""

    def _take_blocks(self, size: int) -> dict[str, Any]:
        buffer = bytearray(len(BLOCK))
        view = memoryview(buffer)
        taken, right = 0, True
        while taken < size:
            filled = 0
            while filled < len(BLOCK):
                count = self.rfile.readinto(view[filled:])
                if not count:
                    return {"bytes": taken + filled, "right": False}
                filled += count
            right = right and buffer == BLOCK
            taken += filled
        return {"bytes": taken, "right": right}

    def _head(self, size: int, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in (("Content-Length", str(size)), *headers):
            self.send_header(name, value)
        self.end_headers()

    def _answer_json(self, facts: dict[str, Any]) -> None:
        body = json.dumps(facts).encode()
        self._head(len(body), ("Content-Type", "application/json"))
        self.wfile.write(body)


class WebServer(socketserver.ThreadingTCPServer):
    """The web server on IPv4. It does not look its own name up, as the standard library's HTTPServer does."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: Any) -> None:
        """A connection that breaks is the client's business."""


class WebServer6(WebServer):
    """The web server on IPv6."""

    address_family = socket.AF_INET6


class EchoHandler(socketserver.BaseRequestHandler):
    """A datagram, sent back."""

    def handle(self) -> None:
        """Send it back."""
        data, udp = self.request
        udp.sendto(data, self.client_address)


class EchoServer6(socketserver.UDPServer):
    """The echo on IPv6."""

    address_family = socket.AF_INET6


class NameHandler(socketserver.StreamRequestHandler):
    """DNS over TCP (RFC 7766): queries behind their length, until the client has no more."""

    disable_nagle_algorithm = True  # the answers for A and AAAA must not wait for each other

    def handle(self) -> None:
        """Answer each."""
        while len(head := self.rfile.read(2)) == 2:
            reply = answer(self.rfile.read(int.from_bytes(head, "big")))
            self.wfile.write(len(reply).to_bytes(2, "big") + reply)


class NameDatagramHandler(socketserver.BaseRequestHandler):
    """DNS over UDP."""

    def handle(self) -> None:
        """Answer it."""
        data, udp = self.request
        udp.sendto(answer(data), self.client_address)


def open_site() -> Ports:
    """Listen, and serve from threads that live as long as the process."""
    data = os.urandom(RANDOM_BYTES)
    Handler.random = (data, hashlib.sha256(data).hexdigest())
    dns = _serve(WebServer(("127.0.0.1", 0), NameHandler))
    _serve(socketserver.UDPServer(("127.0.0.1", dns), NameDatagramHandler))
    http4 = _serve(WebServer(("127.0.0.1", 0), Handler))
    echo4 = _serve(socketserver.UDPServer(("127.0.0.1", 0), EchoHandler))
    try:
        http6 = _serve(WebServer6(("::1", 0), Handler))
        echo6 = _serve(EchoServer6(("::1", 0), EchoHandler))
    except OSError:  # a machine without IPv6
        http6 = echo6 = 0
    return Ports(http4, http6, echo4, echo6, dns)


def _serve(server: socketserver.BaseServer) -> int:
    """Serve from a thread; the port."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])  # type: ignore[index]  # an address and a port
