"""The built-in filter: what flows say of themselves, whole and in pieces, and what evaders try."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import pull_quic_header

from hellos import client_hello as hello_message
from hellos import extension, records, server_name
from tunflow.endpoint import endpoint
from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import Door, Judge, ListUse
from tunflow.flow import FlowInfo
from tunflow.providers.content_filter import ContentFilter
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_verdicts import Action
from tunflow.providers.filter_window import FilterWindow
from tunflow.sniff.quic import CONNECTIONS

LINES = ("blocked.example", "||site.example/bad/*", "0.0.0.0 exact.example", "203.0.113.5", "||ports.example:81^")


class Rig:
    """One flow under the filter, fed as its client would."""

    def __init__(self, port=443, protocol="tcp", address="192.0.2.1", hostname=None, **judge):
        self.records = []
        lists = (ListUse(BlockList("list", LINES)),)
        self.filter = ContentFilter(
            Judge(lists, **judge), lambda: datetime(2026, 3, 2, tzinfo=UTC), lambda *record: self.records.append(record)
        )
        self.info = FlowInfo(protocol, endpoint("198.18.0.1", 4000), endpoint(address, port), hostname)
        self.flow = FilterFlow(self.info)
        self.new = self.filter.handle_new_flow(self.flow)
        self.window = FilterWindow(
            lambda offset, data: self.filter.handle_outbound_data(self.flow, offset, data),
            lambda: self.filter.handle_outbound_data_complete(self.flow),
            1,
            self.filter.hears_ends,
        )
        self.waiting = b""
        self.passed = b""

    def send(self, data):
        """The verdict about the whole flow, if these bytes brought one."""
        self.waiting += data
        count, verdict = self.window.judge([self.waiting], len(self.waiting), False)
        self.passed += self.waiting[:count]
        self.waiting = self.waiting[count:]
        return verdict

    def end(self):
        """What becomes of what waits when the client closes its side."""
        count, verdict = self.window.judge([self.waiting], len(self.waiting), True)
        self.passed += self.waiting[:count]
        return verdict

    def sends(self, data, step=None):
        """All of `data`, `step` bytes at a time: `blocked`, `passes`, or None while it is watched."""
        step = step or len(data)
        for at in range(0, len(data), step):
            verdict = self.send(data[at : at + step])
            if verdict is not None:
                return "passes" if verdict.action is Action.ALLOW else "blocked"
        return None


def client_hello(name):
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


CHANGE = b"\x14\3\3\0\1\1"
"""A record that is only for the eyes of those on the way (RFC 8446 appendix D.4)."""
DATA = b"\x17\3\3\0\x20" + bytes(32)


def in_records(hello, size):
    """The same handshake message in TLS records of `size` bytes."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize("step", [None, 1, 7])
@pytest.mark.parametrize("size", [None, 1, 50])
@pytest.mark.parametrize(("name", "outcome"), [("www.blocked.example", "blocked"), ("fine.example", "passes")])
def test_a_client_hello_however_it_is_cut(name, outcome, size, step):
    hello = client_hello(name)
    rig = Rig()
    assert rig.sends((in_records(hello, size) if size else hello) + CHANGE + DATA, step) == outcome
    assert rig.passed == b"" or outcome == "passes"


def retried(name, *, early=False, size=1 << 14):
    """A hello after which a server of TLS 1.3 may ask for another."""
    return records(hello_message(name, more=extension(43, b"\2\3\4") + (extension(42, b"") if early else b"")), size)


@pytest.mark.parametrize("step", [None, 1, 7])
@pytest.mark.parametrize("between", [b"", CHANGE, b"\x15\3\1\0\2\1\x5a" + CHANGE])
@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (retried(b"blocked.example"), "blocked"),
        (retried(b"blocked.example", size=30), "blocked"),
        (retried(b"fine.example"), "passes"),
        (retried(b"also.example") + DATA, "passes"),
        (records(b"\1" + bytes(80)), "blocked"),
        (b"\x16\3\3\0\x21\x10" + bytes(32), "passes"),  # ClientKeyExchange: TLS 1.2
        (DATA, "passes"),
    ],
)
def test_a_second_hello_is_judged_as_the_first(second, outcome, between, step):
    """A server asks for it where none of the shown keys suits it, and OpenSSL goes by the name that it has then."""
    first = retried(b"fine.example")
    rig = Rig()
    assert rig.sends(first + between, step) is None
    assert rig.passed == first + between
    assert rig.sends(second, step) == outcome
    assert outcome == "passes" or rig.passed == first + between


