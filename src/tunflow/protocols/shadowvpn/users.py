"""The users of a ShadowVPN server: who sends, who is sent to, and under which inner address.

Facts (clowwindy/ShadowVPN 17f86cc, src/nat.c):

1. Without tokens there is one client, and it is wherever the last datagram that authenticated came from.
2. With tokens each user is allotted an inner address: the server's network, plus 1, plus its place in the list, plus 1
   (10.7.0.1/16: 10.7.0.2, .3, …). What a user sends from, whatever it chose, is replaced by that; what comes back is
   addressed to what it chose, and its token stands in front.
3. Checksums are mended by difference (RFC 1624, equation 3): the IPv4 header's, and TCP's or UDP's where they are, in
   an unfragmented packet or a first fragment. A UDP checksum of 0 stays: there is none.
4. IPv4 only: the original lets other packets go by its NAT; here they are dropped, for they belong to no user.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Generic, TypeVar

from tunflow.errors import BadPacket
from tunflow.wire import protocols

Where = TypeVar("Where")
"""An outer address, whatever the caller's sockets call one."""

_HEADER = 20
_CHECKSUM = 10
_SOURCE = 12
_DESTINATION = 16
_CHECKSUM_AT = {protocols.TCP: 16, protocols.UDP: 6}


@dataclass(slots=True)
class User(Generic[Where]):
    """One user: its allotted inner address, and what is known of it by now."""

    token: bytes
    address: bytes
    where: Where | None = None
    """Where its last datagram came from."""
    chosen: bytes | None = None
    """The inner address that it uses itself."""


class TunnelUsers(Generic[Where]):
    """The users of one server; `net` is the server's own inner address."""

    def __init__(self, net: IPv4Interface, tokens: tuple[bytes, ...]) -> None:
        first = int(net.network.network_address) + 1
        self._by_token: dict[bytes, User[Where]] = {}
        self._by_address: dict[bytes, User[Where]] = {}
        for index, token in enumerate(tokens, 1):
            user = User[Where](token, (first + index).to_bytes(4, "big"))
            self._by_token[token] = self._by_address[user.address] = user
        self._alone = None if tokens else User[Where](b"", b"")

    @property
    def token_size(self) -> int:
        """Bytes of token in front of each packet."""
        return 0 if self._alone is not None else 8

    def from_user_untrusted(self, token: bytes, packet: memoryview, where: Where) -> bytearray | memoryview:
        """A packet that a user sent from `where`, as it is to go on. Raises BadPacket."""
        user = self._alone
        if user is not None:
            user.where = where
            return packet
        user = self._by_token.get(token)
        if user is None:
            raise BadPacket("a token that no user has")
        header = _header_size_untrusted(packet)
        user.where = where
        user.chosen = bytes(packet[_SOURCE : _SOURCE + 4])
        return _with_address(packet, header, _SOURCE, user.address)

    def to_user_untrusted(self, packet: memoryview) -> tuple[User[Where], bytearray | memoryview]:
        """Who a packet is for, with an address that is known, and the packet as it is to go there. Raises BadPacket."""
        user = self._alone
        if user is not None:
            if user.where is None:
                raise BadPacket("no client has been heard yet")
            return user, packet
        header = _header_size_untrusted(packet)
        user = self._by_address.get(bytes(packet[_DESTINATION : _DESTINATION + 4]))
        if user is None or user.where is None or user.chosen is None:
            raise BadPacket("an address of no user that has been heard")
        return user, _with_address(packet, header, _DESTINATION, user.chosen)


def _header_size_untrusted(packet: memoryview) -> int:
    if len(packet) < _HEADER or packet[0] >> 4 != 4:
        raise BadPacket("not an IPv4 packet")
    size = (packet[0] & 15) * 4
    if not _HEADER <= size <= len(packet):
        raise BadPacket("an IPv4 header that is longer than its packet")
    return size


def _with_address(packet: memoryview, header: int, at: int, address: bytes) -> bytearray:
    """The packet with one of its addresses replaced, and its checksums mended."""
    mended = bytearray(packet)
    old = bytes(mended[at : at + 4])
    if old == address:
        return mended
    mended[at : at + 4] = address
    difference = _words(address) - _words(old)
    _mend(mended, _CHECKSUM, difference)
    if int.from_bytes(mended[6:8], "big") & 0x1FFF:
        return mended  # not the first fragment: the transport header is in that
    offset = _CHECKSUM_AT.get(mended[9])
    if offset is not None and len(mended) >= header + offset + 2:
        place = header + offset
        if mended[9] == protocols.TCP or mended[place : place + 2] != b"\0\0":
            _mend(mended, place, difference)
            if mended[9] == protocols.UDP and mended[place : place + 2] == b"\0\0":
                mended[place : place + 2] = b"\xff\xff"  # RFC 768: zero would say that there is none
    return mended


def _words(address: bytes) -> int:
    return int.from_bytes(address[:2], "big") + int.from_bytes(address[2:], "big")


def _mend(packet: bytearray, at: int, difference: int) -> None:
    """RFC 1624, equation 3: HC' = ~(~HC + ~m + m')."""
    total = (0xFFFF ^ int.from_bytes(packet[at : at + 2], "big")) + difference
    # One's complement has two zeros; a sum of real words is never the one that is all zeros.
    packet[at : at + 2] = (0xFFFF ^ (total % 0xFFFF or 0xFFFF)).to_bytes(2, "big")
