"""HTTP/1 requests on a connection: heads one by one, bodies passed over; and the name in the first of them.

A filter must see each request, not only the first: a client may ask an allowed host for a page, and then a blocked one
on the same connection. So this machine walks from head to head, by Content-Length or through the chunks. It is strict
where two readers could disagree, because whoever wants around a filter looks for just that (RFC 9112 §11.2): such a
request is `Ambiguous`, and refused.

Read first: RFC 9112 §2.2, §3.2, §5.2, §6, §7.1, §9.3.2; RFC 9110 §7.2, §7.8, §9.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket
from tunflow.sniff.tls import host_name_untrusted
from tunflow.sniff.url_form import served_target, target_text, url_of

LARGEST = 16 * 1024
"""Bytes of a first request that are looked at for its name."""

LARGEST_HEAD = 32 * 1024
"""Bytes. Servers commonly take 8 to 16 KB (RFC 9112 §3 asks for 8,000 in the request line)."""

LARGEST_CHUNK_LINE = 256
LONGEST_METHOD = 24
LONGEST_HOST = 300
"""Bytes of a host with its port that is remembered: no name is longer."""

LONGEST_BLOCK = 1024
"""Bytes of a head, or of its fields, that are remembered beyond their connection."""
FIRST_LOOKS = 256
"""Heads that are."""

ALL = (1 << 64) - 1
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S{1,16384}+) HTTP/1\.[0-9]\r?\n")
_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{0,32}(?:[ \t\v\f\r].*)?", re.DOTALL)
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]*")
_BEGINS = frozenset(bytes((code,)) for code in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz \t\v\f")
"""With what a line of words begins."""
_EMPTY_LINES = re.compile(rb"[\r\n]*")
_END = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_FIELD = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*):([^\n]*)\n", re.MULTILINE)
_CONTROL = re.compile(rb"\r(?!\n)|[\0\v\f]")
"""With what some servers end a line or a name, and others do not (RFC 9112 §2.2, RFC 9110 §5.5)."""
_FOLDED_FIELD = re.compile(rb"\n[ \t]+(?:host|content-length|transfer-encoding|upgrade)[ \t]*:", re.IGNORECASE)
_HOST_FIELD = re.compile(rb"^host[ \t]*:[^\n]*\n", re.IGNORECASE | re.MULTILINE)
_LANGUAGES = re.compile(rb"\naccept-language:[ \t]*([^\r\n]{1,300})", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)([^#]*)")
_PORT = re.compile(rb":([0-9]{1,5})$")
_HOST = re.compile(rb"(?:\[[^\]]*\]|[^\[\]:@]*)(?::[0-9]*)?")
"""A name or address with its port, and nothing in front of or behind them."""
_WANTED = frozenset((b"host", b"content-length", b"transfer-encoding", b"upgrade"))
_BLANK = rb"[ \t\v\f\r]"
_LIKE_A_REQUEST = re.compile(
    rb"%b*+(?:[!#$%%&'*+.^_`|~0-9A-Za-z-]{0,32}%b++(?:[^\n]*%b(?i:HTTP)/|[^\n]{8192})"
    rb"|(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT)[ \t\v\f])" % ((_BLANK,) * 3)
)
"""What some server or other takes for a request line: words with a version of HTTP or very much behind them, or a
method of RFC 9110 §9.3 (RFC 5789 for PATCH), with which HTTP/0.9 asks. Other protocols have lines of words too:
`EHLO name`, `get /page`.
"""
_OF_ANOTHER = re.compile(
    rb"(?!(?:GET|HEAD|POST|PUT|PATCH|DELETE|TRACE|CONNECT)%b)"
    rb"[^\s]++ [^\n]*[^\s] (?!(?i:HTTP)/)[A-Za-z][A-Za-z0-9+.-]*/[0-9]+(?:\.[0-9]+)?\r?\n" % _BLANK
)
"""A whole line that names another protocol, in the form of HTTP (RFC 2326 §6.1 for RTSP, RFC 3261 §7.1 for SIP, RFC
3507 §4.3.2 for ICAP). With these methods it counts for nothing: there were servers that took any name for HTTP/1.0.
"""


class Ambiguous(BadPacket):
    """A request that two readers could understand differently."""


class HTTPRequest(NamedTuple):
    """What a head asks for."""

    method: str
    hosts: tuple[str, ...]
    """Every name or address it says, in normal form and without port; more than one where they differ."""
    target: str
    """The path with its query, or for CONNECT the host and port; in ASCII."""
    port: int | None = None
    """The one that an absolute target says, as in a request to a proxy."""

    def url_of(self, host: str, port: int) -> str:
        """The URL, should `host` be who is meant; `port` is the connection's."""
        return url_of(host, port if self.port is None else self.port, self._path)

    def urls_of(self, host: str, port: int) -> tuple[str, ...]:
        """The URL, and all others that a server may take it for."""
        path, ports = self._path, {port: None} if self.port is None else {self.port: None, port: None}
        served = served_target(path)
        paths = (path,) if served is None else (path, served)
        return tuple(url_of(host, each, path) for each in ports for path in paths)

    @property
    def _path(self) -> str:
        target = self.target
        if target[:1] == "/":
            return target
        return "/" if self.method == "CONNECT" or target == "*" else f"/{target}"  # some servers take `GET path`


