"""Captures: what tshark makes of them, and that the capture never stands in the traffic's way."""

from __future__ import annotations

import io
import logging
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from tun_lab import TCPPeer, udp_pieces

from tunflow.device import Device
from tunflow.host.memory import memory_pair
from tunflow.host.pcap_tee import PcapTee
from tunflow.wire import tcp, virtio_net

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

FIELDS = (
    "frame.interface_name",
    "frame.packet_flags_direction",
    "frame.len",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "tcp.flags.push",
    "tcp.seq_raw",
    "_ws.expert.severity",
)


def dissect(path: Path) -> list[dict[str, str]]:
    """Each packet's fields as tshark sees them, all checksums verified."""
    options = [f"-o{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")]
    fields = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-n", "-r", str(path), *options, "-T", "fields", "-E", "separator=;", *fields]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "cut short" not in run.stderr
    return [dict(zip(FIELDS, line.split(";"), strict=True)) for line in run.stdout.splitlines()]


def tcp_super(version: int, length: int) -> list[bytes | bytearray | memoryview]:
    peer = TCPPeer(version)
    peer.port = 5000
    return peer.pieces(tcp.ACK | tcp.PSH, [bytes(range(250)) * (length // 250)], gso_size=1000)


@needs_tshark
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("vnet", [True, False])
def test_super_segments_are_captured_as_on_a_wire(version: int, vnet: bool, tmp_path: Path) -> None:
    near, far = memory_pair(vnet=vnet)
    path = tmp_path / "capture.pcapng"
    tee: Device = PcapTee(near, path.open("wb"))
    assert (tee.name, tee.mtu, tee.vnet_offset, tee.fileno()) == ("memory0", 1500, near.vnet_offset, near.fileno())
    assert tee.write([tcp_super(version, 2500)]) == 0
    assert len(far.read(10)) == (1 if vnet else 3)
    far.write([udp_pieces(version, 5000, b"datagram" * 3, gso_size=10)])
    assert len(tee.read(10)) == (1 if vnet else 3)

    # not closed: what a killed process leaves must already be readable
    rows = dissect(path)
    header = (20 if version == 4 else 40) + 20
    assert [row["frame.len"] for row in rows[:3]] == [str(header + size) for size in (1000, 1000, 500)]
    assert [row["frame.len"] for row in rows[3:]] == [str(header - 12 + size) for size in (10, 10, 4)]
    assert [int(row["frame.packet_flags_direction"], 0) for row in rows] == [1] * 3 + [2] * 3
    assert [row["tcp.flags.push"].lower() for row in rows[:3]] in (["0", "0", "1"], ["false", "false", "true"])
    assert [row["tcp.checksum.status"] for row in rows] == ["1"] * 3 + [""] * 3
    assert [row["udp.checksum.status"] for row in rows] == [""] * 3 + ["1"] * 3
    assert {row["ip.checksum.status"] for row in rows} == {"1" if version == 4 else ""}
    assert {row["frame.interface_name"] for row in rows} == {"memory0"}
    tee.close()
    assert len(dissect(path)) == 6
    with pytest.raises(EOFError):
        tee.read(1)


@needs_tshark
def test_a_wrong_checksum_would_be_seen(tmp_path: Path) -> None:
    """The check above can fail: tshark calls the same segment bad when a byte of it is changed."""
    near, _ = memory_pair()
    path = tmp_path / "bad.pcapng"
    tee = PcapTee(near, path.open("wb"))
    head = udp_pieces(4, 9, b"payload")[1]
    tee.write([[virtio_net.PLAIN, head, b"payload"]])
    assert [row["udp.checksum.status"] for row in dissect(path)] == ["0"]
    tee.close()


def test_times_are_the_wall_clock() -> None:
    near, _ = memory_pair()
    file = io.BytesIO()
    before = time.time_ns()
    tee = PcapTee(near, file)
    start = len(file.getvalue())
    tee.write([[virtio_net.PLAIN, b"packet"]])
    _, _, _, high, low = struct.unpack_from("<5I", file.getvalue(), start)
    assert before <= high << 32 | low <= time.time_ns()


def test_a_malformed_packet_is_captured_as_it_is() -> None:
    near, _ = memory_pair()
    file = io.BytesIO()
    tee = PcapTee(near, file)
    tee.write([[virtio_net.HEADER.pack(1, virtio_net.GSO_TCPV4, 0, 9, 0, 0), b"not a packet"]])
    assert b"not a packet" in file.getvalue()


class FullDisk(io.BytesIO):
    """A file that takes one write and no more."""

    writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        if self.writes > 1:
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


def test_a_full_disk_ends_the_capture_and_not_the_traffic(caplog: pytest.LogCaptureFixture) -> None:
    near, far = memory_pair()
    file = FullDisk()
    tee = PcapTee(near, file)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert tee.write([[virtio_net.PLAIN, b"packet"]]) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "the capture of memory0 ends here: No space left on device"
    ]
    assert file.closed
    assert len(far.read(10)) == 3
    far.write([[virtio_net.PLAIN, b"back"]])
    assert tee.read(10) == [virtio_net.PLAIN + b"back"]
    tee.close()
