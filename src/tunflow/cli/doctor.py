"""`tunflow doctor`: one page about this machine. A check looks, changes nothing and sends nothing."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import requires, version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tunflow.cli.build_kind import build_kind
from tunflow.cli.status_line import met_troubles
from tunflow.control.client import NotRunning, ask
from tunflow.errors import LocalError, TunflowError
from tunflow.host.runtime import RuntimeDirectory

PATIENCE = 20.0
"""Seconds for the trial run."""

FEW_DESCRIPTORS = 1024
"""Below that the number of flows at once is felt: each takes one."""

RESOLV_CONF = Path("/etc/resolv.conf")


class CheckState(StrEnum):
    """How a check ended."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found: about what, how it is, in a line, and what to do about it."""

    about: str
    state: CheckState
    line: str
    remedy: str | None = None


def doctor(*, as_json: bool) -> int:
    """Print what all checks find; the exit status."""
    findings = [finding for check in CHECKS for finding in check()]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))  # noqa: T201
    else:
        _show(findings)
    return int(any(finding.state is CheckState.BAD for finding in findings))


def _show(findings: list[CheckResult]) -> None:
    marks = {CheckState.GOOD: "[green]ok[/]", CheckState.NOTE: "[yellow]note[/]", CheckState.BAD: "[red]bad[/]"}
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        remedy = f"\n→ {finding.remedy}" if finding.remedy else ""
        table.add_row(marks[finding.state], finding.about, escape(finding.line + remedy))
    console = Console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as plain:
        console.print(table)
    for line in plain.get().splitlines():
        print(line.rstrip())  # noqa: T201


def _itself() -> Iterator[CheckResult]:
    python = f"Python {platform.python_version()}, Linux {platform.release()}"
    yield CheckResult("tunflow", CheckState.GOOD, f"{version('tunflow')} ({build_kind()}), {python}")


