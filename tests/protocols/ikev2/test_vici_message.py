"""Messages of vici: an example of its documentation, every element, and bytes that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.protocols.ikev2.vici_message import PacketType, ViciPacket, decoded_untrusted, encoded

MESSAGE = {"key1": "value1", "section1": {"sub-section": {"key2": "value2"}, "list1": ["item1", "item2"]}}


def test_a_request_as_bytes() -> None:
    """The elements of the example in strongSwan's README.vici."""
    packet = encoded(PacketType.CMD_REQUEST, "do", MESSAGE)
    body = (
        b"\x00\x02do\x03\x04key1\x00\x06value1\x01\x08section1\x01\x0bsub-section\x03\x04key2\x00\x06value2\x02"
        b"\x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06\x02"
    )
    assert packet == len(body).to_bytes(4, "big") + body
    assert decoded_untrusted(body) == ViciPacket(PacketType.CMD_REQUEST, "do", MESSAGE)


def test_an_answer_has_no_name() -> None:
    body = encoded(PacketType.CMD_RESPONSE, "", {"success": "no", "errmsg": "why"})[4:]
    assert decoded_untrusted(body) == ViciPacket(PacketType.CMD_RESPONSE, "", {"success": "no", "errmsg": "why"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x09",
        b"\x01\x03",
        b"\x01\x07\x01a",
        b"\x01\x02",
        b"\x01\x01\x01a",
        b"\x01\x04\x01a\x03",
        b"\x01" + b"\x01\x01a" * 20,
    ],
)
def test_wrong_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(BadPacket):
        decoded_untrusted(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_refused(body: bytes) -> None:
    try:
        decoded_untrusted(body)
    except BadPacket:
        return
