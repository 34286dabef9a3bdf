"""Starts strongSwan's charon in namespaces of its own, and hands over their ends: run as a script by `charon_program`.

    python -IS charon_namespace.py HANDING CONFIGURATION CHARON

Without arguments it finds out whether that could be, and says in a line why not.

In a user namespace it needs no rights. What charon sends to its server leaves by a TUN device `wan`, whose end the
provider holds; what the tunnel carries goes by a packet socket on the device that charon makes. So nothing of it
touches this machine's routes, addresses, resolvers or IPsec policies. `/run` is its own, for its PID file and its
control socket. Standard library only, so that it starts at once.

Read first: user_namespaces(7), packet(7), netdevice(7), the kernel's networking/tuntap.
"""

import array
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path

OWN, PEER, MASK = "192.0.0.2", "192.0.0.3", "255.255.255.248"
"""What charon takes for itself and for its server (RFC 7335's block, which means nothing outside)."""
DEVICE = "ipsec0"
CONTROL = "/run/charon.vici"
WAN_MTU = 16000
"""Large, so that what IKE sends is not cut into fragments here."""
PATIENCE = 15.0
"""Seconds for charon to start."""

_CLONE_NEW = 0x00020000 | 0x10000000 | 0x40000000  # NS, USER, NET
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_PR_SET_PDEATHSIG = 1
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_UP = 1, 0x1000, 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x8913, 0x8914, 0x8916, 0x891C, 0x8922
_RTM_NEWRULE, _RTM_DELRULE, _NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_CREATE = 32, 33, 1, 4, 0x400
_RT_TABLE_LOCAL, _FR_ACT_TO_TBL, _FR_ACT_BLACKHOLE, _FRA_IIFNAME, _FRA_PRIORITY = 255, 1, 6, 3, 6
_ETH_P_ALL, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 3, 263, 23


REFUSED = "charon's namespace: "
"""What the line begins with that says why there is none."""


def main() -> None:
    """Become charon, or find out whether it could."""
    try:
        if sys.argv[1:]:
            _become_charon()
        else:
            _enter(ctypes.CDLL(None, use_errno=True))
            _open_wan()
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    except OSError as error:
        sys.exit(f"{REFUSED}{f'{error.filename}: ' if error.filename else ''}{error.strerror}")


def _become_charon() -> None:
    handing, configuration, charon = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.set_inheritable(handing, False)
    parent, libc = os.getppid(), ctypes.CDLL(None, use_errno=True)
    _enter(libc)
    _check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM), "prctl")
    if os.getppid() != parent:
        return
    wan = _open_wan()
    _set_up("lo")
    _set_up("wan", OWN)
    for family in (socket.AF_INET, socket.AF_INET6):
        _receive_nothing(family)
    if os.fork() == 0:
        if os.fork() == 0:
            _hand_over(handing, wan)
        os._exit(0)
    os.wait()
    os.environ["STRONGSWAN_CONF"] = f"/proc/self/fd/{configuration}"
    os.execv(charon, [charon])  # noqa: S606 - no shell is wanted


def _open_wan() -> int:
    wan = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(wan, _TUNSETIFF, struct.pack("16sH22x", b"wan", _IFF_TUN | _IFF_NO_PI))
    return wan


def _enter(libc: ctypes.CDLL) -> None:
    """Go into the namespaces, as root there."""
    uid, gid = os.geteuid(), os.getegid()
    _check(libc.unshare(_CLONE_NEW), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1\n")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1\n")
    _check(libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount /")
    _check(libc.mount(b"none", b"/run", b"tmpfs", ctypes.c_ulong(0), b"mode=700"), "mount /run")


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _set_up(name: str, address: str = "") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if address:
            for request, text in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, MASK)):
                packed = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
                fcntl.ioctl(control, request, struct.pack("16s16s8x", name.encode(), packed))
            fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", name.encode(), WAN_MTU))
        flags = struct.unpack("16xH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode())))[0]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))


def _receive_nothing(family: int) -> None:
    """Have the kernel drop what comes out of the tunnel: the packet socket sees it before, nobody else shall answer.

    charon gives its namespace the addresses that the server assigned, so the kernel would answer for them. A rule
    before the one for local addresses forgets what comes from the tunnel's device (rtnetlink(7), ip-rule(8)).
    """
    local = _rule(family, _RT_TABLE_LOCAL, _FR_ACT_TO_TBL)
    black = _rule(family, 0, _FR_ACT_BLACKHOLE) + _attribute(_FRA_IIFNAME, DEVICE.encode() + b"\0")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        for kind, flags, rule in (
            (_RTM_DELRULE, 0, local),
            (_RTM_NEWRULE, _NLM_F_CREATE, black),
            (_RTM_NEWRULE, _NLM_F_CREATE, local),
        ):
            asked = flags | _NLM_F_REQUEST | _NLM_F_ACK
            netlink.send(struct.pack("=IHHII", 16 + len(rule), kind, asked, 1, 0) + rule)
            error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
            if error and family == socket.AF_INET:
                raise OSError(-error, f"rule: {os.strerror(-error)}")


def _rule(family: int, table: int, action: int) -> bytes:
    return struct.pack("=BBBBBxxBI", family, 0, 0, 0, table, action, 0) + _attribute(_FRA_PRIORITY, bytes(4))


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _hand_over(handing: int, wan: int) -> None:
    """Wait for charon, and send the ends: of `wan`, of what the tunnel carries, and of charon's control socket."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            packets.bind((DEVICE, _ETH_P_ALL))
            control.connect(CONTROL)
            break
        except OSError:
            if time.monotonic() > end:
                return
            time.sleep(0.02)
    packets.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    ends = array.array("i", [wan, packets.fileno(), control.fileno()])
    with socket.socket(fileno=handing) as provider:
        provider.sendmsg([b"ends"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, ends)])


if __name__ == "__main__":
    main()
