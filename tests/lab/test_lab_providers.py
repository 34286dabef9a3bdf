"""Providers under `tunflow run`, and the examples, with real programs and a real network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from bench.netlab.namespaces import CLIENT4, SERVER4, SITE4, Lab
from bench.netlab.peers import ssh_options
from bench.netlab.tunnel import TUNFLOW
from lab_support import DNS, Contents, Tunnel, log_lines
from test_lab_user import BECOME, OPEN_TUN, tunflow_command

pytestmark = pytest.mark.lab
__all__ = ["tunflow_command"]

EXAMPLES = Path(__file__).parents[2] / "examples"
HERE = Path(__file__).parent / "clients" / "providers.py"
SITE = f"http://{SITE4}/10m"
WHOAMI = Path(__file__).parent / "clients" / "whoami.py"
TOY_PORT, SOCKS_PORT, WHOAMI_PORT = 4433, 1085, 8085


def run(
    tunnel: Tunnel, provider: str, argv: Sequence[str], *options: str, prefix: Sequence[str] = (), timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """`tunflow run --provider` on C, to the end."""
    command = [*prefix, TUNFLOW, "run", "--provider", provider, "--dns", DNS, *options, "--", *argv]
    return subprocess.run(
        tunnel.lab.client.command(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=tunnel.lab.client.env,
        timeout=timeout,
        check=False,
    )


def fetch(url: str = SITE) -> list[str]:
    return ["sh", "-c", f"curl -sS --fail --max-time 30 {url} | sha256sum | cut -d' ' -f1"]


# `tunflow run --provider`.


@pytest.mark.parametrize("name", ["Carry", "Pump", "Straight"])
def test_flows_pass_whole(tunnel: Tunnel, contents: Contents, name: str) -> None:
    done = run(tunnel, f"{HERE}:{name}", fetch())
    assert done.stdout.decode().strip() == contents.medium_sha256, done.stderr
    assert log_lines(done.stderr) == []


def test_a_profile_names_it(tunnel: Tunnel, contents: Contents, tmp_path: Path) -> None:
    """Relative to the profile's folder; and names may be answered with fake addresses."""
    (tmp_path / "mine.py").write_text(HERE.read_text())
    profile = tmp_path / "mine.toml"
    profile.write_text('provider = "mine.py:Carry"\n')
    profile.chmod(0o600)
    for dns in (DNS, "fake"):
        command = [TUNFLOW, "run", "--profile", str(profile), "--dns", dns, "--", *fetch()]
        argv = tunnel.lab.client.command(command)
        done = subprocess.run(argv, capture_output=True, env=tunnel.lab.client.env, timeout=60, check=False)
        assert done.stdout.decode().strip() == contents.medium_sha256, done.stderr


def test_a_refused_connection_is_refused(tunnel: Tunnel) -> None:
    for name in ("Carry", "Pump", "Straight", "Refuses"):
        done = run(tunnel, f"{HERE}:{name}", ["curl", "-sS", "--max-time", "5", f"http://{SITE4}:9/"])
        assert done.returncode == 7, (name, done.stderr)


def test_a_provider_that_raises_is_contained(tunnel: Tunnel) -> None:
    done = run(tunnel, f"{HERE}:Raises", ["sh", "-c", f"curl -sS {SITE}; curl -sS {SITE}; exit 5"])
    assert done.returncode == 5
    (line,) = [line for line in log_lines(done.stderr) if "provider" in line]
    assert "handle_new_flow failed: KeyError" in line
    assert f"{HERE}:" in line


def test_a_provider_that_does_not_start(tunnel: Tunnel) -> None:
    for name, part in (("NoStart", "start_tunnel failed: ConnectionRefusedError"), ("NoSettings", "no network settin")):
        done = run(tunnel, f"{HERE}:{name}", ["echo", "ran"])
        assert done.returncode == 1
        assert done.stdout == b""
        (line,) = log_lines(done.stderr)
        assert part in line, line


