"""One client's connection to an HTTP proxy: its requests, one by one, each to the site that its own URI names.

A machine without I/O between two sides: bytes of the client and bytes of the site come in, bytes for both go out.
The caller dials what `dial` names and tells how it went.

Read first: RFC 9112 (messages), RFC 9110 §7 (routing), §9.3.6 (CONNECT), §7.8 (Upgrade).

Rules:
1. A site gets its own requests and nothing else: what the client sends behind a request waits until that is answered.
2. Bodies pass as they come. The caller reads a side only while nothing waits for the other, and that bounds memory.
3. The client's connection goes on after an answer; a connection to a site is used again for the same site by requests
   that may be repeated, and such a request is repeated once if the site had hung up meanwhile (RFC 9110 §9.2.2).
4. An answer that was cut is cut for the client too (`cut`), so that it cannot take it for a whole one.
5. Once a tunnel stands (CONNECT, or 101 after Upgrade) bytes are not looked at any more.
"""

from __future__ import annotations

from collections.abc import Callable

import h11

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Refusal
from tunflow.protocols.http import fields as http_fields
from tunflow.protocols.http.answers import CONNECTED, page, refusal_page, sign_in_page
from tunflow.protocols.http.sign_in import Known, is_known_basic
from tunflow.protocols.http.target import LONGEST_HEADER, authority_untrusted, http_uri_untrusted

EVENTS_PER_TURN = 256
"""Pieces of messages that are taken before other connections get their turn; a site may send chunks of one byte."""

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

_STATUS = {
    400: "400 Bad Request",
    431: "431 Request Header Fields Too Large",
    501: "501 Not Implemented",
    505: "505 HTTP Version Not Supported",
}