class RequestHead(NamedTuple):
    """What the first request asks for, as far as its first lines tell."""

    method: str
    target: str
    """The path, or the whole URL in a request to a proxy."""
    host: str | None
    """The name in lower case, without a port; None for an address and where none is given."""


class SniffStep(NamedTuple):
    """What to do after a look at the bytes that wait."""

    requests: list[HTTPRequest]
    """Those whose heads are among the bytes that may pass."""
    passed: int
    """Bytes, also ones that have not come yet, that need not be looked at again."""
    peek: int
    """How many bytes behind those must be there before the next look."""


_NOTHING = SniffStep([], 0, 1)


class _FirstLook(NamedTuple):
    """What a connection is known by after its first look, if that found one whole request."""

    step: SniffStep
    rest: bytes
    fields: Mapping[bytes, Sequence[bytes]]
    hosts: tuple[str, ...]
    target_ends: list[int]


_first_looks: dict[bytes, _FirstLook] = {}
"""By the bytes that were looked at: nothing else counts where nothing came before, and programs ask for the same on one
connection after another."""


class HTTPRequests:
    """The client's half of one connection; see the module's rules."""

    __slots__ = (
        "_chunk_ends", "_chunked", "_fields", "_hosts", "_is_new", "_may_be_other", "_rest", "_step", "_trailers",
        "_waiting", "again", "target_ends",
    )  # fmt: skip

    def __init__(self) -> None:
        self._is_new = True
        """True until the first look."""
        self._chunked = False
        """True if the next bytes are a chunk's size line, or what a chunk ends with."""
        self._chunk_ends = False
        self._trailers = False
        self._may_be_other = False
        """True if another protocol was asked for. A server that declines goes on reading requests (RFC 9110 §7.8)."""
        self._waiting = b""
        """What the last look left, for more to come."""
        self._rest = b""
        """The last head behind its first line, to its end: that of the next request is often the same."""
        self._fields: Mapping[bytes, Sequence[bytes]] = {}
        self._hosts: tuple[str, ...] = ()
        """What they say, and the hosts that they name."""
        self.again: bytes | None = None
        """A whole request without a body, and what a look at it found: a client that asks for the same again is known
        by its bytes."""
        self._step = _NOTHING
        self.target_ends: list[int] = []
        """Where in the data the targets of the last look's requests end, fragments left out."""

    def look_untrusted(self, data: bytes) -> SniffStep:
        """What the bytes at the front of what waits are. Raises BadPacket: not HTTP, too long, or `Ambiguous`."""
        if data == self.again:
            return self._step
        is_new, self._is_new = self._is_new, False
        if is_new:
            known = _first_looks.get(data)
            if known is not None:
                self.again = data
                self._step, self._rest, self._fields, self._hosts, self.target_ends = known
                return self._step
        requests: list[HTTPRequest] = []
        self.target_ends = []
        self._waiting = b""
        self.again = None
        is_between = not (self._chunked or self._trailers or self._may_be_other)
        at = 0
        while at < len(data):
            if self._chunked or self._trailers:
                size = self._chunk_untrusted(data, at)
            else:
                size = self._head_untrusted(data, at, requests)
            if size is None:
                self._waiting = data[at:]
                return SniffStep(requests, at, len(data) - at + 1)
            if size == ALL:
                return SniffStep(requests, ALL, 1)
            at += size
        step = SniffStep(requests, at, 1)
        is_whole = at == len(data) and not (self._chunked or self._trailers or self._may_be_other)
        if is_between and is_whole and len(requests) == 1:
            self.again, self._step = data, step
            if is_new and at <= LONGEST_BLOCK:
                if len(_first_looks) >= FIRST_LOOKS:
                    _first_looks.clear()
                _first_looks[data] = _FirstLook(step, self._rest, self._fields, self._hosts, self.target_ends)
        return step

    @property
    def is_cut(self) -> bool:
        """True if a request is not whole: some servers take the end of the stream for that of its head."""
        return may_be_request(self._waiting)

    def _head_untrusted(self, data: bytes, start: int, requests: list[HTTPRequest]) -> int | None:
        """Bytes of a head and of its body, if that has a length; None while the head is not whole."""
        at = start
        if data[at] in b"\r\n":  # RFC 9112 §2.2: empty lines before a request
            at = _EMPTY_LINES.match(data, at).end()  # type: ignore[union-attr]  # it matches always
        if self._may_be_other:
            first = data[at : at + 1]
            if (not first or _is_cut_line(data, at)) and len(data) - start <= LARGEST_HEAD:
                return None
            if first and not _is_like_a_request(data, at):
                return ALL
        line = _LINE.match(data, at)
        if line is None or not self._rest or not data.startswith(self._rest, line.end()):
            end = _END.search(data, at)
            if end is None or line is None:
                self._check_start_untrusted(data, at, line is not None)
                if end is None and len(data) - start <= LARGEST_HEAD:
                    return None
                raise BadPacket(f"an HTTP head of more than {LARGEST_HEAD} bytes, or none")
            self._fields, self._hosts = _said_by_fields_untrusted(data[line.end() : end.start() + 1])
            self._rest = data[line.end() : end.end()]
        fields = self._fields
        method, target = line[1], line[2]
        if target[:1] == b"/" and method != b"CONNECT":
            request = HTTPRequest(method.decode("ascii"), self._hosts, target_text(target))
        else:
            request = _request_untrusted(method.decode("ascii"), target, fields)
        requests.append(request)
        self.target_ends.append(line.start(2) + len(target.partition(b"#")[0]))
        body = self._body_untrusted(fields) if len(fields) > 1 or b"host" not in fields else 0
        if request.method == "CONNECT" and (body or self._chunked):
            raise Ambiguous("a CONNECT with a body")  # RFC 9110 §9.3.6: it has no meaning, so who reads it?
        self._may_be_other = request.method == "CONNECT" or b"upgrade" in fields
        return line.end() + len(self._rest) - start + body

    @staticmethod
    def _check_start_untrusted(data: bytes, at: int, has_line: bool) -> None:
        """Check that a head that is not whole can become one. Raises BadPacket."""
        if not has_line and (data.find(b"\n", at) >= 0 or not _START.fullmatch(data[at : at + 64])):
            raise BadPacket("not an HTTP/1 request")

    def _body_untrusted(self, fields: Mapping[bytes, Sequence[bytes]]) -> int:
        """Bytes of the body that follow a head; 0 also where it comes in chunks."""
        codings = fields.get(b"transfer-encoding")
        texts = fields.get(b"content-length")
        if codings is not None:
            if texts:
                raise Ambiguous("both Transfer-Encoding and Content-Length")
            if b",".join(codings).split(b",")[-1].strip().lower() != b"chunked":
                raise Ambiguous("a Transfer-Encoding that does not end in chunked")
            self._chunked = True
            return 0
        if not texts:
            return 0
        lengths = {value.strip() for text in texts for value in text.split(b",")}
        (length,) = lengths if len(lengths) == 1 else (b"",)
        if not length.isdigit() or len(length) > 18:
            raise Ambiguous("a Content-Length that is no number, or several")
        return int(length)

    def _chunk_untrusted(self, data: bytes, at: int) -> int | None:
        """Bytes of a chunk with its size line, of what it ends with, or of a trailer; None while that is not whole."""
        if self._chunk_ends:
            behind = data[at : at + 2]
            if behind != b"\r\n":
                if behind == b"\r":
                    return None
                raise Ambiguous("a chunk that is longer than it says")
            self._chunk_ends = False
            return 2
        end = data.find(b"\n", at)
        if end < 0:
            if len(data) - at > LARGEST_CHUNK_LINE:
                raise BadPacket("a chunk's size line without end")
            return None
        line = data[at : end - 1]
        if b"\r" in line or end == at or data[end - 1 : end] != b"\r":
            raise Ambiguous("a line among chunks that does not end as it must")
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
        self._chunk_ends = True
        return end + 1 - at + size


