"""The systemd units of a system-wide tunnel: their text, and where they are.

The service starts with the few capabilities that setting up takes, and tunflow itself becomes the user `tunflow` with
CAP_NET_ADMIN alone (docs/adr/0022); the rest of the sandbox is systemd's. The guard closes the host at boot, before
there is any network, and stays until the service has its tunnel: only where the user asks for that.

Read first: systemd.exec(5), systemd.service(5), sysusers.d(5), network-pre.target in systemd.special(7).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SYSTEM = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d")
SERVICE = "tunflow.service"
GUARD = "tunflow-guard.service"
SYSUSERS_FILE = "tunflow.conf"

USER = 'u tunflow - "tunflow" / /usr/sbin/nologin\n'
"""A system user that owns nothing."""

SET_UP = ("CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL")
"""What it takes to change the network, to become somebody else, and to end that one when it hangs."""
DIRECT = ("CAP_NET_RAW",)
"""For pings of targets themselves."""
KEPT_FOLDERS = ("CAP_CHOWN", "CAP_DAC_READ_SEARCH")
"""To give the folder where they are remembered to who we become."""
PROCESSES = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_BPF", "CAP_PERFMON")
"""To tell whose a flow is."""

NAMESPACES = ("user", "net", "mnt")
"""What strongSwan's charon is put in, by an unprivileged user."""

_SERVICE = """\
[Unit]
Description=tunflow: this machine's traffic by the profile {profile}
Documentation=man:tunflow(1)
Wants=network-online.target
After=network-online.target nss-lookup.target
RequiresMountsFor={places}

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} up --foreground {profile}
ExecReload={command} reload
Restart=on-failure
RestartSec=2
WatchdogSec=60
KillMode=mixed
TimeoutStopSec=20
LimitNOFILE=65536
UMask=0077

RuntimeDirectory=tunflow
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
StateDirectory=tunflow

CapabilityBoundingSet={capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome=read-only
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK{families}
RestrictNamespaces={namespaces}
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service{calls}

[Install]
WantedBy=multi-user.target
"""

_GUARD = """\
[Unit]
Description=tunflow: nothing leaves this machine before its tunnel is up
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target {service} shutdown.target
Conflicts=shutdown.target
RequiresMountsFor=/run /usr {places}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} service guard {profile}

RuntimeDirectory=tunflow
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes

CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=sysinit.target
"""


def service(
    command: Sequence[str],
    profile: str,
    capabilities: Sequence[str],
    writable: Sequence[str] = ("/etc", "/run"),
    namespaces: Sequence[str] = (),
) -> str:
    """The unit that serves `profile`; `command` runs tunflow. `writable`: folders besides its own state's.

    `namespaces`: what programs that it starts are put in, with a packet socket there.
    """
    calls = (" bpf" if "CAP_BPF" in capabilities else "") + (" mount" if namespaces else "")
    return _SERVICE.format(
        command=command_line(command),
        profile=_quoted(profile),
        places=_places(command, profile),
        capabilities=" ".join(capabilities),
        calls=calls,
        families=" AF_PACKET" if namespaces else "",
        namespaces=" ".join(namespaces) or "yes",
        writable=command_line(writable),
    )


def guard(command: Sequence[str], profile: str) -> str:
    """The unit that closes the host until the service has its tunnel."""
    places = _places(command, profile)
    return _GUARD.format(command=command_line(command), profile=_quoted(profile), service=SERVICE, places=places)


def _places(command: Sequence[str], profile: str) -> str:
    """What must be mounted before: /usr/local or /opt may be a disk of its own."""
    return command_line([path for path in (command[0], profile) if path.startswith("/")])


def command_line(command: Sequence[str]) -> str:
    """A command as ExecStart= has it."""
    return " ".join(map(_quoted, command))


def _quoted(word: str) -> str:
    """A word as unit files have it (systemd.syntax(7), systemd.service(5) "Command lines")."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(word) & set(" \t'\"\\;") else escaped
