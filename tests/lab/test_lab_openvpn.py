"""OpenVPN with Debian's server: every protection and transport, one command as root and as an ordinary user."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import (
    DANTE_PORT,
    MICROSOCKS_PORT,
    PASSWORD,
    PLAIN_PASSWORD,
    TINYPROXY_BASIC_PORT,
    TINYPROXY_PORT,
    USER,
    start_dante,
    start_microsocks,
    start_tinyproxy,
)
from bench.netlab.tunnel import TUNFLOW
from lab_support import CLIENTS, Contents, Tunnel, client
from openvpn_peer import INSIDE, PORT, Keys, start_openvpn
from test_lab_user import BECOME, OPEN_TUN, tunflow_command

pytestmark = pytest.mark.lab
_ = tunflow_command  # a fixture

PROTECTIONS = {
    "plain": ((), ()),
    "tls-auth": (("--tls-auth", "ta.key", "0", "--auth", "SHA256"), ("tls-auth ta.key 1", "auth SHA256")),
    "tls-crypt": (("--tls-crypt", "ta.key"), ("tls-crypt ta.key",)),
    "tls-crypt-v2": (("--tls-crypt-v2", "v2-server.key", "force-cookie"), ("tls-crypt-v2 v2-client.key",)),
}
DIGEST = ["sh", "-c", f"curl -sS http://{SITE4}/10m | sha256sum"]


@pytest.fixture(scope="module")
def keys(lab: Lab) -> Keys:
    return Keys(lab.directory / "openvpn")


def command(profile: str, argv: list[str]) -> list[str]:
    return [TUNFLOW, "run", "--profile", profile, "--", *argv]


def run(lab: Lab, argv: list[str], *, timeout: float = 60.0, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lab.client.command(argv), env={**lab.client.env, **env}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=timeout, check=False,
    )  # fmt: skip


def ok(lab: Lab, argv: list[str], **env: str) -> str:
    done = run(lab, argv, **env)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("proto", ["udp", "tcp"])
@pytest.mark.parametrize("protection", PROTECTIONS)
def test_a_download(lab: Lab, contents: Contents, keys: Keys, protection: str, proto: str) -> None:
    theirs, ours = PROTECTIONS[protection]
    with start_openvpn(lab, keys, *theirs, proto=proto):
        profile = keys.client("download", *ours, proto=proto)
        assert ok(lab, command(profile, DIGEST)).split()[0] == contents.medium_sha256


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (("--data-ciphers", "AES-128-GCM"), ()),
        (("--data-ciphers", "CHACHA20-POLY1305"), ()),
        (("--data-ciphers", "AES-256-CBC", "--auth", "SHA256"), ("data-ciphers AES-256-CBC", "auth SHA256")),
        (("--topology", "net30"), ()),
    ],
)
def test_ciphers_and_topologies(
    lab: Lab, contents: Contents, keys: Keys, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> None:
    with start_openvpn(lab, keys, *theirs):
        assert ok(lab, command(keys.client("cipher", *ours), DIGEST)).split()[0] == contents.medium_sha256


@pytest.fixture
def server(lab: Lab, keys: Keys) -> Iterator[Process]:
    with start_openvpn(lab, keys, "--tls-crypt", "ta.key", "--push", f"dhcp-option DNS {SITE4}") as running:
        yield running


def test_ping_udp_names_and_the_edge_of_the_mtu(lab: Lab, keys: Keys, server: Process, tunnel: Tunnel) -> None:
    profile = keys.client("small", "tls-crypt ta.key")
    ping = ["ping", "-c", "2", "-i", "0.2", "-W", "30"]
    pings = [[*ping, INSIDE], [*ping, "-s", "4000", SITE4], [*ping, "-M", "do", "-s", "1392", SITE4]]
    echo = [sys.executable, str(CLIENTS / "udp.py"), str(UDP_ECHO_PORT)]
    echoes = [[*echo, str(size), SITE4] for size in (0, 1, 1400, 2000)]
    size = ["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", "http://site.lab/1k"]
    said = ok(lab, command(profile, ["sh", "-ec", "\n".join(map(shlex.join, [*pings, *echoes, size]))]))
    assert said.count(" 0% packet loss") == 3
    assert said.count("ok\n") == 4
    assert said.endswith("1024")


def test_nothing_goes_around(lab: Lab, keys: Keys, server: Process) -> None:
    profile = keys.client("around", "tls-crypt ta.key")
    assert run(lab, command(profile, ["curl", "-sS", "-m", "3", f"http://[{SITE6}]/1k"])).returncode != 0
    server.stop()
    done = run(lab, command(keys.client("gone", "tls-crypt ta.key", "connect-timeout 3"), ["true"]))
    assert done.returncode != 0


def test_ipv6_inside(lab: Lab, keys: Keys, tunnel: Tunnel) -> None:
    """TCP, UDP and pings over IPv6, up to the tunnel's MTU; the outside is IPv4."""
    with start_openvpn(lab, keys, "--server-ipv6", "fd08::/64", "--push", "redirect-gateway def1 ipv6"):
        profile = keys.client("six")
        ping = ["ping", "-6", "-c", "2", "-i", "0.2", "-W", "30"]
        assert " 0% packet loss" in ok(lab, command(profile, [*ping, "fd08::1"]))
        assert " 0% packet loss" in ok(lab, command(profile, [*ping, "-M", "do", "-s", str(1420 - 48), SITE6]))
        size = ["curl", "-sSg", "-o", "/dev/null", "-w", "%{size_download}", f"http://[{SITE6}]/10m"]
        assert ok(lab, command(profile, size)) == "10000000"
        echo = client("udp_sizes", SITE6, UDP_ECHO_PORT, 1, 1000, 1372)
        assert ok(lab, command(profile, echo)).split() == ["2373"]


