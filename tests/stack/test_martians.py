"""Addresses that no packet comes from or goes to, against the ipaddress module's idea of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.stack import martians


@pytest.mark.parametrize(
    ("address", "source", "destination"),
    [
        ("0.0.0.0", False, False),  # RFC 1122 §3.2.1.3 (a)
        ("0.255.255.255", False, False),  # RFC 1122 §3.2.1.3 (b)
        ("1.0.0.0", True, True),
        ("10.0.0.1", True, True),
        ("100.64.0.1", True, True),  # RFC 6598: a carrier's shared space is where clients may live
        ("126.255.255.255", True, True),
        ("127.0.0.1", False, False),  # RFC 1122 §3.2.1.3 (g)
        ("128.0.0.0", True, True),
        ("169.254.1.1", True, True),
        ("198.18.0.1", True, True),
        ("223.255.255.255", True, True),
        ("224.0.0.251", False, False),  # RFC 1122 §3.2.1.3: never a source
        ("239.255.255.250", False, False),
        ("240.0.0.1", False, False),  # RFC 1112 §4
        ("255.255.255.255", False, False),  # RFC 919 §7
        ("::", False, False),  # RFC 4291 §2.5.2
        ("::1", False, False),  # RFC 4291 §2.5.3
        ("::10.0.0.1", False, False),  # RFC 4291 §2.5.5.1
        ("::ffff:10.0.0.1", False, False),  # RFC 4291 §2.5.5.2
        ("64:ff9b::1", True, True),  # RFC 6052
        ("2001:db8::1", True, True),
        ("fd00::1", True, True),
        ("fe7f::1", True, True),
        ("fe80::1", True, False),  # RFC 4291 §2.5.6
        ("febf::1", True, False),
        ("fec0::1", True, True),
        ("ff02::1", False, False),  # RFC 4291 §2.7: never a source
    ],
)
def test_the_table(address: str, source: bool, destination: bool) -> None:
    packed = ip_address(address).packed
    assert (martians.may_be_source(packed), martians.may_be_destination(packed)) == (source, destination)


@given(st.binary(min_size=4, max_size=4))
def test_ipv4_is_what_the_registry_says(packed: bytes) -> None:
    address = IPv4Address(packed)
    martian = address.is_loopback or address.is_multicast or address.is_reserved or packed[0] == 0
    assert martians.may_be_source(packed) is martians.may_be_destination(packed) is not martian


@given(
    st.sampled_from([bytes(12), bytes(10) + b"\xff\xff", b"\xff", b"\xfe", b""]), st.binary(min_size=16, max_size=16)
)
def test_ipv6_is_what_the_registry_says(start: bytes, rest: bytes) -> None:
    packed = (start + rest)[:16]
    address = IPv6Address(packed)
    martian = address.is_multicast or address.ipv4_mapped is not None or int(address) < 1 << 32
    assert martians.may_be_source(packed) is not martian
    assert martians.may_be_destination(packed) is not (martian or address.is_link_local)
