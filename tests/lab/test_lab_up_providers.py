"""A provider for the whole host: `tunflow up` with a profile that names one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from lab_system import DNS, System
from lab_uplinks import until

pytestmark = pytest.mark.lab

PROVIDERS = Path(__file__).parent / "clients" / "providers.py"


def profile(system: System, name: str, more: str = "") -> str:
    """A profile with one of the lab's providers."""
    path = system.directory / "profile.toml"
    path.write_text(f'provider = "{PROVIDERS}:{name}"\ndns.mode = "{DNS}"\n{more}')
    path.chmod(0o600)
    return str(path)


def test_flows_of_the_whole_host(system: System) -> None:
    before = system.snapshot()
    system.ok("up", profile(system, "Carry"))
    for url in ("http://site.lab/1k", f"http://{SITE4}/1k", f"http://[{SITE6}]/1k"):
        assert system.fetch(url) == 1024, system.log()
    status = system.status()
    assert status["status"] == "connected"
    assert status["provider"].endswith(":Carry")
    assert status["bytes_in"] > 3 * 1024
    system.ok("down")
    assert system.snapshot() == before


def test_flows_that_a_provider_moves_itself_do_not_come_back(system: System) -> None:
    """Its sockets carry the mark; without it they would enter the tunnel again."""
    system.ok("up", profile(system, "Pump"))
    for _ in range(3):
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
    assert "Too many" not in system.log()


def test_packets_of_the_whole_host(system: System) -> None:
    before = system.snapshot()
    system.ok("up", profile(system, "Mirror"))
    assert system.run(["ping", "-c1", "-W30", "192.0.2.9"]).returncode == 0, system.log()
    assert system.run(["ping", "-c1", "-W30", "2001:db8::9"]).returncode == 0, system.log()
    status = system.status()
    assert status["status"] == "connected"
    assert status["bytes_in"] > 0
    system.ok("down")
    assert system.snapshot() == before


TALK = """
import asyncio, sys
from tunflow.tunnel.tunnel_manager import TunnelProviderManager
async def talk():
    manager = TunnelProviderManager("talk", sys.argv[1])
    manager.profile = manager.profile.model_copy(
        update={"dns": manager.profile.dns.model_copy(update={"mode": sys.argv[2]})}
    )
    await manager.save()
    await manager.connection.start({"key": 7})
    print(await manager.connection.send_message(b"abc"))
    await manager.connection.stop()
asyncio.run(talk())
"""


def test_a_program_starts_it_with_options_and_speaks_with_it(system: System) -> None:
    env = {"TUNFLOW_RUNTIME_DIR": system.env["TUNFLOW_RUNTIME_DIR"], "XDG_CONFIG_HOME": str(system.directory)}
    done = system.run(
        [
            "env",
            *(f"{key}={value}" for key, value in env.items()),
            sys.executable,
            "-c",
            TALK,
            f"{PROVIDERS}:Talks",
            DNS,
        ]
    )
    assert done.stdout.strip() == repr(b"cba" + repr({"key": 7}).encode()), (done, system.log())


def test_what_fails_leaves_the_host_as_it_was(system: System) -> None:
    before = system.snapshot()
    for name, part in (
        ("NoStart", "start_tunnel failed: ConnectionRefusedError"),
        ("NoSettings", "set no network settings"),
        ("Nope", "has no class 'Nope'"),
    ):
        done = system.tunflow("up", profile(system, name))
        assert done.returncode in (1, 2), done
        assert part in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert system.snapshot() == before
    done = system.tunflow("up", profile(system, "Carry", 'server = "direct://"\n'))
    assert done.returncode == 2
    assert "profile.toml:1: a provider carries everything" in done.stderr


def test_a_tunnel_that_dies_takes_the_process_with_it(system: System) -> None:
    before = system.snapshot()
    system.ok("up", profile(system, "Dies"))
    for _ in range(20):  # a status takes a while
        if system.tunflow("status").returncode == 3:
            break
    assert "RuntimeError: server gone" in system.log()
    assert system.snapshot() == before


@pytest.mark.parametrize("name", ["Carry", "Mirror"])
def test_a_device_that_is_deleted_is_made_anew(system: System, name: str) -> None:
    """For flows and for packets: as for a tunnel through servers."""
    system.ok("up", profile(system, name))
    before = system.status()["pid"]
    system.run(["ip", "link", "del", "tunflow0"])
    until(lambda: system.tunflow("status").returncode == 0 and system.status()["pid"] != before, 20)
    assert system.status()["last_cause"] == "the device tunflow0 is gone"
    if name == "Carry":
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
    else:
        assert system.run(["ping", "-c1", "-W30", "192.0.2.9"]).returncode == 0, system.log()


def test_a_proxy_is_for_some_programs(system: System) -> None:
    """Apple's app rules: what is no such program's goes its own way, and the provider never hears of it."""
    system.ok("up", profile(system, "Refuses", '[[apps]]\npath = "/usr/bin/curl"\n'))
    assert system.fetch(f"http://{SITE4}/1k", timeout=5) == 0
    assert system.run(["wget", "-q", "-t", "1", "-T", "30", "-O", "/dev/null", f"http://{SITE4}/1k"]).returncode == 0


def test_programs_that_a_provider_cannot_tell(system: System) -> None:
    for name, apps, said in (
        ("Mirror", '[[apps]]\npath = "/usr/bin/curl"\n', "profile.toml:3: a packet tunnel does not see programs"),
        ("Carry", '[[apps]]\npath = "/a"\naction = "block"\n', "profile.toml:3: with a provider"),
    ):
        done = system.tunflow("up", profile(system, name, apps))
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