class Forwarder:
    """Forwards the requests of one client. `pages` gives a page of ours for a path; `known` is what it must show."""

    def __init__(self, pages: Callable[[str], bytes], known: Known | None = None) -> None:
        self._pages = pages
        self._known = known
        self._client = h11.Connection(h11.SERVER, LONGEST_HEADER)
        self._site: h11.Connection | None = None
        self._target: Endpoint | None = None
        """Where `_site` goes, or is being dialled to."""
        self._request: h11.Request | None = None
        """What the site is asked, until it has answered."""
        self._connects = False
        """True if the client has asked for a tunnel that does not stand yet."""
        self._repeatable = False
        """True if the request may be sent once more: the connection had been used before, and no answer came yet."""
        self._answering = False
        """True if some of an answer to this request has gone to the client."""
        self._body: list[Buffer] = []
        self.to_client: list[Buffer] = []
        """For the caller to drain."""
        self.to_site: list[Buffer] = []
        """For the caller to drain, once the site is there."""
        self.dial: Endpoint | None = None
        """For the caller to take (and to set to None): hang up on the site before, if there is one, and reach this."""
        self.hang_up = False
        """For the caller to take: the connection to the site is of no more use."""
        self.idle = True
        """True if no request is under way."""
        self.over = False
        """True if the client's connection ends once it has got what waits for it."""
        self.cut = False
        """True if both connections must end at once, and not look like a proper end."""
        self.tunnel = False
        """True if bytes pass as they are from now on, each end of them too."""
        self.complaint: str | None = None
        """Why a client was refused, for the log."""

    @property
    def takes_client(self) -> bool:
        """True if it is the client's turn to send."""
        return self.tunnel or (not self._connects and self._client.their_state in {h11.IDLE, h11.SEND_BODY})

    # What the caller tells.

    def from_client_untrusted(self, data: Buffer) -> None:
        """Take what the client sent; nothing stands for its end. `advance` goes on with it."""
        if self.tunnel:
            self.to_site.append(bytes(data))
        else:
            self._client.receive_data(bytes(data))

    def from_site_untrusted(self, data: Buffer) -> None:
        """Take what the site sent; nothing stands for its end. `advance` goes on with it."""
        if self.tunnel:
            self.to_client.append(bytes(data))
        elif self._request is None or self._site is None:
            self._leave_site()  # it hangs up on us, or says what nobody asked for
        else:
            if data:
                self._repeatable = False
            self._site.receive_data(bytes(data))

    def dialled(self) -> None:
        """The site is there."""
        if self._connects:
            self.to_client.append(CONNECTED)
            self._begin_tunnel()

    def not_dialled(self, refusal: Refusal, detail: str) -> None:
        """The site is out of reach."""
        self._site = None
        self._fail(refusal_page(refusal, self._target, detail))

    def site_lost(self, why: str) -> None:
        """The connection to the site broke."""
        self._site_failed(why)

    def advance(self) -> bool:
        """Go on with what has come. Return True if there is more to do at once."""
        for _ in range(EVENTS_PER_TURN):
            if self.over or self.cut or self.tunnel:
                return False
            if not self._next_of_client() and not self._next_of_site():
                return False
        self._pass_body()
        return True

    # The client's side.

    def _next_of_client(self) -> bool:
        """Take one event from the client. Return False if there is none."""
        client = self._client
        if not self.takes_client:
            return False
        try:
            event = client.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, "a client's HTTP request is malformed, too long or cut short")
            return False
        if isinstance(event, h11.Request):
            try:
                self._begin(event)
            except BadPacket as error:
                self._refuse(400, str(error))
        elif isinstance(event, h11.Data | h11.EndOfMessage):
            self._pass_up(event)
        elif isinstance(event, h11.ConnectionClosed):
            self.over = True
        else:
            return False
        return True

    def _begin(self, request: h11.Request) -> None:
        """A request, without its body. Raises BadPacket."""
        self.idle = False
        self._answering = False
        target = request.target.decode("ascii")
        fields = request.headers
        if request.http_version not in {b"1.0", b"1.1"}:
            self._refuse(505, "a client speaks another HTTP than 1")
        elif target.startswith("/"):
            self._fail(self._pages(target))
        elif self._known is not None and not self._shows(request, self._known):
            self.complaint = "a client shows no user name and password, or wrong ones"
            self._fail(sign_in_page())
        elif request.method == b"CONNECT":
            self._reach(authority_untrusted(target, None))
            self._connects = True
        elif {b"content-length", b"transfer-encoding"} <= {name for name, _ in fields}:
            self._refuse(400, "a client's request has two lengths")  # RFC 9112 §6.1: or requests would be smuggled
        else:
            self._forward(request, target)

    @staticmethod
    def _shows(request: h11.Request, known: Known) -> bool:
        fields = request.headers
        return any(name == b"proxy-authorization" and is_known_basic(known, value) for name, value in fields)

    def _forward(self, request: h11.Request, uri: str) -> None:
        """RFC 9112 §3.2.2: a whole URI; the site gets its path. Raises BadPacket."""
        asked = http_uri_untrusted(uri)
        path = asked.path or ("*" if request.method == b"OPTIONS" else "/")  # RFC 9112 §3.2.4
        fields = http_fields.request_fields(request, asked.authority)
        left = http_fields.forwards_left(request)
        if left == 0:
            self._fail(page("200 OK", "") if request.method == b"OPTIONS" else page("405 Method Not Allowed", ""))
            return
        if left is not None:
            fields = http_fields.with_forwards_left(fields, left - 1)
        self._request = h11.Request(method=request.method, target=path, headers=fields)
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in request.headers)
        may_repeat = request.method in _REPEATABLE and not has_body
        if self._site is not None and self._target == asked.site and may_repeat:
            self._repeatable = True
        else:
            self._repeatable = False
            self._reach(asked.site)
        self._send_head()

    def _reach(self, target: Endpoint) -> None:
        self.to_site.clear()
        self.hang_up = False
        self._site = None
        self._target = self.dial = target

    def _send_head(self) -> None:
        assert self._request is not None
        if self._site is None:
            self._site = h11.Connection(h11.CLIENT, LONGEST_HEADER)
        self.to_site.append(self._site.send(self._request))

    def _pass_up(self, event: h11.Data | h11.EndOfMessage) -> None:
        """The next of a request's body, or its end."""
        if self._site is not None:
            self.to_site += self._site.send_with_data_passthrough(event) or ()

    def _refuse(self, status: int, why: str) -> None:
        """The client did something wrong."""
        self.complaint = why
        self._fail(page(_STATUS.get(status, _STATUS[400]), f"{why}\n"))

    def _fail(self, answer: bytes) -> None:
        """An answer of ours in place of a site's; the connection ends behind it."""
        self._leave_site()
        if self._answering:
            self.cut = True
        else:
            self.to_client.append(answer)
            self.over = True

    # The site's side.

    def _next_of_site(self) -> bool:
        """Take one event from the site. Return False if there is none."""
        site = self._site
        if site is None or self._request is None or self.dial is not None:
            return False
        try:
            event = site.next_event()
            if isinstance(event, h11.Data):
                self._body.append(event.data)
                return True
            self._pass_body()
            if isinstance(event, h11.Response | h11.InformationalResponse):
                self._answer(event)
            elif isinstance(event, h11.EndOfMessage):
                self._end_answer(site, event)
            else:
                return False
        except h11.ProtocolError:
            self._site_failed("the site's answer is malformed or cut short")
            return False
        return True

    def _answer(self, response: h11.Response | h11.InformationalResponse) -> None:
        """The head of an answer. Raises h11.ProtocolError."""
        client = self._client
        fields = http_fields.response_fields(response)
        if isinstance(response, h11.Response):
            self._answering = True
            self.to_client.append(
                client.send(h11.Response(status_code=response.status_code, headers=fields, reason=response.reason))
            )
            return
        if client.their_http_version == b"1.0":  # RFC 9110 §15.2: it would not understand
            return
        told = h11.InformationalResponse(status_code=response.status_code, headers=fields, reason=response.reason)
        switches = response.status_code == 101
        if switches and client.their_state is h11.SEND_BODY:
            raise h11.RemoteProtocolError("the site switches in the middle of a request")
        self.to_client.append(client.send(told))
        if switches:
            self._begin_tunnel()

    def _pass_body(self) -> None:
        """What has come of an answer's body, as one piece."""
        if self._body:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body = []
            self.to_client += self._client.send_with_data_passthrough(h11.Data(data=body)) or ()  # type: ignore[arg-type]

    def _end_answer(self, site: h11.Connection, end: h11.EndOfMessage) -> None:
        """The request is answered; on to the next, if both sides go on. Raises h11.ProtocolError."""
        client = self._client
        has_trailers = client.their_http_version != b"1.0"
        self.to_client.append(client.send(end if has_trailers else h11.EndOfMessage()))
        self._request = None
        self.idle = True
        if site.our_state is site.their_state is h11.DONE and not site.trailing_data[0]:
            site.start_next_cycle()
        else:
            self._leave_site()
        if client.our_state is client.their_state is h11.DONE:
            client.start_next_cycle()
        else:
            self.over = True

    def _site_failed(self, why: str) -> None:
        if self._request is None and not self.tunnel:
            self._leave_site()
        elif self._repeatable and self._target is not None:
            self._repeatable = False
            self._reach(self._target)
            self._send_head()
            self.to_site += self._end_of_request()
        elif self.tunnel:
            self.cut = True
        else:
            self._fail(refusal_page(Refusal.FAILED, self._target, why))

    def _end_of_request(self) -> list[bytes]:
        """The end of a repeated request, if it has gone to the connection before."""
        if self._site is None or self._client.their_state in {h11.IDLE, h11.SEND_BODY}:
            return []
        return self._site.send_with_data_passthrough(h11.EndOfMessage()) or []

    def _leave_site(self) -> None:
        if self._site is not None or self.dial is not None:
            self.hang_up = True
        self._site = None
        self._target = None
        self._request = None
        self.dial = None
        self._body = []
        self.to_site.clear()

    def _begin_tunnel(self) -> None:
        self.tunnel = True
        waiting, _ = self._client.trailing_data
        if waiting:
            self.to_site.append(waiting)
        if self._site is not None:
            early, _ = self._site.trailing_data
            if early:
                self.to_client.append(early)
