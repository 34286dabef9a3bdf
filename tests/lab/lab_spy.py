"""What leaves C: tcpdump on its only link, told what is allowed, keeps everything else.

Allowed besides the named traffic is what C's own kernel says to keep the link up: ARP, neighbour discovery,
multicast listener reports, and port-unreachable for late datagrams of the proxy server.
"""

from __future__ import annotations

import subprocess
import time
from types import TracebackType

from bench.netlab.namespaces import SERVER4, SERVER6, Lab
from bench.netlab.peers import SHADOWSOCKS_PORT

TO_SHADOWSOCKS = f"((tcp or udp) and dst port {SHADOWSOCKS_PORT} and (dst host {SERVER4} or dst host {SERVER6}))"
NEIGHBOURS = "(arp or (icmp6 and (ip6[40] >= 130 and ip6[40] <= 137 or ip6[40] == 143)) or (ip6[6] == 0))"
LATE = f"((icmp[icmptype] == icmp-unreach and dst host {SERVER4}) or (icmp6 and ip6[40] == 1 and dst host {SERVER6}))"

LEFT_BEHIND = ("fin-wait-1", "fin-wait-2", "closing", "last-ack")
"""States of connections that no process holds any more."""


class Spy:
    """A context manager; `packets` afterwards has a line of text for each packet that should not have left."""

    def __init__(self, lab: Lab, allowed: str = TO_SHADOWSOCKS, interface: str = "eth0") -> None:
        self.lab = lab
        self.interface = interface
        self.filter = f"not {allowed} and not {NEIGHBOURS} and not {LATE}"
        self.packets: list[str] = []

    def __enter__(self) -> Spy:
        self._end_leftovers()
        self.file = self.lab.directory / f"spy-{time.monotonic_ns()}.pcap"
        # Each packet takes a slot of the snapshot's length in tcpdump's buffer: headers are enough, and many fit.
        argv = ["tcpdump", "-Z", "root", "-i", self.interface, "-n", "-p", "-Q", "out", "--immediate-mode", "-U"]
        argv += ["-s", "256"]
        self.process = self.lab.start(self.lab.client, [*argv, "-w", str(self.file), self.filter])
        deadline = time.monotonic() + 60
        while "listening on" not in self.process.output():
            assert time.monotonic() < deadline, self.process.output()
            assert self.process.popen.poll() is None, self.process.output()
            time.sleep(0.02)
        return self

    def _end_leftovers(self) -> None:
        """Reset what programs of tests before left behind outside of a tunnel: the kernel goes on trying to deliver it.

        What a tunnel had carried ended with it."""
        states = [word for state in LEFT_BEHIND for word in ("state", state)]
        ours = "not ( src 198.18.0.0/15 or src fd74::/16 )"
        command = self.lab.client.command(["ss", "--kill", "--no-header", "--tcp", "--numeric", *states, ours])
        subprocess.run(command, env=self.lab.client.env, stdout=subprocess.DEVNULL, check=True)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.sleep(0.3)  # a packet that left just now is still on its way to tcpdump
        self.process.stop()
        assert "0 packets dropped by kernel" in self.process.output(), self.process.output()
        read = ["tcpdump", "-n", "-r", str(self.file)]
        self.packets = subprocess.run(read, capture_output=True, text=True, check=True).stdout.splitlines()
