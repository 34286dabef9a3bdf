"""A device that writes down what passes through another one, as a pcapng file for Wireshark.

A capture shows what stands on a wire: super-segments are cut and checksums filled in before they are written
down, in both directions. That costs about 2 us a kilobyte, in a capture only. Directions are the interface's
own, as `tcpdump -i` on it would say: what we read was sent out through it. Each batch is flushed whole, so a
killed process leaves a readable file.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from tunflow.device import Device, Packet
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire import pcapng, virtio_net
from tunflow.wire.offload import segment

_log = logging.getLogger(__name__)


class PcapTee:
    """The device it wraps, with every packet also going into `file`.

    A file that cannot be written to any more ends the capture with one line in the log, not the traffic.
    """

    def __init__(self, device: Device, file: BinaryIO) -> None:
        """Take over both; `file` is open for binary writing and at its start."""
        self._device = device
        self._file: BinaryIO | None = file
        self._append([pcapng.section_header("tunflow"), pcapng.interface_description(device.name)])

    @property
    def name(self) -> str:
        """The wrapped device's name."""
        return self._device.name

    @property
    def mtu(self) -> int:
        """The wrapped device's MTU in bytes."""
        return self._device.mtu

    @property
    def vnet_offset(self) -> int:
        """The wrapped device's offset of the IP header."""
        return self._device.vnet_offset

    def fileno(self) -> int:
        """The wrapped device's descriptor."""
        return self._device.fileno()

    def read(self, limit: int) -> list[bytes]:
        """Up to `limit` waiting packets. Raises EOFError when the device is gone."""
        packets = self._device.read(limit)
        start = self._device.vnet_offset
        whole: list[Packet] = [(packet[:start] or virtio_net.PLAIN, memoryview(packet)[start:]) for packet in packets]
        self._record(whole, pcapng.OUTBOUND)
        return packets

    def write(self, packets: Sequence[Packet]) -> int:
        """Hand packets over; how many were refused (they are in the capture nevertheless)."""
        self._record(packets, pcapng.INBOUND)
        return self._device.write(packets)

    def close(self) -> None:
        """Close the device and the file."""
        self._device.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _record(self, packets: Iterable[Packet], direction: int) -> None:
        """Write down packets that start with a virtio-net header."""
        if self._file is None:
            return
        plain: list[Sequence[Buffer]] = []
        for packet in packets:
            try:
                plain += segment(packet)
            except BadPacket:
                plain.append(packet[1:])  # the capture is where one looks for what is wrong with it
        now = time.time_ns()
        self._append([pcapng.enhanced_packet(pieces, now, direction) for pieces in plain])

    def _append(self, blocks: list[bytes]) -> None:
        if self._file is None or not blocks:
            return
        try:
            self._file.write(b"".join(blocks))
            self._file.flush()
        except OSError as error:
            _log.warning("the capture of %s ends here: %s", self._device.name, error.strerror)
            file, self._file = self._file, None
            with contextlib.suppress(OSError):  # what it could not write it cannot write now either
                file.close()
