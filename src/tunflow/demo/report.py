"""The demo's report: facts as data, and the same facts for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Pair:
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
    new_connection_ms: Pair
    open_connection_ms: Pair
    download_mbit_s: Pair
    upload_mbit_s: Pair
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


def milliseconds(key: str, tunnel: dict[str, Any], direct: dict[str, Any]) -> Pair:
    """A median latency of both sessions."""
    return Pair(round(tunnel["latency"][key] * 1e3, 3), round(direct["latency"][key] * 1e3, 3))


def rates(step: str, tunnel: dict[str, Any], direct: dict[str, Any]) -> Pair:
    """The throughput of both sessions."""
    down, up = (round(result[step]["bytes"] * 8 / result[step]["seconds"] / 1e6, 1) for result in (tunnel, direct))
    return Pair(down, up)


def meaning(cores: int) -> str:
    """What the figures stand for, and what not."""
    shared = "one core" if cores == 1 else f"{cores} cores"
    return (
        f"Client, tunnel, server and site share {shared} of this machine and no network is between them: the figures "
        "show what the software costs. Without the tunnel the same client asks the same site over loopback. Every "
        "byte was compared by the receiver, which is part of the time."
    )


def show(report: Report, console: Console) -> None:
    """Print the report for people."""
    console.print(
        Panel(
            Group(_facts(report), Text(), _figures(report), Text(), Text(report.meaning, style="dim")),
            title="[bold green]everything went through the tunnel and came back right",
            title_align="left",
            border_style="green",
            expand=False,
            width=min(console.width, 100),
        )
    )


def _facts(report: Report) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    curl = any(page["curl"] for page in report.pages)
    asked = ", ".join(page["url"] for page in report.pages)
    facts.add_row("asked", f"{asked} by Python{' and curl' if curl else ''}, which know nothing of proxies")
    facts.add_row("through", f"{report.server} (embedded)")
    saw = report.pages[0]["saw"]
    peer, port = saw["peer"]
    facts.add_row("site saw", f"GET {saw['path']} for {saw['host']} from {peer} port {port}, which is the server")
    families = " and ".join(echo["label"] for echo in report.udp_echoes)
    facts.add_row(
        "checked",
        f"{size(report.verified_bytes_down)} down and {size(report.verified_bytes_up)} up by SHA-256; "
        f"UDP echo over {families}; {size(report.download_bytes)} down and {size(report.upload_bytes)} up block by block",
    )
    facts.add_row("flows", f"{report.tcp_flows} TCP, {report.udp_flows} UDP, counted by the server")
    facts.add_row("memory", f"{report.tunnel_peak_memory_mib:.1f} MiB at the tunnel's peak")
    return facts


def _figures(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("")
    for title in ("through the tunnel", "without", "ratio"):
        table.add_column(title, justify="right")
    for title, pair in (
        ("a new connection and its answer", report.new_connection_ms),
        ("an answer on an open connection", report.open_connection_ms),
    ):
        table.add_row(title, f"{pair.tunnel:.2f} ms", f"{pair.direct:.2f} ms", f"{pair.tunnel / pair.direct:.1f} x")
    for title, pair in (("download", report.download_mbit_s), ("upload", report.upload_mbit_s)):
        share = pair.tunnel / pair.direct
        table.add_row(title, f"{pair.tunnel:,.0f} Mbit/s", f"{pair.direct:,.0f} Mbit/s", f"{share:.2f} x")
    return table


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / (1 << 20):,.0f} MiB"