def may_be_request(data: bytes) -> bool:
    """Return True if some server or other takes a stream that begins like this for an HTTP/1 request."""
    return _is_like_a_request(data, _EMPTY_LINES.match(data).end())  # type: ignore[union-attr]


def _is_cut_line(data: bytes, at: int) -> bool:
    """Return True if a line of words, or one that begins as a request does, is not whole."""
    return (data[at : at + 1] in _BEGINS or _START.fullmatch(data[at : at + 64]) is not None) and data.find(
        b"\n", at
    ) < 0


def _is_like_a_request(data: bytes, at: int) -> bool:
    return _LIKE_A_REQUEST.match(data, at) is not None and _OF_ANOTHER.match(data, at) is None


def accepted_languages_untrusted(request: bytes) -> str:
    """The value of a request's Accept-Language (RFC 9110 §12.5.4); "" where it says none."""
    found = _LANGUAGES.search(request, 0, LARGEST_HEAD)
    return "" if found is None else found[1].decode("latin-1")


def parse_request_untrusted(stream: bytes) -> RequestHead | None:
    """The request at the start of a TCP stream; None while more bytes are needed. Raises BadPacket.

    It is answered as soon as the name is known: the rest of the head may still be on its way.
    """
    stream = stream.lstrip(b"\r\n")
    line = _LINE.match(stream)
    method = _METHOD.match(stream)
    if line is None or method is None or method.end() != line.end(1):
        whole = method is not None and stream[method.end() : method.end() + 1] in (b"", b" ")
        if stream and (b"\n" in stream or not whole or method is None or method.end() > LONGEST_METHOD):
            raise BadPacket("not an HTTP/1 request")
        if len(stream) > LARGEST:
            raise BadPacket("a request line that is too long")
        return None
    end, named = _END.search(stream), _HOST_FIELD.search(stream, line.end())
    last = end.start() + 1 if end is not None else stream.rindex(b"\n") + 1
    if named is not None:
        last = min(last, named.end())
    fields = _fields_untrusted(stream[line.end() : last])
    if end is None and named is None:
        if len(stream) > LARGEST:
            raise BadPacket("the head of a request that is too long")
        return None
    said = _said(line[1], line[2], fields)
    host = next((name for name in map(_host_untrusted, said) if name), "")
    return RequestHead(line[1].decode("ascii"), line[2].decode("latin-1"), None if _is_address(host) else host or None)


