"""The server's users: addresses allotted, checksums mended, strangers dropped."""

from __future__ import annotations

from ipaddress import IPv4Interface, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.protocols.shadowvpn.users import TunnelUsers
from tunflow.wire import ipv4, protocols, tcp, udp
from tunflow.wire.checksum import checksum, transport_checksum

TOKENS = (bytes.fromhex("7e335d67f1dc2c01"), bytes.fromhex("ff593b9e6abeb2a5"))
NET = IPv4Interface("10.7.0.1/16")


def packed(text):
    return ip_address(text).packed


def build(source, target, protocol=protocols.UDP, payload=b"payload", udp_checksum=True):
    src, dst = packed(source), packed(target)
    if protocol == protocols.UDP:
        head = udp.build(1, 2, len(payload))
        if udp_checksum:
            value = transport_checksum(src, dst, protocol, head + payload) or 0xFFFF
            head = udp.build(1, 2, len(payload), checksum=value)
    elif protocol == protocols.TCP:
        head = tcp.build(1, 2, 3, 4, tcp.ACK, 5)
        head = tcp.build(1, 2, 3, 4, tcp.ACK, 5, checksum=transport_checksum(src, dst, protocol, head + payload))
    else:
        head = b""
    body = head + payload
    return memoryview(ipv4.build(src, dst, protocol, len(body)) + body)


def right(packet):
    """Whether every checksum of a packet is right."""
    packet = bytes(packet)
    if checksum(packet[:20]) != 0:
        return False
    if packet[9] == protocols.UDP and packet[26:28] == b"\0\0":
        return True
    if packet[9] in (protocols.TCP, protocols.UDP):
        return transport_checksum(packet[12:16], packet[16:20], packet[9], packet[20:]) == 0
    return True


def test_the_lone_client_is_wherever_it_was_heard_last():
    users = TunnelUsers(NET, ())
    packet = build("10.7.0.2", "192.0.2.1")
    with pytest.raises(BadPacket):
        users.to_user_untrusted(packet)
    assert users.from_user_untrusted(b"", packet, "here") == packet
    users.from_user_untrusted(b"", packet, "there")
    user, same = users.to_user_untrusted(packet)
    assert (user.where, same) == ("there", packet)


@pytest.mark.parametrize("protocol", [protocols.UDP, protocols.TCP, protocols.ICMP])
def test_users_get_their_allotted_address_and_see_their_own(protocol):
    users = TunnelUsers(NET, TOKENS)
    sent = users.from_user_untrusted(TOKENS[1], build("192.168.77.5", "192.0.2.1", protocol), "there")
    assert bytes(sent[12:16]) == packed("10.7.0.3")
    assert right(sent)
    user, back = users.to_user_untrusted(build("192.0.2.1", "10.7.0.3", protocol))
    assert (user.token, user.where) == (TOKENS[1], "there")
    assert bytes(back[16:20]) == packed("192.168.77.5")
    assert right(back)


def test_two_users_with_one_inner_address_do_not_meet():
    users = TunnelUsers(NET, TOKENS)
    for token, where in zip(TOKENS, ("here", "there"), strict=True):
        users.from_user_untrusted(token, build("10.9.9.9", "192.0.2.1"), where)
    assert users.to_user_untrusted(build("192.0.2.1", "10.7.0.2"))[0].where == "here"
    assert users.to_user_untrusted(build("192.0.2.1", "10.7.0.3"))[0].where == "there"


def test_a_udp_datagram_without_checksum_stays_without():
    sent = TunnelUsers(NET, TOKENS).from_user_untrusted(
        TOKENS[0], build("192.168.77.5", "192.0.2.1", udp_checksum=False), 0
    )
    assert bytes(sent[26:28]) == b"\0\0"


def test_later_fragments_have_no_transport_header_to_mend():
    packet = bytearray(build("192.168.77.5", "192.0.2.1"))
    packet[6:8] = (185).to_bytes(2, "big")
    packet[10:12] = b"\0\0"
    packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
    sent = TunnelUsers(NET, TOKENS).from_user_untrusted(TOKENS[0], memoryview(packet), 0)
    assert sent[20:] == packet[20:]
    assert checksum(bytes(sent[:20])) == 0


@pytest.mark.parametrize("packet", [b"", b"\x45" * 19, b"\x60" + bytes(60), b"\x4f" + bytes(30), b"\x41" + bytes(30)])
def test_what_no_user_can_have_sent(packet):
    users = TunnelUsers(NET, TOKENS)
    with pytest.raises(BadPacket):
        users.from_user_untrusted(TOKENS[0], memoryview(packet), 0)
    with pytest.raises(BadPacket):
        users.from_user_untrusted(bytes(8), build("10.7.0.2", "192.0.2.1"), 0)
    with pytest.raises(BadPacket):
        users.to_user_untrusted(build("192.0.2.1", "10.7.0.9"))


ADDRESSES = st.binary(min_size=4, max_size=4)


@given(ADDRESSES, ADDRESSES, st.sampled_from([protocols.TCP, protocols.UDP]), st.binary(max_size=60))
def test_mended_checksums_are_right_for_any_address(source, target, protocol, payload):
    packet = build(str(ip_address(source)), str(ip_address(target)), protocol, payload)
    users = TunnelUsers(NET, TOKENS)
    assert right(users.from_user_untrusted(TOKENS[0], packet, 0))
    back = build(str(ip_address(target)), "10.7.0.2", protocol, payload)
    assert right(users.to_user_untrusted(back)[1])
