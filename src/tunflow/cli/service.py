"""`tunflow service install|remove`: have systemd bring the tunnel up."""

from __future__ import annotations

import argparse
import grp
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.host import systemd_unit as unit
from tunflow.host import user_unit
from tunflow.host.runtime import RuntimeDirectory

if TYPE_CHECKING:
    from tunflow.tunnel.plan import Plan

RUNNING = Path("/run/systemd/system")
"""There where systemd is the system's manager (sd_booted(3))."""


def service(options: argparse.Namespace) -> int:
    """Install, remove, or be the guard; the exit status. Raises LocalError."""
    if options.action == "guard":
        return guard(options.profile)
    if options.user:
        from tunflow.cli.user_service import install_for_user, remove_for_user  # noqa: PLC0415

        return install_for_user(options, _command()) if options.action == "install" else remove_for_user(options)
    return install(options.profile, options) if options.action == "install" else remove(options)


def install(profile: str, options: argparse.Namespace) -> int:
    """Write the units for a profile and enable them. Raises LocalError."""
    if options.listen:
        raise LocalError("--listen goes with --user: a service of the system is tunflow up")
    plan, kill_switch_at_boot = _plan(profile), options.kill_switch_at_boot
    if kill_switch_at_boot and not plan.host.kill_switch:
        raise LocalError(f"{plan.at('tunnel')}: a kill switch at boot takes kill_switch = true in [tunnel]")
    named = plan.file if "/" in profile or profile.endswith(".toml") else profile
    named = str(Path(named).resolve()) if "/" in named or named.endswith(".toml") else named
    service_text = unit.service(_command(), named, _capabilities(plan), _writable(plan), _namespaces(plan))
    files = {unit.SYSTEM / unit.SERVICE: service_text}
    if kill_switch_at_boot:
        files[unit.SYSTEM / unit.GUARD] = unit.guard(_command(), named)
    if options.print:
        texts = {str(path): text for path, text in files.items()}
        print(_json(files=texts) if options.json else "\n".join(texts.values()), end="")  # noqa: T201 - the output
        return 0
    files[unit.SYSUSERS / unit.SYSUSERS_FILE] = unit.USER
    if options.group:
        files[user_unit.POLKIT_RULE] = user_unit.polkit_rule(_group(options.group))
    for path, text in files.items():
        _write(path, text)
    if not kill_switch_at_boot:
        (unit.SYSTEM / unit.GUARD).unlink(missing_ok=True)
    names = [path.name for path in files if path.parent == unit.SYSTEM]
    if not RUNNING.is_dir():
        line = f"written: {', '.join(map(str, files))}; systemd does not run here, so nothing was enabled"
        _told(line, options, files=[*map(str, files)], enabled=[])
        return 0
    _run("systemd-sysusers", str(unit.SYSUSERS / unit.SYSUSERS_FILE))
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", *names)
    line = f"installed: it starts at the next boot, or now by: systemctl start {unit.SERVICE}"
    _told(line, options, files=[*map(str, files)], enabled=names)
    return 0


def remove(options: argparse.Namespace) -> int:
    """Stop and disable the units and delete them. Raises LocalError."""
    paths = [path for name in (unit.SERVICE, unit.GUARD) if (path := unit.SYSTEM / name).exists()]
    if paths and RUNNING.is_dir():
        _run("systemctl", "disable", "--now", *(path.name for path in paths))
    for path in (*paths, unit.SYSUSERS / unit.SYSUSERS_FILE, user_unit.POLKIT_RULE):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LocalError(f"{path} cannot be removed: {error.strerror}") from None
    if paths and RUNNING.is_dir():
        _run("systemctl", "daemon-reload")
    _told("removed" if paths else "no service is installed", options, removed=[*map(str, paths)])
    return 0


def _group(name: str) -> str:
    """Raises LocalError where there is no such group."""
    try:
        return grp.getgrnam(name).gr_name
    except (KeyError, ValueError):
        raise LocalError(f"--group {name}: there is no such group") from None


def _told(line: str, options: argparse.Namespace, **facts: object) -> None:
    if options.json:
        print(_json(**facts), end="")  # noqa: T201 - this is the command's output
    else:
        say(line)


def _json(**facts: object) -> str:
    return json.dumps(facts, indent=2) + "\n"


def guard(profile: str) -> int:
    """Close the host as the profile's kill switch does, with no way out yet. Raises LocalError."""
    from tunflow.host.network.network import HostNetwork  # noqa: PLC0415

    runtime = RuntimeDirectory.own()
    runtime.make()
    HostNetwork(runtime.state).close_host(_plan(profile).host)
    return 0


def _plan(profile: str) -> Plan:
    from tunflow.profiles.store import load_profile  # noqa: PLC0415 - much that only this needs
    from tunflow.tunnel.compile import compile_profile  # noqa: PLC0415

    return compile_profile(load_profile(profile), lasting=True)


def _capabilities(plan: Plan) -> list[str]:
    wanted = [*unit.SET_UP]
    wanted += unit.DIRECT if plan.goes_direct else ()
    wanted += unit.KEPT_FOLDERS if any((plan.fake_addresses, plan.group_memory, plan.fetched_lists)) else ()
    wanted += unit.PROCESSES if plan.asks_for_processes else ()
    return wanted


def _namespaces(plan: Plan) -> tuple[str, ...]:
    """What programs that it starts are put in: charon alone wants that."""
    from tunflow.protocols.contract import PacketTunnel  # noqa: PLC0415 - much that only this needs
    from tunflow.protocols.ikev2.settings import SCHEME  # noqa: PLC0415

    servers = (server for chain in plan.chains.values() for server in chain)
    providers = {plan.provider, *(each.provider for each in servers if isinstance(each, PacketTunnel))}
    return unit.NAMESPACES if SCHEME in providers else ()


def _writable(plan: Plan) -> list[str]:
    """Folders that the tunnel writes to, besides `/var/lib/tunflow`."""
    from tunflow.tunnel.rule_data import SYSTEM  # noqa: PLC0415 - much that only this needs

    logs = [path.parent.resolve() for path, append in plan.files if append]
    return ["/etc", "/run", *(f"-{folder}" for folder in logs if folder != SYSTEM)]  # "-": it may not be there


def _command() -> list[str]:
    """How to run this tunflow: its script, or the module where there is none."""
    script = Path(sys.argv[0]).resolve()
    if script.name == "tunflow" and script.is_file():
        return [str(script)]
    found = shutil.which("tunflow")
    return [found] if found else [sys.executable, "-P", "-m", "tunflow"]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}: a service is installed by root") from None


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalError(f"{argv[0]} cannot be run: {error}") from None
    if done.returncode:
        raise LocalError(f"{' '.join(argv)}: {done.stderr.strip().partition(chr(10))[0]}")