def _said_by_fields_untrusted(block: bytes) -> tuple[Mapping[bytes, Sequence[bytes]], tuple[str, ...]]:
    """What the fields of a head say, and the hosts that they name. Raises BadPacket."""
    return _usual_fields_untrusted(block) if len(block) <= LONGEST_BLOCK else _any_fields_untrusted(block)


def _any_fields_untrusted(block: bytes) -> tuple[Mapping[bytes, Sequence[bytes]], tuple[str, ...]]:
    fields = _fields_untrusted(block)
    hosts = fields.get(b"host", ())
    if not all(map(_HOST.fullmatch, hosts)):
        raise Ambiguous("a Host with more than a name and a port")  # RFC 9110 §7.2
    return fields, tuple(dict.fromkeys(map(_host_untrusted, filter(None, hosts))))


_usual_fields_untrusted = lru_cache(maxsize=256)(_any_fields_untrusted)
"""A program says the same on each of its connections."""


def _fields_untrusted(text: bytes) -> dict[bytes, list[bytes]]:
    """The values of the `_WANTED` fields among whole lines."""
    if text[:1] in (b" ", b"\t"):
        raise Ambiguous("a head that begins with a folded line")
    if _CONTROL.search(text):
        raise Ambiguous("a head with control characters")
    if b"\n " in text or b"\n\t" in text:
        if _FOLDED_FIELD.search(text):
            raise Ambiguous("a header in a folded line")
        text = _FOLD.sub(b" ", text)  # RFC 9112 §5.2: obs-fold, continuations
    lines = _FIELD.findall(text)
    if len(lines) != text.count(b"\n"):
        raise Ambiguous("a header that is none")
    fields: dict[bytes, list[bytes]] = {}
    has_blanks = False
    for name, value in lines:
        known = name.rstrip().lower()
        has_blanks = has_blanks or len(known) < len(name)
        if known in _WANTED:
            fields.setdefault(known, []).append(value.strip())
    if has_blanks and (b"content-length" in fields or b"transfer-encoding" in fields):
        # RFC 9112 §5.1: it is to be refused. To Python's server such a line ends the head, and it sees no length.
        raise Ambiguous("blanks between a header's name and its colon")
    return fields