def test_an_imported_profile_as_an_ordinary_user(
    lab: Lab, contents: Contents, keys: Keys, server: Process, tmp_path: Path,
    tunflow_command: tuple[list[str], dict[str, str]],
) -> None:  # fmt: skip
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    file = keys.client("imported", "tls-crypt ta.key")
    assert "provider openvpn" in ok(lab, [TUNFLOW, "profile", "import", file], **home)
    shown = ok(lab, [TUNFLOW, "profile", "show", "imported"], **home)
    assert "PRIVATE" not in shown
    assert (
        ok(lab, [TUNFLOW, "run", "--profile", "imported", "--", *DIGEST], **home).split()[0] == contents.medium_sha256
    )
    program, env = tunflow_command
    argv = [*OPEN_TUN, *BECOME, *program, "run", "--profile", file, "--", *DIGEST]
    done = run(lab, argv, **{**env, "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == contents.medium_sha256


def test_user_and_password(lab: Lab, contents: Contents, keys: Keys, tmp_path: Path) -> None:
    checks = [
        "--script-security",
        "3",
        "--auth-user-pass-verify",
        "check-user",
        "via-env",
        "--verify-client-cert",
        "none",
    ]
    with start_openvpn(lab, keys, "--tls-crypt", "ta.key", *checks):
        (keys.directory / "user.txt").write_text("me\na secret\n")
        profile = keys.client("user", "tls-crypt ta.key", "auth-user-pass user.txt", certificate=False)
        assert ok(lab, command(profile, DIGEST)).split()[0] == contents.medium_sha256
        (keys.directory / "user.txt").write_text("me\nwrong\n")
        done = run(lab, command(profile, DIGEST))
        assert done.returncode != 0
        assert "the server refuses the login" in done.stderr
        assert "wrong" not in done.stderr
        typed = keys.client("typed", "tls-crypt ta.key", "auth-user-pass", certificate=False)
        done = run(lab, ["setsid", *command(typed, DIGEST)])
        assert done.returncode == 2
        assert "there is no terminal to ask on" in done.stderr


def test_a_one_time_password_is_followed_by_the_servers_token(lab: Lab, keys: Keys, tmp_path: Path) -> None:
    """The server starts again and takes the password no more; the token of the first login is what it takes."""
    used = tmp_path / "used"
    tmp_path.chmod(0o777)
    script = keys.directory / "check-once"
    script.write_text(f'#!/bin/sh\n[ "$password" = once ] && [ ! -e {used} ] && touch {used}\n')
    script.chmod(0o755)
    subprocess.run(
        ["openvpn", "--genkey", "auth-token", "token.key"], cwd=keys.directory, check=True, capture_output=True
    )
    checks = ["--script-security", "3", "--auth-user-pass-verify", "check-once", "via-env", "--verify-client-cert"]
    checks += ["none", "--auth-gen-token", "3600", "--auth-gen-token-secret", "token.key", "--tls-crypt", "ta.key"]
    (keys.directory / "once.txt").write_text("me\nonce\n")
    profile = keys.client("once", "tls-crypt ta.key", "auth-user-pass once.txt", certificate=False)
    first = start_openvpn(lab, keys, *checks)
    ping = "until ping -c1 -W1 10.8.0.1 >/dev/null; do sleep 0.2; done"
    again = f"{ping}; touch {tmp_path}/connected; while [ ! -e {tmp_path}/again ]; do sleep 0.1; done; {ping}; echo yes"
    with lab.start(lab.client, command(profile, ["sh", "-c", again])) as process:
        until((tmp_path / "connected").exists, 20)
        first.kill()
        with start_openvpn(lab, keys, *checks) as second:
            (tmp_path / "again").touch()
            until(lambda: process.popen.poll() is not None, 30)
            assert "yes" in process.output(), (process.output(), second.output()[-2000:])
            assert "SESS_ID" not in process.output(), "a token is a secret"


@pytest.fixture(scope="module")
def proxies(lab: Lab) -> Iterator[None]:
    """tinyproxy, open and with a password, and microsocks with one, on S."""
    with ExitStack() as stack:
        stack.enter_context(start_tinyproxy(lab))
        stack.enter_context(start_tinyproxy(lab, TINYPROXY_BASIC_PORT, basic=True))
        stack.enter_context(start_microsocks(lab))
        yield


@pytest.mark.parametrize(
    "line",
    [
        f"http-proxy {SERVER4} {TINYPROXY_PORT}",
        f"http-proxy {SERVER4} {TINYPROXY_BASIC_PORT} login.txt basic",
        f"socks-proxy {SERVER4} {MICROSOCKS_PORT} login.txt",
    ],
    ids=["http", "http with a password", "socks"],
)
def test_behind_a_proxy(lab: Lab, contents: Contents, keys: Keys, proxies: None, line: str) -> None:
    """C may talk to the proxy and to nobody else."""
    login = keys.directory / "login.txt"
    login.write_text(f"{USER}\n{PASSWORD if line.startswith('socks') else PLAIN_PASSWORD}\n")
    port = line.split()[2]
    rule = f"type filter hook output priority 0; ip daddr {SERVER4} tcp dport != {port} drop;"
    only = f"table inet only {{ chain out {{ {rule} }}; }}"
    with start_openvpn(lab, keys, "--tls-crypt", "ta.key", proto="tcp"):
        profile = keys.client("proxied", "tls-crypt ta.key", line, proto="tcp")
        lab.client.run(["nft", only])
        try:
            assert ok(lab, command(profile, DIGEST)).split()[0] == contents.medium_sha256
        finally:
            lab.client.run(["nft", "delete", "table", "inet", "only"])


@pytest.mark.parametrize("proxy", [f"{SERVER4}:{DANTE_PORT}"])
def test_udp_behind_a_socks_proxy(lab: Lab, contents: Contents, keys: Keys, proxy: str) -> None:
    """Nothing of OpenVPN's goes to the server's own port from here."""
    with start_dante(lab), start_openvpn(lab, keys, "--tls-crypt", "ta.key") as server:
        profile = keys.client("associated", "tls-crypt ta.key", f"socks-proxy {proxy.replace(':', ' ')}")
        only = f"table inet only {{ chain out {{ type filter hook output priority 0; udp dport {PORT} drop; }}; }}"
        lab.client.run(["nft", only])
        try:
            assert ok(lab, command(profile, DIGEST)).split()[0] == contents.medium_sha256, server.output()[-2000:]
        finally:
            lab.client.run(["nft", "delete", "table", "inet", "only"])


def test_a_proxy_that_refuses_is_one_line(lab: Lab, keys: Keys, proxies: None) -> None:
    profile = keys.client("refused", f"http-proxy {SERVER4} {TINYPROXY_BASIC_PORT}", proto="tcp")
    done = run(lab, command(profile, DIGEST))
    assert done.returncode == 1
    assert "wants a user name and password" in done.stderr


def test_new_keys_during_a_download(lab: Lab, contents: Contents, keys: Keys) -> None:
    # A reader that takes a megabyte a second: curl's own limit lets a fast start through.
    slow = (
        "import sys, time; [(sys.stdout.buffer.write(piece), time.sleep(1)) for piece in iter(lambda: "
        "sys.stdin.buffer.read(1 << 20), b'')]"
    )
    get = ["sh", "-c", f'curl -sS http://{SITE4}/10m | {sys.executable} -c "{slow}" | sha256sum']
    for proto in ("udp", "tcp"):
        with start_openvpn(lab, keys, "--tls-crypt", "ta.key", "--reneg-sec", "3", proto=proto) as server:
            profile = keys.client("rekey", "tls-crypt ta.key", "hand-window 3", "reneg-sec 2", proto=proto)
            assert ok(lab, command(profile, get)).split()[0] == contents.medium_sha256
            assert server.output().count("Control Channel: TLS") >= 3, server.output()


def test_a_server_that_starts_again(lab: Lab, keys: Keys) -> None:
    profile = keys.client("again", "tls-crypt ta.key")
    first = start_openvpn(lab, keys, "--tls-crypt", "ta.key")
    ping = command(profile, ["ping", "-i", "0.5", "-W", "1", "-c", "240", INSIDE])
    with lab.start(lab.client, ping) as program:
        until(lambda: "bytes from" in program.output())
        first.kill()
        time.sleep(1)
        with start_openvpn(lab, keys, "--tls-crypt", "ta.key"):
            before = program.output().count("bytes from")
            until(lambda: program.output().count("bytes from") > before + 3)
    assert "connecting again" in program.output()


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (("tls-crypt wrong.key",), f"no answer from udp://{SERVER4}:{PORT}: port, firewall or tls-crypt key"),
        (("tls-crypt ta.key", "verify-x509-name other.lab name"), "it is for 'server.lab', not for 'other.lab'"),
        (("tls-crypt ta.key", "up /bin/true"), ":13: up: refused: it runs a program"),
        (("tls-crypt missing.key",), "tls-crypt: cannot read"),
    ],
)
def test_what_goes_wrong_is_one_line(lab: Lab, keys: Keys, server: Process, ours: tuple[str, ...], says: str) -> None:
    done = run(lab, command(keys.client("wrong", "connect-timeout 4", *ours), ["true"]))
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


