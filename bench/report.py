"""What the measurements say: medians, ratios against the limit and against ss-redir, as a table or as data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

BASELINES = ("limit", "ss-redir")


@dataclass(frozen=True)
class Column:
    """One figure: its key, heading, how it is printed, and whether it is a speed (then ratios are printed too)."""

    key: str
    heading: str
    form: str = "{:,.0f}"
    ratio: bool = False


COLUMNS = (
    Column("up1", "up 1\nMbit/s", ratio=True),
    Column("down1", "down 1\nMbit/s", ratio=True),
    Column("up8", "up 8\nMbit/s", ratio=True),
    Column("down8", "down 8\nMbit/s", ratio=True),
    Column("conn1", "conn/s\n1", ratio=True),
    Column("conn64", "conn/s\n64", ratio=True),
    Column("requests", "req/s\n64", ratio=True),
    Column("udp", "UDP\necho/s", ratio=True),
    Column("cpu_up", "CPU s/GB\nup 8", "{:.2f}"),
    Column("cpu_down", "CPU s/GB\ndown 8", "{:.2f}"),
    Column("rss", "peak\nMiB", "{:.0f}"),
    Column("fds", "fds\n8 flows"),
    Column("idle_rss", "MiB\n1,000 idle", "{:.0f}"),
    Column("idle_fds", "fds\n1,000 idle"),
    Column("start_cpu", "run true\nCPU s", "{:.2f}"),
    Column("first_byte", "first\nbyte s", "{:.2f}"),
    Column("sys_up", "syscalls\n/MB up"),
    Column("sys_down", "syscalls\n/MB down"),
)

Samples = dict[str, list[float]]


@dataclass
class RowResult:
    """One row's samples, by column key, and why it is incomplete if it is."""

    name: str
    samples: Samples
    error: str | None = None

    def median(self, key: str) -> float | None:
        """The median of a column, if it was measured."""
        values = self.samples.get(key)
        return median(values) if values else None


Results = dict[str, RowResult]


def conditions(congestion: str) -> str:
    """Where and how this was measured, in a few plain sentences."""
    return (
        f"Linux {platform.release()}, {os.cpu_count()} CPUs shared by both ends, server and client; "
        f"Python {platform.python_version()}. Network namespaces joined by a veth with TSO, {congestion} in all. "
        "limit: the veth alone; ss-redir: its nftables redirect to ss-server; tunflow: `tunflow run` to the same "
        "ss-server, and direct://. Both ss ways use aes-256-gcm."
    )


def ratios(results: Results, baseline: str) -> Iterator[tuple[RowResult, dict[str, float]]]:
    """Every other row against the baseline, column by column."""
    base = results.get(baseline)
    for key, row in results.items():
        if base is None or key in BASELINES[: BASELINES.index(baseline) + 1]:
            continue
        against = {}
        for column in COLUMNS:
            mine, theirs = row.median(column.key), base.median(column.key)
            if column.ratio and mine is not None and theirs:
                against[column.key] = mine / theirs
        if against:
            yield row, against


def lines(results: Results, *, speed: bool) -> tuple[list[Column], list[tuple[str, list[str]]]]:
    """The measured columns that are about speed, or about cost, and each printed line: its name and cells."""
    chosen = [column for column in COLUMNS if column.ratio == speed]
    columns = [column for column in chosen if any(row.samples.get(column.key) for row in results.values())]
    body = []
    for row in results.values():
        values = [row.median(column.key) for column in columns]
        cells = ["-" if value is None else c.form.format(value) for c, value in zip(columns, values, strict=True)]
        if any(cell != "-" for cell in cells):
            body.append((row.name, cells))
    for baseline in BASELINES if speed else ():
        for row, against in ratios(results, baseline):
            cells = [f"{against[c.key]:.2f}" if c.key in against else "" for c in columns]
            body.append((f"{row.name} / {results[baseline].name}", cells))
    return columns, body


def print_tables(console: Console, results: Results, congestion: str) -> None:
    """For people at a terminal."""
    console.print(f"Medians. {conditions(congestion)}", highlight=False)
    for speed in (True, False):
        columns, body = lines(results, speed=speed)
        table = Table()
        table.add_column("", no_wrap=True)
        for column in columns:
            table.add_column(column.heading, justify="right", no_wrap=True)
        for index, (name, cells) in enumerate(body):
            table.add_row(name, *cells, end_section=speed and index + 1 == len(results))
        if body:
            console.print(table)


def markdown(results: Results, congestion: str) -> str:
    """For the README."""
    out = [conditions(congestion)]
    for speed in (True, False):
        columns, body = lines(results, speed=speed)
        head = [column.heading.replace("\n", " ") for column in columns]
        out += ["", "| " + " | ".join(["", *head]) + " |", "|---" + "|--:" * len(columns) + "|"]
        out += ["| " + " | ".join([name, *cells]) + " |" for name, cells in body]
    return "\n".join(out)


def as_data(results: Results, congestion: str) -> dict[str, Any]:
    """For programs."""
    return {
        "conditions": conditions(congestion),
        "rows": {
            key: {
                "name": row.name,
                "error": row.error,
                "median": {name: median(values) for name, values in row.samples.items()},
                "samples": row.samples,
            }
            for key, row in results.items()
        },
        "ratios": {
            baseline: {row.name: against for row, against in ratios(results, baseline)} for baseline in BASELINES
        },
    }