def test_a_second_hello_behind_early_data():
    """A server that takes none of it skips it, up to a limit, and reads the hello behind it (RFC 8446 §4.2.10)."""
    rig = Rig()
    assert rig.sends(retried(b"fine.example", early=True) + DATA * 30, 50) is None
    assert rig.sends(retried(b"blocked.example"), 50) == "blocked"
    assert Rig().sends(retried(b"fine.example", early=True) + DATA * 2000, 1000) == "passes"
    rig = Rig()
    rig.sends(retried(b"fine.example") + CHANGE[:3])
    assert rig.end().action is Action.ALLOW


@pytest.mark.parametrize("name", ["WWW.Blocked.EXAMPLE", "blocked.example"])
def test_upper_case(name):
    assert Rig().sends(client_hello(name)) == "blocked"


def get(host, path="/", more=""):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


@pytest.mark.parametrize("step", [None, 1, 5])
@pytest.mark.parametrize(
    ("stream", "outcome"),
    [
        (get("fine.example"), None),
        (get("www.blocked.example"), "blocked"),
        (get("BLOCKED.example.:80"), "blocked"),
        (get("site.example", "/good"), None),
        (get("site.example", "/bad/1"), "blocked"),
        (get("site.example", "/b%61d/1"), "blocked"),
        (get("site.example", "//bad/1"), "blocked"),
        (get("site.example", "/./bad/1"), "blocked"),
        (get("site.example", "/good/../bad/1"), "blocked"),
        (get("site.example", "/good/..%2fbad/1"), "blocked"),
        (get("site.example", "/%5cbad%5C1"), "blocked"),
        (get("site.example", "bad/1"), "blocked"),  # http.server takes it for /bad/1
        (get("site.example", "*"), None),
        (b"CONNECT http://blocked.example/ HTTP/1.1\r\n\r\n", "blocked"),
        (get("site.example", "/good?/../bad/1"), None),
        (get("site.example", "/%2"), None),
        (get("site.example", "http://site.example:9/b%61d/1"), "blocked"),
        (get("fine.example") + get("blocked.example"), "blocked"),
        (get("fine.example", "http://blocked.example/"), "blocked"),
        (get("site.example", "http://fine.example/bad/1"), "blocked"),
        (b"CONNECT blocked.example:443 HTTP/1.1\r\n\r\n", "blocked"),
        (b"CONNECT fine.example:443 HTTP/1.1\r\n\r\n\x16\x03\x01", "passes"),
        (b"CONNECT fine.example:22 HTTP/1.1\r\n\r\nSSH-2.0-client\r\n", "passes"),
        # A server that declines another protocol reads the next request.
        (b"CONNECT fine.example:443 HTTP/1.1\r\n\r\n" + get("blocked.example"), "blocked"),
        (b"CONNECT fine.example:1 HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + get("blocked.example"), "blocked"),
        (get("fine.example", more="Upgrade: websocket\r\n") + get("blocked.example"), "blocked"),
        (get("fine.example", more="Upgrade: x\r\n") + b"\r\nGET  / HTTP/1.1\r\nHost: x\r\n\r\n", "blocked"),
        (get("fine.example", more="Upgrade: websocket\r\n") + b"\x81\x05hello", "passes"),
        (b"GET / HTTP/1.1\r\nHost:\r\n blocked.example\r\n\r\n", "blocked"),
        (b"GET / HTTP/1.1\r\nHost: fine.example\r\nHost: blocked.example\r\n\r\n", "blocked"),
        (b"GET / HTTP/1.1\nHost: blocked.example\n\n", "blocked"),
        (get("0xcb007105"), "blocked"),
        (get("[::ffff:203.0.113.5]"), "blocked"),
        (b"POST / HTTP/1.1\r\nHost: fine.example\r\nContent-Length: 4\r\n\r\nbody" + get("blocked.example"), "blocked"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "blocked"),
        (b"SSH-2.0-client\r\n", "passes"),
        (b"EHLO mail.example\r\n", "passes"),
        (b"G\0T / HTTP/1.1\r\n\r\n", "passes"),
        (b"NICK somebody\r\nUSER s 0 * :S\r\n", "passes"),
        # What a server answers that ends a Host, a line or a chunk where another does not.
        (get("blocked.example:80@fine.example"), "blocked"),  # nginx
        (get("fine.example", more="X: y\rHost: blocked.example\r\n"), "blocked"),  # http.server
        (
            get("fine.example", more="Transfer-Encoding: chunked\r\n") + b"1\r\nx\na0\r\n\r\nGET / HTTP/1.1\r\n",
            "blocked",
        ),  # nginx
        # What is no request line by the letter, but some server or other takes for one.
        (b"get  / HTTP/1.1\r\nHost: blocked.example\r\n\r\n", "blocked"),
        (b"GET\t/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n", "blocked"),
        (b"GET page\r\n\r\n", "blocked"),
        (b"FETCH " + b"x" * 33_000, "blocked"),
        (b"\x00\x01\x02\x03 anything", "passes"),
    ],
)
def test_requests_in_every_disguise(stream, outcome, step):
    assert Rig(port=80).sends(stream, step) == outcome


@pytest.mark.parametrize(
    ("port", "url", "outcome"),
    [
        (80, "http://ports.example/", None),
        (81, "http://ports.example:81/", "blocked"),
        (82, "http://ports.example:82/", None),
    ],
)
def test_a_url_has_the_port_of_its_connection(port, url, outcome):
    """For rules, for the log, and for the page whose button leads back."""
    rig = Rig(port=port)
    assert rig.sends(get("ports.example")) == outcome
    assert rig.flow.url == url


def test_a_request_without_a_host_is_for_the_one_that_was_looked_up():
    rig = Rig(port=80, hostname="site.example")
    assert rig.sends(b"GET /bad/1 HTTP/1.0\r\n\r\n") == "blocked"
    assert rig.flow.url == "http://site.example/bad/1"


@pytest.mark.parametrize("host", ["other.example", "192.0.2.1"])
def test_what_was_looked_up_counts_whatever_host_a_request_names(host):
    """Servers show the same site to those who name one that they do not have."""
    assert Rig(port=80, hostname="site.example").sends(get(host, "/bad/1")) == "blocked"
    assert Rig(port=80, hostname="site.example").sends(get(host, "/good")) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "3221225985", "[2001:db8::1]", ""])
