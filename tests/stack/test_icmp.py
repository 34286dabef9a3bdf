"""Pings, and errors in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Buffer, Endpoint
from tunflow.stack.icmp import ERROR_BURST, ERRORS_PER_SECOND, ICMP, Reason, TokenBucket
from tunflow.wire import icmp, ipv4, ipv6, protocols, udp

CLIENT = {4: ip_address("10.0.0.1").packed, 6: ip_address("fd00::1").packed}
FAR = {4: ip_address("192.0.2.1").packed, 6: ip_address("2001:db8::1").packed}
families = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071 word by word: not the code under test."""
    total = 0
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ip(family: int, protocol: int, payload: bytes, src: bytes = b"", dst: bytes = b"") -> bytes:
    src, dst = src or CLIENT[family], dst or FAR[family]
    build = ipv4.build if family == 4 else ipv6.build
    return build(src, dst, protocol, len(payload)) + payload


def datagram(family: int, payload: bytes = b"hello", **addresses: bytes) -> bytes:
    return ip(family, protocols.UDP, udp.build(5000, 53, len(payload)) + payload, **addresses)


def body(family: int, message: icmp.Message, src: bytes = b"", dst: bytes = b"") -> bytes:
    if family == 4:
        return icmp.build_v4(message)
    return icmp.build_v6(src or CLIENT[6], dst or FAR[6], message)


def check_packet(packet: Sequence[Buffer], family: int) -> icmp.Message:
    """A plain packet from the far side to the client, with right checksums; its message."""
    whole = b"".join(packet)
    assert whole[:10] == bytes(10)
    plain = whole[10:]
    if family == 4:
        header4 = ipv4.parse_untrusted(plain)
        assert (header4.src, header4.dst, header4.protocol) == (FAR[4], CLIENT[4], 1)
        assert header4.total_length == len(plain)
        assert ones_complement_sum(plain[:20]) == 0xFFFF
        assert ones_complement_sum(plain[20:]) == 0xFFFF
        return icmp.parse_v4_untrusted(plain[20:])
    header6 = ipv6.parse_untrusted(plain)
    assert (header6.src, header6.dst, header6.next_header) == (FAR[6], CLIENT[6], 58)
    assert header6.total_length == len(plain)
    pseudo = FAR[6] + CLIENT[6] + len(plain[40:]).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    assert ones_complement_sum(pseudo + plain[40:]) == 0xFFFF
    return icmp.parse_v6_untrusted(FAR[6], CLIENT[6], plain[40:])


@given(identifier=st.integers(0, 65535), sequence=st.integers(0, 65535), payload=st.binary(max_size=100))
@families
def test_a_ping_can_be_answered(family, identifier, sequence, payload):
    machine = ICMP()
    segment = body(family, icmp.Echo(True, identifier, sequence, payload))
    machine.receive(CLIENT[family], FAR[family], memoryview(segment))
    (request,) = machine.echo_requests
    assert request == (CLIENT[family], FAR[family], identifier, sequence, payload)
    reply = check_packet(machine.echo_reply(request), family)
    assert reply == icmp.Echo(False, identifier, sequence, payload)
    assert machine.dropped == 0


@families
def test_what_is_malformed_is_counted(family):
    machine = ICMP()
    segment = bytearray(body(family, icmp.Echo(True, 1, 1, b"payload")))
    segment[-1] ^= 1
    for data in (segment, segment[:7], b""):
        machine.receive(CLIENT[family], FAR[family], memoryview(data))
    assert (machine.dropped, machine.echo_requests) == (3, [])


@pytest.mark.parametrize("kind", [130, 133, 135, 136, 143])
def test_messages_about_the_link_are_ignored(kind):
    machine = ICMP()
    segment = body(6, icmp.Other(kind, 0, 0, bytes(16)))
    machine.receive(CLIENT[6], FAR[6], memoryview(segment))
    assert (machine.dropped, machine.echo_requests, machine.errors) == (0, [], [])


@pytest.mark.parametrize("protocol", [protocols.TCP, protocols.UDP])
@families
def test_errors_from_clients_name_the_flow(family, protocol):
    quote = ip(family, protocol, udp.HEADER.pack(53, 5000, 8, 0), src=FAR[family], dst=CLIENT[family])
    for message in (icmp.Unreachable(3, quote), icmp.PacketTooBig(1400, quote), icmp.TimeExceeded(0, quote)):
        machine = ICMP()
        machine.receive(CLIENT[family], FAR[family], memoryview(body(family, message)))
        (report,) = machine.errors
        assert report.reporter == CLIENT[family]
        assert report.message == message
        assert report.protocol == protocol
        assert report.source == Endpoint(FAR[family], 53)
        assert report.destination == Endpoint(CLIENT[family], 5000)
        assert report.transport == udp.HEADER.pack(53, 5000, 8, 0)


@families
def test_errors_that_quote_nothing_of_ours_are_counted(family):
    whole = ip(family, protocols.UDP, udp.build(53, 5000, 0), src=FAR[family], dst=CLIENT[family])
    other = ip(family, 132, bytes(8))
    from_others = ip(family, protocols.UDP, udp.build(53, 5000, 0), src=CLIENT[family], dst=CLIENT[family])
    quotes = [*(whole[:size] for size in range(len(whole))), other, from_others, datagram(10 - family)]
    machine = ICMP()
    for quote in quotes:
        machine.receive(CLIENT[family], FAR[family], memoryview(body(family, icmp.Unreachable(3, quote))))
    assert (machine.dropped, machine.errors) == (len(quotes), [])


