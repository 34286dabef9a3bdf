"""The demo's report as data; `show` prints it for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same measurement through the tunnel and without it."""

    tunnel: float
    direct: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the demo found out. Times are in milliseconds, rates in Mbit/s, memory in MiB."""

    server: str
    pages: list[dict[str, Any]]
    udp_echoes: list[dict[str, Any]]
    verified_bytes_down: int
    verified_bytes_up: int
    new_connection_ms: Comparison
    open_connection_ms: Comparison
    download_mbit_s: Comparison
    upload_mbit_s: Comparison
    download_bytes: int
    upload_bytes: int
    tcp_flows: int
    udp_flows: int
    tunnel_peak_memory_mib: float
    cores: int
    meaning: str

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def make_report(
    server: str, tunnel: dict[str, Any], direct: dict[str, Any], counted: dict[str, Any], peak: int, cores: int
) -> Report:
    """The report of two sessions' results and what the server counted; `peak` is in bytes."""
    return Report(
        server=server,
        pages=tunnel["pages"]["pages"],
        udp_echoes=tunnel["echoes"]["echoes"],
        verified_bytes_down=tunnel["checksums"]["bytes_down"],
        verified_bytes_up=tunnel["checksums"]["bytes_up"],
        new_connection_ms=milliseconds("new_connection", tunnel, direct),
        open_connection_ms=milliseconds("open_connection", tunnel, direct),
        download_mbit_s=rates("download", tunnel, direct),
        upload_mbit_s=rates("upload", tunnel, direct),
        download_bytes=tunnel["download"]["bytes"],
        upload_bytes=tunnel["upload"]["bytes"],
        tcp_flows=counted["streams"],
        udp_flows=counted["associations"],
        tunnel_peak_memory_mib=round(peak / (1 << 20), 1),
        cores=cores,
        meaning=meaning(cores),
    )


def milliseconds(key: str, tunnel: dict[str, Any], direct: dict[str, Any]) -> Comparison:
    """A median latency of both sessions."""
    return Comparison(round(tunnel["latency"][key] * 1e3, 3), round(direct["latency"][key] * 1e3, 3))


def rates(step: str, tunnel: dict[str, Any], direct: dict[str, Any]) -> Comparison:
    """The throughput of both sessions."""
    down, up = (round(result[step]["bytes"] * 8 / result[step]["seconds"] / 1e6, 1) for result in (tunnel, direct))
    return Comparison(down, up)


def meaning(cores: int) -> str:
    """What the figures stand for, and what not."""
    shared = "one core" if cores == 1 else f"{cores} cores"
    return (
        f"Client, tunnel, server and site share {shared} of this machine and no network is between them: the figures "
        "show what the software costs. Without the tunnel the same client asks the same site over loopback. Every "
        "byte was compared by the receiver, which is part of the time."
    )
