"""The mapping table and the packets that bring answers back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.stack.udp import FLOW_CAPACITY, IDLE_TIMEOUT, MAX_BATCH, UDPMapping, UDPTable
from tunflow.wire import ipv4, ipv6, udp, virtio_net

CLIENT = {4: bytes([10, 0, 0, 1]), 6: bytes.fromhex("fd000000000000000000000000000001")}
FAR = {4: bytes([192, 0, 2, 1]), 6: bytes.fromhex("20010db8000000000000000000000001")}
families = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071 word by word: not the code under test."""
    total = 0
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(src: bytes, dst: bytes, length: int) -> bytes:
    """RFC 768 or RFC 8200 §8.1."""
    if len(src) == 4:
        return src + dst + bytes([0, 17]) + length.to_bytes(2, "big")
    return src + dst + length.to_bytes(4, "big") + bytes([0, 0, 0, 17])


def datagram(src: bytes, src_port: int, dst: bytes, dst_port: int, payload: bytes = b"hello") -> bytearray:
    """A UDP datagram with the right checksum."""
    made = bytearray(udp.HEADER.pack(src_port, dst_port, 8 + len(payload), 0) + payload)
    total = ones_complement_sum(pseudo_header(src, dst, len(made)) + made)
    made[6:8] = ((0xFFFF ^ total) or 0xFFFF).to_bytes(2, "big")
    return made


class Client:
    """Sends to a table as a client on the TUN does."""

    def __init__(self, family: int = 4, **settings: float) -> None:
        self.table = UDPTable(**settings)  # type: ignore[arg-type]
        self.src, self.dst = CLIENT[family], FAR[family]

    def send(self, port: int = 5000, now: float = 0.0, payload: bytes = b"hello", dst: bytes | None = None) -> None:
        dst = dst or self.dst
        made = memoryview(datagram(self.src, port, dst, 53, payload))
        self.table.receive(self.src, dst, made, False, 0, False, now)

    def take(self) -> list[tuple[UDPMapping, Endpoint, bytes]]:
        """Mapping, destination and payload of what has arrived."""
        return arrived(self.table)


def arrived(table: UDPTable) -> list[tuple[UDPMapping, Endpoint, bytes]]:
    return [
        (run.flow.mapping, run.flow.target, bytes(payload))
        for run in table.take_arrivals()
        for payload in run.datagrams()
    ]


@families
def test_a_datagram_arrives_with_its_mapping_and_destination(family):
    client = Client(family)
    client.send()
    client.send(payload=b"")
    (mapping, destination, payload), (again, _, empty) = client.take()
    assert mapping.client == Endpoint(client.src, 5000)
    assert destination == Endpoint(client.dst, 53)
    assert (payload, empty) == (b"hello", b"")
    assert again is mapping
    assert (mapping.datagrams_out, mapping.bytes_out) == (2, 5)


def test_the_mapping_depends_on_the_client_alone():
    # RFC 4787 REQ-1: endpoint-independent mapping.
    client = Client()
    client.send()
    client.send(dst=bytes([198, 51, 100, 7]))
    client.send(port=5001)
    first, second, third = (mapping for mapping, _, _ in client.take())
    assert first is second
    assert third is not first
    assert len(client.table) == 2


@families
def test_checksums_are_verified_when_nobody_did(family):
    table = UDPTable()
    src, dst = CLIENT[family], FAR[family]
    spoiled = datagram(src, 5000, dst, 53)
    spoiled[-1] ^= 1
    table.receive(src, dst, memoryview(spoiled), False, 0, False, 0.0)
    assert (table.dropped, len(table)) == (1, 0)
    table.receive(src, dst, memoryview(spoiled), True, 0, False, 0.0)
    assert len(table.arrivals) == 1


@families
def test_no_checksum_is_a_right_of_ipv4_only(family):
    # RFC 768 allows it, RFC 8200 §8.1 forbids it.
    table = UDPTable()
    made = datagram(CLIENT[family], 5000, FAR[family], 53)
    made[6:8] = bytes(2)
    table.receive(CLIENT[family], FAR[family], memoryview(made), False, 0, False, 0.0)
    assert len(table.arrivals) == (family == 4)
    assert table.dropped == (family == 6)


def test_padding_behind_the_length_is_not_payload():
    client = Client()
    made = datagram(client.src, 5000, client.dst, 53) + b"padding"
    client.table.receive(client.src, client.dst, memoryview(made), False, 0, False, 0.0)
    assert client.take()[0][2] == b"hello"


@pytest.mark.parametrize("size", range(8))
def test_truncated_headers_are_counted(size):
    table = UDPTable()
    table.receive(CLIENT[4], FAR[4], memoryview(bytes(size)), True, 0, False, 0.0)
    assert table.dropped == 1