def test_http_to_a_bare_address(host):
    assert Rig(port=80, doors=frozenset({Door.RAW_IP})).sends(get(host)) == "blocked"
    assert Rig(port=80, doors=frozenset({Door.RAW_IP})).sends(get("fine.example")) is None
    assert Rig(port=80).sends(get(host)) is None


def test_allowed_requests_pass_as_they_are():
    rig = Rig(port=80)
    rig.sends(get("fine.example") * 3)
    assert rig.passed == get("fine.example") * 3


@pytest.mark.parametrize("before", [b"", get("fine.example")])
@pytest.mark.parametrize("cut", [-2, -1, -3, 5])
def test_the_end_of_a_stream_does_not_stand_for_that_of_a_head(before, cut):
    """Some servers take it for one: a request without its last line would pass unjudged."""
    rig = Rig(port=80)
    rig.sends(before + get("blocked.example")[:cut])
    assert rig.end().action is Action.DROP
    assert rig.passed == before


@pytest.mark.parametrize("rest", [b"", b"\r\n"])
def test_the_end_behind_whole_requests_is_no_matter(rest):
    rig = Rig(port=80)
    rig.sends(get("fine.example") + rest)
    verdict = rig.end()
    assert verdict is None or verdict.action is Action.ALLOW


def test_what_begins_like_a_request_and_is_none_passes_at_its_end():
    rig = Rig()
    rig.sends(b"hello world")
    assert rig.end().action is Action.ALLOW


def test_a_blocked_request_gets_a_page_and_a_hello_does_not():
    rig = Rig(port=80)
    assert rig.send(get("blocked.example")).action is Action.REMEDIATE
    assert rig.filter.ruling(rig.flow).line == 1
    assert Rig().send(client_hello("blocked.example")).action is Action.DROP


@pytest.mark.parametrize(
    ("options", "action"),
    [
        ({"hostname": "blocked.example"}, Action.DROP),
        ({"hostname": "blocked.example", "port": 80}, Action.REMEDIATE),
        ({"hostname": "fine.example"}, Action.FILTER_DATA),
        ({"address": "203.0.113.5"}, Action.DROP),
        ({"protocol": "udp", "port": 443}, Action.FILTER_DATA),
        ({"protocol": "udp", "port": 443, "doors": frozenset({Door.QUIC})}, Action.DROP),
        ({"protocol": "udp", "port": 5000}, Action.FILTER_DATA),
        ({"protocol": "udp", "port": 5000, "only_allowed": True}, Action.DROP),
        ({"port": 853, "doors": frozenset({Door.ENCRYPTED_DNS})}, Action.DROP),
        ({"port": 1194, "doors": frozenset({Door.VPN})}, Action.DROP),
    ],
)
def test_what_is_known_before_the_first_byte(options, action):
    assert Rig(**options).new.action is action


