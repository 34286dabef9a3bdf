"""The name server in the packet path: whoever is asked, it answers; names reach the server, and nothing goes around."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.peers import start_dns, start_unbound
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_spy import Spy
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

FAKE = f"fake,tcp://{SITE4}"
CACHE = f"cache,udp://{SITE4}"
DIG = ["dig", "+short", "+tries=1"]
FETCH = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}"]


@pytest.mark.parametrize("mode", [CACHE, f"cache,tcp://{SITE4}"])
def test_every_query_is_answered_whoever_it_is_for(
    tunnel: Tunnel, far_resolver: Process, spy: Callable[..., Spy], mode: str
) -> None:
    asked = ("", "@192.0.2.53", "+tcp", "+tcp @192.0.2.53", "@2001:db8::53")
    script = "; ".join(f"dig +short +tries=1 {options} A site.lab" for options in asked)
    with spy() as watching:
        assert tunnel.ok(["sh", "-c", script], dns=mode).split() == [SITE4] * len(asked)
    assert watching.packets == []


def test_a_big_answer_is_fetched_over_tcp_and_given_over_tcp(tunnel: Tunnel, far_resolver: Process) -> None:
    for flags in (["+tcp"], ["+bufsize=512"]):
        answer = tunnel.ok([*DIG, *flags, "TXT", "big.lab"], dns=CACHE)
        assert sorted(answer.split()) == sorted(f'"{f"{number:02}" * 100}"' for number in range(20))


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_fake_address_leads_to_the_name(
    tunnel: Tunnel, contents: Contents, far_resolver: Process, spy: Callable[..., Spy], family: str
) -> None:
    with spy() as watching:
        code, address = tunnel.ok([*FETCH, family, "http://site.lab/1k"], dns=FAKE).split()
    assert code == "200"
    assert address.startswith("198.18.128." if family == "-4" else "fd74:756e:666c:6f77:fa4e::")
    assert watching.packets == []


def test_a_fake_address_straight_out_is_looked_up(tunnel: Tunnel, contents: Contents, far_resolver: Process) -> None:
    code, address = tunnel.ok([*FETCH, "-4", "http://site.lab/1k"], dns=FAKE, server="direct://").split()
    assert (code, address.startswith("198.18.128.")) == ("200", True)
    # Only one family: the client's is tried first, the other is better than none.
    assert tunnel.ok([*FETCH, "-4", "http://six.lab/1k"], dns=FAKE, server="direct://").startswith("200")
    done = tunnel.run([*FETCH, "-4", "http://nobody.lab/1k"], dns=FAKE, server="direct://")
    assert done.returncode == 7, done  # could not connect


@pytest.mark.parametrize("server", [None, "direct://"])
def test_udp_to_a_fake_address(tunnel: Tunnel, far_resolver: Process, server: str | None) -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30)\n"
        "a = (socket.gethostbyname('four.lab'), 7007); s.sendto(b'x' * 100, a); d, p = s.recvfrom(999)\n"
        "assert p == a and a[0].startswith('198.18.128.'), (p, a); print(len(d))"
    )
    assert tunnel.ok(["python3", "-c", script], dns=FAKE, server=server).strip() == "100"


def test_a_fake_address_without_a_name_is_refused_and_stays_inside(tunnel: Tunnel, spy: Callable[..., Spy]) -> None:
    with spy() as watching:
        for server in (None, "direct://"):
            done = tunnel.run(["curl", "-sS", "-m", "5", "http://198.18.128.77/"], dns=FAKE, server=server)
            assert done.returncode == 7, done
            assert tunnel.run(["ping", "-c1", "-W1", "198.18.200.200"], dns=FAKE, server="direct://").returncode
    assert watching.packets == []


def test_a_reverse_lookup_of_a_fake_address(tunnel: Tunnel) -> None:
    assert tunnel.ok(["sh", "-c", "dig +short a.site.lab; dig +short -x 198.18.128.2"], dns=FAKE).split() == [
        "198.18.128.2",
        "a.site.lab.",
    ]


def test_no_resolver_is_told_as_a_failure(tunnel: Tunnel) -> None:
    done = tunnel.run(
        ["dig", "+tries=1", "+timeout=30", "site.lab"], dns=f"cache,tcp://{SERVER4}:9", server="direct://"
    )
    assert b"SERVFAIL" in done.stdout
    assert b"names cannot be looked up" in done.stderr


@pytest.mark.parametrize(
    "mode", ["fake,", "fake,sdns://1.1.1.1", "tls://", "https://dns.google#direct", "fake,1.1.1.1#X"]
)
def test_what_is_wrong_with_a_mode_is_one_line(tunnel: Tunnel, mode: str) -> None:
    done = tunnel.run(["true"], dns=mode)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (2, 1), done
    assert "dns" in lines[0].lower() or "resolver" in lines[0]


@pytest.fixture(scope="module")
def wide_resolver(tunnel: Tunnel) -> Iterator[str]:
    """A resolver that has an address, for a minute, for every name below wild.lab."""
    lab, address = tunnel.lab, "10.77.0.53"
    with (
        lab.server.addressed(f"{address}/32"),
        start_dns(lab, [address], {}, {}, [f"address=/wild.lab/{SITE4}", "local-ttl=60"]),
    ):
        yield address


def test_cached_answers_under_load(tunnel: Tunnel, wide_resolver: str) -> None:
    """15,000 queries from one client, 5,000 a second where the machine has the time: none is lost."""
    lab = tunnel.lab
    queries = lab.directory / "dnsperf.txt"
    queries.write_text("".join(f"n{number}.wild.lab A\n" for number in range(200)))
    command = ["dnsperf", "-s", "198.18.0.2", "-d", str(queries), "-n", "75", "-Q", "5000", "-q", "200", "-t", "5"]
    output = tunnel.ok(command, dns=f"cache,udp://{wide_resolver}")
    found = dict(line.strip().split(":", 1) for line in output.splitlines() if ":" in line)
    sent, lost = (int(found[key].split()[0]) for key in ("Queries sent", "Queries lost"))
    assert lost == 0, output
    assert sent == 15_000, output
    assert found["Response codes"].strip() == f"NOERROR {sent} (100.00%)", output


def test_a_client_that_half_closes_gets_all_its_answers_over_tcp(tunnel: Tunnel, wide_resolver: str) -> None:
    """More queries at once than are worked on at once; and a stranger on port 53 does no harm."""
    command = client("dns_stream", "192.0.2.53", "wild.lab", 500)
    assert tunnel.ok(command, dns=f"cache,udp://{wide_resolver}").strip() == "500"


@pytest.fixture(scope="module")
def secure_resolver(tunnel: Tunnel) -> Iterator[tuple[str, dict[str, str]]]:
    """unbound over TLS and HTTPS as dns.lab, and the environment that trusts it."""
    lab, address = tunnel.lab, "10.77.0.54"
    key, certificate = lab.directory / "dns-key.pem", lab.directory / "dns-cert.pem"
    names = f"subjectAltName=DNS:dns.lab,IP:{address}"
    lab.server.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=dns.lab", "-addext", names]
    )  # fmt: skip
    more = [f'tls-service-key: "{key}"', f'tls-service-pem: "{certificate}"']
    with (
        lab.server.addressed(f"{address}/32"),
        start_unbound(lab, [f"{address}@853", f"{address}@443"], {"site.lab": [SITE4], "two.lab": [SITE4]}, more),
    ):
        yield address, {"SSL_CERT_FILE": str(certificate)}


@pytest.mark.parametrize("server", [None, "direct://"])
@pytest.mark.parametrize("mode", ["tls://dns.lab@{}", "tls://{}", "https://dns.lab@{}/dns-query", "fake,https://{}"])
def test_encrypted_resolvers(
    tunnel: Tunnel, secure_resolver: tuple[str, dict[str, str]], mode: str, server: str | None
) -> None:
    address, trust = secure_resolver
    # A type that is looked up whatever the mode; many at once, and again after a pause on the same connection.
    script = (
        "ask() { dig +tries=1 +timeout=30 $1 $2; }; for i in 1 2 3 4 5 6 7 8; do ask nobody$i.lab MX & done; wait; "
        "ask two.lab MX; ask none.lab MX"
    )
    found = tunnel.ok(["sh", "-c", script], dns=mode.format(address), env=trust, server=server)
    assert found.count("status: NXDOMAIN") == 9
    assert "SERVFAIL" not in found


@pytest.mark.parametrize("mode", ["tls://wrong.lab@{}", "https://wrong.lab@{}"])
def test_a_resolver_that_is_another_is_not_believed(
    tunnel: Tunnel, secure_resolver: tuple[str, dict[str, str]], mode: str
) -> None:
    address, trust = secure_resolver
    for env, why in ((trust, "Hostname mismatch"), ({}, "self-signed certificate")):
        done = tunnel.run(["dig", "+tries=1", "+timeout=30", "site.lab"], dns=mode.format(address), env=env)
        assert b"SERVFAIL" in done.stdout
        assert why.encode() in done.stderr


def test_by_default_every_query_is_answered(tunnel: Tunnel, far_resolver: Process) -> None:
    """The default's resolver is not in the lab, but its address can be."""
    lab = tunnel.lab
    with lab.server.addressed("1.1.1.1/32"):
        lab.server.run(["nft", "add table ip dns; add chain ip dns pre { type nat hook output priority -100; }; "
                        f"add rule ip dns pre ip daddr 1.1.1.1 tcp dport 53 dnat to {SITE4}"])  # fmt: skip
        try:
            command = [TUNFLOW, "run", "--server", shadowsocks_url(), "--", *DIG, "@192.0.2.53", "A", "site.lab"]
            assert lab.client.run(command).stdout.split() == [SITE4]
        finally:
            lab.server.run(["nft", "delete", "table", "ip", "dns"])