@pytest.mark.parametrize("length", [0, 7, 14])
def test_a_length_that_cannot_be_is_counted(length):
    table = UDPTable()
    made = memoryview(udp.HEADER.pack(5000, 53, length, 0) + b"hello")
    table.receive(CLIENT[4], FAR[4], made, True, 0, False, 0.0)
    assert (table.dropped, table.arrivals) == (1, [])


def test_port_zero_is_not_mapped():
    client = Client()
    client.send(port=0)
    made = memoryview(datagram(client.src, 5000, client.dst, 0))
    client.table.receive(client.src, client.dst, made, False, 0, False, 0.0)
    assert (client.table.dropped, len(client.table)) == (2, 0)


@given(size=st.integers(0, 5000), gso_size=st.integers(1, 1500))
def test_a_super_datagram_is_cut_where_the_kernel_would_cut_it(size, gso_size):
    payload = bytes(i * 7 & 0xFF for i in range(size))
    table = UDPTable()
    made = memoryview(datagram(CLIENT[4], 5000, FAR[4], 53, payload))
    table.receive(CLIENT[4], FAR[4], made, True, gso_size, False, 0.0)
    pieces = [piece for _, _, piece in arrived(table)]
    assert b"".join(pieces) == payload
    assert all(len(piece) == gso_size for piece in pieces[:-1])
    assert len(pieces) == max(1, -(-size // gso_size))
    (mapping,) = {flow.mapping for flow in table.flows.values()}
    assert (mapping.datagrams_out, mapping.bytes_out) == (len(pieces), size)


def test_an_idle_mapping_expires_and_use_in_either_direction_keeps_it():
    client = Client()
    table = client.table
    assert table.next_timeout() is None
    client.send(port=1, now=0.0)
    client.send(port=2, now=1.0)
    client.send(port=3, now=2.0)
    assert table.next_timeout() == IDLE_TIMEOUT
    _, (second, _, _), _ = client.take()
    client.send(port=1, now=10.0)
    assert table.next_timeout() == 1.0 + IDLE_TIMEOUT
    table.datagram(second, Endpoint(client.dst, 53), b"answer", 11.0)
    assert table.next_timeout() == 2.0 + IDLE_TIMEOUT
    table.handle_timeout(2.0 + IDLE_TIMEOUT - 0.001)
    assert table.expired == []
    table.handle_timeout(2.0 + IDLE_TIMEOUT)
    assert [mapping.client.port for mapping in table.expired] == [3]
    table.handle_timeout(11.0 + IDLE_TIMEOUT)
    assert [mapping.client.port for mapping in table.expired] == [3, 1, 2]
    assert (len(table), table.next_timeout()) == (0, None)


def test_at_capacity_the_longest_idle_makes_room():
    client = Client(capacity=2)
    for now, port in enumerate((1, 2, 1, 3)):
        client.send(port=port, now=float(now))
        client.take()
    assert [mapping.client.port for mapping in client.table.expired] == [2]
    assert len(client.table) == 2


def test_a_closed_mapping_is_gone_and_not_expired():
    client = Client()
    client.send()
    mapping = client.take()[0][0]
    client.table.close(mapping)
    client.table.close(mapping)
    assert (len(client.table), client.table.expired) == (0, [])
    client.send()
    assert client.take()[0][0] is not mapping
    client.table.close(mapping)  # the old one, again: the new one stays
    assert len(client.table) == 1
    client.table.datagram(mapping, Endpoint(client.dst, 53), b"late", 99.0)
    assert client.table.next_timeout() == IDLE_TIMEOUT


class NaiveTable:
    """A table that searches: client port to time of last use."""

    def __init__(self, capacity: int, idle: float) -> None:
        self.capacity, self.idle = capacity, idle
        self.used: dict[int, tuple[float, int]] = {}
        self.gone: list[int] = []
        self.step = 0

    def use(self, port: int, now: float) -> None:
        if port not in self.used and len(self.used) == self.capacity:
            self.end(min(self.used, key=lambda it: self.used[it]))
        self.step += 1
        self.used[port] = now, self.step

    def end(self, port: int) -> None:
        del self.used[port]
        self.gone.append(port)

    def expire(self, now: float) -> None:
        for port in sorted(self.used, key=lambda it: self.used[it]):
            if self.used[port][0] + self.idle <= now:
                self.end(port)


@given(st.lists(st.tuples(st.sampled_from(["send", "reply", "close", "time"]), st.integers(1, 6), st.integers(0, 4))))
def test_any_sequence_of_operations_does_what_the_naive_twin_does(operations):
    client, naive = Client(capacity=4, idle_timeout=8.0), NaiveTable(4, 8.0)
    table = client.table
    mappings = {}
    now = 0.0
    for operation, port, pause in operations:
        now += pause
        if operation == "send":
            client.send(port=port, now=now)
            mappings[port] = arrived(table)[0][0]
            naive.use(port, now)
        elif operation == "reply" and port in mappings:
            table.datagram(mappings[port], Endpoint(client.dst, 53), b"", now)
            if port in naive.used:
                naive.use(port, now)
        elif operation == "close" and port in mappings:
            table.close(mappings[port])
            naive.used.pop(port, None)
        elif operation == "time":
            table.handle_timeout(now)
            naive.expire(now)
        assert [mapping.client.port for mapping in table.expired] == naive.gone
        assert len(table) == len(naive.used) <= 4
        due = min((when + 8.0 for when, _ in naive.used.values()), default=None)
        assert table.next_timeout() == due


def check_packet(packet: Sequence[Buffer], family: int, payload: bytes, gso_size: int = 0) -> None:
    """The packet says what a device needs to know, and completes to one with right checksums."""
    whole = b"".join(packet)
    vnet = virtio_net.parse_untrusted(whole)
    plain = bytearray(whole[10:])
    at = 20 if family == 4 else 40
    assert vnet == (1, 5 if gso_size else 0, at + 8, gso_size, at, 6)
    if family == 4:
        header4 = ipv4.parse_untrusted(plain)
        assert (header4.src, header4.dst, header4.protocol) == (FAR[4], CLIENT[4], 17)
        assert header4.total_length == len(plain)
        assert ones_complement_sum(plain[:20]) == 0xFFFF
    else:
        header6 = ipv6.parse_untrusted(plain)
        assert (header6.src, header6.dst, header6.next_header) == (FAR[6], CLIENT[6], 17)
        assert header6.total_length == len(plain)
    header = udp.parse_untrusted(plain[at:])
    assert (header.source_port, header.destination_port, header.length) == (53, 5000, 8 + len(payload))
    assert plain[at + 8 :] == payload
    # What Linux does with NEEDS_CSUM: sum from csum_start on, the field's own content included, and complement.
    made = 0xFFFF ^ ones_complement_sum(plain[vnet.csum_start :])
    field = vnet.csum_start + vnet.csum_offset
    plain[field : field + 2] = made.to_bytes(2, "big")
    assert ones_complement_sum(pseudo_header(FAR[family], CLIENT[family], header.length) + plain[at:]) == 0xFFFF


@given(payloads=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
@families
def test_replies_have_right_headers_and_checksums(family, payloads):
    client = Client(family)
    client.send()
    mapping = client.take()[0][0]
    for payload in payloads:  # the second uses the template that the first made
        packet = client.table.datagram(mapping, Endpoint(client.dst, 53), payload, 1.0)
        check_packet(packet, family, payload)
    assert (mapping.datagrams_in, mapping.bytes_in) == (len(payloads), sum(map(len, payloads)))


@given(payload=st.binary(min_size=2, max_size=2))
def test_every_checksum_comes_right(payload):
    client = Client()
    client.send()
    packet = client.table.datagram(client.take()[0][0], Endpoint(client.dst, 53), payload, 1.0)
    check_packet(packet, 4, payload)


@families
def test_replies_from_other_endpoints_reach_the_client_too(family):
    # RFC 4787 REQ-8: endpoint-independent filtering.
    client = Client(family)
    client.send()
    mapping = client.take()[0][0]
    stranger = bytes([203, 0, 113, 9]) if family == 4 else bytes.fromhex("20010db8") + bytes(11) + b"\x09"
    for source in (Endpoint(client.dst, 53), Endpoint(stranger, 9), Endpoint(stranger, 10)):
        packet = bytes(client.table.datagram(mapping, source, b"", 1.0)[0])
        address = packet[22:26] if family == 4 else packet[18:34]
        port = packet[-8:-6]
        assert (address, int.from_bytes(port, "big")) == source


@families
def test_a_batch_is_one_super_datagram(family):
    client = Client(family)
    client.send()
    mapping = client.take()[0][0]
    payloads = [b"a" * 100] * (MAX_BATCH - 1) + [b"b" * 7]
    packet = client.table.datagrams(mapping, Endpoint(client.dst, 53), payloads, 100, 1.0)
    check_packet(packet, family, b"".join(payloads), gso_size=100)
    assert mapping.datagrams_in == MAX_BATCH
    check_packet(client.table.datagrams(mapping, Endpoint(client.dst, 53), [b"one"], 100, 1.0), family, b"one")


@families
def test_what_cannot_reach_the_client_is_refused(family):
    client = Client(family)
    client.send()
    mapping = client.take()[0][0]
    largest = 65535 - 8 - (20 if family == 4 else 0)
    source = Endpoint(client.dst, 53)
    for bad, payload in (
        (Endpoint(FAR[10 - family], 53), b""),
        (Endpoint("name.example", 53), b""),
        (source, bytes(largest + 1)),
    ):
        with pytest.raises(BadPacket):
            client.table.datagram(mapping, bad, payload, 1.0)
    assert mapping.datagrams_in == 0
    check_packet(client.table.datagram(mapping, source, bytes(largest), 1.0), family, bytes(largest))


def test_datagrams_of_one_batch_to_one_destination_are_one_run():
    client = Client()
    for port, dst in ((5000, None), (5000, bytes([198, 51, 100, 7])), (5000, None), (5001, None)):
        client.send(port=port, dst=dst)
    runs = client.table.take_arrivals()
    assert [(run.flow.mapping.client.port, len(run.payloads)) for run in runs] == [(5000, 2), (5000, 1), (5001, 1)]
    client.send()
    assert [len(run.payloads) for run in client.table.take_arrivals()] == [1]
    assert [len(run.payloads) for run in runs] == [2, 1, 1]


def test_a_run_is_all_of_one_kind():
    table = UDPTable()
    made = memoryview(datagram(CLIENT[4], 5000, FAR[4], 53, bytes(300)))
    for gso_size, may_fragment in ((0, False), (0, True), (100, True), (0, True)):
        table.receive(CLIENT[4], FAR[4], made, True, gso_size, may_fragment, 0.0)
    runs = table.take_arrivals()
    assert [(run.gso_size, run.may_fragment) for run in runs] == [(0, False), (0, True), (100, True), (0, True)]
    assert [len(list(run.datagrams())) for run in runs] == [1, 1, 3, 1]


def test_flows_are_forgotten_with_their_mapping_and_when_there_are_too_many():
    client = Client()
    for number in range(FLOW_CAPACITY + 10):
        client.send(dst=(0x0A000000 + number).to_bytes(4, "big"))
    table = client.table
    (mapping,) = {run.flow.mapping for run in table.take_arrivals()}
    assert len(table.flows) == len(mapping.flows) == FLOW_CAPACITY
    client.send(dst=(0x0A000000).to_bytes(4, "big"))  # forgotten, so found anew
    assert client.take()[0][0] is mapping
    table.close(mapping)
    assert (len(table.flows), len(mapping.flows)) == (0, 0)


@pytest.mark.parametrize("size", [1473, 65507])
def test_what_does_not_fit_the_link_may_be_fragmented(size):
    # RFC 6864 §4.1: what may be fragmented has an identification of its own.
    client = Client()
    client.send()
    mapping = client.take()[0][0]
    headers = []
    for _ in range(2):
        packet = client.table.datagram(mapping, Endpoint(client.dst, 53), bytes(size), 1.0)
        check_packet(packet, 4, bytes(size))
        headers.append(ipv4.parse_untrusted(b"".join(packet)[10:]))
    assert [header.dont_fragment for header in headers] == [False, False]
    assert 0 not in {header.identification for header in headers}
    assert headers[0].identification != headers[1].identification
    fits = client.table.datagram(mapping, Endpoint(client.dst, 53), bytes(1472), 1.0)
    assert ipv4.parse_untrusted(b"".join(fits)[10:]).dont_fragment


def answered(client: Client) -> UDPMapping:
    client.send()
    mapping = client.take()[0][0]
    client.table.datagram(mapping, Endpoint(client.dst, 53), b"answer", 0.0)
    return mapping


def test_a_client_that_refuses_its_only_peer_has_gone():
    # RFC 1122 §4.1.3.1: a datagram for a port that nobody has is answered with port unreachable.
    client = Client()
    mapping = answered(client)
    client.table.port_unreachable(mapping.client, Endpoint(client.dst, 53))
    assert (client.table.expired, len(client.table), len(client.table.flows)) == ([mapping], 0, 0)
    client.table.port_unreachable(mapping.client, Endpoint(client.dst, 53))
    assert client.table.expired == [mapping]


def test_a_refusal_that_proves_nothing_is_ignored():
    # RFC 5927 §4: what an ICMP error says must match what was sent.
    client = Client()
    mapping = answered(client)
    client.table.port_unreachable(mapping.client, Endpoint(client.dst, 54))
    client.table.port_unreachable(mapping.client, Endpoint(bytes([198, 51, 100, 7]), 53))
    client.table.port_unreachable(Endpoint(client.src, 5001), Endpoint(client.dst, 53))
    client.send(dst=bytes([198, 51, 100, 7]))  # the same socket has a second peer from here on
    client.table.port_unreachable(mapping.client, Endpoint(client.dst, 53))
    assert (client.table.expired, len(client.table)) == ([], 1)


def test_a_refusal_before_any_answer_is_ignored():
    client = Client()
    client.send()
    client.table.port_unreachable(Endpoint(client.src, 5000), Endpoint(client.dst, 53))
    assert client.table.expired == []
