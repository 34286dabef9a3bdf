"""What public reports of evasion, and of harmless protocols that a filter cut, say is right."""

from __future__ import annotations

import re

import pytest
from test_content_filter import OUTCOMES, Rig, fate, get, hellos_of

from hellos import client_hello, records
from tunflow.dns.questions import question
from tunflow.endpoint import endpoint
from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import Door, Forged, Judge, ListUse
from tunflow.flow import ICMP, FlowInfo
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_verdicts import Action

ALARM = b"\x15\3\1\0\2\1\x5a"
"""A warning (user_canceled)."""
ALL_CLOSED = frozenset(Door)


def allowing(*names, **options):
    """A flow where only these names may pass."""
    rig = Rig(only_allowed=True, **options)
    rig.filter.judge = Judge((ListUse(BlockList("fine", names), allows=True),), True, rig.filter.judge.doors)
    rig.new = rig.filter.handle_new_flow(rig.flow)
    return rig


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(
    "line",
    [
        "OPTIONS rtsp://blocked.example/cam RTSP/1.0",
        "DESCRIBE rtsp://blocked.example/cam RTSP/2.0",
        "OPTIONS sip:someone@blocked.example SIP/2.0",
        "REQMOD icap://blocked.example/r ICAP/1.0",
        "OPTIONS icap://blocked.example/r ICAP/1.0",
        "SOURCE /live ICE/1.0",
        "SOURCE secret /mount",
        "get /page/1",
        "gets /page/1 /page/2",
        "lsinfo /",
        "RETR /pub/file",
        "SSH-2.0-OpenSSH_9.6",
        "HELO mail.example",
    ],
)
def test_other_protocols_than_http_pass(line, step):
    rig = Rig(port=8554)
    assert rig.sends(f"{line}\r\nHost: blocked.example\r\n\r\n".encode(), step) == "passes"
    assert allowing("fine.example").sends(f"{line}\r\n\r\n".encode(), step) == "blocked"  # it has no name


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(
    "stream",
    [
        b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"NICK somebody\r\nUSER somebody 0 * :S\r\n",
        b"<?xml version='1.0'?><stream:stream to='blocked.example' xmlns='jabber:client'>",
        # Minecraft: a frame's length stands first, here the numbers of TLS's records.
        *(bytes((size, 0, 0xFD, 5, size - 7)) + b"a" * (size - 7) + b"\x63\xdd\1" for size in (20, 21, 22, 30)),
        b"EHLO me\r\nSTARTTLS\r\n",
        b"a1 LOGIN me secret\r\n",
        b"0033git-upload-pack /project.git\0host=blocked.example\0",
        b"@RSYNCD: 31.0\n",
        b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2ab",
        b"\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0",
        b"STOMP\naccept-version:1.2\nhost:blocked.example\n\n\0",
        b"MSRP a786hjs2 SEND\r\nTo-Path: msrp://blocked.example:2855/a;tcp\r\n",
        b"\x13BitTorrent protocol" + bytes(48),
    ],
)
def test_protocols_with_other_beginnings_pass(stream, step):
    rig = Rig(port=9000)
    outcome = rig.sends(stream, step)
    assert outcome == "passes" or (outcome is None and rig.end().action is Action.ALLOW)


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(
    "line",
    [
        "GET / RTSP/1.0",
        "POST /a ICE/1.0",
        "get / http/1.1",
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET /",
        "POST /x",
        "OPTIONS /x HTTP/1.1 SIP/2.0 HTTP/1.1",
    ],
)
def test_what_some_server_takes_for_http_is_no_other_protocol(line, step):
    assert Rig(port=80).sends(f"{line}\r\nHost: blocked.example\r\n\r\n".encode(), step) == "blocked"


