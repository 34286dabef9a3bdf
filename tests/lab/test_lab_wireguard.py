"""WireGuard with Debian's wireguard-go as the server: one command, the same from a saved profile, and a wrong key."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, Lab
from bench.netlab.tunnel import TUNFLOW
from lab_support import Contents

pytestmark = pytest.mark.lab

PORT = 51820
INSIDE = "10.90.0.1"


class Keys:
    """Both ends' keys, made by wireguard-tools."""

    def __init__(self) -> None:
        self.server, self.client = (self._run("genkey") for _ in range(2))
        self.server_public, self.client_public = (self._run("pubkey", each) for each in (self.server, self.client))
        self.preshared = self._run("genpsk")

    @staticmethod
    def _run(what: str, given: str = "") -> str:
        return subprocess.run(["wg", what], input=given, capture_output=True, text=True, check=True).stdout.strip()

    def profile(self, directory: Path, *, preshared: str = "") -> str:
        path = directory / "wg-lab.conf"
        path.write_text(
            f"[Interface]\nPrivateKey = {self.client}\nAddress = 10.90.0.2/32, fd90::2/128\n[Peer]\n"
            f"PublicKey = {self.server_public}\nPresharedKey = {preshared or self.preshared}\n"
            f"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {SERVER4}:{PORT}\n"
        )
        path.chmod(0o644)
        return str(path)


@pytest.fixture(scope="module")
def keys(lab: Lab) -> Iterator[Keys]:
    """wireguard-go on S, with one peer."""
    made = Keys()
    config = lab.directory / "wireguard-server.conf"
    config.write_text(
        f"[Interface]\nPrivateKey = {made.server}\nListenPort = {PORT}\n[Peer]\nPublicKey = {made.client_public}\n"
        f"PresharedKey = {made.preshared}\nAllowedIPs = 10.90.0.2/32, fd90::2/128\n"
    )
    with ExitStack() as stack:
        stack.enter_context(lab.start(lab.server, ["wireguard-go", "-f", "wglab0"]))
        for _ in range(100):
            if not subprocess.run(
                lab.server.command(["wg", "show", "wglab0"]), capture_output=True, check=False
            ).returncode:
                break
            lab.server.run(["sleep", "0.05"])
        lab.server.run(["wg", "setconf", "wglab0", str(config)])
        lab.server.run(["ip", "address", "add", f"{INSIDE}/24", "dev", "wglab0"])
        lab.server.run(["ip", "link", "set", "wglab0", "mtu", "1420", "up"])
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
    shown = lab.server.run(["wg", "show", "wglab0"]).stdout
    assert "latest handshake" in shown
    assert "10.90.0.2/32" in shown


def test_an_upload_and_a_ping(lab: Lab, keys: Keys, tmp_path: Path) -> None:
    ping = ["ping", "-c", "3", "-i", "0.2", "-W", "3", INSIDE]
    assert " 0% packet loss" in ok(lab, [TUNFLOW, "run", "--profile", keys.profile(tmp_path), "--", *ping])
    large = ["ping", "-c", "2", "-i", "0.2", "-W", "3", "-M", "do", "-s", str(1420 - 28), SITE4]
    assert " 0% packet loss" in ok(lab, [TUNFLOW, "run", "--profile", keys.profile(tmp_path), "--", *large])


def test_an_imported_profile(lab: Lab, keys: Keys, contents: Contents, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    ok(lab, [TUNFLOW, "profile", "import", keys.profile(tmp_path)], **home)
    assert keys.client not in ok(lab, [TUNFLOW, "profile", "show", "wg-lab"], **home)
    fetched = ok(lab, [TUNFLOW, "run", "--profile", "wg-lab", "--", *DIGEST], **home)
    assert fetched.split()[0] == contents.medium_sha256


def test_another_preshared_key_is_silence_and_then_a_line(lab: Lab, keys: Keys, tmp_path: Path) -> None:
    profile = keys.profile(tmp_path, preshared=keys.client_public)
    done = run(lab, [TUNFLOW, "run", "--profile", profile, "--", "ping", "-c", "20", "-W", "1", INSIDE])
    assert done.returncode == 1
    assert f"no answer from {SERVER4}:{PORT}" in done.stderr
    assert keys.client not in done.stderr
