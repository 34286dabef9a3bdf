"""Xray's own client and sing-box's, to the servers of `bench.stream_rows`, in the same run.

Xray's stands behind an nftables redirect, as ss-redir does, which is the shortest way into it (iperf3 and wrk speak no
SOCKS); or it has a TUN device (gVisor's stack). sing-box's has a TUN device. Read first: Xray's documentation of its
"tunnel" and "tun" inbounds, sing-box's of "tun".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from bench.netlab.namespaces import SERVER4, Lab
from bench.netlab.peers import REDIRECT_PORT, start_redirecting, stop_redirecting
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import run_sing_box, run_xray, xray_stream_outbound
from bench.peers import DEVICE, INSIDE, route_to_device
from bench.stream_rows import PORT, USERS, Server, start_server

_MTU = 1500


class _Client(ABC):
    """A client on C, and the server on S that it starts with."""

    def __init__(self, name: str, protocol: str) -> None:
        self.name = name
        self.protocol = protocol

    def start(self, lab: Lab) -> None:
        """Start the server, then the client, and lead there what is meant for the site. Raises RuntimeError."""
        self.lab = lab
        self._server = start_server(lab, self.protocol)
        self.process = self.start_client(lab, self._server)

    @abstractmethod
    def start_client(self, lab: Lab, server: Server) -> Process:
        """Raises RuntimeError."""

    def stop(self) -> None:
        """End both."""
        self.process.stop()
        self._server.process.stop()

    def command(self, argv: Sequence[str]) -> list[str]:
        """Plainly on C."""
        return self.lab.client.command(argv)

    def pids(self) -> list[int]:
        """The client."""
        return [self.process.pid]

    def xray(self, inbounds: list[dict[str, Any]], pin: str | None) -> dict[str, Any]:
        """What Xray is told."""
        outbound = xray_stream_outbound(PORT, self.protocol, USERS[self.protocol], pin=pin)
        if self.protocol == "vmess":
            outbound["settings"]["vnext"][0]["users"][0]["security"] = "aes-128-gcm"
        return {"log": {"loglevel": "warning"}, "inbounds": inbounds, "outbounds": [outbound]}


class XrayRedirect(_Client):
    """Xray behind a redirect (TCP) and TPROXY (UDP)."""

    def __init__(self, protocol: str) -> None:
        super().__init__(f"Xray {protocol}", protocol)

    def start_client(self, lab: Lab, server: Server) -> Process:
        """As `_Client.start_client`."""
        inbounds = [
            {
                "port": REDIRECT_PORT,
                "protocol": "dokodemo-door",
                "settings": {"network": network, "followRedirect": True},
                "streamSettings": {"sockopt": {"tproxy": how}},
            }
            for network, how in (("tcp", "redirect"), ("udp", "tproxy"))
        ]
        process = run_xray(lab, lab.client, "client", self.xray(inbounds, server.pin))
        start_redirecting(lab, process)
        return process

    def stop(self) -> None:
        """Take the rules back, too."""
        stop_redirecting(self.lab, self.process)
        super().stop()


class XrayTUN(_Client):
    """Xray with a TUN device."""

    def __init__(self, protocol: str) -> None:
        super().__init__(f"Xray {protocol} TUN", protocol)

    def start_client(self, lab: Lab, server: Server) -> Process:
        """As `_Client.start_client`."""
        inbound = {"port": 0, "protocol": "tun", "settings": {"name": DEVICE, "MTU": _MTU}}
        process = run_xray(lab, lab.client, "client", self.xray([inbound], server.pin))
        route_to_device(lab, process, self.name)
        return process


class SingBoxTUN(_Client):
    """sing-box with a TUN device."""

    def __init__(self, protocol: str) -> None:
        super().__init__(f"sing-box {protocol} TUN", protocol)

    def start_client(self, lab: Lab, server: Server) -> Process:  # noqa: ARG002
        """As `_Client.start_client`; the certificate is not looked at, which costs nothing here."""
        inbound = {"type": "tun", "interface_name": DEVICE, "address": [INSIDE], "mtu": _MTU, "auto_route": False}
        outbound = {
            "type": self.protocol,
            "server": SERVER4,
            "server_port": PORT,
            "password": USERS[self.protocol],
            "tls": {"enabled": True, "insecure": True},
        }
        configuration = {"log": {"level": "info"}, "inbounds": [inbound], "outbounds": [outbound]}
        process = run_sing_box(lab, lab.client, "client", configuration)
        route_to_device(lab, process, self.name)
        return process
