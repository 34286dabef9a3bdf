"""The demo's report for people, on stdout."""

from __future__ import annotations

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tunflow.demo.report import Report


def show_report(report: Report) -> None:
    """Print the report on stdout."""
    console = Console()
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
    verified = f"{size(report.verified_bytes_down)} down and {size(report.verified_bytes_up)} up by SHA-256"
    timed = f"{size(report.download_bytes)} down and {size(report.upload_bytes)} up block by block"
    facts.add_row("checked", f"{verified}; {timed}; UDP echo over {families}")
    facts.add_row("flows", f"{report.tcp_flows} TCP, {report.udp_flows} UDP, counted by the server")
    facts.add_row("memory", f"{report.tunnel_peak_memory_mib:.1f} MiB at the tunnel's peak")
    return facts


def _figures(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("")
    for title in ("through the tunnel", "without", "ratio"):
        table.add_column(title, justify="right")
    for title, pair in (
        ("connect and get an answer", report.new_connection_ms),
        ("get an answer, connected", report.open_connection_ms),
    ):
        table.add_row(title, f"{pair.tunnel:.2f} ms", f"{pair.direct:.2f} ms", f"{pair.tunnel / pair.direct:.1f} x")
    for title, pair in (("download", report.download_mbit_s), ("upload", report.upload_mbit_s)):
        share = pair.tunnel / pair.direct
        table.add_row(title, f"{pair.tunnel:,.0f} Mbit/s", f"{pair.direct:,.0f} Mbit/s", f"{share:.2f} x")
    return table


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / (1 << 20):,.0f} MiB"
