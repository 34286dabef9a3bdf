"""Real programs on the lab's hosts: one function starts one of them and returns once it serves.

Each has its configuration in the lab's directory and touches nothing of the system's own. Read first:
ss-server(1), ss-redir(1), nginx(8), dnsmasq(8), sshd_config(5), iperf3(1).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.netlab.namespaces import CLIENT4, SERVER4, SERVER6, SITE4, Lab
from bench.netlab.processes import Process

PASSWORD = "lab-password"
SHADOWSOCKS_PORT = 8388
REDIRECT_PORT = 1082
IPERF_PORT = 5201
UDP_ECHO_PORT = 7007
SSH_PORT = 22
SERVICES_PORT = 9000

SCRIPTS = Path(__file__).parent / "scripts"

NGINX = """\
daemon off; master_process on; worker_processes 1; user root;
pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
  access_log {directory}/access.log; types {{ text/html html; }} default_type application/octet-stream;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_max_body_size 0;
  server {{ listen 80 backlog=4096; listen [::]:80 backlog=4096; root {root}; autoindex on; {extra}
    location = /upload {{ return 204; }} }}
}}
"""

REDIRECT_RULES = f"""\
table ip lab {{
  chain outgoing {{ type nat hook output priority -100;
    ip daddr {SITE4} meta l4proto tcp redirect to :{REDIRECT_PORT}; }}
  chain marking {{ type route hook output priority -150; ip daddr {SITE4} meta l4proto udp meta mark set 1; }}
  chain diverting {{ type filter hook prerouting priority -150;
    ip daddr {SITE4} meta mark 1 meta l4proto udp tproxy to 127.0.0.1:{REDIRECT_PORT}; }}
}}
"""


def start_shadowsocks_server(
    lab: Lab, method: str = "aes-256-gcm", port: int = SHADOWSOCKS_PORT, password: str = PASSWORD
) -> Process:
    """Debian's ss-server on S, TCP and UDP, IPv4 and IPv6."""
    argv = ["ss-server", "-s", SERVER6, "-s", SERVER4, "-p", str(port), "-k", password, "-m", method]
    # -t: the default of 60 s would end the idle connections that some tests keep.
    server = lab.start(lab.server, _with_many_fds([*argv, "-u", "-t", "3600", "-d", SITE4]), env={"LANG": "C"})
    server.wait_listening(port)
    return server


def start_shadowsocks_redirect(lab: Lab, method: str = "aes-256-gcm") -> Process:
    """Debian's ss-redir on C for what is meant for the site: nftables redirect for TCP, TPROXY for UDP."""
    argv = ["ss-redir", "-s", SERVER4, "-p", str(SHADOWSOCKS_PORT), "-k", PASSWORD, "-m", method]
    redirect = lab.start(
        lab.client,
        _with_many_fds([*argv, "-u", "-b", "0.0.0.0", "-l", str(REDIRECT_PORT), "-t", "3600"]),
    )
    start_redirecting(lab, redirect)
    return redirect


def start_redirecting(lab: Lab, redirect: Process) -> None:
    """Lead what is meant for the site to a program on C that listens on `REDIRECT_PORT`."""
    redirect.wait_listening(REDIRECT_PORT)
    rules = lab.directory / "redirect.nft"
    rules.write_text(REDIRECT_RULES)
    lab.client.run(["ip", "rule", "add", "fwmark", "1", "lookup", "100"])
    lab.client.run(["ip", "route", "add", "local", "default", "dev", "lo", "table", "100"])
    lab.client.run(["nft", "-f", str(rules)])


def stop_redirecting(lab: Lab, redirect: Process) -> None:
    """Take the rules back and end the program."""
    lab.client.run(["nft", "delete", "table", "ip", "lab"])
    lab.client.run(["ip", "rule", "del", "fwmark", "1", "lookup", "100"])
    lab.client.run(["ip", "route", "flush", "table", "100"])
    redirect.stop()


def start_nginx(lab: Lab, root: Path, *, access_log: bool = True, tls: bool = False) -> Process:
    """nginx on S, port 80 of every address, serving `root`; `/upload` swallows what it is sent.

    With `tls` also on port 443 of IPv4, with a self-signed EC certificate and a whole handshake for each connection.
    """
    directory = lab.directory / "nginx"
    directory.mkdir()
    extra = "" if access_log else "access_log off; "
    if tls:
        extra += _tls_listener(directory)
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, root=root, extra=extra))
    argv = ["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", "nginx.conf"]
    server = lab.start(lab.server, _with_many_fds(argv))
    server.wait_listening(80)
    return server


def _tls_listener(directory: Path) -> str:
    """What has a server of nginx's listen for TLS; its certificate is made in `directory`."""
    key, certificate = directory / "tls.key", directory / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", certificate, "-days", "2", "-subj", "/CN=lab", "-addext", f"subjectAltName=IP:{SERVER4}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return (
        f"listen 443 ssl backlog=4096; ssl_certificate {certificate}; ssl_certificate_key {key};"
        " ssl_session_cache off; ssl_session_tickets off;"
    )