@given(size=st.integers(0, 3000))
@families
def test_unreachable_quotes_as_much_as_it_may(family, size):
    original = datagram(family, bytes(i & 0xFF for i in range(size)))
    packet = ICMP().unreachable(memoryview(original + b"padding"), Reason.PORT, 0.0)
    assert packet is not None
    message = check_packet(packet, family)
    assert isinstance(message, icmp.Unreachable)
    # RFC 1812 §4.3.2.3: 576 bytes in all; RFC 4443 §3.1: the minimum IPv6 MTU.
    limit = 576 if family == 4 else 1280
    assert sum(map(len, packet)) - 10 <= limit
    assert message.quote == original[: limit - (28 if family == 4 else 48)]


@pytest.mark.parametrize(
    ("reason", "code_v4", "code_v6"),
    # RFC 792 and RFC 1812 §5.2.7.1; RFC 4443 §3.1
    [(Reason.NET, 0, 0), (Reason.HOST, 1, 3), (Reason.PORT, 3, 4), (Reason.ADMIN_PROHIBITED, 13, 1)],
)
@families
def test_every_reason_has_its_code(family, reason, code_v4, code_v6):
    packet = ICMP().unreachable(memoryview(datagram(family)), reason, 0.0)
    assert packet is not None
    message = check_packet(packet, family)
    assert isinstance(message, icmp.Unreachable)
    assert message.code == (code_v4 if family == 4 else code_v6)


def spoken_about(packet: bytes) -> bool:
    return ICMP().unreachable(memoryview(packet), Reason.PORT, 0.0) is not None


@pytest.mark.parametrize(
    ("kind", "answered"), [(8, True), (0, True), (13, True)] + [(n, False) for n in (3, 4, 5, 11, 12)]
)
def test_no_error_about_an_icmp_error(kind, answered):
    # RFC 1122 §3.2.2
    packet = ip(4, protocols.ICMP, body(4, icmp.Other(kind, 0, 0, datagram(4))))
    assert spoken_about(packet) is answered


@pytest.mark.parametrize(
    ("kind", "answered"), [(128, True), (129, True)] + [(n, False) for n in (1, 2, 3, 4, 127, 137)]
)
def test_no_error_about_an_icmpv6_error_or_redirect(kind, answered):
    # RFC 4443 §2.4 (e.1) and (e.2)
    packet = ip(6, protocols.ICMPV6, body(6, icmp.Other(kind, 0, 0, datagram(6))))
    assert spoken_about(packet) is answered


def test_no_error_about_an_icmpv6_error_behind_an_extension_header():
    message = body(6, icmp.Other(1, 0, 0, datagram(6)))
    options = bytes([protocols.ICMPV6, 0, 1, 4, 0, 0, 0, 0])
    assert not spoken_about(ip(6, protocols.DESTINATION_OPTIONS, options + message))


@pytest.mark.parametrize(("offset", "answered"), [(0, True), (8, False)])
def test_errors_about_the_first_fragment_only(offset, answered):
    packet = bytearray(datagram(4, bytes(32)))
    packet[6:8] = (0x2000 | offset // 8).to_bytes(2, "big")
    packet[10:12] = bytes(2)
    packet[10:12] = (0xFFFF ^ ones_complement_sum(packet[:20])).to_bytes(2, "big")
    assert spoken_about(bytes(packet)) is answered
    fragment = ipv6.FRAGMENT_HEADER.pack(protocols.UDP, 0, offset | 1, 1)
    assert spoken_about(ip(6, protocols.FRAGMENT, fragment + udp.build(5000, 53, 8) + bytes(8))) is answered


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"]
)
def test_no_error_to_an_address_that_is_not_one_host(address):
    assert not spoken_about(datagram(6 if ":" in address else 4, src=ip_address(address).packed))


@pytest.mark.parametrize("address", ["224.0.0.251", "255.255.255.255", "ff02::fb"])
def test_no_error_about_a_packet_to_a_group(address):
    assert not spoken_about(datagram(6 if ":" in address else 4, dst=ip_address(address).packed))


@given(st.binary(max_size=80))
@families
def test_no_bytes_make_it_raise(family, data):
    machine = ICMP()
    machine.receive(CLIENT[family], FAR[family], memoryview(data))
    machine.unreachable(memoryview(data), Reason.PORT, 0.0)
    machine.unreachable(memoryview(datagram(family)[:-5] + data), Reason.PORT, 0.0)


def test_errors_are_limited_in_rate():
    # RFC 4443 §2.4 (f)
    machine = ICMP()
    original = memoryview(datagram(4))
    sent = [machine.unreachable(original, Reason.PORT, 5.0) is not None for _ in range(60)]
    assert sent == [True] * int(ERROR_BURST) + [False] * (60 - int(ERROR_BURST))
    assert machine.suppressed == 60 - ERROR_BURST
    assert machine.unreachable(original, Reason.PORT, 5.0 + 1.5 / ERRORS_PER_SECOND) is not None
    assert machine.unreachable(original, Reason.PORT, 5.0 + 1.5 / ERRORS_PER_SECOND) is None


@given(st.lists(st.floats(0, 0.5), max_size=100))
def test_a_token_bucket_never_lets_more_through_than_rate_and_burst(pauses):
    bucket = TokenBucket(rate=4.0, burst=3.0)
    taken: list[float] = []
    now = 0.0
    for pause in pauses:
        now += pause
        if bucket.take(now):
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= 3 + 4 * (taken[last] - start) + 1e-6
