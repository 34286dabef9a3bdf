"""Packet scripts: a client written by hand against a stack, at explicit times.

    client = ScriptedClient()
    client.send(SYN, seq=0, options=Options(mss=1460))
    client.connection.accept(client.now)
    assert client.receive() == [Segment("SA", seq=0, ack=1)]

Sequence numbers are relative: the client's count from its SYN, the stack's from its SYN-ACK. What the stack sends is
checked like a network card would check it (length, both checksums) before a test sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tunflow.endpoint import Buffer, endpoint
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import Connection
from tunflow.wire import ipv4, ipv6, offload, protocols, tcp
from tunflow.wire.checksum import transport_checksum

CLIENT_ISN = 0xFFFFFF00
"""Close to the wrap, so that every longer test crosses it."""

_LETTERS = (
    (tcp.SYN, "S"),
    (tcp.FIN, "F"),
    (tcp.RST, "R"),
    (tcp.PSH, "P"),
    (tcp.ACK, "A"),
    (tcp.URG, "U"),
    (tcp.ECE, "E"),
    (tcp.CWR, "C"),
)


@dataclass(frozen=True)
class Segment:
    """A segment from the stack. `flags` are letters in the order SFRPAUEC; `window` and `options` are not compared."""

    flags: str
    seq: int
    ack: int | None = None
    payload: bytes = b""
    window: int = field(default=0, compare=False)
    options: tcp.Options = field(default=tcp.Options(), compare=False)


class ScriptedClient:
    """One client endpoint, one target, and the stack between them."""

    def __init__(
        self,
        stack: Stack | None = None,
        source: str = "198.18.0.1",
        target: str = "192.0.2.80",
        source_port: int = 40000,
        target_port: int = 80,
    ) -> None:
        self.stack = stack if stack is not None else Stack(1500, b"packet script")
        self.now = 1000.0
        self.source = endpoint(source, source_port)
        self.target = endpoint(target, target_port)
        self.isn = CLIENT_ISN
        self.stack_isn: int | None = None
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """The connection that the client's SYN made, or `be_connected`."""
        if self.stack.requests:
            self._connection = self.stack.requests.pop(0)
        assert self._connection is not None, "the stack saw no SYN"
        return self._connection

    def packet(
        self,
        flags: int,
        *,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        window: int = 0xFFFF,
        options: tcp.Options = tcp.NO_OPTIONS,
        urgent: int = 0,
    ) -> bytes:
        """A plain packet with right checksums."""
        src, dst = self.source.host, self.target.host
        assert isinstance(src, bytes)
        assert isinstance(dst, bytes)
        number = (self.isn + seq) & 0xFFFFFFFF
        acked = (ack + (self.stack_isn or 0)) & 0xFFFFFFFF if flags & tcp.ACK else 0
        ports = (self.source.port, self.target.port)
        head = tcp.build(*ports, number, acked, flags, window, options=options, urgent_pointer=urgent)
        check = transport_checksum(src, dst, protocols.TCP, head + payload)
        head = tcp.build(*ports, number, acked, flags, window, options=options, checksum=check, urgent_pointer=urgent)
        build = ipv4.build if len(src) == 4 else ipv6.build
        return build(src, dst, protocols.TCP, len(head) + len(payload)) + head + payload

    def send(
        self,
        flags: int,
        *,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        window: int = 0xFFFF,
        options: tcp.Options = tcp.NO_OPTIONS,
        urgent: int = 0,
    ) -> None:
        """Hand the stack one segment, as a batch of its own."""
        packet = self.packet(flags, seq=seq, ack=ack, payload=payload, window=window, options=options, urgent=urgent)
        self.send_packets([packet])

    def send_packets(self, packets: list[bytes]) -> None:
        """Hand the stack a batch, serve nothing, and let it flush."""
        self.stack.receive(packets, 0, self.now)
        self.stack.flush()

    def receive(self) -> list[Segment]:
        """What the stack has sent since, cut and checked as a card would."""
        self.stack.flush()
        packets, self.stack.outgoing = self.stack.outgoing, []
        return [self.parse(b"".join(plain)) for packet in packets for plain in offload.segment(packet)]

    def advance(self, seconds: float) -> None:
        """Let time pass; every timer on the way fires at its own time."""
        end = self.now + seconds
        while (due := self.stack.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.stack.handle_timeout(self.now)
        self.now = end

    def establish(self, *, mss: int = 1460, window: int = 0xFFFF, options: tcp.Options | None = None) -> Connection:
        """SYN, accept, SYN-ACK, ACK: the connection, with nothing left to receive."""
        self.send(tcp.SYN, seq=0, window=window, options=options or tcp.Options(mss=mss))
        connection = self.connection
        connection.accept(self.now)
        (answer,) = self.receive()
        assert answer.flags == "SA", answer
        self.send(tcp.ACK, seq=1, ack=1, window=window)
        assert self.receive() == []
        return connection

    def be_connected(self) -> Connection:
        """Let the stack open the connection instead: its SYN waits to be received."""
        self._connection = self.stack.connect(self.target, self.source, self.now)
        return self._connection

    def parse(self, packet: Buffer) -> Segment:
        """Return a plain packet of the stack's as a segment, which is checked as a network card would check it."""
        version = packet[0] >> 4
        if version == 4:
            four = ipv4.parse_untrusted(packet)
            src, dst, body = four.src, four.dst, packet[four.header_length : four.total_length]
            assert four.protocol == protocols.TCP
        else:
            six = ipv6.parse_untrusted(packet)
            src, dst, body = six.src, six.dst, packet[ipv6.HEADER_SIZE : six.total_length]
            assert six.next_header == protocols.TCP
        assert (src, dst) == (self.target.host, self.source.host), "addresses"
        assert transport_checksum(src, dst, protocols.TCP, body) == 0, "checksum"
        header = tcp.parse_untrusted(body)
        assert (header.source_port, header.destination_port) == (self.target.port, self.source.port), "ports"
        if header.flags & tcp.SYN:
            self.stack_isn = header.sequence
        flags = "".join(letter for bit, letter in _LETTERS if header.flags & bit)
        seq = _relative(header.sequence, self.stack_isn)
        ack = _relative(header.acknowledgement, self.isn) if header.flags & tcp.ACK else None
        payload = bytes(body[header.header_length :])
        return Segment(flags, seq, ack, payload, header.window, header.options)


def _relative(number: int, start: int | None) -> int:
    ahead = (number - (start or 0)) & 0xFFFFFFFF
    return ahead - (1 << 32) if ahead >= 1 << 31 else ahead
