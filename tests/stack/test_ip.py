"""Packets on their way into the stack: hops, martians, options, fragments, and what clients report."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Endpoint
from tunflow.stack.icmp import ERROR_BURST, Reason
from tunflow.stack.stack import SMALL_DATAGRAM, Stack
from tunflow.stack.udp import UDPRun
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire import icmp, ipv4, ipv6, protocols, tcp, udp, virtio_net
from tunflow.wire.checksum import checksum, transport_checksum

CLIENT = {4: ip_address("198.18.0.1").packed, 6: ip_address("fd00::1").packed}
HOP = {4: ip_address("198.18.0.2").packed, 6: ip_address("fd00::2").packed}
FAR = {4: ip_address("192.0.2.1").packed, 6: ip_address("2001:db8::1").packed}
OWN = frozenset(HOP.values())
NOW = 1000.0
families = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


def packed(family: int, protocol: int, body: bytes, src: bytes, dst: bytes, hops: int = 64) -> bytes:
    if family == 4:
        return ipv4.build(src, dst, protocol, len(body), ttl=hops) + body
    return ipv6.build(src, dst, protocol, len(body), hop_limit=hops) + body


def segment(protocol: int, src: bytes, dst: bytes, payload: bytes = b"hello") -> bytes:
    """A probe of each kind, with a right checksum."""
    if protocol == protocols.UDP:
        head = udp.build(40000, 33435, len(payload))
        value = transport_checksum(src, dst, protocol, head + payload) or 0xFFFF
        return udp.build(40000, 33435, len(payload), checksum=value) + payload
    if protocol == protocols.TCP:
        ports = (40000, 80, 7, 0, tcp.SYN, 0xFFFF)
        return tcp.build(*ports, checksum=transport_checksum(src, dst, protocol, tcp.build(*ports)))
    echo = icmp.Echo(True, 1, 1, payload)
    return icmp.build_v4(echo) if len(src) == 4 else icmp.build_v6(src, dst, echo)


def probe(family: int, protocol: int, hops: int, src: bytes | None = None, dst: bytes | None = None) -> bytes:
    src, dst = src or CLIENT[family], dst or FAR[family]
    number = protocols.ICMPV6 if (family, protocol) == (6, protocols.ICMP) else protocol
    return packed(family, number, segment(protocol, src, dst), src, dst, hops)


def vouched(plain: bytes, gso_size: int = 0) -> bytes:
    """The packet as an offloading device gives it."""
    kind = virtio_net.GSO_UDP_L4 if gso_size else virtio_net.GSO_NONE
    return virtio_net.HEADER.pack(virtio_net.DATA_VALID, kind, 0, gso_size, 0, 0) + plain


def answers(stack: Stack) -> list[tuple[bytes, bytes, icmp.Message]]:
    """Source, destination and message of the ICMP that the stack has sent."""
    found: list[tuple[bytes, bytes, icmp.Message]] = []
    for packet in stack.outgoing:
        plain = b"".join(packet)[10:]
        if plain[0] >> 4 == 4:
            four = ipv4.parse_untrusted(plain)
            found.append((four.src, four.dst, icmp.parse_v4_untrusted(plain[20:])))
        else:
            six = ipv6.parse_untrusted(plain)
            found.append((six.src, six.dst, icmp.parse_v6_untrusted(six.src, six.dst, plain[40:])))
    stack.outgoing.clear()
    return found


def arrived(stack: Stack) -> int:
    """How many datagrams, pings and connections have arrived."""
    return len(stack.udp.arrivals) + len(stack.icmp.echo_requests) + len(stack.requests)


def stack_with_hop() -> Stack:
    return Stack(1500, b"secret", OWN)


every_probe = pytest.mark.parametrize("protocol", [protocols.UDP, protocols.ICMP, protocols.TCP])


GRE, SCTP, ESP = 47, 132, 50


@pytest.mark.parametrize("protocol", [GRE, SCTP, ESP, 253])
@pytest.mark.parametrize("offset", [0, 10])
def test_a_protocol_that_nobody_takes_is_told_so_in_ipv4(protocol, offset):
    # RFC 1122 §3.2.2.1: type 3 code 2, and it comes from where the packet went.
    stack = stack_with_hop()
    packet = packed(4, protocol, b"body", CLIENT[4], FAR[4])
    stack.receive([vouched(packet) if offset else packet], offset, NOW)
    assert answers(stack) == [(FAR[4], CLIENT[4], icmp.Unreachable(icmp.UnreachableV4.PROTOCOL, packet))]
    assert stack.dropped == 1


@pytest.mark.parametrize("protocol", [GRE, SCTP, ESP, 253])
@pytest.mark.parametrize(("ahead", "pointer"), [(b"", 6), (bytes([0, 0, 1, 4, 0, 0, 0, 0]), 40)])
def test_a_protocol_that_nobody_takes_is_told_so_in_ipv6(protocol, ahead, pointer):
    # RFC 4443 §3.4: type 4 code 1, which points at the byte that names the protocol.
    stack = stack_with_hop()
    body = (bytes([protocol]) + ahead[1:] if ahead else b"") + b"body"
    packet = packed(6, protocols.HOP_BY_HOP if ahead else protocol, body, CLIENT[6], FAR[6])
    stack.receive([packet], 0, NOW)
    assert packet[pointer] == protocol
    assert answers(stack) == [(FAR[6], CLIENT[6], icmp.Other(4, 1, pointer, packet))]


def test_no_next_header_is_no_protocol():
    stack = stack_with_hop()  # RFC 8200 §4.7
    stack.receive([packed(6, protocols.NO_NEXT_HEADER, b"", CLIENT[6], FAR[6])], 0, NOW)
    assert answers(stack) == []


def test_unknown_protocols_are_told_at_the_rate_of_all_errors_and_never_about_groups():
    stack = stack_with_hop()
    stack.receive([packed(4, GRE, b"", CLIENT[4], FAR[4])] * 100, 0, NOW)
    assert len(answers(stack)) == ERROR_BURST
    stack = stack_with_hop()
    igmp = packed(4, 2, b"", CLIENT[4], ip_address("224.0.0.22").packed)
    later = bytearray(packed(4, GRE, bytes(8), CLIENT[4], FAR[4]))
    later[6:8] = (1).to_bytes(2, "big")  # a fragment that is not the first
    stack.receive([igmp, bytes(later)], 0, NOW)
    assert answers(stack) == []


@pytest.mark.parametrize("hops", [0, 1])
@every_probe
@families
def test_a_probe_with_no_hop_left_gets_time_exceeded_from_the_tunnel(family, protocol, hops):
    # RFC 1812 §5.3.1, RFC 8200 §3: a router that would make the hop limit zero discards the packet and says so.
    stack = stack_with_hop()
    packet = probe(family, protocol, hops)
    stack.receive([packet], 0, NOW)
    assert answers(stack) == [(HOP[family], CLIENT[family], icmp.TimeExceeded(0, packet))]
    assert arrived(stack) == 0


@every_probe
@families
def test_a_probe_with_a_hop_to_spare_goes_on(family, protocol):
    stack = stack_with_hop()
    stack.receive([probe(family, protocol, 2)], 0, NOW)
    assert answers(stack) == []
    assert arrived(stack) == 1


@every_probe
@families
def test_what_is_for_the_tunnel_itself_has_arrived(family, protocol):
    stack = stack_with_hop()
    stack.receive([probe(family, protocol, 1, dst=HOP[family])], 0, NOW)
    assert answers(stack) == []
    assert arrived(stack) == 1


@families
def test_the_hop_limit_counts_for_a_flow_that_is_known_too(family):
    stack = stack_with_hop()
    stack.receive([vouched(probe(family, protocols.UDP, hops)) for hops in (64, 64, 1, 64)], 10, NOW)
    assert [len(run.payloads) for run in stack.udp.take_arrivals()] == [3]
    assert len(answers(stack)) == 1


@every_probe
def test_a_tunnel_without_an_address_keeps_silent(protocol):
    # To say it from the destination's address would show the target where it is not.
    stack = Stack(1500, b"secret")
    stack.receive([probe(4, protocol, 1)], 0, NOW)
    assert (answers(stack), arrived(stack), stack.dropped) == ([], 0, 1)


def test_time_exceeded_keeps_to_the_one_rate_limit():
    # RFC 4443 §2.4 (f), RFC 1812 §4.3.2.8
    stack = stack_with_hop()
    stack.receive([probe(4, protocols.UDP, 1)] * 100, 0, NOW)
    assert len(answers(stack)) == ERROR_BURST
    stack.datagram_undelivered(
        Endpoint(CLIENT[4], 40000), Endpoint(FAR[4], 53), b"", icmp.Unreachable(icmp.UnreachableV4.PORT, b""), NOW
    )
    assert answers(stack) == []


def test_no_time_exceeded_about_an_icmp_error_or_a_later_fragment():
    # RFC 1122 §3.2.2
    stack = stack_with_hop()
    error = icmp.build_v4(icmp.Unreachable(3, probe(4, protocols.UDP, 64)))
    fragment = bytearray(probe(4, protocols.UDP, 1))
    fragment[6:8] = (1).to_bytes(2, "big")
    fragment[10:12] = bytes(2)
    fragment[10:12] = checksum(fragment[:20]).to_bytes(2, "big")
    stack.receive([packed(4, protocols.ICMP, error, CLIENT[4], FAR[4], 1), bytes(fragment)], 0, NOW)
    assert answers(stack) == []


def test_a_quote_has_its_checksum_complete():
    """Some traceroutes know their probes by it, and an offloading kernel leaves it to us."""
    stack = stack_with_hop()
    plain = probe(4, protocols.UDP, 1)
    partial = bytearray(plain)
    pseudo = 0xFFFF ^ transport_checksum(CLIENT[4], FAR[4], protocols.UDP, b"")
    partial[26:28] = (pseudo + len(plain) - 20).to_bytes(2, "big")
    vnet = virtio_net.HEADER.pack(virtio_net.NEEDS_CSUM, virtio_net.GSO_NONE, 28, 0, 20, 6)
    stack.receive([vnet + partial], 10, NOW)
    assert answers(stack) == [(HOP[4], CLIENT[4], icmp.TimeExceeded(0, plain))]


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("127.0.0.1", "192.0.2.1"),
        ("224.0.0.1", "192.0.2.1"),
        ("255.255.255.255", "192.0.2.1"),
        ("0.0.0.0", "192.0.2.1"),
        ("198.18.0.1", "127.0.0.1"),
        ("198.18.0.1", "0.0.0.0"),
        ("198.18.0.1", "224.0.0.251"),
        ("198.18.0.1", "240.0.0.1"),
        ("198.18.0.1", "255.255.255.255"),
        ("::", "2001:db8::1"),
        ("::1", "2001:db8::1"),
        ("ff02::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "2001:db8::1"),
        ("fd00::1", "::1"),
        ("fd00::1", "ff02::fb"),
        ("fd00::1", "fe80::1"),
        ("fd00::1", "::ffff:192.0.2.1"),
    ],
)
@pytest.mark.parametrize("hops", [1, 64])
@every_probe
def test_martians_are_dropped_without_a_word(protocol, hops, src, dst):
    # RFC 1812 §5.3.7; RFC 1122 §3.2.2: no ICMP error about them either.
    stack = stack_with_hop()
    family = 6 if ":" in src else 4
    packet = probe(family, protocol, hops, ip_address(src).packed, ip_address(dst).packed)
    stack.receive([packet], 0, NOW)
    stack.receive([vouched(packet)], 10, NOW)
    assert (answers(stack), arrived(stack), stack.dropped, len(stack.udp)) == ([], 0, 2, 0)


def with_options(packet: bytes, options: bytes) -> bytes:
    header = bytearray(packet[:20] + options)
    header[0] = 0x40 | len(header) // 4
    header[2:4] = (len(packet) + len(options)).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header[10:12] = checksum(header).to_bytes(2, "big")
    return bytes(header) + packet[20:]


@every_probe
def test_options_are_ignored_and_source_routes_refused(protocol):
    # RFC 1122 §3.2.1.8; RFC 7126 §4.3.5
    stack = stack_with_hop()
    stack.receive([with_options(probe(4, protocol, 64), bytes([131, 7, 4, 10, 0, 0, 1, 0]))], 0, NOW)
    assert (arrived(stack), stack.dropped) == (0, 1)
    stack.receive([with_options(probe(4, protocol, 64), bytes([148, 4, 0, 0]))], 0, NOW)
    assert (arrived(stack), stack.dropped) == (1, 1)


def test_a_held_syn_with_options_can_still_be_refused_by_icmp():
    stack = stack_with_hop()
    packet = with_options(probe(4, protocols.TCP, 64), bytes([1, 1, 1, 0]))
    stack.receive([packet], 0, NOW)
    assert stack.requests[0].syn == packet


@given(size=st.integers(0, 3000), data=st.data())
@families
def test_known_flows_go_the_short_way_to_the_same_end(family, size, data):
    """A packet of a known flow gives what it would give to a stack that knows nothing yet."""
    body = segment(protocols.UDP, CLIENT[family], FAR[family], bytes(i & 0xFF for i in range(size)))
    packet = packed(family, protocols.UDP, body, CLIENT[family], FAR[family]) + bytes(data.draw(st.integers(0, 3)))
    spoiled = bytearray(packet)
    at = data.draw(st.integers(0, len(packet) - 1))
    spoiled[at] ^= data.draw(st.integers(0, 255))
    if family == 4 and data.draw(st.booleans()):
        spoiled[10:12] = bytes(2)
        spoiled[10:12] = checksum(spoiled[:20]).to_bytes(2, "big")
    gso_size = data.draw(st.sampled_from([0, 1, 100, 1472]))
    knows, fresh = stack_with_hop(), stack_with_hop()
    knows.receive([vouched(packet)], 10, NOW)
    knows.udp.take_arrivals()
    for stack in (knows, fresh):
        stack.receive([vouched(bytes(spoiled), gso_size)], 10, NOW)
    if family == 4 and ipv4_header_spoiled(spoiled):
        return  # the device vouches for checksums, and the short way believes it for the header's as well
    assert seen(knows.udp.take_arrivals()) == seen(fresh.udp.take_arrivals())


def ipv4_header_spoiled(packet: bytearray) -> bool:
    return checksum(packet[:20]) != 0


def seen(runs: list[UDPRun]) -> list[object]:
    return [
        (run.flow.mapping.client, run.flow.target, run.may_fragment, [bytes(one) for one in run.datagrams()])
        for run in runs
    ]


@families
def test_a_small_datagram_is_copied_and_a_large_one_is_not(family):
    stack = stack_with_hop()
    for size in (100, SMALL_DATAGRAM + 1):
        body = segment(protocols.UDP, CLIENT[family], FAR[family], bytes(size))
        packet = vouched(packed(family, protocols.UDP, body, CLIENT[family], FAR[family]))
        stack.receive([packet], 10, NOW)
        stack.udp.take_arrivals()
        stack.receive([packet], 10, NOW)
        ((payload,),) = (run.payloads for run in stack.udp.take_arrivals())
        assert isinstance(payload, bytes) is (size < SMALL_DATAGRAM)


def fragments(family: int, size: int) -> list[bytes]:
    """A datagram in two fragments."""
    src, dst = CLIENT[family], FAR[family]
    body = segment(protocols.UDP, src, dst, bytes(size))
    pieces = []
    for start, more in ((0, 1), (512, 0)):
        part = body[start : start + 512] if more else body[start:]
        if family == 6:
            head = ipv6.FRAGMENT_HEADER.pack(protocols.UDP, 0, start | more, 7)
            pieces.append(packed(6, protocols.FRAGMENT, head + part, src, dst))
            continue
        packet = bytearray(packed(4, protocols.UDP, part, src, dst))
        packet[6:8] = (more << 13 | start // 8).to_bytes(2, "big")
        packet[10:12] = bytes(2)
        packet[10:12] = checksum(packet[:20]).to_bytes(2, "big")
        pieces.append(bytes(packet))
    return pieces


@families
def test_what_came_in_fragments_may_leave_in_fragments(family):
    stack = stack_with_hop()
    stack.receive(fragments(family, 1000), 0, NOW)
    stack.receive([probe(family, protocols.UDP, 64)], 0, NOW)
    runs = stack.udp.take_arrivals()
    assert [(run.may_fragment, [len(one) for one in run.payloads]) for run in runs] == [(True, [1000]), (False, [5])]


def test_ipv4_without_df_may_leave_in_fragments():
    stack = stack_with_hop()
    packet = bytearray(probe(4, protocols.UDP, 64))
    packet[6] = 0
    packet[10:12] = bytes(2)
    packet[10:12] = checksum(packet[:20]).to_bytes(2, "big")
    stack.receive([vouched(bytes(packet))] * 2, 10, NOW)
    ((may_fragment, count),) = ((run.may_fragment, len(run.payloads)) for run in stack.udp.take_arrivals())
    assert (may_fragment, count) == (True, 2)


def delivered(family: int) -> tuple[Stack, bytes]:
    """A stack that has answered a client's datagram, and the answer's packet."""
    stack = stack_with_hop()
    stack.receive([probe(family, protocols.UDP, 64)], 0, NOW)
    (run,) = stack.udp.take_arrivals()
    answer = stack.udp.datagram(run.flow.mapping, run.flow.target, b"answer", NOW)
    return stack, b"".join(answer)[10:]


def report(family: int, message: icmp.Message, reporter: bytes) -> bytes:
    if family == 4:
        return packed(4, protocols.ICMP, icmp.build_v4(message), reporter, FAR[4])
    return packed(6, protocols.ICMPV6, icmp.build_v6(reporter, FAR[6], message), reporter, FAR[6])


@families
def test_a_clients_port_unreachable_ends_its_mapping(family):
    stack, answer = delivered(family)
    code = icmp.UnreachableV4.PORT if family == 4 else icmp.UnreachableV6.PORT
    stack.receive([report(family, icmp.Unreachable(code, answer), CLIENT[family])], 0, NOW)
    assert [mapping.client for mapping in stack.udp.expired] == [Endpoint(CLIENT[family], 40000)]


@families
def test_other_reports_do_not(family):
    # RFC 5927 §4: only what says so for certain, and only from the host that it is about.
    stack, answer = delivered(family)
    port, host = (3, 1) if family == 4 else (4, 3)
    router = HOP[family]
    for message, reporter in (
        (icmp.Unreachable(host, answer), CLIENT[family]),
        (icmp.TimeExceeded(0, answer), CLIENT[family]),
        (icmp.Unreachable(port, answer), router),
        (icmp.Unreachable(port, probe(family, protocols.UDP, 64)), CLIENT[family]),
        (icmp.Unreachable(port, probe(family, protocols.UDP, 64, FAR[family], HOP[family])), CLIENT[family]),
    ):
        stack.receive([report(family, message, reporter)], 0, NOW)
    assert (stack.udp.expired, len(stack.udp)) == ([], 1)


@pytest.mark.parametrize("size", [0, 5, 2000])
@families
def test_an_error_quotes_the_clients_own_datagram(family, size):
    # RFC 792: the IP header and at least the 8 bytes behind it, by which the client knows its socket.
    stack = stack_with_hop()
    client, target = Endpoint(CLIENT[family], 40000), Endpoint(FAR[family], 53)
    router = ip_address("203.0.113.1" if family == 4 else "2001:db8:1::1").packed
    stack.datagram_undelivered(client, target, bytes(size), icmp.PacketTooBig(1400, b""), NOW, router)
    ((source, destination, message),) = answers(stack)
    assert (source, destination) == (router, CLIENT[family])
    assert isinstance(message, icmp.PacketTooBig)
    assert message.mtu == 1400
    parse, at = (ipv4.parse_untrusted, 20) if family == 4 else (ipv6.parse_untrusted, 40)
    quote = bytes(message.quote)
    assert quote[9 if family == 4 else 6] == protocols.UDP
    if size < 1000:
        header = parse(quote)
        assert (header.src, header.dst) == (CLIENT[family], FAR[family])
    assert quote[at : at + 6] == udp.build(40000, 53, size)[:6]
    assert quote[at + 8 :] == bytes(min(size, len(quote) - at - 8))


def test_an_error_from_a_martian_comes_from_the_destination():
    stack = stack_with_hop()
    for reporter in (bytes([127, 0, 0, 1]), bytes(16), None):
        message = icmp.Unreachable(icmp.UnreachableV4.PORT, b"")
        stack.datagram_undelivered(Endpoint(CLIENT[4], 1), Endpoint(FAR[4], 2), b"", message, NOW, reporter)
    assert {source for source, _, _ in answers(stack)} == {FAR[4]}


def tcp_quote(client: ScriptedClient, seq: int) -> bytes:
    """A segment of ours as a router quotes it, its sequence number counted from our SYN."""
    src, dst = client.target.host, client.source.host
    assert isinstance(src, bytes)
    assert isinstance(dst, bytes)
    assert client.stack_isn is not None
    head = tcp.build(80, 40000, (client.stack_isn + seq) & 0xFFFFFFFF, 0, tcp.ACK, 0)
    return packed(4, protocols.TCP, head, src, dst)


@pytest.mark.parametrize(("seq", "believed"), [(1, True), (2000, True), (100_000, False)])
def test_a_path_that_is_narrower_is_told_to_the_connection_that_it_concerns(seq, believed):
    # RFC 1191 §6; RFC 5927 §7: the quote must be of something in flight.
    client = ScriptedClient(stack_with_hop())
    connection = client.establish(mss=1460)
    connection.send([bytes(3000)], client.now)
    error = icmp.build_v4(icmp.PacketTooBig(1300, tcp_quote(client, seq)))
    router = ip_address("198.18.0.9").packed
    client.stack.receive([packed(4, protocols.ICMP, error, router, client.target.host)], 0, client.now)
    assert (connection.mss < 1300) is believed


def test_a_report_about_an_open_connection_is_only_a_hint():
    # RFC 5927 §5.2; RFC 1122 §4.2.3.9
    client = ScriptedClient(stack_with_hop())
    connection = client.establish()
    connection.send([b"hello"], client.now)
    error = icmp.build_v4(icmp.Unreachable(icmp.UnreachableV4.HOST, tcp_quote(client, 1)))
    router = ip_address("198.18.0.9").packed
    client.stack.receive([packed(4, protocols.ICMP, error, router, client.target.host)], 0, client.now)
    assert not connection.closed
    assert connection.soft_error is Reason.HOST


def test_ipv6_reaches_its_upper_layer_through_extension_headers():
    # RFC 8200 §4.1: hop-by-hop, destination options, routing with nothing left, an atomic fragment (RFC 6946).
    stack = stack_with_hop()
    body = segment(protocols.UDP, CLIENT[6], FAR[6])
    padding = bytes([1, 4, 0, 0, 0, 0])
    chain = (
        bytes([protocols.DESTINATION_OPTIONS, 0]) + padding
        + bytes([protocols.ROUTING, 0]) + padding
        + bytes([protocols.FRAGMENT, 0, 4, 0, 0, 0, 0, 0])
        + ipv6.FRAGMENT_HEADER.pack(protocols.UDP, 0, 0, 9)
    )  # fmt: skip
    stack.receive([packed(6, protocols.HOP_BY_HOP, chain + body, CLIENT[6], FAR[6])], 0, NOW)
    (run,) = stack.udp.take_arrivals()
    assert (run.payloads, run.may_fragment) == ([b"hello"], True)


def test_fragments_inside_fragments_go_nowhere():
    """A chain of headers that would make one packet open another without end."""
    stack = stack_with_hop()
    inner = ipv6.FRAGMENT_HEADER.pack(protocols.UDP, 0, 0, 5) + segment(protocols.UDP, CLIENT[6], FAR[6])
    options = bytes([protocols.FRAGMENT, 0, 1, 4, 0, 0, 0, 0])
    for start, more, part in ((0, 1, options), (8, 0, inner)):
        head = ipv6.FRAGMENT_HEADER.pack(protocols.DESTINATION_OPTIONS, 0, start | more, 7)
        stack.receive([packed(6, protocols.FRAGMENT, head + part, CLIENT[6], FAR[6])], 0, NOW)
    assert (arrived(stack), stack.dropped > 0) == (0, True)
