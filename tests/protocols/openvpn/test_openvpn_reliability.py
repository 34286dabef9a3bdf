"""The reliability layer under loss, reorder and duplication, in virtual time."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.packet import Opcode
from tunflow.protocols.openvpn.reliability import RECEIVE_WINDOW, SEND_WINDOW, ReliableReceiver, ReliableSender


@given(st.data(), st.integers(0, 40))
def test_everything_arrives_once_and_in_order(data: st.DataObject, count: int) -> None:
    sender, receiver = ReliableSender(), ReliableReceiver()
    sent = [bytes([number]) for number in range(count)]
    for payload in sent:
        sender.push(Opcode.CONTROL, payload)
    got: list[bytes] = []
    now, wire = 0.0, []
    fates = st.sampled_from(["lost", "once", "twice", "late"])
    for step in range(4000):
        for each in sender.take_due(now):
            fate = (
                data.draw(fates) if step < 60 else "once"
            )  # in the end the wire is good, or nothing could be promised
            copies = {"lost": 0, "once": 1, "twice": 2, "late": 1}[fate]
            wire += [(now + (5.0 if fate == "late" else 0.1), each.packet_id, each.payload)] * copies
        for when, packet_id, payload in sorted(wire):
            if when <= now:
                wire.remove((when, packet_id, payload))
                with suppress(BadPacket):
                    got += [each for _, each in receiver.receive_untrusted(packet_id, Opcode.CONTROL, payload)]
        acks = receiver.take_acks()
        if step >= 60 or data.draw(st.booleans()):
            sender.acknowledge_untrusted(acks)
        if sender.is_idle and not wire:
            break
        now += 0.25
    assert got == sent
    assert sender.is_idle


def test_the_window_and_repetition() -> None:
    sender = ReliableSender()
    for number in range(10):
        sender.push(Opcode.CONTROL, bytes([number]))
    assert [each.packet_id for each in sender.take_due(0.0)] == list(range(SEND_WINDOW))
    assert sender.take_due(1.9) == []
    assert len(sender.take_due(2.0)) == SEND_WINDOW
    assert sender.next_timeout() == 6.0
    sender.acknowledge_untrusted([1, 2, 3, 99])
    assert [each.packet_id for each in sender.take_due(2.1)] == [0, 6, 7, 8], "0 was overtaken by three"


def test_what_is_too_far_ahead_is_not_acknowledged() -> None:
    receiver = ReliableReceiver()
    with pytest.raises(BadPacket):
        receiver.receive_untrusted(RECEIVE_WINDOW, Opcode.CONTROL, b"")
    assert receiver.take_acks() == []
    assert receiver.receive_untrusted(1, Opcode.CONTROL, b"b") == []
    assert receiver.receive_untrusted(0, Opcode.CONTROL, b"a") == [(Opcode.CONTROL, b"a"), (Opcode.CONTROL, b"b")]
    assert receiver.receive_untrusted(0, Opcode.CONTROL, b"again") == []
    assert receiver.take_acks() == [1, 0]
    assert not receiver.owes_acks
    receiver.receive_untrusted(2, Opcode.CONTROL, b"c")
    assert receiver.take_acks(2) == [2, 1], "what was acknowledged last goes along again"