def test_only_allowed_hosts_need_a_name():
    assert Rig(only_allowed=True).sends(b"\x00\x01\x02") == "blocked"
    assert Rig(only_allowed=True).sends(client_hello("fine.example")) == "blocked"


def test_tls_without_a_name():
    assert Rig().sends(client_hello(None) + DATA) == "passes"
    assert Rig(doors=frozenset({Door.RAW_IP})).sends(client_hello(None)) == "blocked"


V2_HELLO = bytes.fromhex("801c0103030003000000100000ff") + bytes(16)
"""As OpenSSL 0.9.8 and Java 6 began: one cipher suite, no session, a challenge of 16 bytes (RFC 5246 appendix E.2)."""


@pytest.mark.parametrize("step", [None, 1, 3])
@pytest.mark.parametrize(
    ("data", "doors", "outcome"),
    [
        (V2_HELLO, {Door.RAW_IP}, "blocked"),
        (V2_HELLO, set(), "passes"),
        (V2_HELLO[:4] + b"\x09" + V2_HELLO[5:], {Door.RAW_IP}, "passes"),
        (V2_HELLO[:6] + b"\x04" + V2_HELLO[7:], {Door.RAW_IP}, "passes"),
        (b"\x80\x02\x02\x00", {Door.RAW_IP}, "passes"),
    ],
)
def test_a_hello_in_the_form_of_ssl_2_names_nobody(data, doors, outcome, step):
    rig = Rig(doors=frozenset(doors))
    assert rig.sends(data, step) == outcome
    assert rig.passed == b"" or outcome == "passes"


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("more", [4000, 15000, 20000])
def test_junk_extensions_hide_nothing(more, step):
    """What is longer than a hello is ever (RFC 8446 sets no limit, and servers take it) is refused, not let through."""
    assert Rig().sends(records(hello_message(b"blocked.example", padding=more)), step and 977) == "blocked"
    outcome = "passes" if more < 16000 else "blocked"
    assert Rig().sends(records(hello_message(b"fine.example", padding=more)), step and 977) == outcome


@pytest.mark.parametrize(
    ("looked_up", "shown", "outcome"),
    [
        ("fine.example", b"fine.example", "passes"),
        ("fine.example", b"front.example", "blocked"),
        ("fine.example", None, "blocked"),
        (None, b"fine.example", "blocked"),
        ("fine.example", b"blocked.example", "blocked"),
    ],
)
def test_hellos_that_may_be_encrypted(looked_up, shown, outcome):
    """Nobody can tell pretence from encryption but by the name that was looked up."""
    hello = records(hello_message(shown, more=extension(0xFE0D, bytes(200))))
    assert Rig(hostname=looked_up, doors=frozenset({Door.ECH})).sends(hello) == outcome
    assert Rig(hostname=looked_up).sends(hello) == ("blocked" if shown == b"blocked.example" else "passes")


def test_a_hello_with_two_names_is_refused():
    hello = hello_message(b"blocked.example", more=server_name(b"fine.example"))
    assert Rig().sends(records(hello)) == "blocked"


@pytest.mark.parametrize("name", [b"xn--bcher-kva.example", b"XN--BCHER-KVA.example."])
def test_idna_forms(name):
    rig = Rig()
    rig.filter.judge = Judge((ListUse(BlockList("list", ("b\u00fccher.example",))),))
    assert rig.sends(records(hello_message(name))) == "blocked"


def hellos_of(name, protocols=(), version=1):
    client = QuicConnection(
        configuration=QuicConfiguration(
            is_client=True,
            server_name=name,
            alpn_protocols=list(protocols) or None,
            original_version=version,
            supported_versions=[version],
        )
    )
    client.connect(("192.0.2.1", 443), 0.0)
    return [datagram for datagram, _ in client.datagrams_to_send(0.0)]


LONG = [f"protocol-{number}" + "x" * 60 for number in range(40)]
OUTCOMES = [("blocked.example", "blocked"), ("fine.example", "passes")]


