"""The Linux kernel's TCP at one end of a bad wire and our stack at the other, in real time.

A network namespace has one TUN device, without any offload: the kernel cuts and checksums its packets like a computer
with a simple card. Between the device and the stack lie the two `Link`s of a `Pair`, whose clock follows the real one;
what the seed does to the n-th packet of a direction is the same in every run, only when that packet is sent is not.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from fcntl import ioctl

from bench.netlab.namespaces import PREFIX, Namespace, remove_namespace, use_congestion

from tunflow.device import Packet
from tunflow.host.tun import IFF_NO_PI, IFF_TUN, IFREQ_FLAGS, TUNSETIFF, TunDevice
from tunflow.testing.pair import Pair
from tunflow.wire import virtio_net

NAME = "lossy0"
CLIENT_V4, SERVER_V4 = "198.18.0.1", "192.0.2.80"
CLIENT_V6, SERVER_V6 = "fd00:18::1", "fd00:2::80"

READ_LIMIT = 64
LONGEST_WAIT = 0.1
"""Seconds until `run` looks at its condition again at the latest."""

_numbers = itertools.count(1)


class KernelEnd:
    """The kernel behind a TUN device as a `PacketMachine`: `read` takes what it wants to send."""

    def __init__(self, device: TunDevice) -> None:
        self.device = device
        self.outgoing: list[Packet] = []

    def read(self) -> None:
        """Take the packets that wait in the device."""
        self.outgoing += [(virtio_net.PLAIN, packet) for packet in self.device.read(READ_LIMIT)]

    def receive(self, packets: Sequence[bytes], offset: int, now: float) -> None:
        """Give packets to the kernel; a damaged one may not even look like a packet to it."""
        for packet in packets:
            with contextlib.suppress(OSError):
                os.write(self.device.fileno(), packet[offset:])

    def flush(self) -> None:
        """Nothing waits here."""

    def next_timeout(self) -> float | None:
        """The kernel has its own clock."""

    def handle_timeout(self, now: float) -> None:
        """Never asked for."""


@contextlib.contextmanager
def kernel_host(mtu: int, settings: Sequence[str]) -> Iterator[tuple[Namespace, KernelEnd]]:
    """A host whose default route is a TUN device of this MTU; `settings` are sysctls of its own."""
    host = Namespace(f"{PREFIX}{os.getpid()}-lossy-{next(_numbers)}", os.environ)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(remove_namespace, host.name)
        subprocess.run(["ip", "netns", "add", host.name], check=True)
        host.run(["sysctl", "-q", "-w", "net.ipv6.conf.default.router_solicitations=0", *settings])
        use_congestion(host.command, "cubic")
        with host.entered():
            device = _open_plain(mtu)
        cleanup.callback(device.close)
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "set", NAME, "mtu", str(mtu), "up"),
            ("addr", "add", CLIENT_V4 + "/32", "dev", NAME),
            ("route", "add", "default", "dev", NAME),
        ):
            host.run(["ip", *words])
        if mtu >= 1280:  # RFC 8200 §5: IPv6 does not go below
            host.run(["ip", "addr", "add", CLIENT_V6 + "/128", "dev", NAME, "nodad"])
            host.run(["ip", "-6", "route", "add", "default", "dev", NAME])
        yield host, KernelEnd(device)


def run(pair: Pair, kernel: KernelEnd, until: Callable[[], bool], seconds: float) -> bool:
    """Let both ends talk in real time until the condition holds or the time is up; whether it holds."""
    difference = pair.now - time.monotonic()
    limit = pair.now + seconds
    while not until():
        now = time.monotonic() + difference
        if now > limit:
            return False
        due = pair.clock.next_event()
        pause = LONGEST_WAIT if due is None else min(max(due - now, 0.0), LONGEST_WAIT)
        if select.select([kernel.device], [], [], pause)[0]:
            kernel.read()
        pair.clock.advance(time.monotonic() + difference)
        pair.settle()
    return True


def _open_plain(mtu: int) -> TunDevice:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        ioctl(fd, TUNSETIFF, IFREQ_FLAGS.pack(NAME.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return TunDevice(fd, NAME, vnet=False, mtu=mtu)
