from __future__ import annotations

import errno
import socket

import pytest

from tunflow.host.netlink.messages import attribute
from tunflow.host.netlink.setup import add_address, add_default_route
from tunflow.host.netlink.socket import RouteSocket


@pytest.mark.parametrize(
    ("value", "packed"),
    [(b"", "0400"), (b"\xff", "0500"), (b"abcd", "0800"), (b"abcde", "0900")],
)
def test_an_attribute_says_its_length_and_is_padded_to_four(value: bytes, packed: str) -> None:
    # Little-endian machines; netlink speaks the machine's own order (netlink(7)).
    got = attribute(7, value)
    assert got[:4].hex() == packed + "0700"
    assert got[4 : 4 + len(value)] == value
    assert len(got) % 4 == 0
    assert len(got) - 4 - len(value) < 4


def test_a_refusal_is_an_os_error_that_names_the_step() -> None:
    with RouteSocket() as route, pytest.raises(OSError, match=r"add address 192\.0\.2\.1/32") as caught:
        add_address(route, 1 << 30, "192.0.2.1", 32)  # no such link, whether or not we may
    assert caught.value.errno in (errno.ENODEV, errno.EPERM)


def test_the_default_route_of_a_link_that_is_not_there() -> None:
    with RouteSocket() as route, pytest.raises(OSError, match="AF_INET6 default route"):
        add_default_route(route, 1 << 30, socket.AF_INET6)
