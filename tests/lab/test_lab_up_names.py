"""Names system-wide: fake addresses that outlive the process, and a network whose answers are poisoned."""

from __future__ import annotations

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from lab_system import DNS, System
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab


def look_up(system: System, name: str) -> str:
    return system.run(["dig", "+short", "+tries=1", name]).stdout.strip()


def test_fake_addresses_outlive_the_process(uplinks: UplinkLab, system: System) -> None:
    """A client that holds an address reaches its name after a restart, and after a crash."""
    system.up("--dns", f"fake,{DNS}")
    given = {name: look_up(system, name) for name in ("one.lab", "site.lab", "two.lab")}
    assert len({*given.values()}) == 3
    system.kill()
    system.ok("down")
    system.up("--dns", f"fake,{DNS}")
    assert system.fetch(f"http://{given['site.lab']}/1k") == 1024  # without a lookup
    assert look_up(system, "four.lab") not in given.values()
    system.ok("down")
    system.up("--dns", f"fake,{DNS}")
    assert {name: look_up(system, name) for name in given} == given
    kept = list((system.directory / "data" / "fake-ip").iterdir())
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]


def test_a_reload_swaps_names_at_once_and_keeps_the_cache(uplinks: UplinkLab, system: System) -> None:
    profile = system.directory / "names.toml"
    text = f'server = ["{system.url}"]\n[dns]\nservers = ["tcp://{{}}"]\nhosts = {{{{ "h.lab" = ["{{}}"] }}}}\n'
    profile.write_text(text.format(SITE4, "192.0.2.1"))
    profile.chmod(0o600)
    system.ok("up", str(profile))
    assert look_up(system, "h.lab") == "192.0.2.1"
    assert look_up(system, "site.lab") == SITE4
    profile.write_text(text.format("192.0.2.99", "192.0.2.2"))
    system.ok("reload")
    assert look_up(system, "h.lab") == "192.0.2.2"
    profile.write_text(text.format("not a resolver", "192.0.2.3"))
    assert "dns.servers[0]" in system.tunflow("reload").stderr
    assert look_up(system, "h.lab") == "192.0.2.2"


ROUTER = "10.61.0.254"


def write_resolv_conf(system: System, text: str) -> None:
    """As a DHCP client does when it renews its lease."""
    done = system.run(["sh", "-c", f"printf {text!r} >/etc/resolv.conf"])
    assert done.returncode == 0, done


@pytest.mark.parametrize("options", [("--exclude-lan",), ()])
def test_no_name_leaks_when_another_program_names_its_resolvers(
    uplinks: UplinkLab, system: System, options: tuple[str, ...]
) -> None:
    system.up(*options)
    theirs = f"nameserver {ROUTER}\nnameserver fd61::fe\n"
    with uplinks.spied() as leaks:
        for _ in range(2):
            write_resolv_conf(system, theirs)
            assert system.run(["getent", "ahostsv4", "site.lab"], timeout=5).returncode == 0  # at once, and carried
            until(lambda: "198.18.0.2" in system.run(["cat", "/etc/resolv.conf"]).stdout)
        for resolver in (ROUTER, "10.61.0.77", "fd61::fe", "192.0.2.53", "fe80::1%eth1"):
            for transport in ("+notcp", "+tcp"):
                system.run(["dig", transport, "+tries=1", "+timeout=1", f"@{resolver}", "site.lab"])
        write_resolv_conf(system, theirs)
        assert look_up(system, "site.lab") == SITE4
    assert leaks == []
    assert "another program changed /etc/resolv.conf: the tunnel's resolvers are put back" in system.log()
    until(lambda: "198.18.0.2" in system.run(["cat", "/etc/resolv.conf"]).stdout)
    system.ok("down")
    assert system.run(["cat", "/etc/resolv.conf"]).stdout == theirs
    write_resolv_conf(system, f"nameserver {SERVER4}\n")


def test_without_names_of_the_tunnels_the_lan_resolver_is_asked(uplinks: UplinkLab, system: System) -> None:
    """`--dns off` says so; and a witness that sees nothing proves nothing."""
    system.up("--exclude-lan", "--dns", "off")
    with uplinks.spied() as leaks:
        system.run(["dig", "+tries=1", "+timeout=1", f"@{ROUTER}", "site.lab"])
    assert any(f"{ROUTER}.53" in line for line in leaks)
