"""WireGuard with Debian's wireguard-go as the server: one command, the same from a saved profile, and a wrong key."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import XRAY_PORT, start_xray, xray_server
from bench.netlab.tunnel import TUNFLOW
from lab_support import Contents, Tunnel, client
from test_lab_user import BECOME, OPEN_TUN, tunflow_command
from wireguard_peer import INSIDE4, INSIDE6, INTERFACE, PORT, Keys, wireguard_go

pytestmark = pytest.mark.lab

_ = tunflow_command  # a fixture


@pytest.fixture(scope="module")
def keys(lab: Lab) -> Iterator[Keys]:
    """wireguard-go on S, with one peer."""
    made = Keys()
    with wireguard_go(lab, made):
        yield made


def run(lab: Lab, argv: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lab.client.command(argv), env={**lab.client.env, **env}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def ok(lab: Lab, argv: list[str], **env: str) -> str:
    done = run(lab, argv, **env)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


DIGEST = ["sh", "-c", f"curl -sS http://{SITE4}/10m | sha256sum"]


def test_a_download_through_a_wg_quick_file(lab: Lab, keys: Keys, contents: Contents, tmp_path: Path) -> None:
    profile = keys.profile(tmp_path)
    assert ok(lab, [TUNFLOW, "run", "--profile", profile, "--", *DIGEST]).split()[0] == contents.medium_sha256
    shown = lab.server.run(["wg", "show", INTERFACE]).stdout
    assert "latest handshake" in shown
    assert "10.90.0.2/32" in shown


def test_an_upload_and_a_ping(lab: Lab, keys: Keys, tmp_path: Path) -> None:
    ping = ["ping", "-c", "3", "-i", "0.2", "-W", "30", INSIDE4]
    assert " 0% packet loss" in ok(lab, [TUNFLOW, "run", "--profile", keys.profile(tmp_path), "--", *ping])
    large = ["ping", "-c", "2", "-i", "0.2", "-W", "30", "-M", "do", "-s", str(1420 - 28), SITE4]
    assert " 0% packet loss" in ok(lab, [TUNFLOW, "run", "--profile", keys.profile(tmp_path), "--", *large])


def test_an_imported_profile(lab: Lab, keys: Keys, contents: Contents, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    ok(lab, [TUNFLOW, "profile", "import", keys.profile(tmp_path)], **home)
    assert keys.client not in ok(lab, [TUNFLOW, "profile", "show", "wg-lab"], **home)
    fetched = ok(lab, [TUNFLOW, "run", "--profile", "wg-lab", "--", *DIGEST], **home)
    assert fetched.split()[0] == contents.medium_sha256


def test_another_preshared_key_is_silence_and_then_a_line(lab: Lab, keys: Keys, tmp_path: Path) -> None:
    profile = keys.profile(tmp_path, preshared=keys.client_public)
    done = run(lab, [TUNFLOW, "run", "--profile", profile, "--", "ping", "-c", "20", "-W", "1", INSIDE4])
    assert done.returncode == 1
    assert f"no answer from {SERVER4}:{PORT}" in done.stderr
    assert keys.client not in done.stderr


def test_ipv6_inside(lab: Lab, keys: Keys, tunnel: Tunnel, tmp_path: Path) -> None:
    """TCP, UDP and pings over IPv6, up to the tunnel's MTU; the outside is IPv4."""
    inside = [TUNFLOW, "run", "--profile", keys.profile(tmp_path), "--"]
    ping = ["ping", "-6", "-c", "2", "-i", "0.2", "-W", "30"]
    assert " 0% packet loss" in ok(lab, [*inside, *ping, INSIDE6])
    assert " 0% packet loss" in ok(lab, [*inside, *ping, "-M", "do", "-s", str(1420 - 48), SITE6])
    size = ["curl", "-sSg", "-o", "/dev/null", "-w", "%{size_download}", f"http://[{SITE6}]/10m"]
    assert ok(lab, [*inside, *size]) == "10000000"
    assert ok(lab, [*inside, *client("udp_sizes", SITE6, UDP_ECHO_PORT, 1, 1000, 1372)]).split() == ["2373"]


def test_as_an_ordinary_user(
    lab: Lab, keys: Keys, contents: Contents, tunflow_command: tuple[list[str], dict[str, str]]
) -> None:
    """`tunflow run --profile ./wg0.conf`, and the same imported, without root and without any capability."""
    program, env = tunflow_command
    directory = lab.directory / "user"
    directory.mkdir()
    directory.chmod(0o777)
    profile = keys.profile(directory)
    env = {**env, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    as_user = [*OPEN_TUN, *BECOME, *program]
    fetched = ok(lab, [*as_user, "run", "--profile", profile, "--", *DIGEST], **env)
    assert fetched.split()[0] == contents.medium_sha256
    ok(lab, [*as_user, "profile", "import", profile], **env)
    fetched = ok(lab, [*as_user, "run", "--profile", "wg-lab", "--", *DIGEST], **env)
    assert fetched.split()[0] == contents.medium_sha256


def test_xrays_inbound(lab: Lab, contents: Contents, tmp_path: Path) -> None:
    keys = Keys()
    peer = {"publicKey": keys.client_public, "preSharedKey": keys.preshared, "allowedIPs": ["10.90.0.2/32"]}
    settings = {"secretKey": keys.server, "peers": [peer], "mtu": 1420, "noKernelTun": True}
    inbound = {"listen": SERVER4, "port": PORT + 1, "protocol": "wireguard", "settings": settings}
    told = {"listen": SERVER4, "port": XRAY_PORT, "protocol": "socks", "settings": {}}  # which can be waited for
    profile = Path(keys.profile(tmp_path))
    profile.write_text(profile.read_text().replace(f":{PORT}", f":{PORT + 1}"))
    with start_xray(lab, "wireguard", xray_server([told, inbound])) as server:
        done = run(lab, [TUNFLOW, "run", "--profile", str(profile), "--", *DIGEST])
        assert done.stdout.split()[0] == contents.medium_sha256, (done.stderr, server.output()[-2000:])