def _run() -> Iterator[CheckResult]:
    """A program is really started in a namespace; it does nothing, so nothing is sent."""
    command = [sys.executable, "-m", "tunflow", "run", "--server", "block://", "--dns", "off", "--", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        yield CheckResult(
            "run", CheckState.BAD, f"`tunflow run -- true` takes more than {PATIENCE:.0f} s", "look at tunflow run -v"
        )
        return
    if done.returncode == 0:
        yield CheckResult("run", CheckState.GOOD, "a program can be given a network of its own")
    else:
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        yield CheckResult("run", CheckState.BAD, said[-1].removeprefix("tunflow: "))


def _up() -> Iterator[CheckResult]:
    tun = Path("/dev/net/tun")
    if not tun.exists():
        remedy = "modprobe tun; in a container, give it the device"
        yield CheckResult("up", CheckState.BAD, f"{tun} is not there: no tunnel device can be made", remedy)
    elif os.geteuid() != 0:
        yield CheckResult("up", CheckState.NOTE, "tunflow up needs root: this user may use tunflow run and listen")
    else:
        yield CheckResult("up", CheckState.GOOD, "this user is root, and there is a TUN driver")
    if shutil.which("nft") is None:
        line = "nft is not there: no kill switch, no gateway, and up cuts connections from outside"
        yield CheckResult("firewall", CheckState.NOTE, line, "apt install nftables")
    else:
        yield CheckResult("firewall", CheckState.GOOD, "nft is there, for the kill switch and for gateways")


def _descriptors() -> Iterator[CheckResult]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else soft
    if most < FEW_DESCRIPTORS:
        line = f"at most {most} open files: about {max(most - 64, 0)} flows at once"
        yield CheckResult("limits", CheckState.NOTE, line, "ulimit -n, LimitNOFILE= of the unit")
    else:
        yield CheckResult("limits", CheckState.GOOD, f"{most:,} open files, so that many flows")


def _network() -> Iterator[CheckResult]:
    from tunflow.host.netlink.route_query import RouteQuery  # noqa: PLC0415
    from tunflow.host.network.uplinks import PathFinder  # noqa: PLC0415

    try:
        with RouteQuery() as query:
            path = PathFinder(query, 0, "").look(())
    except OSError as error:
        yield CheckResult("network", CheckState.BAD, f"routes cannot be read: {error.strerror}")
        return
    if path.is_satisfied:
        yield CheckResult("network", CheckState.GOOD, str(path))
    else:
        yield CheckResult("network", CheckState.NOTE, "no route to anywhere: this machine is offline")


def _names() -> Iterator[CheckResult]:
    try:
        lines = RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError as error:
        yield CheckResult("names", CheckState.BAD, f"{RESOLV_CONF}: {error.strerror}", "programs look names up nowhere")
        return
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    owner = f" ({RESOLV_CONF.resolve()})" if RESOLV_CONF.is_symlink() else ""
    if servers:
        line = f"without a tunnel names are asked at {', '.join(servers)}{owner}; under one, through it"
        yield CheckResult("names", CheckState.GOOD, line)
    else:
        yield CheckResult("names", CheckState.NOTE, f"{RESOLV_CONF} names no resolver{owner}")


def _clock() -> Iterator[CheckResult]:
    made = Path(__file__).stat().st_mtime
    if time.time() < made - 86400:
        now = time.strftime("%Y-%m-%d", time.gmtime())
        line = f"the clock says {now}, which is before tunflow was installed: TLS and Shadowsocks 2022 servers refuse"
        yield CheckResult("clock", CheckState.BAD, line, "set the clock: timedatectl set-ntp true")


WORKSHOP = {"dev", "docs"}
"""Extras for who works on tunflow: nothing that a user does needs them."""


def _libraries() -> Iterator[CheckResult]:
    extras: dict[str, list[str]] = {}
    for each in requires("tunflow") or []:
        name, _, marker = each.partition(";")
        if "extra ==" in marker and (extra := marker.split("extra ==")[1].strip(" '\"")) not in WORKSHOP:
            extras.setdefault(extra, []).append(name.split(">")[0].split("[")[0].strip())
    for extra, names in sorted(extras.items()):
        lacking = [name for name in names if not _is_installed(name)]
        if lacking:
            pip = "pip" if sys.prefix == sys.base_prefix else f"{sys.prefix}/bin/pip"  # of where it is installed
            remedy = f"{pip} install 'tunflow[{extra}]'"
            yield CheckResult(extra, CheckState.NOTE, f"not installed: {', '.join(lacking)}", remedy)


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError  # noqa: PLC0415

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _server() -> Iterator[CheckResult]:
    from tunflow.protocols.registry import parse_server  # noqa: PLC0415

    for link in os.environ.get("TUNFLOW_SERVER", "").split():
        try:
            yield CheckResult("server", CheckState.GOOD, f"TUNFLOW_SERVER names {parse_server(link).label}")
        except LocalError as error:
            yield CheckResult("server", CheckState.BAD, f"TUNFLOW_SERVER: {error}")


def _profiles() -> Iterator[CheckResult]:
    from tunflow.profiles.store import ProfileStore  # noqa: PLC0415

    store = ProfileStore()
    open_at_end: list[str] = []
    try:
        names = store.names()
    except LocalError as error:
        yield CheckResult("profiles", CheckState.NOTE, str(error))
        return
    for name in names:
        try:
            profile = store.load(name)
        except LocalError as error:
            yield CheckResult("profiles", CheckState.BAD, f"{name} cannot be used: {error}")
        else:
            if not profile.tunnel.kill_switch:
                open_at_end.append(name)
    if not names:
        yield CheckResult(
            "profiles", CheckState.NOTE, "none is saved", "tunflow profile add, or tunflow profile import"
        )
    if open_at_end:
        line = f"no kill switch in {', '.join(open_at_end)}: when such a tunnel is down, everything leaves in the clear"
        yield CheckResult("leaks", CheckState.NOTE, line, "kill_switch = true in [tunnel]")


def _tunnel() -> Iterator[CheckResult]:
    try:
        status = ask(RuntimeDirectory.running().control, "status", patience=3.0)
    except NotRunning:
        yield CheckResult("tunnel", CheckState.NOTE, "no tunnel is up: this machine's traffic leaves as it always did")
        return
    except TunflowError as error:
        yield CheckResult("tunnel", CheckState.BAD, str(error), "tunflow logs")
        return
    troubles = met_troubles(status)
    if status.get("status") == "connected" and not troubles:
        yield CheckResult(
            "tunnel", CheckState.GOOD, f"connected through {', '.join(status.get('servers') or ['its way'])}"
        )
    else:
        said = "; ".join(str(trouble["what"]) for trouble in troubles) or str(status.get("status"))
        yield CheckResult("tunnel", CheckState.BAD, said, "tunflow status, tunflow logs")


CHECKS: tuple[Callable[[], Iterator[CheckResult]], ...] = (
    _itself, _run, _up, _descriptors, _network, _names, _clock, _libraries, _server, _profiles, _tunnel,
)  # fmt: skip
"""In the order of the page."""