def _said(method: bytes, target: bytes, fields: Mapping[bytes, Sequence[bytes]]) -> list[bytes]:
    """What names the host, first what counts (RFC 9112 §3.2.2: an absolute target, whatever Host says)."""
    said = [host for host in fields.get(b"host", ()) if host]
    if method == b"CONNECT":
        said.insert(0, target)
    elif not target.startswith(b"/") and (absolute := _ABSOLUTE.match(target)):
        said.insert(0, absolute[1])
    return said


def _request_untrusted(method: str, target: bytes, fields: Mapping[bytes, Sequence[bytes]]) -> HTTPRequest:
    path, port = target, None
    if method == "CONNECT" and not _HOST.fullmatch(target):
        raise Ambiguous("a CONNECT to more than a name and a port")
    if not target.startswith(b"/") and method != "CONNECT" and (absolute := _ABSOLUTE.match(target)):
        if not _HOST.fullmatch(absolute[1].rpartition(b"@")[2]):
            raise Ambiguous("a URL with more than a name and a port")
        path = absolute[2] or b"/"
        if not path.startswith(b"/"):
            path = b"/" + path
        digits = _PORT.search(absolute[1])
        port = int(digits[1]) if digits is not None else 80
    hosts = dict.fromkeys(map(_host_untrusted, _said(method.encode(), target, fields)))
    return HTTPRequest(method, tuple(hosts), target_text(path), port)


def _host_untrusted(text: bytes) -> str:
    return _usual_host_untrusted(text) if len(text) <= LONGEST_HOST else _any_host_untrusted(text)


def _any_host_untrusted(text: bytes) -> str:
    text = text.rpartition(b"@")[2]
    if text.startswith(b"["):
        return text[1:].partition(b"]")[0].decode("latin-1").lower()
    return host_name_untrusted(text.partition(b":")[0])


_usual_host_untrusted = lru_cache(maxsize=1024)(_any_host_untrusted)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
