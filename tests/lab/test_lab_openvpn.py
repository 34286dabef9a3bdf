"""OpenVPN with Debian's server: every protection and transport, one command as root and as an ordinary user."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW
from lab_support import CLIENTS, Contents, Tunnel
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
    ping = ["ping", "-c", "2", "-i", "0.2", "-W", "3"]
    assert " 0% packet loss" in ok(lab, command(profile, [*ping, INSIDE]))
    assert " 0% packet loss" in ok(lab, command(profile, [*ping, "-s", "4000", SITE4]))
    assert " 0% packet loss" in ok(lab, command(profile, [*ping, "-M", "do", "-s", "1392", SITE4]))
    for size in (0, 1, 1400, 2000):
        script = [sys.executable, str(CLIENTS / "udp.py"), str(UDP_ECHO_PORT), str(size), SITE4]
        assert ok(lab, command(profile, script)) == "ok\n"
    assert (
        ok(lab, command(profile, ["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", "http://site.lab/1k"]))
        == "1024"
    )


def test_nothing_goes_around(lab: Lab, keys: Keys, server: Process) -> None:
    profile = keys.client("around", "tls-crypt ta.key")
    assert run(lab, command(profile, ["curl", "-sS", "-m", "3", f"http://[{SITE6}]/1k"])).returncode != 0
    server.stop()
    done = run(lab, command(keys.client("gone", "tls-crypt ta.key", "connect-timeout 3"), ["true"]))
    assert done.returncode != 0


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


def test_new_keys_during_a_download(lab: Lab, contents: Contents, keys: Keys) -> None:
    get = ["sh", "-c", f"curl -sS --limit-rate 1500K http://{SITE4}/10m | sha256sum"]
    for proto in ("udp", "tcp"):
        with start_openvpn(lab, keys, "--tls-crypt", "ta.key", "--reneg-sec", "3", proto=proto) as server:
            profile = keys.client("rekey", "tls-crypt ta.key", "hand-window 3", "reneg-sec 2", proto=proto)
            assert ok(lab, command(profile, get)).split()[0] == contents.medium_sha256
            assert server.output().count("Control Channel: TLS") >= 3, server.output()


def test_a_server_that_starts_again(lab: Lab, keys: Keys) -> None:
    profile = keys.client("again", "tls-crypt ta.key")
    first = start_openvpn(lab, keys, "--tls-crypt", "ta.key")
    ping = command(profile, ["ping", "-i", "0.5", "-W", "1", "-c", "60", INSIDE])
    with lab.start(lab.client, ping) as program:
        until(lambda: "bytes from" in program.output())
        first.kill()
        time.sleep(1)
        with start_openvpn(lab, keys, "--tls-crypt", "ta.key"):
            before = program.output().count("bytes from")
            until(lambda: program.output().count("bytes from") > before + 3, seconds=25)
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


def until(condition: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
