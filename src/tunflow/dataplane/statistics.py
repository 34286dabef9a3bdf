"""What `--stats` prints at the end: counts and times of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

SAMPLES = 4096
"""Connection times kept for the median; the first ones, so memory stays bounded."""


@dataclass(slots=True)
class Statistics:
    """Counted as it happens; bytes are those of flows, without headers and encryption."""

    tcp_flows: int = 0
    tcp_failed: int = 0
    tcp_bytes_up: int = 0
    tcp_bytes_down: int = 0
    udp_flows: int = 0
    udp_bytes_up: int = 0
    udp_bytes_down: int = 0
    udp_dropped: int = 0
    dns_queries: int = 0
    echo_requests: int = 0
    echo_replies: int = 0
    retransmissions: int = 0
    refused_packets: int = 0
    """Packets from the device that were malformed or had no business coming."""
    internal_errors: int = 0
    """Bugs; each ended what it happened in."""
    connect_times: list[float] = field(default_factory=list)
    """Seconds from SYN to the far side's answer."""

    def connected(self, seconds: float) -> None:
        """A flow's far side answered after `seconds`."""
        if len(self.connect_times) < SAMPLES:
            self.connect_times.append(seconds)

    def lines(self) -> list[str]:
        """The summary, a line each."""
        connect = "-"
        if self.connect_times:
            times = sorted(self.connect_times)
            connect = f"median {times[len(times) // 2] * 1e3:.1f} ms, slowest {times[-1] * 1e3:.1f} ms"
        return [
            f"TCP flows {self.tcp_flows}, failed {self.tcp_failed}, "
            f"up {amount(self.tcp_bytes_up)}, down {amount(self.tcp_bytes_down)}",
            f"time to connect {connect}",
            f"UDP flows {self.udp_flows}, up {amount(self.udp_bytes_up)}, down {amount(self.udp_bytes_down)}, "
            f"dropped {self.udp_dropped}",
            f"DNS queries {self.dns_queries}, pings {self.echo_requests} asked {self.echo_replies} answered, "
            f"retransmissions {self.retransmissions}, malformed packets {self.refused_packets}, "
            f"internal errors {self.internal_errors}",
        ]


def amount(size: float) -> str:
    """A number of bytes for people: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
