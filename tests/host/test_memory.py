"""The in-memory pair keeps the contract of a device."""

from __future__ import annotations

import gc
import select

import pytest
from tun_lab import udp_pieces

from open_files import open_files, opened_since
from tunflow.device import Device
from tunflow.host.memory import QUEUE_LENGTH, memory_pair
from tunflow.wire import protocols, virtio_net
from tunflow.wire.checksum import transport_checksum

PLAIN = virtio_net.PLAIN


def is_readable(device: Device) -> bool:
    return bool(select.select([device], [], [], 0)[0])


def test_what_one_writes_the_other_reads() -> None:
    ends: tuple[Device, Device] = memory_pair(mtu=1400)
    one, other = ends
    assert (one.mtu, one.vnet_offset, one.name, other.name) == (1400, 10, "memory0", "memory1")
    assert one.write([[PLAIN, b"first", b" packet"], [PLAIN, b"second"]]) == 0
    assert other.read(10) == [PLAIN + b"first packet", PLAIN + b"second"]
    assert other.write([[PLAIN, b"answer"]]) == 0
    assert one.read(10) == [PLAIN + b"answer"]
    assert one.read(10) == other.read(10) == []


def test_readable_exactly_while_packets_wait() -> None:
    one, other = memory_pair()
    assert not is_readable(other)
    one.write([[PLAIN, bytes([number])] for number in range(5)])
    assert is_readable(other)
    assert not is_readable(one)
    assert len(other.read(3)) == 3
    assert is_readable(other)
    assert len(other.read(3)) == 2
    assert other.read(3) == []
    assert not is_readable(other)


def test_super_datagrams_stay_whole_with_the_header() -> None:
    one, other = memory_pair()
    pieces = udp_pieces(4, 9, bytes(100), gso_size=30)
    one.write([pieces])
    assert other.read(9) == [b"".join(pieces)]


def test_super_datagrams_are_cut_without_the_header() -> None:
    one, other = memory_pair(vnet=False)
    assert other.vnet_offset == 0
    one.write([udp_pieces(4, 9, bytes(100), gso_size=30)])
    packets = other.read(9)
    assert [len(packet) for packet in packets] == [58, 58, 58, 38]
    for packet in packets:
        assert transport_checksum(packet[12:16], packet[16:20], protocols.UDP, packet[20:]) == 0


def test_a_full_queue_and_a_malformed_packet_are_refused() -> None:
    one, other = memory_pair(vnet=False)
    assert one.write([[b"short", b"x"]]) == 1
    assert one.write([[PLAIN, b"x"]] * (QUEUE_LENGTH + 7)) == 7
    assert len(other.read(QUEUE_LENGTH * 2)) == QUEUE_LENGTH
    assert one.write([[PLAIN, b"x"]]) == 0


def test_the_queue_keeps_what_was_written_after_the_buffer_changed() -> None:
    one, other = memory_pair()
    buffer = bytearray(b"before")
    one.write([[PLAIN, memoryview(buffer)]])
    buffer[:] = b"after!"
    assert other.read(1) == [PLAIN + b"before"]


def test_a_closed_end() -> None:
    one, other = memory_pair()
    one.write([[PLAIN, b"last"]])
    one.close()
    one.close()
    assert one.fileno() == -1
    for closed in (one.read, one.write):
        with pytest.raises(EOFError):
            closed([])  # type: ignore[arg-type]
    assert is_readable(other)
    assert other.read(1) == [PLAIN + b"last"]
    assert is_readable(other)
    with pytest.raises(EOFError):
        other.read(1)
    assert other.write([[PLAIN, b"to nobody"]]) == 1
    other.close()


def test_a_pair_that_nobody_has_is_closed() -> None:
    before = open_files()
    one, other = memory_pair()
    one.write([[PLAIN, b"last"]])
    del one
    gc.collect()
    assert other.read(1) == [PLAIN + b"last"]
    assert other.read(1) == []
    del other
    assert not opened_since(before)
