"""A profile with rules and with fake names, system-wide."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import SHADOWSOCKS_PORT
from bench.netlab.tunnel import shadowsocks_url
from lab_support import ECHO
from lab_system import DNS, System
from lab_uplinks import UplinkLab

pytestmark = pytest.mark.lab


def test_rules_decide_each_flow(uplinks: UplinkLab, system: System) -> None:
    """By address and by port; straight out is straight out, from the host's own address; a reload changes it."""
    profile = Path(system.directory / "rules.toml")
    text = f"""
        rules = ["AND,((IP-CIDR,{SITE4}/32),(DST-PORT,80)),{{}}", "DST-PORT,{ECHO},REJECT", "MATCH,FAR"]
        [servers.FAR]
        url = "{shadowsocks_url()}"
        [dns]
        mode = "{DNS}"
    """
    profile.write_text(text.format("DIRECT"))
    profile.chmod(0o600)
    system.ok("up", str(profile))
    with uplinks.spied() as direct:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert any("10.61.0.1." in line and f"{SITE4}.80" in line for line in direct)
    with uplinks.spied() as seen:
        assert system.fetch(f"http://[{SITE6}]/1k") == 1024
        refused = system.run(["busybox", "nc", "-w", "2", SITE4, str(ECHO)])
    assert seen == []
    assert refused.returncode != 0
    profile.write_text(text.format("FAR"))
    system.ok("reload")
    with uplinks.spied() as seen:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert seen == []
    assert system.status()["servers"][0].startswith("FAR: ss://")


def test_fake_names(uplinks: UplinkLab, system: System) -> None:
    """The name reaches the server unresolved, and a lookup leaves nothing to see."""
    system.up("--dns", f"fake,{DNS}")
    with uplinks.spied() as seen:
        assert system.run(["dig", "+short", "site.lab"]).stdout.startswith("198.18.")
        assert system.fetch("http://site.lab/1k") == 1024
        assert system.run(["dig", "+short", "@192.0.2.53", "site.lab"]).stdout.startswith("198.18.")
    assert seen == []


def test_a_clash_configuration_as_it_is(uplinks: UplinkLab, system: System) -> None:
    """`up FILE.yaml`, a reload of it, and what is not understood with its line."""
    method, _, password = b64decode(system.secret + "==").decode().partition(":")
    profile = Path(system.directory / "clash.yaml")
    text = f"""\
mixed-port: 7890
proxies:
  - {{{{name: far, type: ss, server: {SERVER4}, port: {SHADOWSOCKS_PORT}, cipher: {method}, password: "{password}"}}}}
proxy-groups:
  - {{{{name: PROXY, type: select, proxies: [far, DIRECT]}}}}
rules:
  - IP-CIDR,{SITE4}/32,{{}},no-resolve
  - MATCH,PROXY
"""
    profile.write_text(text.format("PROXY"))
    profile.chmod(0o600)
    system.ok("up", str(profile), "--dns", DNS)
    with uplinks.spied() as seen:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert seen == []
    profile.write_text(text.format("DIRECT"))
    system.ok("reload", "--dns", DNS)
    with uplinks.spied() as direct:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert any(f"{SITE4}.80" in line for line in direct)
    profile.write_text(text.format("DIRECT").replace("IP-CIDR", "IP-NOTHING"))
    wrong = system.tunflow("reload", "--dns", DNS)
    assert wrong.returncode == 2
    assert f"{profile}:7: 'IP-NOTHING' is not a rule type" in wrong.stderr