def test_bad_names_are_one_line(tunnel: Tunnel, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import tunflow.providers\n\nimport no_such_thing\n")
    (tmp_path / "syntax.py").write_text("class X(:\n")
    for spec, part in (
        ("nowhere:X", "there is no module 'nowhere'"),
        (f"{HERE}:Nope", "has no class 'Nope'; it has "),
        (f"{tmp_path}/broken.py:X", f"No module named 'no_such_thing' ({tmp_path}/broken.py:3)"),
        (f"{tmp_path}/syntax.py:X", f"{tmp_path}/syntax.py:1"),
        ("json:JSONDecoder", "is not a provider"),
        ("unknown", "no provider 'unknown'"),
    ):
        done = run(tunnel, spec, ["true"])
        assert done.returncode == 2, spec
        (line,) = log_lines(done.stderr)
        assert line.startswith("tunflow: --provider: "), line
        assert part in line, line


def test_packets_settings_and_the_way_back(tunnel: Tunnel) -> None:
    """A mirror: whatever the program connects to is itself."""
    script = (
        "ip -4 route; cat /etc/resolv.conf; ping -c1 -W30 192.0.2.9 >/dev/null && ping -c1 -W5 2001:db8::9 >/dev/null"
    )
    done = run(tunnel, f"{HERE}:Mirror", ["sh", "-c", script])
    assert done.returncode == 0, done
    out = done.stdout.decode()
    assert "default dev tunflow0" in out
    assert "unreachable 203.0.113.0/24" in out
    assert "nameserver 10.9.0.1" in out
    assert "search lab.example" in out


def test_packets_of_an_ordinary_user(tunnel: Tunnel, tunflow_command: tuple[list[str], dict[str, str]]) -> None:
    """Settings reach the network namespace through the user namespace."""
    tunflow, env = tunflow_command
    provider = tunnel.lab.directory / "providers.py"
    provider.write_text(HERE.read_text())
    command = [
        *OPEN_TUN,
        *BECOME,
        *tunflow,
        "run",
        "--provider",
        f"{provider}:Mirror",
        "--",
        "ping",
        "-c1",
        "-W5",
        "192.0.2.9",
    ]
    done = subprocess.run(
        tunnel.lab.client.command(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**tunnel.lab.client.env, **env},
        timeout=60,
        check=False,
    )
    provider.unlink()
    assert done.returncode == 0, done


def test_super_packets(tunnel: Tunnel) -> None:
    script = "iperf3 -s -1 -B 10.9.0.2 >/dev/null & until ss -ltn | grep -q :5201; do sleep 0.1; done; "
    script += "iperf3 -J -c 192.0.2.9 -n 200M"
    done = run(tunnel, f"{HERE}:SuperMirror", ["bash", "-c", script])
    report = json.loads(done.stdout)
    assert report["end"]["sum_received"]["bytes"] >= 200_000_000


def test_a_packet_tunnel_that_dies_leaves_no_network(tunnel: Tunnel) -> None:
    script = f"sleep 0.2; curl -sS --max-time 1 http://{SITE4}/1k; echo $?"
    done = run(tunnel, f"{HERE}:Dies", ["sh", "-c", script])
    assert done.stdout.decode().strip() != "0"
    lines = log_lines(done.stderr)
    assert any("RuntimeError: server gone" in line for line in lines), lines
    assert any("runs on without a network" in line for line in lines), lines


# The examples.


@pytest.fixture(scope="module")
def toy_server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The toy VPN's server on S, with a certificate for its clients."""
    folder = tmp_path_factory.mktemp("toy")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=toy-vpn", "-addext", "subjectAltName=DNS:toy-vpn"]
    subprocess.run([*make, "-keyout", key, "-out", certificate, *names, "-days", "2"], check=True, capture_output=True)
    server = lab.start(
        lab.server, [sys.executable, str(EXAMPLES / "toy_vpn.py"), str(TOY_PORT), str(certificate), str(key), "secret"]
    )
    server.wait_listening(TOY_PORT)
    yield certificate
    server.stop()


def toy(certificate: Path, secret: str = "secret") -> list[str]:
    return ["--config", f"server={SERVER4}:{TOY_PORT}", "--config", f"ca={certificate}", "--config", f"secret={secret}"]


def test_toy_vpn(tunnel: Tunnel, contents: Contents, toy_server: Path) -> None:
    example = f"{EXAMPLES / 'toy_vpn.py'}:ToyVPN"
    assert len((EXAMPLES / "toy_vpn.py").read_text().splitlines()) < 100
    done = run(tunnel, example, fetch(), *toy(toy_server))
    assert done.stdout.decode().strip() == contents.medium_sha256, done.stderr
    who = run(tunnel, example, ["sh", "-c", "ip -4 -o addr show tunflow0; ping -c1 -W30 10.99.0.1"], *toy(toy_server))
    assert who.returncode == 0, who
    assert b"10.99.0.2/24" in who.stdout
    names = run(tunnel, example, ["getent", "ahostsv4", "site.lab"], *toy(toy_server), "--config", f"dns={SITE4}")
    assert SITE4.encode() in names.stdout, names


def test_toy_vpn_with_a_wrong_secret(tunnel: Tunnel, toy_server: Path) -> None:
    done = run(tunnel, f"{EXAMPLES / 'toy_vpn.py'}:ToyVPN", ["true"], *toy(toy_server, "guess"))
    assert done.returncode == 1
    (line,) = log_lines(done.stderr)
    assert "start_tunnel failed" in line
    assert "toy_vpn.py:" in line


def test_flow_log(tunnel: Tunnel, contents: Contents, tmp_path: Path) -> None:
    log = tmp_path / "flows.jsonl"
    done = run(tunnel, f"{EXAMPLES / 'flow_log.py'}:FlowLog", fetch(), "--config", f"file={log}")
    assert done.stdout.decode().strip() == contents.medium_sha256, done.stderr
    (flow,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (flow["protocol"], flow["host"], flow["port"]) == ("tcp", SITE4, 80)
    assert flow["program"].endswith("/curl")


def test_bad_network(tunnel: Tunnel) -> None:
    example = f"{EXAMPLES / 'bad_network.py'}:BadNetwork"
    config = ["--config", "latency=0.1", "--config", "loss=0"]
    curl = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_connect} %{time_total}", f"http://{SITE4}/1k"]
    done = run(tunnel, example, curl, *config)
    connect, total = map(float, done.stdout.split())
    assert connect >= 0.2, done
    assert total >= connect + 0.2
    dig = run(tunnel, example, ["dig", "-u", f"@{SITE4}", "site.lab"], *config)  # without -u it reads a coarse clock
    took = re.search(rb"Query time: (\d+) usec", dig.stdout)
    assert took is not None, dig
    assert int(took.group(1)) >= 200_000
    lost = run(tunnel, example, ["dig", "+tries=1", "+time=1", f"@{SITE4}", "site.lab"], "--config", "loss=1")
    assert b"timed out" in lost.stdout, lost


def test_per_app(tunnel: Tunnel, lab: Lab, contents: Contents) -> None:
    """One program through a proxy of its own, which is seen from where its connection comes; others straight out."""
    ssh = ["ssh", *ssh_options(lab), "-N", "-D", f"{SERVER4}:{SOCKS_PORT}", f"root@{SITE4}"]
    proxy = lab.start(lab.server, ssh)
    proxy.wait_listening(SOCKS_PORT)
    site = lab.start(lab.server, [sys.executable, str(WHOAMI), SITE4, str(WHOAMI_PORT)])
    site.wait_listening(WHOAMI_PORT)
    url = f"http://{SITE4}:{WHOAMI_PORT}/"
    options = ["--config", "program=/usr/bin/curl", "--config", f"proxy=socks5://{SERVER4}:{SOCKS_PORT}"]
    script = f"curl -sS --max-time 10 {url}; wget -T 10 -qO- {url}"
    done = run(tunnel, f"{EXAMPLES / 'per_app.py'}:PerApp", ["sh", "-c", script], *options)
    proxy.stop()
    site.stop()
    assert done.stdout.decode().split() == [SITE4, CLIENT4], done
