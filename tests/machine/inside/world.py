"""Runs inside of the emulated machine: the network beside it.

A namespace `world` at the other end of `lan0`, and of what else is joined to its bridge `wire0`: DHCP, router
advertisements and names by dnsmasq, a site that says who asked (and at `/bytes/N` has N bytes), `tunflow serve`, and a
witness that writes down what arrives on the wire. Standard library only.
"""

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RUN = Path("/run/lab")
SEEN = RUN / "seen"
"""What arrived: a line has the seconds since boot, protocol, source, destination and port. SIGHUP begins it anew."""
SITE4, SITE6, SERVER = "198.51.100.80", "2001:db8:100::80", "203.0.113.10"
LINK = "ss://aes-256-gcm:lab-password@0.0.0.0:8388"

SETUP = """
netns add world
link add lan0 type veth peer name port0 netns world
"""
WORLD = f"""
link set lo up
link add wire0 address 02:00:00:00:00:01 type bridge mcast_snooping 0
link set port0 master wire0 up
addr add {SITE4}/32 dev lo
addr add {SERVER}/32 dev lo
addr add {SITE6}/128 dev lo
addr add 192.0.2.1/24 dev wire0
addr add 2001:db8:1::1/64 dev wire0 nodad
link set wire0 up
"""
FORWARDING = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
DNSMASQ = (
    "dnsmasq --keep-in-foreground --user=root --no-hosts --no-resolv --interface=wire0 --bind-dynamic "
    "--dhcp-range=192.0.2.100,192.0.2.200,1h --dhcp-option=option:router,192.0.2.1 --dhcp-authoritative "
    "--dhcp-range=2001:db8:1::,ra-stateless --enable-ra --ra-param=wire0,10 --dhcp-leasefile=/run/lab/leases "
    f"--pid-file --host-record=site.lab,{SITE4},{SITE6} --local=/lab/ --local=/./"
).split()


class Site(BaseHTTPRequestHandler):
    """Says who asked."""

    def do_GET(self) -> None:
        body = f"hello {self.client_address[0].removeprefix('::ffff:')}\n".encode()
        if self.path.startswith("/bytes/"):
            body = random.Random(1).randbytes(int(self.path.removeprefix("/bytes/")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class DualStackServer(ThreadingHTTPServer):
    """Listens on both families."""

    address_family = socket.AF_INET6
    daemon_threads = True


def main() -> None:
    """Be the world until told to end."""
    RUN.mkdir(exist_ok=True)
    subprocess.run(["ip", "netns", "del", "world"], stderr=subprocess.DEVNULL, check=False)
    subprocess.run(["ip", "-batch", "-"], input=SETUP, text=True, check=True)
    with open("/run/netns/world", "rb") as namespace:  # noqa: PTH123 - setns wants a descriptor
        _enter(namespace.fileno())
    subprocess.run(["ip", "-batch", "-"], input=WORLD, text=True, check=True)
    for name in FORWARDING:
        Path("/proc/sys", name).write_text("1")
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind(("wire0", 3))
    SEEN.write_text("")
    signal.signal(signal.SIGHUP, lambda *_: SEEN.write_text(""))
    server = DualStackServer(("::", 80), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    children = [subprocess.Popen(DNSMASQ), subprocess.Popen(["/usr/local/bin/tunflow", "serve", LINK, "--allow-local"])]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _ready()
    try:
        _witness(wire)
    finally:
        for child in children:
            child.kill()


def _enter(namespace: int) -> None:
    """setns(2), which Python 3.11 has no name for."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def _ready() -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", path.replace("@", "\0", 1))


def _witness(wire: socket.socket) -> None:
    """Write down what arrives, until told to end."""
    while True:
        frame, address = wire.recvfrom(65535)
        if address[2] == socket.PACKET_OUTGOING:
            continue
        with contextlib.suppress(struct.error, IndexError):
            if line := _line(frame):
                with SEEN.open("a") as file:
                    file.write(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f} {line}\n")


def _line(frame: bytes) -> str:
    """A packet as a line, or nothing: of TCP only what opens a connection."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        header = (frame[14] & 15) * 4
        protocol, source, target = frame[23], frame[26:30], frame[30:34]
        names = socket.inet_ntop(socket.AF_INET, source), socket.inet_ntop(socket.AF_INET, target)
        body = frame[14 + header :]
    elif kind == b"\x86\xdd":
        protocol, source, target = frame[20], frame[22:38], frame[38:54]
        names = socket.inet_ntop(socket.AF_INET6, source), socket.inet_ntop(socket.AF_INET6, target)
        body = frame[54:]
    else:
        return ""
    if protocol == 6:
        return f"tcp {names[0]} {names[1]} {int.from_bytes(body[2:4], 'big')}" if body[13] & 0x12 == 2 else ""
    if protocol == 17:
        return f"udp {names[0]} {names[1]} {int.from_bytes(body[2:4], 'big')}"
    return f"{protocol} {names[0]} {names[1]} 0"


if __name__ == "__main__":
    main()