@pytest.mark.parametrize("line", ['CONNECT {"verbose":false}', "POST", "HEAD <1@news.example>", "GET key", "DELETE 5"])
def test_a_server_that_spoke_first_is_no_http(line):
    """NATS, NNTP and others have words of HTTP; an HTTP server waits for a request."""
    stream = f"{line}\r\nPING\r\n".encode()
    rig = Rig(port=4222)
    rig.flow.server_spoke_first = True
    assert rig.sends(stream) == "passes"
    rig = Rig(port=4222)
    rig.flow.server_spoke_first = False
    assert rig.sends(stream) == ("passes" if line == "POST" else "blocked")
    rig = Rig(port=80)
    rig.flow.server_spoke_first = True
    assert rig.sends(get("blocked.example")) == "blocked"  # whole requests are judged all the same


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(("name", "outcome"), OUTCOMES)
@pytest.mark.parametrize("size", [1, 60, 1 << 14])
@pytest.mark.parametrize("version", [b"\3\1", b"\2\1", b"\0\0", b"\3\4", b"\x0f\xff"])
@pytest.mark.parametrize("before", [b"", ALARM, ALARM * 3, b"\x14\3\3\0\1\1"])
def test_hellos_in_records_of_any_version_and_behind_alerts(before, version, size, name, outcome, step):
    hello = records(client_hello(name.encode()), size).replace(b"\x16\3\1", b"\x16" + version)
    assert Rig().sends(before + hello, step) == outcome


def test_an_alert_between_the_pieces_of_a_hello():
    first, *more = re.findall(b"\x16\3\1.{62}", records(client_hello(b"blocked.example"), 60), re.DOTALL)
    assert Rig().sends(first + ALARM + b"".join(more) + bytes(80)) == "blocked"


@pytest.mark.parametrize("start", [b"\x16\0\0\0\7\5", b"\x15\0\0\0\x80", b"\x16\x20\0\0\1\1", b"\x14\0\0\0\x10"])
def test_what_only_begins_like_tls_passes_at_once(start):
    """Frames that begin with their length, as many protocols have them."""
    assert Rig(port=9000).sends(start) == "passes"


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES)
@pytest.mark.parametrize("version", [1, 0x6B3343CF])
@pytest.mark.parametrize("port", [443, 8443, 53, 33445])
def test_quic_on_any_port(port, version, name, outcome):
    assert fate(Rig(protocol="udp", port=port), hellos_of(name, version=version)) == outcome


@pytest.mark.parametrize("port", [443, 8443])
def test_a_closed_door_for_quic_on_any_port(port):
    rig = Rig(protocol="udp", port=port, doors=frozenset({Door.QUIC}))
    assert rig.new.action is Action.DROP or fate(rig, hellos_of("fine.example")) == "blocked"


@pytest.mark.parametrize("name", ["blocked.example", "fine.example"])
@pytest.mark.parametrize(
    ("version", "ports"),
    [
        (b"\xff\0\0\x1b", (443, 8443)),  # a draft whose keys nobody here has
        (b"Q050", (443, 8443)),
        (b"\xfa\xce\xb0\2", (443, 8443)),
        (b"\x12\x34\x56\x78", (443,)),  # nobody's: elsewhere it may be anything
    ],
)
def test_quic_of_other_versions_is_refused(version, ports, name):
    (hello,) = hellos_of(name)
    for port in ports:
        assert fate(Rig(protocol="udp", port=port), [hello[:1] + version + hello[5:]]) == "blocked"


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES)
@pytest.mark.parametrize("draft", [29, 30, 31, 32, 33, 34])
def test_drafts_that_were_served_are_judged(draft, name, outcome, monkeypatch):
    """draft-ietf-quic-tls-29 §5.2 and -33 §5.2: each its own salt."""
    from aioquic.quic import crypto

    salt = "afbfec289993d24c9e9786f19c6111e04390a899" if draft < 33 else "38762cf7f55934b34d179ae6a4c80cadccbb7f0a"
    monkeypatch.setattr(crypto, "INITIAL_SALT_VERSION_1", bytes.fromhex(salt))
    assert fate(Rig(protocol="udp"), hellos_of(name, version=0xFF000000 + draft)) == outcome


@pytest.mark.parametrize("datagram", [b"\x80\x60" + bytes(1300), b"\x16\xfe\xfd" + bytes(1300), b"\xff" * 1300, b"\0"])
def test_datagrams_of_others_pass_on_their_ports(datagram):
    assert fate(Rig(protocol="udp", port=5004), [datagram] * 20) == "passes"


