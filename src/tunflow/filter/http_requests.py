"""Every HTTP/1 request on a connection: heads one by one, bodies passed over.

A filter must see each request, not only the first: a client may ask an allowed host for a page, and then a blocked one
on the same connection. So this machine walks from head to head, by Content-Length or through the chunks. It is strict
where two readers could disagree, because whoever wants around a filter looks for just that (RFC 9112 §11.2): such a
request is `Ambiguous`, and refused.

Read first: RFC 9112 §2.2, §3.2, §5.2, §6, §7.1, §9.3.2; RFC 9110 §7.2, §7.8, §9.3.6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from tunflow.errors import BadPacket
from tunflow.filter.tls import host_name_untrusted

LARGEST_HEAD = 32 * 1024
"""Bytes. Servers commonly take 8 to 16 KB (RFC 9112 §3 asks for 8,000 in the request line)."""

LARGEST_CHUNK_LINE = 256
ALL = (1 << 64) - 1
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S{1,16384}) HTTP/1\.[0-9]")
_START = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]{0,32}(?: .*)?", re.DOTALL)
_ABSOLUTE = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)([^#]*)")


class Ambiguous(BadPacket):
    """A request that two readers could understand differently."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a head asks for."""

    method: str
    hosts: tuple[str, ...]
    """Every name or address it says, in normal form and without port; more than one where they differ."""
    target: str
    """The path with its query, or for CONNECT the host and port."""

    @property
    def url(self) -> str:
        """The whole URL, as far as the request tells it."""
        host = self.hosts[0] if self.hosts else ""
        return f"http://{host}{self.target}" if self.target.startswith("/") else f"http://{host}/"


class Step(NamedTuple):
    """What to do after a look at the bytes that wait."""

    requests: list[Request]
    """Those whose heads are among the bytes that may pass."""
    passed: int
    """Bytes, also ones that have not come yet, that need not be looked at again."""
    peek: int
    """How many bytes behind those must be there before the next look."""


class HTTPRequests:
    """The client's half of one connection; see the module's rules."""

    def __init__(self) -> None:
        self._chunked = False
        """Whether the next bytes are a chunk's size line."""
        self._trailers = False

    def look_untrusted(self, data: bytes) -> Step:
        """What the bytes at the front of what waits are. Raises BadPacket: not HTTP, too long, or `Ambiguous`."""
        requests: list[Request] = []
        at = 0
        while at < len(data):
            if self._chunked or self._trailers:
                size = self._chunk_untrusted(data, at)
            else:
                size = self._head_untrusted(data, at, requests)
            if size is None:
                return Step(requests, at, len(data) - at + 1)
            at += size
            if size >= ALL:
                return Step(requests, ALL, 1)
        return Step(requests, at, 1)

    def _head_untrusted(self, data: bytes, at: int, requests: list[Request]) -> int | None:
        """Bytes of a head and of its body, if that has a length; None while the head is not whole."""
        start = at
        while data[at : at + 1] in (b"\r", b"\n"):
            at += 1  # RFC 9112 §2.2: empty lines before a request
        lines, end = _lines(data, at)
        if not lines and not _START.fullmatch(data[at : at + 64]):
            raise BadPacket("not an HTTP request")
        if end < 0:
            if len(data) - start > LARGEST_HEAD:
                raise BadPacket(f"an HTTP head of more than {LARGEST_HEAD} bytes")
            if lines and not _LINE.fullmatch(lines[0]):
                raise BadPacket("not an HTTP/1 request")
            return None
        line = _LINE.fullmatch(lines[0])
        if line is None:
            raise BadPacket("not an HTTP/1 request")
        fields = _fields_untrusted(lines[1:])
        method = line[1].decode("ascii")
        requests.append(_request_untrusted(method, line[2], fields))
        if method == "CONNECT" or b"upgrade" in fields:
            return ALL  # RFC 9110 §9.3.6, §7.8: what follows is another protocol
        return end - start + self._body_untrusted(fields)

    def _body_untrusted(self, fields: dict[bytes, list[bytes]]) -> int:
        """Bytes of the body that follow a head; 0 also where it comes in chunks."""
        lengths = {value.strip() for text in fields.get(b"content-length", []) for value in text.split(b",")}
        codings = fields.get(b"transfer-encoding")
        if codings is not None:
            if lengths:
                raise Ambiguous("both Transfer-Encoding and Content-Length")
            if b",".join(codings).split(b",")[-1].strip().lower() != b"chunked":
                raise Ambiguous("a Transfer-Encoding that does not end in chunked")
            self._chunked = True
            return 0
        if not lengths:
            return 0
        (length,) = lengths if len(lengths) == 1 else (b"",)
        if not length.isdigit() or len(length) > 18:
            raise Ambiguous("a Content-Length that is no number, or several")
        return int(length)

    def _chunk_untrusted(self, data: bytes, at: int) -> int | None:
        """Bytes of a chunk with its size line, or of the trailers; None while the line is not whole."""
        end = data.find(b"\n", at)
        if end < 0:
            if len(data) - at > LARGEST_CHUNK_LINE:
                raise BadPacket("a chunk's size line without end")
            return None
        line = data[at:end].rstrip(b"\r")
        if self._trailers:
            self._trailers = bool(line)
            return end + 1 - at
        digits = line.split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", digits):
            raise Ambiguous("a chunk's size that is no number")
        size = int(digits, 16)
        if not size:
            self._chunked, self._trailers = False, True
            return end + 1 - at
        return end + 1 - at + size + 2


def _lines(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The lines of a head, and where it ends; -1 while it does not."""
    lines: list[bytes] = []
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return lines, -1
        line = data[at:end].removesuffix(b"\r")
        at = end + 1
        if not line:
            return lines, at
        lines.append(line)


def _fields_untrusted(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    last: list[bytes] | None = None
    for line in lines:
        if line[:1] in (b" ", b"\t"):  # RFC 9112 §5.2: obs-fold, a continuation
            if last is None:
                raise Ambiguous("a head that begins with a folded line")
            last[-1] += b" " + line.strip()
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise Ambiguous("a header without a colon")
        last = fields.setdefault(name.strip().lower(), [])
        last.append(value.strip())
    return fields


def _request_untrusted(method: str, target: bytes, fields: dict[bytes, list[bytes]]) -> Request:
    said = [host for host in fields.get(b"host", []) if host]
    path = target
    if method == "CONNECT":
        said.insert(0, target)
    elif absolute := _ABSOLUTE.fullmatch(target.partition(b"#")[0]):
        said.insert(0, absolute[1])
        path = absolute[2] or b"/"
        if not path.startswith(b"/"):
            path = b"/" + path
    hosts = dict.fromkeys(_host_untrusted(host) for host in said)
    return Request(method, tuple(hosts), path.decode("latin-1"))


def _host_untrusted(text: bytes) -> str:
    text = text.strip().rpartition(b"@")[2]
    if text.startswith(b"["):
        return text[1:].partition(b"]")[0].decode("latin-1").lower()
    return host_name_untrusted(text.partition(b":")[0])
