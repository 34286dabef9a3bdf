"""Names inside a tunnel: who is asked, how, and that big answers and refusals arrive as they are."""

from __future__ import annotations

import pytest
from bench.netlab.namespaces import SERVER4, SERVER6, SITE4, SITE6
from bench.netlab.peers import start_dns
from bench.netlab.processes import Process
from bench.netlab.tunnel import shadowsocks_url
from lab_support import DNS, Tunnel

pytestmark = pytest.mark.lab

MODES = (f"tcp://{SITE4}:53", f"tcp://{SITE4}", f"udp://{SITE4}:53", f"udp://{SITE4}", SITE4, f"tcp://[{SITE6}]:53")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "address"), [("A", SITE4), ("AAAA", SITE6)])
def test_dig_asks_the_chosen_resolver(
    tunnel: Tunnel, outside_resolver: Process, far_resolver: Process, mode: str, kind: str, address: str
) -> None:
    outside, far = outside_resolver.output(), far_resolver.output()
    assert tunnel.ok(["dig", "+short", "+tries=1", kind, "site.lab"], dns=mode).split() == [address]
    assert outside_resolver.output() == outside, "the resolver outside the tunnel was asked"
    asked = far_resolver.output().removeprefix(far).lower()  # letters are in random case over UDP
    assert f"query[{kind.lower()}] site.lab" in asked


@pytest.mark.parametrize("flags", [["+tcp"], ["+noedns"], ["+bufsize=4096"], ["+bufsize=1232"]])
@pytest.mark.parametrize("mode", [DNS, f"udp://{SITE4}"])
def test_big_answer_arrives_whole(tunnel: Tunnel, mode: str, flags: list[str]) -> None:
    answer = tunnel.ok(["dig", "+short", "+tries=1", *flags, "TXT", "big.lab"], dns=mode)
    assert sorted(answer.split()) == sorted(f'"{f"{number:02}" * 100}"' for number in range(20))


@pytest.mark.parametrize("mode", [DNS, f"udp://{SITE4}"])
def test_no_such_name(tunnel: Tunnel, mode: str) -> None:
    assert "status: NXDOMAIN" in tunnel.ok(["dig", "+tries=1", "nobody.lab"], dns=mode)
    assert tunnel.run(["curl", "-sS", "http://nobody.lab/"], dns=mode).returncode == 6  # could not resolve


def test_many_names_at_once(tunnel: Tunnel) -> None:
    script = "for i in $(seq 40); do dig +short +tries=1 +timeout=30 A site.lab & done; wait"
    assert tunnel.ok(["sh", "-c", script]).split() == [SITE4] * 40


def test_off_leaves_resolv_conf_alone(tunnel: Tunnel) -> None:
    assert tunnel.ok(["cat", "/etc/resolv.conf"], dns="off") == f"nameserver {SERVER4}\n"


def test_on_replaces_resolv_conf_inside_only(tunnel: Tunnel) -> None:
    assert SERVER4 not in tunnel.ok(["cat", "/etc/resolv.conf"])
    assert tunnel.lab.client.run(["cat", "/etc/resolv.conf"]).stdout == f"nameserver {SERVER4}\n"


def test_direct_resolver_of_the_program(tunnel: Tunnel) -> None:
    """A program that asks a resolver of its own choice is carried like any other traffic."""
    for flags in ([], ["+tcp"]):
        assert tunnel.ok(["dig", "+short", *flags, f"@{SITE4}", "A", "site.lab"], dns="off").split() == [SITE4]


def test_server_name_is_resolved_once_and_outside(tunnel: Tunnel) -> None:
    """The resolver that knew the server's name may fail later."""
    lab = tunnel.lab
    address = "10.66.0.53"
    script = 'mount --bind $1 /etc/resolv.conf && shift && exec "$@"'
    conf = lab.directory / "own-resolv.conf"
    conf.write_text(f"nameserver {address}\n")
    prefix = ["unshare", "-m", "sh", "-c", script, "sh", str(conf)]
    with (
        lab.server.addressed(f"{address}/24", device="eth0"),
        start_dns(lab, [address], {"server.lab": (SERVER4, SERVER6)}, {}) as resolver,
        tunnel.held(server=shadowsocks_url(host="server.lab"), prefix=prefix) as held,
    ):
        assert held.run(["curl", "-sSf", f"http://{SITE4}/1k"]).returncode == 0
        asked = resolver.output().count("query[A] server.lab")
        resolver.stop()
        for _ in range(3):
            assert held.run(["curl", "-sSf", f"http://{SITE4}/1k"]).returncode == 0
    assert asked == 1, resolver.output()