def start_iperf3(lab: Lab, port: int = IPERF_PORT) -> Process:
    """An iperf3 server on S."""
    server = lab.start(lab.server, ["iperf3", "-s", "-p", str(port)])
    server.wait_listening(port)
    return server


def start_dns(
    lab: Lab,
    listen: Sequence[str],
    names: Mapping[str, Sequence[str]],
    texts: Mapping[str, Sequence[str]],
    more: Sequence[str] = (),
) -> Process:
    """dnsmasq on addresses of S, UDP and TCP: `names` to addresses, `texts` to TXT sets; it logs queries.

    `more` are lines of its configuration.
    """
    config = lab.directory / f"dnsmasq-{listen[0]}.conf"
    lines = [
        "no-resolv",
        "no-hosts",
        "log-queries",
        "user=root",
        "bind-interfaces",
        "local=/lab/",
        "except-interface=lo",
    ]
    lines += [*more, *(f"listen-address={address}" for address in listen)]
    lines += [f"host-record={','.join((name, *addresses))}" for name, addresses in names.items()]
    lines += [f'txt-record={name},"{text}"' for name, parts in texts.items() for text in parts]
    config.write_text("\n".join(lines) + "\n")
    server = lab.start(
        lab.server, ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--pid-file=", "-C", str(config)]
    )
    server.wait_listening(53)
    return server


def start_unbound(
    lab: Lab, interfaces: Sequence[str], names: Mapping[str, Sequence[str]], more: Sequence[str] = ()
) -> Process:
    """unbound on `ADDRESS@PORT`s of S: `names` to IPv4 addresses, nothing else; `more` goes into its server section."""
    config = lab.directory / f"unbound-{interfaces[0]}.conf"
    lines = [
        *(f"interface: {interface}" for interface in interfaces),
        "access-control: 0.0.0.0/0 allow",
        'do-daemonize: no\n chroot: ""\n username: ""\n pidfile: ""\n use-syslog: no\n logfile: ""\n log-queries: yes',
        'module-config: "iterator"',
        'local-zone: "lab." static',
        *(f'local-data: "{name}. 60 A {address}"' for name, found in names.items() for address in found),
        *more,
    ]
    config.write_text("server:\n" + "".join(f" {line}\n" for line in lines) + "remote-control:\n control-enable: no\n")
    server = lab.start(lab.server, ["unbound", "-d", "-c", str(config)])
    server.wait_listening(int(interfaces[-1].partition("@")[2]))
    return server


def wait_ready(process: Process, timeout: float = 60.0) -> Process:
    """Return once a script says "ready". Raises RuntimeError."""
    deadline = time.monotonic() + timeout
    while "ready" not in process.output():
        if time.monotonic() > deadline or process.popen.poll() is not None:
            raise RuntimeError(f"{process.argv} does not start: {process.output()}")
        time.sleep(0.02)
    return process


def start_sshd(lab: Lab) -> Process:
    """sshd on S with a host key and a user key of its own; `ssh_options` has what a client needs."""
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(lab.directory / key)], check=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's compiled-in privilege separation directory
    config = lab.directory / "sshd_config"
    config.write_text(
        f"Port {SSH_PORT}\nHostKey {lab.directory}/host_key\n"
        f"AuthorizedKeysFile {lab.directory}/user_key.pub\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nStrictModes no\nUseDNS no\n"
        "PidFile none\nSubsystem sftp internal-sftp\n"
    )
    server = lab.start(lab.server, ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)])
    server.wait_listening(SSH_PORT)
    return server


def ssh_options(lab: Lab) -> list[str]:
    """Options that let ssh, scp and sftp log in to `start_sshd`'s server as root."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR")
    flags = [part for option in options for part in ("-o", option)]
    return ["-F", "none", "-i", str(lab.directory / "user_key"), *flags]


def start_udp_echo(lab: Lab, address: str = SITE4) -> Process:
    """A fast UDP echo on one address of S (a wildcard socket would answer from another)."""
    server = lab.start(lab.server, [sys.executable, str(SCRIPTS / "udp_echo.py"), "serve", address, str(UDP_ECHO_PORT)])
    deadline = time.monotonic() + 60
    while "ready" not in server.output():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the UDP echo does not start: {server.output()}")
        time.sleep(0.02)
    return server


def start_services(lab: Lab, first_port: int = SERVICES_PORT) -> Process:
    """The small servers of `scripts/services.py` on S, well-behaved and not."""
    server = lab.start(lab.server, _with_many_fds([sys.executable, str(SCRIPTS / "services.py"), str(first_port)]))
    server.wait_listening(first_port)
    return server


def _with_many_fds(argv: list[str]) -> list[str]:
    """`argv` with every file descriptor that the system allows: a server's limit is not what is tested."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return ["prlimit", f"--nofile={hard}:{hard}", *argv]


def wait_reachable(lab: Lab) -> None:
    """Return once C reaches S in both families (neighbour discovery has settled). Raises RuntimeError."""
    for source, target in ((CLIENT4, SERVER4), ("", SERVER6)):
        flags = ["-I", source] if source else ["-6"]
        lab.client.run(["ping", "-q", "-c", "1", "-W", "60", *flags, target])


def clean_environment() -> dict[str, str]:
    """This process's environment without what steers package clients elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