def fate(rig, datagrams):
    """What becomes of a flow of these datagrams."""
    outcome = None
    for datagram in datagrams:
        if outcome is not None and datagram[:1] < b"\x80":
            continue  # not shown any more
        verdict = rig.filter.handle_outbound_data(rig.flow, 0, datagram)
        if verdict.action is Action.DROP:
            return "blocked"
        if verdict.action is Action.ALLOW:
            assert verdict.but_new_connections
            outcome = "passes"
        else:
            assert verdict.pass_bytes
    return outcome


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES)
def test_quic_is_judged_by_its_client_hello(name, outcome):
    assert fate(Rig(protocol="udp"), hellos_of(name)) == outcome


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES)
def test_quic_in_another_order_and_coalesced(name, outcome):
    """RFC 9000 §12.2: packets may share a datagram; a network may change their order."""
    first, second, *more = hellos_of(name, LONG)
    assert fate(Rig(protocol="udp"), [second, first, *more]) == outcome
    assert fate(Rig(protocol="udp"), [second, second, first, *more]) == outcome
    unpadded = first[: pull_quic_header(Buffer(data=first)).packet_length]
    assert fate(Rig(protocol="udp"), [unpadded + second, *more]) == outcome


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES)
@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize(
    "before",
    [
        b"\xca\x1a\x2a\x3a\x4a\x08" + bytes(1200),  # RFC 9000 §15: a version made to be negotiated
        b"\xc0\0\0\0\x01\x08" + bytes(1200),  # a known version that does not decrypt
        b"\x40" + bytes(40),
        b"anything",
        b"",
    ],
)
def test_what_comes_before_a_quic_hello_hides_nothing(before, times, name, outcome):
    assert fate(Rig(protocol="udp"), [before] * times + hellos_of(name)) == outcome


def test_another_connection_before_it_hides_nothing():
    """A second Initial has another connection id and so other keys (RFC 9001 §5.2)."""
    unfinished = hellos_of("fine.example", LONG)[0]
    assert fate(Rig(protocol="udp"), [unfinished, *hellos_of("blocked.example")]) == "blocked"


@pytest.mark.parametrize("between", [b"", b"\x40" + bytes(40), b"\xe0\0\0\0\x01\x08" + bytes(1200)])
def test_each_connection_of_a_socket_pair_is_judged(between):
    """The same addresses and ports, another connection id, another name."""
    rig = Rig(protocol="udp")
    fine = hellos_of("fine.example") + [between] * 50
    assert fate(rig, fine * 5) == "passes"
    assert fate(rig, hellos_of("blocked.example")) == "blocked"


def test_a_name_that_is_told_in_pieces_around_another_connection():
    first, *rest = hellos_of("blocked.example", LONG)
    other = hellos_of("fine.example")
    assert fate(Rig(protocol="udp"), [first, *other, *rest]) == "blocked"
    begun = [hellos_of("fine.example", LONG)[0] for _ in range(CONNECTIONS + 1)]
    assert fate(Rig(protocol="udp"), [first, *begun, *rest]) == "blocked"


def test_packets_that_do_not_decrypt_in_front_of_a_hello_hide_nothing():
    """A server takes its keys from the first packet's id, drops that packet, and opens the next (RFC 9000 §12.2)."""
    (hello,) = hellos_of("blocked.example")
    head = hello[: 6 + hello[5]] + b"\0\0\x40\x40"  # its ids, no source id, no token, 64 bytes
    assert fate(Rig(protocol="udp"), [head + bytes(64) + hello]) == "blocked"
    other = head[:6] + bytes(hello[5]) + head[6 + hello[5] :]
    assert fate(Rig(protocol="udp"), [other + bytes(64) + hello]) == "blocked"


def test_names_of_earlier_connections_count_when_the_rules_change():
    rig = Rig(protocol="udp")
    assert fate(rig, hellos_of("late.example") + hellos_of("fine.example")) == "passes"
    rig.filter.judge = Judge((ListUse(BlockList("list", ("late.example",))),))
    assert rig.filter.handle_new_flow(rig.flow).action is Action.DROP


def test_a_quic_hello_that_never_ends_is_refused():
    assert fate(Rig(protocol="udp"), [hellos_of("fine.example", LONG)[0]] * 40) == "blocked"


@pytest.mark.parametrize(("protocol", "hello"), [("tcp", None), ("udp", hellos_of("late.example"))])
def test_a_flow_opened_before_the_rule_came_is_known_by_what_it_said(protocol, hello):
    rig = Rig(protocol=protocol)
    if hello is None:
        assert rig.sends(client_hello("late.example") + DATA) == "passes"
    else:
        assert fate(rig, hello) == "passes"
    expected = Action.ALLOW if protocol == "tcp" else Action.FILTER_DATA  # another connection may begin on it
    assert rig.filter.handle_new_flow(rig.flow).action is expected
    rig.filter.judge = Judge((ListUse(BlockList("list", ("late.example",))),))
    assert rig.filter.handle_new_flow(rig.flow).action is Action.DROP
    assert rig.filter.ruling(rig.flow).list == "list"