def test_what_only_goes_by_port_53():
    """`only_allowed` with all doors closed, and no name server that takes port 53."""
    for stream in (
        get("blocked.example"),
        get("other.example"),
        records(client_hello(b"other.example")),
        b"anything\r\n",
    ):
        assert allowing("fine.example", port=53, doors=ALL_CLOSED).sends(stream) == "blocked"
    rig = allowing("fine.example", port=53, protocol="udp", doors=ALL_CLOSED)
    assert fate(rig, [b"no DNS at all"]) == "blocked"
    rig = allowing("fine.example", port=53, protocol="udp", doors=ALL_CLOSED)
    assert rig.filter.handle_outbound_data(rig.flow, 0, question("fine.example", 1)).pass_bytes
    assert not rig.filter.handle_outbound_data(rig.flow, 0, question("secret.tunnel.example", 1)).pass_bytes
    assert rig.filter.handle_outbound_data(rig.flow, 0, question("www.fine.example", 28)).pass_bytes


@pytest.mark.parametrize(
    ("names", "action"),
    [
        (("blocked.example",), Action.DROP),
        (("blocked.example", "www.blocked.example"), Action.DROP),
        (("blocked.example", "fine.example"), Action.FILTER_DATA),
        (("fine.example", "blocked.example"), Action.FILTER_DATA),
    ],
)
def test_a_refused_site_takes_no_allowed_one_with_it(names, action):
    """Sites share addresses."""
    rig = Rig()
    rig.info.hostnames = names
    assert rig.filter.handle_new_flow(rig.flow).action is action
    if action is Action.FILTER_DATA:
        assert rig.sends(records(client_hello(b"blocked.example"))) == "blocked"


@pytest.mark.parametrize(
    ("names", "host", "outcome"),
    [
        (("site.example", "fine.example"), "fine.example", None),
        (("site.example", "fine.example"), "other.example", None),
        (("site.example", "fine.example"), "site.example", "blocked"),
        (("site.example",), "other.example", "blocked"),
    ],
)
def test_requests_to_an_address_of_several_names(names, host, outcome):
    rig = Rig(port=80)
    rig.info.hostnames = names
    assert rig.sends(get(host, "/bad/1")) == outcome


def test_only_allowed_names_behind_a_shared_address():
    rig = allowing("fine.example")
    rig.info.hostnames = ("other.example", "fine.example")
    assert rig.filter.handle_new_flow(rig.flow).action is Action.FILTER_DATA
    assert rig.sends(records(client_hello(b"other.example"))) == "blocked"


@pytest.mark.parametrize(
    ("address", "names", "only", "may"),
    [
        ("203.0.113.5", (), False, False),
        ("192.0.2.1", (), False, True),
        ("192.0.2.1", ("blocked.example",), False, False),
        ("192.0.2.1", ("blocked.example", "fine.example"), False, True),
        ("192.0.2.1", (), True, False),
        ("192.0.2.1", ("fine.example",), True, True),
    ],
)
def test_pings(address, names, only, may):
    """By the address, and by the names that the client was told for it."""
    rig = allowing("fine.example") if only else Rig()
    info = FlowInfo(ICMP, endpoint("198.18.0.1", 0), endpoint(address, 0))
    info.hostnames = names
    rig.records.clear()
    assert rig.filter.may_ping(FilterFlow(info)) is may
    assert len(rig.records) == (not may)


QUIC_HELLO = hellos_of("fine.example")


@pytest.mark.parametrize("choice", list(Forged))
@pytest.mark.parametrize(
    ("names", "is_forged"),
    [((), True), (("other.example",), True), (("fine.example",), False), (("other.example", "fine.example"), False)],
)
def test_an_allowed_name_towards_an_address_that_it_does_not_have(names, is_forged, choice):
    """As far as the name server told the client."""
    streams = {
        "tls": (443, "tcp", [records(client_hello(b"fine.example"))]),
        "http": (80, "tcp", [get("fine.example")]),
        "quic": (443, "udp", QUIC_HELLO),
    }
    for port, protocol, sent in streams.values():
        rig = allowing("fine.example", "other.example", port=port, protocol=protocol, doors=ALL_CLOSED - {Door.QUIC})
        rig.filter.forged = choice
        rig.info.hostnames = names
        rig.filter.handle_new_flow(rig.flow)
        rig.records.clear()
        outcome = fate(rig, sent) if protocol == "udp" else rig.sends(sent[0])
        assert (outcome == "blocked") is (is_forged and choice is Forged.REFUSE)
        told = [ruling.is_forged for _, ruling, _ in rig.records]
        assert told == [is_forged and choice is not Forged.PASS]