OURS = (
    f"server 10.8.0.0 255.255.255.0\nproto udp\nlocal {SERVER4}\nport {PORT}\nca ca.crt\n"
    "cert server.crt\nkey server.key\ntls-crypt ta.key\nkeepalive 1 6\nremote-cert-tls client\n"
    'push "redirect-gateway def1"\n'
)


@pytest.fixture
def our_server(lab: Lab, keys: Keys) -> Iterator[Process]:
    file = keys.directory / "server.conf"
    file.write_text(OURS)
    with lab.start(lab.server, [TUNFLOW, "serve", str(file)]) as running:
        until(lambda: "serving openvpn" in running.output())
        yield running


def test_our_server_and_our_client(lab: Lab, contents: Contents, keys: Keys, our_server: Process) -> None:
    profile = keys.client("ours", "tls-crypt ta.key", "reneg-sec 3", "hand-window 3")
    get = ["sh", "-c", f"curl -sS --limit-rate 1500K http://{SITE4}/10m | sha256sum"]
    assert ok(lab, command(profile, get)).split()[0] == contents.medium_sha256


def test_our_server_and_openvpns_client(lab: Lab, keys: Keys, our_server: Process) -> None:
    file = keys.client("theirs", "tls-crypt ta.key", "route-nopull", "reneg-sec 3", "hand-window 3", "verb 3")
    with lab.start(lab.client, ["openvpn", "--cd", str(keys.directory), "--config", file]) as client:
        until(lambda: "Initialization Sequence Completed" in client.output())
        ping = ["ping", "-c", "60", "-i", "0.2", "-W", "2", INSIDE]
        assert " 0% packet loss" in ok(lab, ping), client.output()
        assert client.output().count("Control Channel: TLS") >= 3, client.output()
        our_server.stop()
        until(lambda: "SIGUSR1" in client.output())


def until(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
